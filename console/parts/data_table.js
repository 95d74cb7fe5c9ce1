import { tick, local, utc, duration, since } from "tcu-console";

// A table of facts; cells are text, instants, ages, marks (good, bad …) or a button.
export default {
  template: `
  <div class="table-frame">
    <table>
      <thead><tr><th v-for="c in columns" :key="c.key" scope="col" :class="'k-' + c.kind">{{ c.label }}</th></tr></thead>
      <tbody>
        <tr v-for="row in rows" :key="row.id" :data-id="row.id">
          <td v-for="c in columns" :key="c.key" :class="'k-' + c.kind">
            <time v-if="c.kind === 'moment' && row[c.key]" :datetime="row[c.key]" :title="utc(row[c.key])">{{ local(row[c.key], { seconds: true }) }}</time>
            <time v-else-if="c.kind === 'age' && row[c.key]" :datetime="row[c.key]" :title="utc(row[c.key])">{{ age(row[c.key]) }}</time>
            <span v-else-if="c.kind === 'mark'" class="mark" :class="row[c.key].look"><span class="dot" :class="row[c.key].look"></span>{{ row[c.key].text }}</span>
            <code v-else-if="c.kind === 'code'">{{ row[c.key] ?? '–' }}</code>
            <button v-else-if="c.kind === 'button' && row[c.key]" type="button" class="button quiet" @click="$emit('act', row.id)">{{ row[c.key] }}</button>
            <template v-else-if="c.kind !== 'button'">{{ row[c.key] ?? '–' }}</template>
          </td>
        </tr>
      </tbody>
    </table>
    <p v-if="!rows.length" class="empty">{{ empty }}</p>
  </div>`,
  props: { columns: Array, empty: String },
  data: () => ({ rows: [] }),
  methods: {
    local,
    utc,
    show(rows) {
      this.rows = rows;
    },
    age(at) {
      return tick.value && duration(since(at));
    },
  },
};
