package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/usher-auth/usher/db/dbtest"
)

// authJSTables are the tables of a small application.
const authJSTables = `
	CREATE TABLE users (id serial PRIMARY KEY, name varchar(255), email varchar(255), "emailVerified" timestamptz, image text);
	CREATE TABLE sessions (id serial PRIMARY KEY, "userId" integer NOT NULL, expires timestamptz NOT NULL, "sessionToken" varchar(255) NOT NULL);
	INSERT INTO users (name) VALUES ('Ada'), ('Bob');
	INSERT INTO sessions ("userId", expires, "sessionToken") VALUES (1, now() + interval '1 hour', 'ada-is-here')`

func TestDirectoryCommands(t *testing.T) {
	t.Parallel()
	pg := dbtest.New(t)
	if _, err := pg.Pool.Exec(t.Context(), authJSTables); err != nil {
		t.Fatal(err)
	}
	u, service := terminal{t, pg.URL}, terminal{t, pg.ServiceURL}

	u.refuses("directory use", 2, `expected "<directory>"`)
	u.refuses("directory use clerk", 1, `there is no directory "clerk": name usher, better-auth or authjs, or a file that ends in .sql`)
	u.refuses("directory use nowhere.sql", 1, "no such file")
	u.refuses("directory use authjs --schema a.b", 1, "is not a schema name that usher accepts")
	u.refuses("directory use better-auth", 1, "directory better-auth: there is no table public.user: start the application once")
	u.refuses("directory use better-auth --table session=sessions", 1, "there is no table public.user")
	u.refuses("directory use authjs --table users=people", 1, "schema public has no people, which --table users=people names")
	u.refuses("directory use authjs --column token=sessionToken", 1, "directory authjs reads no column token")
	u.refuses("directory use authjs --allow-anonymous", 1, "leave it out")
	u.refuses("directory use usher --column banned=is_banned", 1, "leave out --table, --column and --allow-anonymous")
	u.refuses("directory use nowhere.sql --column banned=is_banned", 1, "write the names into the SQL file")
	u.refuses("directory use authjs", 1, `CREATE INDEX CONCURRENTLY ON public.sessions ("sessionToken")`)
	if _, err := pg.Pool.Exec(t.Context(), `CREATE UNIQUE INDEX ON sessions ("sessionToken")`); err != nil {
		t.Fatal(err)
	}
	service.refuses("directory use authjs", 1, "the role in the database URL may not do that")
	// The columns come first, with what is missing, where a preset cannot be used.
	if code, stdout, stderr := u.run("directory", "use", "better-auth"); code != 1 || stdout != "" || !strings.HasPrefix(stderr, "users: absent\nsessions: absent\nbans: absent\n") {
		t.Errorf("directory use better-auth: exit %d, %q, %q", code, stdout, stderr)
	}
	u.does("user add gone --actor me", "added user gone\n")
	u.does("grant add --user gone --room r:* --access read --actor me", "added grant 1: user gone has READ on room r:*\n")

	code, stdout, stderr := u.run("directory", "use", "authjs", "--actor", "me")
	if code != 0 || stdout != "users: found (users.id, users.name, users.image)\nsessions: found (sessions.sessionToken, sessions.userId, sessions.expires)\nthe directory is authjs\n" || !strings.HasPrefix(stderr, "usher: warning: users who have grants and are not listed by this directory: 1 of 1;") {
		t.Errorf("directory use authjs: exit %d, %q, %q", code, stdout, stderr)
	}
	service.refuses("user add x", 1, "the directory is authjs: change users, organizations, groups, members and sessions there")
	service.refuses("user list", 1, "the directory is authjs: list users, organizations, groups, members and sessions there")
	service.refuses("grant add --user 3 --room r:* --access read", 1, `there is no user "3"`)
	service.does("grant add --user 2 --room r:* --access read --actor me", "added grant 2: user 2 has READ on room r:*\n")

	service.shows("directory sweep", "USER\ngone")
	if got := decode[[]string](service, "directory sweep --json"); len(got) != 1 || got[0] != "gone" {
		t.Errorf("directory sweep --json = %q", got)
	}
	service.does("directory sweep --revoke --actor me", "revoked 1 grant of users who are not in the directory\n")
	service.does("directory sweep --revoke --actor me", "revoked 0 grants of users who are not in the directory\n")

	type definition struct{ Name, SQL string }
	shown := decode[definition](service, "directory show --json")
	if shown.Name != "authjs" || strings.Count(shown.SQL, "CREATE OR REPLACE") != 5 || !strings.Contains(shown.SQL, `."sessions" s`) || !strings.Contains(shown.SQL, "-- sessions: found (sessions.sessionToken") {
		t.Errorf("directory show = %+v", shown)
	}
	// An operator starts from a built-in directory.
	preset := decode[shownDirectory](service, "directory show authjs --json")
	file := filepath.Join(t.TempDir(), "mine.sql")
	if err := os.WriteFile(file, []byte(preset.SQL), 0o600); err != nil {
		t.Fatal(err)
	}
	code, stdout, stderr = u.run("directory", "use", file)
	if code != 0 || stdout != "the directory is file:mine.sql\n" || !strings.Contains(stderr, "already have grants, and are listed by this directory: 1;") {
		t.Errorf("directory use %s: exit %d, %q, %q", file, code, stdout, stderr)
	}
	if code, stdout, _ := u.run("directory", "use", file, "--json"); code != 0 || stdout != "{\n  \"name\": \"file:mine.sql\"\n}\n" {
		t.Errorf("directory use --json: exit %d, %q", code, stdout)
	}
	code, stdout, _ = service.run("directory", "show")
	if code != 0 || !strings.HasPrefix(stdout, "-- directory: file:mine.sql\n\nCREATE OR REPLACE FUNCTION") {
		t.Errorf("directory show: exit %d, %q", code, stdout)
	}
	if code, _, stderr := u.run("directory", "use", "usher"); code != 0 {
		t.Errorf("directory use usher: exit %d, %s", code, stderr)
	}
	u.does("user add x --actor me", "added user x\n")
}

