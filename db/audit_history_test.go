package db_test

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/usher-auth/usher/db"
	"github.com/usher-auth/usher/db/dbtest"
	"github.com/usher-auth/usher/internal/admin"
	"github.com/usher-auth/usher/internal/principal"
	"github.com/usher-auth/usher/permissions"
	"github.com/usher-auth/usher/session"
)

// For random times of a random history, and for now, the audit gives the same
// answers as a model that replays the history. For now, the model also agrees with
// the tokens that usher issues.
func TestAuditOfARandomHistory(t *testing.T) {
	t.Parallel()
	changes, instants := 2_000, 500
	if testing.Short() {
		changes, instants = 300, 100
	}
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	pg := dbtest.New(t)
	history := play(t, pg, random, changes)
	auditor, err := pgxpool.New(t.Context(), pg.AuditorURL)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(auditor.Close)

	t.Run("who could", func(t *testing.T) {
		type question struct {
			at     time.Time
			asked  permissions.Resource
			access permissions.Access
		}
		questions := make([]question, 2*instants)
		times := make([]time.Time, len(questions))
		kinds, ids, accesses := make([]string, len(questions)), make([]string, len(questions)), make([]string, len(questions))
		for i := range questions {
			at, asked := history.question(random)
			q := question{at, asked, permissions.Read}
			if i%8 == 0 {
				q.access = permissions.Full
			}
			questions[i] = q
			times[i], kinds[i], ids[i], accesses[i] = q.at, q.asked.Kind.String(), q.asked.ID, q.access.String()
		}
		answers := ask(t, auditor, `
			SELECT n::int, o.* FROM unnest($1::timestamptz[], $2::text[], $3::text[], $4::text[]) WITH ORDINALITY AS q (at, kind, id, access, n)
			 CROSS JOIN LATERAL audit.who_could(q.kind, q.id, q.at, q.access) o`, times, kinds, ids, accesses)
		found := 0
		for i, q := range questions {
			want := history.at(q.at).whoCan(q.asked, q.access)
			found += len(want)
			if diff := gocmp.Diff(want, answers[i+1]); diff != "" {
				t.Errorf("who_could(%s, %q, %s, %s) (-model +SQL):\n%s", q.asked.Kind, q.asked.ID, q.at.Format(time.RFC3339Nano), q.access, diff)
			}
		}
		if found < instants {
			t.Errorf("the %d questions have only %d answers: the history is too small to test anything", len(questions), found)
		}
	})

	t.Run("now", func(t *testing.T) {
		// Every grant and key that starts or ends does so before this.
		if _, err := pg.Pool.Exec(t.Context(), "SELECT pg_sleep_until($1)", history.settled); err != nil {
			t.Fatal(err)
		}
		now := history.at(history.settled)
		for _, asked := range history.resources {
			got := ask(t, auditor, "SELECT 1, o.* FROM audit.who_can($1, $2) o", asked.Kind.String(), asked.ID)[1]
			if diff := gocmp.Diff(now.whoCan(asked, permissions.Read), got); diff != "" {
				t.Errorf("who_can(%s, %q) (-model +SQL):\n%s", asked.Kind, asked.ID, diff)
			}
		}
		view := ask(t, auditor, `SELECT 1, principal_kind, principal_id, access, grant_id, through_kind, through_id, resource_kind || ' ' || pattern, organization_id
			FROM audit.access WHERE principal_kind <> 'api_key'`)[1]
		var all []string
		for _, grant := range now.grants {
			if grant.isForAll() {
				all = append(all, grant.line("everyone", "", grant.kind.String()+" "+grant.pattern))
			}
		}
		database := open(t, pg)
		directory, err := database.Directory(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, user := range append(userIDs, "nobody") {
			want := now.whatCan(user, true)
			got := ask(t, auditor, `SELECT 1, 'user', $1, access, grant_id, through_kind, through_id, resource_kind || ' ' || pattern, organization_id
				FROM audit.what_can($1)`, user)[1]
			if diff := gocmp.Diff(want, got); diff != "" {
				t.Errorf("what_can(%q) (-model +SQL):\n%s", user, diff)
			}
			all = append(all, now.whatCan(user, false)...)
			now.checkIssuing(t, directory, user)
			for range 10 {
				now.checkExplanation(t, database, user, history.resource(random))
			}
		}
		slices.Sort(all)
		if diff := gocmp.Diff(all, view); diff != "" {
			t.Errorf("audit.access (-model +SQL):\n%s", diff)
		}
	})
}

// ask returns the lines of the answer to each question, asked as an auditor. Each
// row begins with the number of its question.
func ask(t *testing.T, auditor *pgxpool.Pool, sql string, args ...any) map[int][]string {
	t.Helper()
	rows, err := auditor.Query(t.Context(), sql, args...)
	if err != nil {
		t.Fatal(err)
	}
	type answer struct {
		Question                           int
		PrincipalKind, PrincipalID, Access string
		GrantID                            *int64
		ThroughKind, ThroughID, Pattern    string
		OrganizationID                     *string
	}
	answers, err := pgx.CollectRows(rows, pgx.RowToStructByPos[answer])
	if err != nil {
		t.Fatal(err)
	}
	lines := map[int][]string{}
	for _, a := range answers {
		grant, organization := "-", "-"
		if a.GrantID != nil {
			grant = fmt.Sprint(*a.GrantID)
		}
		if a.OrganizationID != nil {
			organization = *a.OrganizationID
		}
		lines[a.Question] = append(lines[a.Question],
			line(a.PrincipalKind, a.PrincipalID, a.Access, grant, a.ThroughKind, a.ThroughID, a.Pattern, organization))
	}
	for _, l := range lines {
		slices.Sort(l)
	}
	return lines
}

func line(parts ...string) string { return strings.Join(parts, "|") }

// A change is one statement in its own transaction, and its effect on the model. It
// may fail, for example if the object already exists.
type change struct {
	sql   string
	apply func(m *model, at time.Time, id int64)

	at time.Time
	id int64 // of the row that it added
}

// A model is the directory and the grants at one instant.
type model struct {
	users   map[string]bool   // enabled
	orgs    map[string]bool   // exist
	groups  map[string]string // the organization of each; may be empty
	members map[membership]string
	grants  map[int64]modelGrant
	keys    map[string]modelKey
}

func newModel() *model {
	return &model{map[string]bool{}, map[string]bool{}, map[string]string{}, map[membership]string{}, map[int64]modelGrant{}, map[string]modelKey{}}
}

type membership struct{ user, kind, id string }

type modelGrant struct {
	id                    int64
	subject               admin.Subject
	organization          string
	kind                  permissions.Kind
	pattern               string
	access                permissions.Access
	validFrom, validUntil time.Time
}

func (g *modelGrant) moment(at time.Time) moment {
	literal, _, _ := strings.Cut(strings.TrimSuffix(g.pattern, "*"), "{")
	return moment{at, g.kind, literal}
}

type modelKey struct {
	id            string
	routes        []string
	organizations []string
	kind          permissions.Kind
	pattern       permissions.Pattern
	access        permissions.Access
	expires       time.Time
}

type randomHistory struct {
	changes   []change
	resources []permissions.Resource
	moments   []moment
	settled   time.Time // nothing changes after this
}

// A moment is a time at which something changes, starts or expires. For a grant it
// has the kind and the start of its pattern.
type moment struct {
	at      time.Time
	kind    permissions.Kind // zero: no grant
	literal string           // start of the pattern
}

// at replays the history up to an instant.
func (h *randomHistory) at(t time.Time) *model {
	m := newModel()
	for _, c := range h.changes {
		if !c.at.After(t) {
			c.apply(m, c.at, c.id)
		}
	}
	maps.DeleteFunc(m.grants, func(_ int64, g modelGrant) bool {
		return g.validFrom.After(t) || !g.validUntil.IsZero() && !g.validUntil.After(t)
	})
	maps.DeleteFunc(m.keys, func(_ string, k modelKey) bool { return !k.expires.IsZero() && !k.expires.After(t) })
	return m
}

// question picks a time and a resource to ask about: mostly a moment or the time
// right before one, and a resource that changes then.
func (h *randomHistory) question(random *rand.Rand) (time.Time, permissions.Resource) {
	m := h.moments[random.IntN(len(h.moments))]
	asked := h.resource(random)
	for range 100 {
		if m.kind == 0 || asked.Kind == m.kind && strings.HasPrefix(asked.ID, m.literal) {
			break
		}
		asked = h.resource(random)
	}
	switch random.IntN(5) {
	case 0:
		first, last := h.changes[0].at, h.changes[len(h.changes)-1].at
		return first.Add(time.Duration(random.Int64N(int64(last.Sub(first))))).Truncate(time.Microsecond), asked
	case 1:
		return m.at.Add(-time.Microsecond), asked
	}
	return m.at, asked
}

func (h *randomHistory) resource(random *rand.Rand) permissions.Resource {
	return h.resources[random.IntN(len(h.resources))]
}

// sessions are those that a user can have: each with an active organization,
// empty for none.
func (m *model) sessions(user string) []string {
	if !m.users[user] {
		return nil
	}
	sessions := []string{""}
	for org := range m.orgs {
		if _, ok := m.members[membership{user, admin.OrganizationKind, org}]; ok {
			sessions = append(sessions, org)
		}
	}
	return sessions
}

// principal is the principal of one session.
func (m *model) principal(user, active string) *principal.Principal {
	p := &principal.Principal{User: session.User{ID: user, Organization: active}, Known: true}
	for member, org := range m.members {
		switch {
		case member.user != user || active != "" && org != active:
		case member.kind == admin.OrganizationKind:
			p.MemberOf.Organizations = append(p.MemberOf.Organizations, member.id)
		default:
			p.MemberOf.Groups = append(p.MemberOf.Groups, member.id)
		}
	}
	for _, g := range m.grants {
		counts := false
		switch g.subject.Kind {
		case admin.EveryoneKind:
			counts = true
		case admin.UserKind:
			counts = g.subject.ID == user
		case admin.OrganizationKind:
			counts = slices.Contains(p.MemberOf.Organizations, g.subject.ID)
		case admin.GroupKind:
			counts = slices.Contains(p.MemberOf.Groups, g.subject.ID)
		}
		if counts && (g.organization == "" || g.organization == active) {
			template, err := permissions.ParseTemplate(g.kind, g.pattern)
			if err != nil {
				continue // the database accepts patterns that usher does not: they give nothing
			}
			p.Grants = append(p.Grants, principal.Grant{
				ID: g.id, SubjectKind: g.subject.Kind, SubjectID: g.subject.ID, Template: template, Access: g.access,
			})
		}
	}
	return p
}

// eachRule calls yield for each rule of each session, and its grant.
func (m *model) eachRule(user string, yield func(active string, g modelGrant, rule permissions.Rule)) {
	for _, active := range m.sessions(user) {
		p := m.principal(user, active)
		grants := p.Grants
		for i := range grants {
			p.Grants = grants[i : i+1]
			rules, _ := p.Rules()
			for _, rule := range rules {
				yield(active, m.grants[grants[i].ID], rule)
			}
		}
	}
}

func (m *model) whoCan(asked permissions.Resource, access permissions.Access) []string {
	lines := map[string]bool{}
	for user := range m.users {
		m.eachRule(user, func(_ string, g modelGrant, rule permissions.Rule) {
			if g.isForAll() || g.kind != asked.Kind || g.access < access || !rule.Pattern.Matches(asked.ID) {
				return
			}
			lines[g.line("user", user, g.pattern)] = true
		})
	}
	for _, g := range m.grants {
		if g.isForAll() && g.kind == asked.Kind && g.access >= access && permissions.MustPattern(g.kind, g.pattern).Matches(asked.ID) {
			lines[g.line("everyone", "", g.pattern)] = true
		}
	}
	for _, k := range m.keys {
		if k.kind != asked.Kind || k.access < access || !k.pattern.Matches(asked.ID) {
			continue
		}
		organizations := k.organizations
		if organizations == nil {
			organizations = []string{"-"}
		}
		for _, org := range organizations {
			if m.keyServes(&k, org, asked, access) {
				lines[line("api_key", k.id, k.access.String(), "-", "api_key", k.id, k.pattern.String(), org)] = true
			}
		}
	}
	return sorted(lines)
}

// keyServes reports whether a key can get a token in a session of an organization,
// or for "-" in any session.
func (m *model) keyServes(k *modelKey, org string, asked permissions.Resource, access permissions.Access) bool {
	named, has := org == "-", false
	for user := range m.users {
		named = named || slices.Contains(m.sessions(user), org)
		m.eachRule(user, func(active string, g modelGrant, rule permissions.Rule) {
			has = has || (org == "-" || active == org) && g.kind == asked.Kind && g.access >= access && g.access <= k.access && rule.Pattern.Matches(asked.ID)
		})
	}
	return named && (slices.Contains(k.routes, principal.RouteAuthorizeUser) || has && slices.Contains(k.routes, principal.RouteAuth))
}

func (m *model) whatCan(user string, forAll bool) []string {
	lines := map[string]bool{}
	m.eachRule(user, func(_ string, g modelGrant, rule permissions.Rule) {
		if forAll || !g.isForAll() {
			lines[g.line("user", user, g.kind.String()+" "+rule.Pattern.String())] = true
		}
	})
	return sorted(lines)
}

// sorted returns nil for no lines, like the answers of SQL.
func sorted(lines map[string]bool) []string { return slices.Sorted(maps.Keys(lines)) }

// checkIssuing compares the model with the real principals of the user's sessions.
func (m *model) checkIssuing(t *testing.T, directory *db.Directory, user string) {
	t.Helper()
	for _, active := range append(m.sessions(user), "nowhere") {
		p, err := directory.PrincipalByUser(t.Context(), user, active)
		if err != nil {
			t.Fatal(err)
		}
		if p.Err() != nil {
			if active != "nowhere" {
				t.Errorf("user %q in %q gets no token, but gets one in the model: %v", user, active, p.Err())
			}
			continue
		}
		var want, got []string
		rules, _ := p.Rules()
		for _, rule := range rules {
			got = append(got, line(rule.Pattern.Kind().String(), rule.Pattern.String(), rule.Access.String()))
		}
		rules, _ = m.principal(user, active).Rules()
		if active == "nowhere" { // not a member: only grants that need no membership count
			continue
		}
		for _, rule := range rules {
			want = append(want, line(rule.Pattern.Kind().String(), rule.Pattern.String(), rule.Access.String()))
		}
		slices.Sort(want)
		slices.Sort(got)
		if diff := gocmp.Diff(want, got); diff != "" {
			t.Errorf("rules of user %q in %q (-model +issuing):\n%s", user, active, diff)
		}
	}
}

// checkExplanation compares the answer of why with the model: the result and the
// grants that count. Each grant must have a reason.
func (m *model) checkExplanation(t *testing.T, database *db.DB, user string, asked permissions.Resource) {
	t.Helper()
	access := permissions.None
	counting := map[int64]bool{}
	m.eachRule(user, func(_ string, g modelGrant, rule permissions.Rule) {
		if g.kind == asked.Kind && rule.Pattern.Matches(asked.ID) {
			access = max(access, g.access)
			counting[g.id] = true
		}
	})
	got, err := database.Why(t.Context(), user, asked)
	if err != nil {
		t.Fatal(err)
	}
	explained := map[int64]bool{}
	for _, g := range got.Grants {
		if explained[g.GrantID] {
			t.Errorf("why(%q, %s, %q) has grant %d twice", user, asked.Kind, asked.ID, g.GrantID)
		}
		explained[g.GrantID] = true
		if g.Counts != counting[g.GrantID] || g.Counts && !g.Matches || g.Why == "" {
			t.Errorf("why(%q, %s, %q) = %+v, want counts %t", user, asked.Kind, asked.ID, g, counting[g.GrantID])
		}
	}
	for id := range counting {
		if !explained[id] {
			t.Errorf("why(%q, %s, %q) leaves out grant %d, which counts", user, asked.Kind, asked.ID, id)
		}
	}
	if got.Access != access.String() || got.Why == "" {
		t.Errorf("why(%q, %s, %q) = %s: %q, want %s", user, asked.Kind, asked.ID, got.Access, got.Why, access)
	}
}

// isForAll reports whether g is for everyone and gives all users the same.
func (g *modelGrant) isForAll() bool {
	_, err := permissions.ParseTemplate(g.kind, g.pattern)
	return g.subject.Kind == admin.EveryoneKind && err == nil && !strings.Contains(g.pattern, "{")
}

func (g *modelGrant) line(kind, id, pattern string) string {
	return line(kind, id, g.access.String(), fmt.Sprint(g.id), g.subject.Kind, g.subject.ID, pattern, cmp.Or(g.organization, "-"))
}

// Values in a history: ids that are easy to confuse, ids that do not fit templates,
// and patterns that usher skips.
var (
	userIDs      = []string{"ada", "bob", "acme", "a:b", "x*", "o'hara", "\U0001F600", "a_b"}
	orgIDs       = []string{"acme", "globex", "a:b", "red"}
	groupIDs     = []string{"red", "blue", "ada", "x/y", "a"}
	roomPatterns = []string{
		"*", "a*", "acme:*", "acme:1", "ada", "ada:*", "red/*", "a:b:*", "a:b:1", "x/y", "a**", "x{y", "{organization}*",
		"{organization}:*", "{user}:*", "{group}:*", "{user}", "{organization}:{user}:*", "{organization}:{group}/*", "team:{group}:{user}",
		"{user}.{user}", "{group}/{organization}/{user}/*", "docs/{organization}", "docs/{group}", "{organization}:doc",
	}
	storePatterns = []string{"*", "acme_*", "acme_1", "ada", "{organization}_*", "{user}_*", "{group}_{user}", "{user}_{organization}", "x:y"}
)

// play makes the changes in the database with usher's own role, and returns them with
// their times. All are sent in one round trip.
func play(t *testing.T, pg *dbtest.DB, random *rand.Rand, n int) *randomHistory {
	t.Helper()
	ctx := t.Context()
	h := &randomHistory{}
	for _, id := range userIDs[:4] {
		h.changes = append(h.changes, addUser(id, false))
	}
	for _, id := range orgIDs[:2] {
		h.changes = append(h.changes, addOrganization(id))
	}
	for range 2 * n { // more than n, because some changes fail
		h.changes = append(h.changes, randomChange(random, len(h.changes)))
	}
	for range n / 5 { // so that something exists at the end
		h.changes = append(h.changes, randomAddition(random, len(h.changes)))
	}
	conn, err := pgx.Connect(ctx, pg.ServiceURL)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.WithoutCancel(ctx))
	statements := make([]string, len(h.changes))
	for i, c := range h.changes {
		statements[i] = c.sql
	}
	if _, err := conn.Exec(ctx, "CREATE TEMPORARY TABLE play (n bigint PRIMARY KEY, sql text, at timestamptz, id bigint)"); err != nil {
		t.Fatal(err)
	}
	if _, err := conn.Exec(ctx, "INSERT INTO play SELECT n, sql FROM unnest($1::text[]) WITH ORDINALITY p (sql, n)", statements); err != nil {
		t.Fatal(err)
	}
	// Each statement is its own transaction, so that each has its own time.
	if _, err := conn.Exec(ctx, "SET synchronous_commit = off"); err != nil {
		t.Fatal(err)
	}
	_, err = conn.Exec(ctx, `
		DO $$
		DECLARE
			change record;
			made   bigint;
		BEGIN
			FOR change IN SELECT n, sql FROM play ORDER BY n LOOP
				BEGIN
					made := NULL;
					EXECUTE change.sql INTO made;
				EXCEPTION
					WHEN unique_violation OR foreign_key_violation OR check_violation THEN made := NULL;
				END;
				CONTINUE WHEN made IS NULL;
				UPDATE play SET at = now(), id = made WHERE n = change.n;
				COMMIT;
			END LOOP;
		END
		$$`)
	if err != nil {
		t.Fatal(err)
	}
	rows, err := conn.Query(ctx, "SELECT n, at, id FROM play WHERE id IS NOT NULL ORDER BY n")
	if err != nil {
		t.Fatal(err)
	}
	type played struct {
		N  int
		At time.Time
		ID int64
	}
	done, err := pgx.CollectRows(rows, pgx.RowToStructByName[played])
	if err != nil {
		t.Fatal(err)
	}
	var changes []change
	m := newModel()
	for _, p := range done {
		c := h.changes[p.N-1]
		c.at, c.id = p.At.UTC(), p.ID
		changes = append(changes, c)
		before := maps.Clone(m.grants)
		c.apply(m, c.at, c.id)
		ofGrant := false
		for _, g := range m.grants {
			if _, old := before[g.id]; !old {
				ofGrant = true
				h.moments = append(h.moments, g.moment(c.at), g.moment(g.validFrom), g.moment(g.validUntil))
			}
			delete(before, g.id)
		}
		for _, g := range before { // the remaining grants have ended
			ofGrant = true
			h.moments = append(h.moments, g.moment(c.at))
		}
		if !ofGrant {
			h.moments = append(h.moments, moment{at: c.at})
		}
	}
	h.changes = changes
	if len(changes) < n {
		t.Fatalf("%d changes could be made, want %d", len(changes), n)
	}
	h.moments = slices.DeleteFunc(h.moments, func(m moment) bool {
		return m.at.Before(changes[0].at) || m.at.After(changes[len(changes)-1].at)
	})
	h.settled = changes[len(changes)-1].at.Add(2 * longest)
	h.resources = randomResources(random)
	return h
}

