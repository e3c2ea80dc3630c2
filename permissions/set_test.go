package permissions_test

import (
	"slices"
	"strings"
	"testing"
	"unicode/utf16"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/usher-auth/usher/permissions"
)

// The generators use few pieces, so that patterns often cover, meet and repeat each other. rapid
// prefers small numbers and short lists; the sizes compensate for that.
var (
	anyID = rapid.Custom(func(t *rapid.T) string {
		piece := rapid.SampledFrom([]string{"a", "b", ":", "日", "😀"})
		return strings.Join(rapid.SliceOfN(piece, 1, 4).Draw(t, "pieces"), "")
	})
	anyPattern = rapid.OneOf(
		rapid.Map(anyID, room),
		rapid.Map(anyID, func(prefix string) permissions.Pattern { return room(prefix + "*") }),
		rapid.Map(anyID, func(prefix string) permissions.Pattern { return room(prefix + ":*") }),
		rapid.Map(rapid.SampledFrom([]string{"a*", "a:*", "*"}), room),
	)
	anyRule = rapid.Custom(func(t *rapid.T) permissions.Rule {
		access := rapid.SampledFrom([]permissions.Access{permissions.Full, permissions.Read, permissions.None})
		return permissions.Rule{Pattern: anyPattern.Draw(t, "pattern"), Access: access.Draw(t, "access")}
	})
	anyRules = rapid.OneOf(rapid.SliceOfN(anyRule, 0, 5), rapid.SliceOfN(anyRule, 8, 16))
	anyLimit = rapid.Custom(func(t *rapid.T) permissions.Limit {
		return permissions.Limit{
			Patterns: rapid.SampledFrom([]int{1, 2, 3, 4, 5, 6, 20, 0, -1}).Draw(t, "max patterns"),
			Bytes:    rapid.SampledFrom([]int{0, 0, 0, 0, 5, 10, 15, 20, 30, -1}).Draw(t, "max bytes"),
			Cost:     textLength,
		}
	})
)

func textLength(r permissions.Rule) int { return len(r.Pattern.String()) }

// accessOracle is the specification of access, written simply.
func accessOracle(rules []permissions.Rule, id string) permissions.Access {
	access := permissions.None
	for _, r := range rules {
		if r.Pattern.Matches(id) {
			access = max(access, r.Access)
		}
	}
	return access
}

// probes returns ids that show differences between two sets of rules: for each pattern its
// literal, and an id that only this pattern and those covering it match.
func probes(rules []permissions.Rule) []string {
	ids := []string{"~"}
	for _, r := range rules {
		literal := strings.TrimSuffix(r.Pattern.String(), "*")
		ids = append(ids, literal+"~")
		if literal != "" {
			ids = append(ids, literal)
		}
	}
	return ids
}

func TestCoverKeepsEveryAnswer(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		rules := anyRules.Draw(t, "rules")
		before := slices.Clone(rules)
		set := permissions.Cover(rules)
		if !slices.Equal(rules, before) {
			t.Fatalf("Cover changed its argument from %v to %v", before, rules)
		}
		for _, id := range append(probes(rules), anyID.Draw(t, "id")) {
			want := accessOracle(rules, id)
			if got := set.Access(id); got != want {
				t.Fatalf("Access(%q) = %s, want %s", id, got, want)
			}
			if got := accessOracle(set.Rules(), id); got != want {
				t.Fatalf("the rules give %q %s, want %s", id, got, want)
			}
		}
	})
}

func TestCoverIsSmallest(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		rules := permissions.Cover(anyRules.Draw(t, "rules")).Rules()
		ids := probes(rules)
		for i, r := range rules {
			less := slices.Delete(slices.Clone(rules), i, i+1)
			if !slices.ContainsFunc(ids, func(id string) bool {
				return accessOracle(less, id) != accessOracle(rules, id)
			}) {
				t.Fatalf("%v is idle in %v", r, rules)
			}
		}
	})
}

