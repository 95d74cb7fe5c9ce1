-- The call center's side: agents, partners, SOS and RSA incidents with timelines and voice calls.

CREATE TABLE agents (
    agent_id      text PRIMARY KEY,
    name          text NOT NULL,
    extension     text,
    availability  text NOT NULL DEFAULT 'OFFLINE' CHECK (availability IN ('AVAILABLE', 'BUSY', 'OFFLINE')),
    changed_at    timestamptz NOT NULL DEFAULT now()
);
COMMENT ON TABLE agents IS 'Counselors of the call center; changed_at of an AVAILABLE one says since when it is idle.';

CREATE TABLE partners (
    partner  text PRIMARY KEY CHECK (partner ~ '^[A-Z][A-Z0-9_]{1,63}$'),
    name     text NOT NULL,
    phone    text
);
COMMENT ON TABLE partners IS 'Dispatch companies for roadside assistance.';

CREATE TABLE cid_counters (
    prefix  text NOT NULL,
    day     date NOT NULL,
    last    integer NOT NULL,
    PRIMARY KEY (prefix, day)
);
COMMENT ON TABLE cid_counters IS 'Last number given out per UTC day, for SOS_YYYYMMDD_NNN, RSA_… and CALL-….';

CREATE TABLE sos_incidents (
    cid                  text PRIMARY KEY CHECK (cid ~ '^SOS_\d{8}_\d{3,9}$'),
    vin                  text NOT NULL REFERENCES vehicles,
    status               text NOT NULL
        CHECK (status IN ('INITIATED', 'CONNECTED', 'DISPATCHED', 'RESOLVED', 'CLOSED', 'CANCELLED')),
    emergency_type       text NOT NULL
        CHECK (emergency_type IN ('MEDICAL', 'BREAKDOWN', 'ACCIDENT', 'SECURITY', 'FIRE', 'OTHER')),
    urgency              text NOT NULL CHECK (urgency IN ('CRITICAL', 'HIGH', 'MEDIUM', 'LOW')),
    source               text NOT NULL CHECK (source IN ('TCU', 'APP')),
    test_call            boolean NOT NULL,
    occurred_at          timestamptz NOT NULL,
    received_at          timestamptz NOT NULL,
    anomalies            text[] NOT NULL,
    latitude             double precision,
    longitude            double precision,
    accuracy_m           double precision,
    address              text,
    located_at           timestamptz,
    description          text,
    contact_number       text,
    passenger_count      integer,
    vehicle_condition    text,
    request_type         text,
    customer_consent     jsonb,
    vehicle_status       jsonb,
    agent_id             text REFERENCES agents,
    assigned_at          timestamptz,
    connected_at         timestamptz,
    dispatch_info        jsonb,
    dispatched_at        timestamptz,
    result               text,
    notes                text,
    completion_time      timestamptz,
    closed_at            timestamptz,
    emergency_services   jsonb,
    customer_status      jsonb,
    follow_up_required   boolean,
    updated_at           timestamptz NOT NULL
);
-- One open SOS per vehicle: a second press is absorbed, however many writers there are. A press after RESOLVED is a new one.
CREATE UNIQUE INDEX sos_incidents_open ON sos_incidents (vin, test_call)
    WHERE status IN ('INITIATED', 'CONNECTED', 'DISPATCHED');
CREATE INDEX sos_incidents_queue ON sos_incidents (occurred_at)
    WHERE agent_id IS NULL AND NOT test_call AND status IN ('INITIATED', 'CONNECTED', 'DISPATCHED');
CREATE INDEX sos_incidents_history ON sos_incidents (vin, occurred_at DESC, cid DESC);
CREATE INDEX sos_incidents_agent ON sos_incidents (agent_id, occurred_at DESC) WHERE agent_id IS NOT NULL;
COMMENT ON TABLE sos_incidents IS 'One row per emergency. anomalies says what was wrong with the press that raised it.';

CREATE TABLE sos_timeline (
    entry_id     bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    cid          text NOT NULL REFERENCES sos_incidents,
    status       text NOT NULL,
    occurred_at  timestamptz NOT NULL,
    actor        text NOT NULL,
    description  text NOT NULL
);
CREATE INDEX sos_timeline_cid ON sos_timeline (cid, entry_id);
COMMENT ON TABLE sos_timeline IS 'What happened to an SOS incident, who did it and when; append-only.';

