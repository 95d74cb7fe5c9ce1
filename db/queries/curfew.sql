-- name: add_policy
INSERT INTO curfew_policies (vin, valid_from, set_by, enabled, timezone, windows, actions)
VALUES (%(vin)s, %(valid_from)s, %(set_by)s, %(enabled)s, %(timezone)s, %(windows)s, %(actions)s)
RETURNING policy_id;

-- name: policies
SELECT policy_id, vin, valid_from, set_by, enabled, timezone, windows, actions
FROM curfew_policies WHERE vin = %(vin)s ORDER BY policy_id;

-- name: add_exception
INSERT INTO curfew_exceptions (vin, reason, start_time, end_time, created_at, created_by)
VALUES (%(vin)s, %(reason)s, %(start_time)s, %(end_time)s, %(created_at)s, %(created_by)s)
RETURNING exception_number, vin, reason, start_time, end_time, created_at, created_by, cancelled_at, announced;

-- name: exceptions
SELECT exception_number, vin, reason, start_time, end_time, created_at, created_by, cancelled_at, announced
FROM curfew_exceptions WHERE vin = %(vin)s ORDER BY start_time DESC, exception_number DESC;

-- name: lock_exceptions
SELECT exception_number FROM curfew_exceptions WHERE vin = %(vin)s ORDER BY exception_number FOR UPDATE;

-- name: cancel_exception
UPDATE curfew_exceptions SET cancelled_at = %(at)s, announced = 'cancelled'
WHERE vin = %(vin)s AND exception_number = %(exception_number)s AND cancelled_at IS NULL AND end_time > %(at)s
RETURNING exception_number, vin, reason, start_time, end_time, created_at, created_by, cancelled_at, announced;

-- name: exceptions_to_announce
SELECT exception_number, vin, reason, start_time, end_time, created_at, created_by, cancelled_at, announced
FROM curfew_exceptions
WHERE (announced = 'scheduled' AND start_time <= %(now)s) OR (announced = 'active' AND end_time <= %(now)s)
ORDER BY exception_number LIMIT 100 FOR UPDATE SKIP LOCKED;

-- name: set_announced
UPDATE curfew_exceptions SET announced = %(announced)s WHERE exception_number = %(exception_number)s;

-- name: add_consent
INSERT INTO consents (vin, purpose, granted, effective_at, recorded_by)
VALUES (%(vin)s, %(purpose)s, %(granted)s, %(effective_at)s, %(recorded_by)s);

-- name: consents
SELECT purpose, granted, effective_at, recorded_by
FROM consents WHERE vin = %(vin)s AND purpose = %(purpose)s ORDER BY consent_id;

-- name: emergencies
-- When the vehicle had an open SOS; the far future stands for one that still is.
SELECT occurred_at,
       coalesce(closed_at, CASE WHEN status = 'RESOLVED' THEN updated_at END, '9999-01-01T00:00:00Z'::timestamptz)
FROM sos_incidents WHERE vin = %(vin)s AND NOT test_call;

-- name: watch
-- A vehicle that has a policy is watched from then on.
INSERT INTO curfew_watch (vin, judged_at) VALUES (%(vin)s, %(at)s) ON CONFLICT (vin) DO NOTHING;

-- name: news
-- Of vehicles seen within one batch, those that have a policy and are not simply going on as they were last seen, and
-- those standing that wait for a start block; locked, in one order. `runs` is null where the batch shows both.
SELECT w.vin, w.running, w.seen_at, w.judged_at, w.next_at, w.quiet_since, w.quiet_until, w.block_from, w.unjudged_since,
       w.unjudged_until
FROM unnest(%(vins)s::text[], %(firsts)s::timestamptz[], %(runs)s::boolean[]) AS seen (vin, first_at, runs)
JOIN curfew_watch w ON w.vin = seen.vin
WHERE seen.runs IS DISTINCT FROM w.running OR w.seen_at IS NULL OR seen.first_at <= w.seen_at
   OR w.block_from <= %(now)s AND NOT seen.runs
ORDER BY w.vin FOR UPDATE OF w;

