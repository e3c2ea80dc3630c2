package db_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/usher-auth/usher/db"
	"github.com/usher-auth/usher/db/dbtest"
	"github.com/usher-auth/usher/internal/principal"
)

const idp = "https://id.example.com"

// sighted is a directory, and the last change that was read.
type sighted struct {
	*db.Directory
	pg      *dbtest.DB
	changes int64 // the last one seen
}

func newSighted(t *testing.T, sql string) *sighted {
	t.Helper()
	pg := dbtest.New(t)
	exec(t, pg, sql)
	directory, err := open(t, pg).Directory(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return &sighted{directory, pg, 0}
}

// see looks up the user of the claims. It returns the principal and the changes that
// this made, each as action, target and actor.
func (s *sighted) see(t *testing.T, c principal.ProviderClaims) (*principal.Principal, []string) {
	t.Helper()
	if c.Issuer == "" {
		c.Issuer = idp
	}
	p, err := s.PrincipalByClaims(t.Context(), &c)
	if err != nil {
		t.Fatal(err)
	}
	return p, s.news(t)
}

func (s *sighted) news(t *testing.T) (changes []string) {
	t.Helper()
	rows, err := s.pg.Pool.Query(t.Context(), `SELECT id, action || ' ' || target || ' by ' || actor FROM audit.changes WHERE id > $1 ORDER BY id`, s.changes)
	if err != nil {
		t.Fatal(err)
	}
	for rows.Next() {
		var change string
		if err := rows.Scan(&s.changes, &change); err != nil {
			t.Fatal(err)
		}
		changes = append(changes, change)
	}
	return changes
}

func patterns(p *principal.Principal) string {
	var list []string
	for _, g := range p.Grants {
		list = append(list, g.Template.String())
	}
	slices.Sort(list)
	return strings.Join(list, " ")
}

// New claims are stored in usher's own directory once, with the provider as the
// actor.
func TestClaimsAreStored(t *testing.T) {
	t.Parallel()
	s := newSighted(t, `
		INSERT INTO usher.organizations (id, created_by) VALUES ('acme', 'cli');
		INSERT INTO usher.grants (subject_kind, subject_id, resource_kind, pattern, access, created_by) VALUES
			('everyone', '', 'room', '{organization}:*', 'read', 't'), ('group', 'red', 'room', 'of-red', 'read', 't')`)
	by := " by issuer " + idp
	claims := principal.ProviderClaims{
		UserID: "id:ada", Info: map[string]string{"name": "Ada"}, Organization: "acme", Organizations: []string{"acme", "globex"}, Groups: []string{"blue", "red"},
		SessionID: "s1", ExpiresAt: time.Now().Add(time.Minute),
	}
	steps := []struct {
		name         string
		change       func()
		changes      []string
		organization string
		organizes    []string // the organizations that count
		info         string
	}{
		{"first sight", func() {}, []string{
			"user.add id:ada" + by, "member.add acme" + by, "organization.add globex" + by, "member.add globex" + by,
			"group.add blue" + by, "member.add blue" + by, "group.add red" + by, "member.add red" + by,
		}, "acme", []string{"acme"}, `{"name": "Ada"}`},
		{"again", func() {}, nil, "acme", []string{"acme"}, `{"name": "Ada"}`},
		{"in another organization", func() { claims.Organization = "globex" }, nil, "globex", []string{"globex"}, `{"name": "Ada"}`},
		{"in none", func() { claims.Organization = "" }, nil, "", []string{"acme", "globex"}, `{"name": "Ada"}`},
		{
			"with another name and an avatar", func() { claims.Info = map[string]string{"name": "Ada L", "avatar": "a.png"} },
			[]string{"user.update id:ada" + by},
			"",
			[]string{"acme", "globex"},
			`{"name": "Ada L", "avatar": "a.png"}`,
		},
		{"without an info", func() { claims.Info = nil }, nil, "", []string{"acme", "globex"}, `{"name": "Ada L", "avatar": "a.png"}`},
		{"out of a group", func() { claims.Groups = []string{"red"} }, []string{"member.remove blue" + by}, "", []string{"acme", "globex"}, `{"name": "Ada L", "avatar": "a.png"}`},
		{"into it again", func() { claims.Groups = []string{"blue", "red"} }, []string{"member.add blue" + by}, "", []string{"acme", "globex"}, `{"name": "Ada L", "avatar": "a.png"}`},
		{
			"out of an organization that the session is in", func() { claims.Organization, claims.Organizations = "acme", []string{"globex"} },
			[]string{"member.remove acme" + by},
			"",
			[]string{},
			`{"name": "Ada L", "avatar": "a.png"}`,
		},
		{
			"out of all", func() { claims.Organization, claims.Organizations, claims.Groups = "", []string{}, []string{} },
			[]string{"member.remove blue" + by, "member.remove globex" + by, "member.remove red" + by},
			"",
			[]string{},
			`{"name": "Ada L", "avatar": "a.png"}`,
		},
	}
	for _, step := range steps {
		step.change()
		p, changes := s.see(t, claims)
		if step.name == "out of all" {
			slices.Sort(changes)
		}
		if diff := cmp.Diff(step.changes, changes); diff != "" {
			t.Errorf("%s: changes (-want +got):\n%s", step.name, diff)
		}
		slices.Sort(p.MemberOf.Organizations)
		if diff := cmp.Diff(step.organizes, p.MemberOf.Organizations); diff != "" || p.User.Organization != step.organization {
			t.Errorf("%s: in %q; organizations (-want +got):\n%s", step.name, p.User.Organization, diff)
		}
		if !p.Known || !sameJSON(t, string(p.User.Info), step.info) {
			t.Errorf("%s: known %t, info %s, want %s", step.name, p.Known, p.User.Info, step.info)
		}
		if !p.User.Until.Equal(claims.ExpiresAt) || p.User.Session == "" || strings.Contains(p.User.Session, "s1") {
			t.Errorf("%s: until %s, session %q", step.name, p.User.Until, p.User.Session)
		}
	}
}

func sameJSON(t *testing.T, a, b string) bool {
	t.Helper()
	var x, y any
	if err := errors.Join(json.Unmarshal([]byte(a), &x), json.Unmarshal([]byte(b), &y)); err != nil {
		t.Error(err)
	}
	return cmp.Equal(x, y)
}

// A provider cannot end memberships that others added. A user who was
// disabled by an operator stays disabled, whatever the claims say.
func TestClaimsKeepMembershipsOfOthers(t *testing.T) {
	t.Parallel()
	s := newSighted(t, `
		INSERT INTO usher.users (id, info, created_by) VALUES ('ada', '{"color": "red"}', 'cli'), ('eve', NULL, 'cli');
		UPDATE usher.users SET disabled_at = now() WHERE id = 'eve';
		INSERT INTO usher.organizations (id, created_by) VALUES ('acme', 'cli');
		INSERT INTO usher.groups (id, organization_id, created_by) VALUES ('vip', NULL, 'cli'), ('red', 'acme', 'cli');
		INSERT INTO usher.memberships (user_id, member_of_kind, member_of_id, created_by) VALUES
			('ada', 'organization', 'acme', 'cli'), ('ada', 'group', 'vip', 'cli')`)
	p, changes := s.see(t, principal.ProviderClaims{UserID: "ada", Info: map[string]string{"name": "Ada"}, Organizations: []string{}, Groups: []string{"red"}})
	want := []string{"user.update ada by issuer " + idp, "member.add red by issuer " + idp}
	if diff := cmp.Diff(want, changes); diff != "" {
		t.Errorf("changes (-want +got):\n%s", diff)
	}
	if !sameJSON(t, string(p.User.Info), `{"color": "red", "name": "Ada"}`) || !slices.Equal(p.MemberOf.Organizations, []string{"acme"}) || len(p.MemberOf.Groups) != 2 {
		t.Errorf("info %s, member of %v", p.User.Info, p.MemberOf)
	}
	// A provider does not end memberships that another one added.
	if _, changes := s.see(t, principal.ProviderClaims{Issuer: "https://other.example.com", UserID: "ada", Groups: []string{}}); changes != nil {
		t.Errorf("another provider changed %v", changes)
	}
	p, changes = s.see(t, principal.ProviderClaims{UserID: "eve", Info: map[string]string{"name": "Eve"}, Organization: "acme", Groups: []string{"red"}})
	if changes != nil || !p.Disabled {
		t.Errorf("a disabled user: %v, disabled %t", changes, p.Disabled)
	}
	// Leaving an organization ends the memberships in its groups.
	s.see(t, principal.ProviderClaims{UserID: "bob", Organizations: []string{"acme"}, Groups: []string{"red"}})
	_, changes = s.see(t, principal.ProviderClaims{UserID: "bob", Organizations: []string{}, Groups: []string{}})
	if diff := cmp.Diff([]string{"member.remove acme by issuer " + idp}, changes); diff != "" {
		t.Errorf("out of the organization (-want +got):\n%s", diff)
	}
	// A deleted user is added again by their next token, and inherits nothing.
	exec(t, s.pg, `INSERT INTO usher.grants (subject_kind, subject_id, resource_kind, pattern, access, created_by) VALUES ('user', 'bob', 'room', 'of-bob', 'full', 't')`)
	if p, _ := s.see(t, principal.ProviderClaims{UserID: "bob"}); patterns(p) != "of-bob" {
		t.Errorf("patterns %q", patterns(p))
	}
	if _, err := open(t, s.pg).DeleteUser(t.Context(), "bob", "cli"); err != nil {
		t.Fatal(err)
	}
	s.news(t)
	p, changes = s.see(t, principal.ProviderClaims{UserID: "bob"})
	if !slices.Equal(changes, []string{"user.add bob by issuer " + idp}) || !p.Known || patterns(p) != "" {
		t.Errorf("after the deletion: %v, known %t, patterns %q", changes, p.Known, patterns(p))
	}
}

// A provider that names only the active organization adds memberships and cannot end
// any. A token without an organization counts for no organization.
func TestActiveOrganizationOnlyAdds(t *testing.T) {
	t.Parallel()
	s := newSighted(t, `INSERT INTO usher.grants (subject_kind, subject_id, resource_kind, pattern, access, created_by) VALUES
		('everyone', '', 'room', '{organization}:*', 'read', 't'), ('organization', 'acme', 'room', 'of-acme', 'read', 't'), ('everyone', '', 'room', 'lobby', 'read', 't')`)
	for _, step := range []struct {
		organization, listed, patterns string
		changes                        int
	}{
		{"acme", "acme", "lobby of-acme {organization}:*", 3},
		{"globex", "globex", "lobby {organization}:*", 2},
		{"acme", "acme", "lobby of-acme {organization}:*", 0},
		{"", "", "lobby {organization}:*", 0},
		{"a\u0085b", "", "lobby {organization}:*", 0}, // not a valid id of an organization
	} {
		p, changes := s.see(t, principal.ProviderClaims{UserID: "ada", Organization: step.organization, Selective: true})
		if p.User.Organization != step.listed || patterns(p) != step.patterns || len(changes) != step.changes {
			t.Errorf("in %q: listed %q, patterns %q, changes %v; want %q, %q, %d", step.organization, p.User.Organization, patterns(p), changes, step.listed, step.patterns, step.changes)
		}
		if rules, _ := p.Rules(); step.listed == "" && len(rules) != 1 {
			t.Errorf("in %q: %v, want only the lobby", step.organization, rules)
		}
	}
}

// Claims are not stored in an application's directory. The active organization counts
// if the directory lists the membership, and unknown users stay unknown.
func TestClaimsOverAnApplicationsDirectory(t *testing.T) {
	t.Parallel()
	s := newSighted(t, tenants+`; UPDATE usher.deployment SET directory = 'better-auth'`)
	if !s.Foreign() {
		t.Error("Foreign() = false")
	}
	for _, test := range []struct{ user, organization, listed, patterns string }{
		{"ada", "acme", "acme", "every of-acme of-acme-red own own-in-acme"},
		{"ada", "globex", "globex", "every every-in-globex of-globex of_globex_red own"},
		{"ada", "initech", "", "every own"},
		{"ada", "", "", "every of-acme of-acme-red of-all-red of-globex of_globex_red own"},
		{"stranger", "acme", "", "every"},
	} {
		p, changes := s.see(t, principal.ProviderClaims{UserID: test.user, Info: map[string]string{"name": "X"}, Organization: test.organization, Selective: true})
		if p.Known != (test.user == "ada") || p.User.Organization != test.listed || patterns(p) != test.patterns || changes != nil {
			t.Errorf("%s in %q: known %t, in %q, patterns %q, changes %v", test.user, test.organization, p.Known, p.User.Organization, patterns(p), changes)
		}
	}
}

// Claims are not stored either if the directory changes while usher runs.
func TestDirectoryRepointedMeanwhile(t *testing.T) {
	t.Parallel()
	s := newSighted(t, tenants)
	exec(t, s.pg, `UPDATE usher.deployment SET directory = 'authjs'`)
	p, changes := s.see(t, principal.ProviderClaims{UserID: "stranger"})
	if p.Known || changes != nil || !s.Foreign() {
		t.Errorf("known %t, changes %v, foreign %t", p.Known, changes, s.Foreign())
	}
}

// Concurrent first tokens of a user on several replicas all succeed, and add
// everything once.
func TestConcurrentFirstTokens(t *testing.T) {
	t.Parallel()
	s := newSighted(t, ``)
	replica, err := open(t, s.pg).Directory(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for n := range 24 {
		for _, d := range []*db.Directory{s.Directory, replica} {
			wg.Go(func() {
				ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
				defer cancel()
				p, err := d.PrincipalByClaims(ctx, &principal.ProviderClaims{
					Issuer: idp, UserID: fmt.Sprint("user", n%3), Info: map[string]string{"name": "A"}, Organizations: []string{"acme", "globex"}, Groups: []string{"red"},
				})
				if err != nil || !p.Known || len(p.MemberOf.Organizations) != 2 || len(p.MemberOf.Groups) != 1 {
					t.Errorf("%+v, %v", p, err)
				}
			})
		}
	}
	wg.Wait()
	// 3 users of 3 memberships each, 2 organizations and a group.
	if changes := s.news(t); len(changes) != 3+9+3 {
		t.Errorf("%d changes: %q", len(changes), changes)
	}
}

// Sessions with the same id at two providers are different sessions.
func TestProviderSessionIDs(t *testing.T) {
	t.Parallel()
	s := newSighted(t, ``)
	a, _ := s.see(t, principal.ProviderClaims{UserID: "ada", SessionID: "1", TokenID: "x"})
	again, _ := s.see(t, principal.ProviderClaims{UserID: "ada", SessionID: "1", TokenID: "y"})
	b, _ := s.see(t, principal.ProviderClaims{Issuer: "https://b.example.com", UserID: "ada", SessionID: "1"})
	byToken, _ := s.see(t, principal.ProviderClaims{UserID: "ada", TokenID: "x"})
	neither, _ := s.see(t, principal.ProviderClaims{UserID: "ada"})
	if a.User.Session != again.User.Session || a.User.Session == b.User.Session || a.SessionID != a.User.Session {
		t.Errorf("sessions %q, %q, and %q of another provider", a.User.Session, again.User.Session, b.User.Session)
	}
	if byToken.User.Session != "" || byToken.SessionID == "" || neither.User.Session != "" || neither.SessionID != "" {
		t.Errorf("by token: %q and %q; by nothing: %q and %q", byToken.User.Session, byToken.SessionID, neither.User.Session, neither.SessionID)
	}
}

// A token that is older than an accepted one writes nothing, whether the newer one
// wrote anything or not: it could bring back memberships that have ended.
func TestOlderTokensWriteNothing(t *testing.T) {
	t.Parallel()
	start := time.Now().Truncate(time.Second)
	type token struct {
		at      int // seconds after the start
		issuer  string
		claims  principal.ProviderClaims
		changes int
		orgs    []string // of the user, afterwards
	}
	list := func(ids ...string) principal.ProviderClaims {
		return principal.ProviderClaims{Organizations: append([]string{}, ids...)}
	}
	groups := func(ids ...string) principal.ProviderClaims {
		return principal.ProviderClaims{Groups: append([]string{}, ids...)}
	}
	active := func(id string) principal.ProviderClaims {
		return principal.ProviderClaims{Organization: id, Selective: true}
	}
	named := func(name string) principal.ProviderClaims {
		return principal.ProviderClaims{Info: map[string]string{"name": name}}
	}
	for name, tokens := range map[string][]token{
		"an ended membership": {
			{at: 100, claims: list("acme", "beta"), changes: 5, orgs: []string{"acme", "beta"}},
			{at: 200, claims: list("acme"), changes: 1, orgs: []string{"acme"}},
			{at: 100, claims: list("acme", "beta"), orgs: []string{"acme"}},
			{at: 199, claims: list("acme", "beta"), orgs: []string{"acme"}},
			{at: 200, claims: list("acme"), orgs: []string{"acme"}},
			{at: 201, claims: list("acme", "beta"), changes: 1, orgs: []string{"acme", "beta"}},
		},
		"an older token that was never shown": {
			{at: 100, claims: list("acme"), changes: 3, orgs: []string{"acme"}},
			{at: 300, claims: list("acme"), orgs: []string{"acme"}}, // says nothing new
			{at: 200, claims: list("acme", "beta"), orgs: []string{"acme"}},
			{at: 200, claims: list(), orgs: []string{"acme"}}, // which narrows
		},
		"the oldest last": {
			{at: 300, claims: list(), changes: 1, orgs: nil},
			{at: 100, claims: list("acme"), orgs: nil},
		},
		"fractions of a second": {
			{at: 100, claims: list("acme"), changes: 3, orgs: []string{"acme"}},
			{at: 100, claims: principal.ProviderClaims{Organizations: []string{}, IssuedAt: start.Add(100*time.Second - time.Millisecond)}, orgs: []string{"acme"}},
			{at: 100, claims: principal.ProviderClaims{Organizations: []string{}, IssuedAt: start.Add(100*time.Second + time.Millisecond)}, changes: 1},
		},
		"groups": {
			{at: 200, claims: groups("red"), changes: 3},
			{at: 100, claims: groups("red", "blue")},
			{at: 100, claims: groups()},
		},
		"active organizations": {
			{at: 100, claims: active("acme"), changes: 3, orgs: []string{"acme"}},
			{at: 300, claims: active("acme"), orgs: []string{"acme"}},
			{at: 200, claims: active("beta"), orgs: []string{"acme"}},
			{at: 400, claims: active(""), orgs: []string{"acme"}},
			{at: 350, claims: active("beta"), orgs: []string{"acme"}},
			{at: 400, claims: active("beta"), changes: 2, orgs: []string{"acme", "beta"}},
		},
		"a name": {
			{at: 200, claims: named("Ada L"), changes: 1},
			{at: 100, claims: named("Ada")},
			{at: 300, claims: named("Ada"), changes: 1},
		},
		"providers apart": {
			{at: 200, issuer: "https://a.example.com", claims: list("acme"), changes: 3, orgs: []string{"acme"}},
			{at: 100, issuer: "https://b.example.com", claims: list("beta"), changes: 2, orgs: []string{"acme", "beta"}},
			{at: 50, issuer: "https://b.example.com", claims: list(), orgs: []string{"acme", "beta"}},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newSighted(t, ``)
			for n, token := range tokens {
				token.claims.UserID, token.claims.Issuer = "ada", token.issuer
				if token.claims.IssuedAt.IsZero() {
					token.claims.IssuedAt = start.Add(time.Duration(token.at) * time.Second)
				}
				_, changes := s.see(t, token.claims)
				if len(changes) != token.changes {
					t.Errorf("token %d of second %d: changes %q, want %d", n, token.at, changes, token.changes)
				}
				var orgs []string
				query := `SELECT array_agg(id::text ORDER BY id) FROM usher.directory_memberships('ada') WHERE kind = 'organization'`
				if err := s.pg.Pool.QueryRow(t.Context(), query).Scan(&orgs); err != nil {
					t.Fatal(err)
				}
				if !slices.Equal(orgs, token.orgs) {
					t.Errorf("after token %d of second %d: organizations %q, want %q", n, token.at, orgs, token.orgs)
				}
			}
		})
	}
}

// An older token does not bring back a deleted user. If an older and a newer token
// come at the same time, on two replicas, the newer one decides.
func TestOlderTokensAfterDeletionAndAtOnce(t *testing.T) {
	t.Parallel()
	s := newSighted(t, ``)
	replica, err := open(t, s.pg).Directory(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	start := time.Now()
	claims := func(user string, after time.Duration, orgs ...string) *principal.ProviderClaims {
		return &principal.ProviderClaims{Issuer: idp, UserID: user, IssuedAt: start.Add(after), Organizations: append([]string{}, orgs...)}
	}
	s.see(t, *claims("ada", time.Minute, "acme"))
	exec(t, s.pg, `DELETE FROM usher.users WHERE id = 'ada'`)
	if p, _ := s.see(t, *claims("ada", 0, "acme")); p.Known {
		t.Error("an older token brought a deleted user back")
	}
	if p, _ := s.see(t, *claims("ada", 2*time.Minute, "acme")); !p.Known {
		t.Error("a newer token did not")
	}

	var wg sync.WaitGroup
	for n := range 8 {
		for i, d := range []*db.Directory{s.Directory, replica} {
			wg.Go(func() {
				ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
				defer cancel()
				orgs := []string{"acme", "beta"}[:2-i] // the newer one lists less
				_, err := d.PrincipalByClaims(ctx, claims(fmt.Sprint("user", n), time.Duration(i)*time.Second, orgs...))
				for errors.Is(err, principal.ErrUnavailable) && ctx.Err() == nil { // as clients do on a busy machine
					_, err = d.PrincipalByClaims(ctx, claims(fmt.Sprint("user", n), time.Duration(i)*time.Second, orgs...))
				}
				if err != nil {
					t.Error(err)
				}
			})
		}
	}
	wg.Wait()
	var wide int
	query := `SELECT count(*) FROM usher.memberships WHERE user_id::text LIKE 'user%' AND member_of_id = 'beta' AND ended_at IS NULL`
	if err := s.pg.Pool.QueryRow(t.Context(), query).Scan(&wide); err != nil || wide != 0 {
		t.Errorf("%d users stayed in what the newer token does not list, %v", wide, err)
	}
}

// If a list is longer than usher reads, memberships beyond the limit are neither added
// nor ended.
func TestLeftOutMembershipsStay(t *testing.T) {
	t.Parallel()
	s := newSighted(t, ``)
	s.see(t, principal.ProviderClaims{UserID: "ada", Organizations: []string{"acme", "beta"}, Groups: []string{"red", "tan"}})
	_, changes := s.see(t, principal.ProviderClaims{
		UserID: "ada", Organizations: []string{"acme"}, OrganizationsLeftOut: []string{"beta", "new"}, Groups: []string{}, GroupsLeftOut: []string{"red"},
	})
	if diff := cmp.Diff([]string{"member.remove tan by issuer " + idp}, changes); diff != "" {
		t.Errorf("changes (-want +got):\n%s", diff)
	}
}

// The number of statements does not grow with the number of groups, and each change
// has its row.
func TestManyGroupsTakeFewStatements(t *testing.T) {
	t.Parallel()
	s := newSighted(t, `
		CREATE TABLE public.statements (n bigint GENERATED ALWAYS AS IDENTITY, text text);
		CREATE FUNCTION public.count_statement() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
			BEGIN INSERT INTO public.statements (text) VALUES (TG_OP || ' ' || TG_TABLE_NAME); RETURN NULL; END $$;
		CREATE TRIGGER count_statement AFTER INSERT OR UPDATE ON usher.groups FOR EACH STATEMENT EXECUTE FUNCTION public.count_statement();
		CREATE TRIGGER count_statement AFTER INSERT OR UPDATE ON usher.memberships FOR EACH STATEMENT EXECUTE FUNCTION public.count_statement();
		CREATE TRIGGER count_statement AFTER INSERT OR UPDATE ON usher.changes FOR EACH STATEMENT EXECUTE FUNCTION public.count_statement()`)
	by := " by issuer " + idp
	for _, n := range []int{3, 500} {
		user := fmt.Sprint("user-", n)
		groups := make([]string, n)
		added, removed := []string{"user.add " + user + by}, []string{}
		for i := range groups {
			groups[i] = fmt.Sprintf("group-%d-%03d", n, i)
			added = append(added, "group.add "+groups[i]+by, "member.add "+groups[i]+by)
			removed = append(removed, "member.remove "+groups[i]+by)
		}
		for _, step := range []struct {
			groups              []string
			changes, statements []string
		}{
			{groups, added, []string{"INSERT changes", "INSERT groups", "INSERT memberships", "INSERT changes"}},
			{groups, nil, []string{}},
			{[]string{}, removed, []string{"UPDATE memberships", "INSERT changes"}},
		} {
			exec(t, s.pg, "TRUNCATE public.statements")
			p, changes := s.see(t, principal.ProviderClaims{UserID: user, Groups: step.groups})
			if len(step.groups) == 0 {
				slices.Sort(changes)
			}
			if diff := cmp.Diff(step.changes, changes); diff != "" || len(p.MemberOf.Groups) != len(step.groups) {
				t.Errorf("%d groups: member of %d; changes (-want +got):\n%s", len(step.groups), len(p.MemberOf.Groups), diff)
			}
			statements := linesOf(t, s.pg, "SELECT text FROM public.statements ORDER BY n")
			if diff := cmp.Diff(step.statements, statements); diff != "" {
				t.Errorf("%d groups: statements (-want +got):\n%s", len(step.groups), diff)
			}
		}
	}
}
