-- name: append
-- Wakes the sequencer when the transaction commits; it polls as well.
WITH appended AS (
    INSERT INTO events (service, type, priority, vin, cid, partner, occurred_at, data)
    VALUES (%(service)s, %(type)s, %(priority)s, %(vin)s, %(cid)s, %(partner)s, %(occurred_at)s, %(data)s)
    RETURNING event_id
)
SELECT pg_notify('events_appended', '') FROM appended;

-- name: last_sequence
-- The last number given, also where its event was erased since.
SELECT greatest(coalesce((SELECT max(sequence) FROM events), 0),
                (SELECT sequence FROM event_cursors WHERE reader = 'sequencer'));

-- name: sequence_batch
-- Numbers what has been committed, oldest first, after the last number given.
UPDATE events SET sequence = numbered.sequence
FROM (
    SELECT event_id, %(last)s + row_number() OVER (ORDER BY event_id) AS sequence
    FROM (SELECT event_id FROM events WHERE sequence IS NULL ORDER BY event_id LIMIT %(limit)s) AS waiting
) AS numbered
WHERE events.event_id = numbered.event_id;

-- name: notify_sequenced
SELECT pg_notify('events_sequenced', '');

-- name: after
SELECT sequence, service, type, priority, vin, cid, partner, occurred_at, data
FROM events WHERE sequence > %(sequence)s ORDER BY sequence LIMIT %(limit)s;

-- name: known_range
-- The first and last number that can still be read; nulls where there is none.
SELECT (SELECT min(sequence) FROM events) AS first, (SELECT max(sequence) FROM events) AS last;

-- name: cursor
SELECT sequence FROM event_cursors WHERE reader = %(reader)s;

-- name: move_cursor
INSERT INTO event_cursors (reader, sequence) VALUES (%(reader)s, %(sequence)s)
ON CONFLICT (reader) DO UPDATE SET sequence = excluded.sequence;
