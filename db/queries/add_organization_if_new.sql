INSERT INTO usher.organizations (id, created_by)
VALUES (@id::text, @actor)
ON CONFLICT (id) DO NOTHING
RETURNING id, coalesce(name, '') AS name, created_at, created_by
