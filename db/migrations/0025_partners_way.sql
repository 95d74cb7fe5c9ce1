-- When an RSA's partner left and when one declined stood only in the timeline. New columns of a view go to its end.
CREATE OR REPLACE VIEW analytics.incidents AS
SELECT 'SOS' AS service, s.cid, s.vin, s.status, s.emergency_type AS kind, s.urgency, NULL AS priority, s.source, s.test_call,
       s.anomalies, s.occurred_at, s.received_at, s.assigned_at, s.connected_at, s.dispatched_at,
       NULL::timestamptz AS confirmed_at, NULL::timestamptz AS arrived_at, l.resolved_at, NULL::timestamptz AS completed_at,
       s.closed_at, l.cancelled_at, s.agent_id, NULL AS partner, s.result, NULL::integer AS customer_satisfaction,
       extract(epoch FROM s.connected_at - s.occurred_at)::double precision AS response_s,
       extract(epoch FROM s.closed_at - s.occurred_at)::double precision AS duration_s,
       CASE WHEN NOT v.location_withheld THEN round(s.latitude::numeric, 2)::double precision END AS latitude,
       CASE WHEN NOT v.location_withheld THEN round(s.longitude::numeric, 2)::double precision END AS longitude,
       NULL::timestamptz AS en_route_at, NULL::timestamptz AS rejected_at
FROM sos_incidents s JOIN vehicles v ON v.vin = s.vin
LEFT JOIN LATERAL (SELECT min(occurred_at) FILTER (WHERE t.status = 'RESOLVED') AS resolved_at,
                          min(occurred_at) FILTER (WHERE t.status = 'CANCELLED') AS cancelled_at
                   FROM sos_timeline t WHERE t.cid = s.cid) l ON true
UNION ALL
SELECT 'RSA', r.cid, r.vin, r.status, r.service_type, NULL, r.priority, r.source, false,
       r.anomalies, r.occurred_at, r.received_at, NULL, NULL, r.dispatched_at,
       l.confirmed_at, l.arrived_at, NULL, r.completed_at,
       r.closed_at, l.cancelled_at, r.agent_id, r.partner, r.result, r.customer_satisfaction,
       extract(epoch FROM r.dispatched_at - r.occurred_at)::double precision,
       extract(epoch FROM r.closed_at - r.occurred_at)::double precision,
       CASE WHEN NOT v.location_withheld THEN round(r.latitude::numeric, 2)::double precision END,
       CASE WHEN NOT v.location_withheld THEN round(r.longitude::numeric, 2)::double precision END,
       l.en_route_at, l.rejected_at
FROM rsa_incidents r JOIN vehicles v ON v.vin = r.vin
LEFT JOIN LATERAL (SELECT min(occurred_at) FILTER (WHERE t.status = 'CONFIRMED') AS confirmed_at,
                          min(occurred_at) FILTER (WHERE t.status = 'EN_ROUTE') AS en_route_at,
                          min(occurred_at) FILTER (WHERE t.status = 'ARRIVED') AS arrived_at,
                          min(occurred_at) FILTER (WHERE t.status = 'REJECTED') AS rejected_at,
                          min(occurred_at) FILTER (WHERE t.status = 'CANCELLED') AS cancelled_at
                   FROM rsa_timeline t WHERE t.cid = r.cid) l ON true;
COMMENT ON COLUMN analytics.incidents.en_route_at IS 'When an RSA''s partner left.';
COMMENT ON COLUMN analytics.incidents.rejected_at IS 'When an RSA''s partner declined, the first where several did.';

COMMENT ON VIEW analytics.status_by_hour IS
    'Figures of each vehicle''s status messages by the hour (UTC). Hours without a message are not there.';
COMMENT ON VIEW analytics.status_by_day IS
    'Figures of each vehicle''s status messages by the day (UTC). Days without a message are not there.';