// randomResources match the patterns, or almost match them.
func randomResources(random *rand.Rand) []permissions.Resource {
	var resources []permissions.Resource
	add := func(kind permissions.Kind, patterns []string) {
		for _, pattern := range patterns {
			for range 4 {
				id := strings.NewReplacer(
					"{user}", pick(random, userIDs), "{organization}", pick(random, orgIDs), "{group}", pick(random, groupIDs),
					"*", pick(random, []string{"", "1", "b", "ada", "x"}),
				).Replace(pattern)
				if permissions.CheckID(kind, id) == nil {
					resources = append(resources, permissions.Resource{Kind: kind, ID: id})
				}
			}
		}
	}
	add(permissions.RoomKind, roomPatterns)
	add(permissions.StoreKind, storePatterns)
	return resources
}

func pick(random *rand.Rand, from []string) string { return from[random.IntN(len(from))] }

// quoted returns an SQL literal, or NULL for an empty text.
func quoted(text string) string {
	if text == "" {
		return "NULL"
	}
	return "'" + strings.ReplaceAll(text, "'", "''") + "'"
}

func addUser(id string, disabled bool) change {
	return change{
		sql: fmt.Sprintf("INSERT INTO usher.users (id, disabled_at, created_at, created_by) VALUES (%s, %s, '2001-01-01', 't') RETURNING 1",
			quoted(id), map[bool]string{true: "'2001-01-01'", false: "NULL"}[disabled]),
		apply: func(m *model, _ time.Time, _ int64) { m.users[id] = !disabled },
	}
}

