package db_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/usher-auth/usher/audit"
	"github.com/usher-auth/usher/db/dbtest"
	"github.com/usher-auth/usher/internal/admin"
	"github.com/usher-auth/usher/permissions"
)

// Every object and column of the audit has a comment, and only auditors and usher may
// use them. SECURITY DEFINER functions pin the search_path, so that callers cannot
// change what they call.
func TestAuditIsDocumentedAndClosed(t *testing.T) {
	t.Parallel()
	pool := dbtest.New(t).Pool
	for _, c := range []struct{ fault, sql string }{
		{"has no comment", `
			SELECT c.oid::regclass::text FROM pg_class c
			 WHERE c.relnamespace = 'audit'::regnamespace AND c.relkind = 'v' AND obj_description(c.oid, 'pg_class') IS NULL`},
		{"has no comment", `
			SELECT t.oid::regtype::text FROM pg_type t JOIN pg_class c ON c.oid = t.typrelid
			 WHERE c.relnamespace = 'audit'::regnamespace AND c.relkind = 'c' AND obj_description(t.oid, 'pg_type') IS NULL`},
		{"has no comment", `
			SELECT c.oid::regclass || '.' || a.attname FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0
			 WHERE c.relnamespace = 'audit'::regnamespace AND c.relkind IN ('v', 'c') AND col_description(c.oid, a.attnum) IS NULL`},
		{"has no comment", `
			SELECT p.oid::regprocedure::text FROM pg_proc p
			 WHERE p.pronamespace = 'audit'::regnamespace AND obj_description(p.oid, 'pg_proc') IS NULL`},
		{"is a definer whose search_path is not pinned", `
			SELECT p.oid::regprocedure::text FROM pg_proc p
			 WHERE p.pronamespace IN ('audit'::regnamespace, 'usher'::regnamespace) AND p.prosecdef
			   AND NOT coalesce(p.proconfig, '{}') && ARRAY['search_path=pg_catalog, pg_temp']`},
		{"can be called by everybody", `
			SELECT p.oid::regprocedure::text FROM pg_proc p
			 WHERE (p.pronamespace = 'audit'::regnamespace OR p.pronamespace = 'usher'::regnamespace AND p.prorettype <> 'trigger'::regtype)
			   AND has_function_privilege('public', p.oid, 'EXECUTE')`},
		{"cannot be called by auditors", `
			SELECT p.oid::regprocedure::text FROM pg_proc p
			 WHERE p.pronamespace = 'audit'::regnamespace AND NOT has_function_privilege('usher_auditor_test', p.oid, 'EXECUTE')`},
		{"cannot be called by the service", `
			SELECT p.oid::regprocedure::text FROM pg_proc p
			 WHERE p.pronamespace = 'audit'::regnamespace AND NOT has_function_privilege('usher_service_test', p.oid, 'EXECUTE')`},
		{"is open to everybody", `
			SELECT c.oid::regclass::text FROM pg_class c
			 WHERE c.relnamespace = 'audit'::regnamespace AND has_table_privilege('public', c.oid, 'SELECT')`},
	} {
		rows, err := pool.Query(t.Context(), c.sql)
		if err != nil {
			t.Fatal(err)
		}
		faulty, err := pgx.CollectRows(rows, pgx.RowTo[string])
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range faulty {
			t.Errorf("%s %s", name, c.fault)
		}
	}
}

// Auditors can use all of schema audit, and nothing else.
func TestAuditorsPrivileges(t *testing.T) {
	t.Parallel()
	_, pg := newTenant(t)
	auditor := connect(t, pg.AuditorURL)
	for _, sql := range []string{
		"SELECT FROM audit.tokens", "SELECT FROM audit.denials", "SELECT FROM audit.changes", "SELECT FROM audit.grants", "SELECT FROM audit.members",
		"SELECT FROM audit.access", "SELECT FROM audit.risky_grants",
		"SELECT FROM audit.who_can('room', 'acme:1')", "SELECT FROM audit.who_could('room', 'acme:1', now())", "SELECT FROM audit.what_can('ada')",
		"SELECT FROM audit.why('ada', 'room', 'acme:1')", "SELECT FROM audit.holders('room', 'acme:1', now())",
		"SELECT FROM audit.tokens_of('ada', '-infinity')", "SELECT FROM audit.unused_grants('-infinity')",
		"SELECT audit.access_of('{}', 'acme:1')", "SELECT FROM audit.expand('room', '{user}', 'ada', NULL, NULL)",
	} {
		if _, err := auditor.Exec(t.Context(), sql); err != nil {
			t.Errorf("%s: %v", sql, err)
		}
	}
	for _, sql := range []string{
		"SELECT FROM usher.users", "SELECT FROM usher.grants", "SELECT FROM usher.user_states", "SELECT FROM usher.directory_users",
		"SELECT FROM usher.api_keys", "SELECT FROM usher.reach('ada')", "SELECT usher.matches_nothing(1)", "UPDATE audit.grants SET reason = ''",
	} {
		_, err := auditor.Exec(t.Context(), sql)
		if pgErr, ok := errors.AsType[*pgconn.PgError](err); !ok || pgErr.Code != "42501" {
			t.Errorf("%s: %v, want 42501, insufficient privilege", sql, err)
		}
	}
	wantForbidden(t, pg, "DELETE FROM usher.user_states", "UPDATE usher.user_states SET since = now()", "TRUNCATE usher.user_states",
		"TRUNCATE usher.users CASCADE", "TRUNCATE usher.organizations CASCADE", "TRUNCATE usher.groups", "UPDATE usher.users SET id = 'other'")
	_, err := connect(t, pg.ServiceURL).Exec(t.Context(), "INSERT INTO usher.user_states (user_id, state, since) VALUES ('eve', 'enabled', '2001-01-01')")
	if pgErr, ok := errors.AsType[*pgconn.PgError](err); !ok || pgErr.Code != "42501" {
		t.Errorf("the service writes history: %v, want 42501, insufficient privilege", err)
	}
}

