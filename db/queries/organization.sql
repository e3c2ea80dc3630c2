SELECT id, coalesce(name, '') AS name, created_at, created_by
  FROM usher.organizations
 WHERE id = @id::text
