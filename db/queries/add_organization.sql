INSERT INTO usher.organizations (id, name, created_by)
VALUES (@id::text, nullif(@name, ''), @actor)
RETURNING id, coalesce(name, '') AS name, created_at, created_by
