-- name: try_begin
-- Held until the caller's commit; whoever comes meanwhile is told so instead of waiting.
SELECT pg_try_advisory_xact_lock(%(lock)s);

-- name: answer
SELECT fingerprint, status, media_type, body FROM idempotent_answers
WHERE request_hash = %(request_hash)s AND answered_at > %(since)s;

-- name: keep
-- Replaces one that is too old to be replayed and not pruned yet.
INSERT INTO idempotent_answers (request_hash, fingerprint, status, media_type, body, answered_at)
VALUES (%(request_hash)s, %(fingerprint)s, %(status)s, %(media_type)s, %(body)s, %(answered_at)s)
ON CONFLICT (request_hash) DO UPDATE SET fingerprint = excluded.fingerprint, status = excluded.status,
    media_type = excluded.media_type, body = excluded.body, answered_at = excluded.answered_at;
