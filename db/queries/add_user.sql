INSERT INTO usher.users (id, info, created_by)
VALUES (@id::text, @info::jsonb, @actor)
RETURNING id, info, disabled_at, created_at, created_by
