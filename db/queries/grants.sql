-- name: add
-- The same again changes nothing but whom it speaks for.
INSERT INTO grants (subject, role, vin, every_vehicle, agent_id, partner, granted_at)
VALUES (%(subject)s, %(role)s, %(vin)s, %(every_vehicle)s, %(agent_id)s, %(partner)s, %(granted_at)s)
ON CONFLICT (subject, role, coalesce(vin, '')) WHERE revoked_at IS NULL
DO UPDATE SET every_vehicle = excluded.every_vehicle, agent_id = excluded.agent_id, partner = excluded.partner
RETURNING grant_id;

-- name: of_subjects
-- What holds now, for those who come with a token and for those who have streams open.
SELECT grant_id, subject, role, vin, every_vehicle, agent_id, partner, granted_at, revoked_at
FROM grants WHERE subject = ANY(%(subjects)s) AND revoked_at IS NULL ORDER BY grant_id;

-- name: list_all
SELECT grant_id, subject, role, vin, every_vehicle, agent_id, partner, granted_at, revoked_at
FROM grants WHERE %(subject)s::text IS NULL OR subject = %(subject)s ORDER BY grant_id;

-- name: revoke
UPDATE grants SET revoked_at = %(revoked_at)s WHERE grant_id = %(grant_id)s AND revoked_at IS NULL RETURNING grant_id;
