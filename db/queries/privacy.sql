-- name: read_one_state
-- All tables as they were at one instant.
SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY;

-- name: take_time
SET statement_timeout = 0;

-- name: subject
-- What else than the VIN leads to this vehicle's people: its incidents and the numbers that were given. Short numbers, as
-- of emergency services, are nobody's and occur in others' messages.
SELECT
    (SELECT coalesce(array_agg(cid), '{}') FROM (
        SELECT cid FROM sos_incidents WHERE vin = %(vin)s
        UNION ALL SELECT cid FROM rsa_incidents WHERE vin = %(vin)s) AS incidents),
    (SELECT coalesce(array_agg(DISTINCT phone), '{}') FROM (
        SELECT customer_phone AS phone FROM vehicles WHERE vin = %(vin)s
        UNION ALL SELECT contact_number FROM sos_incidents WHERE vin = %(vin)s
        UNION ALL SELECT customer_info ->> 'phone' FROM rsa_incidents WHERE vin = %(vin)s) AS phones
     WHERE length(regexp_replace(phone, '\D', '', 'g')) >= 7);

-- name: unclosed
-- The vehicle's incidents that somebody still has to close.
SELECT cid FROM sos_incidents WHERE vin = %(vin)s AND status NOT IN ('CLOSED', 'CANCELLED')
UNION ALL
SELECT cid FROM rsa_incidents WHERE vin = %(vin)s AND status NOT IN ('CLOSED', 'CANCELLED')
ORDER BY cid;

-- name: count_incidents
-- Before they are deleted: figures, by month, that name nobody.
INSERT INTO erased_incidents (service, month, kind, urgency, status, source, test_call, response_s, duration_s)
SELECT 'SOS', date_trunc('month', occurred_at), emergency_type, urgency, status, source, test_call,
       extract(epoch FROM connected_at - occurred_at)::integer, extract(epoch FROM closed_at - occurred_at)::integer
FROM sos_incidents WHERE vin = %(vin)s
UNION ALL
SELECT 'RSA', date_trunc('month', occurred_at), service_type, priority, status, source, false,
       extract(epoch FROM dispatched_at - occurred_at)::integer, extract(epoch FROM closed_at - occurred_at)::integer
FROM rsa_incidents WHERE vin = %(vin)s;

-- name: keep_numbering
-- The next event's number must follow the last one, which may be among those that are deleted.
INSERT INTO event_cursors (reader, sequence) SELECT 'sequencer', max(sequence) FROM events HAVING max(sequence) IS NOT NULL
ON CONFLICT (reader) DO UPDATE SET sequence = greatest(event_cursors.sequence, excluded.sequence);

-- name: certify
INSERT INTO erasure_certificates (certificate_id, issued_at, subject_hash, report)
VALUES (%(certificate_id)s, %(issued_at)s, %(subject_hash)s, %(report)s);

-- name: amend
UPDATE erasure_certificates SET report = %(report)s WHERE certificate_id = %(certificate_id)s;

-- name: status_span
SELECT min(occurred_at), max(occurred_at) FROM vehicle_status WHERE vin = %(vin)s;

-- name: erase_status
DELETE FROM vehicle_status WHERE vin = %(vin)s AND occurred_at >= %(since)s AND occurred_at < %(until)s;

-- name: incidents_of_person
-- By a telephone number, of which the digits count, or by a name, as it was given with an incident.
SELECT s.cid, s.vin FROM sos_incidents s JOIN vehicles v ON v.vin = s.vin
WHERE (%(phone)s::text IS NOT NULL AND %(phone)s IN (regexp_replace(s.contact_number, '\D', '', 'g'),
                                                    regexp_replace(v.customer_phone, '\D', '', 'g')))
   OR lower(v.customer_name) = lower(%(name)s)
UNION
SELECT r.cid, r.vin FROM rsa_incidents r JOIN vehicles v ON v.vin = r.vin
WHERE (%(phone)s::text IS NOT NULL AND %(phone)s IN (regexp_replace(r.customer_info ->> 'phone', '\D', '', 'g'),
                                                    regexp_replace(v.customer_phone, '\D', '', 'g')))
   OR lower(%(name)s) IN (lower(v.customer_name), lower(r.customer_info ->> 'name'))
ORDER BY 1;

-- name: vehicles_of_person
SELECT vin FROM vehicles
WHERE (%(phone)s::text IS NOT NULL AND regexp_replace(customer_phone, '\D', '', 'g') = %(phone)s)
   OR lower(customer_name) = lower(%(name)s)
ORDER BY vin;
