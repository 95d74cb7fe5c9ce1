-- name: issue
INSERT INTO vehicle_commands (command_id, vin, type, parameters, issued_at, expires_at, next_send_at)
VALUES (%(command_id)s, %(vin)s, %(type)s, %(parameters)s, %(issued_at)s, %(expires_at)s, %(next_send_at)s);

-- name: count_since
SELECT count(*) FROM vehicle_commands WHERE vin = %(vin)s AND type = %(type)s AND issued_at > %(since)s;

-- name: get
SELECT command_id, vin, type, parameters, issued_at, expires_at, ack_status, ack_reason, acked_at, outcome, reason, sends,
       next_send_at, closed_at
FROM vehicle_commands WHERE command_id = %(command_id)s FOR UPDATE;

-- name: of_vehicle
SELECT command_id, vin, type, parameters, issued_at, expires_at, ack_status, ack_reason, acked_at, outcome, reason, sends,
       next_send_at, closed_at
FROM vehicle_commands WHERE vin = %(vin)s ORDER BY issued_at DESC, command_id LIMIT %(limit)s OFFSET %(offset)s;

-- name: count_of_vehicle
SELECT count(*) FROM vehicle_commands WHERE vin = %(vin)s;

-- name: newest
-- The vehicle's latest block or release that may have reached it: what it obeys now.
SELECT command_id, vin, type, parameters, issued_at, expires_at, ack_status, ack_reason, acked_at, outcome, reason, sends,
       next_send_at, closed_at
FROM vehicle_commands
WHERE vin = %(vin)s AND type = ANY(%(types)s) ORDER BY issued_at DESC, command_id LIMIT 1;

-- name: due
-- Those to send again, and those whose time is over.
SELECT command_id, vin, type, parameters, issued_at, expires_at, ack_status, ack_reason, acked_at, outcome, reason, sends,
       next_send_at, closed_at
FROM vehicle_commands
WHERE outcome = 'PENDING' AND (next_send_at <= %(now)s OR expires_at <= %(now)s)
ORDER BY issued_at LIMIT %(limit)s;

-- name: set_sent
UPDATE vehicle_commands SET sends = %(sends)s, next_send_at = %(next_send_at)s WHERE command_id = %(command_id)s;

-- name: set_acknowledged
UPDATE vehicle_commands SET ack_status = %(status)s, ack_reason = %(reason)s, acked_at = %(acked_at)s, outcome = %(status)s,
    next_send_at = NULL, closed_at = CASE WHEN %(status)s = 'ACCEPTED' THEN NULL ELSE %(acked_at)s END
WHERE command_id = %(command_id)s;

-- name: close
UPDATE vehicle_commands SET outcome = %(outcome)s, reason = %(reason)s, next_send_at = NULL, closed_at = %(at)s
WHERE command_id = %(command_id)s;
