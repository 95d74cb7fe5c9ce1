-- Everything about a vehicle, table by table, each row as JSON; secrets are left out. erasure.sql names the same tables.

-- name: vehicles
SELECT to_jsonb(t) FROM vehicles t WHERE vin = %(vin)s;

-- name: consents
SELECT to_jsonb(t) FROM consents t WHERE vin = %(vin)s ORDER BY consent_id;

-- name: curfew_policies
SELECT to_jsonb(t) FROM curfew_policies t WHERE vin = %(vin)s ORDER BY policy_id;

-- name: curfew_exceptions
SELECT to_jsonb(t) FROM curfew_exceptions t WHERE vin = %(vin)s ORDER BY exception_number;

-- name: curfew_violations
SELECT to_jsonb(t) FROM curfew_violations t WHERE vin = %(vin)s ORDER BY violation_number;

-- name: curfew_watch
SELECT to_jsonb(t) FROM curfew_watch t WHERE vin = %(vin)s;

-- name: sos_incidents
SELECT to_jsonb(t) FROM sos_incidents t WHERE cid = ANY(%(cids)s) ORDER BY cid;

-- name: sos_timeline
SELECT to_jsonb(t) FROM sos_timeline t WHERE cid = ANY(%(cids)s) ORDER BY entry_id;

-- name: rsa_incidents
SELECT to_jsonb(t) FROM rsa_incidents t WHERE cid = ANY(%(cids)s) ORDER BY cid;

-- name: rsa_timeline
SELECT to_jsonb(t) FROM rsa_timeline t WHERE cid = ANY(%(cids)s) ORDER BY entry_id;

-- name: voice_calls
SELECT to_jsonb(t) FROM voice_calls t WHERE cid = ANY(%(cids)s) ORDER BY started_at;

-- name: vehicle_commands
SELECT to_jsonb(t) FROM vehicle_commands t WHERE vin = %(vin)s ORDER BY issued_at;

-- name: vehicle_presence
SELECT to_jsonb(t) FROM vehicle_presence t WHERE vin = %(vin)s;

-- name: webhook_endpoints
SELECT to_jsonb(t) - 'secret' FROM webhook_endpoints t WHERE vin = %(vin)s;

-- name: webhook_deliveries
SELECT to_jsonb(d) FROM webhook_deliveries d JOIN webhook_endpoints e ON e.endpoint_id = d.endpoint_id
WHERE e.vin = %(vin)s OR d.cid = ANY(%(cids)s) OR d.payload ->> 'vin' = %(vin)s
ORDER BY d.created_at;

-- name: events
SELECT to_jsonb(t) FROM events t WHERE vin = %(vin)s OR cid = ANY(%(cids)s) ORDER BY event_id;

-- name: idempotent_answers
SELECT to_jsonb(t) - 'request_hash' - 'fingerprint' FROM idempotent_answers t
WHERE EXISTS (SELECT FROM unnest(%(words)s::text[]) AS words (word) WHERE position(word IN body) > 0)
ORDER BY answered_at;

-- name: system_tests
SELECT to_jsonb(t) FROM system_tests t
WHERE cid = ANY(%(cids)s) OR position(%(vin)s IN answer::text) > 0 ORDER BY started_at;

-- name: quarantine
-- The payload as base64.
SELECT to_jsonb(t) - 'payload_hash' || jsonb_build_object('payload', encode(payload, 'base64')) FROM quarantine t
WHERE vin = %(vin)s OR cid = ANY(%(cids)s) OR position(%(vin)s IN topic) > 0
   OR ((vin IS NULL OR position(convert_to(%(vin)s, 'UTF8') IN payload) > 0)
       AND EXISTS (SELECT FROM unnest(%(words)s::text[]) AS words (word)
                   WHERE position(convert_to(word, 'UTF8') IN payload) > 0
                      OR position(word IN detail) > 0))
ORDER BY quarantine_id;

-- name: received_messages
SELECT to_jsonb(t) FROM received_messages t WHERE vin = %(vin)s ORDER BY received_at;

-- name: second_deliveries
SELECT to_jsonb(t) FROM second_deliveries t WHERE vin = %(vin)s ORDER BY delivery_id;

-- name: api_keys
SELECT to_jsonb(t) - 'key_hash' FROM api_keys t WHERE %(vin)s = ANY(vins) ORDER BY key_id;

-- name: grants
SELECT to_jsonb(t) FROM grants t WHERE vin = %(vin)s ORDER BY grant_id;

-- name: engine_events
SELECT to_jsonb(t) FROM engine_events t WHERE vin = %(vin)s ORDER BY occurred_at;

-- name: vehicle_status
SELECT to_jsonb(t) FROM vehicle_status t WHERE vin = %(vin)s ORDER BY occurred_at;

-- name: audit
SELECT to_jsonb(t) FROM audit t WHERE vin = %(vin)s OR cid = ANY(%(cids)s) ORDER BY at;
