-- name: load
SELECT i.cid, i.vin, i.status, i.emergency_type, i.urgency, i.source, i.test_call, i.occurred_at, i.received_at, i.anomalies,
       i.latitude, i.longitude, i.accuracy_m, i.address, i.located_at, i.description, i.contact_number, i.passenger_count,
       i.vehicle_condition, i.request_type, i.customer_consent, i.vehicle_status, i.agent_id, i.assigned_at, i.connected_at,
       i.dispatch_info, i.dispatched_at, i.result, i.notes, i.completion_time, i.closed_at, i.emergency_services,
       i.customer_status, i.follow_up_required, i.updated_at
FROM unnest(%(cids)s::text[]) WITH ORDINALITY AS wanted (cid, place)
JOIN sos_incidents i ON i.cid = wanted.cid
ORDER BY wanted.place;

-- name: open_of_vehicle
SELECT cid FROM sos_incidents
WHERE vin = %(vin)s AND test_call = %(test_call)s AND status IN ('INITIATED', 'CONNECTED', 'DISPATCHED');

-- name: insert
-- No row where the cid is taken or the vehicle has an open SOS already.
INSERT INTO sos_incidents (cid, vin, status, emergency_type, urgency, source, test_call, occurred_at, received_at, anomalies,
    latitude, longitude, accuracy_m, address, located_at, description, contact_number, passenger_count, vehicle_condition,
    request_type, customer_consent, vehicle_status, updated_at)
VALUES (%(cid)s, %(vin)s, %(status)s, %(emergency_type)s, %(urgency)s, %(source)s, %(test_call)s, %(occurred_at)s,
    %(received_at)s, %(anomalies)s, %(latitude)s, %(longitude)s, %(accuracy_m)s, %(address)s, %(located_at)s, %(description)s,
    %(contact_number)s, %(passenger_count)s, %(vehicle_condition)s, %(request_type)s, %(customer_consent)s,
    %(vehicle_status)s, %(updated_at)s)
ON CONFLICT DO NOTHING
RETURNING cid;

-- name: absorb
-- A further press: what it newly tells is kept, what it does not tell stays.
UPDATE sos_incidents SET
    emergency_type = %(emergency_type)s, urgency = %(urgency)s, anomalies = %(anomalies)s, latitude = %(latitude)s,
    longitude = %(longitude)s, accuracy_m = %(accuracy_m)s, address = %(address)s, located_at = %(located_at)s,
    description = %(description)s, contact_number = %(contact_number)s, passenger_count = %(passenger_count)s,
    vehicle_condition = %(vehicle_condition)s, customer_consent = %(customer_consent)s, vehicle_status = %(vehicle_status)s,
    updated_at = %(updated_at)s
WHERE cid = %(cid)s;

-- name: assign
UPDATE sos_incidents SET agent_id = %(agent_id)s, assigned_at = %(at)s, updated_at = %(at)s WHERE cid = %(cid)s;

-- name: head_of_queue
-- Most urgent first, then who has waited longest.
SELECT cid FROM sos_incidents
WHERE agent_id IS NULL AND NOT test_call AND status IN ('INITIATED', 'CONNECTED', 'DISPATCHED')
ORDER BY array_position(ARRAY['CRITICAL', 'HIGH', 'MEDIUM', 'LOW'], urgency), occurred_at, cid
LIMIT 1;

-- name: place_in_queue
SELECT place FROM (
    SELECT cid, row_number() OVER (
        ORDER BY array_position(ARRAY['CRITICAL', 'HIGH', 'MEDIUM', 'LOW'], urgency), occurred_at, cid) AS place
    FROM sos_incidents
    WHERE agent_id IS NULL AND NOT test_call AND status IN ('INITIATED', 'CONNECTED', 'DISPATCHED')
) AS queue
WHERE cid = %(cid)s;

-- name: set_connected
UPDATE sos_incidents SET status = %(status)s, connected_at = coalesce(connected_at, %(connected_at)s), updated_at = %(at)s
WHERE cid = %(cid)s;

