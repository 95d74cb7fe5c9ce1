-- Who did what to whose data.

CREATE TABLE audit (
    at          timestamptz NOT NULL DEFAULT clock_timestamp(),
    who         text NOT NULL,
    role        text,
    action      text NOT NULL,
    request     text NOT NULL,
    request_id  text,
    vin         text,
    cid         text,
    agent_id    text,
    partner     text
);
SELECT create_hypertable('audit', 'at', chunk_time_interval => interval '30 days', create_default_indexes => false);
CREATE INDEX audit_at ON audit (at DESC);
CREATE INDEX audit_vin ON audit (vin, at DESC) WHERE vin IS NOT NULL;
COMMENT ON TABLE audit IS
    'Every change and every reading of personal data, written in its transaction. Rows are added, and changed or deleted never.';
COMMENT ON COLUMN audit.who IS 'key: and the number of an API key; sub: and the subject of a token; tcu: and the account of an operator.';
COMMENT ON COLUMN audit.request IS 'Method and route, without what its parameters were.';
COMMENT ON COLUMN audit.vin IS 'Whose data; null in lists over several vehicles, and once the vehicle was erased.';

CREATE FUNCTION audit_is_append_only() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'UPDATE' AND current_setting('tcu.erasing', true) = 'on'
       AND NEW.vin IS NULL AND NEW.cid IS NULL
       AND (NEW.at, NEW.who, NEW.role, NEW.action, NEW.request, NEW.request_id, NEW.agent_id, NEW.partner)
           IS NOT DISTINCT FROM (OLD.at, OLD.who, OLD.role, OLD.action, OLD.request, OLD.request_id, OLD.agent_id, OLD.partner)
    THEN
        RETURN NEW;
    END IF;
    RAISE EXCEPTION 'rows of audit are neither changed nor deleted' USING ERRCODE = 'insufficient_privilege';
END
$$;
CREATE TRIGGER audit_append_only BEFORE UPDATE OR DELETE ON audit FOR EACH ROW EXECUTE FUNCTION audit_is_append_only();
CREATE TRIGGER audit_not_emptied BEFORE TRUNCATE ON audit FOR EACH STATEMENT EXECUTE FUNCTION audit_is_append_only();

-- The one way to change a row: that a vehicle was erased, who did what stays and whose data it was goes.
CREATE FUNCTION audit_forget_vehicle(erased_vin text, erased_cids text[]) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    forgotten bigint;
BEGIN
    PERFORM set_config('tcu.erasing', 'on', true);
    UPDATE audit SET vin = NULL, cid = NULL WHERE vin = erased_vin OR cid = ANY(erased_cids);
    GET DIAGNOSTICS forgotten = ROW_COUNT;
    PERFORM set_config('tcu.erasing', 'off', true);
    RETURN forgotten;
END
$$;
REVOKE ALL ON FUNCTION audit_forget_vehicle(text, text[]) FROM PUBLIC;
REVOKE ALL ON audit FROM PUBLIC;

CREATE VIEW audit_named AS
SELECT a.at, a.who, k.label, k.prefix, a.role, a.action, a.request, a.request_id, a.vin, a.cid, a.agent_id, a.partner
FROM audit a LEFT JOIN api_keys k ON a.who = 'key:' || k.key_id;
COMMENT ON VIEW audit_named IS 'The audit with what names each API key; for the operator.';
