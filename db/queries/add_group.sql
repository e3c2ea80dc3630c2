INSERT INTO usher.groups (id, organization_id, name, created_by)
VALUES (@id::text, nullif(@organization_id, ''), nullif(@name, ''), @actor)
RETURNING id, coalesce(organization_id, '') AS organization_id, coalesce(name, '') AS name, created_at, created_by
