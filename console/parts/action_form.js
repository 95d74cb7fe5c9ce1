// A native dialog with native fields: focus stays inside, Escape closes it, and labels belong to their fields.
export default {
  template: `
  <dialog ref="dialog" class="form" @cancel="closed" @close="closed" :aria-labelledby="form ? 'form-title' : null">
    <form v-if="form" method="dialog" @submit.prevent="submit">
      <h1 id="form-title">{{ form.title }}</h1>
      <p v-if="form.lead" class="dim">{{ form.lead }}</p>
      <div class="fields">
        <template v-for="f in form.fields" :key="f.name">
          <h2 v-if="f.heading">{{ f.heading }}</h2>
          <div class="field" :class="[f.kind, { wrong: errors[f.name] }]" v-show="!f.when || values[f.when]">
            <label :for="'f-' + f.name">{{ f.label }}<span v-if="f.required" aria-hidden="true"> *</span></label>
            <select v-if="f.kind === 'choice' || f.kind === 'answer'" :id="'f-' + f.name" v-model="values[f.name]" :required="f.required">
              <option v-if="!f.required" value="">–</option>
              <option v-for="[value, label] in f.choices" :key="value" :value="value">{{ label }}</option>
            </select>
            <textarea v-else-if="f.kind === 'area'" :id="'f-' + f.name" v-model="values[f.name]" rows="3" maxlength="2000" :required="f.required"></textarea>
            <div v-else-if="f.kind === 'checks'" :id="'f-' + f.name" class="checks" role="group" :aria-label="f.label">
              <label v-for="[value, label] in f.choices" :key="value"><input type="checkbox" :value="value" v-model="values[f.name]">{{ label }}</label>
            </div>
            <div v-else-if="f.kind === 'windows'" :id="'f-' + f.name" class="windows">
              <fieldset v-for="(w, i) in values[f.name]" :key="i">
                <span><label :for="'w-start-' + i">{{ f.from }}</label><input :id="'w-start-' + i" type="time" v-model="w.start" required></span>
                <span><label :for="'w-end-' + i">{{ f.until }}</label><input :id="'w-end-' + i" type="time" v-model="w.end" required></span>
                <button v-if="values[f.name].length > 1" type="button" class="button quiet" :aria-label="f.remove" :title="f.remove" @click="values[f.name].splice(i, 1)">✕</button>
                <div class="checks days"><label v-for="[value, label] in f.days" :key="value"><input type="checkbox" :value="value" v-model="w.days">{{ label }}</label></div>
              </fieldset>
              <button v-if="values[f.name].length < 14" type="button" class="button quiet" @click="values[f.name].push({ start: '22:00', end: '06:00', days: [] })">{{ f.add }}</button>
            </div>
            <template v-else-if="f.kind === 'listed'">
              <input :id="'f-' + f.name" type="text" :list="'l-' + f.name" v-model="values[f.name]" :required="f.required">
              <datalist :id="'l-' + f.name"><option v-for="value in f.choices" :key="value" :value="value"></option></datalist>
            </template>
            <input v-else-if="f.kind === 'flag'" :id="'f-' + f.name" type="checkbox" v-model="values[f.name]">
            <input v-else-if="f.kind === 'instant'" :id="'f-' + f.name" type="datetime-local" step="60" v-model="values[f.name]" :required="f.required">
            <input v-else-if="f.kind === 'number'" :id="'f-' + f.name" type="number" :step="f.step ?? 'any'" :min="f.min" :max="f.max" v-model="values[f.name]" :required="f.required">
            <input v-else :id="'f-' + f.name" :type="f.kind === 'phone' ? 'tel' : 'text'" v-model="values[f.name]" maxlength="128" :required="f.required">
            <p v-if="errors[f.name]" class="error" role="alert">{{ errors[f.name] }}</p>
          </div>
        </template>
      </div>
      <p v-if="problem" class="note bad" role="alert">{{ problem }}</p>
      <div class="actions end">
        <button type="button" class="button" @click="$refs.dialog.close()">{{ form.back }}</button>
        <button type="submit" class="button" :class="form.look || 'primary'" :disabled="busy" data-action="submit">{{ form.submit }}</button>
      </div>
    </form>
  </dialog>`,
  data: () => ({ form: null, values: {}, errors: {}, problem: "", busy: false }),
  methods: {
    open(form) {
      this.values = {};
      for (const f of form.fields)
        this.values[f.name] = f.kind === "flag" ? Boolean(f.value) : f.kind === "windows" || f.kind === "checks" ? structuredClone(f.value) : f.kind === "instant" ? wall(f.value) : (f.value ?? "");
      Object.assign(this, { form, errors: {}, problem: "", busy: false });
      this.$nextTick(() => this.$refs.dialog.open || this.$refs.dialog.showModal());
    },
    shut() {
      this.$refs.dialog.close();
    },
    refuse(problem, errors) {
      Object.assign(this, { problem, errors, busy: false });
    },
    closed() {
      this.form = null;
    },
    submit() {
      const said = {};
      for (const f of this.form.fields) {
        const value = this.values[f.name];
        if (f.when && !this.values[f.when]) continue;
        if (f.kind === "flag" || f.kind === "windows" || f.kind === "checks") said[f.name] = value;
        else if (value !== "" && value != null)
          said[f.name] = f.kind === "instant" ? new Date(value).toISOString().replace(/\.\d+Z/, "Z") : f.kind === "number" ? Number(value) : f.kind === "answer" ? value === "yes" : value;
      }
      this.busy = true;
      this.$emit("said", { name: this.form.name, values: said });
    },
  },
};

/** An instant as the viewer's wall clock, in the spelling of datetime-local. */
function wall(iso) {
  if (!iso) return "";
  const at = new Date(iso);
  return new Date(at.getTime() - at.getTimezoneOffset() * 60000).toISOString().slice(0, 16);
}
