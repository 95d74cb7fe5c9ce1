-- Consent to location and recordings, and what stays of a vehicle that was erased.

ALTER TABLE consents DROP CONSTRAINT consents_purpose_check;
ALTER TABLE consents ADD CONSTRAINT consents_purpose_check
    CHECK (purpose IN ('CURFEW', 'LOCATION', 'VOICE_RECORDING'));

ALTER TABLE vehicles ADD COLUMN location_withheld boolean NOT NULL DEFAULT false;
COMMENT ON COLUMN vehicles.location_withheld IS
    'The driver has withdrawn the consent to LOCATION: but for an SOS, places are neither stored nor shown.';
CREATE INDEX vehicles_location_withheld ON vehicles (vin) WHERE location_withheld;

-- The newest by event time, whatever came last: late data cannot overwrite it.
CREATE OR REPLACE VIEW vehicle_state AS
SELECT v.vin, p.online, p.changed_at AS presence_changed_at,
       s.occurred_at, s.received_at, s.clock_suspect,
       CASE WHEN NOT v.location_withheld THEN s.latitude END AS latitude,
       CASE WHEN NOT v.location_withheld THEN s.longitude END AS longitude,
       CASE WHEN NOT v.location_withheld THEN s.accuracy_m END AS accuracy_m,
       CASE WHEN NOT v.location_withheld THEN s.heading_deg END AS heading_deg,
       s.speed_kph,
       s.odometer_km, s.battery_voltage, s.fuel_level, s.engine_status, s.transmission_status, s.drivable, s.dtc_codes,
       e.event AS engine_event, e.occurred_at AS engine_event_at
FROM vehicles v
LEFT JOIN vehicle_presence p ON p.vin = v.vin
LEFT JOIN LATERAL (SELECT * FROM vehicle_status vs WHERE vs.vin = v.vin ORDER BY vs.occurred_at DESC LIMIT 1) s ON true
LEFT JOIN LATERAL (SELECT * FROM engine_events ee WHERE ee.vin = v.vin ORDER BY ee.occurred_at DESC LIMIT 1) e ON true;
COMMENT ON VIEW vehicle_state IS
    'Latest status, engine event and presence of each vehicle; without its place where that is withheld.';

CREATE VIEW curfew_violations_shown AS
SELECT c.violation_number, c.vin, c.started_at, c.ended_at, c.resolution, c.severity,
       CASE WHEN NOT v.location_withheld THEN c.latitude END AS latitude,
       CASE WHEN NOT v.location_withheld THEN c.longitude END AS longitude,
       c.detected_late, c.detected_at
FROM curfew_violations c JOIN vehicles v ON v.vin = c.vin
WHERE c.retracted_at IS NULL;
COMMENT ON VIEW curfew_violations_shown IS
    'Violations that were not retracted; without their places where these are withheld.';

CREATE TABLE erased_incidents (
    service     text NOT NULL CHECK (service IN ('SOS', 'RSA')),
    month       date NOT NULL,
    kind        text,
    urgency     text,
    status      text NOT NULL,
    source      text NOT NULL,
    test_call   boolean NOT NULL,
    response_s  integer,
    duration_s  integer
);
CREATE INDEX erased_incidents_month ON erased_incidents (month);
COMMENT ON TABLE erased_incidents IS
    'What stays of the incidents of erased vehicles: figures for statistics; no vehicle, person, place, number or day.';
COMMENT ON COLUMN erased_incidents.urgency IS 'An SOS''s urgency, an RSA request''s priority.';
COMMENT ON COLUMN erased_incidents.response_s IS 'From the press to the voice, or to the dispatch of a partner.';

CREATE TABLE erasure_certificates (
    certificate_id  uuid PRIMARY KEY,
    issued_at       timestamptz NOT NULL,
    subject_hash    bytea NOT NULL CHECK (length(subject_hash) = 32),
    report          json NOT NULL
);
COMMENT ON TABLE erasure_certificates IS 'That a vehicle was erased: what was deleted and what was kept and why; names no vehicle.';
COMMENT ON COLUMN erasure_certificates.subject_hash IS
    'SHA-256 of the certificate''s id and the VIN: who knows the VIN can tell that it was this one.';

GRANT SELECT ON curfew_violations_shown, erased_incidents TO analyst;
