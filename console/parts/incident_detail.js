import { tick, duration, since, serviceClock, local, utc } from "tcu-console";

export default {
  template: `
  <article v-if="incident" class="detail" :aria-label="incident.cid" :data-cid="incident.cid">
    <header class="detail-head" :class="row.service === 'SOS' ? 'u-' + row.urgency : 'u-RSA'">
      <div>
        <h1>{{ word('kind', row.kind) }} <small>{{ incident.cid }}</small></h1>
        <p class="dim">
          <span class="tag" :class="'tag-' + (row.urgency || 'none')">{{ word('urgency', row.urgency || row.priority) }}</span>
          <span class="tag plain" data-testid="status">{{ word('status', incident.status) }}</span>
          <span v-if="incident.testCall" class="tag plain">{{ t['detail.test_call'] }}</span>
          <span class="clock" :class="clock.level">{{ clock.text }}</span>
        </p>
      </div>
      <div class="big-age" :title="utc(row.timestamp)"><b>{{ age }}</b><small>{{ t['detail.since'] }} {{ local(row.timestamp, { seconds: true }) }}</small></div>
    </header>

    <p v-if="why" class="note warn" role="status">{{ why }}</p>

    <div ref="toolbar" class="actions" role="toolbar" tabindex="-1" :aria-label="t['detail.actions']">
      <button v-for="a in actions" :key="a.name" type="button" class="button" :class="a.look" :data-action="a.name"
              @click="$emit('act', { name: a.name, cid: incident.cid, etag })">{{ a.label }}</button>
      <span v-if="!actions.length" class="dim">{{ t['detail.over'] }}</span>
    </div>

    <p v-if="incident.description || incident.breakdownDetails?.description" class="said">{{ incident.description || incident.breakdownDetails.description }}</p>
    <p v-if="incident.anomalies.length" class="note warn">{{ t['list.anomalies'] }}{{ incident.anomalies.join(', ') }}</p>

    <div class="facts">
      <section>
        <h2>{{ t['detail.contact'] }}</h2>
        <dl>
          <dt>{{ t['detail.name'] }}</dt><dd>{{ incident.customerInfo?.name || '–' }}</dd>
          <dt>{{ t['detail.phone'] }}</dt><dd><a v-if="phone" :href="'tel:' + phone.replace(/[^+0-9]/g, '')">{{ phone }}</a><span v-else>–</span></dd>
          <template v-if="row.service === 'SOS'"><dt>{{ t['detail.passengers'] }}</dt><dd>{{ incident.customerInfo?.passengerCount ?? '–' }}</dd></template>
          <dt>{{ t['detail.vehicle'] }}</dt><dd><code>{{ incident.vin }}</code></dd>
          <dt>{{ t['detail.place'] }}</dt><dd>{{ place }}</dd>
          <dt>{{ t['detail.consent'] }}</dt>
          <dd><span v-if="!incident.customerConsent">{{ t['detail.not_said'] }}</span>
              <span v-else class="consents"><span v-for="c in consents" :key="c.name" class="mark" :class="c.yes ? 'good' : 'bad'">{{ c.yes ? '✓' : '✕' }} {{ c.label }}</span></span></dd>
        </dl>
      </section>
      <section v-if="row.service === 'SOS'">
        <h2>{{ t['detail.call'] }}</h2>
        <dl v-if="incident.voiceCall">
          <dt>{{ t['detail.status'] }}</dt><dd><span class="dot" :class="callLook"></span>{{ word('call', incident.voiceCall.status) }}</dd>
          <dt>{{ t['detail.lasts'] }}</dt><dd>{{ callLasts }}</dd>
          <dt>{{ t['detail.agent'] }}</dt><dd>{{ incident.voiceCall.agent ? incident.voiceCall.agent.name + ' · ' + (incident.voiceCall.agent.extension || incident.voiceCall.agent.agentId) : t['detail.nobody'] }}</dd>
        </dl>
        <p v-else class="dim">{{ t['detail.no_call'] }}</p>
        <template v-if="incident.dispatchInfo.dispatched">
          <h2>{{ t['detail.dispatch'] }}</h2>
          <dl>
            <dt>{{ t['detail.sent'] }}</dt><dd>{{ word('service', incident.dispatchInfo.serviceType) }} {{ incident.dispatchInfo.status ? '· ' + word('status', incident.dispatchInfo.status) : '' }}</dd>
            <dt>{{ t['detail.unit'] }}</dt><dd>{{ [incident.dispatchInfo.provider, incident.dispatchInfo.unitNumber].filter(Boolean).join(' · ') || '–' }}</dd>
            <dt>{{ t['detail.eta'] }}</dt><dd :title="utc(incident.dispatchInfo.estimatedArrival)">{{ local(incident.dispatchInfo.estimatedArrival) || '–' }}</dd>
          </dl>
        </template>
      </section>
      <section v-else>
        <h2>{{ t['detail.partner'] }}</h2>
        <dl>
          <dt>{{ t['detail.partner'] }}</dt><dd>{{ incident.partner || t['detail.nobody'] }}</dd>
          <dt>{{ t['detail.provider'] }}</dt><dd>{{ [incident.provider?.name, incident.provider?.driver?.name, incident.provider?.driver?.phone || incident.provider?.phone].filter(Boolean).join(' · ') || '–' }}</dd>
          <dt>{{ t['detail.ticket'] }}</dt><dd>{{ incident.partnerTicketId || '–' }}</dd>
          <dt>{{ t['detail.eta'] }}</dt><dd :title="utc(row.estimatedArrival)">{{ local(row.estimatedArrival) || '–' }}<span v-if="slip" class="clock warn">&nbsp;{{ slip }}</span></dd>
          <dt>{{ t['detail.distance'] }}</dt><dd>{{ incident.locationTracking.estimatedDistance == null ? '–' : incident.locationTracking.estimatedDistance + ' km' }}</dd>
          <dt>{{ t['detail.destination'] }}</dt><dd>{{ incident.locationTracking.destination?.address || '–' }}</dd>
          <template v-if="incident.dispatch"><dt>{{ t['detail.delivery'] }}</dt><dd>{{ incident.dispatch.delivery }}{{ incident.dispatch.lastError ? ' · ' + incident.dispatch.lastError : '' }}</dd></template>
        </dl>
      </section>
      <section :class="{ stale: vehicleOld }">
        <h2>{{ t['detail.state'] }}
          <span v-if="online === true" class="mark good">{{ t['detail.online'] }}</span>
          <span v-else-if="online === false" class="mark bad">{{ t['detail.offline'] }}</span>
          <span v-if="vehicleOld" class="mark old">{{ t['detail.stale'] }}</span>
        </h2>
        <dl v-if="state">
          <dt>{{ t['detail.as_of'] }}</dt><dd :title="utc(state.asOf)">{{ local(state.asOf, { seconds: true }) }} · {{ stateAge }}</dd>
          <dt>{{ t['detail.engine'] }}</dt><dd>{{ state.engineStatus ?? '–' }}{{ state.transmissionStatus ? ' · ' + state.transmissionStatus : '' }}</dd>
          <dt>{{ t['detail.battery'] }}</dt><dd>{{ state.batteryVoltage == null ? '–' : state.batteryVoltage.toFixed(1) + ' V' }}</dd>
          <dt>{{ t['detail.fuel'] }}</dt><dd>{{ state.fuelLevel == null ? '–' : Math.round(state.fuelLevel) + ' %' }}</dd>
          <dt>{{ t['detail.drivable'] }}</dt><dd>{{ state.drivable == null ? '–' : state.drivable ? t['yes'] : t['no'] }}</dd>
          <dt>{{ t['detail.dtc'] }}</dt><dd>{{ state.dtcCodes?.length ? state.dtcCodes.join(', ') : '–' }}</dd>
        </dl>
        <p v-else class="dim">{{ t['detail.no_state'] }}</p>
      </section>
    </div>

    <section class="timeline">
      <h2>{{ t['detail.timeline'] }}</h2>
      <ol>
        <li v-for="(line, i) in lines" :key="i">
          <time :datetime="line.timestamp" :title="utc(line.timestamp)">{{ local(line.timestamp, { seconds: true }) }}</time>
          <span class="what" :title="line.description">{{ told(line.description) }}</span>
          <span class="by">{{ line.actor }}</span>
        </li>
      </ol>
    </section>
  </article>
  <div v-else class="detail nothing"><p :role="why ? 'alert' : null">{{ why || t['detail.choose'] }}</p></div>`,
  props: { t: Object, agentSla: Number },
  data: () => ({ incident: null, row: null, vehicle: null, actions: [], etag: null, why: "" }),
  mounted() {
    // A form that closes gives the focus back to the button that opened it, which may be gone by then.
    this.closed = (event) => event.target.matches("dialog") && setTimeout(this.refocus);
    document.addEventListener("close", this.closed, true);
  },
  unmounted() {
    document.removeEventListener("close", this.closed, true);
  },
  computed: {
    clock() {
      return serviceClock(this.row, this.t, this.agentSla);
    },
    age() {
      return duration(since(this.row.timestamp));
    },
    phone() {
      return this.incident.contactNumber || this.incident.customerInfo?.phone;
    },
    place() {
      const at = this.incident.location || this.incident.locationTracking?.breakdownLocation;
      if (!at) return this.t["list.nowhere"];
      const point = at.latitude == null ? "" : `${at.latitude.toFixed(5)}, ${at.longitude.toFixed(5)}`;
      const accuracy = at.accuracy == null ? "" : `± ${Math.round(at.accuracy)} m`;
      return [at.address, point, accuracy].filter(Boolean).join(" · ");
    },
    consents() {
      const said = this.incident.customerConsent;
      return ["granted", "locationSharing", "voiceRecording", "emergencyServices", "vehicleStatusSharing", "recorded"]
        .filter((name) => typeof said[name] === "boolean")
        .map((name) => ({ name, yes: said[name], label: this.t["consent." + name] }));
    },
    callLook() {
      return { CONNECTED: "good", CONNECTING: "warn", FAILED: "bad" }[this.incident.voiceCall.status] ?? "old";
    },
    callLasts() {
      const call = this.incident.voiceCall;
      if (call.status === "CONNECTED" && call.startTime) return duration(since(call.startTime));
      return call.duration == null ? "–" : duration(call.duration);
    },
    slip() {
      const { estimatedArrival, promisedArrival } = this.row;
      const minutes = promisedArrival ? Math.round((Date.parse(estimatedArrival) - Date.parse(promisedArrival)) / 60000) : 0;
      return minutes > 0 ? this.t["clock.slip"].replace("{minutes}", minutes) : "";
    },
    // An SOS tells the state as it was at the press or later; of an RSA the vehicle's own latest word is shown.
    state() {
      return this.incident.vehicleStatus || (this.vehicle?.asOf ? this.vehicle : null);
    },
    online() {
      return this.incident.vehicleStatus ? this.incident.vehicleStatus.online : this.vehicle?.online;
    },
    stateAge() {
      return duration(since(this.state.asOf));
    },
    vehicleOld() {
      return Boolean(this.state) && (since(this.state.asOf) > 300 || this.online === false);
    },
    lines() {
      return [...this.incident.timeline].reverse();
    },
  },
  methods: {
    local,
    utc,
    show(incident, row, vehicle, actions, etag) {
      const held = this.$refs.toolbar?.contains(document.activeElement);
      Object.assign(this, { incident, row, vehicle, actions, etag, why: "" });
      if (held) this.$nextTick(this.refocus);
    },
    show_unread(why, keep) {
      this.why = why;
      if (!keep) this.incident = null;
    },
    /** Keep the place of whoever works with the keyboard when the pressed button is gone: no other button has it then. */
    refocus() {
      if (document.activeElement === document.body) this.$refs.toolbar?.focus();
    },
    /** A line with the instants that it names by the viewer's clock; its title has it as it was written. */
    told(description) {
      return description.replace(/\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z/g, (instant) => local(instant));
    },
    word(kind, name) {
      return this.t[`${kind}.${name}`] ?? name ?? "";
    },
  },
};
