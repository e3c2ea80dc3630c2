UPDATE usher.users
   SET disabled_at = CASE WHEN @disabled::boolean THEN coalesce(disabled_at, now()) END
 WHERE id = @id::text
RETURNING id, info, disabled_at, created_at, created_by
