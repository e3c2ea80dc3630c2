-- The users whom the directory does not list, of those who have grants.
WITH holder AS (
    SELECT DISTINCT subject_id AS id FROM usher.grants WHERE subject_kind = 'user' AND revoked_at IS NULL
), asked AS (
    SELECT id, NOT EXISTS (SELECT FROM usher.directory_user(holder.id)) AS gone FROM holder
)
SELECT count(*) AS holders, coalesce(array_agg(id ORDER BY id) FILTER (WHERE gone), '{}') AS gone
  FROM asked
