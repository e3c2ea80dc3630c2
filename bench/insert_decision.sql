INSERT INTO usher.decisions (
    issued_at, token_kind, result, caller_kind, caller_id, user_id, organization_id, audience, room, patterns, jti, kid, expires_at,
    ip, user_agent, origin, request_id, replica, salt, personal_digest, digest)
VALUES (@issued_at, 'access', 'issued', @caller_kind, @caller_id, @user_id, @organization_id, @audience, @room, @patterns, @jti, @kid, @expires_at,
    @ip, @user_agent, @origin, @request_id, @replica, @salt, @personal_digest, @digest)