// Nobody can choose the time of a change, not even the owner of the tables.
func TestTimesAreTheDatabases(t *testing.T) {
	t.Parallel()
	_, pg := newTenant(t)
	conn := connect(t, pg.URL)
	for _, c := range []struct{ name, sql string }{
		{"user", "INSERT INTO usher.users (id, created_at, created_by) VALUES ('eve', '2001-01-01', 't') RETURNING created_at = now()"},
		{"user made disabled", "INSERT INTO usher.users (id, disabled_at, created_by) VALUES ('joe', '2001-01-01', 't') RETURNING disabled_at = now()"},
		{"disabling", "UPDATE usher.users SET disabled_at = '2001-01-01' WHERE id = 'ada' RETURNING disabled_at = now()"},
		{"state", "SELECT since > '2002-01-01' FROM usher.user_states WHERE user_id = 'ada' AND state = 'disabled'"},
		{"disabling twice", "UPDATE usher.users SET disabled_at = 'infinity' WHERE id = 'ada' RETURNING disabled_at < now()"},
		{"one state for both", "SELECT count(*) = 2 FROM usher.user_states WHERE user_id = 'ada'"},
		{"membership", `INSERT INTO usher.memberships (user_id, member_of_kind, member_of_id, created_at, created_by)
			VALUES ('eve', 'organization', 'acme', '2001-01-01', 't') RETURNING created_at = now()`},
		{"end of a membership", "UPDATE usher.memberships SET ended_at = 'infinity', ended_by = 't' WHERE user_id = 'eve' RETURNING ended_at = now()"},
		{"grant", `INSERT INTO usher.grants (subject_kind, subject_id, resource_kind, pattern, access, created_at, created_by)
			VALUES ('user', 'bob', 'room', 'a', 'read', '2001-01-01', 't') RETURNING created_at = now()`},
		{"revocation", "UPDATE usher.grants SET revoked_at = 'infinity', revoked_by = 't' WHERE pattern = 'a' RETURNING revoked_at = now()"},
		{"grant made revoked", `INSERT INTO usher.grants (subject_kind, subject_id, resource_kind, pattern, access, created_by, revoked_at, revoked_by)
			VALUES ('user', 'bob', 'room', 'a', 'read', 't', 'infinity', 't') RETURNING revoked_at = now()`},
		{"API key", `INSERT INTO usher.api_keys (id, name, secret_hash, routes, patterns, created_at, created_by)
			VALUES ('abcdefghijkl', 'key', sha256(''), '{auth}', '{}', '2001-01-01', 't') RETURNING created_at = now()`},
		{"end of an API key", "UPDATE usher.api_keys SET revoked_at = '2100-01-01', revoked_by = 't' RETURNING revoked_at = now()"},
		{"use of a revoked API key", "UPDATE usher.api_keys SET last_used_at = now() RETURNING revoked_at < now()"},
	} {
		var ok bool
		if err := conn.QueryRow(t.Context(), c.sql).Scan(&ok); err != nil || !ok {
			t.Errorf("%s: %t, %v", c.name, ok, err)
		}
	}
}

