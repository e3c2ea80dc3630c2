-- Sets members of the info and keeps the others; no row where nothing changes.
UPDATE usher.users
   SET info = coalesce(info, '{}') || @info::jsonb
 WHERE id = @id::text
   AND NOT coalesce(info, '{}') @> @info::jsonb
RETURNING id, info, disabled_at, created_at, created_by
