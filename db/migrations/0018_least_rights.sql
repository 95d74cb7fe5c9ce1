-- What runs may read and write rows, and nothing else (db/roles.sql). A migration that adds a table from which rows are never
-- changed takes UPDATE (and DELETE) away from tcu_service again.

DO $$
BEGIN
    CREATE ROLE tcu_service NOLOGIN;
EXCEPTION WHEN duplicate_object OR unique_violation OR insufficient_privilege THEN
    NULL;  -- an administrator has made it (db/roles.sql), or another database of this cluster
END
$$;
GRANT USAGE ON SCHEMA public TO tcu_service;
GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO tcu_service;
ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO tcu_service;

REVOKE INSERT, UPDATE, DELETE ON schema_migrations FROM tcu_service;
-- What happened is not changed afterwards. DELETE stays for the erasure of a vehicle.
REVOKE UPDATE ON vehicle_status, engine_events, sos_timeline, rsa_timeline, consents FROM tcu_service;
REVOKE UPDATE, DELETE ON erased_incidents, audit FROM tcu_service;
REVOKE DELETE ON erasure_certificates FROM tcu_service;
GRANT EXECUTE ON FUNCTION audit_forget_vehicle(text, text[]) TO tcu_service;

CREATE FUNCTION drop_old_chunks(hypertable text, ending timestamptz) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    -- A day less than rules/retention.py keeps at least, for clocks that differ.
    kept interval := CASE hypertable
        WHEN 'vehicle_status' THEN interval '14 days'
        WHEN 'engine_events' THEN interval '14 days'
        WHEN 'audit' THEN interval '364 days'
    END;
BEGIN
    IF kept IS NULL THEN
        RAISE EXCEPTION 'expected vehicle_status, engine_events or audit, got %', hypertable;
    END IF;
    IF ending > now() - kept THEN
        RAISE EXCEPTION 'chunks of the last % of % are not dropped', kept, hypertable;
    END IF;
    PERFORM public.drop_chunks(format('public.%I', hypertable)::regclass, older_than => ending);
END
$$;
COMMENT ON FUNCTION drop_old_chunks IS
    'Drops the chunks that end by then with the owner''s rights, which dropping needs; for the job that forgets.';
REVOKE ALL ON FUNCTION drop_old_chunks FROM PUBLIC;
GRANT EXECUTE ON FUNCTION drop_old_chunks TO tcu_service;
