import { echarts } from "nicegui-echart";
import { local, utc } from "tcu-console";

// Lines over time, or bars over names. Colours are the page's own, so that light and dark fit; null is a gap, not a zero.
export default {
  template: `<figure class="plot"><figcaption>{{ title }} <b>{{ latest }}</b></figcaption>
    <div ref="at" class="plot-at" role="img" :aria-label="title + ' ' + latest"></div></figure>`,
  props: { title: String, unit: String, kind: String, height: Number },
  data: () => ({ latest: "" }),
  mounted() {
    this.$refs.at.style.height = `${this.height || 150}px`;
    this.chart = echarts.init(this.$refs.at, null, { renderer: "canvas" });
    this.sizes = new ResizeObserver(() => this.chart.resize());
    this.sizes.observe(this.$refs.at);
    this.again = () => this.data_ && this.show(this.data_);
    window.addEventListener("tcu-theme", this.again);
    if (this.data_) this.again();
  },
  unmounted() {
    this.sizes.disconnect();
    window.removeEventListener("tcu-theme", this.again);
    this.chart.dispose();
  },
  methods: {
    show(data) {
      this.data_ = data;
      if (!this.chart) return;
      const style = getComputedStyle(document.documentElement);
      const colour = (name) => style.getPropertyValue(name).trim();
      const dim = { color: colour("--dim"), fontSize: 12 };
      const lines = this.kind === "lines";
      const last = data.series.map((one) => one.data.at(-1)).filter((one) => lines && one && one[1] != null);
      this.latest = last.map((one) => `${number(one[1])}${this.unit || ""}`).join(" · ");
      this.chart.setOption(
        {
          animation: false,
          textStyle: { fontFamily: style.getPropertyValue("--font") },
          grid: { left: 8, right: 14, top: data.series.length > 1 ? 26 : 10, bottom: 6, containLabel: true },
          legend: data.series.length > 1 ? { top: 0, right: 0, itemHeight: 8, itemWidth: 14, textStyle: dim } : { show: false },
          tooltip: {
            trigger: "axis",
            renderMode: "richText",
            backgroundColor: colour("--pane"),
            borderColor: colour("--line"),
            textStyle: { color: colour("--text"), fontSize: 12 },
            formatter: (points) => {
              const at = lines ? new Date(points[0].value[0]).toISOString() : null;
              const head = lines ? `${local(at, { seconds: true })}  (${utc(at)})` : points[0].name;
              return [head, ...points.map((p) => `${p.seriesName}: ${p.value == null || p.value[1] === null ? "–" : number(lines ? p.value[1] : p.value)}${this.unit || ""}`)].join("\n");
            },
          },
          xAxis: lines
            ? { type: "time", min: data.since, max: data.until, minInterval: 60000, axisLabel: { ...dim, hideOverlap: true, showMinLabel: false, showMaxLabel: false, formatter: "{HH}:{mm}" }, axisLine: { lineStyle: { color: colour("--line") } } }
            : { type: "category", data: data.names, axisLabel: { ...dim, interval: "auto" }, axisLine: { lineStyle: { color: colour("--line") } }, axisTick: { show: false } },
          yAxis: { type: "value", min: 0, minInterval: this.unit ? 0 : 1, axisLabel: dim, splitNumber: 3, splitLine: { lineStyle: { color: colour("--line") } } },
          series: data.series.map((one) => ({
            name: one.name,
            type: lines ? "line" : "bar",
            data: one.data,
            showSymbol: false,
            connectNulls: false,
            lineStyle: { width: 2 },
            areaStyle: lines && data.series.length === 1 ? { opacity: 0.12 } : undefined,
            barMaxWidth: 26,
            itemStyle: { color: colour(one.colour), borderRadius: lines ? 0 : [3, 3, 0, 0] },
          })),
        },
        true,
      );
    },
  },
};

function number(value) {
  return Number(value).toLocaleString(undefined, { maximumFractionDigits: value < 10 ? 2 : value < 100 ? 1 : 0 });
}
