import { tick, local, utc, duration, since } from "tcu-console";

// An instant by the viewer's clock, with UTC on hover; mode "age" adds how long ago it was.
export default {
  template: `<time :datetime="at" :title="utc(at)">{{ text }}</time>`,
  props: { at: String, mode: String },
  computed: {
    text() {
      if (this.mode === "age") return duration(since(this.at));
      return local(this.at, { seconds: this.mode === "seconds" });
    },
  },
  methods: { utc },
};