// directory show says what a preset would read, and in a database what it finds. The
// SQL on stdout is the start for a file.
func TestDirectoryShow(t *testing.T) {
	t.Parallel()
	pg := dbtest.New(t)
	if _, err := pg.Pool.Exec(t.Context(), authJSTables+`; ALTER TABLE sessions RENAME "sessionToken" TO session_token;
		CREATE TABLE "user" (id text PRIMARY KEY, name text, image text, "banExpires" timestamptz);
		CREATE TABLE session (token text PRIMARY KEY, "userId" text, "expiresAt" timestamptz)`); err != nil {
		t.Fatal(err)
	}
	const wouldRead = `users: reads user.id, user.name, user.image
sessions: reads session.token, session.userId, session.expiresAt
bans: reads user.banned, user.banExpires
active organization: reads session.activeOrganizationId
members: reads member.userId, member.organizationId
teams: reads team.id, team.organizationId, teamMember.userId, teamMember.teamId
anonymous users: reads user.isAnonymous; disabled: allow them with --allow-anonymous
`
	for name, test := range map[string]struct {
		line     string
		nowhere  bool // without a database
		code     int
		err, sql string // parts
	}{
		"without a database": {line: "better-auth", nowhere: true, err: wouldRead, sql: `"public"."member" m`},
		"another schema":     {line: "better-auth --schema app", nowhere: true, err: wouldRead, sql: `"app"."member" m`},
		"usher's own":        {line: "usher", nowhere: true, sql: "usher.memberships"},
		"names without it":   {line: "authjs --column sessionToken=token", nowhere: true, code: 1, err: "give --database-url too"},
		"found":              {line: "authjs", err: "users: found (users.id, users.name, users.image)\nsessions: found (sessions.session_token, sessions.userId, sessions.expires)\n", sql: `s."session_token" =`},
		"contradictory":      {line: "better-auth", err: "bans: contradictory; there is user.banExpires and no user.banned.", sql: `"public"."member" m`},
		"and named":          {line: "better-auth --column banned=name", err: "bans: found (user.name, user.banExpires)\n", sql: `u."name"::boolean`},
		"absent":             {line: "better-auth --schema nowhere", err: "users: absent\nsessions: absent\n", sql: `"nowhere"."member" m`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var out, errs bytes.Buffer
			args := append([]string{"directory", "show"}, strings.Fields(test.line)...)
			if !test.nowhere {
				args = append(args, "--database-url", pg.ServiceURL)
			}
			code := run(t.Context(), args, &out, &errs)
			if code != test.code || !strings.Contains(errs.String(), test.err) || !strings.Contains(out.String(), test.sql) {
				t.Errorf("exit %d, %s\n%s", code, &errs, &out)
			}
			if warned := strings.Contains(errs.String(), "usher: warning: directory better-auth: "); warned != (name == "contradictory" || name == "absent") {
				t.Errorf("warned: %t, %s", warned, &errs)
			}
		})
	}
}

