-- Guardians are alerted by webhook as partners are.

ALTER TABLE webhook_endpoints
    ADD COLUMN vin text UNIQUE REFERENCES vehicles,
    ADD CONSTRAINT webhook_endpoints_receiver CHECK (num_nonnulls(partner, vin) = 1);
COMMENT ON TABLE webhook_endpoints IS 'Where webhooks are posted to: one row per partner, or per vehicle whose guardian has a URL.';
