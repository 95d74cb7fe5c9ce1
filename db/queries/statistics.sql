-- name: snapshot
-- All figures of one answer are of one instant. Must be the first statement of its transaction.
SET TRANSACTION ISOLATION LEVEL REPEATABLE READ;

-- name: sos_now
-- Open now, whenever they began, and closed since the start of the day by the server's closing time.
SELECT (SELECT count(*) FROM sos_incidents
        WHERE NOT test_call AND status IN ('INITIATED', 'CONNECTED', 'DISPATCHED')) AS active,
       (SELECT count(*) FROM sos_incidents
        WHERE NOT test_call AND status = 'CLOSED' AND closed_at >= %(day_start)s AND closed_at < %(until)s) AS ended_today;

-- name: sos_kinds
-- One row for the whole period and one for each emergency type in it; response is from the press to the voice.
SELECT grouping(emergency_type) = 1 AS overall, emergency_type AS kind, count(*) AS total,
       count(*) FILTER (WHERE status <> 'CANCELLED') AS judged,
       count(*) FILTER (WHERE status IN ('RESOLVED', 'CLOSED')) AS succeeded,
       avg(greatest(extract(epoch FROM connected_at - occurred_at), 0))
           FILTER (WHERE connected_at IS NOT NULL)::float8 AS response_s
FROM sos_incidents
WHERE NOT test_call AND occurred_at >= %(since)s AND occurred_at < %(until)s
GROUP BY GROUPING SETS ((), (emergency_type));

-- name: sos_services
-- Incidents by service sent, as dispatch, closing and result tell; one with two services counts for both.
SELECT sent.service, count(*) FROM sos_incidents i
JOIN (VALUES ('POLICE'), ('AMBULANCE'), ('FIRE'), ('TOWING')) AS sent (service)
  ON i.result = sent.service || '_DISPATCHED' OR i.dispatch_info ->> 'serviceType' = sent.service
  OR i.dispatch_info -> 'servicesDispatched' ? sent.service
  OR i.emergency_services -> lower(sent.service) -> 'dispatched' = 'true'
WHERE NOT i.test_call AND i.occurred_at >= %(since)s AND i.occurred_at < %(until)s
GROUP BY sent.service;

-- name: sos_times
-- Incidents by weekday (1 is Monday) and hour, both UTC.
SELECT extract(isodow FROM occurred_at AT TIME ZONE 'UTC')::int AS weekday,
       extract(hour FROM occurred_at AT TIME ZONE 'UTC')::int AS hour, count(*)
FROM sos_incidents
WHERE NOT test_call AND occurred_at >= %(since)s AND occurred_at < %(until)s
GROUP BY weekday, hour;

-- name: sos_calls
-- Calls in which somebody talked and that are over, of the period's incidents.
SELECT avg(c.duration_s)::float8 AS average_s, max(c.duration_s) AS longest_s
FROM sos_incidents i JOIN voice_calls c ON c.cid = i.cid
WHERE NOT i.test_call AND i.occurred_at >= %(since)s AND i.occurred_at < %(until)s AND c.connected_at IS NOT NULL;

-- name: sos_team
-- Every counselor with what the period brought; `rank` 1 has resolved most, `behind` counts those who resolved fewer.
SELECT a.agent_id, a.name, a.availability, coalesce(done.handled, 0) AS handled, coalesce(done.succeeded, 0) AS succeeded,
       rank() OVER (ORDER BY coalesce(done.succeeded, 0) DESC) AS rank,
       rank() OVER (ORDER BY coalesce(done.succeeded, 0)) - 1 AS behind
FROM agents a
LEFT JOIN (SELECT agent_id, count(*) AS handled, count(*) FILTER (WHERE status IN ('RESOLVED', 'CLOSED')) AS succeeded
           FROM sos_incidents
           WHERE NOT test_call AND occurred_at >= %(since)s AND occurred_at < %(until)s
           GROUP BY agent_id) AS done ON done.agent_id = a.agent_id
ORDER BY handled DESC, succeeded DESC, a.agent_id;

