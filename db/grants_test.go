package db_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/usher-auth/usher/internal/admin"
	"github.com/usher-auth/usher/permissions"
)

func TestAddGrant(t *testing.T) {
	t.Parallel()
	database, _ := newTenant(t)
	from, until := time.Now().Add(time.Hour).Truncate(time.Second), time.Now().Add(2*time.Hour).Truncate(time.Second)
	added, warnings, err := database.AddGrant(t.Context(), admin.NewGrant{
		Subject: ada, Organization: "acme", Kind: permissions.StoreKind, Pattern: "acme-notes",
		Access: permissions.Read, From: from, Until: until, Reason: "reads along",
	}, actor)
	if err != nil {
		t.Fatal(err)
	}
	if len(warnings) != 1 || !strings.Contains(warnings[0], "contains '-'") {
		t.Errorf("warnings = %q, want one about '-'", warnings)
	}
	if !added.ValidFrom.Equal(from) || !added.ValidUntil.Equal(until) {
		t.Errorf("holds from %s until %s, want from %s until %s", added.ValidFrom, added.ValidUntil, from, until)
	}
	want := admin.Grant{
		ID: added.ID, SubjectKind: "user", SubjectID: "ada", OrganizationID: "acme", ResourceKind: "store", Pattern: "acme-notes",
		Access: "read", ValidFrom: added.ValidFrom, ValidUntil: added.ValidUntil, Reason: "reads along",
		CreatedAt: added.CreatedAt, CreatedBy: actor,
	}
	if added != want {
		t.Errorf("added = %+v, want %+v", added, want)
	}
	plain := addGrant(t, database, room(everyone, "*"))
	if !plain.ValidFrom.Equal(plain.CreatedAt) || plain.ValidUntil != nil {
		t.Errorf("plain = %+v, want it active at once and never to expire", plain)
	}
	if p := principalOf(t, database, "ada"); len(p.Grants) != 1 || p.Grants[0].ID != plain.ID {
		t.Errorf("grants in force = %+v, want only that of everyone", p.Grants)
	}
}

func TestAddGrantErrors(t *testing.T) {
	t.Parallel()
	database, _ := newTenant(t)
	base := room(ada, "acme:1")
	for _, c := range []struct {
		name   string
		change func(*admin.NewGrant)
		sort   error
		part   string
	}{
		{"no subject", func(g *admin.NewGrant) { g.Subject = admin.Subject{} }, admin.ErrInvalid, "the subject must be a user"},
		{"everyone with an id", func(g *admin.NewGrant) { g.Subject = admin.Subject{Kind: admin.EveryoneKind, ID: "x"} }, admin.ErrInvalid, "everyone has no id"},
		{"no access", func(g *admin.NewGrant) { g.Access = permissions.None }, admin.ErrInvalid, "neither read nor full"},
		{"access beyond", func(g *admin.NewGrant) { g.Access = 9 }, admin.ErrInvalid, "neither read nor full"},
		{"already expired", func(g *admin.NewGrant) { g.Until = time.Now().Add(-time.Minute) }, admin.ErrInvalid, "before it begins"},
		{"ends before it begins", func(g *admin.NewGrant) {
			g.From, g.Until = time.Now().Add(2*time.Hour), time.Now().Add(time.Hour)
		}, admin.ErrInvalid, "before it begins"},
		{"unknown user", func(g *admin.NewGrant) { g.Subject.ID = "nobody" }, admin.ErrNotFound, `there is no user "nobody"`},
		{"unknown group", func(g *admin.NewGrant) { g.Subject = admin.Subject{Kind: admin.GroupKind, ID: "ada"} }, admin.ErrNotFound, `there is no group "ada"`},
		{"unknown organization", func(g *admin.NewGrant) { g.Subject = admin.Subject{Kind: admin.OrganizationKind, ID: "ada"} }, admin.ErrNotFound, `there is no organization "ada"`},
		{"confined to an unknown one", func(g *admin.NewGrant) { g.Organization = "nobody" }, admin.ErrNotFound, `there is no organization "nobody"`},
	} {
		g := base
		c.change(&g)
		_, _, err := database.AddGrant(t.Context(), g, actor)
		if !errors.Is(err, c.sort) || !strings.Contains(err.Error(), c.part) {
			t.Errorf("%s: %v, want %v with %q", c.name, err, c.sort, c.part)
		}
	}
	for _, c := range []struct {
		name, pattern string
		kind          permissions.Kind
	}{
		{"empty", "", permissions.RoomKind},
		{"of no kind", "acme:1", 0},
		{"with a star inside", "a*b", permissions.RoomKind},
		{"with a stray brace", "{user", permissions.RoomKind},
		{"of two placeholders in one", "{user}{group}", permissions.RoomKind},
		{"of a store with a colon", "acme:notes", permissions.StoreKind},
		{"too long", strings.Repeat("a", 129), permissions.RoomKind},
		{"an open template", "{organization}*", permissions.RoomKind},
	} {
		g := base
		g.Kind, g.Pattern, g.OpenPrefix = c.kind, c.pattern, true
		_, _, err := database.AddGrant(t.Context(), g, actor)
		if _, ok := errors.AsType[*permissions.PatternError](err); !ok || errors.Is(err, admin.ErrOpenPrefix) {
			t.Errorf("a pattern %s: %v, want a PatternError", c.name, err)
		}
	}
	_, _, err := database.AddGrant(t.Context(), base, "")
	wantError(t, err, admin.ErrInvalid, "actor is empty")
	if all, err := database.Grants(t.Context(), admin.GrantFilter{Ended: true}, admin.Page[int64]{}); err != nil || len(all) != 0 {
		t.Errorf("refused grants left %+v, %v", all, err)
	}
}

