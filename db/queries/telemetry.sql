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
-- QoS 1 may deliver a message twice, also within one batch.
INSERT INTO vehicle_status (vin, message_id, occurred_at, received_at, clock_suspect, latitude, longitude, accuracy_m,
    heading_deg, speed_kph, odometer_km, battery_voltage, fuel_level, engine_status, transmission_status, drivable, dtc_codes)
SELECT vin, message_id, occurred_at, received_at, clock_suspect, latitude, longitude, accuracy_m,
    heading_deg, speed_kph, odometer_km, battery_voltage, fuel_level, engine_status, transmission_status, drivable, dtc_codes
FROM staged_status
ON CONFLICT (vin, occurred_at, message_id) DO NOTHING;

-- name: insert_engine_event
INSERT INTO engine_events (vin, message_id, occurred_at, received_at, clock_suspect, event, latitude, longitude, odometer_km)
VALUES (%(vin)s, %(message_id)s, %(occurred_at)s, %(received_at)s, %(clock_suspect)s, %(event)s, %(latitude)s, %(longitude)s,
        %(odometer_km)s)
ON CONFLICT (vin, occurred_at, message_id) DO NOTHING;
