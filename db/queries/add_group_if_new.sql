INSERT INTO usher.groups (id, created_by)
VALUES (@id::text, @actor)
ON CONFLICT (id) DO NOTHING
RETURNING id, coalesce(organization_id, '') AS organization_id, coalesce(name, '') AS name, created_at, created_by
