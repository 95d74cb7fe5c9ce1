-- name: register
-- A vehicle with a valid certificate may speak before anybody has registered it.
INSERT INTO vehicles (vin) SELECT unnest(%(vins)s::text[]) ON CONFLICT (vin) DO NOTHING;

-- name: describe
-- Registers a vehicle with what is known of it; what is not given stays as it was.
INSERT INTO vehicles (vin, make, model, model_year, customer_name, customer_phone)
VALUES (%(vin)s, %(make)s, %(model)s, %(model_year)s, %(customer_name)s, %(customer_phone)s)
ON CONFLICT (vin) DO UPDATE SET
    make = coalesce(excluded.make, vehicles.make),
    model = coalesce(excluded.model, vehicles.model),
    model_year = coalesce(excluded.model_year, vehicles.model_year),
    customer_name = coalesce(excluded.customer_name, vehicles.customer_name),
    customer_phone = coalesce(excluded.customer_phone, vehicles.customer_phone);

-- name: get
SELECT vin, make, model, model_year, color, license_plate, customer_name, customer_phone, membership_id
FROM vehicles WHERE vin = %(vin)s;

-- name: list_all
SELECT vin, make, model, model_year, color, license_plate, customer_name, customer_phone, membership_id
FROM vehicles ORDER BY vin LIMIT %(limit)s OFFSET %(offset)s;

-- name: state
-- The newest status, engine event and presence by event time.
SELECT vin, online, presence_changed_at, occurred_at, received_at, clock_suspect, latitude, longitude, accuracy_m,
       heading_deg, speed_kph, odometer_km, battery_voltage, fuel_level, engine_status, transmission_status, drivable,
       dtc_codes, engine_event, engine_event_at
FROM vehicle_state WHERE vin = %(vin)s;

-- name: set_presence
-- In the order received: a last will carries the time of its connect (see the table's comment). What was received before
-- the last word changes nothing: a worker that was frozen stores late, and so does a replay. That holds for words only, not
-- for a silence that a job noticed, and not for a word from the future, by a clock that was since set back.
INSERT INTO vehicle_presence (vin, online, changed_at) VALUES (%(vin)s, %(online)s, %(changed_at)s)
ON CONFLICT (vin) DO UPDATE SET online = excluded.online, changed_at = excluded.changed_at, silent_since = NULL
WHERE vehicle_presence.changed_at <= excluded.changed_at OR vehicle_presence.silent_since IS NOT NULL
   OR vehicle_presence.changed_at > clock_timestamp() + interval '1 second';

-- name: take_silent
-- Online by their last word, and nothing came since. Locked rows are left for the next time: who holds these locks waits
-- for nothing, so the worker, which writes presence in the order received, can't deadlock with it.
UPDATE vehicle_presence SET online = false, changed_at = %(at)s, silent_since = %(at)s
WHERE vin IN (
    SELECT p.vin FROM vehicle_presence p
    LEFT JOIN LATERAL (
        SELECT s.received_at FROM vehicle_status s WHERE s.vin = p.vin ORDER BY s.occurred_at DESC LIMIT 1
    ) AS newest ON true
    WHERE p.online AND p.changed_at < %(heard_before)s
      AND (newest.received_at IS NULL OR newest.received_at < %(heard_before)s)
      AND NOT EXISTS (SELECT FROM received_messages m WHERE m.vin = p.vin AND m.received_at >= %(heard_before)s)
    ORDER BY p.vin LIMIT %(limit)s
    FOR UPDATE OF p SKIP LOCKED)
RETURNING vin;

-- name: take_heard
-- Taken for offline because they were silent, and something came since; online from then on, not from when it was noticed:
-- a last will that came in between is still to be stored.
UPDATE vehicle_presence SET online = true, changed_at = heard.at, silent_since = NULL
FROM (
    SELECT p.vin, greatest(newest.received_at, said.received_at) AS at FROM vehicle_presence p
    LEFT JOIN LATERAL (
        SELECT s.received_at FROM vehicle_status s WHERE s.vin = p.vin ORDER BY s.occurred_at DESC LIMIT 1
    ) AS newest ON true
    LEFT JOIN LATERAL (
        SELECT max(m.received_at) AS received_at FROM received_messages m
        WHERE m.vin = p.vin AND m.received_at > p.silent_since
    ) AS said ON true
    WHERE p.silent_since IS NOT NULL AND (newest.received_at > p.silent_since OR said.received_at IS NOT NULL)
    ORDER BY p.vin LIMIT %(limit)s
    FOR UPDATE OF p SKIP LOCKED) AS heard
WHERE vehicle_presence.vin = heard.vin
RETURNING vehicle_presence.vin;

-- name: withhold_location
UPDATE vehicles SET location_withheld = %(withheld)s WHERE vin = %(vin)s;

-- name: without_location
-- All of them, which are few: to look up each vehicle of a full batch takes five times as long.
SELECT vin FROM unlocated_vehicles;

-- name: withholds_location
-- Also where an emergency is open, which is excepted.
SELECT location_withheld FROM vehicles WHERE vin = %(vin)s;

-- name: lock
-- In one order, so that two writers never wait for each other.
SELECT vin FROM vehicles WHERE vin = ANY(%(vins)s) ORDER BY vin FOR NO KEY UPDATE;

-- name: fleet
-- A page of vehicles with their latest state, by VIN. NULL for vins: every vehicle; NULL for online: whether or not.
SELECT v.vin, v.make, v.model, v.model_year, v.license_plate, s.online, s.presence_changed_at, s.occurred_at, s.received_at,
       s.latitude, s.longitude, s.heading_deg, s.speed_kph, s.battery_voltage, s.fuel_level, s.engine_status
FROM (SELECT vehicles.vin, make, model, model_year, license_plate
      FROM vehicles LEFT JOIN vehicle_presence USING (vin)
      WHERE (%(vins)s::text[] IS NULL OR vehicles.vin = ANY (%(vins)s))
        AND (%(online)s::boolean IS NULL OR coalesce(online, false) = %(online)s)
      ORDER BY vehicles.vin LIMIT %(limit)s OFFSET %(offset)s) v
JOIN vehicle_state s ON s.vin = v.vin ORDER BY v.vin;

-- name: count_fleet
SELECT count(*) FROM vehicles LEFT JOIN vehicle_presence USING (vin)
WHERE (%(vins)s::text[] IS NULL OR vin = ANY (%(vins)s))
  AND (%(online)s::boolean IS NULL OR coalesce(online, false) = %(online)s);

-- name: track
-- Positions since an instant, oldest first; of more than the limit the newest. None where they are withheld.
SELECT * FROM (
    SELECT occurred_at, latitude, longitude, heading_deg, speed_kph FROM vehicle_status
    WHERE vin = %(vin)s AND occurred_at >= %(since)s AND latitude IS NOT NULL AND longitude IS NOT NULL
      AND NOT EXISTS (SELECT FROM unlocated_vehicles WHERE vin = %(vin)s)
    ORDER BY occurred_at DESC LIMIT %(limit)s) AS newest
ORDER BY occurred_at;
