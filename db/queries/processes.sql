-- name: beat
INSERT INTO processes (name, started_at, beat_at, ready, figures)
VALUES (%(name)s, %(started_at)s, %(beat_at)s, %(ready)s, %(figures)s)
ON CONFLICT (name) DO UPDATE SET started_at = excluded.started_at, beat_at = excluded.beat_at, ready = excluded.ready,
    figures = excluded.figures;

-- name: list_all
SELECT name, started_at, beat_at, ready, figures FROM processes ORDER BY name;

-- name: connections
SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND backend_type = 'client backend';

-- name: try_lead
-- Held by the session until it ends, so that one process at most leads.
SELECT pg_try_advisory_lock(5051, hashtext(%(role)s));

-- name: end_when_frozen
-- A leader that is frozen keeps its connection, and with it the lock: stand-bys would wait for ever.
SELECT set_config('idle_session_timeout', %(timeout)s, false);

-- name: still_leads
SELECT 1;
