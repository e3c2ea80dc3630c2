package db_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/usher-auth/usher/audit"
	"github.com/usher-auth/usher/db"
	"github.com/usher-auth/usher/db/dbtest"
	"github.com/usher-auth/usher/internal/admin"
	"github.com/usher-auth/usher/permissions"
)

// manyOrganizations adds organizations that each have a member, a group, and a grant
// of each kind.
func manyOrganizations(t *testing.T, pg *dbtest.DB, n int) {
	t.Helper()
	for _, sql := range []string{
		`INSERT INTO usher.organizations (id, created_by) SELECT 'o' || i, 't' FROM generate_series(1, $1::integer) i`,
		`INSERT INTO usher.groups (id, organization_id, created_by) SELECT 'g' || i, 'o' || i, 't' FROM generate_series(1, $1::integer) i`,
		`INSERT INTO usher.users (id, created_by) SELECT 'u' || i, 't' FROM generate_series(1, $1::integer) i`,
		`INSERT INTO usher.memberships (user_id, member_of_kind, member_of_id, created_by) SELECT 'u' || i, 'organization', 'o' || i, 't' FROM generate_series(1, $1::integer) i`,
		`INSERT INTO usher.memberships (user_id, member_of_kind, member_of_id, created_by) SELECT 'u' || i, 'group', 'g' || i, 't' FROM generate_series(1, $1::integer) i`,
		`INSERT INTO usher.grants (subject_kind, subject_id, organization_id, resource_kind, pattern, access, created_by)
		 SELECT k.kind, k.id, CASE WHEN k.confined THEN 'o' || i END, 'room', k.pattern, 'read', 't'
		   FROM generate_series(1, $1::integer) i
		  CROSS JOIN LATERAL (VALUES ('everyone', '', true, 'o' || i || ':everyone'), ('everyone', '', true, '{organization}:' || i || ':everyone'),
		                             ('everyone', '', true, '{organization}:{group}:' || i), ('organization', 'o' || i, false, '{organization}:' || i || ':own'),
		                             ('organization', 'o' || i, true, 'o' || i || ':own'), ('group', 'g' || i, true, '{group}:' || i),
		                             ('group', 'g' || i, false, 'g' || i), ('user', 'u' || i, true, 'u' || i)) k (kind, id, confined, pattern)`,
	} {
		if _, err := pg.Pool.Exec(t.Context(), sql, n); err != nil {
			t.Fatal(err)
		}
	}
	exec(t, pg, "ANALYZE")
}