// What no table shows is said by directory use.
func TestDirectoryUseWarnsOfBetterAuthsStorage(t *testing.T) {
	t.Parallel()
	pg := dbtest.New(t)
	if _, err := pg.Pool.Exec(t.Context(), `CREATE TABLE "user" (id text PRIMARY KEY, name text, image text);
		CREATE TABLE session (token text PRIMARY KEY, "userId" text, "expiresAt" timestamptz)`); err != nil {
		t.Fatal(err)
	}
	used := decode[usedDirectory](terminal{t, pg.URL}, "directory use better-auth --json")
	if len(used.Warnings) != 1 || !strings.Contains(used.Warnings[0], "before Better Auth 1.7.2") || !strings.Contains(used.Warnings[0], "preserveSessionInDatabase") {
		t.Errorf("warnings: %q", used.Warnings)
	}
}

// usher accepts an application's sessions once its directory is used, and revokes the
// grants of deleted users.
func TestServeApplicationsDirectory(t *testing.T) {
	t.Parallel()
	p := newProduction(t)
	_, url, _ := p.serve(t)
	p.exec(t, p.owner, authJSTables+`; CREATE UNIQUE INDEX ON sessions ("sessionToken")`)
	cookie := func(token string) (status int) {
		t.Helper()
		status, _, _, err := ask(t.Context(), url, token, `{"room":"r"}`)
		if err != nil {
			t.Fatal(err)
		}
		return status
	}
	if got := []int{cookie(p.session), cookie("ada-is-here")}; got[0] != 200 || got[1] != 401 {
		t.Errorf("over usher's own directory: %d, want 200, 401", got)
	}
	owner := terminal{t, p.owner}
	if code, _, stderr := owner.run("directory", "use", "authjs"); code != 0 {
		t.Fatal(stderr)
	}
	// usher asks for the directory in use at most once a second.
	until(t, "usher accepts Auth.js' sessions", func() bool { return cookie("ada-is-here") == 200 })
	if got := cookie(p.session); got != 401 {
		t.Errorf("usher's own session over Auth.js': %d, want 401", got)
	}
	p.run(t, "grant", "add", "--user", "2", "--room", "r", "--access", "read")
	p.exec(t, p.owner, "DELETE FROM users WHERE id = 2")
	again, _, _ := p.serve(t) // it sweeps at the start, and once a minute
	until(t, "the grant is revoked", func() bool { return logged(again, "grants of deleted users revoked", "level") == "INFO" })

	// Better Auth signs its cookies: without the secret nobody could sign in.
	p.exec(t, p.owner, `CREATE SCHEMA app; CREATE TABLE app."user" (id text PRIMARY KEY, name text, image text);
		CREATE TABLE app.session (token text PRIMARY KEY, "userId" text, "expiresAt" timestamptz)`)
	if code, _, stderr := owner.run("directory", "use", "better-auth", "--schema", "app"); code != 0 {
		t.Fatal(stderr)
	}
	refused := startUsher(t, p.env, "serve", "--url", url, "--listen", "127.0.0.1:0", "--ops-listen", "127.0.0.1:0")
	if code := refused.exit(t); code != 1 || !strings.Contains(refused.log.String(), "(BETTER_AUTH_SECRET) with --session-cookie-secret") {
		t.Errorf("serve without the secret: exit %d, %s", code, refused.log)
	}
	short := startUsher(t, append(p.env, "USHER_SESSION_COOKIE_SECRET=canary"), "serve", "--url", url, "--listen", "127.0.0.1:0", "--ops-listen", "127.0.0.1:0")
	if code := short.exit(t); code != 1 || !strings.Contains(short.log.String(), "a cookie secret of 6 bytes can be guessed") || strings.Contains(short.log.String(), "canary") {
		t.Errorf("serve with a short secret: exit %d, %s", code, short.log)
	}
}
