-- name: copy_status
-- Straight into the hypertable; fails as a whole on a second delivery.
COPY vehicle_status (vin, message_id, occurred_at, received_at, clock_suspect, latitude, longitude, accuracy_m, heading_deg,
    speed_kph, odometer_km, battery_voltage, fuel_level, engine_status, transmission_status, drivable, dtc_codes)
FROM STDIN (FORMAT binary);

-- name: create_staging
CREATE TEMPORARY TABLE IF NOT EXISTS staged_status (LIKE vehicle_status) ON COMMIT DELETE ROWS;

-- name: copy_staging
COPY staged_status (vin, message_id, occurred_at, received_at, clock_suspect, latitude, longitude, accuracy_m, heading_deg,
    speed_kph, odometer_km, battery_voltage, fuel_level, engine_status, transmission_status, drivable, dtc_codes)
FROM STDIN (FORMAT binary);

-- name: merge_staging
-- QoS 1 may deliver a message twice, also within one batch; how often each vehicle's did is noted. Returns how many were new.
WITH stored AS (
    INSERT INTO vehicle_status (vin, message_id, occurred_at, received_at, clock_suspect, latitude, longitude, accuracy_m,
        heading_deg, speed_kph, odometer_km, battery_voltage, fuel_level, engine_status, transmission_status, drivable,
        dtc_codes)
    SELECT vin, message_id, occurred_at, received_at, clock_suspect, latitude, longitude, accuracy_m,
        heading_deg, speed_kph, odometer_km, battery_voltage, fuel_level, engine_status, transmission_status, drivable,
        dtc_codes
    FROM staged_status
    ON CONFLICT (vin, occurred_at, message_id) DO NOTHING
    RETURNING vin
), fresh AS (
    SELECT vin, count(*) AS messages FROM stored GROUP BY vin
), noted AS (
    INSERT INTO second_deliveries (vin, kind, received_at, messages)
    SELECT s.vin, 'status', max(s.received_at), count(*) - coalesce(max(f.messages), 0)
    FROM staged_status s LEFT JOIN fresh f ON f.vin = s.vin
    GROUP BY s.vin HAVING count(*) > coalesce(max(f.messages), 0)
)
SELECT count(*) FROM stored;

-- name: insert_engine_event
INSERT INTO engine_events (vin, message_id, occurred_at, received_at, clock_suspect, event, latitude, longitude, odometer_km)
VALUES (%(vin)s, %(message_id)s, %(occurred_at)s, %(received_at)s, %(clock_suspect)s, %(event)s, %(latitude)s, %(longitude)s,
        %(odometer_km)s)
ON CONFLICT (vin, occurred_at, message_id) DO NOTHING;

-- name: samples
-- What the vehicle reported in [since, until), in the order of its clock; no place where these are withheld.
SELECT s.occurred_at, s.received_at, s.clock_suspect,
       CASE WHEN u.vin IS NULL THEN s.latitude END, CASE WHEN u.vin IS NULL THEN s.longitude END,
       CASE WHEN u.vin IS NULL THEN s.accuracy_m END, CASE WHEN u.vin IS NULL THEN s.heading_deg END,
       s.speed_kph, s.odometer_km, s.battery_voltage, s.fuel_level,
       s.engine_status, s.transmission_status, s.drivable, s.dtc_codes
FROM vehicle_status s LEFT JOIN unlocated_vehicles u ON u.vin = s.vin
WHERE s.vin = %(vin)s AND s.occurred_at >= %(since)s AND s.occurred_at < %(until)s
ORDER BY s.occurred_at, s.message_id;

