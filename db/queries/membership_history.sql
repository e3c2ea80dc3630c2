SELECT user_id, kind AS member_of_kind, id AS member_of_id, since, until, added_by, coalesce(ended_by, '') AS ended_by
  FROM audit.members
 WHERE @kind::text = 'user' AND user_id = @id::text OR kind = @kind AND id = @id
 ORDER BY since, user_id COLLATE "C", kind, id COLLATE "C"
