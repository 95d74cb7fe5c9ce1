import { tick, utc } from "tcu-console";

const HOUR_PX = 17;

// Each day is as long as it really is: a night on which the clock is set has 23 or 25 hours, and shows where.
export default {
  template: `
  <div class="week" role="table" :aria-label="t['week.label']">
    <div class="week-head" role="row"><span class="week-axis"></span>
      <span v-for="d in days" :key="d.date" role="columnheader" :class="{ today: d.date === today }"><b>{{ d.name }}</b> {{ d.day }}</span>
    </div>
    <div class="week-body" role="row" :style="{ height: longest * ${HOUR_PX} / 60 + 'px' }">
      <div class="week-axis" aria-hidden="true"><span v-for="h in hours" :key="h" :style="{ top: h * ${HOUR_PX} + 'px' }">{{ pad(h) }}</span></div>
      <div v-for="d in days" :key="d.date" class="week-day" role="cell" :aria-label="spoken(d)" :class="{ today: d.date === today }"
           :style="{ height: px(d.minutes) }">
        <span v-for="b in d.restricted" :key="'r' + b.begin" class="week-block" :style="{ top: px(b.begin), height: px(b.end - b.begin) }"
              :title="b.title + ' · ' + b.utc"></span>
        <span v-for="b in d.released" :key="'x' + b.begin" class="week-block free" :style="{ top: px(b.begin), height: px(b.end - b.begin) }"
              :title="b.title + ' · ' + b.utc"></span>
        <span v-for="b in d.violations" :key="'v' + b.begin" class="week-block bad" :class="b.severity" :style="{ top: px(b.begin), height: 'max(5px, ' + px(b.end - b.begin) + ')' }"
              :title="b.title + ' · ' + b.utc"></span>
        <span v-for="c in d.changes" :key="'c' + c.minute" class="week-change" :style="{ top: px(c.minute) }" :title="c.title + ' · ' + c.utc">{{ c.label }}</span>
        <span v-if="now(d) !== null" class="week-now" :style="{ top: px(now(d)) }"></span>
      </div>
    </div>
  </div>`,
  props: { t: Object, days: Array, today: String },
  computed: {
    longest() {
      return Math.max(1440, ...this.days.map((d) => d.minutes));
    },
    hours() {
      return [0, 3, 6, 9, 12, 15, 18, 21];
    },
  },
  methods: {
    utc,
    px: (minutes) => `${(minutes * HOUR_PX) / 60}px`,
    pad: (hour) => String(hour).padStart(2, "0"),
    now(day) {
      const minutes = (tick.value - Date.parse(day.beginsAt)) / 60000;
      return minutes >= 0 && minutes < day.minutes ? minutes : null;
    },
    spoken(day) {
      const parts = [...day.restricted, ...day.released, ...day.violations, ...day.changes];
      return [`${day.name} ${day.day}`, ...parts.map((part) => part.title)].join("; ");
    },
  },
};
