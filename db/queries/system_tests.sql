-- name: try_begin
-- Held until the caller's commit: the reserved vehicle can have one open incident.
SELECT pg_try_advisory_xact_lock(5052);

-- name: store
INSERT INTO system_tests (test_id, test_type, requested_by, cid, started_at, finished_at, result, answer)
VALUES (%(test_id)s, %(test_type)s, %(requested_by)s, %(cid)s, %(started_at)s, %(finished_at)s, %(result)s, %(answer)s);
