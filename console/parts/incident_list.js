import { tick, setClock, duration, since, serviceClock, rank, local, utc } from "tcu-console";

const ROW_PX = 66;
const SPARE = 6;
const HOLD_MS = 3000;
const KNOWN = "tcu-known";

export default {
  template: `
  <section class="list" :aria-label="t['list.label']">
    <div class="list-head">
      <div class="chips" role="group" :aria-label="t['list.filter']">
        <button v-for="f in filters" :key="f" type="button" class="chip" :aria-pressed="filter === f" @click="filter = f">
          {{ t['list.' + f] }} <span class="count">{{ counts[f] }}</span>
        </button>
      </div>
      <input ref="search" class="search" type="search" v-model.trim="search" :placeholder="t['list.search']"
             :aria-label="t['list.search']" @keydown.down.prevent="$refs.rows.focus()">
    </div>
    <div ref="rows" class="rows" role="listbox" tabindex="0" :aria-label="t['list.label']"
         :aria-activedescendant="visible.some((row) => row.cid === selected) ? 'row-' + selected : null"
         @scroll.passive="scrolled" @keydown="pressed" @pointerdown="hold">
      <p v-if="loaded && !shown.length" class="empty">{{ t['list.empty'] }}</p>
      <p v-if="!loaded" class="empty">{{ t['list.loading'] }}</p>
      <div :style="{ height: shown.length * ${ROW_PX} + 'px', position: 'relative' }">
        <div v-for="row in visible" :key="row.cid" :id="'row-' + row.cid" role="option" class="row"
             :class="[level(row), row.service.toLowerCase(), { mine: row.agentId && row.agentId === me, fresh: isFresh(row) }]"
             :aria-selected="row.cid === selected" :aria-posinset="row.place" :aria-setsize="shown.length" :data-cid="row.cid"
             :style="{ transform: 'translateY(' + row.top + 'px)' }" @click="select(row.cid)">
          <span class="bar" aria-hidden="true"></span>
          <span class="line">
            <b class="service">{{ row.service }}</b>
            <span class="kind">{{ word('kind', row.kind) }}</span>
            <span class="tag" :class="'tag-' + (row.urgency || 'none')">{{ word('urgency', row.urgency || row.priority) }}</span>
            <span v-if="row.anomalies.length" class="flag" :title="t['list.anomalies'] + row.anomalies.join(', ')">!</span>
            <time class="age" :datetime="row.timestamp" :title="local(row.timestamp, { seconds: true }) + ' · ' + utc(row.timestamp)">{{ age(row) }}</time>
          </span>
          <span class="line dim">
            <span class="who">{{ row.customerName || row.vin }}</span>
            <span class="status">{{ word('status', row.status) }}</span>
            <span v-if="row.agentId" class="agent">{{ row.agentId }}</span>
          </span>
          <span class="line dim">
            <span class="where">{{ place(row) }}</span>
            <span class="clock" :class="clock(row).level">{{ clock(row).text }}</span>
          </span>
        </div>
      </div>
    </div>
    <p v-if="held && sound" class="note warn small" role="status">{{ t['list.sound_held'] }}</p>
    <p class="sr-only" role="status" aria-live="assertive">{{ announced }}</p>
  </section>`,
  props: { t: Object, me: String, agentSla: Number, serverNow: String, chosen: String, sound: Boolean },
  data: () => ({
    filter: "all",
    filters: ["all", "sos", "rsa", "waiting", "mine"],
    search: "",
    selected: null,
    loaded: false,
    version: 0,
    top: 0,
    height: 800,
    announced: "",
    held: false,
  }),
  created() {
    setClock(this.serverNow);
    this.rows = new Map(); // not reactive: a thousand rows change as a whole, by version
    this.fresh = new Map();
    this.selected = this.chosen;
    this.title = document.title;
    this.before = JSON.parse(sessionStorage.getItem(KNOWN)); // to this tab, when it showed the list last
    this.unseen = 0;
    this.changes = 0;
    this.holding = false;
  },
  mounted() {
    this.sizes = new ResizeObserver(() => (this.height = this.$refs.rows.clientHeight));
    this.sizes.observe(this.$refs.rows);
    this.keys = (event) => {
      if (event.key !== "/" || /INPUT|TEXTAREA|SELECT/.test(event.target.tagName)) return;
      event.preventDefault();
      this.$refs.search.focus();
    };
    this.seen = () => {
      this.unseen = 0;
      document.title = this.title;
    };
    // Browsers let a page sound only after its viewer has touched it. Not when the button goes down: the note that goes
    // away then would move the rows under the pointer, and the click would be nobody's.
    this.touched = () => {
      this.audio ??= new AudioContext();
      this.audio.resume();
      this.held = false;
    };
    for (const touch of ["click", "keydown"]) document.addEventListener(touch, this.touched);
    this.held = !navigator.userActivation.hasBeenActive;
    this.leaving = () => sessionStorage.setItem(KNOWN, JSON.stringify([...this.rows.keys()]));
    window.addEventListener("pagehide", this.leaving);
    this.released = () => setTimeout(this.let_go); // after the click that follows
    for (const release of ["pointerup", "pointercancel"]) document.addEventListener(release, this.released);
    document.addEventListener("keydown", this.keys);
    window.addEventListener("focus", this.seen);
    for (const touch of ["pointerdown", "keydown"]) document.addEventListener(touch, this.seen);
    this.blink = setInterval(() => {
      if (!this.unseen) return;
      const marked = document.title.startsWith("●");
      document.title = `${marked ? "○" : "●"} ${this.unseen} ${this.t["list.new_sos"]} · ${this.title}`;
    }, 1000);
  },
  unmounted() {
    this.sizes.disconnect();
    clearInterval(this.blink);
    for (const touch of ["click", "keydown"]) document.removeEventListener(touch, this.touched);
    document.removeEventListener("keydown", this.keys);
    window.removeEventListener("focus", this.seen);
    for (const touch of ["pointerdown", "keydown"]) document.removeEventListener(touch, this.seen);
    window.removeEventListener("pagehide", this.leaving);
    for (const release of ["pointerup", "pointercancel"]) document.removeEventListener(release, this.released);
    this.audio?.close();
  },
  computed: {
    all() {
      this.version;
      return [...this.rows.values()].sort((a, b) => rank(a) - rank(b) || (a.timestamp < b.timestamp ? -1 : a.timestamp > b.timestamp ? 1 : a.cid < b.cid ? -1 : 1));
    },
    counts() {
      const counts = {};
      for (const filter of this.filters) counts[filter] = this.all.filter((row) => this.passes(row, filter)).length;
      return counts;
    },
    shown() {
      const words = this.search.toLowerCase();
      return this.all.filter((row) => this.passes(row, this.filter) && (!words || this.matches(row, words)));
    },
    visible() {
      const first = Math.max(0, Math.floor(this.top / ROW_PX) - SPARE);
      const last = Math.ceil((this.top + this.height) / ROW_PX) + SPARE;
      return this.shown.slice(first, last).map((row, i) => ({ ...row, place: first + i + 1, top: (first + i) * ROW_PX }));
    },
  },
  methods: {
    local,
    utc,
    replace(rows) {
      // What is there when a tab is opened is no news; what came while it loaded anew is, once: its event may be faster.
      const known = this.loaded ? this.rows : this.before && new Set([...this.before, ...this.rows.keys()]);
      const raised = known ? this.arrived(rows, known) : [];
      this.rows = new Map(rows.map((row) => [row.cid, row]));
      this.loaded = true;
      this.changes++;
      this.show_changes();
      this.alarm(raised);
    },
    change(rows, gone) {
      const raised = this.arrived(rows, this.rows);
      for (const row of rows) this.rows.set(row.cid, row);
      for (const cid of gone) {
        this.rows.delete(cid);
        this.fresh.delete(cid);
      }
      this.changes++;
      this.show_changes();
      this.alarm(raised);
    },
    /** Mark those that were not known as fresh; return the SOS among them that nobody has answered. */
    arrived(rows, known) {
      const added = rows.filter((row) => !known.has(row.cid));
      for (const row of added) this.fresh.set(row.cid, Date.now());
      return added.filter((row) => row.service === "SOS" && row.status === "INITIATED");
    },
    // While a row is pressed the rows stay where they are, else the click would be another row's, or nobody's.
    hold() {
      this.holding = true;
      clearTimeout(this.holds);
      this.holds = setTimeout(this.let_go, HOLD_MS); // a release outside of the window is never told
    },
    let_go() {
      this.holding = false;
      this.show_changes();
    },
    show_changes() {
      if (!this.holding) this.version = this.changes;
    },
    alarm(rows) {
      if (!rows.length) return;
      this.unseen += rows.length;
      const named = rows.map((row) => `${this.word("kind", row.kind)} ${row.customerName || row.vin}`);
      this.announced = `${this.t["list.new_sos"]}: ${named.join(", ")}`;
      document.title = `● ${this.unseen} ${this.t["list.new_sos"]} · ${this.title}`;
      if (this.sound) this.ring();
    },
    ring() {
      if (this.audio?.state !== "running") {
        this.held = true;
        return;
      }
      const start = this.audio.currentTime;
      for (const [at, hertz] of [[0, 880], [0.18, 1175], [0.5, 880], [0.68, 1175]]) {
        const tone = this.audio.createOscillator();
        const volume = this.audio.createGain();
        tone.frequency.value = hertz;
        volume.gain.setValueAtTime(0.0001, start + at);
        volume.gain.exponentialRampToValueAtTime(0.25, start + at + 0.02);
        volume.gain.exponentialRampToValueAtTime(0.0001, start + at + 0.17);
        tone.connect(volume).connect(this.audio.destination);
        tone.start(start + at);
        tone.stop(start + at + 0.2);
      }
    },
    select(cid) {
      this.selected = cid;
      this.$emit("choose", cid);
    },
    show(cid) {
      this.selected = cid;
      const at = this.shown.findIndex((row) => row.cid === cid) * ROW_PX;
      const rows = this.$refs.rows;
      if (at >= 0 && (at < rows.scrollTop || at + ROW_PX > rows.scrollTop + rows.clientHeight))
        rows.scrollTop = Math.max(0, at - ROW_PX);
    },
    pressed(event) {
      const steps = { ArrowDown: 1, ArrowUp: -1, PageDown: 8, PageUp: -8, Home: -1e9, End: 1e9 };
      if (!(event.key in steps) || !this.shown.length) return;
      event.preventDefault();
      const at = this.shown.findIndex((row) => row.cid === this.selected);
      const next = Math.min(this.shown.length - 1, Math.max(0, (at < 0 ? -1 : at) + steps[event.key]));
      this.show(this.shown[next].cid);
      this.$emit("choose", this.selected);
    },
    scrolled(event) {
      this.top = event.target.scrollTop;
    },
    passes(row, filter) {
      if (filter === "sos" || filter === "rsa") return row.service === filter.toUpperCase();
      if (filter === "waiting") return !row.agentId && ["INITIATED", "REQUESTED", "REJECTED"].includes(row.status);
      if (filter === "mine") return Boolean(this.me) && row.agentId === this.me;
      return true;
    },
    matches(row, words) {
      return [row.cid, row.vin, row.customerName, row.agentId, row.partner, row.location?.address].some((one) =>
        one?.toLowerCase().includes(words),
      );
    },
    isFresh(row) {
      const at = this.fresh.get(row.cid);
      return at !== undefined && Date.now() - at < 4000 && Boolean(tick.value);
    },
    level(row) {
      return rank(row) >= 10 ? "to-close" : row.service === "SOS" ? "u-" + row.urgency : "u-RSA";
    },
    age(row) {
      return duration(since(row.timestamp));
    },
    clock(row) {
      return serviceClock(row, this.t, this.agentSla);
    },
    place(row) {
      if (row.location?.address) return row.location.address;
      return row.location ? `${row.location.latitude.toFixed(4)}, ${row.location.longitude.toFixed(4)}` : this.t["list.nowhere"];
    },
    word(kind, name) {
      return this.t[`${kind}.${name}`] ?? name ?? "";
    },
  },
};
