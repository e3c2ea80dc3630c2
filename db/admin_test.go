package db_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/usher-auth/usher/db"
	"github.com/usher-auth/usher/db/dbtest"
	"github.com/usher-auth/usher/internal/admin"
	"github.com/usher-auth/usher/internal/principal"
	"github.com/usher-auth/usher/internal/secret"
	"github.com/usher-auth/usher/permissions"
)

const actor = "cli:root@test"

var (
	acme      = admin.Subject{Kind: admin.OrganizationKind, ID: "acme"}
	reviewers = admin.Subject{Kind: admin.GroupKind, ID: "reviewers"}
	ada       = admin.Subject{Kind: admin.UserKind, ID: "ada"}
	everyone  = admin.Subject{Kind: admin.EveryoneKind}
)

// openURL is open for other roles than that of usher serve. Administrators need
// another role only for signing keys.
func openURL(t *testing.T, url string) *db.DB {
	t.Helper()
	database, err := db.Open(secret.New(url))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(database.Close)
	return database
}

// newTenant returns a database with users ada and bob, both members of
// organization acme, and with acme's group reviewers, of which ada is a member.
func newTenant(t *testing.T) (*db.DB, *dbtest.DB) {
	t.Helper()
	pg := dbtest.New(t)
	database := open(t, pg)
	must := func(_ any, err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(database.AddUser(t.Context(), "ada", nil, actor))
	must(database.AddUser(t.Context(), "bob", nil, actor))
	must(database.AddOrganization(t.Context(), "acme", "", actor))
	must(database.AddGroup(t.Context(), "reviewers", "acme", "", actor))
	must(database.AddMember(t.Context(), acme, "ada", actor))
	must(database.AddMember(t.Context(), acme, "bob", actor))
	must(database.AddMember(t.Context(), reviewers, "ada", actor))
	return database, pg
}

func addGrant(t *testing.T, database *db.DB, g admin.NewGrant) admin.Grant {
	t.Helper()
	added, _, err := database.AddGrant(t.Context(), g, actor)
	if err != nil {
		t.Fatal(err)
	}
	return added
}

// room is a FULL grant of a room pattern.
func room(subject admin.Subject, pattern string) admin.NewGrant {
	return admin.NewGrant{Subject: subject, Kind: permissions.RoomKind, Pattern: pattern, Access: permissions.Full}
}

// wantError checks an error's sentinel and a part of its sentence.
func wantError(t *testing.T, err, sort error, part string) {
	t.Helper()
	if !errors.Is(err, sort) {
		t.Errorf("error = %v, want one that is %v", err, sort)
	} else if !strings.Contains(err.Error(), part) {
		t.Errorf("error = %v, want one with %q", err, part)
	}
}

func connect(t *testing.T, url string) *pgx.Conn {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	return conn // the database is dropped at the end of the test
}

// run runs SQL in a transaction.
func run(t *testing.T, tx pgx.Tx, sql string) {
	t.Helper()
	if _, err := tx.Exec(t.Context(), sql); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
}

// awaitBlocked returns when a session waits for a lock. It fails the test if the
// call that should wait ends instead.
func awaitBlocked(t *testing.T, pg *dbtest.DB, ended <-chan error) {
	t.Helper()
	for blocked := false; !blocked; {
		select {
		case err := <-ended:
			t.Fatalf("the call did not wait for a lock: %v", err)
		default:
		}
		err := pg.Pool.QueryRow(t.Context(), `
			SELECT EXISTS (SELECT FROM pg_locks JOIN pg_stat_activity USING (pid)
			                WHERE NOT granted AND datname = current_database())`).Scan(&blocked)
		if err != nil {
			t.Fatal(err)
		}
	}
}

// principalOf signs a user in and looks up the session's principal.
func principalOf(t *testing.T, database *db.DB, user string) *principal.Principal {
	t.Helper()
	token, _, err := database.AddSession(t.Context(), user, "", time.Hour, "t")
	if err != nil {
		t.Fatal(err)
	}
	directory, err := database.Directory(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	p, err := directory.PrincipalBySession(t.Context(), token)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestAddUser(t *testing.T) {
	t.Parallel()
	database := open(t, dbtest.New(t))
	before := time.Now()
	added, err := database.AddUser(t.Context(), "ada", []byte(`{"name":"Ada <3"}`), actor)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := string(added.Info), `{"name": "Ada <3"}`; got != want {
		t.Errorf("info = %s, want %s", got, want)
	}
	if added.ID != "ada" || added.CreatedBy != actor || added.DisabledAt != nil || added.CreatedAt.Before(before.Add(-time.Minute)) {
		t.Errorf("added = %+v", added)
	}
	bare, err := database.AddUser(t.Context(), "*", nil, actor) // an id, not a pattern
	if err != nil {
		t.Fatal(err)
	}
	if bare.Info != nil {
		t.Errorf("info = %s, want none", bare.Info)
	}
	users, err := database.Users(t.Context(), admin.Page[string]{})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]admin.User{bare, added}, users); diff != "" {
		t.Errorf("Users (-want +got):\n%s", diff)
	}
	_, err = database.AddUser(t.Context(), "ada", nil, actor)
	wantError(t, err, admin.ErrExists, `user "ada" already exists`)
	_, err = database.AddUser(t.Context(), "grace", nil, "")
	wantError(t, err, admin.ErrInvalid, "actor is empty")
	for _, info := range []string{"null", "[]", `"Ada"`, "{", `{"a":1}{}`, ""} {
		_, err := database.AddUser(t.Context(), "grace", []byte(info), actor)
		wantError(t, err, admin.ErrInvalid, "not a JSON object")
	}
	_, err = database.AddUser(t.Context(), "grace", []byte(`{"name":"\u0000"}`), actor) // valid JSON, but not valid jsonb
	wantError(t, err, admin.ErrInvalid, "Postgres refuses the values")
}

func TestIDs(t *testing.T) {
	t.Parallel()
	database := open(t, dbtest.New(t))
	for _, c := range []struct {
		name, id string
		fault    string // empty: valid
	}{
		{"of one unit", "a", ""},
		{"of 128 units", strings.Repeat("a", 128), ""},
		{"of 64 pairs of surrogates", strings.Repeat("😀", 64), ""},
		{"of 128 characters of three bytes", strings.Repeat("€", 128), ""},
		{"with spaces and braces", "{user} *", ""},
		{"empty", "", "is empty"},
		{"of 129 units", strings.Repeat("a", 129), "longer than 128 UTF-16 units"},
		{"of 65 pairs of surrogates", strings.Repeat("😀", 65), "longer than 128 UTF-16 units"},
		{"with NUL", "a\x00", "control character"},
		{"with a newline", "a\n", "control character"},
		{"with DEL", "a\x7f", "control character"},
		{"with a C1 character", "a\u009f", "control character"},
		{"not UTF-8", "a\xff", "not valid UTF-8"},
	} {
		_, userErr := database.AddUser(t.Context(), c.id, nil, actor)
		_, organizationErr := database.AddOrganization(t.Context(), c.id, "", actor)
		_, groupErr := database.AddGroup(t.Context(), c.id, "", "", actor)
		_, _, grantErr := database.AddGrant(t.Context(), room(admin.Subject{Kind: admin.UserKind, ID: c.id}, "a"), actor)
		confined := room(everyone, "a")
		confined.Organization = c.id
		_, _, confinedErr := database.AddGrant(t.Context(), confined, actor)
		errs := []error{userErr, organizationErr, groupErr, grantErr, confinedErr}
		if c.id == "" {
			errs = errs[:4] // such a grant cannot be confined
		}
		for i, err := range errs {
			if c.fault != "" {
				wantError(t, err, admin.ErrInvalid, c.fault)
			} else if err != nil {
				t.Errorf("id %s, call %d: %v", c.name, i, err)
			}
		}
	}
}

// The table itself refuses invalid ids, because others may write to it.
func TestIDsInSQL(t *testing.T) {
	t.Parallel()
	pg := dbtest.New(t)
	for _, id := range []string{"", "a\n", "a\x7f", "a\u009f", strings.Repeat("a", 129)} {
		_, err := pg.Pool.Exec(t.Context(), "INSERT INTO usher.users (id, created_by) VALUES ($1, 'test')", id)
		if pgErr, ok := errors.AsType[*pgconn.PgError](err); !ok || pgErr.Code != "23514" {
			t.Errorf("id %q: %v, want 23514, check violation", id, err)
		}
	}
}

func TestDisableUser(t *testing.T) {
	t.Parallel()
	database, _ := newTenant(t)
	first, err := database.SetUserDisabled(t.Context(), "ada", true, "t")
	if err != nil || first.DisabledAt == nil {
		t.Fatalf("disabled = %+v, %v", first, err)
	}
	if p := principalOf(t, database, "ada"); !p.Disabled {
		t.Error("the look-up calls the user enabled")
	}
	again, err := database.SetUserDisabled(t.Context(), "ada", true, "t")
	if err != nil || !again.DisabledAt.Equal(*first.DisabledAt) {
		t.Errorf("disabled again = %+v, %v; want since %s", again, err, first.DisabledAt)
	}
	enabled, err := database.SetUserDisabled(t.Context(), "ada", false, "t")
	if err != nil || enabled.DisabledAt != nil {
		t.Errorf("enabled = %+v, %v", enabled, err)
	}
	if p := principalOf(t, database, "ada"); p.Disabled {
		t.Error("the look-up calls the user disabled")
	}
	_, err = database.SetUserDisabled(t.Context(), "nobody", true, "t")
	wantError(t, err, admin.ErrNotFound, `there is no user "nobody"`)
}

func TestDeletedUserLeavesNothing(t *testing.T) {
	t.Parallel()
	database, pg := newTenant(t)
	addGrant(t, database, room(ada, "acme:design:*"))
	addGrant(t, database, room(ada, "acme:review:*"))
	addGrant(t, database, room(admin.Subject{Kind: admin.UserKind, ID: "bob"}, "acme:design:*"))
	addGrant(t, database, room(everyone, "{organization}:lobby"))
	if p := principalOf(t, database, "ada"); len(p.Grants) != 3 || len(p.MemberOf.Groups) != 1 {
		t.Fatalf("before: %+v", p)
	}
	bystander := principalOf(t, database, "bob")

	gone, err := database.DeleteUser(t.Context(), "ada", "cli:eve@test")
	if err != nil {
		t.Fatal(err)
	}
	if want := (admin.Deletion{GrantsRevoked: 2, MembershipsEnded: 2, SessionsEnded: 1}); gone != want {
		t.Errorf("gone = %+v, want %+v", gone, want)
	}
	grants, err := database.Grants(t.Context(), admin.GrantFilter{Subject: ada, Ended: true}, admin.Page[int64]{})
	if err != nil || len(grants) != 2 {
		t.Fatalf("grants of the deleted user = %+v, %v; want both kept", grants, err)
	}
	for _, g := range grants {
		if g.RevokedAt == nil || g.RevokedBy != "cli:eve@test" || g.RevokeReason != "user deleted" {
			t.Errorf("grant = %+v, want it revoked by the one who deleted", g)
		}
	}
	var ended int
	err = pg.Pool.QueryRow(t.Context(), "SELECT count(*) FROM usher.memberships WHERE user_id = 'ada' AND ended_by = 'cli:eve@test'").Scan(&ended)
	if err != nil || ended != 2 {
		t.Errorf("%d memberships ended by the one who deleted, %v; want 2", ended, err)
	}

	if _, err := database.AddUser(t.Context(), "ada", nil, actor); err != nil {
		t.Fatal(err)
	}
	p := principalOf(t, database, "ada")
	if len(p.MemberOf.Organizations)+len(p.MemberOf.Groups) != 0 || len(p.Grants) != 1 || p.Grants[0].SubjectKind != admin.EveryoneKind {
		t.Errorf("who got the id later inherits %+v %+v", p.MemberOf, p.Grants)
	}
	if after := principalOf(t, database, "bob"); len(after.Grants) != len(bystander.Grants) || len(after.MemberOf.Organizations) != 1 {
		t.Errorf("another user lost something: %+v, had %+v", after, bystander)
	}
	_, err = database.DeleteUser(t.Context(), "nobody", actor)
	wantError(t, err, admin.ErrNotFound, `there is no user "nobody"`)
	_, err = database.DeleteUser(t.Context(), "ada", "")
	wantError(t, err, admin.ErrInvalid, "actor is empty")
}

// A grant may be added after the start of the transaction that deletes its user.
func TestDeletionOfYoungerGrant(t *testing.T) {
	t.Parallel()
	database, pg := newTenant(t)
	deleting, err := connect(t, pg.ServiceURL).Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	run(t, deleting, "SELECT now()")
	addGrant(t, database, room(ada, "acme:design:*"))
	if _, err := database.AddUser(t.Context(), "new", nil, actor); err != nil {
		t.Fatal(err)
	}
	if _, err := database.AddMember(t.Context(), acme, "new", actor); err != nil {
		t.Fatal(err)
	}
	run(t, deleting, "DELETE FROM usher.users WHERE id IN ('ada', 'new')")
	if err := deleting.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// A user who is being deleted gets no grant, no membership and no session, because a
// later user with the same id would inherit them.
func TestAddWhileDeleting(t *testing.T) {
	t.Parallel()
	for name, add := range map[string]func(context.Context, *db.DB) error{
		"grant": func(ctx context.Context, database *db.DB) error {
			_, _, err := database.AddGrant(ctx, room(ada, "acme:design:*"), actor)
			return err
		},
		"membership": func(ctx context.Context, database *db.DB) error {
			if _, err := database.AddOrganization(ctx, "globex", "", actor); err != nil {
				return err
			}
			_, err := database.AddMember(ctx, admin.Subject{Kind: admin.OrganizationKind, ID: "globex"}, "ada", actor)
			return err
		},
		"session": func(ctx context.Context, database *db.DB) error {
			_, _, err := database.AddSession(ctx, "ada", "", time.Hour, "t")
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			database, pg := newTenant(t)
			deleting, err := connect(t, pg.ServiceURL).Begin(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			run(t, deleting, "DELETE FROM usher.users WHERE id = 'ada'")
			added := make(chan error, 1)
			go func() { added <- add(t.Context(), database) }()
			awaitBlocked(t, pg, added)
			if err := deleting.Commit(t.Context()); err != nil {
				t.Fatal(err)
			}
			wantError(t, <-added, admin.ErrNotFound, `there is no user "ada"`)
		})
	}
}

func TestOrganizations(t *testing.T) {
	t.Parallel()
	database, _ := newTenant(t)
	globex, err := database.AddOrganization(t.Context(), "globex", "Globex Inc.", actor)
	if err != nil || globex.ID != "globex" || globex.Name != "Globex Inc." || globex.CreatedBy != actor {
		t.Fatalf("added = %+v, %v", globex, err)
	}
	organizations, err := database.Organizations(t.Context(), admin.Page[string]{})
	if err != nil || len(organizations) != 2 || organizations[0].ID != "acme" || organizations[1] != globex {
		t.Errorf("Organizations = %+v, %v", organizations, err)
	}
	_, err = database.AddOrganization(t.Context(), "acme", "", actor)
	wantError(t, err, admin.ErrExists, `organization "acme" already exists`)
	_, err = database.DeleteOrganization(t.Context(), "nobody", actor)
	wantError(t, err, admin.ErrNotFound, `there is no organization "nobody"`)
}

func TestDeletedOrganizationLeavesNothing(t *testing.T) {
	t.Parallel()
	database, _ := newTenant(t)
	addGrant(t, database, room(acme, "acme:*"))
	confined := room(ada, "acme:design:*")
	confined.Organization = "acme"
	addGrant(t, database, confined)
	addGrant(t, database, room(reviewers, "acme:review:*"))
	addGrant(t, database, room(ada, "mine"))

	_, err := database.DeleteOrganization(t.Context(), "acme", actor)
	wantError(t, err, admin.ErrInUse, `organization "acme" still has groups`)
	if live, err := database.Grants(t.Context(), admin.GrantFilter{}, admin.Page[int64]{}); err != nil || len(live) != 4 {
		t.Fatalf("a refused deletion left %d grants, %v; want all 4", len(live), err)
	}

	gone, err := database.DeleteGroup(t.Context(), "reviewers", actor)
	if want := (admin.Deletion{GrantsRevoked: 1, MembershipsEnded: 1}); err != nil || gone != want {
		t.Errorf("group: gone = %+v, %v; want %+v", gone, err, want)
	}
	gone, err = database.DeleteOrganization(t.Context(), "acme", actor)
	if want := (admin.Deletion{GrantsRevoked: 2, MembershipsEnded: 2}); err != nil || gone != want {
		t.Errorf("organization: gone = %+v, %v; want %+v", gone, err, want)
	}
	if _, err := database.AddOrganization(t.Context(), "acme", "", actor); err != nil {
		t.Fatal(err)
	}
	p := principalOf(t, database, "ada")
	if len(p.MemberOf.Organizations)+len(p.MemberOf.Groups) != 0 || len(p.Grants) != 1 || p.Grants[0].Template.String() != "mine" {
		t.Errorf("in the new organization: %+v %+v", p.MemberOf, p.Grants)
	}
}

func TestGroups(t *testing.T) {
	t.Parallel()
	database, _ := newTenant(t)
	staff, err := database.AddGroup(t.Context(), "staff", "", "Staff", actor)
	if want := (admin.Group{ID: "staff", Name: "Staff", CreatedAt: staff.CreatedAt, CreatedBy: actor}); err != nil || staff != want {
		t.Fatalf("added = %+v, %v; want %+v", staff, err, want)
	}
	groups, err := database.Groups(t.Context(), admin.Page[string]{})
	if err != nil || len(groups) != 2 || groups[0].OrganizationID != "acme" || groups[1] != staff {
		t.Errorf("Groups = %+v, %v", groups, err)
	}
	_, err = database.AddGroup(t.Context(), "staff", "acme", "", actor)
	wantError(t, err, admin.ErrExists, `group "staff" already exists`)
	_, err = database.AddGroup(t.Context(), "editors", "nobody", "", actor)
	wantError(t, err, admin.ErrNotFound, `there is no organization "nobody"`)
	_, err = database.DeleteGroup(t.Context(), "nobody", actor)
	wantError(t, err, admin.ErrNotFound, `there is no group "nobody"`)
}

func TestMembers(t *testing.T) {
	t.Parallel()
	database, pg := newTenant(t)
	members, err := database.Members(t.Context(), acme, admin.Page[string]{})
	if err != nil || len(members) != 2 || members[0].UserID != "ada" || members[1].UserID != "bob" {
		t.Errorf("Members = %+v, %v; want ada and bob", members, err)
	}
	_, err = database.AddMember(t.Context(), acme, "ada", actor)
	wantError(t, err, admin.ErrExists, `user "ada" is already a member of organization "acme"`)
	_, err = database.AddMember(t.Context(), acme, "nobody", actor)
	wantError(t, err, admin.ErrNotFound, `there is no user "nobody"`)
	_, err = database.AddMember(t.Context(), admin.Subject{Kind: admin.OrganizationKind, ID: "nobody"}, "ada", actor)
	wantError(t, err, admin.ErrNotFound, `there is no organization "nobody"`)
	_, err = database.AddMember(t.Context(), admin.Subject{Kind: admin.GroupKind, ID: "nobody"}, "ada", actor)
	wantError(t, err, admin.ErrNotFound, `there is no group "nobody"`)
	_, err = database.AddMember(t.Context(), ada, "bob", actor)
	wantError(t, err, admin.ErrInvalid, `user "ada" has no members`)
	_, err = database.AddMember(t.Context(), acme, "ada", "")
	wantError(t, err, admin.ErrInvalid, "actor is empty")
	_, err = database.Members(t.Context(), admin.Subject{Kind: admin.GroupKind, ID: "nobody"}, admin.Page[string]{})
	wantError(t, err, admin.ErrNotFound, `there is no group "nobody"`)
	_, err = database.Members(t.Context(), everyone, admin.Page[string]{})
	wantError(t, err, admin.ErrInvalid, "everyone has no members")

	_, err = database.RemoveMember(t.Context(), reviewers, "bob", actor)
	wantError(t, err, admin.ErrNotFound, `user "bob" is not a member of group "reviewers"`)
	_, err = database.RemoveMember(t.Context(), everyone, "bob", actor)
	wantError(t, err, admin.ErrInvalid, "everyone has no members")
	groups, err := database.RemoveMember(t.Context(), acme, "bob", actor)
	if err != nil || groups != 0 {
		t.Errorf("RemoveMember = %d groups, %v", groups, err)
	}
	// A new membership has a new row, and the old row stays.
	if _, err := database.AddMember(t.Context(), acme, "bob", actor); err != nil {
		t.Error(err)
	}
	var rows, live int
	err = pg.Pool.QueryRow(t.Context(), "SELECT count(*), count(*) FILTER (WHERE ended_at IS NULL) FROM usher.memberships WHERE user_id = 'bob'").Scan(&rows, &live)
	if err != nil || rows != 2 || live != 1 {
		t.Errorf("bob has %d memberships, %d of them live, %v; want 2 and 1", rows, live, err)
	}
}

func TestLeavingAnOrganizationLeavesItsGroups(t *testing.T) {
	t.Parallel()
	database, _ := newTenant(t)
	staff := admin.Subject{Kind: admin.GroupKind, ID: "staff"}
	if _, err := database.AddGroup(t.Context(), "staff", "", "", actor); err != nil {
		t.Fatal(err)
	}
	for _, user := range []string{"ada", "bob"} {
		if _, err := database.AddMember(t.Context(), staff, user, actor); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := database.AddMember(t.Context(), reviewers, "bob", actor); err != nil {
		t.Fatal(err)
	}
	groups, err := database.RemoveMember(t.Context(), acme, "ada", actor)
	if err != nil || groups != 1 {
		t.Errorf("RemoveMember = %d groups, %v; want 1", groups, err)
	}
	if got, want := principalOf(t, database, "ada").MemberOf.Groups, []string{"staff"}; !slices.Equal(got, want) {
		t.Errorf("groups of who left = %v, want %v", got, want)
	}
	if got := principalOf(t, database, "bob").MemberOf.Groups; len(got) != 2 {
		t.Errorf("groups of who stayed = %v, want both", got)
	}
	// A guest of a group is not a member of the organization.
	if _, err := database.AddMember(t.Context(), reviewers, "ada", actor); err != nil {
		t.Fatal(err)
	}
	_, err = database.RemoveMember(t.Context(), acme, "ada", actor)
	wantError(t, err, admin.ErrNotFound, `user "ada" is not a member of organization "acme"`)
	if got := principalOf(t, database, "ada").MemberOf.Groups; len(got) != 2 {
		t.Errorf("groups after a refused removal = %v, want both", got)
	}
}

func TestMembershipHistoryIsKept(t *testing.T) {
	t.Parallel()
	database, pg := newTenant(t)
	if _, err := database.RemoveMember(t.Context(), acme, "ada", actor); err != nil {
		t.Fatal(err)
	}
	wantForbidden(t, pg,
		"UPDATE usher.memberships SET user_id = 'eve' WHERE ended_at IS NULL",
		"UPDATE usher.memberships SET ended_at = NULL, ended_by = NULL WHERE ended_at IS NOT NULL",
		"UPDATE usher.memberships SET ended_at = now(), ended_by = 'eve' WHERE ended_at IS NOT NULL",
		"DELETE FROM usher.memberships",
		"TRUNCATE usher.memberships")
}

// wantForbidden checks that neither the service nor the owner may run statements.
func wantForbidden(t *testing.T, pg *dbtest.DB, statements ...string) {
	t.Helper()
	for role, url := range map[string]string{"service": pg.ServiceURL, "owner": pg.URL} {
		conn := connect(t, url)
		for _, sql := range statements {
			_, err := conn.Exec(t.Context(), sql)
			if pgErr, ok := errors.AsType[*pgconn.PgError](err); !ok || pgErr.Code != "42501" {
				t.Errorf("%s: %s: %v, want 42501, insufficient privilege", role, sql, err)
			}
		}
	}
}

func TestNotMigrated(t *testing.T) {
	t.Parallel()
	pg := dbtest.New(t)
	exec(t, pg, "DROP SCHEMA usher CASCADE")
	database := openURL(t, pg.URL)
	_, err := database.Users(t.Context(), admin.Page[string]{})
	wantError(t, err, db.ErrNotMigrated, "usher migrate up")
	_, err = database.AddUser(t.Context(), "ada", nil, actor)
	wantError(t, err, db.ErrNotMigrated, "usher migrate up")
}

func TestAdminUnavailable(t *testing.T) {
	t.Parallel()
	database := openURL(t, "postgres://usher@127.0.0.1:1/usher")
	_, err := database.Users(t.Context(), admin.Page[string]{})
	wantError(t, err, principal.ErrUnavailable, "list users")
	_, err = database.DeleteUser(t.Context(), "ada", actor)
	wantError(t, err, principal.ErrUnavailable, "delete user")
}
