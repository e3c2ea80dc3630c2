-- A database after some months of use. Most organizations are small, and three are large:
-- every twentieth user is a member of big-1, and so on. A document is for three users of one
-- organization. A quarter of all grants is revoked, and one in twenty has expired. The rows
-- have past times: the triggers that set the current time are off
-- (session_replication_role).
CREATE TEMPORARY TABLE scale AS
SELECT @users::int AS users, greatest(@users::int / 20, 1) AS organizations, @grants::bigint AS grants, @tokens::bigint AS tokens,
       date_trunc('month', now()) - make_interval(months => @months::int) AS start, now() AS now;

CREATE FUNCTION pg_temp.past(n bigint) RETURNS timestamptz LANGUAGE sql STABLE AS $$
    -- A time between the start and now, always the same for the same n.
    SELECT start + (hashint8extended(n, 1) & 1048575) / 1048576.0 * (now - start) FROM scale
$$;

DO $$
DECLARE
    month timestamptz := (SELECT start FROM scale);
BEGIN
    WHILE month < date_trunc('month', now()) LOOP
        EXECUTE format('CREATE TABLE usher.%I PARTITION OF usher.decisions FOR VALUES FROM (%L) TO (%L)',
                       'decisions_' || to_char(month, 'YYYY_MM'), month, month + interval '1 month');
        month := month + interval '1 month';
    END LOOP;
END
$$;

INSERT INTO usher.users (id, disabled_at, created_at, created_by)
SELECT 'user-' || u, CASE WHEN u % 50 = 7 THEN now END, start, 'bench' FROM scale, generate_series(0, users - 1) u;
INSERT INTO usher.user_states (user_id, state, since)
SELECT 'user-' || u, 'enabled', start FROM scale, generate_series(0, users - 1) u
UNION ALL SELECT id, 'disabled', disabled_at FROM usher.users WHERE disabled_at IS NOT NULL;

INSERT INTO usher.organizations (id, created_by)
SELECT 'org-' || o, 'bench' FROM scale, generate_series(0, organizations - 1) o
UNION ALL SELECT 'big-' || b, 'bench' FROM generate_series(1, 3) b;
INSERT INTO usher.groups (id, organization_id, created_by)
SELECT o.id || '-team-' || t, o.id, 'bench' FROM usher.organizations o, generate_series(0, 2) t;

CREATE TEMPORARY TABLE place AS
SELECT u, 'user-' || u AS user_id, 'org-' || u % organizations AS home, u / organizations % 3 AS team
  FROM scale, generate_series(0, users - 1) u;
INSERT INTO usher.memberships (user_id, member_of_kind, member_of_id, organization_id, created_at, created_by, ended_at, ended_by)
SELECT user_id, 'organization', home, home, start, 'bench', NULL::timestamptz, NULL FROM place, scale
UNION ALL SELECT user_id, 'group', home || '-team-' || team, home, start, 'bench', NULL, NULL FROM place, scale
UNION ALL SELECT user_id, 'organization', 'big-' || u % 20 + 1, 'big-' || u % 20 + 1, start, 'bench', NULL, NULL FROM place, scale WHERE u % 20 < 3
UNION ALL SELECT user_id, 'organization', 'org-' || (u + 1) % organizations, 'org-' || (u + 1) % organizations, start, 'bench', now, 'bench'
  FROM place, scale WHERE u % 10 = 3;

INSERT INTO usher.grants (subject_kind, subject_id, resource_kind, pattern, access, valid_from, created_at, created_by)
SELECT g.subject_kind, g.subject_id, g.resource_kind, g.pattern, g.access, start, start, 'bench'
  FROM scale, (
    SELECT 'everyone' AS subject_kind, '' AS subject_id, 'room' AS resource_kind, '{organization}:*' AS pattern, 'read' AS access
    UNION ALL SELECT 'everyone', '', 'room', 'user:{user}:*', 'full'
    UNION ALL SELECT 'everyone', '', 'room', 'lobby', 'read'
    UNION ALL SELECT 'everyone', '', 'store', 'team_{group}_*', 'full'
    UNION ALL SELECT 'organization', id, 'room', id || ':open:*', 'full' FROM usher.organizations
    UNION ALL SELECT 'organization', id, 'room', id || ':private:{user}:*', 'full' FROM usher.organizations
    UNION ALL SELECT 'group', id, 'room', organization_id || ':' || id || ':*', 'full' FROM usher.groups
  ) g;

