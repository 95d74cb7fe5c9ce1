-- What analysts read: views without names, numbers and texts, and places only as cells of a grid of about a kilometre.

CREATE TABLE second_deliveries (
    delivery_id  bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    vin          text NOT NULL,
    kind         text NOT NULL,
    received_at  timestamptz NOT NULL,
    messages     integer NOT NULL
);
CREATE INDEX second_deliveries_received_at ON second_deliveries (received_at);
COMMENT ON TABLE second_deliveries IS 'Messages that came again and had no second effect: how many of a vehicle in a batch.';
COMMENT ON COLUMN second_deliveries.delivery_id IS 'Number of the row.';
COMMENT ON COLUMN second_deliveries.vin IS 'The vehicle.';
COMMENT ON COLUMN second_deliveries.kind IS 'The last part of the topic: status, engine, sos, rsa, call or command-ack.';
COMMENT ON COLUMN second_deliveries.received_at IS 'When they came, by our clock.';
COMMENT ON COLUMN second_deliveries.messages IS 'How many.';
REVOKE UPDATE ON second_deliveries FROM tcu_service;

CREATE SCHEMA analytics;
COMMENT ON SCHEMA analytics IS 'What analysts read; docs/analysts.md has questions and answers.';
GRANT USAGE ON SCHEMA analytics TO analyst, tcu_service;
ALTER DEFAULT PRIVILEGES IN SCHEMA analytics GRANT SELECT ON TABLES TO analyst, tcu_service;

-- Exact places are not for analysts; the views have them rounded, and not of vehicles that withhold them.
REVOKE SELECT ON vehicle_status, engine_events, vehicle_state, curfew_violations, curfew_violations_shown, vehicle_commands
    FROM analyst;
REVOKE SELECT (latitude, longitude, accuracy_m) ON sos_incidents, rsa_incidents FROM analyst;
GRANT SELECT (vin, message_id, occurred_at, received_at, clock_suspect, speed_kph, odometer_km, battery_voltage, fuel_level,
    engine_status, transmission_status, drivable, dtc_codes) ON vehicle_status TO analyst;
GRANT SELECT (vin, message_id, occurred_at, received_at, clock_suspect, event, odometer_km) ON engine_events TO analyst;
GRANT SELECT (vin, online, presence_changed_at, occurred_at, received_at, clock_suspect, speed_kph, odometer_km,
    battery_voltage, fuel_level, engine_status, transmission_status, drivable, dtc_codes, engine_event, engine_event_at)
    ON vehicle_state TO analyst;
GRANT SELECT (violation_number, vin, started_at, ended_at, resolution, severity, detected_late, retracted_at, detected_at)
    ON curfew_violations TO analyst;
GRANT SELECT (violation_number, vin, started_at, ended_at, resolution, severity, detected_late, detected_at)
    ON curfew_violations_shown TO analyst;
-- Nor what a command or a vehicle says in words.
GRANT SELECT (command_id, vin, type, issued_at, expires_at, ack_status, acked_at, outcome, sends, closed_at)
    ON vehicle_commands TO analyst;

CREATE VIEW analytics.status AS
SELECT s.vin, s.occurred_at, s.received_at, s.clock_suspect,
       CASE WHEN NOT v.location_withheld THEN round(s.latitude::numeric, 2)::double precision END AS latitude,
       CASE WHEN NOT v.location_withheld THEN round(s.longitude::numeric, 2)::double precision END AS longitude,
       s.speed_kph, s.odometer_km, s.battery_voltage, s.fuel_level, s.engine_status, s.transmission_status, s.drivable,
       s.dtc_codes
FROM vehicle_status s LEFT JOIN vehicles v ON v.vin = s.vin;
COMMENT ON VIEW analytics.status IS 'Every status message; places rounded to 0.01 degrees, null where the vehicle withholds them.';