// Reports on all users agree with what_can of each user. With many organizations,
// each user must get their own memberships.
func TestReportsAgreeWithWhatCan(t *testing.T) {
	t.Parallel()
	const n = 40
	pg := dbtest.New(t)
	manyOrganizations(t, pg, n)
	since := time.Now()
	exec(t, pg, `INSERT INTO usher.decisions (issued_at, recorded_at, token_kind, result, caller_kind, user_id, organization_id, audience, patterns, jti, kid, expires_at, request_id, replica, personal_digest, digest)
		SELECT clock_timestamp(), clock_timestamp(), 'access', 'issued', 'session', 'u' || i, 'o' || i, 'sync',
		       (SELECT jsonb_build_object('rooms', jsonb_object_agg(r.pattern, r.access)) FROM audit.what_can('u' || i) r WHERE r.resource_kind = 'room'),
		       'j' || i, 'k', now() + interval '5 minutes', 'R', 'r', sha256(''), sha256('')
		  FROM generate_series(1, 40) i`)
	auditor := openURL(t, pg.AuditorURL)
	unused, err := auditor.UnusedGrants(t.Context(), since)
	if err != nil {
		t.Fatal(err)
	}
	for _, g := range unused {
		t.Errorf("grant %d of %s %q, confined to %q, is unused, though each was used", g.ID, g.SubjectKind, g.Pattern, g.OrganizationID)
	}
	risky, err := auditor.RiskyGrants(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range risky {
		if r.Reason == "matches_nothing" {
			t.Errorf("grant %d, %q, matches nothing, though it gives each organization's member something", r.GrantID, r.Pattern)
		}
	}
	// The view of all users agrees with what_can of each.
	const all = `SELECT principal_id || ' ' || pattern || ' ' || grant_id FROM audit.access WHERE principal_kind = 'user' ORDER BY 1`
	const each = `SELECT 'u' || i || ' ' || r.pattern || ' ' || r.grant_id FROM generate_series(1, 40) i
		CROSS JOIN LATERAL audit.what_can('u' || i) r WHERE r.through_kind <> 'everyone' OR strpos(r.granted, '{') > 0 ORDER BY 1`
	if diff := cmp.Diff(linesOf(t, pg, each), linesOf(t, pg, all)); diff != "" {
		t.Errorf("audit.access (-what_can +access):\n%s", diff)
	}
	if got := linesOf(t, pg, `SELECT i::text FROM generate_series(1, 40) i WHERE 8 <> (SELECT count(*) FROM audit.what_can('u' || i))`); len(got) > 0 {
		t.Errorf("what_can of the users %v does not have their 8 grants", got)
	}
}

// unused_grants, which takes all users at once, agrees with what_can of each. The ids
// hold separators and placeholders.
func TestUnusedGrantsAgreesWithWhatCan(t *testing.T) {
	t.Parallel()
	pg := dbtest.New(t)
	exec(t, pg, `INSERT INTO usher.users (id, created_by) SELECT u, 't' FROM unnest(ARRAY['ada', 'b.c', 'x{group}y', '{user}', 'd_e', 'eve']) u;
		INSERT INTO usher.organizations (id, created_by) SELECT o, 't' FROM unnest(ARRAY['o1', 'o{user}', 'p:q']) o;
		INSERT INTO usher.groups (id, organization_id, created_by) SELECT 'g' || o.id, o.id, 't' FROM usher.organizations o UNION ALL SELECT 'g', NULL, 't';
		INSERT INTO usher.memberships (user_id, member_of_kind, member_of_id, created_by)
			SELECT u.id, 'organization', o.id, 't' FROM usher.users u, usher.organizations o WHERE hashtext(u.id || o.id) % 3 <> 0
			UNION ALL SELECT u.id, 'group', g.id, 't' FROM usher.users u, usher.groups g WHERE hashtext(u.id || g.id || 'x') % 3 <> 0;
		UPDATE usher.users SET disabled_at = now() WHERE id = 'eve';
		INSERT INTO usher.grants (subject_kind, subject_id, organization_id, resource_kind, pattern, access, created_by)
			SELECT s.kind, s.id, c.id, p.kind, p.pattern, a, 't'
			  FROM (SELECT 'everyone' AS kind, '' AS id UNION ALL SELECT 'user', id FROM usher.users UNION ALL SELECT 'organization', id FROM usher.organizations
			        UNION ALL SELECT 'group', id FROM usher.groups) s,
			       (SELECT NULL AS id UNION ALL SELECT id FROM usher.organizations) c,
			       (VALUES ('room', 'a'), ('room', 'a:*'), ('room', '{user}:*'), ('room', '{organization}:{group}'), ('room', 'in:{group}:{user}*'), ('room', 'a{b'),
			               ('room', 'a**'), ('store', '{user}_*'), ('store', 'a*'), ('store', 'a:b')) p (kind, pattern),
			       unnest(ARRAY['read', 'full']) a
			 WHERE hashtext(concat(s.kind, s.id, c.id, p.pattern, a)) % 3 = 0`)
	since := time.Now()
	exec(t, pg, `INSERT INTO usher.decisions (issued_at, recorded_at, token_kind, result, caller_kind, user_id, organization_id, audience, patterns, jti, kid, expires_at, request_id, replica, personal_digest, digest)
		SELECT clock_timestamp(), clock_timestamp(), 'access', 'issued', 'session', u.id, o.id, 'sync',
		       (SELECT coalesce(jsonb_object_agg(k.kinds, k.patterns), '{}')
		          FROM (SELECT r.resource_kind || 's' AS kinds, jsonb_object_agg(CASE WHEN hashtext(r.pattern) % 2 = 0 THEN r.pattern ELSE rtrim(r.pattern, '*') || 'z' END, r.access) AS patterns
		                  FROM audit.what_can(u.id) r WHERE hashtext(u.id || r.pattern || r.access) % 4 = 0 GROUP BY 1) k),
		       u.id || coalesce(o.id, ''), 'k', now() + interval '5 minutes', 'R', 'r', sha256(''), sha256('')
		  FROM usher.users u, (SELECT NULL AS id UNION ALL SELECT id FROM usher.organizations) o`)
	want := linesOf(t, pg, `SELECT g.id::text FROM audit.grants g WHERE NOT EXISTS (
		SELECT FROM usher.decisions t
		 CROSS JOIN LATERAL audit.what_can(t.user_id) r
		 CROSS JOIN LATERAL jsonb_each_text(t.patterns -> (r.resource_kind || 's')) p
		 WHERE r.grant_id = g.id AND p.value = r.access AND audit.pattern_covers(r.pattern, p.key)
		   AND (g.organization_id IS NULL OR g.organization_id = t.organization_id)) ORDER BY g.id`)
	unused, err := openURL(t, pg.AuditorURL).UnusedGrants(t.Context(), since)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, g := range unused {
		got = append(got, fmt.Sprint(g.ID))
	}
	var grants int
	if err := pg.Pool.QueryRow(t.Context(), "SELECT count(*) FROM usher.grants").Scan(&grants); err != nil {
		t.Fatal(err)
	}
	if len(want) < 20 || grants-len(want) < 20 {
		t.Fatalf("%d of %d grants are unused: too few of one kind to compare", len(want), grants)
	}
	slices.SortFunc(got, func(a, b string) int { return 1000*(len(a)-len(b)) + strings.Compare(a, b) })
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("UnusedGrants() (-what_can +got):\n%s", diff)
	}
}

