-- name: add_user
INSERT INTO usher.users (id, info, created_by)
VALUES (@id::text, @info::jsonb, @actor)
RETURNING id, info, disabled_at, created_at, created_by

-- name: user
SELECT id, info, disabled_at, created_at, created_by
  FROM usher.users
 WHERE id = @id::text

-- name: list_users
SELECT id, info, disabled_at, created_at, created_by
  FROM usher.users
 WHERE id > @after::text
 ORDER BY id
 LIMIT nullif(@limit::integer, 0)

-- name: set_user_disabled
UPDATE usher.users
   SET disabled_at = CASE WHEN @disabled::boolean THEN coalesce(disabled_at, now()) END
 WHERE id = @id::text
RETURNING id, info, disabled_at, created_at, created_by

-- name: update_user
-- Merges like RFC 7396: members that are null are removed.
UPDATE usher.users
   SET info = nullif((coalesce(info, '{}') || @set::jsonb) - @unset::text[], '{}')
 WHERE id = @id::text
RETURNING id, info, disabled_at, created_at, created_by

-- name: delete_user
DELETE FROM usher.users WHERE id = @id::text
