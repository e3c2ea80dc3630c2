package db_test

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/usher-auth/usher/db"
	"github.com/usher-auth/usher/db/dbtest"
	"github.com/usher-auth/usher/db/pglocal"
	"github.com/usher-auth/usher/internal/principal"
	"github.com/usher-auth/usher/internal/secret"
	"github.com/usher-auth/usher/permissions"
	"github.com/usher-auth/usher/session"
)

// open returns the database as usher serve sees it.
func open(t testing.TB, pg *dbtest.DB) *db.DB {
	t.Helper()
	d, err := db.Open(secret.New(pg.ServiceURL))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(d.Close)
	return d
}

// exec runs SQL as the owner.
func exec(t testing.TB, pg *dbtest.DB, sql string, args ...any) {
	t.Helper()
	if _, err := pg.Pool.Exec(context.WithoutCancel(t.Context()), sql, args...); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
}

// addSession signs a user in, with an active organization or without.
func addSession(t testing.TB, pg *dbtest.DB, token, user, organization string, ttl time.Duration) {
	t.Helper()
	hash := sha256.Sum256([]byte(token))
	exec(t, pg, `INSERT INTO usher.sessions (token_hash, user_id, organization_id, created_at, expires_at)
		VALUES ($1, $2, nullif($3, ''), now() - interval '1 day', now() + $4)`, hash[:], user, organization, ttl)
}

// tenants adds ada, who is in acme and globex and in a group of each, and a grant to
// every kind of subject, confined to organizations and not.
const tenants = `
	INSERT INTO usher.users (id, info, created_by) VALUES ('ada', '{"name": "Ada"}', 't'), ('bob', NULL, 't');
	INSERT INTO usher.organizations (id, created_by) VALUES ('acme', 't'), ('globex', 't');
	INSERT INTO usher.groups (id, organization_id, created_by) VALUES ('acme-red', 'acme', 't'), ('globex-red', 'globex', 't'), ('all-red', NULL, 't');
	INSERT INTO usher.memberships (user_id, member_of_kind, member_of_id, created_by) VALUES
		('ada', 'organization', 'acme', 't'), ('ada', 'organization', 'globex', 't'),
		('ada', 'group', 'acme-red', 't'), ('ada', 'group', 'globex-red', 't'), ('ada', 'group', 'all-red', 't');
	INSERT INTO usher.grants (subject_kind, subject_id, organization_id, resource_kind, pattern, access, created_by) VALUES
		('user', 'ada', NULL, 'room', 'own', 'full', 't'),
		('user', 'ada', 'acme', 'room', 'own-in-acme', 'full', 't'),
		('user', 'bob', NULL, 'room', 'of-bob', 'full', 't'),
		('everyone', '', NULL, 'room', 'every', 'read', 't'),
		('everyone', '', 'globex', 'room', 'every-in-globex', 'read', 't'),
		('organization', 'acme', NULL, 'room', 'of-acme', 'read', 't'),
		('organization', 'globex', NULL, 'room', 'of-globex', 'read', 't'),
		('group', 'acme-red', NULL, 'room', 'of-acme-red', 'read', 't'),
		('group', 'globex-red', NULL, 'store', 'of_globex_red', 'read', 't'),
		('group', 'all-red', NULL, 'room', 'of-all-red', 'read', 't');
	INSERT INTO usher.grants (subject_kind, subject_id, resource_kind, pattern, access, created_by, valid_from, valid_until) VALUES
		('user', 'ada', 'room', 'not-yet', 'full', 't', now() + interval '1 hour', NULL),
		('user', 'ada', 'room', 'over', 'full', 't', now() - interval '2 hours', now() - interval '1 hour');
	INSERT INTO usher.grants (subject_kind, subject_id, resource_kind, pattern, access, created_by, revoked_at, revoked_by) VALUES
		('user', 'ada', 'room', 'revoked', 'full', 't', now(), 't')`

