-- Keeps others from writing down claims of this user meanwhile, and nobody from
-- adding grants and memberships.
SELECT disabled_at IS NOT NULL AS disabled
  FROM usher.users
 WHERE id = @id::text
   FOR NO KEY UPDATE
