SELECT id, coalesce(name, '') AS name, created_at, created_by
  FROM usher.organizations
 WHERE id > @after::text
 ORDER BY id
 LIMIT nullif(@limit::integer, 0)
