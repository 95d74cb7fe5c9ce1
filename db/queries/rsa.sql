-- name: load
SELECT i.cid, i.vin, i.status, i.service_type, i.priority, i.source, i.occurred_at, i.received_at, i.anomalies, i.latitude,
       i.longitude, i.accuracy_m, i.address, i.location_description, i.symptoms, i.description, i.dtc_codes,
       i.battery_voltage, i.customer_info, i.customer_consent, i.vehicle_info, i.destination, i.partner, i.partner_ticket_id,
       i.provider, i.provider_location, i.provider_located_at, i.estimated_arrival, i.arrival_noted, i.promised_arrival,
       i.estimated_distance_km, i.cost_estimate,
       i.dispatched_at, i.completed_at, i.completion, i.result, i.completion_time, i.closed_at, i.cost,
       i.customer_satisfaction, i.agent_id, i.notes, i.follow_up_required, i.updated_at
FROM unnest(%(cids)s::text[]) WITH ORDINALITY AS wanted (cid, place)
JOIN rsa_incidents i ON i.cid = wanted.cid
ORDER BY wanted.place;

-- name: open_of_vehicle
SELECT cid FROM rsa_incidents
WHERE vin = %(vin)s AND status IN ('REQUESTED', 'DISPATCHED', 'CONFIRMED', 'EN_ROUTE', 'ARRIVED', 'REJECTED');

-- name: insert
-- No row where the cid is taken or the vehicle has an open request already.
INSERT INTO rsa_incidents (cid, vin, status, service_type, priority, source, occurred_at, received_at, anomalies, latitude,
    longitude, accuracy_m, address, symptoms, description, dtc_codes, battery_voltage, customer_info, customer_consent,
    updated_at)
VALUES (%(cid)s, %(vin)s, %(status)s, %(service_type)s, %(priority)s, %(source)s, %(occurred_at)s, %(received_at)s,
    %(anomalies)s, %(latitude)s, %(longitude)s, %(accuracy_m)s, %(address)s, %(symptoms)s, %(description)s, %(dtc_codes)s,
    %(battery_voltage)s, %(customer_info)s, %(customer_consent)s, %(updated_at)s)
ON CONFLICT DO NOTHING
RETURNING cid;

-- name: save
-- Everything that moves may change; the caller has loaded the row under the incidents' lock. What was promised stays until
-- another partner is sent, which has given no time of arrival.
UPDATE rsa_incidents SET
    status = %(status)s, service_type = %(service_type)s, priority = %(priority)s, anomalies = %(anomalies)s,
    latitude = %(latitude)s, longitude = %(longitude)s, accuracy_m = %(accuracy_m)s, address = %(address)s,
    location_description = %(location_description)s, symptoms = %(symptoms)s, description = %(description)s,
    dtc_codes = %(dtc_codes)s, battery_voltage = %(battery_voltage)s, customer_info = %(customer_info)s,
    customer_consent = %(customer_consent)s, vehicle_info = %(vehicle_info)s, destination = %(destination)s,
    partner = %(partner)s, partner_ticket_id = %(partner_ticket_id)s, provider = %(provider)s,
    provider_location = %(provider_location)s, provider_located_at = %(provider_located_at)s,
    estimated_arrival = %(estimated_arrival)s, arrival_noted = %(arrival_noted)s,
    promised_arrival = CASE WHEN %(estimated_arrival)s::timestamptz IS NOT NULL
        THEN coalesce(promised_arrival, %(estimated_arrival)s) END,
    estimated_distance_km = %(estimated_distance_km)s,
    cost_estimate = %(cost_estimate)s, dispatched_at = %(dispatched_at)s, completed_at = %(completed_at)s,
    completion = %(completion)s, result = %(result)s, completion_time = %(completion_time)s, closed_at = %(closed_at)s,
    cost = %(cost)s, customer_satisfaction = %(customer_satisfaction)s, agent_id = %(agent_id)s, notes = %(notes)s,
    follow_up_required = %(follow_up_required)s, updated_at = %(updated_at)s
WHERE cid = %(cid)s;

-- name: history
-- A status is looked for in both that the history shows: a closed incident is also COMPLETED, unless nobody completed it.
SELECT cid FROM rsa_incidents
WHERE vin = %(vin)s
  AND (%(status)s::text IS NULL OR status = %(status)s
       OR %(status)s = 'COMPLETED' AND status = 'CLOSED' AND result IS DISTINCT FROM 'NOT_COMPLETED')
ORDER BY occurred_at DESC, cid DESC LIMIT %(limit)s OFFSET %(offset)s;

-- name: history_summary
-- Figures of the whole history; `matching` counts what `history` finds for the status.
SELECT count(*) AS total,
       count(*) FILTER (WHERE %(status)s::text IS NULL OR status = %(status)s
           OR %(status)s = 'COMPLETED' AND status = 'CLOSED' AND result IS DISTINCT FROM 'NOT_COMPLETED') AS matching,
       max(coalesce(closed_at, occurred_at)) AS last_service_at,
       sum((cost ->> 'totalCost')::bigint)::bigint AS total_cost,
       avg(customer_satisfaction)::float8 AS average_satisfaction,
       mode() WITHIN GROUP (ORDER BY service_type) AS most_used_service
FROM rsa_incidents WHERE vin = %(vin)s;

-- name: append_timeline
INSERT INTO rsa_timeline (cid, status, occurred_at, actor, description)
VALUES (%(cid)s, %(status)s, %(occurred_at)s, %(actor)s, %(description)s);

-- name: timeline
SELECT status, occurred_at, actor, description FROM rsa_timeline WHERE cid = %(cid)s ORDER BY entry_id;

-- name: count_dispatched
SELECT count(*) FROM rsa_incidents WHERE status IN ('DISPATCHED', 'CONFIRMED', 'EN_ROUTE', 'ARRIVED');

-- name: take_delayed
-- Each time of arrival once: it is marked in the statement that finds it.
UPDATE rsa_incidents SET delay_raised_for = estimated_arrival
WHERE status IN ('DISPATCHED', 'CONFIRMED', 'EN_ROUTE') AND estimated_arrival < %(now)s
  AND delay_raised_for IS DISTINCT FROM estimated_arrival
RETURNING cid;

-- name: take_unanswered
-- Each dispatch once: it is marked in the statement that finds it.
UPDATE rsa_incidents SET silence_raised_for = dispatched_at
WHERE status = 'DISPATCHED' AND dispatched_at <= %(dispatched_before)s
  AND silence_raised_for IS DISTINCT FROM dispatched_at
RETURNING cid;