-- name: sos_agent
-- One row for all of the counselor's incidents in the period and one for each emergency type among them.
-- Handling is from the assignment to the closing; escalated is what was given to police, ambulance or fire brigade.
SELECT grouping(i.emergency_type) = 1 AS overall, i.emergency_type AS kind, count(*) AS handled,
       count(*) FILTER (WHERE i.status <> 'CANCELLED') AS judged,
       count(*) FILTER (WHERE i.status IN ('RESOLVED', 'CLOSED')) AS succeeded,
       count(*) FILTER (WHERE c.talks > 0) AS connected,
       count(*) FILTER (WHERE i.status IN ('RESOLVED', 'CLOSED') AND c.talks = 1) AS first_call,
       count(*) FILTER (WHERE i.result IN ('POLICE_DISPATCHED', 'AMBULANCE_DISPATCHED', 'FIRE_DISPATCHED')
           OR i.dispatch_info ->> 'serviceType' IN ('POLICE', 'AMBULANCE', 'FIRE')
           OR i.dispatch_info -> 'servicesDispatched' ?| ARRAY['POLICE', 'AMBULANCE', 'FIRE']
           OR i.emergency_services -> 'police' -> 'dispatched' = 'true'
           OR i.emergency_services -> 'ambulance' -> 'dispatched' = 'true'
           OR i.emergency_services -> 'fire' -> 'dispatched' = 'true') AS escalated,
       avg(greatest(extract(epoch FROM i.closed_at - i.assigned_at), 0))
           FILTER (WHERE i.closed_at IS NOT NULL AND i.assigned_at IS NOT NULL)::float8 AS handling_s,
       (sum(c.talked_s) / nullif(sum(c.timed), 0))::float8 AS call_s,
       0 AS rating_sum, 0 AS ratings,
       max(greatest(i.assigned_at, i.dispatched_at, i.closed_at)) AS last_activity_at
FROM sos_incidents i
CROSS JOIN LATERAL (SELECT count(*) AS talks, count(v.duration_s) AS timed, sum(v.duration_s)::numeric AS talked_s
                    FROM voice_calls v WHERE v.cid = i.cid AND v.connected_at IS NOT NULL) AS c
WHERE i.agent_id = %(agent_id)s AND NOT i.test_call AND i.occurred_at >= %(since)s AND i.occurred_at < %(until)s
GROUP BY GROUPING SETS ((), (i.emergency_type));

-- name: sos_agent_times
-- The counselor's incidents by weekday (1 is Monday) and hour, both UTC.
SELECT extract(isodow FROM occurred_at AT TIME ZONE 'UTC')::int AS weekday,
       extract(hour FROM occurred_at AT TIME ZONE 'UTC')::int AS hour, count(*)
FROM sos_incidents
WHERE agent_id = %(agent_id)s AND NOT test_call AND occurred_at >= %(since)s AND occurred_at < %(until)s
GROUP BY weekday, hour;

-- name: rsa_now
-- Open now, whenever they began, and brought to a good end since the start of the day, by the server's clock.
SELECT (SELECT count(*) FROM rsa_incidents
        WHERE status IN ('REQUESTED', 'DISPATCHED', 'CONFIRMED', 'EN_ROUTE', 'ARRIVED', 'REJECTED')) AS active,
       (SELECT count(*) FROM rsa_incidents
        WHERE status IN ('COMPLETED', 'CLOSED') AND result IS DISTINCT FROM 'NOT_COMPLETED'
          AND coalesce(completed_at, closed_at) >= %(day_start)s
          AND coalesce(completed_at, closed_at) < %(until)s) AS ended_today;

-- name: rsa_kinds
-- One row for the whole period and one for each service type in it, the unknown one included (kind is null then).
-- Response is from the request to the dispatch; service from the dispatch to the partner's completion, else the closing.
SELECT grouping(service_type) = 1 AS overall, service_type AS kind, count(*) AS total,
       count(*) FILTER (WHERE status IN ('COMPLETED', 'CLOSED')) AS judged,
       count(*) FILTER (WHERE status IN ('COMPLETED', 'CLOSED') AND result IS DISTINCT FROM 'NOT_COMPLETED') AS succeeded,
       avg(greatest(extract(epoch FROM dispatched_at - occurred_at), 0))
           FILTER (WHERE dispatched_at IS NOT NULL)::float8 AS response_s,
       avg(greatest(extract(epoch FROM coalesce(completed_at, closed_at) - dispatched_at), 0))
           FILTER (WHERE status IN ('COMPLETED', 'CLOSED') AND result IS DISTINCT FROM 'NOT_COMPLETED'
                   AND dispatched_at IS NOT NULL)::float8 AS service_s,
       max(greatest(extract(epoch FROM coalesce(completed_at, closed_at) - dispatched_at), 0))
           FILTER (WHERE status IN ('COMPLETED', 'CLOSED') AND result IS DISTINCT FROM 'NOT_COMPLETED'
                   AND dispatched_at IS NOT NULL)::float8 AS longest_service_s,
       coalesce(sum(customer_satisfaction), 0) AS rating_sum, count(customer_satisfaction) AS ratings
FROM rsa_incidents
WHERE occurred_at >= %(since)s AND occurred_at < %(until)s
GROUP BY GROUPING SETS ((), (service_type));

-- name: rsa_partners
-- Every partner with the period's requests that were last dispatched to it.
SELECT p.partner, coalesce(sent.requests, 0) AS requests, coalesce(sent.judged, 0) AS judged,
       coalesce(sent.succeeded, 0) AS succeeded
FROM partners p
LEFT JOIN (SELECT partner, count(*) AS requests, count(*) FILTER (WHERE status IN ('COMPLETED', 'CLOSED')) AS judged,
                  count(*) FILTER (WHERE status IN ('COMPLETED', 'CLOSED')
                                     AND result IS DISTINCT FROM 'NOT_COMPLETED') AS succeeded
           FROM rsa_incidents WHERE occurred_at >= %(since)s AND occurred_at < %(until)s
           GROUP BY partner) AS sent ON sent.partner = p.partner
