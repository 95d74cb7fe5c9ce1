-- API keys are hashed with a secret that is not in the database.

ALTER TABLE api_keys ADD COLUMN prefix text NOT NULL DEFAULT '';
ALTER TABLE api_keys ALTER COLUMN prefix DROP DEFAULT;
CREATE INDEX api_keys_prefix ON api_keys (prefix);
-- Hashed without the secret, they can't be found any more.
UPDATE api_keys SET revoked_at = now() WHERE revoked_at IS NULL;
COMMENT ON TABLE api_keys IS 'Bearer keys, with a role and the vehicles they may see; a key itself is shown once and not stored.';
COMMENT ON COLUMN api_keys.prefix IS 'How the key begins: no secret, it names the key.';
COMMENT ON COLUMN api_keys.key_hash IS 'HMAC-SHA-256 of the key with TCU_KEY_SECRET; of keys made before 0011, their SHA-256.';

-- Who asks is part of request_hash, and need not hold a key.
ALTER TABLE idempotent_answers DROP COLUMN key_id;
COMMENT ON COLUMN idempotent_answers.request_hash IS
    'SHA-256 of the caller, method, path and Idempotency-Key: a path may be longer than an index entry.';