func TestAuditRefusesBadQuestions(t *testing.T) {
	t.Parallel()
	_, pg := newTenant(t)
	database := openURL(t, pg.AuditorURL)
	ctx := t.Context()
	_, err := database.WhoCan(ctx, permissions.Resource{ID: "acme:1"}, permissions.Read, admin.Page[audit.Opening]{})
	wantError(t, err, admin.ErrInvalid, "neither room nor store")
	_, err = database.WhoCan(ctx, permissions.Room("acme:*"), permissions.Read, admin.Page[audit.Opening]{})
	wantError(t, err, admin.ErrInvalid, "Give the id of one room, not a pattern")
	_, err = database.WhoCan(ctx, permissions.Store("acme:1"), permissions.Read, admin.Page[audit.Opening]{})
	wantError(t, err, admin.ErrInvalid, "'acme:1' is not a valid store id")
	_, err = database.WhoCan(ctx, permissions.Room("acme:1"), permissions.None, admin.Page[audit.Opening]{})
	wantError(t, err, admin.ErrInvalid, "the access 'none' is neither read nor full")
	_, err = database.WhoCould(ctx, permissions.Room("acme:1"), time.Now().Add(time.Hour), permissions.Read, admin.Page[audit.Opening]{})
	wantError(t, err, admin.ErrInvalid, "in the future")
	_, err = database.WhoCould(ctx, permissions.Room(""), time.Now().Add(-time.Hour), permissions.Read, admin.Page[audit.Opening]{})
	wantError(t, err, admin.ErrInvalid, "'' is not a valid room id")
	_, err = database.Why(ctx, "ada", permissions.Room(strings.Repeat("😀", 65)))
	wantError(t, err, admin.ErrInvalid, "is not a valid room id")
	_, err = database.Holders(ctx, permissions.Room("a\nb"), time.Now(), admin.Page[admin.HolderPlace]{})
	wantError(t, err, admin.ErrInvalid, "is not a valid room id")
	_, err = database.UnusedGrants(ctx, time.Now().Add(time.Hour))
	wantError(t, err, admin.ErrInvalid, "in the future")

	for _, sql := range []string{
		"SELECT audit.who_can(NULL, 'acme:1')", "SELECT audit.who_can('rooms', 'acme:1')", "SELECT audit.who_can('room', NULL)",
		"SELECT audit.who_can('room', 'acme:1', NULL)", "SELECT audit.who_can('room', 'acme:1', 'write')",
		"SELECT audit.who_could('room', 'acme:1', NULL)", "SELECT audit.holders('room', 'acme:1', NULL)",
		"SELECT audit.tokens_of('ada', NULL)", "SELECT audit.unused_grants(NULL)", "SELECT audit.why('ada', 'room', '*')",
	} {
		_, err := pg.Pool.Exec(ctx, sql)
		if pgErr, ok := errors.AsType[*pgconn.PgError](err); !ok || pgErr.Code != "22023" || pgErr.Hint == "" {
			t.Errorf("%s: %v, want 22023 with a hint", sql, err)
		}
	}
	if got, err := database.WhatCan(ctx, "nobody", admin.Page[audit.Reach]{}); err != nil || len(got) > 0 {
		t.Errorf("WhatCan() of nobody = %v, %v; want nothing", got, err)
	}
}

