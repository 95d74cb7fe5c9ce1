import { leaflet as L } from "nicegui-leaflet";
import { loadResource } from "../../static/utils/resources.js";
import { fill, local, rank } from "tcu-console";

const COLOURS = { CRITICAL: "--critical", HIGH: "--high", MEDIUM: "--medium", LOW: "--low" };
const NICE = [30, 20, 10, 5, 2, 1, 0.5, 0.2, 0.1, 0.05, 0.02, 0.01, 0.005, 0.002, 0.001];
const LINES = 5;

export default {
  template: `
  <div class="map-frame">
    <div ref="map" class="map" role="application" :aria-label="t['map.label']"></div>
    <div class="map-tools"><button type="button" class="button quiet" @click="all">{{ t['map.all'] }}</button></div>
    <ul class="legend" aria-hidden="true">
      <li><i class="car"></i>{{ t['map.vehicle'] }}</li><li><i class="truck"></i>{{ t['map.partner'] }}</li>
      <li><i class="route"></i>{{ t['map.route'] }}</li>
    </ul>
  </div>`,
  props: { t: Object, places: Array, tileUrl: String, attribution: String, resourcePath: String, interactive: Boolean },
  async mounted() {
    this.dots = new Map(); // by cid: one mark each, moved and coloured, never made anew
    await this.$nextTick();
    await loadResource(`${window.path_prefix}${this.resourcePath}/leaflet/leaflet.css`);
    if (!this.$refs.map) return;
    this.map = L.map(this.$refs.map, { preferCanvas: true, zoomAnimation: false, fadeAnimation: false, attributionControl: Boolean(this.tileUrl) });
    this.map.attributionControl?.setPrefix(false);
    this.map.setView([37.55, 127.0], 10);
    L.control.scale({ imperial: false }).addTo(this.map);
    if (this.tileUrl) {
      const named = document.createElement("span");
      named.textContent = this.attribution;
      L.tileLayer(this.tileUrl, { attribution: named.innerHTML, maxZoom: 19 }).addTo(this.map);
    } else {
      this.ground = new Ground(this.places).addTo(this.map);
    }
    this.marks = L.layerGroup().addTo(this.map);
    this.chosen = L.layerGroup().addTo(this.map);
    this.parts = {};
    this.sizes = new ResizeObserver(() => this.map.invalidateSize({ pan: false }));
    this.sizes.observe(this.$refs.map);
    this.recolour = () => {
      this.ground?.draw();
      for (const [cid, dot] of this.dots) dot.setStyle(this.look(dot.row));
    };
    window.addEventListener("tcu-theme", this.recolour);
    this.ready = true;
    for (const [name, args] of this.early ?? []) this[name](...args);
    this.early = null;
  },
  unmounted() {
    this.sizes?.disconnect();
    window.removeEventListener("tcu-theme", this.recolour);
    this.map?.remove();
  },
  methods: {
    replace(rows) {
      if (!this.ready) return this.later("replace", rows);
      const kept = new Set(rows.map((row) => row.cid));
      this.change(rows, [...this.dots.keys()].filter((cid) => !kept.has(cid)));
      if (!this.fitted && this.dots.size) this.all();
    },
    change(rows, gone) {
      if (!this.ready) return this.later("change", rows, gone);
      for (const row of rows) {
        if (!row.location) continue;
        const at = [row.location.latitude, row.location.longitude];
        const dot = this.dots.get(row.cid);
        if (dot) {
          dot.row = row;
          dot.setLatLng(at).setStyle(this.look(row));
        } else {
          const made = L.circleMarker(at, this.look(row)).addTo(this.marks);
          made.row = row;
          made.on("click", () => this.$emit("choose", made.row.cid));
          made.bindTooltip(() => text(`${made.row.service} · ${this.t["kind." + made.row.kind] ?? ""} · ${made.row.customerName || made.row.vin}`));
          this.dots.set(row.cid, made);
        }
      }
      for (const cid of gone) {
        const dot = this.dots.get(cid);
        if (!dot) continue;
        dot.off().unbindTooltip();
        this.marks.removeLayer(dot);
        this.dots.delete(cid);
      }
    },
    /** Show one incident with its vehicle, its route of the last minutes, its partner and the partner's goal. */
    focus(what) {
      if (!this.ready) return this.later("focus", what);
      const fresh = what.cid !== this.focused;
      if (fresh) {
        this.chosen.clearLayers();
        this.parts = {};
        this.focused = what.cid;
      }
      const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
      const ring = this.part("ring", what.incident, (at) => L.circleMarker(at, { radius: 15, weight: 3, fill: false }));
      ring?.setStyle({ color: colour("--accent") });
      const route = what.route.map((p) => [p.latitude, p.longitude]);
      const line = this.line("route", route, { weight: 4, opacity: 0.75 });
      line?.setStyle({ color: colour("--accent") });
      this.place("car", what.vehicle, this.aged(this.t["map.vehicle"], what.vehicle));
      this.place("truck", what.partner, this.aged(what.partner?.name || this.t["map.partner"], what.partner));
      this.place("goal", what.destination, what.destination?.name || this.t["map.destination"]);
      const approach = what.partner && (what.vehicle || what.incident);
      const dashes = this.line("approach", approach ? [point(what.partner), point(approach)] : [], { weight: 2, dashArray: "6 8" });
      dashes?.setStyle({ color: colour("--rsa") });
      if (fresh) {
        const all = [what.incident, what.vehicle, what.partner].filter(Boolean).map(point);
        if (all.length) this.map.fitBounds(L.latLngBounds([...all, ...route]).pad(0.25), { maxZoom: 14 });
      }
    },
    /** A label that tells since when a place may not be true any more. */
    aged(label, where) {
      return where?.old ? fill(this.t["map.as_of"], { what: label, time: local(where.at) || "?" }) : label;
    },
    all() {
      const where = [...this.dots.values()].map((dot) => dot.getLatLng());
      if (where.length) this.map.fitBounds(L.latLngBounds(where).pad(0.15), { maxZoom: 13 });
      this.fitted = true;
    },
    place(name, where, label) {
      const icon = () => L.divIcon({ className: `sign ${name}`, iconSize: [26, 26] });
      const mark = this.part(name, where, (at) => L.marker(at, { icon: icon(), keyboard: false, interactive: true }));
      if (!mark) return;
      const element = mark.getElement();
      element?.classList.toggle("old", Boolean(where.old));
      element?.style.setProperty("--heading", `${where.heading ?? 0}deg`);
      element?.classList.toggle("headed", where.heading != null);
      if (mark.label !== label) {
        mark.label = label;
        mark.unbindTooltip().bindTooltip(text(label), { permanent: true, direction: "right", offset: [12, 0], className: "sign-label" });
      }
    },
    part(name, where, make) {
      let mark = this.parts[name];
      if (!where) {
        if (mark) this.chosen.removeLayer(mark);
        delete this.parts[name];
        return null;
      }
      if (mark) return mark.setLatLng(point(where));
      mark = this.parts[name] = make(point(where)).addTo(this.chosen);
      return mark;
    },
    line(name, points, style) {
      let line = this.parts[name];
      if (line) return line.setLatLngs(points);
      line = this.parts[name] = L.polyline(points, { ...style, interactive: false }).addTo(this.chosen);
      return line;
    },
    look(row) {
      const name = rank(row) >= 10 ? "--dim" : row.service === "SOS" ? (COLOURS[row.urgency] ?? "--high") : "--rsa";
      const colour = getComputedStyle(document.documentElement).getPropertyValue(name).trim();
      return { radius: 7, weight: 2, color: colour, fillColor: colour, fillOpacity: 0.55 };
    },
    later(name, ...args) {
      (this.early ??= []).push([name, args]);
    },
  },
};

