-- name: lock
-- Taken first by every transaction that opens, moves or assigns an incident: one order of locks, so no deadlock, and
-- no SOS stays queued beside an idle agent.
SELECT pg_advisory_xact_lock(5050);

-- name: mint
INSERT INTO cid_counters (prefix, day, last) VALUES (%(prefix)s, %(day)s, 1)
ON CONFLICT (prefix, day) DO UPDATE SET last = cid_counters.last + 1
RETURNING last;

-- name: unclosed
-- A page of what is neither closed nor cancelled, by cid. NULL for vins: every vehicle.
SELECT service, cid, vin, status, kind, urgency, priority, occurred_at, received_at, latitude, longitude, address, agent_id,
       assigned_at, connected_at, dispatched_at, partner, estimated_arrival, promised_arrival, customer_name, anomalies,
       updated_at
FROM incidents_overview
WHERE status NOT IN ('CLOSED', 'CANCELLED') AND cid > %(after)s AND (%(with_tests)s OR NOT test_call)
  AND (%(vins)s::text[] IS NULL OR vin = ANY (%(vins)s))
ORDER BY cid LIMIT %(limit)s;

-- name: named
-- These incidents, whatever their status. NULL for vins: every vehicle.
SELECT service, cid, vin, status, kind, urgency, priority, occurred_at, received_at, latitude, longitude, address, agent_id,
       assigned_at, connected_at, dispatched_at, partner, estimated_arrival, promised_arrival, customer_name, anomalies,
       updated_at
FROM incidents_overview
WHERE cid = ANY (%(cids)s) AND (%(with_tests)s OR NOT test_call)
  AND (%(vins)s::text[] IS NULL OR vin = ANY (%(vins)s))
ORDER BY cid;
