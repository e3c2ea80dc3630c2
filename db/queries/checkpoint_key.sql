-- The key that signs.
SELECT name, encrypted_key
  FROM usher.checkpoint_keys
 ORDER BY created_at DESC, name
 LIMIT 1