// A sentence says for each grant why it counts or does not.
func TestWhy(t *testing.T) {
	t.Parallel()
	_, pg := newTenant(t)
	exec(t, pg, `INSERT INTO usher.users (id, disabled_at, created_by) VALUES ('eve', now(), 't'), ('a:b', NULL, 't')`)
	exec(t, pg, `INSERT INTO usher.organizations (id, created_by) VALUES ('globex', 't'), ('initech', 't')`)
	exec(t, pg, `INSERT INTO usher.memberships (user_id, member_of_kind, member_of_id, created_by) VALUES ('ada', 'organization', 'globex', 't')`)
	// The reason of each grant is the sentence that why must return.
	exec(t, pg, `
		INSERT INTO usher.grants (subject_kind, subject_id, organization_id, resource_kind, pattern, access, valid_from, valid_until, reason, created_by) VALUES
		('user', 'ada', NULL, 'room', 'acme:*', 'read', now(), NULL, 'It counts, for user ada.', 't'),
		('user', 'ada', 'acme', 'room', 'acme:1', 'full', now(), NULL, 'It counts, for user ada, where organization acme is active.', 't'),
		('user', 'ada', NULL, 'room', 'acme:2', 'full', now(), NULL, 'Its pattern does not match the id.', 't'),
		('user', 'ada', NULL, 'room', 'acme:**', 'full', now(), NULL, 'Its pattern is not valid: it is skipped.', 't'),
		('user', 'ada', NULL, 'room', '{organization}*', 'full', now(), NULL, 'Its pattern is not valid: it is skipped.', 't'),
		('user', 'ada', NULL, 'room', 'ac*', 'full', '2100-01-01', NULL, 'It starts at 2100-01-01T00:00:00Z.', 't'),
		('user', 'ada', NULL, 'room', 'acm*', 'full', '2001-01-01', '2002-01-01', 'It ended at 2002-01-01T00:00:00Z.', 't'),
		('user', 'bob', NULL, 'room', 'acme:1', 'full', now(), NULL, 'It is for user bob.', 't'),
		('user', 'bob', NULL, 'room', 'acme:2', 'full', now(), NULL, NULL, 't'),
		('organization', 'initech', NULL, 'room', '*', 'full', now(), NULL, 'It is for organization initech, and the user is not a member.', 't'),
		('group', 'reviewers', NULL, 'room', 'acme:1', 'read', now(), NULL, 'It counts, as member of group reviewers.', 't'),
		('group', 'reviewers', 'globex', 'room', 'acme:1', 'full', now(), NULL, 'It is confined to organization globex, and group reviewers does not belong to it.', 't'),
		('everyone', '', 'initech', 'room', 'acme:1', 'full', now(), NULL, 'It is confined to organization initech, and the user is not a member.', 't'),
		('everyone', '', NULL, 'room', '{organization}:*', 'read', now(), NULL, 'It counts, for everyone.', 't'),
		('everyone', '', 'globex', 'room', '{organization}:1', 'full', now(), NULL,
			'Its template matches the id only for members of organization acme, where organization globex is active.', 't'),
		('everyone', '', NULL, 'room', 'acme:{user}', 'read', now(), NULL, 'Its template matches the id only for user 1.', 't'),
		('everyone', '', NULL, 'store', '*', 'full', now(), NULL, NULL, 't')`)
	exec(t, pg, `INSERT INTO usher.grants (subject_kind, subject_id, resource_kind, pattern, access, reason, created_by, revoked_by, revoke_reason, revoked_at)
		VALUES ('user', 'ada', 'room', 'acme:1', 'full', 'It was revoked at TIME by t: left.', 't', 't', 'left', now())`)
	database := openURL(t, pg.AuditorURL)

	got, err := database.Why(t.Context(), "ada", permissions.Room("acme:1"))
	if err != nil {
		t.Fatal(err)
	}
	reasons := map[int64]string{}
	grants, err := open(t, pg).Grants(t.Context(), admin.GrantFilter{Ended: true}, admin.Page[int64]{})
	if err != nil {
		t.Fatal(err)
	}
	for _, g := range grants {
		if g.RevokedAt != nil {
			g.Reason = strings.Replace(g.Reason, "TIME", g.RevokedAt.UTC().Format("2006-01-02T15:04:05Z"), 1)
		}
		if g.Reason != "" {
			reasons[g.ID] = g.Reason
		}
	}
	explained := map[int64]string{}
	for _, g := range got.Grants {
		explained[g.GrantID] = g.Why
	}
	if diff := cmp.Diff(reasons, explained); diff != "" {
		t.Errorf("Why() (-want +got):\n%s", diff)
	}
	if want := "4 grants count: 1 (for user ada), 2 (for user ada), 11 (as member of group reviewers), 14 (for everyone)."; got.Access != "full" || got.Why != want {
		t.Errorf("Why() = %s: %q, want full: %q", got.Access, got.Why, want)
	}
	counts := func(g audit.WhyGrant) bool { return g.Counts }
	if !slices.IsSortedFunc(got.Grants, func(a, b audit.WhyGrant) int {
		return map[bool]int{true: 0, false: 1}[counts(a)] - map[bool]int{true: 0, false: 1}[counts(b)]
	}) {
		t.Errorf("grants that count do not come first: %v", got.Grants)
	}

	for _, c := range []struct {
		user, id, access, why, grant string
	}{
		{"eve", "acme:1", "none", "User eve is disabled.", ""},
		{"eve", "acme:eve", "none", "User eve is disabled.", "The user is disabled."},
		{"nobody", "acme:nobody", "none", "The directory does not list user nobody.", "The directory does not list the user."},
		{"bob", "elsewhere", "none", "No grant counts.", ""},
		{"bob", "acme:2", "full", "2 grants count: 9 (for user bob), 14 (for everyone).", ""},
		{"bob", "acme:bob", "read", "2 grants count: 14 (for everyone), 16 (for everyone).", ""},
	} {
		got, err := database.Why(t.Context(), c.user, permissions.Room(c.id))
		if err != nil {
			t.Fatal(err)
		}
		if got.Access != c.access || got.Why != c.why {
			t.Errorf("Why(%q, %q) = %s: %q, want %s: %q", c.user, c.id, got.Access, got.Why, c.access, c.why)
		}
		if c.grant != "" && !slices.ContainsFunc(got.Grants, func(g audit.WhyGrant) bool { return g.Why == c.grant }) {
			t.Errorf("Why(%q, %q) = %+v, want a grant with %q", c.user, c.id, got.Grants, c.grant)
		}
	}

	exec(t, pg, `INSERT INTO usher.grants (subject_kind, subject_id, resource_kind, pattern, access, created_by) VALUES ('everyone', '', 'room', 'home/{user}:*', 'full', 't')`)
	got, err = database.Why(t.Context(), "a:b", permissions.Room("home/a:b"))
	if err != nil {
		t.Fatal(err)
	}
	if !slices.ContainsFunc(got.Grants, func(g audit.WhyGrant) bool {
		return strings.HasPrefix(g.Why, "The user's id does not fit its template")
	}) {
		t.Errorf("Why() of a user whose id does not fit = %+v", got)
	}
}

