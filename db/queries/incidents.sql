-- name: lock
-- Taken first by every transaction that opens, moves or assigns an incident: one order of locks, so no deadlock, and
-- no SOS stays queued beside an idle agent.
SELECT pg_advisory_xact_lock(5050);

-- name: mint
INSERT INTO cid_counters (prefix, day, last) VALUES (%(prefix)s, %(day)s, 1)
ON CONFLICT (prefix, day) DO UPDATE SET last = cid_counters.last + 1
RETURNING last;
