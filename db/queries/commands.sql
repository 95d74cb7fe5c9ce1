-- name: issue
INSERT INTO vehicle_commands (command_id, vin, type, parameters, issued_at, expires_at)
VALUES (%(command_id)s, %(vin)s, %(type)s, %(parameters)s, %(issued_at)s, %(expires_at)s);

-- name: count_since
SELECT count(*) FROM vehicle_commands WHERE vin = %(vin)s AND type = %(type)s AND issued_at > %(since)s;

-- name: acknowledge
-- EXECUTED, REJECTED and FAILED are final; a later answer changes nothing.
UPDATE vehicle_commands SET ack_status = %(status)s, ack_reason = %(reason)s, acked_at = %(acked_at)s
WHERE command_id = %(command_id)s AND vin = %(vin)s AND (ack_status IS NULL OR ack_status = 'ACCEPTED')
RETURNING command_id;

-- name: exists
SELECT EXISTS (SELECT FROM vehicle_commands WHERE command_id = %(command_id)s AND vin = %(vin)s);
