-- A tenant of medium size. Each organization has 50 users in four teams, and every tenth user
-- is also a member of the next organization. All users have the same number of grants: two
-- for rooms to one for stores, with exact ids and wildcards. Organization, team and everyone
-- add a few. The benchmark asks for room 0 of a user.
INSERT INTO usher.users (id, info, created_by)
SELECT 'user-' || u,
       jsonb_build_object('name', 'User ' || u, 'avatar', 'https://app.example.com/avatars/' || u || '.png', 'color', '#85bbf0'),
       'bench'
  FROM generate_series(1, @users::int) u;

INSERT INTO usher.organizations (id, name, created_by)
SELECT 'org-' || o, 'Organization ' || o, 'bench'
  FROM generate_series(1, (@users::int + 49) / 50) o;

INSERT INTO usher.groups (id, organization_id, name, created_by)
SELECT o.id || '-team-' || t, o.id, 'Team ' || t, 'bench'
  FROM usher.organizations o, generate_series(0, 3) t;

CREATE TEMPORARY TABLE place AS
SELECT u, 'user-' || u AS user_id, 'org-' || (u - 1) / 50 + 1 AS home, 'org-' || (u - 1) / 50 + 2 AS next
  FROM generate_series(1, @users::int) u;

INSERT INTO usher.memberships (user_id, member_of_kind, member_of_id, created_by)
SELECT user_id, 'organization', home, 'bench' FROM place
UNION ALL SELECT user_id, 'group', home || '-team-' || u % 4, 'bench' FROM place
UNION ALL SELECT p.user_id, 'organization', o.id, 'bench' FROM place p JOIN usher.organizations o ON o.id = p.next WHERE p.u % 10 = 0;

INSERT INTO usher.sessions (token_hash, user_id, organization_id, expires_at)
SELECT sha256(convert_to('session-of-' || user_id, 'UTF8')), user_id, home, now() + interval '30 days'
  FROM place;

INSERT INTO usher.grants (subject_kind, subject_id, resource_kind, pattern, access, created_by)
SELECT 'everyone', '', 'room', '{organization}:*', 'read', 'bench'
UNION ALL SELECT 'organization', id, 'room', id || ':open:*', 'full', 'bench' FROM usher.organizations
UNION ALL SELECT 'group', id, 'room', organization_id || ':' || id || ':*', 'full', 'bench' FROM usher.groups;

INSERT INTO usher.grants (subject_kind, subject_id, resource_kind, pattern, access, created_by)
SELECT 'user', p.user_id, CASE WHEN k % 3 = 2 THEN 'store' ELSE 'room' END,
       CASE WHEN k % 3 = 2 THEN replace(p.home, '-', '_') || '_board_' || p.u || '_' || k
            WHEN k % 3 = 1 THEN p.home || ':project-' || p.u || '-' || k || ':*'
            WHEN k % 6 = 3 THEN p.next || ':shared-' || p.u || '-' || k
            ELSE p.home || ':document-' || p.u || '-' || k END,
       CASE WHEN k % 6 = 3 THEN 'read' ELSE 'full' END, 'bench'
  FROM generate_series(0, @grants::int - (SELECT count(*)::int FROM usher.grants) - 1) n
 CROSS JOIN LATERAL (SELECT n / @users::int AS k) k
  JOIN place p ON p.u = n % @users::int + 1;

-- The audit of the Node server: one table with the same columns and indexes.
CREATE SCHEMA app;
CREATE TABLE app.decisions (LIKE usher.decisions INCLUDING ALL);
-- The Node server does not seal its rows.
ALTER TABLE app.decisions DROP COLUMN salt, DROP COLUMN personal_digest, DROP COLUMN digest, DROP COLUMN count;
DROP INDEX app.decisions_id_idx;
