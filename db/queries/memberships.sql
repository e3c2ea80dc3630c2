-- name: add_membership
INSERT INTO usher.memberships (user_id, member_of_kind, member_of_id, created_by)
VALUES (@user_id::text, @kind, @id::text, @actor)
RETURNING user_id, member_of_kind, member_of_id, created_at, created_by

-- name: list_members
SELECT user_id, member_of_kind, member_of_id, created_at, created_by
  FROM usher.memberships
 WHERE member_of_kind = @kind AND member_of_id = @id::text AND ended_at IS NULL
   AND user_id > @after::text
 ORDER BY user_id
 LIMIT nullif(@limit::integer, 0)

-- name: end_membership
-- Leaving an organization ends the memberships in its groups. greatest(), because a
-- row can be younger than this transaction.
WITH ended AS (
    UPDATE usher.memberships
       SET ended_at = greatest(now(), created_at), ended_by = @actor
     WHERE user_id = @user_id::text AND member_of_kind = @kind AND member_of_id = @id::text AND ended_at IS NULL
    RETURNING user_id, member_of_kind, member_of_id
), of_groups AS (
    UPDATE usher.memberships m
       SET ended_at = greatest(now(), m.created_at), ended_by = @actor
      FROM ended
     WHERE ended.member_of_kind = 'organization' AND m.organization_id = ended.member_of_id
       AND m.user_id = ended.user_id AND m.member_of_kind = 'group' AND m.ended_at IS NULL
    RETURNING m.id
)
SELECT (SELECT count(*) FROM ended) AS ended,
       (SELECT count(*) FROM of_groups) AS groups_left
