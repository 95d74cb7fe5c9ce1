-- Several workers may share a subscription only on a broker that was seen to keep its messages.

CREATE TABLE broker_checks (
    broker        text PRIMARY KEY,
    keeps_shared  boolean NOT NULL,
    checked_at    timestamptz NOT NULL
);
COMMENT ON TABLE broker_checks IS
    'Whether a broker (host:port) kept a shared subscription''s messages over its restart, as last tried.';
