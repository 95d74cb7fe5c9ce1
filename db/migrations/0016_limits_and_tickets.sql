-- How much a caller may ask for, and tickets for its streams: kept here, because several api processes serve it.

ALTER TABLE api_keys
    ADD COLUMN requests_per_minute integer CHECK (requests_per_minute > 0),
    ADD COLUMN streams integer CHECK (streams > 0);
COMMENT ON COLUMN api_keys.requests_per_minute IS 'Its own limit; null: that of the role.';
COMMENT ON COLUMN api_keys.streams IS 'Its own most open streams; null: as everybody''s.';

-- Unlogged: a request is not worth a write-ahead log entry, and a crash of the server forgets no more than a minute.
CREATE UNLOGGED TABLE request_counts (
    who       text NOT NULL,
    policy    text NOT NULL,
    began_at  timestamptz NOT NULL,
    used      integer NOT NULL,
    PRIMARY KEY (who, policy)
) WITH (fillfactor = 50);
COMMENT ON TABLE request_counts IS 'Requests of each caller in its present minute, which begins with a request.';

CREATE UNLOGGED TABLE open_streams (
    stream_id  bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    who        text NOT NULL,
    process    text NOT NULL,
    opened_at  timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX open_streams_who ON open_streams (who);
CREATE INDEX open_streams_process ON open_streams (process);
COMMENT ON TABLE open_streams IS 'The event streams that are open, by caller; those of a process that is silent do not count.';

CREATE UNLOGGED TABLE stream_tickets (
    ticket_hash  bytea PRIMARY KEY,
    credential   json NOT NULL,
    expires_at   timestamptz NOT NULL
);
CREATE INDEX stream_tickets_expires_at ON stream_tickets (expires_at);
COMMENT ON TABLE stream_tickets IS 'Tickets that open one stream each, within seconds: a browser can''t send a header with it.';
COMMENT ON COLUMN stream_tickets.ticket_hash IS 'HMAC-SHA-256 with TCU_KEY_SECRET.';
COMMENT ON COLUMN stream_tickets.credential IS 'Whose it is: the number of a key, or what a token said.';
