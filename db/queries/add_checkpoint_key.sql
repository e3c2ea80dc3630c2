INSERT INTO usher.checkpoint_keys (name, public_key, encrypted_key)
SELECT @name::text, @public_key::text, @encrypted_key::bytea
 WHERE NOT EXISTS (SELECT FROM usher.checkpoint_keys)
