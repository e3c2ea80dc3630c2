-- name: act_as
-- Who the triggers of this transaction write down.
SELECT set_config('usher.actor', @actor, true)

-- name: taken_along
-- What the trigger of a deletion has revoked and ended: all that this
-- transaction wrote there.
SELECT (SELECT count(*) FROM usher.grants WHERE xmin = pg_current_xact_id()::xid) AS grants_revoked,
       (SELECT count(*) FROM usher.memberships WHERE xmin = pg_current_xact_id()::xid) AS memberships_ended

-- name: lock_subject
-- One row where usher's own directory is in force and has the subject, which
-- stays there until the transaction ends. Each lock is a query of its own, as
-- UNION takes none.
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
-- Whether the directory in force, where that is an application's, lists a
-- subject. An organization or a group without members is not listed.
SELECT d.directory <> 'usher' AS foreign_directory,
       CASE @kind::text
           WHEN 'user' THEN EXISTS (SELECT FROM usher.directory_user(@id))
           ELSE EXISTS (SELECT FROM usher.directory_members WHERE kind = @kind AND id = @id COLLATE "C")
       END AS listed
  FROM usher.deployment d