-- name: buckets
-- The same by the bucket: least, greatest, mean and last figure, and the last of what has no mean. A bucket without
-- samples is there, empty; generate_series serves every edition of TimescaleDB, as time_bucket_gapfill does not.
WITH filled AS (
    SELECT time_bucket(%(width)s, s.occurred_at) AS bucket, count(*) AS samples,
           min(s.speed_kph) AS speed_kph_min, max(s.speed_kph) AS speed_kph_max,
           round(avg(s.speed_kph::numeric), 3)::float8 AS speed_kph_average,
           last(s.speed_kph, s.occurred_at) FILTER (WHERE s.speed_kph IS NOT NULL) AS speed_kph_last,
           min(s.odometer_km) AS odometer_km_min, max(s.odometer_km) AS odometer_km_max,
           round(avg(s.odometer_km::numeric), 3)::float8 AS odometer_km_average,
           last(s.odometer_km, s.occurred_at) FILTER (WHERE s.odometer_km IS NOT NULL) AS odometer_km_last,
           min(s.battery_voltage) AS battery_voltage_min, max(s.battery_voltage) AS battery_voltage_max,
           round(avg(s.battery_voltage::numeric), 3)::float8 AS battery_voltage_average,
           last(s.battery_voltage, s.occurred_at) FILTER (WHERE s.battery_voltage IS NOT NULL) AS battery_voltage_last,
           min(s.fuel_level) AS fuel_level_min, max(s.fuel_level) AS fuel_level_max,
           round(avg(s.fuel_level::numeric), 3)::float8 AS fuel_level_average,
           last(s.fuel_level, s.occurred_at) FILTER (WHERE s.fuel_level IS NOT NULL) AS fuel_level_last,
           last(s.latitude, s.occurred_at) FILTER (WHERE s.latitude IS NOT NULL AND u.vin IS NULL) AS latitude,
           last(s.longitude, s.occurred_at) FILTER (WHERE s.longitude IS NOT NULL AND u.vin IS NULL) AS longitude,
           last(s.accuracy_m, s.occurred_at) FILTER (WHERE s.accuracy_m IS NOT NULL AND u.vin IS NULL) AS accuracy_m,
           last(s.heading_deg, s.occurred_at) FILTER (WHERE s.heading_deg IS NOT NULL AND u.vin IS NULL) AS heading_deg,
           last(s.engine_status, s.occurred_at) FILTER (WHERE s.engine_status IS NOT NULL) AS engine_status,
           last(s.transmission_status, s.occurred_at) FILTER (WHERE s.transmission_status IS NOT NULL) AS transmission_status,
           last(s.drivable, s.occurred_at) FILTER (WHERE s.drivable IS NOT NULL) AS drivable,
           last(s.dtc_codes, s.occurred_at) FILTER (WHERE s.dtc_codes IS NOT NULL) AS dtc_codes
    FROM vehicle_status s LEFT JOIN unlocated_vehicles u ON u.vin = s.vin
    WHERE s.vin = %(vin)s AND s.occurred_at >= %(since)s AND s.occurred_at < %(until)s
    GROUP BY 1
)
SELECT g.bucket, coalesce(f.samples, 0),
       f.latitude, f.longitude, f.accuracy_m, f.heading_deg,
       f.speed_kph_min, f.speed_kph_max, f.speed_kph_average, f.speed_kph_last,
       f.odometer_km_min, f.odometer_km_max, f.odometer_km_average, f.odometer_km_last,
       f.battery_voltage_min, f.battery_voltage_max, f.battery_voltage_average, f.battery_voltage_last,
       f.fuel_level_min, f.fuel_level_max, f.fuel_level_average, f.fuel_level_last,
       f.engine_status, f.transmission_status, f.drivable, f.dtc_codes
FROM generate_series(time_bucket(%(width)s, %(since)s::timestamptz), %(until)s::timestamptz - interval '1 microsecond',
                     %(width)s) AS g (bucket)
LEFT JOIN filled f ON f.bucket = g.bucket
ORDER BY g.bucket;

-- name: trips
-- Without their places where these are withheld.
SELECT t.started_at, t.ended_at, t.ended_by, t.duration_s, t.distance_km, t.max_speed_kph, t.fuel_used_percent,
       CASE WHEN u.vin IS NULL THEN t.start_latitude END, CASE WHEN u.vin IS NULL THEN t.start_longitude END,
       CASE WHEN u.vin IS NULL THEN t.end_latitude END, CASE WHEN u.vin IS NULL THEN t.end_longitude END, t.clock_suspect
FROM trips_between(%(since)s, %(until)s, %(vin)s) t LEFT JOIN unlocated_vehicles u ON u.vin = t.vin
ORDER BY t.started_at;
