SELECT user_id, member_of_kind, member_of_id, created_at, created_by
  FROM usher.memberships
 WHERE member_of_kind = @kind AND member_of_id = @id::text AND ended_at IS NULL
 ORDER BY user_id
