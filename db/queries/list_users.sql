SELECT id, info, disabled_at, created_at, created_by
  FROM usher.users
 WHERE id > @after::text
 ORDER BY id
 LIMIT nullif(@limit::integer, 0)
