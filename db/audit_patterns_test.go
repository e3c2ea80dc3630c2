package db_test

import (
	"encoding/json"
	"math/rand/v2"
	"os"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/usher-auth/usher/db/dbtest"
	"github.com/usher-auth/usher/permissions"
)

// SQL passes the same test vectors as Go.
func TestVectorsInSQL(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../permissions/testdata/permissions.json")
	if err != nil {
		t.Fatal(err)
	}
	var vectors struct {
		Patterns []struct {
			Pattern string
			Valid   bool
		}
		IDs []struct {
			ID    string
			Valid bool
		}
		Match []struct {
			Pattern, ID string
			Match       bool
		}
		Access []struct {
			Grants [][2]string
			ID     string
			Access string
		}
	}
	if err := json.Unmarshal(text, &vectors); err != nil {
		t.Fatal(err)
	}
	if min(len(vectors.Patterns), len(vectors.IDs), len(vectors.Match), len(vectors.Access)) == 0 {
		t.Fatal("a section of the vectors is empty")
	}
	pool := dbtest.New(t).Pool
	// Text in Postgres cannot contain NUL, so no id or pattern does.
	storable := func(text string) bool { return !strings.Contains(text, "\x00") }
	check := func(want any, sql string, args ...any) {
		t.Helper()
		var got any
		if err := pool.QueryRow(t.Context(), sql, args...).Scan(&got); err != nil {
			t.Errorf("%s of %q: %v", sql, args, err)
		} else if got != want {
			t.Errorf("%s of %q = %v, want %v", sql, args, got, want)
		}
	}
	for _, c := range vectors.Patterns {
		if storable(c.Pattern) {
			check(c.Valid, "SELECT audit.is_pattern('room', $1)", c.Pattern)
		}
	}
	for _, c := range vectors.IDs {
		if storable(c.ID) {
			check(c.Valid, "SELECT audit.is_id('room', $1)", c.ID)
		}
	}
	for _, c := range vectors.Match {
		if storable(c.ID) {
			check(c.Match, "SELECT audit.pattern_matches($1, $2)", c.Pattern, c.ID)
		}
	}
	for _, c := range vectors.Access {
		patterns := map[string]permissions.Access{} // the strongest per pattern, as in a token
		for _, g := range c.Grants {
			access, err := permissions.ParseAccess(g[1])
			if err != nil {
				t.Fatal(err)
			}
			patterns[g[0]] = max(patterns[g[0]], access)
		}
		if storable(c.ID) {
			check(c.Access, "SELECT audit.access_of($1, $2)", patterns, c.ID)
		}
	}
}

// SQL expands templates like Go, and reads the values from the result.
func TestTemplateVectorsInSQL(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../permissions/testdata/templates.json")
	if err != nil {
		t.Fatal(err)
	}
	var vectors struct {
		Expand []struct {
			Kind, Template, User, Organization, Group string
			Pattern                                   *string
		}
	}
	if err := json.Unmarshal(text, &vectors); err != nil || len(vectors.Expand) == 0 {
		t.Fatalf("%d vectors, %v", len(vectors.Expand), err)
	}
	pool := dbtest.New(t).Pool
	for _, v := range vectors.Expand {
		var got []string
		err := pool.QueryRow(t.Context(), "SELECT array(SELECT audit.expand($1, $2, $3, ARRAY[$4], ARRAY[$5]))",
			v.Kind, v.Template, v.User, v.Organization, v.Group).Scan(&got)
		switch {
		case err != nil:
			t.Errorf("%+v: %v", v, err)
		case v.Pattern == nil && len(got) > 0, v.Pattern != nil && (len(got) != 1 || got[0] != *v.Pattern):
			t.Errorf("%+v: got %q", v, got)
		}
		if v.Pattern == nil {
			continue
		}
		var matches bool
		var user, organization, group *string
		err = pool.QueryRow(t.Context(), "SELECT * FROM audit.template_values($1, $2, $3)",
			v.Kind, v.Template, strings.TrimSuffix(*v.Pattern, "*")).Scan(&matches, &user, &organization, &group)
		if err != nil || !matches {
			t.Errorf("%+v: template_values matches: %t, %v", v, matches, err)
		}
		for want, got := range map[string]*string{v.User: user, v.Organization: organization, v.Group: group} {
			if got != nil && *got != want {
				t.Errorf("%+v: template_values read %q, want %q", v, *got, want)
			}
		}
	}
}