func TestOpenPrefix(t *testing.T) {
	t.Parallel()
	database, _ := newTenant(t)
	g := room(ada, "acme*")
	_, _, err := database.AddGrant(t.Context(), g, actor)
	wantError(t, err, admin.ErrOpenPrefix, "allowed explicitly")
	if _, ok := errors.AsType[*permissions.PatternError](err); !ok {
		t.Errorf("error = %v, want a PatternError too", err)
	}
	g.OpenPrefix = true
	addGrant(t, database, g)
	addGrant(t, database, room(ada, "*")) // * alone is not an open prefix
}

func TestSameGrantTwice(t *testing.T) {
	t.Parallel()
	database, _ := newTenant(t)
	g := room(ada, "acme:*")
	first := addGrant(t, database, g)
	_, _, err := database.AddGrant(t.Context(), g, "somebody else")
	wantError(t, err, admin.ErrExists, fmt.Sprintf("grant %d is the same", first.ID))

	for name, change := range map[string]func(*admin.NewGrant){
		"weaker":             func(g *admin.NewGrant) { g.Access = permissions.Read },
		"confined":           func(g *admin.NewGrant) { g.Organization = "acme" },
		"for a while":        func(g *admin.NewGrant) { g.Until = time.Now().Add(time.Hour) },
		"of another subject": func(g *admin.NewGrant) { g.Subject = acme },
		"of other rooms":     func(g *admin.NewGrant) { g.Pattern = "acme:1" },
	} {
		other := g
		change(&other)
		if _, _, err := database.AddGrant(t.Context(), other, actor); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	confined := g
	confined.Organization = "acme"
	_, _, err = database.AddGrant(t.Context(), confined, actor)
	wantError(t, err, admin.ErrExists, "is the same")

	if _, err := database.RevokeGrant(t.Context(), first.ID, "", actor); err != nil {
		t.Fatal(err)
	}
	if again := addGrant(t, database, g); again.ID == first.ID {
		t.Error("a revoked grant is active again")
	}
}

func TestTemplateConflicts(t *testing.T) {
	t.Parallel()
	database, _ := newTenant(t)
	first := addGrant(t, database, room(everyone, "{organization}:*"))
	for _, pattern := range []string{"{user}:*", "{group}:*", "{user}:docs:*", "x{organization}:*", "team-{group}:docs:*"} {
		_, _, err := database.AddGrant(t.Context(), room(everyone, pattern), actor)
		wantError(t, err, admin.ErrExists, fmt.Sprintf(`grant %d has "{organization}:*"`, first.ID))
	}
	stores := room(everyone, "{user}_*")
	stores.Kind = permissions.StoreKind
	addGrant(t, database, stores)
	addGrant(t, database, room(everyone, "user:{user}:*"))
	addGrant(t, database, room(everyone, "{user}")) // values contain no separators, so it never matches the same id as {organization}:*
	addGrant(t, database, room(everyone, "{organization}:docs:*"))
	addGrant(t, database, room(ada, "acme:*")) // a literal acme is no conflict

	if _, err := database.RevokeGrant(t.Context(), first.ID, "", actor); err != nil {
		t.Fatal(err)
	}
	_, _, err := database.AddGrant(t.Context(), room(everyone, "{user}:*"), actor)
	wantError(t, err, admin.ErrExists, `"{organization}:docs:*"`)
}

// If conflicting templates are added at the same time, only one is accepted.
func TestTemplateConflictsAtTheSameTime(t *testing.T) {
	t.Parallel()
	database, _ := newTenant(t)
	for round := range 10 {
		patterns := []string{fmt.Sprintf("%d:{user}:*", round), fmt.Sprintf("%d:{organization}:*", round), fmt.Sprintf("%d:{group}:docs:*", round)}
		errs := make([]error, len(patterns))
		var adding sync.WaitGroup
		for i, pattern := range patterns {
			adding.Go(func() { _, _, errs[i] = database.AddGrant(t.Context(), room(everyone, pattern), actor) })
		}
		adding.Wait()
		refused := 0
		for _, err := range errs {
			if err != nil {
				wantError(t, err, admin.ErrExists, "conflicts: grant ")
				refused++
			}
		}
		if refused != 2 {
			t.Errorf("round %d: %d of three were refused, want 2: %v", round, refused, errs)
		}
	}
}

// SQL that writes to the table does not take AddGrant's lock, but the trigger of the
// table does.
func TestTemplateConflictWithTheTrigger(t *testing.T) {
	t.Parallel()
	database, pg := newTenant(t)
	byHand, err := connect(t, pg.ServiceURL).Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	run(t, byHand, `INSERT INTO usher.grants (subject_kind, subject_id, resource_kind, pattern, access, created_by)
		VALUES ('everyone', '', 'room', '{user}:*', 'full', 'by hand')`)
	added := make(chan error, 1)
	go func() {
		_, _, err := database.AddGrant(t.Context(), room(everyone, "{organization}:*"), actor)
		added <- err
	}()
	awaitBlocked(t, pg, added)
	if err := byHand.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	wantError(t, <-added, admin.ErrExists, "{user}:*")
}

func TestRevokeGrant(t *testing.T) {
	t.Parallel()
	database, _ := newTenant(t)
	g := addGrant(t, database, room(ada, "acme:*"))
	revoked, err := database.RevokeGrant(t.Context(), g.ID, "left the team", "cli:eve@test")
	if err != nil {
		t.Fatal(err)
	}
	if revoked.ID != g.ID || revoked.RevokedAt == nil || revoked.RevokedBy != "cli:eve@test" || revoked.RevokeReason != "left the team" {
		t.Errorf("revoked = %+v", revoked)
	}
	if p := principalOf(t, database, "ada"); len(p.Grants) != 0 {
		t.Errorf("the look-up still finds %+v", p.Grants)
	}
	_, err = database.RevokeGrant(t.Context(), g.ID, "", actor)
	wantError(t, err, admin.ErrNotFound, fmt.Sprintf("grant %d was already revoked", g.ID))
	wantError(t, err, admin.ErrNotFound, "by cli:eve@test")
	_, err = database.RevokeGrant(t.Context(), g.ID+1, "", actor)
	wantError(t, err, admin.ErrNotFound, fmt.Sprintf("there is no grant %d", g.ID+1))
	_, err = database.RevokeGrant(t.Context(), g.ID, "", "")
	wantError(t, err, admin.ErrInvalid, "actor is empty")
}

// If calls revoke a grant at the same time, only one succeeds.
func TestRevokeAtTheSameTime(t *testing.T) {
	t.Parallel()
	database, _ := newTenant(t)
	g := addGrant(t, database, room(ada, "acme:*"))
	errs := make([]error, 4)
	var revoking sync.WaitGroup
	for i := range errs {
		revoking.Go(func() { _, errs[i] = database.RevokeGrant(t.Context(), g.ID, "", actor) })
	}
	revoking.Wait()
	done := 0
	for _, err := range errs {
		if err == nil {
			done++
			continue
		}
		wantError(t, err, admin.ErrNotFound, "was already revoked")
	}
	if done != 1 {
		t.Errorf("%d calls revoked the grant, want 1", done)
	}
}

func TestGrantHistoryIsKept(t *testing.T) {
	t.Parallel()
	database, pg := newTenant(t)
	addGrant(t, database, room(ada, "acme:*"))
	revoked := addGrant(t, database, room(ada, "acme:1"))
	if _, err := database.RevokeGrant(t.Context(), revoked.ID, "", actor); err != nil {
		t.Fatal(err)
	}
	wantForbidden(t, pg,
		"UPDATE usher.grants SET pattern = '*' WHERE revoked_at IS NULL",
		"UPDATE usher.grants SET access = 'read' WHERE revoked_at IS NULL",
		"UPDATE usher.grants SET valid_until = now() + interval '1 day' WHERE revoked_at IS NULL",
		"UPDATE usher.grants SET created_at = now() - interval '1 day' WHERE revoked_at IS NULL",
		"UPDATE usher.grants SET revoked_at = NULL, revoked_by = NULL WHERE revoked_at IS NOT NULL",
		"UPDATE usher.grants SET revoked_at = now(), revoked_by = 'eve' WHERE revoked_at IS NOT NULL",
		"UPDATE usher.grants SET revoke_reason = 'another' WHERE revoked_at IS NOT NULL",
		"DELETE FROM usher.grants",
		"TRUNCATE usher.grants")
}

func TestGrantFilter(t *testing.T) {
	t.Parallel()
	database, pg := newTenant(t)
	adas := addGrant(t, database, room(ada, "acme:*")).ID
	all := addGrant(t, database, room(everyone, "{organization}:*")).ID
	store := addGrant(t, database, admin.NewGrant{Subject: reviewers, Kind: permissions.StoreKind, Pattern: "acme", Access: permissions.Read}).ID
	later := room(acme, "acme:*")
	later.From = time.Now().Add(time.Hour)
	future := addGrant(t, database, later).ID
	gone := addGrant(t, database, room(ada, "acme:1")).ID
	if _, err := database.RevokeGrant(t.Context(), gone, "", actor); err != nil {
		t.Fatal(err)
	}
	var over int64
	err := pg.Pool.QueryRow(t.Context(), `
		INSERT INTO usher.grants (subject_kind, subject_id, resource_kind, pattern, access, valid_from, valid_until, created_by)
		VALUES ('user', 'ada', 'room', 'acme:2', 'read', now() - interval '2 hours', now() - interval '1 hour', 'test')
		RETURNING id`).Scan(&over)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name   string
		filter admin.GrantFilter
		want   []int64
	}{
		{"none", admin.GrantFilter{}, []int64{adas, all, store, future}},
		{"ended too", admin.GrantFilter{Ended: true}, []int64{adas, all, store, future, gone, over}},
		{"id", admin.GrantFilter{ID: all}, []int64{all}},
		{"user", admin.GrantFilter{Subject: ada}, []int64{adas}},
		{"user, ended too", admin.GrantFilter{Subject: ada, Ended: true}, []int64{adas, gone, over}},
		{"everyone", admin.GrantFilter{Subject: everyone}, []int64{all}},
		{"group", admin.GrantFilter{Subject: reviewers}, []int64{store}},
		{"rooms", admin.GrantFilter{Kind: permissions.RoomKind}, []int64{adas, all, future}},
		{"pattern", admin.GrantFilter{Kind: permissions.RoomKind, Pattern: "acme:*"}, []int64{adas, future}},
		{"pattern of the other kind", admin.GrantFilter{Kind: permissions.StoreKind, Pattern: "acme:*"}, nil},
		{"pattern and subject", admin.GrantFilter{Subject: acme, Kind: permissions.RoomKind, Pattern: "acme:*"}, []int64{future}},
	} {
		grants, err := database.Grants(t.Context(), c.filter, admin.Page[int64]{})
		if err != nil {
			t.Fatal(err)
		}
		var got []int64
		for _, g := range grants {
			got = append(got, g.ID)
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("%s: grants %v, want %v", c.name, got, c.want)
		}
	}
}
