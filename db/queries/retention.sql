-- name: chunks_before
SELECT DISTINCT range_end FROM timescaledb_information.chunks
WHERE hypertable_schema = 'public' AND hypertable_name = %(hypertable)s AND range_end <= %(before)s
ORDER BY range_end;

-- name: wait_little
-- Dropping a chunk locks out its readers, and whoever asks for the latest of a vehicle reads all chunks: they would queue
-- behind a drop that waits.
SET LOCAL lock_timeout = '200ms';

-- name: drop_chunks
-- Dropping needs the owner's rights; the function has them.
SELECT drop_old_chunks(%(hypertable)s, %(ending)s);

-- name: quarantine
-- Counted from when the bytes last came. What waits for its replay stays, and what an open emergency was raised from.
DELETE FROM quarantine WHERE quarantine_id IN (
    SELECT q.quarantine_id FROM quarantine q
    WHERE q.received_at < %(before)s AND (q.replay_requested_at IS NULL OR q.replayed_at IS NOT NULL)
      AND NOT EXISTS (SELECT FROM sos_incidents s WHERE s.cid = q.cid AND s.status NOT IN ('CLOSED', 'CANCELLED'))
    ORDER BY q.received_at LIMIT %(limit)s FOR UPDATE SKIP LOCKED);

-- name: webhook_deliveries
-- Counted from their end; what is still to be delivered has none.
DELETE FROM webhook_deliveries WHERE delivery_id IN (
    SELECT delivery_id FROM webhook_deliveries WHERE finished_at < %(before)s
    ORDER BY finished_at LIMIT %(limit)s FOR UPDATE SKIP LOCKED);

-- name: system_tests
DELETE FROM system_tests WHERE test_id IN (
    SELECT test_id FROM system_tests WHERE finished_at < %(before)s
    ORDER BY finished_at LIMIT %(limit)s FOR UPDATE SKIP LOCKED);

-- name: received_messages
DELETE FROM received_messages WHERE (vin, message_id) IN (
    SELECT vin, message_id FROM received_messages WHERE received_at < %(before)s
    ORDER BY received_at LIMIT %(limit)s FOR UPDATE SKIP LOCKED);

-- name: second_deliveries
-- Nobody but this job takes rows away, and nobody changes any.
DELETE FROM second_deliveries WHERE delivery_id IN (
    SELECT delivery_id FROM second_deliveries WHERE received_at < %(before)s ORDER BY received_at LIMIT %(limit)s);

-- name: events
-- The oldest by number, which is the order they were written in but for moments, so that no index on the time is needed.
-- The newest stays: the next number follows it. What has no number yet stays too.
DELETE FROM events WHERE event_id IN (
    SELECT event_id FROM (SELECT event_id, appended_at FROM events
                          WHERE sequence < (SELECT max(sequence) FROM events)
                          ORDER BY sequence LIMIT %(limit)s) AS oldest
    WHERE appended_at < %(before)s);

-- name: idempotent_answers
DELETE FROM idempotent_answers WHERE request_hash IN (
    SELECT request_hash FROM idempotent_answers WHERE answered_at < %(before)s
    ORDER BY answered_at LIMIT %(limit)s FOR UPDATE SKIP LOCKED);

-- name: operations_samples
DELETE FROM operations_samples WHERE sampled_at IN (
    SELECT sampled_at FROM operations_samples WHERE sampled_at < %(before)s
    ORDER BY sampled_at LIMIT %(limit)s FOR UPDATE SKIP LOCKED);

-- name: request_counts
DELETE FROM request_counts WHERE (who, policy) IN (
    SELECT who, policy FROM request_counts WHERE began_at < %(before)s LIMIT %(limit)s FOR UPDATE SKIP LOCKED);

-- name: open_streams
-- Those of processes that were killed; what is open may be open for long.
DELETE FROM open_streams WHERE stream_id IN (
    SELECT stream_id FROM open_streams s
    WHERE opened_at < %(before)s AND NOT EXISTS (SELECT FROM processes p WHERE p.name = s.process)
    ORDER BY stream_id LIMIT %(limit)s FOR UPDATE SKIP LOCKED);

-- name: stream_tickets
-- Those that nobody has used.
DELETE FROM stream_tickets WHERE ticket_hash IN (
    SELECT ticket_hash FROM stream_tickets WHERE expires_at < %(before)s
    ORDER BY expires_at LIMIT %(limit)s FOR UPDATE SKIP LOCKED);

-- name: processes
DELETE FROM processes WHERE name IN (
    SELECT name FROM processes WHERE beat_at < %(before)s LIMIT %(limit)s FOR UPDATE SKIP LOCKED);

-- name: sos_incidents
-- Ended, and last changed so long ago. Their timelines and calls go with them; what stays are figures, as of erased vehicles.
WITH due AS (
    SELECT cid FROM sos_incidents WHERE status IN ('CLOSED', 'CANCELLED') AND updated_at < %(before)s
    ORDER BY updated_at LIMIT %(limit)s FOR UPDATE SKIP LOCKED
), counted AS (
    INSERT INTO erased_incidents (service, month, kind, urgency, status, source, test_call, response_s, duration_s)
    SELECT 'SOS', date_trunc('month', occurred_at), emergency_type, urgency, status, source, test_call,
           extract(epoch FROM connected_at - occurred_at)::integer, extract(epoch FROM closed_at - occurred_at)::integer
    FROM sos_incidents WHERE cid IN (SELECT cid FROM due)
), calls AS (
    DELETE FROM voice_calls WHERE cid IN (SELECT cid FROM due)
), timelines AS (
    DELETE FROM sos_timeline WHERE cid IN (SELECT cid FROM due)
)
DELETE FROM sos_incidents WHERE cid IN (SELECT cid FROM due);

-- name: rsa_incidents
WITH due AS (
    SELECT cid FROM rsa_incidents WHERE status IN ('CLOSED', 'CANCELLED') AND updated_at < %(before)s
    ORDER BY updated_at LIMIT %(limit)s FOR UPDATE SKIP LOCKED
), counted AS (
    INSERT INTO erased_incidents (service, month, kind, urgency, status, source, test_call, response_s, duration_s)
    SELECT 'RSA', date_trunc('month', occurred_at), service_type, priority, status, source, false,
           extract(epoch FROM dispatched_at - occurred_at)::integer, extract(epoch FROM closed_at - occurred_at)::integer
    FROM rsa_incidents WHERE cid IN (SELECT cid FROM due)
), calls AS (
    DELETE FROM voice_calls WHERE cid IN (SELECT cid FROM due)
), timelines AS (
    DELETE FROM rsa_timeline WHERE cid IN (SELECT cid FROM due)
)
DELETE FROM rsa_incidents WHERE cid IN (SELECT cid FROM due);