func linesOf(t *testing.T, pg *dbtest.DB, sql string) []string {
	t.Helper()
	rows, err := pg.Pool.Query(t.Context(), sql)
	if err != nil {
		t.Fatal(err)
	}
	found, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// A grant with a template is also listed for a user who is no longer in its subject,
// or never was.
func TestWhyListsTemplatesOfOthers(t *testing.T) {
	t.Parallel()
	_, pg := newTenant(t)
	exec(t, pg, `INSERT INTO usher.grants (subject_kind, subject_id, resource_kind, pattern, access, created_by) VALUES
		('group', 'reviewers', 'room', '{organization}:docs:*', 'full', 't'),
		('organization', 'acme', 'room', '{organization}:docs:*', 'read', 't'),
		('user', 'bob', 'room', '{organization}:docs:*', 'full', 't'),
		('organization', 'globex', 'room', '{organization}:docs:*', 'full', 't')`)
	auditor := openURL(t, pg.AuditorURL)
	why := func() map[int64]string {
		t.Helper()
		got, err := auditor.Why(t.Context(), "ada", permissions.Room("acme:docs:1"))
		if err != nil {
			t.Fatal(err)
		}
		said := map[int64]string{0: got.Why}
		for _, g := range got.Grants {
			if !g.Matches {
				t.Errorf("grant %d is said not to match", g.GrantID)
			}
			said[g.GrantID] = g.Why
		}
		return said
	}
	want := map[int64]string{
		0: "2 grants count: 1 (as member of group reviewers), 2 (as member of organization acme).",
		1: "It counts, as member of group reviewers.", 2: "It counts, as member of organization acme.", 3: "It is for user bob.",
	}
	if diff := cmp.Diff(want, why()); diff != "" {
		t.Errorf("Why() of a member (-want +got):\n%s", diff)
	}
	exec(t, pg, `UPDATE usher.memberships SET ended_at = now(), ended_by = 't' WHERE user_id = 'ada' AND member_of_kind = 'group'`)
	want[0] = "Grant 2 counts, as member of organization acme."
	want[1] = "It is for group reviewers, and the user is not a member."
	if diff := cmp.Diff(want, why()); diff != "" {
		t.Errorf("Why() of who has left (-want +got):\n%s", diff)
	}
}

// Ids may contain braces. Patterns of grants contain them only around placeholders.
func TestIDsWithBraces(t *testing.T) {
	t.Parallel()
	_, pg := newTenant(t)
	exec(t, pg, `INSERT INTO usher.users (id, created_by) VALUES ('a{b', 't')`)
	exec(t, pg, `INSERT INTO usher.grants (subject_kind, subject_id, resource_kind, pattern, access, created_by) VALUES
		('user', 'ada', 'room', 'acme:*', 'full', 't'), ('user', 'ada', 'room', 'acme:1', 'full', 't'), ('everyone', '', 'room', 'home:{user}:*', 'full', 't')`)
	auditor := openURL(t, pg.AuditorURL)
	for _, c := range []struct {
		user, id, access string
		matching         []int64
	}{
		{"ada", "acme:{x}", "full", []int64{1}},
		{"ada", "acme:x}", "full", []int64{1}},
		{"ada", "acme:{", "full", []int64{1}},
		{"ada", "{x}", "none", nil},
		{"ada", "}", "none", nil},
		{"ada", "{", "none", nil},
		{"ada", "{user}", "none", nil},
		{"a{b", "home:a{b:1", "full", []int64{3}},
		{"ada", "home:a{b:1", "none", []int64{3}},
	} {
		why, err := auditor.Why(t.Context(), c.user, permissions.Room(c.id))
		if err != nil {
			t.Fatal(err)
		}
		var matching []int64
		for _, g := range why.Grants {
			if g.Matches {
				matching = append(matching, g.GrantID)
			} else if g.Why != "Its pattern does not match the id." {
				t.Errorf("why(%q, %q): grant %d: %q", c.user, c.id, g.GrantID, g.Why)
			}
		}
		slices.Sort(matching)
		if why.Access != c.access || !slices.Equal(matching, c.matching) {
			t.Errorf("why(%q, %q) = %s, grants %v match; want %s, %v", c.user, c.id, why.Access, matching, c.access, c.matching)
		}
		if nulls := linesOf(t, pg, `SELECT grant_id::text FROM audit.why('`+c.user+`', 'room', '`+c.id+`') WHERE grant_id IS NOT NULL AND matches IS NULL`); len(nulls) > 0 {
			t.Errorf("why(%q, %q): matches is null for the grants %v", c.user, c.id, nulls)
		}
		who, err := auditor.WhoCan(t.Context(), permissions.Room(c.id), permissions.Read, admin.Page[audit.Opening]{})
		if err != nil {
			t.Fatal(err)
		}
		if can := slices.ContainsFunc(who, func(o audit.Opening) bool { return o.PrincipalID == c.user }); can != (c.access != "none") {
			t.Errorf("who_can(%q) has %q: %t, want access %s", c.id, c.user, can, c.access)
		}
	}
}

// An API key is listed if and only if it can get a token.
func TestWhoCanOfAPIKeys(t *testing.T) {
	t.Parallel()
	_, pg := newTenant(t)
	exec(t, pg, `INSERT INTO usher.organizations (id, created_by) VALUES ('gone', 't'), ('empty', 't'), ('asleep', 't')`)
	exec(t, pg, `INSERT INTO usher.users (id, disabled_at, created_by) VALUES ('eve', now(), 't'), ('gus', NULL, 't')`)
	exec(t, pg, `INSERT INTO usher.memberships (user_id, member_of_kind, member_of_id, created_by) VALUES ('eve', 'organization', 'asleep', 't'), ('gus', 'organization', 'gone', 't')`)
	exec(t, pg, `DELETE FROM usher.organizations WHERE id = 'gone'`)
	exec(t, pg, `INSERT INTO usher.grants (subject_kind, subject_id, resource_kind, pattern, access, created_by) VALUES ('user', 'ada', 'room', 'acme:1', 'full', 't'), ('user', 'gus', 'room', 'acme:2', 'read', 't')`)
	exec(t, pg, `INSERT INTO usher.api_keys (id, name, secret_hash, routes, organizations, patterns, created_by)
		SELECT lpad(n, 12, '0'), n, sha256(n::bytea), r::text[], o::text[], jsonb_build_object('rooms', jsonb_build_object('acme:*', a)), 't'
		  FROM (VALUES ('any', '{authorize-user}', NULL, 'full'), ('acme', '{authorize-user}', '{acme}', 'full'), ('gone', '{authorize-user}', '{gone}', 'full'),
		               ('empty', '{auth,authorize-user}', '{empty}', 'full'), ('asleep', '{authorize-user}', '{asleep}', 'full'),
		               ('auth', '{auth}', NULL, 'full'), ('authread', '{auth}', NULL, 'read'), ('authacme', '{auth}', '{acme}', 'full'),
		               ('identify', '{identify-user}', NULL, 'full')) k (n, r, o, a)`)
	auditor := openURL(t, pg.AuditorURL)
	for id, want := range map[string][]string{
		"acme:1": {"acme", "any", "auth", "authacme"}, // ada's token has full access, more than authread allows
		"acme:2": {"acme", "any", "auth", "authread"}, // gus is in no organization
		"acme:3": {"acme", "any"},
	} {
		found, err := auditor.WhoCan(t.Context(), permissions.Room(id), permissions.Read, admin.Page[audit.Opening]{})
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, o := range found {
			if o.PrincipalKind == "api_key" {
				got = append(got, strings.TrimLeft(o.PrincipalID, "0"))
			}
		}
		slices.Sort(got)
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("keys for %s (-want +got):\n%s", id, diff)
		}
	}
	view := linesOf(t, pg, `SELECT ltrim(principal_id, '0') FROM audit.access WHERE principal_kind = 'api_key' ORDER BY 1`)
	if diff := cmp.Diff([]string{"acme", "any", "auth", "authacme", "authread"}, view); diff != "" {
		t.Errorf("keys of audit.access (-want +got):\n%s", diff)
	}
}

