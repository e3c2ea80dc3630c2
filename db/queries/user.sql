SELECT id, info, disabled_at, created_at, created_by
  FROM usher.users
 WHERE id = @id::text