CREATE VIEW analytics.engine_events AS
SELECT e.vin, e.occurred_at, e.received_at, e.clock_suspect, e.event, e.odometer_km,
       CASE WHEN NOT v.location_withheld THEN round(e.latitude::numeric, 2)::double precision END AS latitude,
       CASE WHEN NOT v.location_withheld THEN round(e.longitude::numeric, 2)::double precision END AS longitude
FROM engine_events e LEFT JOIN vehicles v ON v.vin = e.vin;
COMMENT ON VIEW analytics.engine_events IS 'Engine starts and stops; places as in analytics.status.';

-- Continuous aggregates in the Community edition, plain views with the same columns in the Apache edition.
DO $make$
DECLARE
    community boolean := current_setting('timescaledb.license') = 'timescale';
    unit text;
BEGIN
    FOREACH unit IN ARRAY ARRAY['minute', 'hour', 'day'] LOOP
        EXECUTE format($view$
            CREATE %s analytics.status_by_%s %s AS
            SELECT vin, time_bucket(interval '1 %s', occurred_at) AS bucket, count(*) AS samples,
                   count(*) FILTER (WHERE received_at - occurred_at > interval '5 minutes') AS late_samples,
                   count(*) FILTER (WHERE clock_suspect) AS clock_suspect_samples,
                   count(*) FILTER (WHERE engine_status IN ('ON', 'CRANKING')) AS engine_on_samples,
                   min(speed_kph) AS speed_kph_min, max(speed_kph) AS speed_kph_max, avg(speed_kph) AS speed_kph_average,
                   first(odometer_km, occurred_at) FILTER (WHERE odometer_km IS NOT NULL) AS odometer_km_first,
                   last(odometer_km, occurred_at) FILTER (WHERE odometer_km IS NOT NULL) AS odometer_km_last,
                   min(battery_voltage) AS battery_voltage_min, max(battery_voltage) AS battery_voltage_max,
                   avg(battery_voltage) AS battery_voltage_average,
                   min(fuel_level) AS fuel_level_min, max(fuel_level) AS fuel_level_max,
                   last(fuel_level, occurred_at) FILTER (WHERE fuel_level IS NOT NULL) AS fuel_level_last
            FROM vehicle_status GROUP BY vin, time_bucket(interval '1 %s', occurred_at) %s$view$,
            CASE WHEN community THEN 'MATERIALIZED VIEW' ELSE 'VIEW' END, unit,
            CASE WHEN community THEN 'WITH (timescaledb.continuous, timescaledb.materialized_only = false)' ELSE '' END,
            unit, unit, CASE WHEN community THEN 'WITH NO DATA' ELSE '' END);
        EXECUTE format('COMMENT ON VIEW analytics.status_by_%s IS %L', unit,
            format('Figures of each vehicle''s status messages by the %s (UTC). Minutes without a message are not there.', unit));
        IF community THEN
            -- From the beginning: what late data or an erased vehicle changes is mended wherever it lies.
            EXECUTE format($policy$SELECT add_continuous_aggregate_policy('analytics.status_by_%s', start_offset => NULL,
                end_offset => interval '1 %s', schedule_interval => interval '5 minutes')$policy$, unit, unit);
        END IF;
    END LOOP;
END
$make$;

CREATE FUNCTION analytics.trips_between(since timestamptz, until timestamptz, of_vin text DEFAULT NULL)
RETURNS TABLE (
    vin text, started_at timestamptz, ended_at timestamptz, ended_by text, duration_s double precision,
    distance_km double precision, max_speed_kph real, fuel_used_percent double precision,
    start_latitude double precision, start_longitude double precision,
    end_latitude double precision, end_longitude double precision, clock_suspect boolean)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = public, pg_temp