func addOrganization(id string) change {
	return change{
		sql:   fmt.Sprintf("INSERT INTO usher.organizations (id, created_by) VALUES (%s, 't') RETURNING 1", quoted(id)),
		apply: func(m *model, _ time.Time, _ int64) { m.orgs[id] = true },
	}
}

// randomChange returns a change that the service's role may make. Any time in it is
// wrong: the database must set its own.
func randomChange(random *rand.Rand, n int) change {
	user, org, group := pick(random, userIDs), pick(random, orgIDs), pick(random, groupIDs)
	of := memberOf(random, org, group)
	switch p := random.IntN(100); {
	case p < 2:
		return change{
			sql: "DELETE FROM usher.users WHERE id = " + quoted(user) + " RETURNING 1",
			apply: func(m *model, _ time.Time, _ int64) {
				delete(m.users, user)
				maps.DeleteFunc(m.members, func(k membership, _ string) bool { return k.user == user })
				m.deleteGrants(admin.Subject{Kind: admin.UserKind, ID: user})
			},
		}
	case p < 8:
		disable := random.IntN(2) == 0
		return change{
			sql: fmt.Sprintf("UPDATE usher.users SET disabled_at = %s WHERE id = %s RETURNING 1",
				map[bool]string{true: "'2001-01-01'", false: "NULL"}[disable], quoted(user)),
			apply: func(m *model, _ time.Time, _ int64) { m.users[user] = !disable },
		}
	case p < 9:
		return change{
			sql: "DELETE FROM usher.organizations WHERE id = " + quoted(org) + " RETURNING 1",
			apply: func(m *model, _ time.Time, _ int64) {
				delete(m.orgs, org)
				maps.DeleteFunc(m.members, func(k membership, _ string) bool { return k.kind == admin.OrganizationKind && k.id == org })
				m.deleteGrants(admin.Subject{Kind: admin.OrganizationKind, ID: org})
				maps.DeleteFunc(m.grants, func(_ int64, g modelGrant) bool { return g.organization == org })
			},
		}
	case p < 11:
		return change{
			sql: "DELETE FROM usher.groups WHERE id = " + quoted(group) + " RETURNING 1",
			apply: func(m *model, _ time.Time, _ int64) {
				delete(m.groups, group)
				maps.DeleteFunc(m.members, func(k membership, _ string) bool { return k.kind == admin.GroupKind && k.id == group })
				m.deleteGrants(admin.Subject{Kind: admin.GroupKind, ID: group})
			},
		}
	case p < 18:
		return change{
			sql: fmt.Sprintf(`UPDATE usher.memberships SET ended_at = '2001-01-01', ended_by = 't'
				WHERE user_id = %s AND member_of_kind = %s AND member_of_id = %s AND ended_at IS NULL RETURNING 1`,
				quoted(user), quoted(of.Kind), quoted(of.ID)),
			apply: func(m *model, _ time.Time, _ int64) { delete(m.members, membership{user, of.Kind, of.ID}) },
		}
	case p < 27:
		nth := random.IntN(3) // of the oldest remaining
		return change{
			sql: fmt.Sprintf(`UPDATE usher.grants SET revoked_at = 'infinity', revoked_by = 't' WHERE revoked_at IS NULL
				AND id = (SELECT id FROM usher.grants WHERE revoked_at IS NULL ORDER BY id OFFSET %d LIMIT 1) RETURNING id`, nth),
			apply: func(m *model, _ time.Time, id int64) { delete(m.grants, id) },
		}
	case p < 30:
		return change{
			sql: `UPDATE usher.api_keys SET revoked_at = '2001-01-01', revoked_by = 't'
				WHERE id = (SELECT id FROM usher.api_keys WHERE revoked_at IS NULL ORDER BY id LIMIT 1) RETURNING id::bigint`,
			apply: func(m *model, _ time.Time, id int64) { delete(m.keys, keyID(int(id))) },
		}
	}
	return randomAddition(random, n)
}