-- name: note_seen
-- What a batch of status showed, once per vehicle: `runs` is null where it showed both, `last_runs` is what it showed last.
-- Of vehicles with a policy, those that simply go on are left alone; a change while nothing is restricted is noted where it
-- is the newest, and changes nothing where it is late and nothing was restricted since; any other waits for its judgement,
-- as does the sight of a standing vehicle that a start block is wanted for.
WITH seen AS (
    SELECT vin, first_at, last_at, runs, last_runs
    FROM unnest(string_to_array(%(vins)s, ','), string_to_array(%(firsts)s, ',')::timestamptz[],
                string_to_array(%(lasts)s, ',')::timestamptz[], string_to_array(%(runs)s, ',', '')::boolean[],
                string_to_array(%(last_runs)s, ',')::boolean[]) AS s (vin, first_at, last_at, runs, last_runs)
), news AS (
    SELECT w.vin, seen.first_at, seen.last_at, seen.last_runs,
           coalesce(seen.first_at >= w.quiet_since AND seen.last_at < w.quiet_until
                    AND (w.seen_at IS NULL OR seen.first_at > w.seen_at
                         OR seen.last_at <> w.seen_at AND w.seen_at >= w.quiet_since AND w.seen_at < w.quiet_until),
                    false) AS quiet,
           w.seen_at IS NULL OR seen.last_at > w.seen_at AS newest
    FROM seen JOIN curfew_watch w ON w.vin = seen.vin
    WHERE seen.runs IS DISTINCT FROM w.running OR w.seen_at IS NULL OR seen.first_at <= w.seen_at
       OR w.block_from <= %(now)s AND NOT seen.runs
    ORDER BY w.vin FOR UPDATE OF w
)
UPDATE curfew_watch AS w SET
    running = CASE WHEN news.quiet AND news.newest THEN news.last_runs ELSE w.running END,
    seen_at = CASE WHEN news.quiet AND news.newest THEN news.last_at ELSE w.seen_at END,
    unjudged_since = CASE WHEN news.quiet THEN w.unjudged_since ELSE least(w.unjudged_since, news.first_at) END,
    unjudged_until = CASE WHEN news.quiet THEN w.unjudged_until ELSE greatest(w.unjudged_until, news.last_at) END,
    next_at = CASE WHEN news.quiet THEN w.next_at ELSE least(w.next_at, %(now)s) END
FROM news WHERE w.vin = news.vin;

-- name: leave_to_job
UPDATE curfew_watch SET unjudged_since = least(unjudged_since, %(since)s),
    unjudged_until = greatest(unjudged_until, %(until)s), next_at = least(next_at, %(now)s)
WHERE vin = %(vin)s;

-- name: lock_watches
-- Before the commands of these vehicles, and in one order: a judgement takes both in that order too.
SELECT vin FROM curfew_watch WHERE vin = ANY(%(vins)s) ORDER BY vin FOR UPDATE;

-- name: lock_watch
SELECT vin, running, seen_at, judged_at, next_at, quiet_since, quiet_until, block_from, unjudged_since, unjudged_until
FROM curfew_watch WHERE vin = %(vin)s FOR UPDATE;

-- name: set_watch
UPDATE curfew_watch SET running = %(running)s, seen_at = %(seen_at)s, judged_at = %(judged_at)s,
    next_at = %(next_at)s, quiet_since = %(quiet_since)s, quiet_until = %(quiet_until)s, block_from = %(block_from)s,
    unjudged_since = %(unjudged_since)s, unjudged_until = %(unjudged_until)s
WHERE vin = %(vin)s;

-- name: set_seen
-- In the order of VINs, as judgements lock them.
UPDATE curfew_watch SET running = seen.running, seen_at = seen.seen_at
FROM (SELECT w.vin, s.running, s.seen_at
      FROM unnest(%(vins)s::text[], %(running)s::boolean[], %(seen_ats)s::timestamptz[]) AS s (vin, running, seen_at)
      JOIN curfew_watch w ON w.vin = s.vin ORDER BY w.vin FOR UPDATE OF w) AS seen
WHERE curfew_watch.vin = seen.vin;

-- name: due
SELECT vin FROM curfew_watch WHERE next_at <= %(now)s ORDER BY next_at LIMIT %(limit)s;