AS $$
    SELECT t.vin, t.started_at, t.ended_at, t.ended_by, t.duration_s, t.distance_km, t.max_speed_kph, t.fuel_used_percent,
           CASE WHEN NOT v.location_withheld THEN round(t.start_latitude::numeric, 2)::double precision END,
           CASE WHEN NOT v.location_withheld THEN round(t.start_longitude::numeric, 2)::double precision END,
           CASE WHEN NOT v.location_withheld THEN round(t.end_latitude::numeric, 2)::double precision END,
           CASE WHEN NOT v.location_withheld THEN round(t.end_longitude::numeric, 2)::double precision END, t.clock_suspect
    FROM public.trips_between(since, until, of_vin) t LEFT JOIN vehicles v ON v.vin = t.vin
$$;
COMMENT ON FUNCTION analytics.trips_between IS
    'Trips that began in [since, until), of one vehicle or of all, as public.trips_between has them; places as in analytics.status.';
REVOKE ALL ON FUNCTION analytics.trips_between FROM PUBLIC;
GRANT EXECUTE ON FUNCTION analytics.trips_between TO analyst, tcu_service;

CREATE VIEW analytics.trips AS
SELECT t.* FROM vehicles v CROSS JOIN LATERAL analytics.trips_between('1970-01-01Z', '2200-01-01Z', v.vin) t;
COMMENT ON VIEW analytics.trips IS
    'All trips. Good for one vehicle (WHERE vin = …); for a period of all vehicles analytics.trips_between(since, until) reads only that.';

CREATE VIEW analytics.incidents AS
SELECT 'SOS' AS service, s.cid, s.vin, s.status, s.emergency_type AS kind, s.urgency, NULL AS priority, s.source, s.test_call,
       s.anomalies, s.occurred_at, s.received_at, s.assigned_at, s.connected_at, s.dispatched_at,
       NULL::timestamptz AS confirmed_at, NULL::timestamptz AS arrived_at, l.resolved_at, NULL::timestamptz AS completed_at,
       s.closed_at, l.cancelled_at, s.agent_id, NULL AS partner, s.result, NULL::integer AS customer_satisfaction,
       extract(epoch FROM s.connected_at - s.occurred_at)::double precision AS response_s,
       extract(epoch FROM s.closed_at - s.occurred_at)::double precision AS duration_s,
       CASE WHEN NOT v.location_withheld THEN round(s.latitude::numeric, 2)::double precision END AS latitude,
       CASE WHEN NOT v.location_withheld THEN round(s.longitude::numeric, 2)::double precision END AS longitude
FROM sos_incidents s JOIN vehicles v ON v.vin = s.vin
LEFT JOIN LATERAL (SELECT min(occurred_at) FILTER (WHERE t.status = 'RESOLVED') AS resolved_at,
                          min(occurred_at) FILTER (WHERE t.status = 'CANCELLED') AS cancelled_at
                   FROM sos_timeline t WHERE t.cid = s.cid) l ON true
UNION ALL
SELECT 'RSA', r.cid, r.vin, r.status, r.service_type, NULL, r.priority, r.source, false,
       r.anomalies, r.occurred_at, r.received_at, NULL, NULL, r.dispatched_at,
       l.confirmed_at, l.arrived_at, NULL, r.completed_at,
       r.closed_at, l.cancelled_at, r.agent_id, r.partner, r.result, r.customer_satisfaction,
       extract(epoch FROM r.dispatched_at - r.occurred_at)::double precision,
       extract(epoch FROM r.closed_at - r.occurred_at)::double precision,
       CASE WHEN NOT v.location_withheld THEN round(r.latitude::numeric, 2)::double precision END,
       CASE WHEN NOT v.location_withheld THEN round(r.longitude::numeric, 2)::double precision END
FROM rsa_incidents r JOIN vehicles v ON v.vin = r.vin
LEFT JOIN LATERAL (SELECT min(occurred_at) FILTER (WHERE t.status = 'CONFIRMED') AS confirmed_at,
                          min(occurred_at) FILTER (WHERE t.status = 'ARRIVED') AS arrived_at,
                          min(occurred_at) FILTER (WHERE t.status = 'CANCELLED') AS cancelled_at
                   FROM rsa_timeline t WHERE t.cid = r.cid) l ON true;