// patternCase has a text for each argument.
type patternCase struct {
	kind                      permissions.Kind
	pattern, other, id        string
	user, organization, group string
}

// verdict is the result of one language for a case.
type verdict struct {
	IsID, IsPattern, IsTemplate, Matches, Covers bool
	Expanded                                     string // empty: nothing
	TemplateNames                                bool   // with the case's values, the template matches the id
	Access                                       string
}

func (c patternCase) inGo() verdict {
	pattern, patternErr := permissions.ParsePattern(c.kind, c.pattern)
	other, otherErr := permissions.ParsePattern(c.kind, c.other)
	template, templateErr := permissions.ParseTemplate(c.kind, c.pattern)
	v := verdict{
		IsID:       permissions.CheckID(c.kind, c.id) == nil,
		IsPattern:  patternErr == nil,
		IsTemplate: templateErr == nil,
		Matches:    pattern.Matches(c.id),
		Covers:     patternErr == nil && otherErr == nil && pattern.Covers(other),
	}
	if templateErr == nil {
		expanded, err := template.Expand(permissions.Values{User: c.user, Organization: c.organization, Group: c.group})
		if err == nil {
			v.Expanded = expanded.String()
			v.TemplateNames = expanded.Matches(c.id)
		}
	}
	var rules []permissions.Rule
	if patternErr == nil {
		rules = append(rules, permissions.Rule{Pattern: pattern, Access: permissions.Read})
	}
	if otherErr == nil && c.other != c.pattern {
		rules = append(rules, permissions.Rule{Pattern: other, Access: permissions.Full})
	}
	v.Access = permissions.Cover(rules).Access(c.id).String()
	return v
}

// The functions that match know no kinds, so the caller must check that an id is
// valid for its kind.
const verdictsSQL = `
	SELECT audit.is_id(kind, id) AS is_id, audit.is_pattern(kind, pattern) AS is_pattern, audit.is_template(kind, pattern) AS is_template,
	       audit.is_id(kind, id) AND audit.is_pattern(kind, pattern) AND audit.pattern_matches(pattern, id) AS matches,
	       audit.is_pattern(kind, pattern) AND audit.is_pattern(kind, other) AND audit.pattern_covers(pattern, other) AS covers,
	       coalesce((SELECT e FROM audit.expand(kind, pattern, user_id, ARRAY[organization], ARRAY[group_id]) e), '') AS expanded,
	       (SELECT v.matches AND coalesce(v.user_id, c.user_id) = c.user_id AND coalesce(v.organization_id, c.organization) = c.organization
	               AND coalesce(v.group_id, c.group_id) = c.group_id
	          FROM audit.template_values(kind, pattern, id) v) AS template_names,
	       CASE WHEN audit.is_id(kind, id)
	            THEN audit.access_of(CASE WHEN audit.is_pattern(kind, pattern) THEN jsonb_build_object(pattern, 'read') ELSE '{}' END
	                                 || CASE WHEN audit.is_pattern(kind, other) AND pattern <> other THEN jsonb_build_object(other, 'full') ELSE '{}' END, id)
	            ELSE 'none' END AS access
	  FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[])
	       WITH ORDINALITY AS c (kind, pattern, other, id, user_id, organization, group_id, n)
	 ORDER BY n`

