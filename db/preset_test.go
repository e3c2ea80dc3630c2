package db_test

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/usher-auth/usher/db"
	"github.com/usher-auth/usher/db/dbtest"
	"github.com/usher-auth/usher/internal/admin"
)

func found(what, from string) db.DirectoryRead {
	return db.DirectoryRead{What: what, State: db.ReadFound, From: from}
}

func absent(what string) db.DirectoryRead { return db.DirectoryRead{What: what, State: db.ReadAbsent} }

// Each application changes the tables of testdata/better-auth.sql; usher must read the
// right ones or refuse.
func TestBetterAuthNames(t *testing.T) {
	t.Parallel()
	const allSnake = `
		ALTER TABLE "user" RENAME "banExpires" TO ban_expires;
		ALTER TABLE session RENAME "expiresAt" TO expires_at; ALTER TABLE session RENAME "userId" TO user_id;
		ALTER TABLE session RENAME "activeOrganizationId" TO active_organization_id; ALTER TABLE session RENAME "activeTeamId" TO active_team_id;
		ALTER TABLE team RENAME "organizationId" TO organization_id;
		ALTER TABLE "teamMember" RENAME TO team_member; ALTER TABLE team_member RENAME "teamId" TO team_id; ALTER TABLE team_member RENAME "userId" TO user_id;
		ALTER TABLE member RENAME "organizationId" TO organization_id; ALTER TABLE member RENAME "userId" TO user_id`
	const noOrganizations = `DROP TABLE member, "teamMember", team, organization; ALTER TABLE session DROP "activeOrganizationId", DROP "activeTeamId"`
	bans := found("bans", "user.banned, user.banExpires")
	for name, test := range map[string]struct {
		change  string
		preset  db.Preset
		refused string // part of the error
		read    db.DirectoryRead
	}{
		"as they are":               {read: bans},
		"snake_case":                {change: allSnake, read: found("bans", "user.banned, user.ban_expires")},
		"snake_case, organizations": {change: allSnake, read: found("active organization", "session.active_organization_id")},
		"one column in snake_case": {
			change: `ALTER TABLE session RENAME "activeOrganizationId" TO active_organization_id`,
			read:   found("active organization", "session.active_organization_id"),
		},
		"a time without zone": {change: `ALTER TABLE "user" ALTER "banExpires" TYPE timestamp USING "banExpires" AT TIME ZONE 'UTC'`, read: bans},

		"banned renamed":    {change: `ALTER TABLE "user" RENAME banned TO is_banned`, refused: "there is user.banExpires and no user.banned. If the application renamed it, name it with --column user.banned=NAME"},
		"banExpires absent": {change: `ALTER TABLE "user" DROP "banExpires"`, refused: "there is user.banned and no user.banExpires"},
		"bans renamed, and a sign of the plugin": {
			change:  `ALTER TABLE "user" RENAME banned TO a; ALTER TABLE "user" RENAME "banExpires" TO b; ALTER TABLE session ADD impersonated_by text`,
			refused: "there is session.impersonatedBy and no user.banned, user.banExpires",
		},
		"active organization renamed": {change: `ALTER TABLE session RENAME "activeOrganizationId" TO org`, refused: "there is member, team and no session.activeOrganizationId"},
		"member renamed":              {change: `ALTER TABLE member RENAME TO members`, refused: "name it with --table member=NAME"},
		"teamMember renamed":          {change: `ALTER TABLE "teamMember" RENAME TO tm`, refused: "teams cannot be read: there is team, session.activeTeamId and no teamMember"},
		"teams renamed":               {change: `ALTER TABLE "teamMember" RENAME TO tm; ALTER TABLE team RENAME TO t`, refused: "there is session.activeTeamId and no team, teamMember"},
		"userId of member renamed":    {change: `ALTER TABLE member RENAME "userId" TO person`, refused: "table public.member has no column userId: name it with --column member.userId=NAME"},
		"members and active organization renamed": {
			change:  `DROP TABLE "teamMember", team; ALTER TABLE session DROP "activeTeamId"; ALTER TABLE session RENAME "activeOrganizationId" TO org; ALTER TABLE member RENAME TO members; CREATE TABLE invitation (id text, inviter_id text)`,
			refused: "there is invitation.inviterId and no session.activeOrganizationId",
		},
		"members and active organization renamed, with teams": {
			change:  `ALTER TABLE session RENAME "activeOrganizationId" TO org; ALTER TABLE member RENAME TO members`,
			refused: "there is team and no session.activeOrganizationId",
		},
		"two spellings":   {change: `ALTER TABLE session ADD active_organization_id text`, refused: "has both activeOrganizationId and active_organization_id: say which"},
		"user renamed":    {change: `ALTER TABLE "user" RENAME TO users`, refused: "there is no table public.user: start the application once"},
		"session renamed": {change: `ALTER TABLE session RENAME TO sessions`, refused: "there is no table public.session: start the application once"},
		"no tables":       {preset: db.Preset{Schema: "nowhere"}, refused: "there is no table nowhere.user: start the application once"},

		"banned named": {
			change: `ALTER TABLE "user" RENAME banned TO is_banned`, preset: db.Preset{Columns: map[string]string{"banned": "is_banned"}},
			read: found("bans", "user.is_banned, user.banExpires"),
		},
		"one column of one table named": {
			change: `ALTER TABLE member RENAME "userId" TO person`, preset: db.Preset{Columns: map[string]string{"member.userId": "person"}},
			read: found("members", "member.person, member.organizationId"),
		},
		"a column of several tables named": {
			change: `ALTER TABLE member RENAME "userId" TO person; ALTER TABLE "teamMember" RENAME "userId" TO person`, preset: db.Preset{Columns: map[string]string{"userId": "person"}},
			read: found("teams", "team.id, team.organizationId, teamMember.person, teamMember.teamId"),
		},
		"one of two spellings named": {
			change: `ALTER TABLE session ADD active_organization_id text`, preset: db.Preset{Columns: map[string]string{"activeOrganizationId": "activeOrganizationId"}},
			read: found("active organization", "session.activeOrganizationId"),
		},
		"tables named": {
			change: `ALTER TABLE member RENAME TO members; ALTER TABLE "user" RENAME TO "People!"`, preset: db.Preset{Tables: map[string]string{"member": "members", "user": "People!"}},
			read: found("members", "members.userId, members.organizationId"),
		},
		"a column that is not there": {preset: db.Preset{Columns: map[string]string{"banned": "is_banned"}}, refused: "no table has the column is_banned that --column banned=is_banned names"},
		"a name that is not read":    {preset: db.Preset{Columns: map[string]string{"email": "mail"}}, refused: "reads no column email"},
		"a table that is not there":  {preset: db.Preset{Tables: map[string]string{"member": "members"}}, refused: "has no members, which --table member=members names"},
		"a table that is not read":   {preset: db.Preset{Tables: map[string]string{"account": "accounts"}}, refused: "reads no table account"},
		"anonymous without a column": {preset: db.Preset{AllowAnonymous: true}, refused: "there is no column isAnonymous"},

		"without organizations": {change: noOrganizations, read: absent("members")},
		"without bans":          {change: `ALTER TABLE "user" DROP banned, DROP "banExpires"`, read: absent("bans")},
		"without teams":         {change: `DROP TABLE "teamMember", team; ALTER TABLE session DROP "activeTeamId"`, read: absent("teams")},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			pg := application(t, "better-auth")
			exec(t, pg, test.change)
			test.preset.Name = db.BetterAuthDirectory
			if test.preset.Schema == "" {
				test.preset.Schema = "public"
			}
			d, reads, err := openURL(t, pg.URL).PresetDirectory(t.Context(), test.preset)
			if test.refused != "" {
				wantError(t, err, admin.ErrInvalid, test.refused)
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			use(t, pg, d)
			if !slices.Contains(reads, test.read) {
				t.Errorf("reads = %v, want one to be %v", reads, test.read)
			}
			wantBans, wantOrganization := !strings.Contains(name, "without bans"), name != "without organizations"
			if p, err := lookUp(t, pg, "bob"); (err != nil) != wantBans {
				t.Errorf("a banned user: %+v, %v", p, err)
			}
			if _, err := lookUp(t, pg, "cyd"); err != nil {
				t.Errorf("a user whose ban is over: %v", err)
			}
			p, err := lookUp(t, pg, "ada-in-org1")
			if err != nil || (p.User.Organization == "org1") != wantOrganization {
				t.Errorf("ada in org1: %+v, %v", p, err)
			}
			// usher directory show also says what is read.
			if sql := inForce(t, pg).SQL; !strings.Contains(sql, "-- "+test.read.String()+"\n") {
				t.Errorf("the SQL in force does not say %q:\n%s", test.read, sql)
			}
		})
	}
}