-- name: observations
-- What the engine was seen to do, from engine events and from status: the first sight, the last, and each between them
-- that differs from the one before. Of two sights at one instant, not running wins.
SELECT occurred_at, running
FROM (SELECT occurred_at, bool_and(running) AS running,
             lag(bool_and(running)) OVER in_order AS running_before,
             lead(occurred_at) OVER in_order IS NULL AS is_last
      FROM (SELECT occurred_at, event = 'START' AS running FROM engine_events
            WHERE vin = %(vin)s AND occurred_at >= %(since)s AND occurred_at <= %(until)s
            UNION ALL
            SELECT occurred_at, engine_status IS DISTINCT FROM 'OFF' FROM vehicle_status
            WHERE vin = %(vin)s AND occurred_at >= %(since)s AND occurred_at <= %(until)s
              AND (engine_status IN ('ON', 'CRANKING', 'OFF') OR speed_kph > 0)) AS sights
      GROUP BY occurred_at
      WINDOW in_order AS (ORDER BY occurred_at)) AS compared
WHERE running IS DISTINCT FROM running_before OR is_last
ORDER BY occurred_at;

-- name: edges
-- What engine events and status first and last showed within (begin, since), and within (until, end]. Each by its index:
-- however long the engine ran between them, nothing there is read. Not of what lies between: two sights of one instant are
-- one there (observations), and the wrong one of them would count again here.
(SELECT occurred_at, event = 'START' AS running FROM engine_events
 WHERE vin = %(vin)s AND occurred_at > %(begin)s AND occurred_at < %(since)s ORDER BY occurred_at LIMIT 1)
UNION ALL
(SELECT occurred_at, engine_status IS DISTINCT FROM 'OFF' FROM vehicle_status
 WHERE vin = %(vin)s AND occurred_at > %(begin)s AND occurred_at < %(since)s
   AND (engine_status IN ('ON', 'CRANKING', 'OFF') OR speed_kph > 0) ORDER BY occurred_at LIMIT 1)
UNION ALL
(SELECT occurred_at, event = 'START' AS running FROM engine_events
 WHERE vin = %(vin)s AND occurred_at > %(begin)s AND occurred_at < %(since)s ORDER BY occurred_at DESC LIMIT 1)
UNION ALL
(SELECT occurred_at, engine_status IS DISTINCT FROM 'OFF' FROM vehicle_status
 WHERE vin = %(vin)s AND occurred_at > %(begin)s AND occurred_at < %(since)s
   AND (engine_status IN ('ON', 'CRANKING', 'OFF') OR speed_kph > 0) ORDER BY occurred_at DESC LIMIT 1)
UNION ALL
(SELECT occurred_at, event = 'START' AS running FROM engine_events
 WHERE vin = %(vin)s AND occurred_at > %(until)s AND occurred_at <= %(end)s ORDER BY occurred_at LIMIT 1)
UNION ALL
(SELECT occurred_at, engine_status IS DISTINCT FROM 'OFF' FROM vehicle_status
 WHERE vin = %(vin)s AND occurred_at > %(until)s AND occurred_at <= %(end)s
   AND (engine_status IN ('ON', 'CRANKING', 'OFF') OR speed_kph > 0) ORDER BY occurred_at LIMIT 1)
UNION ALL
(SELECT occurred_at, event = 'START' AS running FROM engine_events
 WHERE vin = %(vin)s AND occurred_at > %(until)s AND occurred_at <= %(end)s ORDER BY occurred_at DESC LIMIT 1)
UNION ALL
(SELECT occurred_at, engine_status IS DISTINCT FROM 'OFF' FROM vehicle_status
 WHERE vin = %(vin)s AND occurred_at > %(until)s AND occurred_at <= %(end)s
   AND (engine_status IN ('ON', 'CRANKING', 'OFF') OR speed_kph > 0) ORDER BY occurred_at DESC LIMIT 1);

-- name: stretch
-- The last sight of the engine not running before one instant, not older than another, and the first after a third.
SELECT
    greatest(
        (SELECT occurred_at FROM engine_events
         WHERE vin = %(vin)s AND occurred_at < %(since)s AND occurred_at >= %(oldest)s AND event = 'STOP'
         ORDER BY occurred_at DESC LIMIT 1),
        (SELECT occurred_at FROM vehicle_status
         WHERE vin = %(vin)s AND occurred_at < %(since)s AND occurred_at >= %(oldest)s AND engine_status = 'OFF'
         ORDER BY occurred_at DESC LIMIT 1)),
    least(
        (SELECT occurred_at FROM engine_events
         WHERE vin = %(vin)s AND occurred_at > %(until)s AND occurred_at <= %(latest)s AND event = 'STOP'
         ORDER BY occurred_at LIMIT 1),
        (SELECT occurred_at FROM vehicle_status
         WHERE vin = %(vin)s AND occurred_at > %(until)s AND occurred_at <= %(latest)s AND engine_status = 'OFF'
         ORDER BY occurred_at LIMIT 1));