// The three ways in which readers of a token choose among its patterns.
func TestReadersAgree(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		rules := permissions.Cover(anyRules.Draw(t, "rules")).Rules()
		for _, id := range append(probes(rules), anyID.Draw(t, "id")) {
			var matching []permissions.Rule // broadest first
			for _, r := range slices.Backward(rules) {
				if r.Pattern.Matches(id) {
					matching = append(matching, r)
				}
			}
			for i := 1; i < len(matching); i++ {
				outer, inner := matching[i-1], matching[i]
				if !outer.Pattern.Covers(inner.Pattern) || outer.Access >= inner.Access {
					t.Fatalf("for %q access does not grow from %v to %v", id, outer, inner)
				}
			}
			strongest := accessOracle(rules, id)
			mostSpecific, exactFirst := permissions.None, permissions.None
			if n := len(matching); n > 0 {
				mostSpecific, exactFirst = matching[n-1].Access, matching[0].Access
				for _, r := range rules {
					switch {
					case r.Pattern.String() == id:
						exactFirst = r.Access
					case !r.Pattern.IsWildcard():
					case r.Pattern.Matches(id):
						exactFirst = max(exactFirst, r.Access)
					}
				}
			}
			if strongest != mostSpecific || strongest != exactFirst {
				t.Fatalf("%q: strongest %s, most specific %s, exact first %s", id, strongest, mostSpecific, exactFirst)
			}
		}
	})
}

func TestOrderOfGrantsNeverMatters(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		rules := anyRules.Draw(t, "rules")
		a := permissions.Cover(rules)
		b := permissions.Cover(rapid.Permutation(rules).Draw(t, "shuffled"))
		if diff := cmp.Diff(texts(a), texts(b)); diff != "" {
			t.Fatalf("covers differ:\n%s", diff)
		}
		want, limit := anyID.Draw(t, "want"), anyLimit.Draw(t, "limit")
		c, cOK := a.Select(want, limit)
		d, dOK := b.Select(want, limit)
		if cOK != dOK || c.Partial != d.Partial {
			t.Fatalf("selections differ: ok %t, %t, partial %t, %t", cOK, dOK, c.Partial, d.Partial)
		}
		if diff := cmp.Diff(texts(c.Set), texts(d.Set)); diff != "" {
			t.Fatalf("selections differ:\n%s", diff)
		}
	})
}

// texts returns a set in the form of a token.
func texts(s permissions.Set) []string {
	list := []string{}
	for _, r := range s.Rules() {
		list = append(list, r.Pattern.String()+" "+r.Access.String())
	}
	return list
}

func TestSelectGivesTheTrueAccessOrNone(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		rules := anyRules.Draw(t, "rules")
		cover := permissions.Cover(rules)
		want, limit := "", anyLimit.Draw(t, "limit")
		if rapid.Bool().Draw(t, "named") {
			want = rapid.OneOf(anyID, rapid.SampledFrom(probes(rules))).Draw(t, "want")
		}
		selection, ok := cover.Select(want, limit)
		if covered := want == "" || cover.Access(want) > permissions.None; ok != covered {
			t.Fatalf("ok = %t, want %t", ok, covered)
		}
		if !ok {
			if selection.Set.Len() != 0 || selection.Partial {
				t.Fatalf("refused, yet selected %v", texts(selection.Set))
			}
			return
		}

		selected := selection.Set.Rules()
		if want != "" && selection.Set.Access(want) != cover.Access(want) {
			t.Fatalf("gives the wanted %s, want %s", selection.Set.Access(want), cover.Access(want))
		}
		misses := false
		for _, id := range append(probes(rules), anyID.Draw(t, "id")) {
			switch got, truth := selection.Set.Access(id), cover.Access(id); got {
			case truth:
			case permissions.None:
				misses = true
			default:
				t.Fatalf("gives %q %s, want %s or none", id, got, truth)
			}
		}
		if misses != selection.Partial {
			t.Fatalf("Partial = %t, but something is missing: %t", selection.Partial, misses)
		}
		if diff := cmp.Diff(texts(permissions.Cover(selected)), texts(selection.Set)); diff != "" {
			t.Fatalf("the selection is no cover (-want +got):\n%s", diff)
		}

		// Within the limit, except for the one pattern that is always selected.
		if len(selected) == 0 && cover.Len() > 0 {
			t.Fatal("selected nothing")
		}
		fits := func(rules []permissions.Rule) bool {
			bytes := 0
			for _, r := range rules {
				bytes += limit.Cost(r)
			}
			return len(rules) <= max(limit.Patterns, 1) && (limit.Bytes == 0 || bytes <= limit.Bytes)
		}
		if len(selected) > 1 && !fits(selected) {
			t.Fatalf("%v is over the limit", selected)
		}
		// And no rule is left out that would have fitted with its dependents.
		for _, r := range cover.Rules() {
			if slices.Contains(selected, r) {
				continue
			}
			with := slices.Clone(selected)
			for _, other := range cover.Rules() {
				if r.Pattern.Covers(other.Pattern) && !slices.Contains(selected, other) {
					with = append(with, other)
				}
			}
			if fits(with) {
				t.Fatalf("%v was left out of %v", r, selected)
			}
		}
	})
}