// usher's own role cannot record a token or a denial with a wrong time.
func TestDecisionsHaveTheirTime(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	pg := dbtest.New(t)
	service, err := pgx.Connect(ctx, pg.ServiceURL)
	if err != nil {
		t.Fatal(err)
	}
	defer service.Close(ctx)
	for offset, ok := range map[string]bool{
		"0": true, "-50 seconds": true, "50 seconds": true,
		"-70 seconds": false, "70 seconds": false, "-1 day": false, "1 day": false, "-1 year": false, "infinity": false, "-infinity": false,
	} {
		at := "clock_timestamp() + interval '" + offset + "'"
		if strings.Contains(offset, "infinity") {
			at = "'" + offset + "'::timestamptz"
		}
		for name, sql := range map[string]string{
			"token": `INSERT INTO usher.decisions (issued_at, token_kind, result, caller_kind, user_id, audience, patterns, jti, kid, expires_at, request_id, replica, personal_digest, digest)
				VALUES (` + at + `, 'access', 'issued', 'session', 'ada', 'sync', '{}', 'j', 'k', now(), 'R', 'r', sha256(''), sha256(''))`,
			"flood": `INSERT INTO usher.decisions (issued_at, result, reason, caller_kind, request_id, replica, count, personal_digest, digest)
				VALUES (` + at + `, 'denied', 'no_credential', 'none', 'R', 'r', 7, sha256(''), sha256(''))`,
		} {
			if _, err := service.Exec(ctx, sql); (err == nil) != ok {
				t.Errorf("a %s of %s: %v, want it taken: %t", name, offset, err, ok)
			}
		}
	}
}

