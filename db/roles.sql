-- The roles of the product, with as few rights as each needs. An administrator (superuser) runs this in the database, once
-- and again after an upgrade; it changes nothing that is as it should be:
--
--     TCU_OWNER_PASSWORD=… TCU_SERVICE_PASSWORD=… psql -d tcu -f db/roles.sql
--
-- tcu_owner    owns the schema: for `tcu migrate` (TCU_MIGRATE_URL) and for nothing that runs
-- tcu_service  what runs (TCU_DATABASE_URL): reads and writes rows, and changes no table; the migrations say which
-- analyst      reads figures, no names: what an analyst's own login is made a member of
-- tcu_analyst  such a login, with bounds of its own; TCU_ANALYST_PASSWORD
\set ON_ERROR_STOP on
\getenv owner_password TCU_OWNER_PASSWORD
\getenv service_password TCU_SERVICE_PASSWORD
\getenv analyst_password TCU_ANALYST_PASSWORD

BEGIN;
-- No password in the server's log, also where it logs statements or this fails.
SET LOCAL log_statement = 'none';
SET LOCAL log_min_duration_statement = -1;
SET LOCAL log_min_error_statement = 'panic';

-- Roles belong to the whole cluster: two databases of it may be prepared at once.
SELECT pg_advisory_xact_lock(5053);
SELECT format('CREATE ROLE %I', name)
FROM unnest(ARRAY['tcu_owner', 'tcu_service', 'analyst', 'tcu_analyst']) AS names (name)
WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = name) \gexec
ALTER ROLE tcu_owner LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS;
ALTER ROLE tcu_service LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS;
ALTER ROLE analyst NOLOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS;
-- So few and so short that no analyst keeps an emergency waiting.
ALTER ROLE tcu_analyst LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS CONNECTION LIMIT 5;
ALTER ROLE tcu_analyst SET statement_timeout = '120s';
ALTER ROLE tcu_analyst SET idle_in_transaction_session_timeout = '60s';
ALTER ROLE tcu_analyst SET lock_timeout = '1s';
ALTER ROLE tcu_analyst SET default_transaction_read_only = on;
ALTER ROLE tcu_analyst SET search_path = analytics, public;
-- One core and little memory for each query; what is larger is sorted on disk, within a bound.
ALTER ROLE tcu_analyst SET max_parallel_workers_per_gather = 0;
ALTER ROLE tcu_analyst SET work_mem = '32MB';
ALTER ROLE tcu_analyst SET temp_file_limit = '4GB';
GRANT analyst TO tcu_analyst;
\if :{?owner_password}
ALTER ROLE tcu_owner PASSWORD :'owner_password';
\endif
\if :{?service_password}
ALTER ROLE tcu_service PASSWORD :'service_password';
\endif
\if :{?analyst_password}
ALTER ROLE tcu_analyst PASSWORD :'analyst_password';
\endif

CREATE EXTENSION IF NOT EXISTS timescaledb;
SELECT format('ALTER DATABASE %I OWNER TO tcu_owner', current_database()) \gexec
SELECT format('REVOKE ALL ON DATABASE %I FROM PUBLIC', current_database()) \gexec
-- TEMPORARY: a batch in which something was delivered twice goes through a temporary table.
SELECT format('GRANT CONNECT, TEMPORARY ON DATABASE %I TO tcu_service', current_database()) \gexec
SELECT format('GRANT CONNECT ON DATABASE %I TO analyst', current_database()) \gexec
ALTER SCHEMA public OWNER TO tcu_owner;
REVOKE CREATE ON SCHEMA public FROM PUBLIC;
SELECT 'ALTER SCHEMA analytics OWNER TO tcu_owner' WHERE to_regnamespace('analytics') IS NOT NULL \gexec

-- What was made by another role before there was an owner; what belongs to the extension stays its own.
SELECT format('ALTER TABLE %s OWNER TO tcu_owner', c.oid::regclass)
FROM pg_class c
WHERE relnamespace IN ('public'::regnamespace, to_regnamespace('analytics')) AND relkind IN ('r', 'p', 'v', 'm')
  AND relowner <> 'tcu_owner'::regrole
  AND NOT EXISTS (SELECT FROM pg_depend WHERE classid = 'pg_class'::regclass AND objid = c.oid AND deptype = 'e')
ORDER BY relkind, relname \gexec
SELECT format('ALTER FUNCTION %s OWNER TO tcu_owner', p.oid::regprocedure)
FROM pg_proc p
WHERE pronamespace IN ('public'::regnamespace, to_regnamespace('analytics')) AND proowner <> 'tcu_owner'::regrole
  AND NOT EXISTS (SELECT FROM pg_depend WHERE classid = 'pg_proc'::regclass AND objid = p.oid AND deptype = 'e')
ORDER BY p.oid \gexec
COMMIT;
