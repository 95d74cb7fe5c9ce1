-- Indexes for statistics: a period is read from one index that holds all its figures, not from the wide rows.

CREATE INDEX sos_incidents_period ON sos_incidents (occurred_at)
    INCLUDE (cid, status, emergency_type, agent_id, connected_at) WHERE NOT test_call;
CREATE INDEX sos_incidents_closed ON sos_incidents (closed_at) WHERE status = 'CLOSED' AND NOT test_call;

CREATE INDEX rsa_incidents_period ON rsa_incidents (occurred_at)
    INCLUDE (status, result, service_type, partner, agent_id, dispatched_at, completed_at, closed_at, customer_satisfaction);
CREATE INDEX rsa_incidents_ended ON rsa_incidents (coalesce(completed_at, closed_at))
    WHERE status IN ('COMPLETED', 'CLOSED');
CREATE INDEX rsa_incidents_agent ON rsa_incidents (agent_id, occurred_at DESC) WHERE agent_id IS NOT NULL;
