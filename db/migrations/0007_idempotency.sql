-- Answers kept for requests that are repeated, system tests, and vehicles that fell silent.

CREATE TABLE idempotent_answers (
    request_hash  bytea PRIMARY KEY CHECK (length(request_hash) = 32),
    key_id        bigint NOT NULL REFERENCES api_keys ON DELETE CASCADE,
    fingerprint   bytea NOT NULL,
    status        integer NOT NULL CHECK (status BETWEEN 200 AND 499),
    media_type    text NOT NULL,
    body          text NOT NULL,
    answered_at   timestamptz NOT NULL
);
CREATE INDEX idempotent_answers_answered_at ON idempotent_answers (answered_at);
COMMENT ON TABLE idempotent_answers IS
    'What a request with an Idempotency-Key was answered, written in the transaction of its effect; kept for a day.';
COMMENT ON COLUMN idempotent_answers.request_hash IS
    'SHA-256 of the API key''s number, method, path and Idempotency-Key: a path may be longer than an index entry.';
COMMENT ON COLUMN idempotent_answers.fingerprint IS 'SHA-256 of the body and If-Match: the same key must bring the same.';

CREATE TABLE system_tests (
    test_id       text PRIMARY KEY CHECK (test_id ~ '^TEST-\d{8}-\d{3,9}$'),
    test_type     text NOT NULL,
    requested_by  text NOT NULL,
    cid           text,
    started_at    timestamptz NOT NULL,
    finished_at   timestamptz NOT NULL,
    result        text NOT NULL CHECK (result IN ('PASSED', 'FAILED', 'SKIPPED')),
    answer        json NOT NULL
);
CREATE INDEX system_tests_finished_at ON system_tests (finished_at DESC);
COMMENT ON TABLE system_tests IS 'Tests of the whole path with a marked SOS, and what each scenario measured.';

ALTER TABLE vehicle_presence ADD COLUMN silent_since timestamptz;
CREATE INDEX vehicle_presence_online ON vehicle_presence (changed_at) WHERE online;
CREATE INDEX vehicle_presence_silent ON vehicle_presence (silent_since) WHERE silent_since IS NOT NULL;
COMMENT ON COLUMN vehicle_presence.silent_since IS
    'Taken for offline since then because nothing came, although no last will did; null once it speaks again.';
