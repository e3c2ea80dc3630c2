-- name: own_directory
SELECT directory = 'usher' FROM usher.deployment

-- name: add_user_if_new
-- A concurrent call waits for this one, and then adds nothing.
INSERT INTO usher.users (id, info, created_by)
VALUES (@id::text, @info::jsonb, @actor)
ON CONFLICT (id) DO NOTHING
RETURNING id, info, disabled_at, created_at, created_by

-- name: note_provider_token
-- Stores the time of issue of the newest token. It writes nothing if the token is
-- not newer, or if the directory is an application's.
INSERT INTO usher.provider_tokens AS t (user_id, issuer, issued_at)
SELECT @user_id::text, @issuer::text, @issued_at::timestamptz
  FROM usher.deployment
 WHERE directory = 'usher'
   AND NOT EXISTS (SELECT FROM usher.provider_tokens
                    WHERE user_id = @user_id::text AND issuer = @issuer::text AND issued_at >= @issued_at::timestamptz)
ON CONFLICT (user_id, issuer) DO UPDATE SET issued_at = greatest(t.issued_at, excluded.issued_at)

-- name: lock_provider_tokens
-- Blocks concurrent writes of this provider's claims about the user, and returns
-- whether this token is older than an earlier one.
INSERT INTO usher.provider_tokens AS t (user_id, issuer, issued_at)
VALUES (@user_id::text, @issuer::text, @issued_at::timestamptz)
ON CONFLICT (user_id, issuer) DO UPDATE SET issued_at = greatest(t.issued_at, excluded.issued_at)
RETURNING issued_at > @issued_at::timestamptz AS older

-- name: lock_user
-- Blocks concurrent writes of claims about this user. It does not block new grants
-- and memberships.
SELECT disabled_at IS NOT NULL AS disabled
  FROM usher.users
 WHERE id = @id::text
   FOR NO KEY UPDATE

-- name: update_user_info
-- Sets members of the info and keeps the others. Returns no row if nothing changes.
UPDATE usher.users
   SET info = coalesce(info, '{}') || @info::jsonb
 WHERE id = @id::text
   AND NOT coalesce(info, '{}') @> @info::jsonb
RETURNING id, info, disabled_at, created_at, created_by

-- name: memberships_of
-- A user's present memberships. own is true for those that the actor added.
SELECT member_of_kind, member_of_id, created_by = @actor AS own
  FROM usher.memberships
 WHERE user_id = @user_id::text AND ended_at IS NULL

-- name: add_organizations_if_new
INSERT INTO usher.organizations (id, created_by)
SELECT id, @actor FROM unnest(@ids::text[]) AS id
ON CONFLICT (id) DO NOTHING
RETURNING id, coalesce(name, '') AS name, created_at, created_by

-- name: add_groups_if_new
INSERT INTO usher.groups (id, created_by)
SELECT id, @actor FROM unnest(@ids::text[]) AS id
ON CONFLICT (id) DO NOTHING
RETURNING id, coalesce(organization_id, '') AS organization_id, coalesce(name, '') AS name, created_at, created_by

-- name: add_memberships_if_new
-- A concurrent transaction may have added the same membership.
INSERT INTO usher.memberships (user_id, member_of_kind, member_of_id, created_by)
SELECT @user_id::text, 'organization', id, @actor FROM unnest(@organizations::text[]) AS id
UNION ALL
SELECT @user_id::text, 'group', id, @actor FROM unnest(@groups::text[]) AS id
ON CONFLICT (user_id, member_of_kind, member_of_id) WHERE ended_at IS NULL DO NOTHING
RETURNING user_id, member_of_kind, member_of_id, created_at, created_by