// A user that an identity provider vouches for gets the same as a session of that user
// and organization.
func TestPrincipalByUser(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	pg := dbtest.New(t)
	exec(t, pg, tenants)
	directory, err := open(t, pg).Directory(ctx)
	if err != nil {
		t.Fatal(err)
	}
	for _, organization := range []string{"", "acme", "globex", "initech"} {
		addSession(t, pg, "in-"+organization, "ada", organization, time.Hour)
		want, err := directory.PrincipalBySession(ctx, secret.New("in-"+organization))
		if err != nil {
			t.Fatal(err)
		}
		got, err := directory.PrincipalByUser(ctx, "ada", organization)
		if err != nil {
			t.Fatal(err)
		}
		want.At, want.User.Until, want.User.Session = got.At, got.User.Until, got.User.Session
		if diff := cmp.Diff(want, got, cmpopts.EquateEmpty(), cmpopts.EquateComparable(permissions.Template{})); diff != "" {
			t.Errorf("in %q (-session +user):\n%s", organization, diff)
		}
	}
	nobody, err := directory.PrincipalByUser(ctx, "nobody", "acme")
	if err != nil || nobody.Known {
		t.Errorf("nobody: known %t, %v; want one that the directory does not list", nobody.Known, err)
	}
}

func TestPrincipalBySession(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	pg := dbtest.New(t)
	exec(t, pg, tenants)
	started := time.Now()
	for token, organization := range map[string]string{"free": "", "in-acme": "acme", "in-globex": "globex", "gone": "initech"} {
		addSession(t, pg, token, "ada", organization, time.Hour)
	}
	directory, err := open(t, pg).Directory(ctx)
	if err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		token         string
		organization  string
		organizations []string
		groups        []string
		patterns      string
	}{
		"without an organization all memberships count, and confined grants do not": {
			"free", "",
			[]string{"acme", "globex"},
			[]string{"acme-red", "all-red", "globex-red"},
			"every of-acme of-acme-red of-all-red of-globex of_globex_red own",
		},
		"in an organization only that one counts": {
			"in-acme", "acme",
			[]string{"acme"},
			[]string{"acme-red"},
			"every of-acme of-acme-red own own-in-acme",
		},
		"in another organization nothing of the first counts": {
			"in-globex", "globex",
			[]string{"globex"},
			[]string{"globex-red"},
			"every every-in-globex of-globex of_globex_red own",
		},
		"if the membership in it has ended, no organization and no group counts": {
			"gone", "", nil, nil,
			"every own",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p, err := directory.PrincipalBySession(ctx, secret.New(test.token))
			if err != nil {
				t.Fatal(err)
			}
			if err := p.Err(); err != nil {
				t.Errorf("Err() = %v", err)
			}
			if p.User.ID != "ada" || string(p.User.Info) != `{"name": "Ada"}` || p.User.Organization != test.organization {
				t.Errorf("user = %+v, want ada with her info in %q", p.User, test.organization)
			}
			if p.User.Until.Before(started.Add(time.Hour-time.Second)) || time.Until(p.User.Until) > time.Hour {
				t.Errorf("session ends at %s, want an hour after about %s", p.User.Until, started)
			}
			slices.Sort(p.MemberOf.Organizations)
			slices.Sort(p.MemberOf.Groups)
			if diff := cmp.Diff(test.organizations, p.MemberOf.Organizations, cmpEmpty); diff != "" {
				t.Errorf("organizations (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(test.groups, p.MemberOf.Groups, cmpEmpty); diff != "" {
				t.Errorf("groups (-want +got):\n%s", diff)
			}
			var patterns []string
			for _, g := range p.Grants {
				patterns = append(patterns, g.Template.String())
			}
			slices.Sort(patterns)
			if got := strings.Join(patterns, " "); got != test.patterns {
				t.Errorf("grants = %s\nwant     %s", got, test.patterns)
			}
		})
	}
}

var cmpEmpty = cmp.Transformer("empty", func(s []string) []string { return append([]string{}, s...) })

