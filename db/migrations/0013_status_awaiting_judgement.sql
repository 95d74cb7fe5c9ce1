-- What status messages show is judged by a job, apart from their storing.

ALTER TABLE curfew_watch
    ADD COLUMN unjudged_since timestamptz,
    ADD COLUMN unjudged_until timestamptz,
    ADD CHECK ((unjudged_since IS NULL) = (unjudged_until IS NULL));
COMMENT ON COLUMN curfew_watch.unjudged_since IS
    'The first of the status messages that wait for their judgement; null where none does.';
COMMENT ON COLUMN curfew_watch.unjudged_until IS 'The last of them.';
