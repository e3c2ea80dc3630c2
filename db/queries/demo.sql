-- name: demo_is_seeded
SELECT EXISTS (SELECT FROM usher.users)

-- name: seed_demo
-- Demo data of usher dev: two organizations, three users, a group, five grants.
WITH users AS (
    INSERT INTO usher.users (id, info, created_by)
    VALUES ('ada', '{"name": "Ada", "color": "#d583f0"}', 'usher dev'),
           ('grace', '{"name": "Grace", "color": "#85bbf0"}', 'usher dev'),
           ('mallory', '{"name": "Mallory", "color": "#f08385"}', 'usher dev')
), organizations AS (
    INSERT INTO usher.organizations (id, name, created_by)
    VALUES ('acme', 'Acme', 'usher dev'), ('globex', 'Globex', 'usher dev')
    RETURNING id
), groups AS (
    INSERT INTO usher.groups (id, organization_id, name, created_by)
    SELECT 'reviewers', id, 'Reviewers', 'usher dev' FROM organizations WHERE id = 'acme'
)
INSERT INTO usher.grants (subject_kind, subject_id, resource_kind, pattern, access, created_by, reason)
VALUES ('everyone', '', 'room', '{organization}:*', 'read', 'usher dev', 'members read their organization''s rooms'),
       ('user', 'ada', 'room', 'acme:design:*', 'full', 'usher dev', 'ada leads design'),
       ('user', 'ada', 'store', 'acme_notes', 'full', 'usher dev', 'ada keeps the notes'),
       ('user', 'grace', 'store', 'acme_notes', 'read', 'usher dev', 'grace reads the notes'),
       ('group', 'reviewers', 'room', 'acme:review:*', 'full', 'usher dev', 'reviewers review')

-- name: seed_demo_members
-- A separate statement, because a membership needs a user and a group that exist.
INSERT INTO usher.memberships (user_id, member_of_kind, member_of_id, created_by)
VALUES ('ada', 'organization', 'acme', 'usher dev'),
       ('grace', 'organization', 'acme', 'usher dev'),
       ('mallory', 'organization', 'globex', 'usher dev'),
       ('grace', 'group', 'reviewers', 'usher dev')

-- name: seed_demo_session
INSERT INTO usher.sessions (token_hash, user_id, expires_at)
SELECT sha256(convert_to(@token, 'UTF8')), id, now() + interval '30 days'
  FROM usher.users
 WHERE id = @user_id
ON CONFLICT (token_hash) DO UPDATE SET expires_at = excluded.expires_at