func TestPrincipalBySessionRefuses(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	pg := dbtest.New(t)
	exec(t, pg, tenants)
	exec(t, pg, `INSERT INTO usher.users (id, disabled_at, created_by) VALUES ('eve', now(), 't'), ('zoe', NULL, 't')`)
	addSession(t, pg, "expired", "ada", "", -time.Second)
	addSession(t, pg, "disabled", "eve", "", time.Hour)
	addSession(t, pg, "deleted", "zoe", "", time.Hour)
	exec(t, pg, `DELETE FROM usher.users WHERE id = 'zoe'`)
	directory, err := open(t, pg).Directory(ctx)
	if err != nil {
		t.Fatal(err)
	}
	for token, want := range map[string]error{
		"expired":                 session.ErrSessionExpired,
		"disabled":                principal.ErrUserDisabled,
		"deleted":                 principal.ErrSessionUnknown,
		"never issued":            principal.ErrSessionUnknown,
		"":                        principal.ErrSessionUnknown,
		"' OR true --":            principal.ErrSessionUnknown,
		strings.Repeat("x", 9999): principal.ErrSessionUnknown,
	} {
		p, err := directory.PrincipalBySession(ctx, secret.New(token))
		if err == nil {
			err = p.Err()
		}
		if !errors.Is(err, want) {
			t.Errorf("token %.20q: error = %v, want %v", token, err, want)
		}
	}
}

// A grant that was revoked before the call is not in the answer.
func TestRevokedGrantIsGoneAtTheNextLookUp(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	pg := dbtest.New(t)
	exec(t, pg, tenants)
	addSession(t, pg, "free", "ada", "", time.Hour)
	directory, err := open(t, pg).Directory(ctx)
	if err != nil {
		t.Fatal(err)
	}
	has := func() bool {
		p, err := directory.PrincipalBySession(ctx, secret.New("free"))
		if err != nil {
			t.Fatal(err)
		}
		return slices.ContainsFunc(p.Grants, func(g principal.Grant) bool { return g.Template.String() == "own" })
	}
	if !has() {
		t.Fatal("the grant is not there")
	}
	exec(t, pg, `UPDATE usher.grants SET revoked_at = now(), revoked_by = 't' WHERE pattern = 'own'`)
	if has() {
		t.Error("a revoked grant is still in the answer")
	}
}

// The rows of a cancelled query must never go to the next query on its connection
// (like CVE-2025-47907).
func TestLookUpsNeverMix(t *testing.T) {
	t.Parallel()
	pg := dbtest.New(t)
	const users = 40
	for i := range users {
		id := "user-" + string(rune('A'+i))
		exec(t, pg, `INSERT INTO usher.users (id, created_by) VALUES ($1, 't')`, id)
		addSession(t, pg, "token of "+id, id, "", time.Hour)
	}
	directory, err := open(t, pg).Directory(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan int)
	for i := range users {
		go func() {
			id := "user-" + string(rune('A'+i))
			answered := 0
			for n := range 50 {
				patience := time.Duration(n%10) * time.Millisecond
				if patience == 0 {
					patience = time.Minute // some must be answered on any machine
				}
				ctx, cancel := context.WithTimeout(t.Context(), patience)
				p, err := directory.PrincipalBySession(ctx, secret.New("token of "+id))
				cancel()
				switch {
				case err == nil && p.User.ID != id:
					t.Errorf("%s was given the principal of %s", id, p.User.ID)
				case err == nil:
					answered++
				case !errors.Is(err, principal.ErrUnavailable):
					t.Errorf("%s: %v", id, err)
				}
			}
			done <- answered
		}()
	}
	total := 0
	for range users {
		total += <-done
	}
	if total == 0 {
		t.Error("every look-up was cancelled: nothing was tested")
	}
}

