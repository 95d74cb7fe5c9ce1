-- name: append
INSERT INTO audit (who, role, action, request, request_id, vin, cid, agent_id, partner)
VALUES (%(who)s, %(role)s, %(action)s, %(request)s, %(request_id)s, %(vin)s, %(cid)s, %(agent_id)s, %(partner)s);

-- name: append_reading
-- Nothing else was written: whoever only reads does not wait for the disk. A crash of the database server can lose the
-- last half second of these rows, and of these only.
WITH hurried AS (SELECT set_config('synchronous_commit', 'off', true))
INSERT INTO audit (who, role, action, request, request_id, vin, cid, agent_id, partner)
SELECT %(who)s, %(role)s, %(action)s, %(request)s, %(request_id)s, %(vin)s, %(cid)s, %(agent_id)s, %(partner)s
FROM hurried;

-- name: latest
SELECT at, who, label, prefix, role, action, request, request_id, vin, cid, agent_id, partner FROM audit_named
WHERE at > %(since)s AND (%(vin)s::text IS NULL OR vin = %(vin)s) AND (%(cid)s::text IS NULL OR cid = %(cid)s)
  AND (%(who)s::text IS NULL OR who = %(who)s)
ORDER BY at DESC LIMIT %(limit)s;
