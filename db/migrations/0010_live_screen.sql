-- What a live screen shows beyond the present moment: the arrival that was promised first, and figures of the last hours.

ALTER TABLE rsa_incidents ADD COLUMN promised_arrival timestamptz;
COMMENT ON COLUMN rsa_incidents.promised_arrival IS
    'The first time of arrival that the present partner gave; estimated_arrival is the latest.';

-- Found by what an open list asks for; RESOLVED and COMPLETED are over for the customer and not yet closed.
CREATE INDEX sos_incidents_unclosed ON sos_incidents (cid) WHERE status NOT IN ('CLOSED', 'CANCELLED');
CREATE INDEX rsa_incidents_unclosed ON rsa_incidents (cid) WHERE status NOT IN ('CLOSED', 'CANCELLED');

CREATE TABLE operations_samples (
    sampled_at          timestamptz PRIMARY KEY,
    processes           jsonb NOT NULL,
    connected_vehicles  integer NOT NULL,
    quarantined         integer NOT NULL
);
COMMENT ON TABLE operations_samples IS
    'What the processes measured, every ten seconds for a day. processes: the figures of each living one by name.';

CREATE VIEW incidents_overview AS
SELECT 'SOS' AS service, s.cid, s.vin, s.status, s.emergency_type AS kind, s.urgency, NULL AS priority, s.test_call,
       s.occurred_at, s.received_at, s.latitude, s.longitude, s.address, s.agent_id, s.assigned_at, s.connected_at,
       s.dispatched_at, NULL AS partner, (s.dispatch_info ->> 'estimatedArrival')::timestamptz AS estimated_arrival,
       NULL::timestamptz AS promised_arrival, v.customer_name, s.anomalies, s.updated_at
FROM sos_incidents s JOIN vehicles v ON v.vin = s.vin
UNION ALL
SELECT 'RSA', r.cid, r.vin, r.status, r.service_type, NULL, r.priority, false,
       r.occurred_at, r.received_at, r.latitude, r.longitude, r.address, r.agent_id, NULL, NULL,
       r.dispatched_at, r.partner, r.estimated_arrival,
       r.promised_arrival, coalesce(r.customer_info ->> 'name', v.customer_name), r.anomalies, r.updated_at
FROM rsa_incidents r JOIN vehicles v ON v.vin = r.vin;
COMMENT ON VIEW incidents_overview IS 'Incidents of both services in one line each, as lists show them.';