// A token that an application's directory cannot handle, for example because of a cast,
// does not fail the other look-ups in its statement.
func TestMalformedTokenFailsAlone(t *testing.T) {
	t.Parallel()
	pg := dbtest.New(t)
	exec(t, pg, tenants)
	exec(t, pg, "UPDATE usher.deployment SET directory = 'another'")
	exec(t, pg, `CREATE OR REPLACE FUNCTION usher.directory_session(token text)
		RETURNS TABLE (user_id text, organization_id text, expires_at timestamptz)
		LANGUAGE plpgsql STABLE ROWS 1 AS $$
		BEGIN
			RETURN QUERY SELECT 'ada', NULL, now() + make_interval(secs => token::integer);
		END $$`)
	directory, err := open(t, pg).Directory(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	const callers, odd = 200, 17 // every odd-th
	done := make(chan error)
	for i := range callers {
		go func() {
			token := "3600"
			if i%odd == 0 {
				token = "no number"
			}
			p, err := directory.PrincipalBySession(t.Context(), secret.New(token))
			switch {
			case i%odd == 0 && !errors.Is(err, principal.ErrUnavailable):
				done <- fmt.Errorf("odd token: error = %w, want %w", err, principal.ErrUnavailable)
			case i%odd != 0 && (err != nil || p.User.ID != "ada"):
				done <- fmt.Errorf("a good token beside it: %w", err)
			default:
				done <- nil
			}
		}()
	}
	for range callers {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}

// If a directory raises an error for a user, or lists one twice, only that look-up
// fails. A lock delays the first batches, so that the next ones are large.
func TestFailingUserFailsAlone(t *testing.T) {
	t.Parallel()
	const memberships = `CREATE OR REPLACE FUNCTION usher.directory_memberships(user_id text) RETURNS TABLE (kind text, id text, organization_id text)
		LANGUAGE plpgsql STABLE ROWS 10 AS $f$ BEGIN IF user_id = 'bad' THEN %s END IF;
		RETURN QUERY VALUES ('organization', 'acme', 'acme'), ('organization', 'acme', 'acme'), ('group', 'writers', 'acme'), ('group', 'writers', 'acme'); END $f$`
	for name, raise := range map[string]string{
		"P0001": "RAISE EXCEPTION 'no';",
		"21000": "PERFORM (SELECT n FROM generate_series(1, 2) n);",
		"22012": "PERFORM 1 / 0;",
		"54001": "RAISE statement_too_complex;",
		"42P01": "PERFORM FROM public.nothing;",
		"XX000": "RAISE internal_error;",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ctx := t.Context()
			pg := dbtest.New(t)
			exec(t, pg, fmt.Sprintf(memberships, raise))
			directory, err := open(t, pg).Directory(ctx)
			if err != nil {
				t.Fatal(err)
			}
			lock, err := pg.Pool.Begin(ctx)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := lock.Exec(ctx, "LOCK TABLE usher.grants IN ACCESS EXCLUSIVE MODE"); err != nil {
				t.Fatal(err)
			}
			var all sync.WaitGroup
			for i := range 24 {
				user := "good"
				if i%8 == 5 {
					user = "bad"
				}
				all.Go(func() {
					p, err := directory.PrincipalByUser(ctx, user, "acme")
					if user == "bad" {
						if !errors.Is(err, principal.ErrUnavailable) {
							t.Errorf("bad: %v, want %v", err, principal.ErrUnavailable)
						}
						return
					}
					if err != nil {
						t.Errorf("good: %v", err)
					} else if p.User.Organization != "acme" || !slices.Equal(p.MemberOf.Organizations, []string{"acme"}) || !slices.Equal(p.MemberOf.Groups, []string{"writers"}) {
						t.Errorf("good: organization %q, member of %+v", p.User.Organization, p.MemberOf)
					}
				})
			}
			if err := lock.Rollback(ctx); err != nil {
				t.Fatal(err)
			}
			all.Wait()
		})
	}
}