COMMENT ON VIEW analytics.incidents IS
    'SOS and RSA with all their times, test calls too; without names, numbers, texts. Places as in analytics.status.';

CREATE VIEW analytics.violations AS
SELECT c.violation_number, c.vin, c.started_at, c.ended_at, c.severity, c.resolution, c.detected_late, c.detected_at,
       extract(epoch FROM c.ended_at - c.started_at)::double precision / 60 AS minutes, p.timezone,
       extract(isodow FROM c.started_at AT TIME ZONE p.timezone)::integer AS weekday,
       extract(hour FROM c.started_at AT TIME ZONE p.timezone)::integer AS hour
FROM curfew_violations_shown c
LEFT JOIN LATERAL (SELECT timezone FROM curfew_policies cp WHERE cp.vin = c.vin
                   ORDER BY cp.valid_from <= c.started_at DESC, cp.policy_id DESC LIMIT 1) p ON true;
COMMENT ON VIEW analytics.violations IS 'Curfew violations that were not retracted, with their begin on the wall clock of the policy.';

CREATE VIEW analytics.violations_by_hour AS
SELECT weekday, hour, count(*) AS violations, count(DISTINCT vin) AS vehicles, sum(minutes) AS minutes,
       count(*) FILTER (WHERE severity = 'LOW') AS low, count(*) FILTER (WHERE severity = 'MEDIUM') AS medium,
       count(*) FILTER (WHERE severity = 'HIGH') AS high
FROM analytics.violations GROUP BY weekday, hour;
COMMENT ON VIEW analytics.violations_by_hour IS 'Violations by weekday and hour of their begin, on the wall clock of their policies.';

CREATE VIEW analytics.quarantined AS
SELECT quarantine_id, vin, kind, reason, first_received_at, received_at AS last_received_at, times_received,
       replayed_at IS NOT NULL AS replayed
FROM quarantine;
COMMENT ON VIEW analytics.quarantined IS 'Messages that could not be read or stored, by reason and vehicle; without what they said.';

CREATE VIEW analytics.data_quality AS
SELECT vin, day, sum(stored)::bigint AS stored, sum(late)::bigint AS late, sum(clock_suspect)::bigint AS clock_suspect,
       sum(duplicates)::bigint AS duplicates, sum(quarantined)::bigint AS quarantined
FROM (
    SELECT vin, time_bucket(interval '1 day', occurred_at) AS day, count(*) AS stored,
           count(*) FILTER (WHERE received_at - occurred_at > interval '5 minutes') AS late,
           count(*) FILTER (WHERE clock_suspect) AS clock_suspect, 0 AS duplicates, 0 AS quarantined
    FROM vehicle_status GROUP BY 1, 2
    UNION ALL
    SELECT vin, time_bucket(interval '1 day', occurred_at), count(*),
           count(*) FILTER (WHERE received_at - occurred_at > interval '5 minutes'),
           count(*) FILTER (WHERE clock_suspect), 0, 0
    FROM engine_events GROUP BY 1, 2
    UNION ALL
    SELECT vin, time_bucket(interval '1 day', received_at), 0, 0, 0, sum(messages), 0 FROM second_deliveries GROUP BY 1, 2
    UNION ALL
    SELECT vin, time_bucket(interval '1 day', first_received_at), 0, 0, 0, 0, count(*) FROM quarantine GROUP BY 1, 2
) parts
GROUP BY vin, day;
COMMENT ON VIEW analytics.data_quality IS
    'By vehicle and day (UTC): telemetry that happened on it, how much of that was late or without a usable clock; second deliveries
and quarantined messages that came on it, of any kind. No vehicle: what came without a readable one.';
