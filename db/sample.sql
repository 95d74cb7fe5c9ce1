-- A made-up week of a fleet (Monday 2 to Sunday 8 March 2026 on Seoul's wall clock), the same in every database: what looks
-- like chance is a digest of its key. sample.vehicles says how many vehicles; runs in one transaction of who runs the product.

CREATE FUNCTION pg_temp.share(key text) RETURNS double precision LANGUAGE sql IMMUTABLE AS
$$ SELECT ('x' || substr(md5(key), 1, 8))::bit(32)::bigint / 4294967296.0::double precision $$;

CREATE TEMPORARY TABLE cars ON COMMIT DROP AS
SELECT n, vin, pg_temp.share('home' || vin) AS home, pg_temp.share('east' || vin) AS east, pg_temp.share('tank' || vin) AS tank
FROM (SELECT n, 'KMHSAMPLE' || lpad(n::text, 8, '0') AS vin
      FROM generate_series(1, current_setting('sample.vehicles')::integer) n) AS numbered;
ANALYZE cars;

INSERT INTO vehicles (vin, make, model, model_year, registered_at)
SELECT vin, 'BMW', (ARRAY['320i', 'i4', 'X3', 'X5'])[1 + n % 4], 2018 + n % 7, '2026-01-01Z' FROM cars;

INSERT INTO vehicle_presence (vin, online, changed_at)
SELECT vin, n % 5 > 0, '2026-03-08T12:00Z' FROM cars;

-- To work and back on weekdays, one errand at the weekend, and now and then an evening.
CREATE TEMPORARY TABLE drives ON COMMIT DROP AS
SELECT c.n, c.vin, day::date AS day, leg, started_at,
       started_at + interval '1 second' * round(60 * (8 + 30 * pg_temp.share('length' || c.vin || day || leg))) AS ended_at,
       25 + 45 * pg_temp.share('pace' || c.vin || day || leg) AS pace_kph,
       pg_temp.share('late' || c.vin || day || leg) < 0.03 AS is_late
FROM cars c
CROSS JOIN generate_series(timestamp '2026-03-02', timestamp '2026-03-08', interval '1 day') AS day
CROSS JOIN LATERAL (VALUES ('out', 7.0, 2.0, 0.95), ('back', 17.0, 2.5, 0.95), ('evening', 20.5, 3.0, 0.3)) AS legs (leg, hour, spread, odds)
CROSS JOIN LATERAL (SELECT (day + interval '1 hour' * (hour + spread * pg_temp.share('when' || c.vin || day || leg)))
                           AT TIME ZONE 'Asia/Seoul' AS started_at) AS begin
WHERE pg_temp.share('goes' || c.vin || day || leg) < CASE WHEN extract(isodow FROM day) > 5 AND leg <> 'evening' THEN 0.5 ELSE odds END;

-- Every 30 s; one in a hundred never came. The odometer sums the speeds up; a tank lasts for a thousand kilometres.
CREATE TEMPORARY TABLE samples ON COMMIT DROP AS
SELECT n, vin, day, at, speed_kph, is_late,
       round((8000 + 400 * n % 90000 + sum(speed_kph / 120) OVER (PARTITION BY vin ORDER BY at))::numeric, 2) AS odometer_km
FROM (SELECT d.n, d.vin, d.day, at, d.is_late,
             CASE WHEN at = d.started_at THEN 0
                  ELSE round((d.pace_kph + 12 * sin(extract(epoch FROM at - d.started_at) / 90)
                              + 45 * (pg_temp.share('speed' || d.vin || at) ^ 6))::numeric, 1) END AS speed_kph
      FROM drives d, generate_series(d.started_at, d.ended_at, interval '30 seconds') AS at
      WHERE pg_temp.share('lost' || d.vin || at) > 0.01) AS moments;

INSERT INTO vehicle_status (vin, message_id, occurred_at, received_at, clock_suspect, latitude, longitude, accuracy_m, heading_deg,
    speed_kph, odometer_km, battery_voltage, fuel_level, engine_status, transmission_status, drivable, dtc_codes)
SELECT s.vin, md5('status' || s.vin || at)::uuid, at, at + CASE WHEN is_late THEN interval '2 hours' ELSE interval '400 ms' END,
       s.n % 20 = 11 AND day = '2026-03-04' AND NOT is_late,
       37.45 + 0.2 * c.home + 0.02 * sin(odometer_km / 9),
       126.85 + 0.3 * c.east + 0.03 * cos(odometer_km / 11), 5, round(odometer_km * 40) % 360,
       speed_kph, odometer_km,
       round((CASE WHEN s.n % 20 = 7 THEN 13.4 - 0.25 * (day - date '2026-03-02') ELSE 14.1 END
              + 0.2 * pg_temp.share('volt' || s.vin || at))::numeric, 2),
       round(98 - (odometer_km - 8000 - 400 * s.n % 90000 + 300 * c.tank::numeric) * 0.09 % 90, 1), 'ON', 'DRIVE', true,
       CASE WHEN s.n % 10 = 3 AND day >= '2026-03-06' THEN '{P0301}'::text[]
            WHEN s.n % 10 = 8 THEN '{P0420,P0171}'::text[] ELSE '{}'::text[] END
FROM samples s JOIN cars c ON c.n = s.n;

-- The engines of n % 20 = 13 are never heard to stop.
INSERT INTO engine_events (vin, message_id, occurred_at, received_at, clock_suspect, event)
SELECT vin, md5(event || vin || at)::uuid, at, at + interval '300 ms', false, event
FROM (SELECT vin, started_at AS at, 'START' AS event FROM drives
      UNION ALL SELECT vin, ended_at + interval '10 seconds', 'STOP' FROM drives WHERE n % 20 <> 13) AS changes;

INSERT INTO agents (agent_id, name) SELECT 'AGENT_' || n, 'Counselor ' || n FROM generate_series(901, 904) n;
INSERT INTO partners (partner, name) VALUES ('NORTH_ROAD', 'North Road'), ('SOUTH_ROAD', 'South Road');

CREATE TEMPORARY TABLE presses ON COMMIT DROP AS
SELECT vin, day, started_at + interval '5 minutes' AS at, pg_temp.share('answer' || vin || day) AS quick,
       pg_temp.share('what' || vin || day) AS what, leg,
       to_char(row_number() OVER (PARTITION BY day, leg ORDER BY started_at, vin), 'FM00000000') AS number,
       1 + row_number() OVER (ORDER BY started_at, vin) % 4 AS agent
FROM drives WHERE leg IN ('out', 'back') AND pg_temp.share('press' || vin || day || leg) < 0.22;

INSERT INTO sos_incidents (cid, vin, status, emergency_type, urgency, source, test_call, occurred_at, received_at, anomalies,
    latitude, longitude, agent_id, assigned_at, connected_at, dispatched_at, result, closed_at, updated_at)
SELECT 'SOS_' || to_char(day, 'YYYYMMDD') || '_' || number, vin, 'CLOSED',
       (ARRAY['MEDICAL', 'ACCIDENT', 'ACCIDENT', 'BREAKDOWN', 'SECURITY', 'OTHER'])[1 + floor(6 * what)::integer],
       CASE WHEN what < 0.5 THEN 'CRITICAL' ELSE 'HIGH' END, CASE WHEN what < 0.8 THEN 'TCU' ELSE 'APP' END, false,
       at, at + interval '300 ms', '{}', 37.45 + 0.2 * pg_temp.share('home' || vin), 126.85 + 0.3 * pg_temp.share('east' || vin),
       'AGENT_90' || agent, at + interval '1 second' * round(2 + 10 * quick), at + interval '1 second' * round(8 + 50 * quick ^ 3),
       CASE WHEN what < 0.6 THEN at + interval '1 second' * round(90 + 200 * quick) END, 'RESOLVED_BY_PHONE',
       at + interval '1 minute' * round(10 + 50 * quick), at + interval '1 hour'
FROM presses WHERE leg = 'out';
INSERT INTO sos_timeline (cid, status, occurred_at, actor, description)
SELECT cid, 'RESOLVED', closed_at - interval '3 minutes', agent_id, '' FROM sos_incidents WHERE vin LIKE 'KMHSAMPLE%';

INSERT INTO rsa_incidents (cid, vin, status, service_type, priority, source, occurred_at, received_at, anomalies, symptoms, dtc_codes,
    partner, agent_id, dispatched_at, completed_at, closed_at, customer_satisfaction, updated_at)
SELECT 'RSA_' || to_char(day, 'YYYYMMDD') || '_' || number, vin, 'CLOSED',
       (ARRAY['TOWING', 'BATTERY_JUMP', 'TIRE_CHANGE', 'FUEL_DELIVERY', 'LOCKOUT'])[1 + floor(5 * what)::integer], 'NORMAL', 'APP',
       at, at + interval '300 ms', '{}', '{}', '{}', CASE WHEN agent > 2 THEN 'NORTH_ROAD' ELSE 'SOUTH_ROAD' END, 'AGENT_90' || agent,
       at + interval '1 minute' * round(2 + 6 * quick), at + interval '1 minute' * round(45 + 60 * quick),
       at + interval '1 minute' * round(60 + 60 * quick), 3 + floor(3 * quick)::integer, at + interval '2 hours'
FROM presses WHERE leg = 'back';
INSERT INTO rsa_timeline (cid, status, occurred_at, actor, description)
SELECT cid, step, dispatched_at + share * (completed_at - dispatched_at), partner, ''
FROM rsa_incidents, (VALUES ('CONFIRMED', 0.1), ('ARRIVED', 0.6)) AS steps (step, share) WHERE vin LIKE 'KMHSAMPLE%';

-- Every fourth vehicle is not to be driven from 22:00 to 06:00.
INSERT INTO curfew_policies (vin, valid_from, set_by, enabled, timezone, windows, actions)
SELECT vin, '2026-01-01Z', 'GUARDIAN', true, 'Asia/Seoul',
       '[{"days": ["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"], "start": "22:00", "end": "06:00"}]',
       '{notification}'
FROM cars WHERE n % 4 = 0;
INSERT INTO curfew_violations (vin, started_at, ended_at, resolution, severity, detected_late, detected_at)
SELECT vin, begin, ended_at, 'ENGINE_STOP',
       CASE WHEN ended_at - begin < interval '15 minutes' THEN 'LOW' WHEN ended_at - begin < interval '1 hour' THEN 'MEDIUM' ELSE 'HIGH' END,
       is_late, ended_at
FROM (SELECT *, greatest(started_at, (day + interval '22 hours') AT TIME ZONE 'Asia/Seoul') AS begin FROM drives
      WHERE n % 4 = 0 AND leg = 'evening') AS evenings
WHERE ended_at > begin;

INSERT INTO second_deliveries (vin, kind, received_at, messages)
SELECT vin, 'status', ended_at, 1 + floor(9 * pg_temp.share('again' || vin || day || leg))::integer
FROM drives WHERE pg_temp.share('twice' || vin || day || leg) < 0.15;

INSERT INTO quarantine (topic, payload, payload_hash, vin, kind, reason, detail, first_received_at, received_at)
SELECT 'tcu/v1/' || vin || '/up/status', convert_to('{' || at, 'UTF8'), sha256(convert_to(at::text, 'UTF8')), vin, 'status',
       CASE WHEN n % 20 = 5 THEN 'NOT_JSON' ELSE 'INVALID_FIELD' END, '', at, at
FROM (SELECT n, vin, started_at + interval '1 minute' AS at FROM drives WHERE n % 20 IN (5, 16) AND leg = 'back') AS bad;