// A denial has the time of its replica's clock. If that is wrong, it gets the
// database's time when it is written. So does a flood's row that waited.
func TestDenialsGetTheDatabasesTime(t *testing.T) {
	t.Parallel()
	s := newSealed(t)
	floods := db.StartFloodLog(db.FloodLogConfig{Log: s.log, Registry: prometheus.NewRegistry()})
	for _, skew := range []time.Duration{-2 * time.Hour, 2 * time.Hour} {
		d := denied(fmt.Sprint(skew))
		d.At = d.At.Add(skew)
		if err := s.log.Record(t.Context(), d); err != nil {
			t.Errorf("a denial %s off: %v", skew, err)
		}
		token := issued("jti" + fmt.Sprint(skew))
		token.At = token.At.Add(skew)
		if err := s.log.Record(t.Context(), token); err == nil {
			t.Errorf("a token %s off is recorded", skew)
		}
	}
	for range 70 {
		d := denied("flood")
		d.At, d.CallerUnknown = d.At.Add(-time.Hour), true
		if err := floods.Record(t.Context(), d); err != nil {
			t.Fatal(err)
		}
	}
	if err := floods.Close(); err != nil {
		t.Fatal(err)
	}
	var counted, off int
	if err := s.pg.Pool.QueryRow(t.Context(), `SELECT sum(count), count(*) FILTER (WHERE abs(extract(epoch FROM denied_at - recorded_at)) > 60) FROM audit.denials`).Scan(&counted, &off); err != nil {
		t.Fatal(err)
	}
	if counted != 72 || off != 0 {
		t.Errorf("%d denials, %d with another time; want 72, 0", counted, off)
	}
	s.seal(t)
	if report := s.verify(t); report.Found != 0 {
		t.Errorf("VerifyAudit() = %+v", report)
	}
}