func randomAddition(random *rand.Rand, n int) change {
	user, org, group := pick(random, userIDs), pick(random, orgIDs), pick(random, groupIDs)
	of := memberOf(random, org, group)
	switch p := random.IntN(100); {
	case p < 8:
		return addUser(user, random.IntN(6) == 0)
	case p < 13:
		return addOrganization(org)
	case p < 21:
		if random.IntN(4) == 0 {
			org = ""
		}
		return change{
			sql:   fmt.Sprintf("INSERT INTO usher.groups (id, organization_id, created_by) VALUES (%s, %s, 't') RETURNING 1", quoted(group), quoted(org)),
			apply: func(m *model, _ time.Time, _ int64) { m.groups[group] = org },
		}
	case p < 50:
		return change{
			sql: fmt.Sprintf("INSERT INTO usher.memberships (user_id, member_of_kind, member_of_id, created_by) VALUES (%s, %s, %s, 't') RETURNING 1",
				quoted(user), quoted(of.Kind), quoted(of.ID)),
			apply: func(m *model, _ time.Time, _ int64) {
				org := of.ID
				if of.Kind == admin.GroupKind {
					org = m.groups[of.ID]
				}
				m.members[membership{user, of.Kind, of.ID}] = org
			},
		}
	case p < 55:
		return randomKey(random, n, org)
	}
	return randomGrant(random, user, of, org)
}