-- name: newest_sight
SELECT greatest(
    (SELECT occurred_at FROM engine_events
     WHERE vin = %(vin)s AND occurred_at > %(after)s AND occurred_at <= %(latest)s ORDER BY occurred_at DESC LIMIT 1),
    (SELECT occurred_at FROM vehicle_status
     WHERE vin = %(vin)s AND occurred_at > %(after)s AND occurred_at <= %(latest)s
       AND (engine_status IN ('ON', 'CRANKING', 'OFF') OR speed_kph > 0) ORDER BY occurred_at DESC LIMIT 1));

-- name: place_near
-- Where the vehicle was when it was last seen up to an instant; nowhere where its places are withheld.
SELECT latitude, longitude FROM (
    (SELECT occurred_at, latitude, longitude FROM vehicle_status
     WHERE vin = %(vin)s AND occurred_at <= %(at)s AND latitude IS NOT NULL ORDER BY occurred_at DESC LIMIT 1)
    UNION ALL
    (SELECT occurred_at, latitude, longitude FROM engine_events
     WHERE vin = %(vin)s AND occurred_at <= %(at)s AND latitude IS NOT NULL ORDER BY occurred_at DESC LIMIT 1)
) AS places
WHERE NOT EXISTS (SELECT FROM vehicles WHERE vin = %(vin)s AND location_withheld)
ORDER BY occurred_at DESC LIMIT 1;

-- name: violations_between
SELECT violation_number, vin, started_at, ended_at, resolution, severity, latitude, longitude, detected_late, detected_at
FROM curfew_violations_shown
WHERE vin = %(vin)s AND started_at < %(until)s AND (ended_at IS NULL OR ended_at > %(since)s)
ORDER BY started_at;

-- name: violations_begun
SELECT violation_number, vin, started_at, ended_at, resolution, severity, latitude, longitude, detected_late, detected_at
FROM curfew_violations_shown
WHERE vin = %(vin)s AND started_at >= %(since)s AND started_at < %(until)s
ORDER BY started_at, violation_number;

-- name: add_violation
INSERT INTO curfew_violations (vin, started_at, ended_at, resolution, severity, latitude, longitude, detected_late,
    detected_at)
VALUES (%(vin)s, %(started_at)s, %(ended_at)s, %(resolution)s, %(severity)s, %(latitude)s, %(longitude)s,
        %(detected_late)s, %(detected_at)s)
RETURNING violation_number;

-- name: set_violation
UPDATE curfew_violations SET started_at = %(started_at)s, ended_at = %(ended_at)s, resolution = %(resolution)s,
    severity = %(severity)s, detected_late = %(detected_late)s
WHERE violation_number = %(violation_number)s;

-- name: retract_violation
UPDATE curfew_violations SET retracted_at = %(at)s WHERE violation_number = %(violation_number)s;

-- name: violations_page
SELECT violation_number, vin, started_at, ended_at, resolution, severity, latitude, longitude, detected_late, detected_at,
       count(*) OVER () AS total
FROM curfew_violations_shown
WHERE vin = %(vin)s
  AND (%(severity)s::text IS NULL OR severity = %(severity)s)
  AND (%(resolved)s::boolean IS NULL OR (ended_at IS NOT NULL) = %(resolved)s)
  AND (%(since)s::timestamptz IS NULL OR started_at >= %(since)s)
  AND (%(until)s::timestamptz IS NULL OR started_at < %(until)s)
ORDER BY started_at DESC, violation_number DESC LIMIT %(limit)s OFFSET %(offset)s;

-- name: count_violations
-- Violations that began within [since, until).
SELECT count(*) FROM curfew_violations
WHERE vin = %(vin)s AND retracted_at IS NULL
  AND (%(since)s::timestamptz IS NULL OR started_at >= %(since)s)
  AND (%(until)s::timestamptz IS NULL OR started_at < %(until)s);
