SELECT name, public_key, created_at
  FROM audit.checkpoint_keys
 ORDER BY created_at DESC, name