function point(where) {
  return [where.latitude, where.longitude];
}

/** Text for Leaflet, which takes strings for HTML. */
function text(words) {
  const element = document.createElement("span");
  element.textContent = words ?? "";
  return element;
}

/** The ground without a tile server: meridians, parallels and names, drawn once for each view. */
const Ground = L.Layer.extend({
  initialize(places) {
    this.places = places;
  },
  onAdd(map) {
    this.canvas = L.DomUtil.create("canvas", "ground", map.getPanes().tilePane);
    map.on("moveend zoomend resize viewreset", this.draw, this);
    this.draw();
  },
  onRemove(map) {
    map.off("moveend zoomend resize viewreset", this.draw, this);
    this.canvas.remove();
  },
  draw() {
    const map = this._map;
    if (!map) return;
    const size = map.getSize();
    const spare = 200; // drawn beyond the edges, so that dragging shows no void
    const ratio = window.devicePixelRatio || 1;
    const [wide, high] = [size.x + 2 * spare, size.y + 2 * spare];
    Object.assign(this.canvas, { width: wide * ratio, height: high * ratio });
    Object.assign(this.canvas.style, { width: `${wide}px`, height: `${high}px` });
    L.DomUtil.setPosition(this.canvas, map.containerPointToLayerPoint([-spare, -spare]));
    const pen = this.canvas.getContext("2d");
    pen.scale(ratio, ratio);
    pen.translate(spare, spare);
    const style = getComputedStyle(document.documentElement);
    const colour = (name) => style.getPropertyValue(name).trim();
    pen.fillStyle = colour("--map-ground");
    pen.fillRect(-spare, -spare, wide, high);
    const [nw, se] = [map.containerPointToLatLng([-spare, -spare]), map.containerPointToLatLng([size.x + spare, size.y + spare])];
    const step = NICE.find((degrees) => (se.lng - nw.lng) / degrees >= LINES) ?? NICE.at(-1);
    const digits = Math.max(0, Math.ceil(-Math.log10(step)));
    pen.strokeStyle = colour("--map-line");
    pen.fillStyle = colour("--dim");
    pen.font = "11px " + style.getPropertyValue("--font");
    pen.beginPath();
    for (let lng = Math.ceil(nw.lng / step) * step; lng <= se.lng; lng += step) {
      const x = Math.round(map.latLngToContainerPoint([nw.lat, lng]).x) + 0.5;
      pen.moveTo(x, -spare);
      pen.lineTo(x, size.y + spare);
      pen.fillText(`${lng.toFixed(digits)}°`, x + 3, 12);
    }
    for (let lat = Math.ceil(se.lat / step) * step; lat <= nw.lat; lat += step) {
      const y = Math.round(map.latLngToContainerPoint([lat, nw.lng]).y) + 0.5;
      pen.moveTo(-spare, y);
      pen.lineTo(size.x + spare, y);
      pen.fillText(`${lat.toFixed(digits)}°`, 4, y - 3);
    }
    pen.stroke();
    this.names(pen, map, size, spare, colour);
  },
  names(pen, map, size, spare, colour) {
    const taken = [[-spare, -spare, 52, size.y + spare]]; // the parallels' figures
    const zoom = map.getZoom();
    pen.fillStyle = colour("--map-name");
    pen.textAlign = "center";
    for (const [name, lat, lng, from] of this.places) {
      if (zoom < from) continue;
      const at = map.latLngToContainerPoint([lat, lng]);
      if (at.x < -spare || at.y < -spare || at.x > size.x + spare || at.y > size.y + spare) continue;
      pen.font = `${from <= 5 ? "600 14px" : from <= 8 ? "600 13px" : "12px"} ${getComputedStyle(document.documentElement).getPropertyValue("--font")}`;
      const half = pen.measureText(name).width / 2 + 6;
      const box = [at.x - half, at.y - 18, at.x + half, at.y + 6];
      if (taken.some((other) => box[0] < other[2] && box[2] > other[0] && box[1] < other[3] && box[3] > other[1])) continue;
      taken.push(box);
      pen.fillText(name, at.x, at.y - 6);
      pen.beginPath();
      pen.arc(at.x, at.y, 2, 0, 7);
      pen.fill();
    }
    pen.textAlign = "start";
  },
});
