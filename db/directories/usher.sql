-- usher's own tables, exactly as usher migrate up creates the directory (a test
-- compares). Plain SQL, so that Postgres inlines it into the look-up of each token.
-- directory_session gets the SHA-256 of a session's token, in hexadecimal: a log of
-- statements with their parameters would contain the token itself.

CREATE OR REPLACE FUNCTION usher.directory_session(token text)
    RETURNS TABLE (user_id text, organization_id text, expires_at timestamptz)
LANGUAGE sql STABLE ROWS 1 AS $$
    SELECT s.user_id::text, s.organization_id::text, s.expires_at
      FROM usher.sessions s
     WHERE s.token_hash = CASE WHEN directory_session.token ~ '^[0-9a-f]{64}$' THEN decode(directory_session.token, 'hex') END
$$;

CREATE OR REPLACE FUNCTION usher.directory_user(id text)
    RETURNS TABLE (info jsonb, disabled boolean)
LANGUAGE sql STABLE ROWS 1 AS $$
    SELECT u.info, u.disabled_at IS NOT NULL
      FROM usher.users u
     WHERE u.id = directory_user.id COLLATE "C"
$$;

CREATE OR REPLACE FUNCTION usher.directory_memberships(user_id text)
    RETURNS TABLE (kind text, id text, organization_id text)
LANGUAGE sql STABLE ROWS 10 AS $$
    SELECT m.member_of_kind, m.member_of_id::text, m.organization_id::text
      FROM usher.memberships m
     WHERE m.user_id = directory_memberships.user_id COLLATE "C"
       AND m.ended_at IS NULL
$$;

CREATE OR REPLACE VIEW usher.directory_users AS
SELECT id::text AS id, info, disabled_at IS NOT NULL AS disabled
  FROM usher.users;

CREATE OR REPLACE VIEW usher.directory_members AS
SELECT user_id::text AS user_id, member_of_kind AS kind, member_of_id::text AS id, organization_id::text AS organization_id
  FROM usher.memberships
 WHERE ended_at IS NULL;