// What a preset reads is listed in words: all of it found, all absent, or of one
// plugin a part.
func TestPresetReads(t *testing.T) {
	t.Parallel()
	const (
		better16 = `
			CREATE TABLE "user" (id text PRIMARY KEY, name text NOT NULL, email text NOT NULL UNIQUE, "emailVerified" boolean NOT NULL, image text, "createdAt" timestamptz NOT NULL, "updatedAt" timestamptz NOT NULL);
			CREATE TABLE session (id text PRIMARY KEY, "expiresAt" timestamptz NOT NULL, token text NOT NULL UNIQUE, "createdAt" timestamptz NOT NULL, "updatedAt" timestamptz NOT NULL, "ipAddress" text, "userAgent" text, "userId" text NOT NULL REFERENCES "user")`
		admin16 = `;
			ALTER TABLE "user" ADD role text, ADD banned boolean, ADD "banReason" text, ADD "banExpires" timestamptz;
			ALTER TABLE session ADD "impersonatedBy" text`
		organization16 = `;
			CREATE TABLE organization (id text PRIMARY KEY, name text NOT NULL, slug text NOT NULL UNIQUE, logo text, "createdAt" timestamptz NOT NULL, metadata text);
			CREATE TABLE member (id text PRIMARY KEY, "organizationId" text NOT NULL REFERENCES organization, "userId" text NOT NULL REFERENCES "user", role text NOT NULL, "createdAt" timestamptz NOT NULL);
			CREATE TABLE invitation (id text PRIMARY KEY, "organizationId" text NOT NULL REFERENCES organization, email text NOT NULL, role text, status text NOT NULL, "expiresAt" timestamptz NOT NULL, "createdAt" timestamptz NOT NULL, "inviterId" text NOT NULL REFERENCES "user");
			ALTER TABLE session ADD "activeOrganizationId" text`
		authJS = `
			CREATE TABLE users (id serial PRIMARY KEY, name varchar(255), email varchar(255), "emailVerified" timestamptz, image text);
			CREATE TABLE sessions (id serial PRIMARY KEY, "userId" integer NOT NULL, expires timestamptz NOT NULL, "sessionToken" varchar(255) NOT NULL)`
	)
	better17, err := os.ReadFile("testdata/better-auth.sql")
	if err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		tables string
		preset db.Preset
		want   string
	}{
		"Better Auth 1.6 without plugins": {tables: better16, want: `
			users: found (user.id, user.name, user.image)
			sessions: found (session.token, session.userId, session.expiresAt)
			bans: absent
			active organization: absent
			members: absent
			teams: absent
			anonymous users: absent`},
		"Better Auth 1.6, two plugins": {tables: better16 + admin16 + organization16, want: `
			users: found (user.id, user.name, user.image)
			sessions: found (session.token, session.userId, session.expiresAt)
			bans: found (user.banned, user.banExpires)
			active organization: found (session.activeOrganizationId)
			members: found (member.userId, member.organizationId)
			teams: absent
			anonymous users: absent`},
		"Better Auth 1.6, renamed in part": {
			tables: better16 + admin16 + organization16 + `;
				ALTER TABLE "user" RENAME banned TO is_banned; ALTER TABLE member RENAME TO members; ALTER TABLE session RENAME "userId" TO user_id`,
			want: `
			users: found (user.id, user.name, user.image)
			sessions: found (session.token, session.user_id, session.expiresAt)
			bans: contradictory; there is user.banExpires, user.banReason, session.impersonatedBy and no user.banned. If the application renamed it, name it with --column user.banned=NAME
			active organization: found (session.activeOrganizationId)
			members: contradictory; there is session.activeOrganizationId, invitation.inviterId and no member. If the application renamed it, name it with --table member=NAME
			teams: absent
			anonymous users: absent`,
		},
		"Better Auth 1.6, renamed and named": {
			tables: better16 + admin16 + organization16 + `;
				ALTER TABLE "user" RENAME banned TO is_banned; ALTER TABLE member RENAME TO members; ALTER TABLE members RENAME "userId" TO person`,
			preset: db.Preset{Tables: map[string]string{"member": "members"}, Columns: map[string]string{"banned": "is_banned", "member.userId": "person"}},
			want: `
			users: found (user.id, user.name, user.image)
			sessions: found (session.token, session.userId, session.expiresAt)
			bans: found (user.is_banned, user.banExpires)
			active organization: found (session.activeOrganizationId)
			members: found (members.person, members.organizationId)
			teams: absent
			anonymous users: absent`,
		},
		"Better Auth 1.7": {tables: string(better17) + `; ALTER TABLE "user" ADD "isAnonymous" boolean`, want: `
			users: found (user.id, user.name, user.image)
			sessions: found (session.token, session.userId, session.expiresAt)
			bans: found (user.banned, user.banExpires)
			active organization: found (session.activeOrganizationId)
			members: found (member.userId, member.organizationId)
			teams: found (team.id, team.organizationId, teamMember.userId, teamMember.teamId)
			anonymous users: found (user.isAnonymous); disabled: allow them with --allow-anonymous`},
		"Better Auth 1.7, renamed in part": {
			tables: string(better17) + `;
				ALTER TABLE session RENAME "activeOrganizationId" TO org; ALTER TABLE "teamMember" RENAME "userId" TO person; ALTER TABLE "user" ADD ban_expires timestamptz`,
			want: `
			users: found (user.id, user.name, user.image)
			sessions: found (session.token, session.userId, session.expiresAt)
			bans: contradictory; table public.user has both banExpires and ban_expires: say which one the application uses with --column user.banExpires=NAME
			active organization: contradictory; there is member, team and no session.activeOrganizationId. If the application renamed it, name it with --column session.activeOrganizationId=NAME
			members: found (member.userId, member.organizationId)
			teams: contradictory; table public.teamMember has no column userId: name it with --column teamMember.userId=NAME
			anonymous users: absent`,
		},
		"Better Auth before its first start": {tables: "SELECT", want: `
			users: absent
			sessions: absent
			bans: absent
			active organization: absent
			members: absent
			teams: absent
			anonymous users: absent`},
		"Auth.js": {tables: authJS, preset: db.Preset{Name: db.AuthJSDirectory}, want: `
			users: found (users.id, users.name, users.image)
			sessions: found (sessions.sessionToken, sessions.userId, sessions.expires)`},
		"Auth.js, renamed": {
			tables: authJS + `; ALTER TABLE sessions RENAME "sessionToken" TO session_token; ALTER TABLE users RENAME image TO picture`,
			preset: db.Preset{Name: db.AuthJSDirectory}, want: `
			users: contradictory; table public.users has no column image: name it with --column users.image=NAME
			sessions: found (sessions.session_token, sessions.userId, sessions.expires)`,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			pg := dbtest.New(t)
			exec(t, pg, test.tables)
			test.preset.Schema = "public"
			if test.preset.Name == "" {
				test.preset.Name = db.BetterAuthDirectory
			}
			_, reads, err := openURL(t, pg.URL).PresetDirectory(t.Context(), test.preset)
			var lines []string
			for _, r := range reads {
				lines = append(lines, r.String())
			}
			want := strings.Split(strings.ReplaceAll(strings.TrimSpace(test.want), "\t", ""), "\n")
			if diff := cmp.Diff(want, lines); diff != "" {
				t.Errorf("reads (-want +got):\n%s", diff)
			}
			if refused := strings.Contains(test.want, "contradictory") || strings.Contains(test.want, "users: absent\n"); errors.Is(err, admin.ErrInvalid) != refused || err != nil && !refused {
				t.Errorf("error = %v", err)
			}
		})
	}
}