// The vectors do not test these: bytes, and how a selection shows that it is partial.
func TestSelect(t *testing.T) {
	t.Parallel()
	rules := []permissions.Rule{
		read("acme:*"), full("acme:design:*"), full("acme:notes"), // a wildcard and its dependents
		full("b:*"), read("globex:*"), read("b"),
	}
	for _, c := range []struct {
		name     string
		rules    []permissions.Rule
		want     string
		limit    permissions.Limit
		selected []string
		partial  bool
	}{
		{
			"all", rules, "",
			permissions.Limit{Patterns: 6},
			[]string{"acme:notes full", "b read", "acme:design:* full", "globex:* read", "acme:* read", "b:* full"},
			false,
		},
		{
			"all by the byte", rules, "acme:1",
			permissions.Limit{Patterns: 6, Bytes: 6 + 13 + 10 + 3 + 8 + 1, Cost: textLength},
			[]string{"acme:notes full", "b read", "acme:design:* full", "globex:* read", "acme:* read", "b:* full"},
			false,
		},
		{
			"a byte less leaves out the last in turn", rules, "acme:1",
			permissions.Limit{Patterns: 6, Bytes: 6 + 13 + 10 + 3 + 8, Cost: textLength},
			[]string{"acme:notes full", "acme:design:* full", "globex:* read", "acme:* read", "b:* full"},
			true,
		},
		{
			"a wildcard whose dependents do not fit gives way to the id", rules, "acme:1",
			permissions.Limit{Patterns: 2},
			[]string{"acme:1 read", "b:* full"},
			true,
		},
		{
			"also for bytes", rules, "acme:1",
			permissions.Limit{Patterns: 6, Bytes: 6 + 3 + 8, Cost: textLength},
			[]string{"acme:1 read", "globex:* read", "b:* full"},
			true,
		},
		{
			"and fewer rules is not what partial means",
			[]permissions.Rule{read("a:*"), full("a:secret")},
			"a:",
			permissions.Limit{Patterns: 2, Bytes: 2 + 8, Cost: textLength},
			[]string{"a:secret full", "a: read"},
			true,
		},
		{
			"dependents that are partly in", rules, "acme:design:1",
			permissions.Limit{Patterns: 4},
			[]string{"acme:notes full", "acme:design:* full", "acme:* read", "b:* full"},
			true,
		},
		{
			"the broadest are those of the fewest UTF-16 units",
			[]permissions.Rule{read("ab:*"), read("日:*"), read("c")},
			"",
			permissions.Limit{Patterns: 1},
			[]string{"日:* read"},
			true,
		},
		{
			"one that decides goes in whatever it costs", rules, "acme:design:1",
			permissions.Limit{Patterns: 6, Bytes: -1, Cost: textLength},
			[]string{"acme:design:* full"},
			true,
		},
		{
			"so does the id in its place", rules, "acme:1",
			permissions.Limit{Patterns: 6, Bytes: 1, Cost: textLength},
			[]string{"acme:1 read"},
			true,
		},
		{
			"without an id, the broadest one that fits", rules, "",
			permissions.Limit{Patterns: 6, Bytes: -1, Cost: textLength},
			[]string{"b:* full"},
			true,
		},
		{
			"the only rule is all, whatever it costs",
			[]permissions.Rule{read("acme:*")},
			"",
			permissions.Limit{Patterns: 1, Bytes: -1, Cost: textLength},
			[]string{"acme:* read"},
			false,
		},
		{
			"no patterns count as one", rules, "b:1",
			permissions.Limit{},
			[]string{"b:* full"},
			true,
		},
		{
			"nothing granted, nothing asked", nil, "",
			permissions.Limit{Patterns: 10, Bytes: -1, Cost: textLength},
			[]string{},
			false,
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			cover := permissions.Cover(c.rules)
			selection, ok := cover.Select(c.want, c.limit)
			if !ok {
				t.Fatal("refused")
			}
			if got, want := selection.Set.Access(c.want), cover.Access(c.want); got != want {
				t.Errorf("Access(%q) = %s, want %s", c.want, got, want)
			}
			if diff := cmp.Diff(c.selected, texts(selection.Set)); diff != "" {
				t.Errorf("selected (-want +got):\n%s", diff)
			}
			if selection.Partial != c.partial {
				t.Errorf("Partial = %t, want %t", selection.Partial, c.partial)
			}
		})
	}
}

