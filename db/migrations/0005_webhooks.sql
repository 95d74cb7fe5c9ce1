-- Dispatches pushed to partners: where to, what is still to be delivered, and what was raised about overdue ones.

CREATE TABLE webhook_endpoints (
    endpoint_id  bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    partner      text UNIQUE REFERENCES partners,
    url          text NOT NULL CHECK (url ~ '^https?://'),
    secret       text NOT NULL CHECK (secret LIKE 'whsec\_%'),
    changed_at   timestamptz NOT NULL
);
COMMENT ON TABLE webhook_endpoints IS 'Where webhooks are posted to. One row per partner that has a URL.';
COMMENT ON COLUMN webhook_endpoints.secret IS
    'Signs each delivery (Standard Webhooks, HMAC-SHA256): needed as it is, so a hash will not do.';

CREATE TABLE webhook_deliveries (
    delivery_id      uuid PRIMARY KEY,
    endpoint_id      bigint NOT NULL REFERENCES webhook_endpoints,
    topic            text NOT NULL,
    cid              text,
    payload          json NOT NULL,
    status           text NOT NULL DEFAULT 'PENDING' CHECK (status IN ('PENDING', 'DELIVERED', 'FAILED')),
    attempts         integer NOT NULL DEFAULT 0,
    last_error       text,
    created_at       timestamptz NOT NULL,
    next_attempt_at  timestamptz NOT NULL,
    leased_until     timestamptz,
    finished_at      timestamptz
);
CREATE INDEX webhook_deliveries_due ON webhook_deliveries (endpoint_id, next_attempt_at) WHERE status = 'PENDING';
CREATE INDEX webhook_deliveries_leased ON webhook_deliveries (endpoint_id) WHERE status = 'PENDING' AND leased_until IS NOT NULL;
CREATE INDEX webhook_deliveries_cid ON webhook_deliveries (cid, created_at DESC) WHERE cid IS NOT NULL;
CREATE INDEX webhook_deliveries_finished ON webhook_deliveries (finished_at) WHERE finished_at IS NOT NULL;
COMMENT ON TABLE webhook_deliveries IS
    'The outbox of webhooks, written in the transaction of what they tell; delivered at least once.';
COMMENT ON COLUMN webhook_deliveries.delivery_id IS 'The webhook-id: the same at each attempt, so that the receiver can drop a second one.';
COMMENT ON COLUMN webhook_deliveries.payload IS 'What is posted; json, not jsonb, so that its fields stay in the documented order.';
COMMENT ON COLUMN webhook_deliveries.attempts IS 'Attempts begun.';
COMMENT ON COLUMN webhook_deliveries.leased_until IS
    'Somebody is posting it until then at the latest; after that, who posted was killed and it is due again.';

ALTER TABLE rsa_incidents
    ADD COLUMN arrival_noted timestamptz, ADD COLUMN delay_raised_for timestamptz, ADD COLUMN silence_raised_for timestamptz;
COMMENT ON COLUMN rsa_incidents.arrival_noted IS
    'The estimated_arrival that the timeline shows last; one that creeps away from it is shown again.';
COMMENT ON COLUMN rsa_incidents.delay_raised_for IS 'The estimated_arrival that RSA_DELAYED was raised for: once for each.';
COMMENT ON COLUMN rsa_incidents.silence_raised_for IS 'The dispatched_at that RSA_UNANSWERED was raised for: once for each.';
CREATE INDEX rsa_incidents_underway ON rsa_incidents (estimated_arrival)
    WHERE status IN ('DISPATCHED', 'CONFIRMED', 'EN_ROUTE');