// Go and SQL agree on random texts as patterns, ids and values.
func TestPatternsInGoAndSQL(t *testing.T) {
	t.Parallel()
	n := 100_000
	if testing.Short() {
		n = 5_000
	}
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	g := textGenerator{rand.New(rand.NewPCG(seed, 0))}
	cases := make([]patternCase, n)
	columns := make([][]string, 7)
	for i := range cases {
		c := g.patternCase()
		cases[i] = c
		for j, text := range []string{c.kind.String(), c.pattern, c.other, c.id, c.user, c.organization, c.group} {
			columns[j] = append(columns[j], text)
		}
	}
	rows, err := dbtest.New(t).Pool.Query(t.Context(), verdictsSQL,
		columns[0], columns[1], columns[2], columns[3], columns[4], columns[5], columns[6])
	if err != nil {
		t.Fatal(err)
	}
	verdicts, err := pgx.CollectRows(rows, pgx.RowToStructByName[verdict])
	if err != nil {
		t.Fatal(err)
	}
	seen := map[verdict]int{} // without texts: the outcomes that the generator reaches
	for i, c := range cases {
		want := c.inGo()
		if verdicts[i] != want {
			t.Errorf("%#v:\nSQL %+v\n Go %+v", c, verdicts[i], want)
		}
		if want.Expanded != "" {
			want.Expanded = "some"
		}
		seen[want]++
	}
	if !testing.Short() && len(seen) < 25 {
		t.Errorf("the cases have %d different outcomes, want 25 or more: %v", len(seen), seen)
	}
}

// textGenerator makes texts that are, or almost are, valid patterns and match.
type textGenerator struct{ *rand.Rand }

var pieces = []string{
	"a", "b", "ab", "A", "0", ":", ":", "/", ".", "_", "_", "-", "*", "{", "}", "{user}", "{organization}", "{group}", "{user}:", "{organization}:",
	"{group}/", "{user}_", "{organization}_", "{group}_", "{users}", "é", "😀", "\u2028", "\uFEFF", "\u0301", "\x01", "\n", "\x7f", "\u0085", " ", "%", `\`, "'", "ACME",
}

func (g textGenerator) pick(from []string) string { return from[g.IntN(len(from))] }

// text is mostly short, and sometimes about as long as the limit for ids.
func (g textGenerator) text(from []string) string {
	var b strings.Builder
	for range g.IntN(6) {
		b.WriteString(g.pick(from))
	}
	if g.IntN(20) == 0 {
		filler := g.pick([]string{"a", "é", "😀"})
		units := 1
		if filler == "😀" {
			units = 2
		}
		b.WriteString(strings.Repeat(filler, (126+g.IntN(5)-b.Len())/units))
	}
	return b.String()
}

func (g textGenerator) patternCase() patternCase {
	c := patternCase{kind: permissions.RoomKind}
	if g.IntN(3) == 0 {
		c.kind = permissions.StoreKind
	}
	plain := []string{"a", "b", "ab", "0", "_", "a", "b"}
	if c.kind == permissions.RoomKind {
		plain = append(plain, ":", "/", ".", "😀", "é", "{", "}")
	}
	value := func() string {
		if g.IntN(4) == 0 {
			return g.text(pieces)
		}
		return g.pick([]string{"a", "b", "ab", "a:b", "a_b", "{user}"})
	}
	c.user, c.organization, c.group = value(), value(), value()
	c.pattern, c.other = g.text(pieces), g.text(pieces)
	if g.IntN(2) == 0 { // one that is more likely to be a template
		var b strings.Builder
		for range 1 + g.IntN(3) {
			b.WriteString(g.pick([]string{"", "", "a", "ab:"}))
			b.WriteString(g.pick([]string{"{user}", "{organization}", "{group}", "a"}))
			b.WriteString(g.pick([]string{":", "/", "_", ":", "", "_"}))
		}
		c.pattern = b.String() + g.pick([]string{"", "", "*", "a"})
	}
	switch g.IntN(4) {
	case 0:
		c.id = g.text(pieces)
	case 1:
		c.id = g.text(plain)
	default: // matches the pattern, or almost
		pattern := c.pattern
		if g.IntN(4) == 0 { // with another value
			pattern = strings.Replace(pattern, g.pick([]string{"{user}", "{organization}", "{group}"}), value(), 1)
		}
		c.id = strings.NewReplacer("{user}", c.user, "{organization}", c.organization, "{group}", c.group, "*", g.text(plain)).Replace(pattern)
		if g.IntN(8) == 0 {
			c.id += g.pick(pieces)
		}
	}
	if g.IntN(2) == 0 && c.id != "" { // a prefix of the id
		runes := []rune(c.id)
		c.other = string(runes[:g.IntN(len(runes)+1)]) + g.pick([]string{"*", "", "*"})
	}
	return c
}
