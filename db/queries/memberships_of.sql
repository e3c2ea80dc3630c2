-- What a user is in now, and which of that the actor made.
SELECT member_of_kind, member_of_id, created_by = @actor AS own
  FROM usher.memberships
 WHERE user_id = @user_id::text AND ended_at IS NULL
