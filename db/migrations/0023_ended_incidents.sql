-- Incidents that ended long ago are forgotten but for figures (rules/retention.py); these find them.

CREATE INDEX sos_incidents_due ON sos_incidents (updated_at) WHERE status IN ('CLOSED', 'CANCELLED');
CREATE INDEX rsa_incidents_due ON rsa_incidents (updated_at) WHERE status IN ('CLOSED', 'CANCELLED');

COMMENT ON TABLE erased_incidents IS
    'What stays of incidents that have outlived their term, or whose vehicle was erased: figures for statistics; no vehicle, person, place, number or day.';