-- name: set_dispatched
UPDATE sos_incidents SET status = %(status)s, dispatch_info = %(dispatch_info)s,
    dispatched_at = coalesce(dispatched_at, %(at)s), updated_at = %(at)s
WHERE cid = %(cid)s;

-- name: set_resolved
UPDATE sos_incidents SET status = %(status)s, notes = coalesce(%(notes)s, notes), updated_at = %(at)s
WHERE cid = %(cid)s;

-- name: set_closed
UPDATE sos_incidents SET status = %(status)s, result = %(result)s, notes = coalesce(%(notes)s, notes),
    completion_time = %(completion_time)s, closed_at = %(at)s, agent_id = coalesce(%(agent_id)s, agent_id),
    emergency_services = %(emergency_services)s,
    customer_status = %(customer_status)s, follow_up_required = %(follow_up_required)s, updated_at = %(at)s
WHERE cid = %(cid)s;

-- name: has_open_of_agent
SELECT EXISTS (SELECT FROM sos_incidents
               WHERE agent_id = %(agent_id)s AND status IN ('INITIATED', 'CONNECTED', 'DISPATCHED'));

-- name: of_agent
SELECT cid FROM sos_incidents
WHERE agent_id = %(agent_id)s AND NOT test_call AND status IN ('INITIATED', 'CONNECTED', 'DISPATCHED')
ORDER BY occurred_at, cid;

-- name: history
SELECT cid FROM sos_incidents WHERE vin = %(vin)s AND NOT test_call
ORDER BY occurred_at DESC, cid DESC LIMIT %(limit)s OFFSET %(offset)s;

-- name: history_summary
-- Figures over the whole history of one vehicle; response is from the press to the agent's voice.
SELECT count(*) AS total,
       max(coalesce(closed_at, occurred_at)) AS last_incident_at,
       avg(extract(epoch FROM connected_at - occurred_at))::float8 AS average_response_s
FROM sos_incidents WHERE vin = %(vin)s AND NOT test_call;

-- name: history_types
SELECT emergency_type, count(*) FROM sos_incidents WHERE vin = %(vin)s AND NOT test_call
GROUP BY emergency_type ORDER BY emergency_type;

-- name: append_timeline
INSERT INTO sos_timeline (cid, status, occurred_at, actor, description)
VALUES (%(cid)s, %(status)s, %(occurred_at)s, %(actor)s, %(description)s);

-- name: timeline
SELECT status, occurred_at, actor, description FROM sos_timeline WHERE cid = %(cid)s ORDER BY entry_id;

-- name: pace
-- How fast the center has been since an instant: press to voice, and assignment to closing.
SELECT avg(extract(epoch FROM connected_at - occurred_at))::float8 AS response_s,
       avg(extract(epoch FROM closed_at - assigned_at))::float8 AS handling_s
FROM sos_incidents WHERE occurred_at >= %(since)s AND NOT test_call;

-- name: handling_of_agent
SELECT avg(extract(epoch FROM closed_at - assigned_at))::float8 FROM sos_incidents
WHERE agent_id = %(agent_id)s AND occurred_at >= %(since)s AND NOT test_call;

-- name: load_of_center
-- What the call center has to do now.
SELECT count(*) FILTER (WHERE status IN ('INITIATED', 'CONNECTED', 'DISPATCHED')) AS active,
       count(*) FILTER (WHERE status IN ('INITIATED', 'CONNECTED', 'DISPATCHED') AND agent_id IS NULL) AS queued,
       count(*) FILTER (WHERE status = 'DISPATCHED') AS dispatched,
       count(*) FILTER (WHERE occurred_at >= %(day_start)s) AS today
FROM sos_incidents
WHERE NOT test_call AND (status IN ('INITIATED', 'CONNECTED', 'DISPATCHED') OR occurred_at >= %(day_start)s);
