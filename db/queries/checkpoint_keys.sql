-- name: checkpoint_key
-- The signing key.
SELECT name, encrypted_key
  FROM usher.checkpoint_keys
 ORDER BY created_at DESC, name
 LIMIT 1

-- name: add_checkpoint_key
INSERT INTO usher.checkpoint_keys (name, public_key, encrypted_key)
SELECT @name::text, @public_key::text, @encrypted_key::bytea
 WHERE NOT EXISTS (SELECT FROM usher.checkpoint_keys)

-- name: list_checkpoint_keys
SELECT name, public_key, created_at
  FROM audit.checkpoint_keys
 ORDER BY created_at DESC, name