func TestAnonymousUsers(t *testing.T) {
	t.Parallel()
	for _, column := range []string{`"isAnonymous"`, "is_anonymous"} {
		for _, allowed := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s allowed=%t", column, allowed), func(t *testing.T) {
				t.Parallel()
				pg := application(t, "better-auth")
				exec(t, pg, fmt.Sprintf(`ALTER TABLE "user" ADD %[1]s boolean; UPDATE "user" SET %[1]s = id = 'cyd3' WHERE id <> 'dan4'`, column))
				d, reads, err := openURL(t, pg.URL).PresetDirectory(t.Context(), db.Preset{Name: db.BetterAuthDirectory, Schema: "public", AllowAnonymous: allowed})
				if err != nil {
					t.Fatal(err)
				}
				use(t, pg, d)
				want := found("anonymous users", "user."+strings.Trim(column, `"`))
				want.Note = "disabled: allow them with --allow-anonymous"
				if allowed {
					want.Note = "allowed"
				}
				if diff := cmp.Diff(want, reads[len(reads)-1]); diff != "" {
					t.Errorf("reads (-want +got):\n%s", diff)
				}
				if _, err := lookUp(t, pg, "cyd"); (err == nil) != allowed {
					t.Errorf("an anonymous user: %v, allowed: %t", err, allowed)
				}
				for _, token := range []string{"ada-free", "ada-in-org1"} {
					if _, err := lookUp(t, pg, token); err != nil {
						t.Errorf("%s: %v", token, err)
					}
				}
				if _, err := lookUp(t, pg, "bob"); err == nil {
					t.Error("a banned user is let in")
				}
			})
		}
	}
}

