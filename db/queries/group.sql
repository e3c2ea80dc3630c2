SELECT id, coalesce(organization_id, '') AS organization_id, coalesce(name, '') AS name, created_at, created_by
  FROM usher.groups
 WHERE id = @id::text
