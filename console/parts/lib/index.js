// What the parts share: one clock that follows the server's, and how times and durations are written.
import { ref } from "vue";

let aheadMs = 0;

/** Take the server's time as the right one: the viewer's own clock may be wrong by minutes. */
export function setClock(serverIso) {
  aheadMs = Date.parse(serverIso) - Date.now();
}

/** The present moment in milliseconds, renewed each second; reading it in a template renews the template. */
export const tick = ref(Date.now());
setInterval(() => (tick.value = Date.now() + aheadMs), 1000);

const clock = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", second: "2-digit" });
const short = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit" });
const dated = new Intl.DateTimeFormat(undefined, { day: "numeric", month: "short", hour: "2-digit", minute: "2-digit" });

/** The viewer's wall clock, with the day where it is not today's. */
export function local(iso, { seconds = false } = {}) {
  if (!iso) return "";
  const at = new Date(iso);
  const today = new Date(tick.value).toDateString() === at.toDateString();
  return today ? (seconds ? clock : short).format(at) : dated.format(at);
}

/** The same instant in UTC, for the title of an element. */
export function utc(iso) {
  return iso ? new Date(iso).toISOString().replace("T", " ").replace(".000Z", "Z").replace("Z", " UTC") : "";
}

/** Seconds as 0:07, 12:05, 3 h 05, 2 d 4 h; never negative. */
export function duration(seconds) {
  const s = Math.max(0, Math.floor(seconds));
  if (s < 3600) return `${Math.floor(s / 60)}:${String(s % 60).padStart(2, "0")}`;
  if (s < 86400) return `${Math.floor(s / 3600)} h ${String(Math.floor((s % 3600) / 60)).padStart(2, "0")}`;
  return `${Math.floor(s / 86400)} d ${Math.floor((s % 86400) / 3600)} h`;
}

/** Seconds since an instant, by the server's clock. */
export function since(iso) {
  return (tick.value - Date.parse(iso)) / 1000;
}

/** A text with {named} gaps filled. */
export function fill(text, named) {
  return text.replace(/\{(\w+)\}/g, (_, name) => named[name] ?? "");
}

const ANSWERED_BY_PARTNER = new Set(["CONFIRMED", "EN_ROUTE"]);

/**
 * The clock that matters for an incident now: { text, level } with level "", "warn" or "late".
 * An SOS is measured by the time to the counselor's voice, an RSA by its partner's arrival.
 */
export function serviceClock(row, t, agentSlaS) {
  if (row.service === "SOS") {
    if (row.connectedAt) {
      const took = (Date.parse(row.connectedAt) - Date.parse(row.timestamp)) / 1000;
      return { text: fill(t["clock.answered"], { time: duration(took) }), level: took > agentSlaS ? "missed" : "" };
    }
    if (row.status === "RESOLVED") return { text: t["clock.to_close"], level: "" };
    const waited = since(row.timestamp);
    const key = row.agentId ? "clock.to_voice" : "clock.to_agent";
    return {
      text: fill(t[key], { time: duration(waited) }),
      level: waited > agentSlaS ? "late" : waited > agentSlaS / 2 ? "warn" : "",
    };
  }
  if (row.status === "COMPLETED") return { text: t["clock.to_close"], level: "" };
  if (row.status === "REQUESTED" || row.status === "REJECTED")
    return { text: fill(t["clock.to_dispatch"], { time: duration(since(row.timestamp)) }), level: "warn" };
  if (row.status === "DISPATCHED")
    return { text: fill(t["clock.to_answer"], { time: duration(since(row.dispatchedAt)) }), level: "" };
  if (row.status === "ARRIVED") return { text: t["clock.arrived"], level: "" };
  if (!row.estimatedArrival) return { text: t["clock.no_eta"], level: "" };
  const left = -since(row.estimatedArrival);
  const slipped = row.promisedArrival
    ? Math.round((Date.parse(row.estimatedArrival) - Date.parse(row.promisedArrival)) / 60000)
    : 0;
  const slip = slipped > 0 ? " " + fill(t["clock.slip"], { minutes: slipped }) : "";
  if (left < 0 && ANSWERED_BY_PARTNER.has(row.status))
    return { text: fill(t["clock.overdue"], { time: duration(-left) }) + slip, level: "late" };
  return { text: fill(t["clock.eta"], { time: duration(left) }) + slip, level: slipped > 5 ? "warn" : "" };
}

const URGENCY = { CRITICAL: 0, HIGH: 1, MEDIUM: 2, LOW: 3 };
const PRIORITY = { HIGH: 4, NORMAL: 5, LOW: 6 };
const TO_CLOSE = 10;

/** Where an incident stands in the list: SOS by urgency, then RSA by priority, then what is only to be closed. */
export function rank(row) {
  if (row.status === "RESOLVED" || row.status === "COMPLETED") return TO_CLOSE;
  return row.service === "SOS" ? (URGENCY[row.urgency] ?? 1) : (PRIORITY[row.priority] ?? 5);
}
