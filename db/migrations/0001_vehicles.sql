-- Vehicles, what they report, and what could not be read.

CREATE EXTENSION IF NOT EXISTS timescaledb;

CREATE TABLE vehicles (
    vin             text PRIMARY KEY CHECK (vin ~ '^[A-HJ-NPR-Z0-9]{17}$'),
    make            text,
    model           text,
    model_year      integer,
    color           text,
    license_plate   text,
    customer_name   text,
    customer_phone  text,
    membership_id   text,
    registered_at   timestamptz NOT NULL DEFAULT now()
);
COMMENT ON TABLE vehicles IS 'Every vehicle that may speak; a vehicle with a valid certificate is added when it first does.';

-- One day per chunk: late data (7 days) then touches at most nine chunks, retention drops whole days, and at
-- 10,000 vehicles reporting every 10 s the indexes of the newest chunk (about 6 GB) still fit in a 24 GB machine.
CREATE TABLE vehicle_status (
    vin                  text NOT NULL,
    message_id           uuid NOT NULL,
    occurred_at          timestamptz NOT NULL,
    received_at          timestamptz NOT NULL,
    clock_suspect        boolean NOT NULL,
    latitude             double precision,
    longitude            double precision,
    accuracy_m           real,
    heading_deg          real,
    speed_kph            real,
    odometer_km          double precision,
    battery_voltage      real,
    fuel_level           real,
    engine_status        text,
    transmission_status  text,
    drivable             boolean,
    dtc_codes            text[]
);
SELECT create_hypertable('vehicle_status', 'occurred_at', chunk_time_interval => interval '1 day',
                         create_default_indexes => false);
-- Answers "latest of this vehicle" backwards and refuses a second delivery: one index for both.
CREATE UNIQUE INDEX vehicle_status_latest ON vehicle_status (vin, occurred_at DESC, message_id);
COMMENT ON TABLE vehicle_status IS 'One sample of up/status; occurred_at by the vehicle''s clock, received_at by ours.';
COMMENT ON COLUMN vehicle_status.clock_suspect IS
    'The vehicle''s time was unusable (over 60 s ahead or over 7 days old): occurred_at is received_at.';

-- Engine events are some hundred times rarer than status: a week per chunk keeps the number of chunks small.
CREATE TABLE engine_events (
    vin            text NOT NULL,
    message_id     uuid NOT NULL,
    occurred_at    timestamptz NOT NULL,
    received_at    timestamptz NOT NULL,
    clock_suspect  boolean NOT NULL,
    event          text NOT NULL CHECK (event IN ('START', 'STOP')),
    latitude       double precision,
    longitude      double precision,
    odometer_km    double precision
);
SELECT create_hypertable('engine_events', 'occurred_at', chunk_time_interval => interval '7 days',
                         create_default_indexes => false);
CREATE UNIQUE INDEX engine_events_latest ON engine_events (vin, occurred_at DESC, message_id);
COMMENT ON TABLE engine_events IS 'Engine starts and stops from up/engine.';

CREATE TABLE vehicle_presence (
    vin         text PRIMARY KEY REFERENCES vehicles,
    online      boolean NOT NULL,
    changed_at  timestamptz NOT NULL
);
COMMENT ON TABLE vehicle_presence IS
    'Connected or not, in the order received: a last will carries the time of its connect, not of its loss.';

-- The newest by event time, whatever came last: late data cannot overwrite it.
CREATE VIEW vehicle_state AS
SELECT v.vin, p.online, p.changed_at AS presence_changed_at,
       s.occurred_at, s.received_at, s.clock_suspect, s.latitude, s.longitude, s.accuracy_m, s.heading_deg, s.speed_kph,
       s.odometer_km, s.battery_voltage, s.fuel_level, s.engine_status, s.transmission_status, s.drivable, s.dtc_codes,
       e.event AS engine_event, e.occurred_at AS engine_event_at
FROM vehicles v
LEFT JOIN vehicle_presence p ON p.vin = v.vin
LEFT JOIN LATERAL (SELECT * FROM vehicle_status vs WHERE vs.vin = v.vin ORDER BY vs.occurred_at DESC LIMIT 1) s ON true
LEFT JOIN LATERAL (SELECT * FROM engine_events ee WHERE ee.vin = v.vin ORDER BY ee.occurred_at DESC LIMIT 1) e ON true;
COMMENT ON VIEW vehicle_state IS 'Latest status, engine event and presence of each vehicle.';

CREATE TABLE received_messages (
    vin          text NOT NULL,
    message_id   uuid NOT NULL,
    kind         text NOT NULL,
    received_at  timestamptz NOT NULL,
    cid          text,
    PRIMARY KEY (vin, message_id)
);
CREATE INDEX received_messages_received_at ON received_messages (received_at);
COMMENT ON TABLE received_messages IS
    'Ids of stored messages, so that a second delivery has no second effect; kept longer than late data may be.';

CREATE TABLE quarantine (
    quarantine_id  bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    topic          text NOT NULL,
    payload        bytea NOT NULL,
    payload_hash   bytea NOT NULL,
    vin            text,
    kind           text,
    reason         text NOT NULL,
    detail         text NOT NULL,
    cid            text,
    first_received_at  timestamptz NOT NULL,
    received_at    timestamptz NOT NULL,
    times_received integer NOT NULL DEFAULT 1,
    replay_requested_at timestamptz,
    replayed_at    timestamptz
);
-- The same bytes again are counted, not stored again: a broken unit cannot fill the disk.
CREATE UNIQUE INDEX quarantine_same_bytes ON quarantine (topic, payload_hash);
CREATE INDEX quarantine_replay ON quarantine (replay_requested_at) WHERE replay_requested_at IS NOT NULL AND replayed_at IS NULL;
CREATE INDEX quarantine_received_at ON quarantine (received_at DESC);
COMMENT ON TABLE quarantine IS 'Messages that could not be read or stored: raw bytes, topic and reason, for a later replay.';

CREATE TABLE vehicle_commands (
    command_id   uuid PRIMARY KEY,
    vin          text NOT NULL REFERENCES vehicles,
    type         text NOT NULL CHECK (type IN ('TIME_SYNC')),
    parameters   jsonb NOT NULL,
    issued_at    timestamptz NOT NULL,
    expires_at   timestamptz NOT NULL,
    ack_status   text CHECK (ack_status IN ('ACCEPTED', 'EXECUTED', 'REJECTED', 'FAILED')),
    ack_reason   text,
    acked_at     timestamptz
);
CREATE INDEX vehicle_commands_vin ON vehicle_commands (vin, type, issued_at DESC);
COMMENT ON TABLE vehicle_commands IS 'Commands sent to vehicles and what became of them. None can express stopping an engine.';
