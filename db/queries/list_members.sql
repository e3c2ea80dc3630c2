SELECT user_id, member_of_kind, member_of_id, created_at, created_by
  FROM usher.memberships
 WHERE member_of_kind = @kind AND member_of_id = @id::text AND ended_at IS NULL
   AND user_id > @after::text
 ORDER BY user_id
 LIMIT nullif(@limit::integer, 0)