// A token opens its rooms and stores from its issue until its expiry.
func TestHoldersAndTokensOf(t *testing.T) {
	t.Parallel()
	pg := dbtest.New(t)
	at := time.Now().UTC().Add(-10 * time.Minute).Truncate(time.Second)
	insert := func(jti, user string, issued time.Time, life time.Duration, patterns string) {
		t.Helper()
		exec(t, pg, `INSERT INTO usher.decisions (issued_at, recorded_at, token_kind, result, caller_kind, caller_id, user_id, audience, patterns, jti, kid, expires_at, request_id, replica, personal_digest, digest)
			VALUES ($1, $1, 'access', 'issued', 'session', 'sid', $2, 'sync', $3, $4, 'kid', $5, 'R', 'replica', sha256(''), sha256(''))`, issued, user, patterns, jti, issued.Add(life))
	}
	insert("exact", "ada", at, 5*time.Minute, `{"rooms": {"acme:1": "full", "acme:*": "read"}}`)
	insert("prefix", "bob", at.Add(-time.Minute), 5*time.Minute, `{"rooms": {"acme:*": "read"}}`)
	insert("all", "eve", at.Add(-59*time.Minute), time.Hour, `{"rooms": {"*": "read"}, "stores": {"acme_1": "full"}}`)
	insert("other", "ada", at, 5*time.Minute, `{"rooms": {"acme:2": "full", "acme:1:*": "full"}, "stores": {"*": "full"}}`)
	insert("brace", "ada", at, 5*time.Minute, `{"rooms": {"a{b*": "full"}}`)
	insert("identity", "ada", at, 5*time.Minute, `{"rooms": {}}`)
	exec(t, pg, `INSERT INTO usher.decisions (issued_at, recorded_at, result, reason, caller_kind, user_id, request_id, replica, personal_digest, digest)
		VALUES ($1, $1, 'denied', 'no_grant', 'session', 'ada', 'R', 'replica', sha256(''), sha256(''))`, at)
	database := openURL(t, pg.AuditorURL)

	for _, c := range []struct {
		name  string
		asked permissions.Resource
		at    time.Time
		want  []string
	}{
		{"all three", permissions.Room("acme:1"), at.Add(30 * time.Second), []string{"ada full exact", "bob read prefix", "eve read all"}},
		{"at the issuing", permissions.Room("acme:1"), at, []string{"ada full exact", "bob read prefix", "eve read all"}},
		{"right before", permissions.Room("acme:1"), at.Add(-time.Microsecond), []string{"bob read prefix", "eve read all"}},
		{"right before the expiry", permissions.Room("acme:1"), at.Add(time.Minute - time.Microsecond), []string{"ada full exact", "bob read prefix", "eve read all"}},
		{"at the expiry", permissions.Room("acme:1"), at.Add(time.Minute), []string{"ada full exact", "bob read prefix"}},
		{"after all", permissions.Room("acme:1"), at.Add(time.Hour), nil},
		{"another id", permissions.Room("acme:3"), at, []string{"ada read exact", "bob read prefix", "eve read all"}},
		{"a brace in a token is not a placeholder", permissions.Room("a{b}c"), at, []string{"ada full brace", "eve read all"}},
		{"store", permissions.Store("acme_1"), at, []string{"ada full other", "eve full all"}},
		{"store of a room's name", permissions.Store("acme"), at, []string{"ada full other"}},
	} {
		holders, err := database.Holders(t.Context(), c.asked, c.at, admin.Page[admin.HolderPlace]{})
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, h := range holders {
			got = append(got, fmt.Sprintf("%s %s %s", h.UserID, h.Access, h.JTI))
		}
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("%s: Holders() (-want +got):\n%s", c.name, diff)
		}
	}

	tokens, err := database.TokensOf(t.Context(), "ada", at)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, token := range tokens {
		got = append(got, *token.JTI)
	}
	if want := []string{"brace", "exact", "identity", "other"}; !slices.Equal(got, want) {
		t.Errorf("TokensOf() = %v, want %v", got, want)
	}
	if tokens, err := database.TokensOf(t.Context(), "ada", at.Add(time.Microsecond)); err != nil || len(tokens) > 0 {
		t.Errorf("TokensOf() since later = %v, %v; want none", tokens, err)
	}
}

