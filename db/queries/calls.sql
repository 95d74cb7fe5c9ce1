-- name: insert
INSERT INTO voice_calls (session_id, cid, status, started_at, connected_at, ended_at, duration_s, battery_voltage)
VALUES (%(session_id)s, %(cid)s, %(status)s, %(started_at)s, %(connected_at)s, %(ended_at)s, %(duration_s)s,
        %(battery_voltage)s)
ON CONFLICT (session_id) DO NOTHING
RETURNING session_id;

-- name: update
UPDATE voice_calls SET status = %(status)s, connected_at = %(connected_at)s, ended_at = %(ended_at)s,
    duration_s = %(duration_s)s, battery_voltage = %(battery_voltage)s
WHERE session_id = %(session_id)s;

-- name: of_incident
SELECT session_id, cid, status, started_at, connected_at, ended_at, duration_s, battery_voltage
FROM voice_calls WHERE cid = %(cid)s ORDER BY started_at, session_id;

-- name: of_incidents
SELECT session_id, cid, status, started_at, connected_at, ended_at, duration_s, battery_voltage
FROM voice_calls WHERE cid = ANY(%(cids)s) ORDER BY cid, started_at, session_id;

-- name: count_active
SELECT count(*) FROM voice_calls WHERE status = 'CONNECTED';
