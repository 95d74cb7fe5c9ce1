-- The event outbox, keys, heartbeats and the analysts' role.

CREATE TABLE events (
    event_id     bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    sequence     bigint,
    service      text NOT NULL,
    type         text NOT NULL,
    priority     text NOT NULL CHECK (priority IN ('HIGH', 'NORMAL', 'LOW')),
    vin          text NOT NULL,
    cid          text,
    partner      text,
    occurred_at  timestamptz NOT NULL,
    data         json NOT NULL,
    appended_at  timestamptz NOT NULL DEFAULT now()
);
CREATE UNIQUE INDEX events_sequence ON events (sequence);
CREATE INDEX events_unsequenced ON events (event_id) WHERE sequence IS NULL;
COMMENT ON TABLE events IS 'Every change of an incident or command, written in the transaction that made it.';
COMMENT ON COLUMN events.data IS 'The guide''s data object; json, not jsonb, so that its fields stay in the documented order.';
COMMENT ON COLUMN events.sequence IS
    'Given after the commit by one elected sequencer, so that a reader who asks for what is greater than its last skips none.';

CREATE TABLE event_cursors (
    reader    text PRIMARY KEY,
    sequence  bigint NOT NULL
);
COMMENT ON TABLE event_cursors IS 'How far a durable reader of events has come.';

CREATE TABLE api_keys (
    key_id        bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    key_hash      bytea NOT NULL UNIQUE,
    label         text NOT NULL,
    role          text NOT NULL
        CHECK (role IN ('owner', 'guardian', 'driver', 'agent', 'partner', 'analyst', 'operator')),
    vins          text[] NOT NULL DEFAULT '{}',
    every_vehicle boolean NOT NULL DEFAULT false,
    agent_id      text REFERENCES agents,
    partner       text REFERENCES partners,
    created_at    timestamptz NOT NULL DEFAULT now(),
    expires_at    timestamptz,
    revoked_at    timestamptz
);
COMMENT ON TABLE api_keys IS 'Bearer keys by their SHA-256 (the keys have 256 random bits), with a role and the vehicles they may see.';

CREATE TABLE processes (
    name        text PRIMARY KEY,
    started_at  timestamptz NOT NULL,
    beat_at     timestamptz NOT NULL,
    ready       boolean NOT NULL,
    figures     jsonb NOT NULL
);
COMMENT ON TABLE processes IS 'Heartbeat and measured figures of each process.';

DO $$
BEGIN
    CREATE ROLE analyst NOLOGIN;
EXCEPTION WHEN duplicate_object OR unique_violation OR insufficient_privilege THEN
    NULL;  -- roles belong to the whole cluster: another database of it has made this one, or an administrator has
END
$$;
GRANT USAGE ON SCHEMA public TO analyst;
-- No name, phone number, free text or raw payload: analysts work on figures.
GRANT SELECT ON vehicle_status, engine_events, vehicle_presence, vehicle_state, voice_calls, vehicle_commands TO analyst;
GRANT SELECT (vin, make, model, model_year, registered_at) ON vehicles TO analyst;
GRANT SELECT (cid, vin, status, emergency_type, urgency, source, test_call, occurred_at, received_at, anomalies, latitude,
    longitude, accuracy_m, located_at, passenger_count, vehicle_condition, request_type, vehicle_status, agent_id, assigned_at,
    connected_at, dispatched_at, result, completion_time, closed_at, follow_up_required, updated_at) ON sos_incidents TO analyst;
GRANT SELECT (cid, status, occurred_at) ON sos_timeline, rsa_timeline TO analyst;
GRANT SELECT (cid, vin, status, service_type, priority, source, occurred_at, received_at, anomalies, latitude, longitude,
    accuracy_m, symptoms, dtc_codes, battery_voltage, partner, estimated_arrival, estimated_distance_km, dispatched_at,
    completed_at, result, completion_time, closed_at, cost, customer_satisfaction, agent_id, follow_up_required, updated_at)
    ON rsa_incidents TO analyst;
