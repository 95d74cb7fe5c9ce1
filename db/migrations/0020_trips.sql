-- Trips: derived from what was seen of the engine, in one place for REST and analysts.

CREATE FUNCTION trips_between(since timestamptz, until timestamptz, of_vin text DEFAULT NULL)
RETURNS TABLE (
    vin text, started_at timestamptz, ended_at timestamptz, ended_by text, duration_s double precision,
    distance_km double precision, max_speed_kph real, fuel_used_percent double precision,
    start_latitude double precision, start_longitude double precision,
    end_latitude double precision, end_longitude double precision, sights bigint, clock_suspect boolean)
LANGUAGE plpgsql STABLE
-- A plan for each period: it leaves out the chunks that lie outside, and takes the index where one vehicle is asked for.
SET plan_cache_mode = force_custom_plan
AS $$
#variable_conflict use_column
BEGIN
    RETURN QUERY
    WITH seen AS (
        -- What counts as a sight of the engine, and that not running wins at one instant, is as for the curfew.
        SELECT s.vin, s.occurred_at, s.engine_status IS DISTINCT FROM 'OFF' AS running, false AS is_stop, s.clock_suspect,
               s.speed_kph, s.odometer_km, s.fuel_level, s.latitude, s.longitude
        FROM vehicle_status s
        WHERE s.occurred_at >= since - interval '30 minutes' AND s.occurred_at < until + interval '1 day'
          AND (of_vin IS NULL OR s.vin = of_vin)
          AND (s.engine_status IN ('ON', 'CRANKING', 'OFF') OR s.speed_kph > 0)
        UNION ALL
        SELECT e.vin, e.occurred_at, e.event = 'START', e.event = 'STOP', e.clock_suspect,
               NULL, e.odometer_km, NULL, e.latitude, e.longitude
        FROM engine_events e
        WHERE e.occurred_at >= since - interval '30 minutes' AND e.occurred_at < until + interval '1 day'
          AND (of_vin IS NULL OR e.vin = of_vin)
    ), instants AS (
        SELECT vin, occurred_at, bool_and(running) AS running, bool_or(is_stop) AS is_stop,
               bool_or(clock_suspect) AS clock_suspect, max(speed_kph) AS speed_kph, max(odometer_km) AS odometer_km,
               min(fuel_level) AS fuel_level, max(latitude) AS latitude, max(longitude) AS longitude
        FROM seen GROUP BY vin, occurred_at
    ), compared AS (
        SELECT *, coalesce(lag(running) OVER in_order
                           AND occurred_at - lag(occurred_at) OVER in_order
                               <= CASE WHEN is_stop THEN interval '1 day' ELSE interval '30 minutes' END, false) AS goes_on
        FROM instants WINDOW in_order AS (PARTITION BY vin ORDER BY occurred_at)
    ), numbered AS (
        SELECT *, count(*) FILTER (WHERE NOT goes_on) OVER (PARTITION BY vin ORDER BY occurred_at) AS number
        FROM compared WHERE running OR goes_on
    ), trips AS (
        SELECT vin, min(occurred_at) AS started_at, max(occurred_at) AS last_at, bool_and(running) AS runs,
               CASE WHEN count(odometer_km) > 1
                    THEN last(odometer_km, occurred_at) FILTER (WHERE odometer_km IS NOT NULL)
                         - first(odometer_km, occurred_at) FILTER (WHERE odometer_km IS NOT NULL) END AS distance_km,
               max(speed_kph) AS max_speed_kph,
               CASE WHEN count(fuel_level) > 1
                    THEN first(fuel_level, occurred_at) FILTER (WHERE fuel_level IS NOT NULL)::numeric
                         - last(fuel_level, occurred_at) FILTER (WHERE fuel_level IS NOT NULL)::numeric END AS fuel_used,
               first(latitude, occurred_at) FILTER (WHERE latitude IS NOT NULL) AS start_latitude,
               first(longitude, occurred_at) FILTER (WHERE longitude IS NOT NULL) AS start_longitude,
               last(latitude, occurred_at) FILTER (WHERE latitude IS NOT NULL) AS end_latitude,
               last(longitude, occurred_at) FILTER (WHERE longitude IS NOT NULL) AS end_longitude,
               count(*) AS sights, bool_or(clock_suspect) AS clock_suspect
        FROM numbered GROUP BY vin, number
    )
    SELECT vin, started_at, CASE WHEN NOT runs OR last_at < now() - interval '30 minutes' THEN last_at END,
           CASE WHEN NOT runs THEN 'ENGINE_OFF' WHEN last_at < now() - interval '30 minutes' THEN 'SILENCE' END,
           extract(epoch FROM last_at - started_at)::double precision,
           CASE WHEN distance_km >= 0 THEN round(distance_km::numeric, 3)::double precision END, max_speed_kph,
           CASE WHEN fuel_used >= 0 THEN fuel_used::double precision END,
           start_latitude, start_longitude, end_latitude, end_longitude, sights, clock_suspect
    FROM trips
    WHERE started_at >= since AND started_at < until
      AND (max_speed_kph > 0 OR distance_km > 0 OR (max_speed_kph IS NULL AND distance_km IS NULL))
    ORDER BY vin, started_at;
END
$$;
COMMENT ON FUNCTION trips_between IS
    'Trips that began in [since, until), of one vehicle or of all: the engine is seen to run, never more than 30 minutes apart
(until its STOP a day), and nothing shows that the vehicle stood. ended_by: ENGINE_OFF, seen; SILENCE, where the last sight is
the end; null, as ended_at, while it is under way. Read up to a day after until. distance_km by the odometer; fuel in per cent
of the tank; null where there are not two figures, or they went the wrong way (refuelled, odometer replaced).';
REVOKE ALL ON FUNCTION trips_between FROM PUBLIC;
GRANT EXECUTE ON FUNCTION trips_between TO tcu_service;
