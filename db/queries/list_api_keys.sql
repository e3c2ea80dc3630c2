SELECT id, name, routes, organizations, patterns, created_at, created_by, expires_at, revoked_at, revoked_by, last_used_at
  FROM usher.api_keys
 WHERE (@all OR revoked_at IS NULL)
   AND (name, created_at, id) > (@after_name::text, @after::timestamptz, @after_id::text)
 ORDER BY name, created_at, id
 LIMIT nullif(@limit::integer, 0)