func TestUnusedGrants(t *testing.T) {
	t.Parallel()
	_, pg := newTenant(t)
	exec(t, pg, `
		INSERT INTO usher.grants (subject_kind, subject_id, organization_id, resource_kind, pattern, access, reason, created_by) VALUES
		('user', 'ada', NULL, 'room', 'acme:1', 'full', 'carried by a token', 't'),
		('user', 'ada', NULL, 'room', 'acme:2', 'full', 'unused: carried by no token', 't'),
		('user', 'ada', NULL, 'room', 'acme:1', 'read', 'unused: outdone', 't'),
		('user', 'ada', NULL, 'store', 'acme', 'full', 'unused: another kind', 't'),
		('user', 'bob', NULL, 'room', 'acme:1', 'full', 'unused: another user', 't'),
		('user', 'ada', NULL, 'room', 'big:*', 'read', 'a token had one id of it', 't'),
		('everyone', '', NULL, 'room', '{organization}:*', 'read', 'carried, filled in', 't'),
		('everyone', '', NULL, 'room', 'lobby', 'read', 'carried by anybody', 't'),
		('everyone', '', 'acme', 'room', 'in-acme', 'read', 'carried in acme', 't'),
		('user', 'ada', 'acme', 'room', 'big:1', 'read', 'unused: carried elsewhere', 't'),
		('group', 'reviewers', NULL, 'room', 'review', 'full', 'carried by a member', 't')`)
	since := time.Now()
	exec(t, pg, `INSERT INTO usher.grants (subject_kind, subject_id, resource_kind, pattern, access, reason, created_by) VALUES
		('user', 'ada', 'room', 'young', 'full', 'younger than that', 't')`)
	exec(t, pg, `INSERT INTO usher.decisions (issued_at, recorded_at, token_kind, result, caller_kind, user_id, organization_id, audience, patterns, jti, kid, expires_at, request_id, replica, personal_digest, digest)
		SELECT now() + s, now() + s, 'access', 'issued', 'session', u, o, 'sync', p::jsonb, j, 'kid', now() + interval '5 minutes', 'R', 'replica', sha256(''), sha256('')
		  FROM (VALUES ('ada', NULL, '{"rooms": {"acme:1": "full", "acme:*": "read", "lobby": "read", "big:1": "read"}}', '1', interval '1 second'),
		               ('ada', 'acme', '{"rooms": {"in-acme": "read", "review": "full"}}', '2', '1 second'),
		               ('bob', NULL, '{"rooms": {"acme:2": "full"}}', '3', '1 second'),
		               ('ada', NULL, '{"rooms": {"acme:2": "full"}, "stores": {"acme": "full"}}', '4', '-1 hour')) t (u, o, p, j, s)`)
	unused, err := openURL(t, pg.AuditorURL).UnusedGrants(t.Context(), since)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, g := range unused {
		got = append(got, g.Reason)
	}
	want := []string{"unused: carried by no token", "unused: outdone", "unused: another kind", "unused: another user", "unused: carried elsewhere"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("UnusedGrants() (-want +got):\n%s", diff)
	}
}