CREATE TABLE rsa_incidents (
    cid                  text PRIMARY KEY CHECK (cid ~ '^RSA_\d{8}_\d{3,9}$'),
    vin                  text NOT NULL REFERENCES vehicles,
    status               text NOT NULL CHECK (status IN ('REQUESTED', 'DISPATCHED', 'CONFIRMED', 'EN_ROUTE', 'ARRIVED',
                                                         'COMPLETED', 'CLOSED', 'REJECTED', 'CANCELLED')),
    service_type         text CHECK (service_type IN ('TOWING', 'BATTERY_JUMP', 'TIRE_CHANGE', 'FUEL_DELIVERY', 'LOCKOUT')),
    priority             text NOT NULL CHECK (priority IN ('HIGH', 'NORMAL', 'LOW')),
    source               text NOT NULL CHECK (source IN ('TCU', 'APP')),
    occurred_at          timestamptz NOT NULL,
    received_at          timestamptz NOT NULL,
    anomalies            text[] NOT NULL,
    latitude             double precision,
    longitude            double precision,
    accuracy_m           double precision,
    address              text,
    location_description text,
    symptoms             text[] NOT NULL,
    description          text,
    dtc_codes            text[] NOT NULL,
    battery_voltage      double precision,
    customer_info        jsonb,
    customer_consent     jsonb,
    vehicle_info         jsonb,
    destination          jsonb,
    partner              text REFERENCES partners,
    partner_ticket_id    text,
    provider             jsonb,
    provider_location    jsonb,
    provider_located_at  timestamptz,
    estimated_arrival    timestamptz,
    estimated_distance_km double precision,
    cost_estimate        jsonb,
    dispatched_at        timestamptz,
    completed_at         timestamptz,
    completion           jsonb,
    result               text,
    completion_time      timestamptz,
    closed_at            timestamptz,
    cost                 jsonb,
    customer_satisfaction integer CHECK (customer_satisfaction BETWEEN 1 AND 5),
    agent_id             text REFERENCES agents,
    notes                text,
    follow_up_required   boolean,
    updated_at           timestamptz NOT NULL
);
-- One open RSA request per vehicle: the app's and the vehicle's button make one incident.
CREATE UNIQUE INDEX rsa_incidents_open ON rsa_incidents (vin)
    WHERE status IN ('REQUESTED', 'DISPATCHED', 'CONFIRMED', 'EN_ROUTE', 'ARRIVED', 'REJECTED');
CREATE INDEX rsa_incidents_history ON rsa_incidents (vin, occurred_at DESC, cid DESC);
CREATE INDEX rsa_incidents_partner ON rsa_incidents (partner, occurred_at DESC) WHERE partner IS NOT NULL;
COMMENT ON TABLE rsa_incidents IS 'One row per roadside assistance request, with its dispatch and its completion.';

CREATE TABLE rsa_timeline (
    entry_id     bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    cid          text NOT NULL REFERENCES rsa_incidents,
    status       text NOT NULL,
    occurred_at  timestamptz NOT NULL,
    actor        text NOT NULL,
    description  text NOT NULL
);
CREATE INDEX rsa_timeline_cid ON rsa_timeline (cid, entry_id);
COMMENT ON TABLE rsa_timeline IS 'What happened to an RSA incident, who did it and when; append-only.';

CREATE TABLE voice_calls (
    session_id       text PRIMARY KEY,
    cid              text NOT NULL,
    status           text NOT NULL CHECK (status IN ('CONNECTING', 'CONNECTED', 'ENDED', 'FAILED')),
    started_at       timestamptz NOT NULL,
    connected_at     timestamptz,
    ended_at         timestamptz,
    duration_s       integer,
    battery_voltage  double precision
);
CREATE INDEX voice_calls_cid ON voice_calls (cid, started_at);
COMMENT ON TABLE voice_calls IS 'Voice calls of SOS and RSA incidents, as the vehicle reported them.';