func TestAuthJSNames(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		change  string
		preset  db.Preset
		refused string
	}{
		"as they are":           {},
		"snake_case":            {change: `ALTER TABLE sessions RENAME "sessionToken" TO session_token; ALTER TABLE sessions RENAME "userId" TO user_id`},
		"without zone":          {change: `ALTER TABLE sessions ALTER expires TYPE timestamp USING expires AT TIME ZONE 'UTC'`},
		"tables named":          {change: `ALTER TABLE sessions RENAME TO "Session"`, preset: db.Preset{Tables: map[string]string{"sessions": "Session"}}},
		"no users":              {change: `DROP TABLE users`, refused: "there is no table public.users: start the application once"},
		"another schema":        {preset: db.Preset{Schema: "next_auth"}, refused: "there is no table next_auth.users"},
		"no session token":      {change: `ALTER TABLE sessions DROP "sessionToken"`, refused: "table public.sessions has no column sessionToken"},
		"Better Auth's columns": {preset: db.Preset{Columns: map[string]string{"banned": "x"}}, refused: "reads no column banned"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			pg := application(t, "authjs")
			if test.refused == "" {
				exec(t, pg, sessionTokenIndex)
			}
			exec(t, pg, test.change)
			test.preset.Name = db.AuthJSDirectory
			if test.preset.Schema == "" {
				test.preset.Schema = "public"
			}
			d, _, err := openURL(t, pg.URL).PresetDirectory(t.Context(), test.preset)
			if test.refused != "" {
				wantError(t, err, admin.ErrInvalid, test.refused)
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			use(t, pg, d)
			if p, err := lookUp(t, pg, "ada"); err != nil || p.User.ID != "1" {
				t.Errorf("look-up: %+v, %v", p, err)
			}
		})
	}
}

func TestOwnDirectoryHasNoNames(t *testing.T) {
	t.Parallel()
	owner := openURL(t, dbtest.New(t).URL)
	for _, p := range []db.Preset{{AllowAnonymous: true}, {Tables: map[string]string{"user": "x"}}, {Columns: map[string]string{"user": "x"}}} {
		p.Name, p.Schema = db.OwnDirectory, "public"
		_, _, err := owner.PresetDirectory(t.Context(), p)
		wantError(t, err, admin.ErrInvalid, "leave out --table, --column and --allow-anonymous")
	}
	_, _, err := owner.PresetDirectory(t.Context(), db.Preset{Name: "clerk", Schema: "public"})
	wantError(t, err, admin.ErrNotFound, `there is no directory "clerk"`)
}
