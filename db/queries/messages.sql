-- name: claim
-- Returns the ids that nobody has stored yet; the others are second deliveries. In one order, so that two lanes that take
-- the same ids do not wait for each other in a circle; so they take ids before they lock vehicles, too.
INSERT INTO received_messages (vin, message_id, kind, received_at)
SELECT vin, message_id, kind, received_at
FROM unnest(%(vins)s::text[], %(message_ids)s::uuid[], %(kinds)s::text[], %(received_ats)s::timestamptz[])
    WITH ORDINALITY AS claims (vin, message_id, kind, received_at, place)
ORDER BY vin, message_id, place
ON CONFLICT (vin, message_id) DO NOTHING
RETURNING vin, message_id;

-- name: note_second
-- What came again and had no second effect.
INSERT INTO second_deliveries (vin, kind, received_at, messages)
SELECT vin, kind, %(received_at)s, messages
FROM unnest(%(vins)s::text[], %(kinds)s::text[], %(messages)s::integer[]) AS again (vin, kind, messages);

-- name: give_back
-- The message was quarantined after all: its replay must not look like a second delivery.
DELETE FROM received_messages WHERE vin = %(vin)s AND message_id = %(message_id)s;

-- name: set_cid
-- The kind too: a press takes the id over from a message of another kind.
UPDATE received_messages SET kind = %(kind)s, cid = %(cid)s WHERE vin = %(vin)s AND message_id = %(message_id)s;

-- name: taken
SELECT r.vin, r.message_id, r.kind, r.cid
FROM unnest(%(vins)s::text[], %(message_ids)s::uuid[]) AS again (vin, message_id)
JOIN received_messages r ON r.vin = again.vin AND r.message_id = again.message_id;

-- name: get_cid
SELECT cid FROM received_messages WHERE vin = %(vin)s AND message_id = %(message_id)s;

-- name: quarantine
INSERT INTO quarantine (topic, payload, payload_hash, vin, kind, reason, detail, cid, first_received_at, received_at)
VALUES (%(topic)s, %(payload)s, sha256(%(payload)s), %(vin)s, %(kind)s, %(reason)s, %(detail)s, %(cid)s, %(received_at)s,
        %(received_at)s)
ON CONFLICT (topic, payload_hash) DO UPDATE SET
    times_received = quarantine.times_received + 1,
    received_at = greatest(quarantine.received_at, excluded.received_at),
    replayed_at = NULL, replay_requested_at = NULL, reason = excluded.reason, detail = excluded.detail, cid = coalesce(excluded.cid, quarantine.cid);

-- name: list_quarantine
SELECT quarantine_id, topic, payload, vin, kind, reason, detail, cid, first_received_at, received_at, times_received,
       replayed_at
FROM quarantine
WHERE (%(with_replayed)s OR replayed_at IS NULL)
ORDER BY received_at DESC, quarantine_id DESC LIMIT %(limit)s OFFSET %(offset)s;

-- name: get_quarantined
SELECT quarantine_id, topic, payload, vin, kind, reason, detail, cid, first_received_at, received_at, times_received,
       replayed_at
FROM quarantine WHERE quarantine_id = %(quarantine_id)s;

-- name: request_replay
UPDATE quarantine SET replay_requested_at = %(at)s, replayed_at = NULL
WHERE quarantine_id = %(quarantine_id)s RETURNING quarantine_id;

-- name: replay_awaited
SELECT EXISTS (SELECT FROM quarantine WHERE replay_requested_at IS NOT NULL AND replayed_at IS NULL);

-- name: wait_little
-- Who replays holds the incidents' lock, for which presses wait, and renews a lease of three seconds beside that.
SET LOCAL lock_timeout = '200ms';

-- name: take_replay
-- Asked for and not yet done; marked in the transaction that stores it.
UPDATE quarantine SET replayed_at = %(at)s
WHERE quarantine_id = (SELECT quarantine_id FROM quarantine
                       WHERE replay_requested_at IS NOT NULL AND replayed_at IS NULL
                       ORDER BY quarantine_id LIMIT 1 FOR UPDATE SKIP LOCKED)
RETURNING quarantine_id, topic, payload, vin, kind, reason, detail, cid, first_received_at, received_at, times_received,
          replayed_at;

-- name: count_quarantine
SELECT count(*) FROM quarantine WHERE %(with_replayed)s OR replayed_at IS NULL;