// With two rows for one session, the caller is ambiguous.
func TestLookUpOfAnAmbiguousSession(t *testing.T) {
	t.Parallel()
	pg := dbtest.New(t)
	exec(t, pg, "UPDATE usher.deployment SET directory = 'another'")
	exec(t, pg, `CREATE OR REPLACE FUNCTION usher.directory_session(token text) RETURNS TABLE (user_id text, organization_id text, expires_at timestamptz)
		LANGUAGE sql STABLE ROWS 1 AS $$ VALUES ('ada', NULL, now() + interval '1 day'), ('bob', NULL, now() + interval '1 day') $$`)
	directory, err := open(t, pg).Directory(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if p, err := directory.PrincipalBySession(t.Context(), secret.New("token")); !errors.Is(err, principal.ErrUnavailable) {
		t.Errorf("PrincipalBySession() = %+v, %v; want %v", p, err, principal.ErrUnavailable)
	}
}

// Ready means that a look-up works, including all three functions of the directory.
func TestReady(t *testing.T) {
	t.Parallel()
	for function, sql := range map[string]string{
		"directory_session(text)":     "CREATE OR REPLACE FUNCTION usher.directory_session(token text) RETURNS TABLE (user_id text, organization_id text, expires_at timestamptz) LANGUAGE plpgsql STABLE ROWS 1 AS $$ BEGIN RAISE 'broken'; END $$",
		"directory_user(text)":        "CREATE OR REPLACE FUNCTION usher.directory_user(id text) RETURNS TABLE (info jsonb, disabled boolean) LANGUAGE plpgsql STABLE ROWS 1 AS $$ BEGIN RAISE 'broken'; END $$",
		"directory_memberships(text)": "CREATE OR REPLACE FUNCTION usher.directory_memberships(user_id text) RETURNS TABLE (kind text, id text, organization_id text) LANGUAGE plpgsql STABLE ROWS 1 AS $$ BEGIN RAISE 'broken'; END $$",
		"its privilege":               "REVOKE SELECT ON usher.grants FROM usher_service_test",
	} {
		pg := dbtest.New(t)
		directory, err := open(t, pg).Directory(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if err := directory.Ready(t.Context()); err != nil {
			t.Errorf("Ready() = %v", err)
		}
		exec(t, pg, sql)
		if err := directory.Ready(t.Context()); !errors.Is(err, principal.ErrUnavailable) {
			t.Errorf("%s: Ready() = %v, want %v", function, err, principal.ErrUnavailable)
		}
	}
}

// An error includes Postgres' detail and hint.
func TestErrorsHaveDetailAndHint(t *testing.T) {
	t.Parallel()
	pg := dbtest.New(t)
	exec(t, pg, `CREATE OR REPLACE FUNCTION usher.directory_user(id text) RETURNS TABLE (info jsonb, disabled boolean)
		LANGUAGE plpgsql STABLE ROWS 1 AS $$ BEGIN RAISE 'broken' USING DETAIL = 'the table is gone', HINT = 'make it again'; END $$`)
	directory, err := open(t, pg).Directory(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := directory.Ready(t.Context()); err == nil || !strings.Contains(err.Error(), "DETAIL: the table is gone; HINT: make it again") {
		t.Errorf("Ready() = %v, want the detail and the hint", err)
	}
}

// A look-up returns the end of each grant, so that a token expires with its grants, and
// no token gives the access afterwards.
func TestTokensEndWithTheirGrants(t *testing.T) {
	t.Parallel()
	pg := dbtest.New(t)
	exec(t, pg, `INSERT INTO usher.users (id, created_by) VALUES ('ada', 't');
		INSERT INTO usher.grants (subject_kind, subject_id, resource_kind, pattern, access, created_by, valid_until) VALUES
			('user', 'ada', 'room', 'a', 'full', 't', now() + interval '20 seconds'),
			('everyone', '', 'room', 'b', 'read', 't', NULL)`)
	var end time.Time
	if err := pg.Pool.QueryRow(t.Context(), "SELECT valid_until FROM usher.grants WHERE pattern = 'a'").Scan(&end); err != nil {
		t.Fatal(err)
	}
	directory, err := open(t, pg).Directory(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	p, err := directory.PrincipalByUser(t.Context(), "ada", "")
	if err != nil {
		t.Fatal(err)
	}
	ends := map[string]bool{}
	for _, g := range p.Grants {
		ends[g.Template.String()] = g.Until.Equal(end)
	}
	if !ends["a"] || ends["b"] || len(ends) != 2 {
		t.Errorf("grants that end at %s: %v, want only a", end, ends)
	}
	key, err := session.GenerateKey(session.EdDSA, session.KeyTimes{})
	if err != nil {
		t.Fatal(err)
	}
	issuer, err := session.NewIssuer(session.IssuerConfig{Issuer: "https://auth.example.com", Keys: session.NewKeyring(key)})
	if err != nil {
		t.Fatal(err)
	}
	s, _ := p.Prepare(issuer, session.Request{Room: "a"})
	token, err := s.Authorize()
	if err != nil || !token.ExpiresAt.Equal(end.Truncate(time.Second)) {
		t.Errorf("the token expires at %s, %v; want %s", token.ExpiresAt, err, end.Truncate(time.Second))
	}
}

// Right after an import, without statistics, the look-up finds the grants of each
// subject by index: it does not compare all grants with all subjects.
func TestLookUpWithoutStatistics(t *testing.T) {
	t.Parallel()
	const n = 3_000
	pg := dbtest.New(t)
	exec(t, pg, fmt.Sprintf(`
		ALTER TABLE usher.grants SET (autovacuum_enabled = false);
		ALTER TABLE usher.memberships SET (autovacuum_enabled = false);
		ALTER TABLE usher.groups SET (autovacuum_enabled = false);
		INSERT INTO usher.users (id, created_by) VALUES ('ada', 't');
		INSERT INTO usher.groups (id, created_by) SELECT 'g' || i, 't' FROM generate_series(1, %[1]d) i;
		INSERT INTO usher.memberships (user_id, member_of_kind, member_of_id, created_by) SELECT 'ada', 'group', 'g' || i, 't' FROM generate_series(1, %[1]d) i;
		INSERT INTO usher.grants (subject_kind, subject_id, resource_kind, pattern, access, created_by)
			SELECT 'group', 'g' || i, 'room', 'room:' || i, 'read', 't' FROM generate_series(1, %[1]d) i`, n))
	sql, err := os.ReadFile("queries/look_up.sql")
	if err != nil {
		t.Fatal(err)
	}
	conn := connect(t, pg.ServiceURL)
	for _, set := range []string{"SET search_path = pg_catalog, pg_temp", "SET plan_cache_mode = force_generic_plan", "PREPARE look_up AS " + string(sql)} {
		if _, err := conn.Exec(t.Context(), set); err != nil {
			t.Fatal(err)
		}
	}
	var text string
	if err := conn.QueryRow(t.Context(), "EXPLAIN (ANALYZE, FORMAT JSON, TIMING OFF) EXECUTE look_up(ARRAY[NULL], ARRAY['ada'], ARRAY[NULL])").Scan(&text); err != nil {
		t.Fatal(err)
	}
	type node struct {
		Type    string  `json:"Node Type"`
		Rows    float64 `json:"Actual Rows"`
		Loops   float64 `json:"Actual Loops"`
		Removed float64 `json:"Rows Removed by Join Filter"`
		Plans   []json.RawMessage
	}
	var most float64
	var walk func(json.RawMessage)
	walk = func(raw json.RawMessage) {
		var p node
		if err := json.Unmarshal(raw, &p); err != nil {
			t.Fatal(err)
		}
		most = max(most, (p.Rows+p.Removed)*p.Loops)
		for _, inner := range p.Plans {
			walk(inner)
		}
	}
	var plans []struct{ Plan json.RawMessage }
	if err := json.Unmarshal([]byte(text), &plans); err != nil {
		t.Fatal(err)
	}
	walk(plans[0].Plan)
	if most < n || most > 5*n {
		t.Errorf("one step of the plan handles %v rows, want from %d to %d:\n%s", most, n, 5*n, text)
	}
}

// A plan that Postgres made while the tables were tiny, and keeps after an import, reads
// no whole table for each group.
func TestLookUpWithPlansOfTinyTables(t *testing.T) {
	t.Parallel()
	const few, n = 3, 3_000
	pg := dbtest.New(t)
	add := func(from, to int) {
		exec(t, pg, fmt.Sprintf(`
			INSERT INTO usher.memberships (user_id, member_of_kind, member_of_id, created_by) SELECT 'ada', 'group', 'g' || i, 't' FROM generate_series(%[1]d, %[2]d) i;
			INSERT INTO usher.grants (subject_kind, subject_id, resource_kind, pattern, access, created_by)
				SELECT 'group', 'g' || i, 'room', 'room:' || i, 'read', 't' FROM generate_series(%[1]d, %[2]d) i`, from, to))
	}
	exec(t, pg, fmt.Sprintf(`
		ALTER TABLE usher.grants SET (autovacuum_enabled = false);
		ALTER TABLE usher.memberships SET (autovacuum_enabled = false);
		INSERT INTO usher.users (id, created_by) VALUES ('ada', 't');
		INSERT INTO usher.groups (id, created_by) SELECT 'g' || i, 't' FROM generate_series(1, %d) i`, n))
	add(1, few)
	exec(t, pg, "ANALYZE usher.grants, usher.memberships")
	address, err := url.Parse(pg.ServiceURL)
	if err != nil {
		t.Fatal(err)
	}
	query := address.Query()
	query.Set("pool_max_conns", "1")
	address.RawQuery = query.Encode()
	database, err := db.OpenServing(secret.New(address.String()))
	if err != nil {
		t.Fatal(err)
	}
	defer database.Close()
	directory, err := database.Directory(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	lookUp := func(want int) {
		t.Helper()
		p, err := directory.PrincipalByUser(t.Context(), "ada", "")
		if err != nil || len(p.Grants) != want {
			t.Fatalf("PrincipalByUser() = %+v, %v; want %d grants", p, err, want)
		}
	}
	for range 10 { // the sixth makes the plan that is kept
		lookUp(few)
	}
	add(few+1, n)
	counted := func() (read, found int64) {
		t.Helper()
		const sql = "SELECT seq_tup_read, coalesce(idx_tup_fetch, 0) FROM pg_stat_user_tables WHERE relid = 'usher.grants'::regclass"
		if err := pg.Pool.QueryRow(t.Context(), sql).Scan(&read, &found); err != nil {
			t.Fatal(err)
		}
		return read, found
	}
	readBefore, foundBefore := counted()
	lookUp(n)
	database.Close() // a connection reports what it has counted when it ends
	read, found := counted()
	for read+found < readBefore+foundBefore+n {
		read, found = counted()
	}
	if read -= readBefore; read > 5*n {
		t.Errorf("the look-up read %d rows of whole tables", read)
	}
}

// Postgres' log never has the tokens of usher's own sessions. When another directory
// is put to use, a running usher sends what that one needs. Doctor finds a log that
// would have them.
func TestSessionTokensAreNotLogged(t *testing.T) {
	t.Parallel()
	dir := dbtest.Dir(t)
	server, err := pglocal.Start(t.Context(), pglocal.Config{Dir: dir, Settings: map[string]string{
		"fsync": "off", "log_statement": "all", "log_parameter_max_length": "-1", "log_parameter_max_length_on_error": "-1",
	}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := server.Stop(); err != nil {
			t.Error(err)
		}
	})
	if err := db.EnsureDatabase(t.Context(), secret.New(server.URL("postgres")), "usher"); err != nil {
		t.Fatal(err)
	}
	if _, err := db.Migrate(t.Context(), secret.New(server.URL("usher")), db.MigrateConfig{Mode: db.Production}); err != nil {
		t.Fatal(err)
	}
	database := openURL(t, server.URL("usher"))
	if _, err := database.AddUser(t.Context(), "ada-of-the-log", nil, "t"); err != nil {
		t.Fatal(err)
	}
	token, _, err := database.AddSession(t.Context(), "ada-of-the-log", "", time.Hour, "t")
	if err != nil {
		t.Fatal(err)
	}
	directory, err := database.Directory(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if p, err := directory.PrincipalBySession(t.Context(), token); err != nil || p.User.ID != "ada-of-the-log" {
		t.Fatalf("PrincipalBySession() = %+v, %v", p, err)
	}
	const unknown = "a-token-that-nobody-has"
	if _, err := directory.PrincipalBySession(t.Context(), secret.New(unknown)); !errors.Is(err, principal.ErrSessionUnknown) {
		t.Fatalf("PrincipalBySession() = %v", err)
	}
	log, err := os.ReadFile(filepath.Join(dir, "postgres.log"))
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(log), "ada-of-the-log") || !strings.Contains(string(log), "usher.directory_session(asked.token)") {
		t.Fatal("the log has no statements with their parameters")
	}
	for _, s := range []string{token.Reveal(), unknown} {
		if strings.Contains(string(log), s) {
			t.Errorf("the log has the session token %s", s)
		}
	}

	for settings, want := range map[string]bool{
		"log_statement=all": true, "log_statement=all log_parameter_max_length=100": true, "log_statement=all log_parameter_max_length=0": false,
		"log_statement=ddl": false, "log_statement=ddl log_min_duration_statement=0": true, "log_statement=ddl log_min_duration_statement=250": true,
		"log_statement=ddl log_min_duration_statement=1s": false, "log_statement=ddl log_min_duration_sample=10": true,
		"log_statement=none log_parameter_max_length_on_error=50": true,
	} {
		if !strings.Contains(settings, "on_error") {
			settings += " log_parameter_max_length_on_error=0"
		}
		at, err := url.Parse(server.URL("usher"))
		if err != nil {
			t.Fatal(err)
		}
		query := at.Query()
		query.Set("options", "-c "+strings.ReplaceAll(settings, " ", " -c "))
		at.RawQuery = strings.ReplaceAll(query.Encode(), "+", "%20") // which pgx reads
		health, err := openURL(t, at.String()).Health(t.Context())
		if err != nil || health.LogsParameters != want {
			t.Errorf("with %s, LogsParameters is %t, %v; want %t", settings, health.LogsParameters, err, want)
		}
	}

	conn := connect(t, server.URL("usher"))
	for _, sql := range []string{
		"UPDATE usher.deployment SET directory = 'another'",
		`CREATE OR REPLACE FUNCTION usher.directory_session(token text) RETURNS TABLE (user_id text, organization_id text, expires_at timestamptz)
			LANGUAGE sql STABLE ROWS 1 AS $$ SELECT 'ada-of-the-log', NULL, now() + interval '1 day' WHERE token = 'of-the-application' $$`,
	} {
		if _, err := conn.Exec(t.Context(), sql); err != nil {
			t.Fatal(err)
		}
	}
	if p, err := directory.PrincipalBySession(t.Context(), secret.New("of-the-application")); err != nil || p.User.ID != "ada-of-the-log" {
		t.Errorf("in another directory: PrincipalBySession() = %+v, %v", p, err)
	}
	if _, err := directory.PrincipalBySession(t.Context(), token); !errors.Is(err, principal.ErrSessionUnknown) {
		t.Errorf("a session of the former directory: %v, want %v", err, principal.ErrSessionUnknown)
	}
}

// A running usher notices at the first look-up that another directory is in use, and
// refuses no session of it.
func TestDirectoryChangeRefusesNoSession(t *testing.T) {
	t.Parallel()
	pg := dbtest.New(t)
	database := open(t, pg)
	if _, err := database.AddUser(t.Context(), "ada", nil, "t"); err != nil {
		t.Fatal(err)
	}
	token, _, err := database.AddSession(t.Context(), "ada", "", time.Hour, "t")
	if err != nil {
		t.Fatal(err)
	}
	directory, err := database.Directory(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var own string
	if err := pg.Pool.QueryRow(t.Context(), "SELECT pg_get_functiondef('usher.directory_session(text)'::regprocedure)").Scan(&own); err != nil {
		t.Fatal(err)
	}
	const header = "CREATE OR REPLACE FUNCTION usher.directory_session(token text) RETURNS TABLE (user_id text, organization_id text, expires_at timestamptz) STABLE ROWS 1 "
	for _, c := range []struct{ name, directory, function, token string }{
		{"an application's", "another", header + "LANGUAGE sql AS $$ SELECT 'ada', NULL, now() + interval '1 day' WHERE token = '17' $$", "17"},
		{"usher's own", "usher", own, token.Reveal()},
		// This one refuses what is not a number, such as a hash.
		{"one that fails", "another", header + "LANGUAGE plpgsql AS $$ BEGIN RETURN QUERY SELECT 'ada', NULL, now() + make_interval(days => token::integer); END $$", "17"},
		{"usher's own again", "usher", own, token.Reveal()},
	} {
		exec(t, pg, "BEGIN; UPDATE usher.deployment SET directory = '"+c.directory+"'; "+c.function+"; COMMIT")
		if p, err := directory.PrincipalBySession(t.Context(), secret.New(c.token)); err != nil || p.User.ID != "ada" {
			t.Errorf("%s: PrincipalBySession() = %+v, %v", c.name, p, err)
		}
		if c.directory == "usher" {
			if p, err := directory.PrincipalBySession(t.Context(), secret.New("17")); !errors.Is(err, principal.ErrSessionUnknown) {
				t.Errorf("%s: PrincipalBySession() of an unknown session = %+v, %v; want %v", c.name, p, err, principal.ErrSessionUnknown)
			}
		}
	}
}