ORDER BY p.partner;

-- name: rsa_times
-- Requests by weekday (1 is Monday) and hour, both UTC.
SELECT extract(isodow FROM occurred_at AT TIME ZONE 'UTC')::int AS weekday,
       extract(hour FROM occurred_at AT TIME ZONE 'UTC')::int AS hour, count(*)
FROM rsa_incidents
WHERE occurred_at >= %(since)s AND occurred_at < %(until)s
GROUP BY weekday, hour;

-- name: rsa_costs
-- What the period's requests cost, in minor units, by currency; the currency of most requests first.
SELECT cost ->> 'currency' AS currency, count(*) AS services, sum((cost ->> 'totalCost')::bigint) AS total
FROM rsa_incidents
WHERE occurred_at >= %(since)s AND occurred_at < %(until)s
  AND cost ->> 'totalCost' IS NOT NULL AND cost ->> 'currency' IS NOT NULL
GROUP BY cost ->> 'currency'
ORDER BY services DESC, currency;

-- name: rsa_team
-- Every counselor with what the period brought; `rank` 1 has most good ends, `behind` counts those who have fewer.
SELECT a.agent_id, a.name, a.availability, coalesce(done.handled, 0) AS handled, coalesce(done.succeeded, 0) AS succeeded,
       rank() OVER (ORDER BY coalesce(done.succeeded, 0) DESC) AS rank,
       rank() OVER (ORDER BY coalesce(done.succeeded, 0)) - 1 AS behind
FROM agents a
LEFT JOIN (SELECT agent_id, count(*) AS handled,
                  count(*) FILTER (WHERE status IN ('COMPLETED', 'CLOSED')
                                     AND result IS DISTINCT FROM 'NOT_COMPLETED') AS succeeded
           FROM rsa_incidents WHERE occurred_at >= %(since)s AND occurred_at < %(until)s
           GROUP BY agent_id) AS done ON done.agent_id = a.agent_id
ORDER BY handled DESC, succeeded DESC, a.agent_id;

-- name: rsa_agent
-- One row for all of the counselor's requests in the period and one for each service type among them.
-- Handling is from the request to the closing; escalated is what became an emergency: an SOS of the same vehicle
-- while the request was open.
SELECT grouping(i.service_type) = 1 AS overall, i.service_type AS kind, count(*) AS handled,
       count(*) FILTER (WHERE i.status IN ('COMPLETED', 'CLOSED')) AS judged,
       count(*) FILTER (WHERE i.status IN ('COMPLETED', 'CLOSED') AND i.result IS DISTINCT FROM 'NOT_COMPLETED')
           AS succeeded,
       count(*) FILTER (WHERE c.talks > 0) AS connected,
       count(*) FILTER (WHERE i.status IN ('COMPLETED', 'CLOSED') AND i.result IS DISTINCT FROM 'NOT_COMPLETED'
                        AND c.talks = 1) AS first_call,
       count(*) FILTER (WHERE e.escalated) AS escalated,
       avg(greatest(extract(epoch FROM i.closed_at - i.occurred_at), 0))
           FILTER (WHERE i.closed_at IS NOT NULL)::float8 AS handling_s,
       (sum(c.talked_s) / nullif(sum(c.timed), 0))::float8 AS call_s,
       coalesce(sum(i.customer_satisfaction), 0) AS rating_sum, count(i.customer_satisfaction) AS ratings,
       max(greatest(i.dispatched_at, i.closed_at)) AS last_activity_at
FROM rsa_incidents i
CROSS JOIN LATERAL (SELECT count(*) AS talks, count(v.duration_s) AS timed, sum(v.duration_s)::numeric AS talked_s
                    FROM voice_calls v WHERE v.cid = i.cid AND v.connected_at IS NOT NULL) AS c
CROSS JOIN LATERAL (SELECT EXISTS (SELECT FROM sos_incidents s
                                   WHERE s.vin = i.vin AND NOT s.test_call AND s.occurred_at >= i.occurred_at
                                     AND s.occurred_at < least(i.completed_at, i.closed_at, %(until)s)) AS escalated) AS e
WHERE i.agent_id = %(agent_id)s AND i.occurred_at >= %(since)s AND i.occurred_at < %(until)s
GROUP BY GROUPING SETS ((), (i.service_type));

-- name: rsa_agent_times
-- The counselor's requests by weekday (1 is Monday) and hour, both UTC.
SELECT extract(isodow FROM occurred_at AT TIME ZONE 'UTC')::int AS weekday,
       extract(hour FROM occurred_at AT TIME ZONE 'UTC')::int AS hour, count(*)
FROM rsa_incidents
WHERE agent_id = %(agent_id)s AND occurred_at >= %(since)s AND occurred_at < %(until)s
GROUP BY weekday, hour;
