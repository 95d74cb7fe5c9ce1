-- name: put
INSERT INTO api_keys (prefix, key_hash, label, role, vins, every_vehicle, agent_id, partner, expires_at,
    requests_per_minute, streams)
VALUES (%(prefix)s, %(key_hash)s, %(label)s, %(role)s, %(vins)s, %(every_vehicle)s, %(agent_id)s, %(partner)s,
    %(expires_at)s, %(requests_per_minute)s, %(streams)s)
ON CONFLICT (key_hash) DO UPDATE SET label = excluded.label, role = excluded.role, vins = excluded.vins,
    every_vehicle = excluded.every_vehicle, agent_id = excluded.agent_id, partner = excluded.partner,
    expires_at = excluded.expires_at, requests_per_minute = excluded.requests_per_minute, streams = excluded.streams,
    revoked_at = NULL
RETURNING key_id;

-- name: find
-- Those that begin alike; which one it is, the hash tells, compared in constant time.
SELECT key_id, prefix, key_hash, label, role, vins, every_vehicle, agent_id, partner, expires_at, revoked_at,
    requests_per_minute, streams
FROM api_keys WHERE prefix = %(prefix)s;

-- name: by_number
-- Asked again for those who have streams open.
SELECT key_id, prefix, key_hash, label, role, vins, every_vehicle, agent_id, partner, expires_at, revoked_at,
    requests_per_minute, streams
FROM api_keys WHERE key_id = ANY(%(key_ids)s);

-- name: list_all
SELECT key_id, prefix, key_hash, label, role, vins, every_vehicle, agent_id, partner, expires_at, revoked_at,
    requests_per_minute, streams
FROM api_keys ORDER BY key_id;

-- name: revoke
UPDATE api_keys SET revoked_at = %(revoked_at)s WHERE key_id = %(key_id)s AND revoked_at IS NULL RETURNING key_id;