func TestRiskyGrants(t *testing.T) {
	t.Parallel()
	_, pg := newTenant(t)
	// created_by of each grant is the reason that the audit must return.
	exec(t, pg, `
		INSERT INTO usher.grants (subject_kind, subject_id, resource_kind, pattern, access, valid_from, valid_until, created_by) VALUES
		('user', 'ada', 'room', '*', 'read', now(), NULL, 'everything'),
		('user', 'ada', 'room', 'acme*', 'read', now(), NULL, 'open_prefix'),
		('user', 'ada', 'store', 'acme-*', 'read', now(), NULL, 'open_prefix'),
		('user', 'ada', 'store', 'acme_*', 'read', now(), NULL, ''),
		('user', 'ada', 'room', 'acme:*', 'full', now(), NULL, ''),
		('everyone', '', 'room', 'lobby', 'full', now(), NULL, 'full_for_everyone'),
		('everyone', '', 'room', 'lobby', 'read', now(), NULL, ''),
		('everyone', '', 'room', 'home:{user}:*', 'full', now(), NULL, ''),
		('everyone', '', 'store', '{group}', 'read', now(), NULL, ''),
		('user', 'bob', 'store', '{group}', 'read', now(), NULL, 'matches_nothing'),
		('everyone', '', 'room', '{group}*', 'read', now(), NULL, 'matches_nothing open_prefix'),
		('everyone', '', 'room', '*', 'full', '2001-01-01', '2002-01-01', ''),
		('everyone', '', 'store', '*', 'full', '2100-01-01', NULL, 'everything full_for_everyone')`)
	exec(t, pg, `INSERT INTO usher.grants (subject_kind, subject_id, resource_kind, pattern, access, created_by, revoked_at, revoked_by)
		VALUES ('everyone', '', 'room', '*', 'full', '', now(), 't')`)
	exec(t, pg, `INSERT INTO usher.api_keys (id, name, secret_hash, routes, patterns, expires_at, revoked_at, revoked_by, created_by) VALUES
		('neverexpires', 'k', sha256('a'), '{auth}', '{"rooms": {"*": "full"}}', NULL, NULL, NULL, 'never_expires'),
		('someday00000', 'k', sha256('b'), '{auth}', '{}', '2100-01-01', NULL, NULL, ''),
		('revoked00000', 'k', sha256('c'), '{auth}', '{}', NULL, now(), 't', '')`)
	risky, err := openURL(t, pg.AuditorURL).RiskyGrants(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	got, want := map[string]string{}, map[string]string{}
	for _, r := range risky {
		name := r.Pattern + r.APIKeyID + r.ResourceKind + r.Access + r.SubjectID
		got[name] = strings.TrimSpace(got[name] + " " + r.Reason)
		want[name] = r.CreatedBy
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("RiskyGrants() (-want +got):\n%s", diff)
	}
	if len(risky) != 10 {
		t.Errorf("%d risks, want 10: %v", len(risky), risky)
	}
}

// With an application's directory, questions about now read the application's tables.
// For the past, there are only the issued tokens.
func TestAuditOfAnotherDirectory(t *testing.T) {
	t.Parallel()
	database, pg := newTenant(t)
	addGrant(t, database, room(everyone, "{organization}:*"))
	addGrant(t, database, room(ada, "acme:1"))
	addGrant(t, database, room(everyone, "lobby"))
	// The columns have another collation than usher's ids.
	exec(t, pg, `
		CREATE SCHEMA app;
		CREATE TABLE app.users (id text PRIMARY KEY, banned boolean NOT NULL);
		CREATE TABLE app.members (user_id text, organization_id text, PRIMARY KEY (user_id, organization_id));
		INSERT INTO app.users VALUES ('ada', true), ('zoe', false), ('dan', false);
		INSERT INTO app.members VALUES ('ada', 'acme'), ('zoe', 'acme');
		DROP VIEW usher.directory_users, usher.directory_members;
		CREATE VIEW usher.directory_users AS SELECT id, '{}'::jsonb AS info, banned AS disabled FROM app.users;
		CREATE VIEW usher.directory_members AS SELECT user_id, 'organization' AS kind, organization_id AS id, organization_id FROM app.members;
		CREATE OR REPLACE FUNCTION usher.directory_user(id text) RETURNS TABLE (info jsonb, disabled boolean) LANGUAGE sql STABLE ROWS 1 AS
			'SELECT NULL::jsonb, u.banned FROM app.users u WHERE u.id = directory_user.id';
		CREATE OR REPLACE FUNCTION usher.directory_memberships(user_id text) RETURNS TABLE (kind text, id text, organization_id text) LANGUAGE sql STABLE ROWS 10 AS
			$$SELECT 'organization', m.organization_id, m.organization_id FROM app.members m WHERE m.user_id = directory_memberships.user_id$$;
		UPDATE usher.deployment SET directory = 'better-auth';`)
	auditor := openURL(t, pg.AuditorURL)
	ctx := t.Context()

	who, err := auditor.WhoCan(ctx, permissions.Room("acme:1"), permissions.Read, admin.Page[audit.Opening]{})
	want := []audit.Opening{{PrincipalKind: "user", PrincipalID: "zoe", Access: "full", GrantID: 1, ThroughKind: "everyone", Pattern: "{organization}:*"}}
	if diff := cmp.Diff(want, who); err != nil || diff != "" {
		t.Errorf("WhoCan(): %v (-want +got):\n%s", err, diff)
	}
	what, err := auditor.WhatCan(ctx, "zoe", admin.Page[audit.Reach]{})
	reach := audit.Reach{ResourceKind: "room", Access: "full", ThroughKind: "everyone"}
	template, lobby := reach, reach
	template.GrantID, template.Pattern, template.Granted = 1, "acme:*", "{organization}:*"
	lobby.GrantID, lobby.Pattern, lobby.Granted = 3, "lobby", "lobby"
	if diff := cmp.Diff([]audit.Reach{template, lobby}, what); err != nil || diff != "" {
		t.Errorf("WhatCan(): %v (-want +got):\n%s", err, diff)
	}
	why, err := auditor.Why(ctx, "ada", permissions.Room("acme:1"))
	if err != nil || why.Access != "none" || why.Why != "User ada is disabled." {
		t.Errorf("Why() = %+v, %v", why, err)
	}
	if _, err := auditor.Holders(ctx, permissions.Room("acme:1"), time.Now(), admin.Page[admin.HolderPlace]{}); err != nil {
		t.Errorf("Holders(): %v", err)
	}
	_, err = auditor.WhoCould(ctx, permissions.Room("acme:1"), time.Now().Add(-time.Minute), permissions.Read, admin.Page[audit.Opening]{})
	wantError(t, err, admin.ErrNoHistory, "better-auth, which keeps no history of users and members. Use audit.holders")
	_, err = auditor.MembershipHistory(ctx, ada)
	wantError(t, err, admin.ErrNoHistory, "audit.holders")
	rows, err := connect(t, pg.AuditorURL).Query(ctx, "SELECT principal_id FROM audit.access WHERE principal_kind = 'user' ORDER BY 1")
	if err != nil {
		t.Fatal(err)
	}
	if users, err := pgx.CollectRows(rows, pgx.RowTo[string]); err != nil || !slices.Equal(users, []string{"zoe"}) {
		t.Errorf("audit.access lists %v, %v; want zoe", users, err)
	}
}

func TestMembershipHistory(t *testing.T) {
	t.Parallel()
	database, pg := newTenant(t)
	if _, err := database.RemoveMember(t.Context(), acme, "ada", "cli:leaver"); err != nil {
		t.Fatal(err)
	}
	auditor := openURL(t, pg.AuditorURL)
	for _, c := range []struct {
		of   admin.Subject
		want []audit.Membership
	}{
		{ada, []audit.Membership{
			{UserID: "ada", MemberOfKind: "organization", MemberOfID: "acme", AddedBy: actor, EndedBy: "cli:leaver"},
			{UserID: "ada", MemberOfKind: "group", MemberOfID: "reviewers", AddedBy: actor, EndedBy: "cli:leaver"},
		}},
		{acme, []audit.Membership{
			{UserID: "ada", MemberOfKind: "organization", MemberOfID: "acme", AddedBy: actor, EndedBy: "cli:leaver"},
			{UserID: "bob", MemberOfKind: "organization", MemberOfID: "acme", AddedBy: actor},
		}},
		{admin.Subject{Kind: admin.UserKind, ID: "nobody"}, nil},
	} {
		got, err := auditor.MembershipHistory(t.Context(), c.of)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(c.want, got, cmpopts.IgnoreFields(audit.Membership{}, "Since", "Until"), cmpopts.EquateEmpty()); diff != "" {
			t.Errorf("MembershipHistory(%s) (-want +got):\n%s", c.of, diff)
		}
		for _, m := range got {
			if (m.Until == nil) != (m.EndedBy == "") || m.Until != nil && !m.Until.After(m.Since) {
				t.Errorf("membership %+v has a wrong end", m)
			}
		}
	}
}

// A grant or membership counts exactly from the time of its change, and has ended
// exactly at the time of its end.
func TestWhoCouldAtTheExactTime(t *testing.T) {
	t.Parallel()
	database, pg := newTenant(t)
	ctx := t.Context()
	grant := room(ada, "acme:1")
	grant.Organization = "acme"
	var added admin.Grant
	for _, c := range []struct {
		name   string
		change func() error
		when   string
		can    bool
	}{
		{"grant", func() (err error) { added, _, err = database.AddGrant(ctx, grant, actor); return err }, "SELECT max(created_at) FROM usher.grants", true},
		{"disable", func() error { _, err := database.SetUserDisabled(ctx, "ada", true, actor); return err }, "SELECT max(since) FROM usher.user_states", false},
		{"enable", func() error { _, err := database.SetUserDisabled(ctx, "ada", false, actor); return err }, "SELECT max(since) FROM usher.user_states", true},
		{"leave", func() error { _, err := database.RemoveMember(ctx, acme, "ada", actor); return err }, "SELECT max(ended_at) FROM usher.memberships", false},
		{"join", func() error { _, err := database.AddMember(ctx, acme, "ada", actor); return err }, "SELECT max(created_at) FROM usher.memberships", true},
		{"revoke", func() error { _, err := database.RevokeGrant(ctx, added.ID, "", actor); return err }, "SELECT max(revoked_at) FROM usher.grants", false},
	} {
		if err := c.change(); err != nil {
			t.Fatalf("%s: %v", c.name, err)
		}
		var at time.Time
		if err := pg.Pool.QueryRow(ctx, c.when).Scan(&at); err != nil {
			t.Fatal(err)
		}
		for when, want := range map[time.Time]bool{at: c.can, at.Add(-time.Microsecond): !c.can} {
			openings, err := database.WhoCould(ctx, permissions.Room("acme:1"), when, permissions.Full, admin.Page[audit.Opening]{})
			if err != nil {
				t.Fatal(err)
			}
			if got := len(openings) == 1; got != want {
				t.Errorf("%s at %s: WhoCould() at %s = %v, want %t", c.name, at, when, openings, want)
			}
		}
	}
}
