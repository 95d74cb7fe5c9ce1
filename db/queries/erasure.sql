-- What is done to each table when a vehicle is erased, in this order: first what refers to others. A table that is new and
-- names vehicles, numbers or names belongs here; tests/services/test_privacy.py searches all tables and finds it.

-- name: webhook_deliveries
DELETE FROM webhook_deliveries d USING webhook_endpoints e
WHERE e.endpoint_id = d.endpoint_id
  AND (e.vin = %(vin)s OR d.cid = ANY(%(cids)s) OR d.payload ->> 'vin' = %(vin)s);

-- name: webhook_endpoints
DELETE FROM webhook_endpoints WHERE vin = %(vin)s;

-- name: events
DELETE FROM events WHERE vin = %(vin)s OR cid = ANY(%(cids)s);

-- name: idempotent_answers
-- Kept for a day: answers that name the vehicle, one of its incidents or one of its numbers.
DELETE FROM idempotent_answers
WHERE EXISTS (SELECT FROM unnest(%(words)s::text[]) AS words (word) WHERE position(word IN body) > 0);

-- name: system_tests
DELETE FROM system_tests
WHERE cid = ANY(%(cids)s) OR position(%(vin)s IN answer::text) > 0;

-- name: quarantine
-- By what it was stored under, and by content. A number may be another vehicle's too: what is known to be another's stays.
DELETE FROM quarantine
WHERE vin = %(vin)s OR cid = ANY(%(cids)s) OR position(%(vin)s IN topic) > 0
   OR ((vin IS NULL OR position(convert_to(%(vin)s, 'UTF8') IN payload) > 0)
       AND EXISTS (SELECT FROM unnest(%(words)s::text[]) AS words (word)
                   WHERE position(convert_to(word, 'UTF8') IN payload) > 0
                      OR position(word IN detail) > 0));

-- name: audit
-- Who did what stays, and whose data it was goes. As many rows come as there were.
SELECT FROM generate_series(1, audit_forget_vehicle(%(vin)s, %(cids)s::text[]));

-- name: received_messages
DELETE FROM received_messages WHERE vin = %(vin)s;

-- name: second_deliveries
DELETE FROM second_deliveries WHERE vin = %(vin)s;

-- name: voice_calls
DELETE FROM voice_calls WHERE cid = ANY(%(cids)s);

-- name: sos_timeline
DELETE FROM sos_timeline WHERE cid = ANY(%(cids)s);

-- name: rsa_timeline
DELETE FROM rsa_timeline WHERE cid = ANY(%(cids)s);

-- name: sos_incidents
DELETE FROM sos_incidents WHERE vin = %(vin)s;

-- name: rsa_incidents
DELETE FROM rsa_incidents WHERE vin = %(vin)s;

-- name: curfew_violations
DELETE FROM curfew_violations WHERE vin = %(vin)s;

-- name: curfew_exceptions
DELETE FROM curfew_exceptions WHERE vin = %(vin)s;

-- name: curfew_policies
DELETE FROM curfew_policies WHERE vin = %(vin)s;

-- name: curfew_watch
DELETE FROM curfew_watch WHERE vin = %(vin)s;

-- name: consents
DELETE FROM consents WHERE vin = %(vin)s;

-- name: vehicle_commands
DELETE FROM vehicle_commands WHERE vin = %(vin)s;

-- name: vehicle_presence
DELETE FROM vehicle_presence WHERE vin = %(vin)s;

-- name: engine_events
DELETE FROM engine_events WHERE vin = %(vin)s;

-- name: vehicle_status
DELETE FROM vehicle_status WHERE vin = %(vin)s;

-- name: api_keys
-- A key that was good for this vehicle no longer names it; one that was good for this vehicle alone is revoked.
UPDATE api_keys SET vins = array_remove(vins, %(vin)s), label = replace(label, %(vin)s, 'erased'),
    revoked_at = CASE WHEN vins = ARRAY[%(vin)s] AND NOT every_vehicle THEN coalesce(revoked_at, %(now)s) ELSE revoked_at END
WHERE %(vin)s = ANY(vins) OR position(%(vin)s IN label) > 0;

-- name: grants
DELETE FROM grants WHERE vin = %(vin)s;

-- name: vehicles
DELETE FROM vehicles WHERE vin = %(vin)s;
