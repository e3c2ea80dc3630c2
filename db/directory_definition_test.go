package db_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/usher-auth/usher/db"
	"github.com/usher-auth/usher/db/dbtest"
	"github.com/usher-auth/usher/internal/admin"
	"github.com/usher-auth/usher/internal/principal"
	"github.com/usher-auth/usher/internal/secret"
	"github.com/usher-auth/usher/session"
)

// application creates the tables of testdata/NAME.sql beside usher's.
func application(t testing.TB, name string) *dbtest.DB {
	t.Helper()
	pg := dbtest.New(t)
	tables, err := os.ReadFile("testdata/" + name + ".sql")
	if err != nil {
		t.Fatal(err)
	}
	exec(t, pg, string(tables))
	return pg
}

const sessionTokenIndex = `CREATE UNIQUE INDEX ON sessions ("sessionToken")`

// builtIn returns a directory that comes with usher, for the present tables.
func builtIn(t *testing.T, pg *dbtest.DB, name string) db.DirectoryDefinition {
	t.Helper()
	d, _, err := openURL(t, pg.URL).PresetDirectory(t.Context(), db.Preset{Name: name, Schema: "public"})
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func use(t *testing.T, pg *dbtest.DB, d db.DirectoryDefinition) (warnings []string) {
	t.Helper()
	warnings, err := openURL(t, pg.URL).UseDirectory(t.Context(), d, actor)
	if err != nil {
		t.Fatal(err)
	}
	return warnings
}

func inForce(t *testing.T, pg *dbtest.DB) db.DirectoryDefinition {
	t.Helper()
	d, err := openURL(t, pg.URL).DirectoryInForce(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// lookUp looks a session up as usher serve does.
func lookUp(t *testing.T, pg *dbtest.DB, token string) (*principal.Principal, error) {
	t.Helper()
	directory, err := open(t, pg).Directory(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	p, err := directory.PrincipalBySession(t.Context(), secret.New(token))
	if err == nil {
		err = p.Err()
	}
	return p, err
}

func TestBetterAuthDirectory(t *testing.T) {
	t.Parallel()
	pg := application(t, "better-auth")
	if warnings := use(t, pg, builtIn(t, pg, db.BetterAuthDirectory)); warnings != nil {
		t.Errorf("warnings = %q, want none", warnings)
	}
	exec(t, pg, `INSERT INTO usher.grants (subject_kind, subject_id, organization_id, resource_kind, pattern, access, created_by) VALUES
		('user', 'Ada1', NULL, 'room', 'own', 'full', 't'),
		('organization', 'org1', NULL, 'room', 'of-org1', 'full', 't'),
		('organization', 'org2', NULL, 'room', 'of-org2', 'full', 't'),
		('group', 'team1', NULL, 'room', 'of-team1', 'full', 't'),
		('group', 'team2', NULL, 'room', 'of-team2', 'full', 't')`)
	for token, want := range map[string]struct{ organization, patterns string }{
		"ada-free":    {"", "of-org1 of-team1 own"},
		"ada-in-org1": {"org1", "of-org1 of-team1 own"},
		"ada-in-org2": {"", "own"}, // she is not a member
	} {
		p, err := lookUp(t, pg, token)
		if err != nil {
			t.Errorf("%s: %v", token, err)
			continue
		}
		var patterns []string
		for _, g := range p.Grants {
			patterns = append(patterns, g.Template.String())
		}
		slices.Sort(patterns)
		if got := strings.Join(patterns, " "); got != want.patterns || p.User.Organization != want.organization {
			t.Errorf("%s: organization %q, grants %s, want %q, %s", token, p.User.Organization, got, want.organization, want.patterns)
		}
		if got, want := string(p.User.Info), `{"name": "Ada", "avatar": "https://example.com/a.png"}`; p.User.ID != "Ada1" || got != want {
			t.Errorf("%s: user %s, info %s, want Ada1, %s", token, p.User.ID, got, want)
		}
		if life := time.Until(p.User.Until); life < 55*time.Minute || life > time.Hour {
			t.Errorf("%s: ends in %s, want an hour", token, life)
		}
	}
	for token, want := range map[string]error{
		"cyd":         nil, // whose ban is over
		"ada-expired": session.ErrSessionExpired,
		"bob":         principal.ErrUserDisabled,
		"dan":         principal.ErrUserDisabled,
		"ADA-FREE":    principal.ErrSessionUnknown,
		"never":       principal.ErrSessionUnknown,
	} {
		if _, err := lookUp(t, pg, token); !errors.Is(err, want) {
			t.Errorf("%s: %v, want %v", token, err, want)
		}
	}
	// The audit reads the same directory.
	var who string
	err := connect(t, pg.AuditorURL).QueryRow(t.Context(), `SELECT string_agg(principal_id || ' by ' || through_kind, ', ' ORDER BY principal_id, through_kind DESC)
		FROM (SELECT * FROM audit.who_can('room', 'of-org1') UNION ALL SELECT * FROM audit.who_can('room', 'of-team1')
		      UNION ALL SELECT * FROM audit.who_can('room', 'of-team2') UNION ALL SELECT * FROM audit.who_can('room', 'of-org2')) o`).Scan(&who)
	if want := "Ada1 by organization, Ada1 by group"; err != nil || who != want { // bob is banned
		t.Errorf("who can: %s, %v, want %s", who, err, want)
	}
	// The next look-up has the application's changes.
	exec(t, pg, `DELETE FROM session WHERE token = 'ada-free'`)
	if _, err := lookUp(t, pg, "ada-free"); !errors.Is(err, principal.ErrSessionUnknown) {
		t.Errorf("after signing out: %v", err)
	}
	exec(t, pg, `DELETE FROM member WHERE "userId" = 'Ada1'`)
	if p, err := lookUp(t, pg, "ada-in-org1"); err != nil || len(p.Grants) != 1 || p.User.Organization != "" {
		t.Errorf("after leaving: %+v, %v", p, err)
	}
	exec(t, pg, `DELETE FROM "user" WHERE id = 'Ada1'`)
	if _, err := lookUp(t, pg, "ada-in-org1"); !errors.Is(err, principal.ErrSessionUnknown) {
		t.Errorf("after the user is deleted: %v", err)
	}
}

// Without plugins there are no organizations, and nobody is banned. Ids may have any
// type that the application chose.
func TestBetterAuthDirectoryWithoutPlugins(t *testing.T) {
	t.Parallel()
	for idType, ids := range map[string]struct{ ada, aliases string }{
		"text":        {"x1", "X1"},
		"varchar(36)": {"x1", "X1 " + strings.Repeat("x", 37)},
		"integer":     {"7", "07 +7 7.0 x 99999999999"},
		"bigint":      {"99999999999", "099999999999 x"},
		"uuid":        {"6d1b1c5e-1111-4222-8333-0123456789ab", "6D1B1C5E-1111-4222-8333-0123456789AB 6d1b1c5e111142228333-0123456789ab x"},
	} {
		t.Run(idType, func(t *testing.T) {
			t.Parallel()
			pg := dbtest.New(t)
			exec(t, pg, fmt.Sprintf(`CREATE SCHEMA "My-App";
				CREATE TABLE "My-App"."user" (id %[1]s PRIMARY KEY, name text NOT NULL, image text);
				CREATE TABLE "My-App".session (id %[1]s PRIMARY KEY, "expiresAt" timestamp NOT NULL, token text UNIQUE, "userId" %[1]s);
				INSERT INTO "My-App"."user" VALUES ('%[2]s', 'Ada');
				INSERT INTO "My-App".session VALUES ('%[2]s', now() AT TIME ZONE 'UTC' + interval '1 hour', 'token', '%[2]s')`, idType, ids.ada))
			d, _, err := openURL(t, pg.URL).PresetDirectory(t.Context(), db.Preset{Name: db.BetterAuthDirectory, Schema: "My-App"})
			if err != nil {
				t.Fatal(err)
			}
			use(t, pg, d)
			p, err := lookUp(t, pg, "token")
			if err != nil || p.User.ID != ids.ada || time.Until(p.User.Until) < 55*time.Minute {
				t.Errorf("look-up = %+v, %v", p, err)
			}
			directory, err := open(t, pg).Directory(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			for alias := range strings.FieldsSeq(ids.aliases) {
				if p, err := directory.PrincipalByUser(t.Context(), alias, ""); err != nil || p.Known {
					t.Errorf("%q is taken for %q: %v", alias, ids.ada, err)
				}
			}
			if p, err := directory.PrincipalByUser(t.Context(), ids.ada, ""); err != nil || !p.Known {
				t.Errorf("%q is not known: %v", ids.ada, err)
			}
		})
	}
}

func TestAuthJSDirectory(t *testing.T) {
	t.Parallel()
	pg := application(t, "authjs")
	_, err := openURL(t, pg.URL).UseDirectory(t.Context(), builtIn(t, pg, db.AuthJSDirectory), actor)
	wantError(t, err, admin.ErrInvalid, `CREATE INDEX CONCURRENTLY ON public.sessions ("sessionToken")`)
	exec(t, pg, sessionTokenIndex)
	use(t, pg, builtIn(t, pg, db.AuthJSDirectory))
	p, err := lookUp(t, pg, "ada")
	if err != nil || p.User.ID != "1" || string(p.User.Info) != `{"name": "Ada", "avatar": "https://example.com/a.png"}` {
		t.Errorf("look-up = %+v, %v", p, err)
	}
	for token, want := range map[string]error{"ada-expired": session.ErrSessionExpired, "deleted": principal.ErrSessionUnknown, "x": principal.ErrSessionUnknown} {
		if _, err := lookUp(t, pg, token); !errors.Is(err, want) {
			t.Errorf("%s: %v, want %v", token, err, want)
		}
	}
}

// The service can call the directory, and cannot read the tables behind it.
func TestServiceCannotReadTheApplication(t *testing.T) {
	t.Parallel()
	pg := application(t, "better-auth")
	use(t, pg, builtIn(t, pg, db.BetterAuthDirectory))
	conn := connect(t, pg.ServiceURL)
	for _, sql := range []string{
		`SELECT token FROM public.session`, `SELECT email FROM public."user"`, `SELECT id FROM public.member`, `SELECT id FROM usher.directory_users`,
	} {
		if _, err := conn.Exec(t.Context(), sql); err == nil {
			t.Errorf("usher_service_test may %s", sql)
		}
	}
	auditor := connect(t, pg.AuditorURL)
	for _, sql := range []string{`SELECT usher.directory_session('x')`, `SELECT usher.directory_user('x')`, `SELECT usher.directory_memberships('x')`} {
		if _, err := conn.Exec(t.Context(), sql); err != nil {
			t.Errorf("usher_service_test may not %s: %v", sql, err)
		}
		if _, err := auditor.Exec(t.Context(), sql); err == nil {
			t.Errorf("usher_auditor_test may %s", sql)
		}
	}
	// Only the audit uses the views, and reads them as their owner.
	exec(t, pg, `CREATE VIEW audit.test AS SELECT u.id, m.id AS member_of FROM usher.directory_users u LEFT JOIN usher.directory_members m ON m.user_id = u.id;
		GRANT SELECT ON audit.test TO usher_auditor_test`)
	var listed string
	err := auditor.QueryRow(t.Context(), `SELECT string_agg(id || '=' || coalesce(member_of, ''), ' ' ORDER BY id, member_of) FROM audit.test`).Scan(&listed)
	if want := "Ada1=org1 Ada1=team1 bob2=org2 cyd3= dan4="; err != nil || listed != want {
		t.Errorf("the audit sees %q, %v, want %q", listed, err, want)
	}
}

// usher's own directory can be restored exactly as the migrations create it.
func TestBackToOwnDirectory(t *testing.T) {
	t.Parallel()
	pg := application(t, "better-auth")
	describe := func() (all string) {
		t.Helper()
		err := pg.Pool.QueryRow(t.Context(), `
			SELECT string_agg(d, E'\n' ORDER BY d) FROM (
				SELECT pg_get_functiondef(oid) || coalesce(proacl::text, '') || concat(proowner, prorows, prosecdef, proleakproof, proparallel, procost) AS d
				  FROM pg_proc WHERE pronamespace = 'usher'::regnamespace AND proname LIKE 'directory%'
				UNION ALL
				SELECT relname || pg_get_viewdef(c.oid) || concat(relacl, relowner, reloptions)
				       || (SELECT string_agg(attname || ' ' || atttypid || ' ' || attcollation, ',') FROM pg_attribute WHERE attrelid = c.oid)
				  FROM pg_class c WHERE relnamespace = 'usher'::regnamespace AND relname LIKE 'directory%'
			) all_of_them`).Scan(&all)
		if err != nil {
			t.Fatal(err)
		}
		return all
	}
	migrated := describe()
	before := inForce(t, pg)
	if before.Name != db.OwnDirectory || strings.Count(before.SQL, "CREATE OR REPLACE") != 5 {
		t.Errorf("in force: %+v", before)
	}
	use(t, pg, builtIn(t, pg, db.OwnDirectory))
	if diff := cmp.Diff(migrated, describe()); diff != "" {
		t.Errorf("directories/usher.sql is not what the migrations make (-want +got):\n%s", diff)
	}
	use(t, pg, builtIn(t, pg, db.BetterAuthDirectory))
	if describe() == migrated || inForce(t, pg).Name != db.BetterAuthDirectory {
		t.Error("better-auth is not in force")
	}
	// The printed definition can be used unchanged.
	use(t, pg, db.DirectoryDefinition{Name: "file:shown.sql", SQL: inForce(t, pg).SQL})
	use(t, pg, builtIn(t, pg, db.OwnDirectory))
	if diff := cmp.Diff(migrated, describe()); diff != "" {
		t.Errorf("after a foreign one (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(before, inForce(t, pg)); diff != "" {
		t.Errorf("in force (-want +got):\n%s", diff)
	}
	// One row per change, with the hash of its SQL.
	var recorded string
	err := pg.Pool.QueryRow(t.Context(), `SELECT string_agg(actor || ' ' || target || ' from ' || (details ->> 'before') || ' ' || length(details ->> 'sqlSha256'), E'\n' ORDER BY id)
		FROM audit.changes WHERE action = 'directory.use'`).Scan(&recorded)
	want := strings.ReplaceAll("ACTOR usher from usher 64\nACTOR better-auth from usher 64\nACTOR file:shown.sql from better-auth 64\nACTOR usher from file:shown.sql 64", "ACTOR", actor)
	if err != nil || recorded != want {
		t.Errorf("recorded %q, %v, want %q", recorded, err, want)
	}
}

// goodDirectory is a valid definition for the table of newPeople.
const goodDirectory = `
CREATE OR REPLACE FUNCTION usher.directory_session(token text) RETURNS TABLE (user_id text, organization_id text, expires_at timestamptz)
LANGUAGE sql STABLE SECURITY DEFINER ROWS 1 SET search_path = pg_catalog, pg_temp AS $$
	SELECT p.id, NULL, now() + interval '1 hour' FROM public.people p WHERE p.token = directory_session.token
$$;
CREATE OR REPLACE FUNCTION usher.directory_user(id text) RETURNS TABLE (info jsonb, disabled boolean)
LANGUAGE sql STABLE SECURITY DEFINER ROWS 1 SET search_path = '' AS $$
	SELECT NULL::jsonb, false FROM public.people p WHERE p.id = directory_user.id
$$;
CREATE OR REPLACE FUNCTION usher.directory_memberships(user_id text) RETURNS TABLE (kind text, id text, organization_id text)
LANGUAGE sql STABLE SECURITY DEFINER ROWS 5 SET search_path = pg_catalog, pg_temp AS $$
	SELECT 'organization', p.team, p.team FROM public.people p WHERE p.id = directory_memberships.user_id
$$;
CREATE OR REPLACE VIEW usher.directory_users AS
	SELECT id COLLATE "C" AS id, NULL::jsonb AS info, false AS disabled FROM public.people;
CREATE OR REPLACE VIEW usher.directory_members AS
	SELECT id COLLATE "C" AS user_id, 'organization' AS kind, team COLLATE "C" AS id, team COLLATE "C" AS organization_id FROM public.people;
`

func newPeople(t testing.TB) *dbtest.DB {
	t.Helper()
	pg := dbtest.New(t)
	exec(t, pg, `CREATE TABLE people (id text PRIMARY KEY, token text UNIQUE, team text);
		INSERT INTO people SELECT 'p' || n, 'token' || n, 'team' FROM generate_series(1, 3) n`)
	return pg
}

func file(t testing.TB, text string) db.DirectoryDefinition {
	t.Helper()
	d, err := db.FileDirectory("/somewhere/mine.sql", text, "public")
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func TestUseDirectoryRefuses(t *testing.T) {
	t.Parallel()
	pg := newPeople(t)
	owner := openURL(t, pg.URL)
	before := inForce(t, pg)
	swap := func(old, replacement string) string {
		if !strings.Contains(goodDirectory, old) {
			t.Fatalf("the definition has no %q", old)
		}
		return strings.Replace(goodDirectory, old, replacement, 1)
	}
	for name, test := range map[string]struct{ setUp, sql, part string }{
		"nothing":          {"", ``, "it does not define usher.directory_"},
		"no SQL":           {"", "\n\nSELEC 1", `line 3: syntax error at or near "SELEC"`},
		"a part":           {"", goodDirectory[:strings.Index(goodDirectory, "CREATE OR REPLACE VIEW usher.directory_members")], "does not define usher.directory_members: CREATE OR REPLACE all of directory_members, directory_memberships"},
		"COMMIT":           {"", goodDirectory + "; COMMIT;", "EXECUTE of transaction commands is not implemented"},
		"another column":   {"", swap("expires_at timestamptz", "expires_at timestamp"), "cannot change return type"},
		"another argument": {"", swap("directory_user(id text)", "directory_user(uid text)"), "cannot change name of input parameter"},
		"another column, by DROP": {
			"",
			"DROP FUNCTION usher.directory_user(text);" +
				strings.NewReplacer("disabled boolean", "disabled text", "NULL::jsonb, false FROM", "NULL::jsonb, 'no' FROM").Replace(goodDirectory),
			"usher.directory_user returns TABLE(info jsonb, disabled text), not TABLE(info jsonb, disabled boolean)",
		},
		"DROP, which loses REVOKE":   {"", "DROP FUNCTION usher.directory_user(text);" + goodDirectory, "usher.directory_user has other privileges"},
		"only DROP":                  {"", goodDirectory + "DROP FUNCTION usher.directory_user(text)", "there is no usher.directory_user with the arguments"},
		"GRANT to PUBLIC":            {"", goodDirectory + "GRANT EXECUTE ON FUNCTION usher.directory_user TO PUBLIC", "usher.directory_user has other privileges"},
		"another view":               {"", swap(`NULL::jsonb AS info, false AS disabled FROM public.people;`, `'x' AS info, false AS disabled FROM public.people;`), "cannot change data type of view column"},
		"one more column":            {"", swap(`false AS disabled FROM public.people;`, `false AS disabled, token FROM public.people;`), "usher.directory_users returns id text, info jsonb, disabled boolean, token text"},
		"VOLATILE":                   {"", swap("STABLE", "VOLATILE"), "is VOLATILE: declare it STABLE"},
		"a thousand rows":            {"", swap("ROWS 1 ", ""), "is declared with ROWS 1000"},
		"too many memberships":       {"", swap("ROWS 5", "ROWS 101"), "declare ROWS 10"},
		"the caller's rights":        {"", swap("SECURITY DEFINER", ""), "is not SECURITY DEFINER"},
		"no search_path":             {"", swap("SET search_path = ''", ""), "declare it with SET search_path = pg_catalog, pg_temp"},
		"an open search_path":        {"", swap("SET search_path = ''", "SET search_path = pg_catalog, public"), "declare it with SET search_path"},
		"a table that is not there":  {"", swap("public.people p WHERE p.token", "public.persons p WHERE p.token"), `relation "public.persons" does not exist`},
		"a table without its schema": {"", swap("public.people p WHERE p.token", "people p WHERE p.token"), `relation "people" does not exist`},
		"no index":                   {"ALTER TABLE people DROP CONSTRAINT people_token_key", goodDirectory, "usher.directory_session reads all of public.people"},
		"no index, in PL/pgSQL": {
			"ALTER TABLE people DROP CONSTRAINT people_pkey",
			strings.NewReplacer(
				"LANGUAGE sql STABLE SECURITY DEFINER ROWS 5 SET search_path = pg_catalog, pg_temp AS $$",
				"LANGUAGE plpgsql STABLE SECURITY DEFINER ROWS 5 SET search_path = pg_catalog, pg_temp AS $$ BEGIN RETURN QUERY",
				"p.id = directory_memberships.user_id\n", "p.id = directory_memberships.user_id; END",
				"WHERE p.id = directory_user.id", "WHERE p.token = 'token1' AND p.id = directory_user.id",
			).Replace(goodDirectory),
			"usher.directory_memberships reads all of public.people",
		},
		"a cast that hides the index": {"", swap("p.id = directory_user.id", "upper(p.id) = upper(directory_user.id)"), "usher.directory_user reads all of public.people"},
		"an error for a malformed id": {"", swap("p.id = directory_memberships.user_id", "p.id = directory_memberships.user_id::uuid::text"), `usher.directory_memberships("`},
		"a user for every id":         {"", swap("p.id = directory_user.id", "p.id = 'p1'"), "usher.directory_user"},
		"an id in another case": {
			"CREATE INDEX ON people (upper(id))",
			swap("p.id = directory_user.id", "upper(p.id) = upper(directory_user.id)"), `usher.directory_user("P1") returns a row, and nobody has exactly this id`,
		},
		"a view that says otherwise":      {"", swap("NULL::jsonb, false FROM", "NULL::jsonb, true FROM"), "usher.directory_user does not return the one row"},
		"memberships that the view lacks": {"", swap("SELECT 'organization', p.team, p.team", "SELECT 'group', p.team, p.team"), "usher.directory_memberships returns other rows"},
		"an info that is not an object":   {"", strings.ReplaceAll(goodDirectory, "NULL::jsonb", `'"x"'::jsonb`), "info that is not a JSON object"},
		"an unknown kind":                 {"", strings.ReplaceAll(goodDirectory, "'organization'", `'team'`), "neither organization nor group"},
		"an organization of another":      {"", strings.Replace(goodDirectory, `team COLLATE "C" AS organization_id`, `'x' COLLATE "C" AS organization_id`, 1), "organization_id is not its own id"},
		"a member of nothing":             {"UPDATE people SET team = NULL", goodDirectory, "an id or user_id that is null"},
		"an empty id":                     {"UPDATE people SET id = '' WHERE id = 'p2'", goodDirectory, "id that is null, empty"},
	} {
		t.Run(name, func(t *testing.T) {
			exec(t, pg, "CREATE TABLE kept AS TABLE people; "+test.setUp)
			defer exec(t, pg, `DROP TABLE people; ALTER TABLE kept RENAME TO people; ALTER TABLE people ADD PRIMARY KEY (id), ADD UNIQUE (token)`)
			_, err := owner.UseDirectory(t.Context(), file(t, test.sql), actor)
			wantError(t, err, admin.ErrInvalid, test.part)
			if diff := cmp.Diff(before, inForce(t, pg)); diff != "" {
				t.Errorf("what is in force has changed (-want +got):\n%s", diff)
			}
		})
	}
	if n := countChanges(t.Context(), t, pg); n != 0 {
		t.Errorf("%d changes are recorded, want 0", n)
	}
	if warnings, err := owner.UseDirectory(t.Context(), file(t, goodDirectory), actor); err != nil || warnings != nil {
		t.Errorf("the good definition: %q, %v", warnings, err)
	}
	if _, err := lookUp(t, pg, "token1"); err != nil {
		t.Errorf("look-up: %v", err)
	}
	_, err := open(t, pg).UseDirectory(t.Context(), file(t, goodDirectory), actor)
	if err == nil || !strings.Contains(err.Error(), "the role in the database URL may not do that") {
		t.Errorf("by usher_service_test: %v", err)
	}
	_, err = owner.UseDirectory(t.Context(), file(t, goodDirectory), "")
	wantError(t, err, admin.ErrInvalid, "the actor is empty")
}

func TestDirectoryDefinitions(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"", "Usher", "better_auth", "../migrations/0001_directory", "authjs.sql"} {
		_, _, err := db.BuiltInDirectory(name, "public")
		wantError(t, err, admin.ErrNotFound, "name usher, better-auth or authjs")
	}
	for _, schema := range []string{"", "a b", `"`, "a.b", "a'b", "$$", "%s", "{schema}", "1a", strings.Repeat("x", 64)} {
		_, _, err := db.BuiltInDirectory(db.AuthJSDirectory, schema)
		wantError(t, err, admin.ErrInvalid, "is not a schema name that usher accepts")
	}
	for _, text := range []string{"a\x00b", "\xff", strings.Repeat(" ", 1<<20+1)} {
		_, err := db.FileDirectory("x.sql", text, "public")
		wantError(t, err, admin.ErrInvalid, `"x.sql" is not an SQL file`)
	}
	d, err := db.FileDirectory("/somewhere/mine.sql", "SELECT {schema}.x", "App")
	if want := (db.DirectoryDefinition{Name: "file:mine.sql", SQL: `SELECT "App".x`}); err != nil || d != want {
		t.Errorf("FileDirectory() = %+v, %v, want %+v", d, err, want)
	}
}

// While the directory changes, look-ups continue, and each uses only one directory. In
// both directories, session "s" belongs to a user; all values are "old" in one and
// "new" in the other. The first function is slow, and then makes Postgres see changes
// made meanwhile, as reading a table does.
func TestUseDirectoryWhileLookingUp(t *testing.T) {
	t.Parallel()
	pg := dbtest.New(t)
	exec(t, pg, `CREATE TABLE sessions (token text PRIMARY KEY); INSERT INTO sessions VALUES ('s')`)
	definition := func(version string) db.DirectoryDefinition {
		return file(t, strings.ReplaceAll(`
CREATE OR REPLACE FUNCTION usher.directory_session(token text) RETURNS TABLE (user_id text, organization_id text, expires_at timestamptz)
LANGUAGE plpgsql STABLE SECURITY DEFINER ROWS 1 SET search_path = pg_catalog, pg_temp AS $$ BEGIN
	PERFORM pg_sleep(0.002);
	RETURN QUERY SELECT 'VERSION', NULL, now() + interval '1 hour' FROM public.sessions s WHERE s.token = directory_session.token;
END $$;
CREATE OR REPLACE FUNCTION usher.directory_user(id text) RETURNS TABLE (info jsonb, disabled boolean)
LANGUAGE plpgsql STABLE SECURITY DEFINER ROWS 1 SET search_path = pg_catalog, pg_temp AS $$ BEGIN
	RETURN QUERY SELECT '{"name": "VERSION"}'::jsonb, false WHERE directory_user.id = 'VERSION';
END $$;
CREATE OR REPLACE FUNCTION usher.directory_memberships(user_id text) RETURNS TABLE (kind text, id text, organization_id text)
LANGUAGE sql STABLE SECURITY DEFINER ROWS 5 SET search_path = pg_catalog, pg_temp AS $$ SELECT 'organization', 'VERSION', 'VERSION' WHERE user_id = 'VERSION' $$;
CREATE OR REPLACE VIEW usher.directory_users AS SELECT 'VERSION' COLLATE "C" AS id, '{"name": "VERSION"}'::jsonb AS info, false AS disabled;
CREATE OR REPLACE VIEW usher.directory_members AS SELECT 'VERSION' COLLATE "C" AS user_id, 'organization' AS kind, 'VERSION' COLLATE "C" AS id, 'VERSION' COLLATE "C" AS organization_id;
`, "VERSION", version))
	}
	use(t, pg, definition("old"))
	directory, err := open(t, pg).Directory(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	owner := openURL(t, pg.URL)
	ctx, stop := context.WithCancel(t.Context())
	var asking sync.WaitGroup
	seen := make([]map[string]int, 8)
	for i := range seen {
		seen[i] = map[string]int{}
		asking.Go(func() {
			for ctx.Err() == nil {
				p, err := directory.PrincipalBySession(t.Context(), secret.New("s"))
				if err != nil {
					t.Errorf("a concurrent look-up: %v", err)
					return
				}
				version := p.User.ID
				if !p.Known || string(p.User.Info) != `{"name": "`+version+`"}` || len(p.MemberOf.Organizations) != 1 || p.MemberOf.Organizations[0] != version {
					t.Errorf("a look-up saw some of each: %+v", p)
					return
				}
				seen[i][version]++
			}
		})
	}
	for i := range 8 {
		if _, err := owner.UseDirectory(t.Context(), definition([]string{"new", "old"}[i%2]), actor); err != nil {
			t.Errorf("change %d: %v", i, err)
		}
	}
	stop()
	asking.Wait()
	total := map[string]int{}
	for _, s := range seen {
		total["old"] += s["old"]
		total["new"] += s["new"]
	}
	if total["old"] == 0 || total["new"] == 0 {
		t.Errorf("look-ups saw %v, want both: nothing was tested", total)
	}
}

// usher's own SQL is inlined into the plan that each connection caches. The
// application's is not.
func TestPreparedLookUpsSurvive(t *testing.T) {
	t.Parallel()
	pg := application(t, "better-auth")
	service := open(t, pg)
	if _, err := service.AddUser(t.Context(), "ada", nil, actor); err != nil {
		t.Fatal(err)
	}
	token, _, err := service.AddSession(t.Context(), "ada", "", time.Hour, actor)
	if err != nil {
		t.Fatal(err)
	}
	directory, err := service.Directory(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	ask := func(token secret.Text) error {
		// Postgres may switch to a permanent generic plan at the sixth call.
		for range 10 {
			if _, err := directory.PrincipalBySession(t.Context(), token); err != nil {
				return err
			}
		}
		return nil
	}
	for range 3 {
		if err := ask(token); err != nil {
			t.Errorf("own session over usher's directory: %v", err)
		}
		use(t, pg, builtIn(t, pg, db.BetterAuthDirectory))
		if err := ask(secret.New("ada-free")); err != nil {
			t.Errorf("Better Auth's session over Better Auth's: %v", err)
		}
		if err := ask(token); !errors.Is(err, principal.ErrSessionUnknown) {
			t.Errorf("own session over Better Auth's: %v", err)
		}
		use(t, pg, builtIn(t, pg, db.OwnDirectory))
	}
}

// A long query on the grants delays a change of the directory, not the requests.
func TestUseDirectoryDoesNotBlockRequests(t *testing.T) {
	t.Parallel()
	pg := newPeople(t)
	before := inForce(t, pg)
	reader, err := pg.Pool.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	run(t, reader, "SELECT count(*) FROM usher.grants")
	_, err = openURL(t, pg.URL).UseDirectory(t.Context(), file(t, goodDirectory), actor)
	wantError(t, err, admin.ErrInUse, "a long query reads usher.grants")
	if err := reader.Rollback(t.Context()); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(before, inForce(t, pg)); diff != "" {
		t.Errorf("what is in force has changed (-want +got):\n%s", diff)
	}
	use(t, pg, file(t, goodDirectory))
}

func TestForeignDirectoryIsNotChangedHere(t *testing.T) {
	t.Parallel()
	pg := application(t, "better-auth")
	service := open(t, pg)
	ctx := t.Context()
	if _, err := service.AddUser(ctx, "ada", nil, actor); err != nil {
		t.Fatal(err)
	}
	use(t, pg, builtIn(t, pg, db.BetterAuthDirectory))
	acme, team := admin.Subject{Kind: admin.OrganizationKind, ID: "org1"}, admin.Subject{Kind: admin.GroupKind, ID: "team1"}
	for name, change := range map[string]func() error{
		"AddUser":            func() error { _, err := service.AddUser(ctx, "x", nil, actor); return err },
		"Users":              func() error { _, err := service.Users(ctx, admin.Page[string]{}); return err },
		"User":               func() error { _, err := service.User(ctx, "ada"); return err },
		"Organization":       func() error { _, err := service.Organization(ctx, "acme"); return err },
		"Group":              func() error { _, err := service.Group(ctx, "reviewers"); return err },
		"SetUserDisabled":    func() error { _, err := service.SetUserDisabled(ctx, "ada", true, actor); return err },
		"DeleteUser":         func() error { _, err := service.DeleteUser(ctx, "Ada1", actor); return err },
		"AddOrganization":    func() error { _, err := service.AddOrganization(ctx, "x", "", actor); return err },
		"Organizations":      func() error { _, err := service.Organizations(ctx, admin.Page[string]{}); return err },
		"DeleteOrganization": func() error { _, err := service.DeleteOrganization(ctx, "org1", actor); return err },
		"AddGroup":           func() error { _, err := service.AddGroup(ctx, "x", "", "", actor); return err },
		"Groups":             func() error { _, err := service.Groups(ctx, admin.Page[string]{}); return err },
		"DeleteGroup":        func() error { _, err := service.DeleteGroup(ctx, "team1", actor); return err },
		"AddMember":          func() error { _, err := service.AddMember(ctx, acme, "Ada1", actor); return err },
		"Members":            func() error { _, err := service.Members(ctx, team, admin.Page[string]{}); return err },
		"RemoveMember":       func() error { _, err := service.RemoveMember(ctx, acme, "Ada1", actor); return err },
		"AddSession":         func() error { _, _, err := service.AddSession(ctx, "Ada1", "", time.Hour, actor); return err },
		"Sessions": func() error {
			_, err := service.Sessions(ctx, "", admin.Page[admin.SessionPlace]{})
			return err
		},
		"EndSessions": func() error { _, err := service.EndSessions(ctx, "Ada1", actor); return err },
	} {
		err := change()
		if !errors.Is(err, admin.ErrInvalid) || !strings.HasPrefix(err.Error(), "the directory is better-auth: ") || !strings.HasSuffix(err.Error(), " users, organizations, groups, members and sessions there") {
			t.Errorf("%s: %v", name, err)
		}
	}
	// Grants are in usher's tables, so they can be changed.
	for subject, want := range map[admin.Subject]string{
		{Kind: admin.UserKind, ID: "Ada1"}:         "",
		{Kind: admin.OrganizationKind, ID: "org1"}: "",
		{Kind: admin.GroupKind, ID: "team1"}:       "",
		{Kind: admin.EveryoneKind}:                 "",
		{Kind: admin.OrganizationKind, ID: "orgX"}: `the directory lists no member of organization "orgX": check the id`,
		{Kind: admin.GroupKind, ID: "Team1"}:       `the directory lists no member of group "Team1": check the id`,
	} {
		_, warnings, err := service.AddGrant(ctx, room(subject, "r:*"), actor)
		if got := strings.Join(warnings, "; "); err != nil || got != want {
			t.Errorf("grant to %s: %q, %v, want %q", subject, got, err, want)
		}
	}
	_, _, err := service.AddGrant(ctx, room(ada, "r:*"), actor) // only in usher's own tables
	wantError(t, err, admin.ErrNotFound, `there is no user "ada"`)
	inOrg := room(admin.Subject{Kind: admin.UserKind, ID: "Ada1"}, "in:*")
	inOrg.Organization = "org9"
	if _, warnings, err := service.AddGrant(ctx, inOrg, actor); err != nil || len(warnings) != 1 {
		t.Errorf("grant in an organization that is not there: %q, %v", warnings, err)
	}
	use(t, pg, builtIn(t, pg, db.OwnDirectory))
	if _, err := service.DeleteUser(ctx, "ada", actor); err != nil {
		t.Errorf("back in usher's own directory: %v", err)
	}
}

// The grants of a user that the application deleted are revoked, so that nobody with
// the same id inherits them. If the application's table is emptied, no grant is
// revoked.
func TestSweep(t *testing.T) {
	t.Parallel()
	pg := dbtest.New(t)
	ctx := t.Context()
	exec(t, pg, `CREATE TABLE people (id text PRIMARY KEY, token text UNIQUE, team text);
		INSERT INTO people SELECT 'p' || n, 'token' || n, 'team' FROM generate_series(1, 40) n`)
	service := open(t, pg)
	exec(t, pg, `INSERT INTO usher.grants (subject_kind, subject_id, resource_kind, pattern, access, created_by)
		VALUES ('user', 'nobody', 'room', 'x', 'read', 't')`)
	// In usher's own directory, a deletion revokes grants, so there is nothing to sweep.
	if revoked, err := service.Sweep(ctx, "usher"); err != nil || revoked != nil {
		t.Errorf("Sweep of usher's own = %v, %v", revoked, err)
	}
	warnings := use(t, pg, file(t, goodDirectory))
	if len(warnings) != 1 || !strings.Contains(warnings[0], "not listed by this directory: 1 of 1;") {
		t.Errorf("warnings = %q", warnings)
	}
	addGrant(t, service, room(admin.Subject{Kind: admin.OrganizationKind, ID: "team"}, "team:*"))
	for n := range 40 {
		addGrant(t, service, room(admin.Subject{Kind: admin.UserKind, ID: fmt.Sprintf("p%d", n+1)}, "r:*"))
	}
	sweep := func(want string) {
		t.Helper()
		revoked, err := service.Sweep(ctx, "usher")
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, g := range revoked {
			got = append(got, g.SubjectID+" "+g.RevokedBy+" "+g.RevokeReason)
		}
		slices.Sort(got)
		if strings.Join(got, ", ") != want {
			t.Errorf("Sweep revoked %q, want %q", got, want)
		}
	}
	sweep("nobody usher user gone")
	sweep("")
	exec(t, pg, `DELETE FROM people WHERE id IN ('p1', 'p2', 'p3', 'p4')`)
	sweep("p1 usher user gone, p2 usher user gone, p3 usher user gone, p4 usher user gone")
	exec(t, pg, `INSERT INTO people VALUES ('p1', 'again', NULL), ('p2', 'again2', 'team')`) // reused
	if p, err := lookUp(t, pg, "again2"); err != nil || len(p.Grants) != 1 {
		t.Errorf("a reused id: %+v, %v; want only the grant of the team", p, err)
	}

	exec(t, pg, `DELETE FROM people WHERE id > 'p1'`)
	_, err := service.Sweep(ctx, "usher")
	wantError(t, err, admin.ErrInUse, "does not list 36 of the 36 users who have grants")
	gone, err := service.GoneUsers(ctx)
	if err != nil || len(gone) != 36 {
		t.Errorf("GoneUsers = %q, %v", gone, err)
	}
	revoked, err := service.RevokeGone(ctx, actor)
	if err != nil || len(revoked) != 36 {
		t.Errorf("RevokeGone revoked %d, %v, want 36", len(revoked), err)
	}
	var recorded int
	if err := pg.Pool.QueryRow(ctx, `SELECT count(*) FROM audit.changes WHERE action = 'grant.revoke' AND details ->> 'revokeReason' = 'user gone'`).Scan(&recorded); err != nil || recorded != 41 {
		t.Errorf("%d revocations are recorded, %v, want 41", recorded, err)
	}
	live, err := service.Grants(ctx, admin.GrantFilter{}, admin.Page[int64]{})
	if err != nil || len(live) != 1 || live[0].SubjectID != "team" {
		t.Errorf("live grants = %+v, %v, want the team's", live, err)
	}
}

// An id of one directory may belong to another user in the next one.
func TestUseDirectoryWarnsOfSameIDs(t *testing.T) {
	t.Parallel()
	pg := application(t, "authjs")
	exec(t, pg, sessionTokenIndex)
	service := open(t, pg)
	if _, err := service.AddUser(t.Context(), "1", nil, actor); err != nil {
		t.Fatal(err)
	}
	addGrant(t, service, room(admin.Subject{Kind: admin.UserKind, ID: "1"}, "r:*"))
	warnings := use(t, pg, builtIn(t, pg, db.AuthJSDirectory))
	if len(warnings) != 1 || !strings.Contains(warnings[0], "listed by this directory: 1; the grants now count for whoever has those ids here") {
		t.Errorf("warnings = %q", warnings)
	}
	if warnings := use(t, pg, builtIn(t, pg, db.AuthJSDirectory)); warnings != nil {
		t.Errorf("the same directory again warns: %q", warnings)
	}
}

// The end of a ban without a time zone is the same time for the service and for
// auditors in any time zone.
func TestBansEndAtTheSameTimeEverywhere(t *testing.T) {
	t.Parallel()
	for _, kind := range []string{"timestamptz", "timestamp", "text"} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			pg := application(t, db.BetterAuthDirectory)
			exec(t, pg, `ALTER TABLE "user" ALTER "banExpires" TYPE `+kind)
			use(t, pg, builtIn(t, pg, db.BetterAuthDirectory))
			for _, zone := range []string{"UTC", "America/New_York", "Asia/Tokyo"} {
				for _, c := range []struct {
					ahead string
					want  string
				}{{"1 hour", "true"}, {"-1 hour", "false"}} {
					exec(t, pg, `UPDATE "user" SET banned = true, "banExpires" = to_char(now() AT TIME ZONE 'UTC' + interval '`+c.ahead+`', 'YYYY-MM-DD"T"HH24:MI:SS')`+
						map[string]string{"timestamptz": "::timestamp AT TIME ZONE 'UTC'", "timestamp": "::timestamp", "text": ""}[kind])
					conn := connect(t, pg.URL)
					var user, view string
					if _, err := conn.Exec(t.Context(), "SET timezone = '"+zone+"'"); err != nil {
						t.Fatal(err)
					}
					if err := conn.QueryRow(t.Context(), "SELECT (SELECT disabled::text FROM usher.directory_user('Ada1')), (SELECT disabled::text FROM usher.directory_users WHERE id = 'Ada1')").Scan(&user, &view); err != nil {
						t.Fatal(err)
					}
					if user != c.want || view != c.want {
						t.Errorf("%s, ban ends in %s: disabled = %s for the service, %s for auditors, want %s", zone, c.ahead, user, view, c.want)
					}
				}
			}
		})
	}
}
