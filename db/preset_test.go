package db_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/usher-auth/usher/db"
	"github.com/usher-auth/usher/db/dbtest"
	"github.com/usher-auth/usher/internal/admin"
)

// An application's changes to the tables of testdata/better-auth.sql, and what
// usher reads then.
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
	bans := db.DirectoryRead{What: "bans", From: "user.banned, user.banExpires"}
	for name, test := range map[string]struct {
		change  string
		preset  db.Preset
		refused string // a part of the error
		read    db.DirectoryRead
	}{
		"as they are":               {read: bans},
		"snake_case":                {change: allSnake, read: db.DirectoryRead{What: "bans", From: "user.banned, user.ban_expires"}},
		"snake_case, organizations": {change: allSnake, read: db.DirectoryRead{What: "active organization", From: "session.active_organization_id"}},
		"one column in snake_case": {
			change: `ALTER TABLE session RENAME "activeOrganizationId" TO active_organization_id`,
			read:   db.DirectoryRead{What: "active organization", From: "session.active_organization_id"},
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
			refused: "there is invitation.inviterId and no session.activeOrganizationId, member",
		},
		"members and active organization renamed, with teams": {
			change:  `ALTER TABLE session RENAME "activeOrganizationId" TO org; ALTER TABLE member RENAME TO members`,
			refused: "there is team and no session.activeOrganizationId, member",
		},
		"two spellings":   {change: `ALTER TABLE session ADD active_organization_id text`, refused: "has both activeOrganizationId and active_organization_id: say which"},
		"user renamed":    {change: `ALTER TABLE "user" RENAME TO users`, refused: "there is no table public.user: start the application once"},
		"session renamed": {change: `ALTER TABLE session RENAME TO sessions`, refused: "there is no table public.session: start the application once"},
		"no tables":       {preset: db.Preset{Schema: "nowhere"}, refused: "there is no table nowhere.user: start the application once"},

		"banned named": {
			change: `ALTER TABLE "user" RENAME banned TO is_banned`, preset: db.Preset{Columns: map[string]string{"banned": "is_banned"}},
			read: db.DirectoryRead{What: "bans", From: "user.is_banned, user.banExpires"},
		},
		"one column of one table named": {
			change: `ALTER TABLE member RENAME "userId" TO person`, preset: db.Preset{Columns: map[string]string{"member.userId": "person"}},
			read: db.DirectoryRead{What: "members", From: "member"},
		},
		"a column of several tables named": {
			change: `ALTER TABLE member RENAME "userId" TO person; ALTER TABLE "teamMember" RENAME "userId" TO person`, preset: db.Preset{Columns: map[string]string{"userId": "person"}},
			read: db.DirectoryRead{What: "teams", From: "team, teamMember"},
		},
		"one of two spellings named": {
			change: `ALTER TABLE session ADD active_organization_id text`, preset: db.Preset{Columns: map[string]string{"activeOrganizationId": "activeOrganizationId"}},
			read: db.DirectoryRead{What: "active organization", From: "session.activeOrganizationId"},
		},
		"tables named": {
			change: `ALTER TABLE member RENAME TO members; ALTER TABLE "user" RENAME TO "People!"`, preset: db.Preset{Tables: map[string]string{"member": "members", "user": "People!"}},
			read: db.DirectoryRead{What: "members", From: "members"},
		},
		"a column that is not there": {preset: db.Preset{Columns: map[string]string{"banned": "is_banned"}}, refused: "no table has the column is_banned that --column banned=is_banned names"},
		"a name that is not read":    {preset: db.Preset{Columns: map[string]string{"email": "mail"}}, refused: "reads no column email"},
		"a table that is not there":  {preset: db.Preset{Tables: map[string]string{"member": "members"}}, refused: "has no members, which --table member=members names"},
		"a table that is not read":   {preset: db.Preset{Tables: map[string]string{"account": "accounts"}}, refused: "reads no table account"},
		"anonymous without a column": {preset: db.Preset{AllowAnonymous: true}, refused: "there is no column isAnonymous"},

		"without organizations": {change: noOrganizations, read: db.DirectoryRead{What: "members"}},
		"without bans":          {change: `ALTER TABLE "user" DROP banned, DROP "banExpires"`, read: db.DirectoryRead{What: "bans"}},
		"without teams":         {change: `DROP TABLE "teamMember", team; ALTER TABLE session DROP "activeTeamId"`, read: db.DirectoryRead{What: "teams"}},
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
			found := false
			for _, r := range reads {
				found = found || r == test.read
			}
			if !found {
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
			// usher directory show says what is read, too.
			if sql := inForce(t, pg).SQL; !strings.Contains(sql, "-- "+test.read.String()+"\n") {
				t.Errorf("the SQL in force does not say %q:\n%s", test.read, sql)
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
				want := db.DirectoryRead{What: "anonymous users", From: "user." + strings.Trim(column, `"`), Note: "disabled: allow them with --allow-anonymous"}
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
