-- Curfew: policies by version, exceptions, the driver's consent, and the violations that follow from them.

CREATE TABLE curfew_policies (
    policy_id    bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    vin          text NOT NULL REFERENCES vehicles,
    valid_from   timestamptz NOT NULL,
    set_by       text NOT NULL,
    enabled      boolean NOT NULL,
    timezone     text NOT NULL,
    windows      jsonb NOT NULL,
    actions      text[] NOT NULL
        CHECK (actions <@ ARRAY['notification', 'in_vehicle_warning', 'engine_start_block'])
);
CREATE INDEX curfew_policies_vin ON curfew_policies (vin, policy_id DESC);
COMMENT ON TABLE curfew_policies IS
    'Append-only: each setting is a version, so that late data is judged by the policy in force when it happened.';
COMMENT ON COLUMN curfew_policies.windows IS 'A list of {days, start, end}: days by name, times as HH:MM on the wall clock of timezone.';

CREATE TABLE curfew_exceptions (
    exception_number  bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    vin           text NOT NULL REFERENCES vehicles,
    reason        text NOT NULL,
    start_time    timestamptz NOT NULL,
    end_time      timestamptz NOT NULL CHECK (end_time > start_time),
    created_at    timestamptz NOT NULL,
    created_by    text NOT NULL,
    cancelled_at  timestamptz,
    announced     text NOT NULL DEFAULT 'scheduled' CHECK (announced IN ('scheduled', 'active', 'expired', 'cancelled'))
);
CREATE INDEX curfew_exceptions_vin ON curfew_exceptions (vin, start_time DESC);
CREATE INDEX curfew_exceptions_unannounced ON curfew_exceptions (start_time) WHERE announced IN ('scheduled', 'active');
COMMENT ON TABLE curfew_exceptions IS 'Temporary releases; announced is the last status that an event has told.';

CREATE TABLE consents (
    consent_id    bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    vin           text NOT NULL REFERENCES vehicles,
    purpose       text NOT NULL CHECK (purpose IN ('CURFEW')),
    granted       boolean NOT NULL,
    effective_at  timestamptz NOT NULL,
    recorded_by   text NOT NULL
);
CREATE INDEX consents_vin ON consents (vin, purpose, consent_id DESC);
COMMENT ON TABLE consents IS 'The driver''s consent by purpose, append-only: granted, withdrawn, granted again.';

CREATE TABLE curfew_watch (
    vin         text PRIMARY KEY REFERENCES vehicles,
    running     boolean NOT NULL DEFAULT false,
    seen_at     timestamptz,
    judged_at   timestamptz NOT NULL,
    next_at     timestamptz,
    quiet_since timestamptz,
    quiet_until timestamptz
);
CREATE INDEX curfew_watch_next ON curfew_watch (next_at) WHERE next_at IS NOT NULL;
COMMENT ON TABLE curfew_watch IS
    'One row per vehicle that ever had a policy: whether its engine ran when last seen, when it was judged, and when the
clock alone will change that.';
COMMENT ON COLUMN curfew_watch.quiet_until IS
    'From quiet_since until then nothing is restricted, whatever the engine does: no judgement is needed.';

CREATE TABLE curfew_violations (
    violation_number  bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    vin            text NOT NULL REFERENCES vehicles,
    started_at     timestamptz NOT NULL,
    ended_at       timestamptz,
    resolution     text CHECK (resolution IN
        ('ENGINE_STOP', 'WINDOW_END', 'EXCEPTION', 'SOS', 'CONSENT_WITHDRAWN', 'POLICY_CHANGED')),
    severity       text NOT NULL CHECK (severity IN ('LOW', 'MEDIUM', 'HIGH')),
    latitude       double precision,
    longitude      double precision,
    detected_late  boolean NOT NULL,
    retracted_at   timestamptz,
    detected_at    timestamptz NOT NULL,
    CHECK ((ended_at IS NULL) = (resolution IS NULL))
);
CREATE INDEX curfew_violations_vin ON curfew_violations (vin, started_at DESC);
CREATE INDEX curfew_violations_open ON curfew_violations (vin) WHERE ended_at IS NULL AND retracted_at IS NULL;
COMMENT ON TABLE curfew_violations IS
    'The engine ran inside the curfew. Retracted: later data or an exception showed that it did not, or need not count.';
COMMENT ON COLUMN curfew_violations.severity IS 'As of the last judgement: LOW below 15 minutes, MEDIUM below 60, then HIGH.';

-- What else a vehicle can be asked to do. No type can express stopping an engine.
ALTER TABLE vehicle_commands DROP CONSTRAINT vehicle_commands_type_check;
ALTER TABLE vehicle_commands ADD CONSTRAINT vehicle_commands_type_check
    CHECK (type IN ('TIME_SYNC', 'IN_VEHICLE_WARNING', 'ENGINE_START_BLOCK', 'ENGINE_START_RELEASE'));
ALTER TABLE vehicle_commands
    ADD COLUMN outcome text NOT NULL DEFAULT 'PENDING'
        CHECK (outcome IN ('PENDING', 'ACCEPTED', 'EXECUTED', 'REJECTED', 'FAILED', 'EXPIRED', 'WITHDRAWN')),
    ADD COLUMN reason text NOT NULL DEFAULT '',
    ADD COLUMN sends integer NOT NULL DEFAULT 1,
    ADD COLUMN next_send_at timestamptz,
    ADD COLUMN closed_at timestamptz;
CREATE INDEX vehicle_commands_pending ON vehicle_commands (expires_at) WHERE outcome = 'PENDING';
COMMENT ON COLUMN vehicle_commands.outcome IS 'Terminal once: what is not PENDING or ACCEPTED never changes again.';

GRANT SELECT ON curfew_policies, curfew_watch, curfew_violations TO analyst;
GRANT SELECT (exception_number, vin, start_time, end_time, created_at, cancelled_at) ON curfew_exceptions TO analyst;