func memberOf(random *rand.Rand, org, group string) admin.Subject {
	if random.IntN(2) == 0 {
		return admin.Subject{Kind: admin.GroupKind, ID: group}
	}
	return admin.Subject{Kind: admin.OrganizationKind, ID: org}
}

func (m *model) deleteGrants(to admin.Subject) {
	maps.DeleteFunc(m.grants, func(_ int64, g modelGrant) bool { return g.subject == to })
}

func keyID(n int) string { return fmt.Sprintf("%012d", n) }

// longest is the maximum time from a change to a start or an end that it sets.
const longest = 200 * time.Millisecond

func randomLife(random *rand.Rand) time.Duration {
	return time.Microsecond + time.Duration(random.Int64N(int64(longest))).Truncate(time.Microsecond)
}

func randomGrant(random *rand.Rand, user string, of admin.Subject, org string) change {
	g := modelGrant{subject: of, kind: permissions.RoomKind, pattern: pick(random, roomPatterns), access: permissions.Read}
	if random.IntN(4) == 0 {
		g.kind, g.pattern = permissions.StoreKind, pick(random, storePatterns)
	}
	switch random.IntN(4) {
	case 0:
		g.subject = admin.Subject{Kind: admin.EveryoneKind}
	case 1:
		g.subject = admin.Subject{Kind: admin.UserKind, ID: user}
	}
	if random.IntN(3) == 0 {
		g.access = permissions.Full
	}
	if random.IntN(4) == 0 {
		g.organization = org
	}
	var from, until time.Duration // after the change
	if random.IntN(6) == 0 {
		from = time.Duration(random.Int64N(int64(2*longest)) - int64(longest)).Truncate(time.Microsecond)
	}
	if random.IntN(6) == 0 {
		until = from + randomLife(random)
	}
	interval := func(d time.Duration) string {
		return fmt.Sprintf("now() + interval '%d microseconds'", d.Microseconds())
	}
	untilSQL := "NULL"
	if until != 0 {
		untilSQL = interval(until)
	}
	return change{
		// Only for subjects that exist, as usher itself checks.
		sql: fmt.Sprintf(`INSERT INTO usher.grants (subject_kind, subject_id, organization_id, resource_kind, pattern, access, valid_from, valid_until, created_by)
			SELECT %[1]s, coalesce(%[2]s, ''), %[3]s, %[4]s, %[5]s, %[6]s, %[7]s, %[8]s, 't'
			 WHERE CASE %[1]s WHEN 'user' THEN EXISTS (SELECT FROM usher.users WHERE id = %[2]s)
			                  WHEN 'group' THEN EXISTS (SELECT FROM usher.groups WHERE id = %[2]s)
			                  WHEN 'organization' THEN EXISTS (SELECT FROM usher.organizations WHERE id = %[2]s) ELSE true END
			   AND (%[3]s::text IS NULL OR EXISTS (SELECT FROM usher.organizations WHERE id = %[3]s)) RETURNING id`,
			quoted(g.subject.Kind), quoted(g.subject.ID), quoted(g.organization), quoted(g.kind.String()), quoted(g.pattern), quoted(g.access.String()),
			interval(from), untilSQL),
		apply: func(m *model, at time.Time, id int64) {
			made := g
			made.id, made.validFrom = id, at.Add(from)
			if until != 0 {
				made.validUntil = at.Add(until)
			}
			m.grants[id] = made
		},
	}
}

