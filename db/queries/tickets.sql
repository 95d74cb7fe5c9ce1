-- name: put
INSERT INTO stream_tickets (ticket_hash, credential, expires_at) VALUES (%(ticket_hash)s, %(credential)s, %(expires_at)s);

-- name: take
-- Whoever comes second finds nothing, whichever process it asks.
DELETE FROM stream_tickets WHERE ticket_hash = %(ticket_hash)s RETURNING credential, expires_at;
