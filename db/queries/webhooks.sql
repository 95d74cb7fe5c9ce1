-- name: put_endpoint
INSERT INTO webhook_endpoints (partner, url, secret, changed_at)
VALUES (%(partner)s, %(url)s, %(secret)s, %(changed_at)s)
ON CONFLICT (partner) DO UPDATE SET url = excluded.url, secret = excluded.secret, changed_at = excluded.changed_at;

-- name: put_guardian_endpoint
INSERT INTO webhook_endpoints (vin, url, secret, changed_at)
VALUES (%(vin)s, %(url)s, %(secret)s, %(changed_at)s)
ON CONFLICT (vin) DO UPDATE SET url = excluded.url, secret = excluded.secret, changed_at = excluded.changed_at;

-- name: endpoint_of_guardian
SELECT endpoint_id FROM webhook_endpoints WHERE vin = %(vin)s;

-- name: endpoint_of_partner
SELECT endpoint_id FROM webhook_endpoints WHERE partner = %(partner)s;

-- name: enqueue
INSERT INTO webhook_deliveries (delivery_id, endpoint_id, topic, cid, payload, created_at, next_attempt_at)
VALUES (%(delivery_id)s, %(endpoint_id)s, %(topic)s, %(cid)s, %(payload)s, %(at)s, %(at)s);

-- name: claim
-- Leases what is due, at most so many at a time for each endpoint: the leases in force are counted, so the bound holds
-- whoever took them. An earlier one about the same incident goes first, however often it has to be tried.
UPDATE webhook_deliveries AS claimed
SET attempts = claimed.attempts + 1, leased_until = %(leased_until)s
FROM (
    SELECT due.delivery_id, e.url, e.secret
    FROM webhook_endpoints e
    CROSS JOIN LATERAL (
        SELECT w.delivery_id FROM webhook_deliveries w
        WHERE w.endpoint_id = e.endpoint_id AND w.status = 'PENDING' AND w.next_attempt_at <= %(now)s
          AND (w.leased_until IS NULL OR w.leased_until <= %(now)s)
          AND NOT EXISTS (
              SELECT FROM webhook_deliveries earlier
              WHERE earlier.cid = w.cid AND earlier.endpoint_id = w.endpoint_id AND earlier.status = 'PENDING'
                AND earlier.created_at < w.created_at)
        ORDER BY w.next_attempt_at, w.delivery_id
        LIMIT greatest(0, %(parallel)s - (
            SELECT count(*) FROM webhook_deliveries leased
            WHERE leased.endpoint_id = e.endpoint_id AND leased.status = 'PENDING'
              AND leased.leased_until IS NOT NULL AND leased.leased_until > %(now)s))
        FOR UPDATE SKIP LOCKED
    ) AS due
    LIMIT %(limit)s
) AS chosen
WHERE claimed.delivery_id = chosen.delivery_id
RETURNING claimed.delivery_id, claimed.topic, claimed.cid, claimed.payload, claimed.attempts, chosen.url, chosen.secret;

-- name: finish
-- What arrived has arrived, also where it was withdrawn meanwhile; a failure changes only what is still pending.
UPDATE webhook_deliveries SET status = %(status)s, last_error = %(last_error)s, leased_until = NULL, finished_at = %(at)s
WHERE delivery_id = %(delivery_id)s AND (status = 'PENDING' OR %(status)s = 'DELIVERED');

-- name: hasten
-- What waits for the receiver of this delivery is due now.
UPDATE webhook_deliveries AS waiting SET next_attempt_at = %(at)s
FROM webhook_deliveries delivered
WHERE delivered.delivery_id = %(delivery_id)s AND waiting.endpoint_id = delivered.endpoint_id
  AND waiting.status = 'PENDING' AND waiting.leased_until IS NULL AND waiting.next_attempt_at > %(at)s;

-- name: put_off
UPDATE webhook_deliveries SET last_error = %(last_error)s, next_attempt_at = %(next_attempt_at)s, leased_until = NULL
WHERE delivery_id = %(delivery_id)s AND status = 'PENDING';

-- name: withdraw
UPDATE webhook_deliveries SET status = 'FAILED', last_error = %(reason)s, leased_until = NULL, finished_at = %(at)s
WHERE cid = %(cid)s AND topic = %(topic)s AND status = 'PENDING';

-- name: latest_of_incident
SELECT d.status, d.attempts, d.last_error
FROM webhook_deliveries d JOIN webhook_endpoints e ON e.endpoint_id = d.endpoint_id
WHERE d.cid = %(cid)s AND e.partner = %(partner)s AND d.topic = %(topic)s
ORDER BY d.created_at DESC LIMIT 1;

-- name: list_all
SELECT d.delivery_id, e.partner, d.topic, d.cid, d.status, d.attempts, d.last_error, d.created_at, d.next_attempt_at,
       d.finished_at
FROM webhook_deliveries d JOIN webhook_endpoints e ON e.endpoint_id = d.endpoint_id
WHERE (%(partner)s::text IS NULL OR e.partner = %(partner)s) AND (%(finished)s OR d.status = 'PENDING')
ORDER BY d.created_at DESC, d.delivery_id LIMIT %(limit)s;

-- name: load
-- What waits, and what became of those that ended since an instant; a dispatch that was taken away is no failure.
SELECT count(*) FILTER (WHERE status = 'PENDING') AS pending,
       count(*) FILTER (WHERE status = 'DELIVERED') AS delivered,
       count(*) FILTER (WHERE status = 'FAILED' AND last_error NOT LIKE 'withdrawn:%%') AS failed
FROM webhook_deliveries WHERE status = 'PENDING' OR finished_at >= %(since)s;