func randomKey(random *rand.Rand, n int, org string) change {
	k := modelKey{
		id: keyID(n), kind: permissions.RoomKind, access: permissions.Read,
		pattern: permissions.MustPattern(permissions.RoomKind, pick(random, []string{"*", "acme:*", "a*", "acme:1", "x{y"})),
		routes:  []string{pick(random, []string{principal.RouteAuth, principal.RouteAuthorizeUser, principal.RouteIdentifyUser})},
	}
	if random.IntN(2) == 0 {
		k.access = permissions.Full
	}
	organizations := "NULL"
	if random.IntN(2) == 0 {
		k.organizations = []string{org, "initech"}
		organizations = fmt.Sprintf("ARRAY[%s, 'initech']", quoted(org))
	}
	var life time.Duration
	expires := "NULL"
	if random.IntN(2) == 0 {
		life = randomLife(random)
		expires = fmt.Sprintf("now() + interval '%d microseconds'", life.Microseconds())
	}
	return change{
		sql: fmt.Sprintf(`INSERT INTO usher.api_keys (id, name, secret_hash, routes, organizations, patterns, expires_at, created_by)
			VALUES ('%s', 'key', sha256('%s'), '{%s}', %s, jsonb_build_object('rooms', jsonb_build_object('%s', '%s')), %s, 't') RETURNING 1`,
			k.id, k.id, k.routes[0], organizations, k.pattern, k.access, expires),
		apply: func(m *model, at time.Time, _ int64) {
			made := k
			if life != 0 {
				made.expires = at.Add(life)
			}
			m.keys[k.id] = made
		},
	}
}