func TestSelectRefuses(t *testing.T) {
	t.Parallel()
	cover := permissions.Cover([]permissions.Rule{read("acme:*"), full("acme:notes")})
	for _, want := range []string{"acme", "globex:1", "acme-evil:1", "acme:*", "acme:\n", "acme:" + strings.Repeat("x", 124)} {
		if selection, ok := cover.Select(want, permissions.Limit{Patterns: 10}); ok {
			t.Errorf("Select(%q) = %v, want a refusal", want, texts(selection.Set))
		}
	}
	if _, ok := (permissions.Set{}).Select("acme", permissions.Limit{Patterns: 10}); ok {
		t.Error("the empty set gives access")
	}
}

// JavaScript sorts and counts in UTF-16 code units, Go in bytes. The order of a token must not
// depend on the language that wrote it.
func TestRulesOrder(t *testing.T) {
	t.Parallel()
	set := permissions.Cover([]permissions.Rule{
		read("aaa*"), read("日日日日*"), read("😀😀😀*"), read("b:*"), read("a:*"),
		full("z"), full("日日日"), full("😀😀"), full("c"),
	})
	want := []string{
		"😀😀 full", // 4 units
		"日日日 full",
		"c full",
		"z full",
		"😀😀😀* read", // 6 units, though fewer runes
		"日日日日* read",
		"aaa* read",
		"a:* read",
		"b:* read",
	}
	if diff := cmp.Diff(want, texts(set)); diff != "" {
		t.Errorf("Rules (-want +got):\n%s", diff)
	}
	rapid.Check(t, func(t *rapid.T) {
		rules := permissions.Cover(anyRules.Draw(t, "rules")).Rules()
		for i := 1; i < len(rules); i++ {
			a, b := rules[i-1].Pattern, rules[i].Pattern
			aUnits, bUnits := len(utf16.Encode([]rune(a.String()))), len(utf16.Encode([]rune(b.String())))
			switch {
			case a.IsWildcard() != b.IsWildcard():
				if a.IsWildcard() {
					t.Fatalf("%q is before %q", a, b)
				}
			case aUnits < bUnits, aUnits == bUnits && a.String() >= b.String():
				t.Fatalf("%q is before %q", a, b)
			}
		}
	})
}

func TestRulesAreTheCallers(t *testing.T) {
	t.Parallel()
	set := permissions.Cover([]permissions.Rule{read("acme:*")})
	set.Rules()[0].Access = permissions.Full
	if got := set.Access("acme:1"); got != permissions.Read {
		t.Errorf("after a change to what Rules returned, Access = %s, want read", got)
	}
}

// With a literal of 128 units, an id and the wildcard after it match the same ids. For stores,
// other ids are not valid.
func TestSetEdges(t *testing.T) {
	t.Parallel()
	longest := strings.Repeat("a", 128)
	set := permissions.Cover([]permissions.Rule{read(longest + "*"), full(longest)})
	if got := set.Access(longest); got != permissions.Full {
		t.Errorf("Access of the longest id = %s, want full", got)
	}
	if got := set.Access(longest + "a"); got != permissions.None {
		t.Errorf("Access of one unit more = %s, want none", got)
	}
	stores := permissions.Cover([]permissions.Rule{{Pattern: store("*"), Access: permissions.Full}})
	if got := stores.Access("acme:notes"); got != permissions.None {
		t.Errorf("Access of a room's id in a set of stores = %s, want none", got)
	}
}

func TestCoverPanics(t *testing.T) {
	t.Parallel()
	for name, rules := range map[string][]permissions.Rule{
		"rooms and stores":    {read("acme"), {Pattern: store("acme"), Access: permissions.Read}},
		"zero pattern":        {{Access: permissions.Full}},
		"zero pattern beside": {read("acme"), {Access: permissions.Full}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			defer func() {
				if recover() == nil {
					t.Error("no panic")
				}
			}()
			permissions.Cover(rules)
		})
	}
}
