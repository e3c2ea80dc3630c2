-- Of two at the same time, the second waits for the first and adds nothing.
INSERT INTO usher.users (id, info, created_by)
VALUES (@id::text, @info::jsonb, @actor)
ON CONFLICT (id) DO NOTHING
RETURNING id, info, disabled_at, created_at, created_by