INSERT INTO usher.grants (subject_kind, subject_id, resource_kind, pattern, access, valid_from, valid_until, created_at, created_by, revoked_at, revoked_by)
SELECT 'user', p.user_id, CASE WHEN d % 4 = 3 THEN 'store' ELSE 'room' END,
       CASE d % 4 WHEN 3 THEN replace(p.home, '-', '_') || '_board_' || d
                  WHEN 2 THEN p.home || ':project-' || d || ':*'
                  ELSE p.home || ':document-' || d END,
       CASE WHEN n % 3 = 0 THEN 'full' ELSE 'read' END, at.made,
       CASE WHEN d % 20 = 1 THEN at.made + interval '1 day' END, at.made, 'bench',
       CASE WHEN d % 4 = 0 THEN at.made + (now - at.made) / 2 END, CASE WHEN d % 4 = 0 THEN 'bench' END
  FROM scale
 CROSS JOIN LATERAL generate_series(0, grants - (SELECT count(*) FROM usher.grants) - 1) n
 CROSS JOIN LATERAL (SELECT n / 3 AS d) d
 CROSS JOIN LATERAL (SELECT pg_temp.past(n) AS made) at
  JOIN place p ON p.u = (d * 7 + n % 3 * organizations) % users;

INSERT INTO usher.api_keys (id, name, secret_hash, routes, patterns, created_at, created_by)
SELECT lpad(k::text, 12, '0'), 'key ' || k, sha256(k::text::bytea), '{auth,authorize-user}',
       jsonb_build_object('rooms', jsonb_build_object('org-' || k || ':*', 'full')), start, 'bench'
  FROM scale, generate_series(1, 200) k;

-- Some users make more requests than others, and one request in fifty is refused. Rows are in
-- the order of time.
INSERT INTO usher.decisions (issued_at, recorded_at, result, reason, caller_kind, caller_id, user_id, audience, room, token_kind, patterns, jti, kid,
                             expires_at, ip, user_agent, origin, request_id, replica, salt, personal_digest, digest)
SELECT at, at, CASE WHEN denied THEN 'denied' ELSE 'issued' END, CASE WHEN denied THEN 'no_grant' END, 'session', 'sid-' || p.u % 1000,
       p.user_id, 'sync', CASE WHEN n % 2 = 0 THEN p.home || ':document-' || n % 100000 END,
       CASE WHEN NOT denied THEN 'access' END,
       CASE WHEN NOT denied THEN jsonb_build_object('rooms', jsonb_build_object(
           p.home || ':*', 'read', 'user:' || p.user_id || ':*', 'full', p.home || ':open:*', 'full',
           p.home || ':document-' || n % 100000, 'full')) END,
       CASE WHEN NOT denied THEN 'jti-' || n END, CASE WHEN NOT denied THEN 'key' END,
       CASE WHEN NOT denied THEN date_trunc('second', at) + interval '5 minutes' END,
       '192.0.2.1', 'Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36', 'https://app.example.com', 'request-' || n, 'bench',
       substring(sha256(int8send(n)) FOR 16), sha256(int8send(n)), sha256(int8send(n + 1))
  FROM scale
 CROSS JOIN LATERAL generate_series(0, tokens - 1) n
 CROSS JOIN LATERAL (SELECT start + (now - start) * (n / tokens::float8) AS at, n % 50 = 0 AS denied) t
 CROSS JOIN LATERAL (SELECT floor(users * power((hashint8extended(n, 2) & 1048575) / 1048576.0, 2))::int AS u) r
 CROSS JOIN LATERAL (SELECT r.u, 'user-' || r.u AS user_id, 'org-' || r.u % organizations AS home) p;

-- The history is complete from its beginning.
UPDATE usher.deployment SET created_at = start FROM scale;
