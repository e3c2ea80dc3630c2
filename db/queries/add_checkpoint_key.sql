INSERT INTO usher.checkpoint_keys (name, public_key, sealed_key)
SELECT @name::text, @public_key::text, @sealed_key::bytea
 WHERE NOT EXISTS (SELECT FROM usher.checkpoint_keys)
