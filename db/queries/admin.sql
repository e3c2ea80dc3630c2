-- name: act_as
-- Sets the actor that the triggers record in this transaction.
SELECT set_config('usher.actor', @actor, true)

-- name: taken_along
-- The number of grants and memberships that the trigger of a deletion ended: all
-- that this transaction wrote.
SELECT (SELECT count(*) FROM usher.grants WHERE xmin = pg_current_xact_id()::xid) AS grants_revoked,
       (SELECT count(*) FROM usher.memberships WHERE xmin = pg_current_xact_id()::xid) AS memberships_ended

-- name: lock_subject
-- Returns a row if usher's own directory is in use and has the subject. Locks it, so
-- that it cannot be deleted until the transaction ends. Each lock needs its own
-- query, because UNION allows none.
WITH own AS (
    SELECT directory = 'usher' AS in_force FROM usher.deployment
), one_user AS (
    SELECT id FROM usher.users WHERE (SELECT in_force FROM own) AND @kind::text = 'user' AND id = @id::text FOR KEY SHARE
), one_organization AS (
    SELECT id FROM usher.organizations WHERE (SELECT in_force FROM own) AND @kind = 'organization' AND id = @id FOR KEY SHARE
), one_group AS (
    SELECT id FROM usher.groups WHERE (SELECT in_force FROM own) AND @kind = 'group' AND id = @id FOR KEY SHARE
)
SELECT id FROM one_user
UNION ALL SELECT id FROM one_organization
UNION ALL SELECT id FROM one_group

-- name: subject_is_listed
-- Whether an application's directory is in use and lists a subject. It does not
-- list an organization or a group without members.
SELECT d.directory <> 'usher' AS foreign_directory,
       CASE @kind::text
           WHEN 'user' THEN EXISTS (SELECT FROM usher.directory_user(@id))
           ELSE EXISTS (SELECT FROM usher.directory_members WHERE kind = @kind AND id = @id COLLATE "C")
       END AS listed
  FROM usher.deployment d