// Questions about times without data are errors, not empty answers.
func TestUnknownTimes(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	pg := dbtest.New(t)
	auditor := openURL(t, pg.AuditorURL)
	room := permissions.Room("acme:1")
	_, err := auditor.WhoCould(ctx, room, time.Now().AddDate(-1, 0, 0), permissions.Read, admin.Page[audit.Opening]{})
	wantError(t, err, admin.ErrInvalid, "before usher's history begins. Give 20")
	if _, err := auditor.Holders(ctx, room, time.Now(), admin.Page[admin.HolderPlace]{}); err != nil {
		t.Errorf("Holders() of now: %v", err)
	}
	// The last two months were pruned.
	exec(t, pg, `INSERT INTO usher.changes (actor, action, target, digest)
		SELECT 't', 'audit.prune', to_char(now() AT TIME ZONE 'UTC' - make_interval(months => i), 'YYYY-MM'), sha256('') FROM generate_series(1, 2) i`)
	start := time.Now().UTC()
	start = time.Date(start.Year(), start.Month(), 1, 0, 0, 0, 0, time.UTC)
	for name, ask := range map[string]func(time.Time) error{
		"holders": func(at time.Time) error {
			_, err := auditor.Holders(ctx, room, at, admin.Page[admin.HolderPlace]{})
			return err
		},
		"tokens of": func(at time.Time) error { _, err := auditor.TokensOf(ctx, "ada", at); return err },
		"unused grants": func(at time.Time) error {
			_, err := auditor.UnusedGrants(ctx, at)
			return err
		},
	} {
		wantError(t, ask(start.AddDate(0, -1, 0)), admin.ErrInvalid, "were pruned")
		wantError(t, ask(start.Add(-time.Second)), admin.ErrInvalid, "give "+start.Add(time.Hour).Format("2006-01-02T15:04:05Z"))
		if time.Since(start) > 2*time.Hour {
			if err := ask(start.Add(time.Hour)); err != nil {
				t.Errorf("%s an hour into the month that is there: %v", name, err)
			}
		}
	}
	if err := pg.Pool.QueryRow(ctx, "SELECT count(*) FROM audit.tokens_of('ada', '-infinity')").Scan(new(int)); err != nil {
		t.Errorf("tokens_of since -infinity: %v", err)
	}
}

// If a backend chose the permissions, holders returns the most access that they can
// mean. A token that opens nothing is not listed.
func TestHoldersOfChosenPermissions(t *testing.T) {
	t.Parallel()
	pg := dbtest.New(t)
	log := newAuditLog(t, pg)
	at := time.Now()
	for jti, access := range map[string]permissions.Access{"full": permissions.Full, "read": permissions.Read, "none": permissions.None} {
		d := issued(jti)
		d.Token.Patterns = audit.Patterns{Rooms: []permissions.Rule{{Pattern: permissions.MustPattern(permissions.RoomKind, "acme:1"), Access: access}}}
		if err := log.Record(t.Context(), d); err != nil {
			t.Fatal(err)
		}
	}
	d := issued("identity")
	d.Token.Kind, d.Token.Patterns, d.Token.Claims = audit.IdentityToken, audit.Patterns{}, `{"gids":["g"]}`
	if err := log.Record(t.Context(), d); err != nil {
		t.Fatal(err)
	}
	found, err := openURL(t, pg.AuditorURL).Holders(t.Context(), permissions.Room("acme:1"), at.Add(time.Second), admin.Page[admin.HolderPlace]{})
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	for _, h := range found {
		got[h.JTI] = h.Access
	}
	if diff := cmp.Diff(map[string]string{"full": "full", "read": "read"}, got); diff != "" {
		t.Errorf("Holders() (-want +got):\n%s", diff)
	}
	kinds := linesOf(t, pg, "SELECT jti || ' ' || token_kind || ' ' || coalesce(claims::text, '-') || ' ' || patterns FROM audit.tokens WHERE jti = 'identity'")
	if diff := cmp.Diff([]string{`identity identity {"gids":["g"]} {}`}, kinds); diff != "" {
		t.Errorf("audit.tokens (-want +got):\n%s", diff)
	}
}
