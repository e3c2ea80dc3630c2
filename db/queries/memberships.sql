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

-- name: end_memberships
-- Leaving an organization ends the memberships in its groups. greatest(), because a
-- row can be younger than this transaction.
WITH of_organizations AS (
    UPDATE usher.memberships
       SET ended_at = greatest(now(), created_at), ended_by = @actor
     WHERE user_id = @user_id::text AND member_of_kind = 'organization' AND member_of_id = ANY (@organizations::text[]) AND ended_at IS NULL
    RETURNING user_id, member_of_kind, member_of_id
), of_groups AS (
    UPDATE usher.memberships
       SET ended_at = greatest(now(), created_at), ended_by = @actor
     WHERE user_id = @user_id::text AND member_of_kind = 'group' AND ended_at IS NULL
       AND (member_of_id = ANY (@groups::text[]) OR organization_id IN (SELECT o.member_of_id FROM of_organizations o))
    RETURNING user_id, member_of_kind, member_of_id, organization_id
)
SELECT o.user_id, o.member_of_kind, o.member_of_id, (SELECT count(*) FROM of_groups g WHERE g.organization_id = o.member_of_id) AS groups_left
  FROM of_organizations o
UNION ALL
SELECT g.user_id, g.member_of_kind, g.member_of_id, 0
  FROM of_groups g
 WHERE NOT EXISTS (SELECT FROM of_organizations o WHERE o.member_of_id = g.organization_id)
