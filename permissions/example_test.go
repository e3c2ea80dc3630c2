package permissions_test

import (
	"encoding/json"
	"errors"
	"fmt"

	"github.com/usher-auth/usher/permissions"
)

func ExampleAccess() {
	access, err := permissions.ParseAccess("full")
	if err != nil {
		panic(err)
	}
	fmt.Println(access, access >= permissions.Read)

	stores, err := json.Marshal(map[string]permissions.Access{"acme_notes": access})
	if err != nil {
		panic(err)
	}
	fmt.Println(string(stores))
	// Output:
	// full true
	// {"acme_notes":"full"}
}

func ExampleKind() {
	kind, err := permissions.ParseKind("store")
	fmt.Println(kind, err)
	_, err = permissions.ParseKind("database")
	fmt.Println(err)
	// Output:
	// store <nil>
	// permissions: kind "database" is not room or store
}

func ExampleResource() {
	for _, r := range []permissions.Resource{
		permissions.Room("acme:design:1"),
		permissions.Store("acme:notes"),
	} {
		fmt.Println(r.Kind, r.ID, permissions.CheckID(r.Kind, r.ID) == nil)
	}
	// Output:
	// room acme:design:1 true
	// store acme:notes false
}

func ExampleIDError() {
	err := permissions.CheckID(permissions.RoomKind, "acme:*")
	if e, ok := errors.AsType[*permissions.IDError](err); ok {
		fmt.Println(e.Kind, e.Reason)
	}
	// Output: room contains a '*', which is allowed only at the end of a pattern
}

func ExamplePattern() {
	p, err := permissions.ParsePattern(permissions.RoomKind, "acme:*")
	if err != nil {
		panic(err)
	}
	fmt.Println(p.Matches("acme:design:1"))
	fmt.Println(p.Matches("acme-evil:1"))
	// Output:
	// true
	// false
}

// A wildcard that does not end a segment matches more than expected.
// [permissions.Template.Lint] refuses it in a new grant.
func ExamplePattern_incorrect() {
	p := permissions.MustPattern(permissions.RoomKind, "acme*")
	fmt.Println(p.Matches("acme-evil:1"))
	// Output: true
}

func ExamplePatternError() {
	_, err := permissions.ParsePattern(permissions.RoomKind, "acme:*:1")
	if e, ok := errors.AsType[*permissions.PatternError](err); ok {
		fmt.Println(e.Text, e.Reason)
	}
	// Output: acme:*:1 contains a '*', which is allowed only at the end of a pattern
}

func ExampleRule() {
	rule := permissions.Rule{
		Pattern: permissions.MustPattern(permissions.RoomKind, "acme:*"),
		Access:  permissions.Read,
	}
	fmt.Println(rule.Pattern, rule.Access)
	// Output: acme:* read
}

func ExampleSet() {
	room := func(text string) permissions.Pattern {
		return permissions.MustPattern(permissions.RoomKind, text)
	}
	set := permissions.Cover([]permissions.Rule{
		{Pattern: room("acme:*"), Access: permissions.Read},
		{Pattern: room("acme:plan"), Access: permissions.Read}, // idle beside acme:*
		{Pattern: room("acme:design:*"), Access: permissions.Full},
	})
	for _, r := range set.Rules() {
		fmt.Println(r.Pattern, r.Access)
	}
	fmt.Println(set.Access("acme:design:1"), set.Access("acme:plan"), set.Access("globex:1"))
	// Output:
	// acme:design:* full
	// acme:* read
	// full read none
}

func ExampleLimit() {
	limit := permissions.Limit{
		Patterns: 10,
		Bytes:    16,
		// "acme:*":1,
		Cost: func(r permissions.Rule) int { return len(r.Pattern.String()) + len(`"":1,`) },
	}
	set := permissions.Cover([]permissions.Rule{
		{Pattern: permissions.MustPattern(permissions.StoreKind, "acme_*"), Access: permissions.Read},
		{Pattern: permissions.MustPattern(permissions.StoreKind, "globex_*"), Access: permissions.Read},
	})
	selection, _ := set.Select("", limit)
	fmt.Println(selection.Set.Rules()[0].Pattern, selection.Partial)
	// Output: acme_* true
}

// Two of three patterns are selected, and acme:* only together with the stronger pattern that
// it covers. Otherwise the token would say that acme:design:1 is read-only, and its holder
// would never ask for more.
func ExampleSelection() {
	room := func(text string) permissions.Pattern {
		return permissions.MustPattern(permissions.RoomKind, text)
	}
	set := permissions.Cover([]permissions.Rule{
		{Pattern: room("acme:*"), Access: permissions.Read},
		{Pattern: room("acme:design:*"), Access: permissions.Full},
		{Pattern: room("globex:*"), Access: permissions.Read},
	})
	selection, ok := set.Select("acme:plan", permissions.Limit{Patterns: 2})
	fmt.Println(ok, selection.Partial)
	for _, r := range selection.Set.Rules() {
		fmt.Println(r.Pattern, r.Access)
	}

	_, ok = set.Select("initech:1", permissions.Limit{Patterns: 2})
	fmt.Println(ok)
	// Output:
	// true true
	// acme:design:* full
	// acme:* read
	// false
}

func ExampleTemplate() {
	t, err := permissions.ParseTemplate(permissions.RoomKind, "{organization}:*")
	if err != nil {
		panic(err)
	}
	for _, id := range []string{"acme", "globex"} { // once for each membership
		p, err := t.Expand(permissions.Values{Organization: id})
		if err != nil {
			panic(err)
		}
		fmt.Println(p)
	}
	// Output:
	// acme:*
	// globex:*
}

// A placeholder must be followed by a separator. Otherwise the end of its value would be
// unclear, and acme's members would enter the rooms of acme-evil.
func ExampleTemplate_incorrect() {
	_, err := permissions.ParseTemplate(permissions.RoomKind, "{organization}*")
	fmt.Println(err)
	// Output: permissions: pattern "{organization}*" needs ':', '/' or '.' or the end after {organization}
}

// A user with the same id as an organization would enter its rooms.
func ExampleTemplate_Conflicts() {
	users, err := permissions.ParseTemplate(permissions.RoomKind, "{user}:*")
	if err != nil {
		panic(err)
	}
	organizations, err := permissions.ParseTemplate(permissions.RoomKind, "{organization}:*")
	if err != nil {
		panic(err)
	}
	fmt.Println(users.Conflicts(organizations))
	// Output: true
}

func ExampleTemplate_Lint() {
	t, err := permissions.ParseTemplate(permissions.StoreKind, "acme-*")
	if err != nil {
		panic(err)
	}
	warnings, err := t.Lint()
	fmt.Println(warnings[0])
	fmt.Println(err)
	// Output:
	// store pattern "acme-*" contains '-': some backends keep stores such as a-b and a_b in the same table
	// permissions: pattern "acme-*" is an open prefix: without '_' before its '*', it also matches longer names, as acme* matches acme-evil
}

func ExampleValues() {
	t, err := permissions.ParseTemplate(permissions.StoreKind, "{organization}_{user}_*")
	if err != nil {
		panic(err)
	}
	fmt.Println(t.Expand(permissions.Values{Organization: "acme", User: "ada"}))
	// Output: acme_ada_* <nil>
}

func ExamplePlaceholder() {
	t, err := permissions.ParseTemplate(permissions.RoomKind, "{group}:*")
	if err != nil {
		panic(err)
	}
	fmt.Println(t.Uses(permissions.GroupPlaceholder), t.Uses(permissions.UserPlaceholder))
	// Output: true false
}

func ExampleTemplateError() {
	t, err := permissions.ParseTemplate(permissions.RoomKind, "{organization}:*")
	if err != nil {
		panic(err)
	}
	_, err = t.Expand(permissions.Values{Organization: "acme:design"})
	if e, ok := errors.AsType[*permissions.TemplateError](err); ok {
		fmt.Printf("{%s} %s\n", e.Placeholder, e.Reason)
	}
	// Output: {organization} contains ':', which separates segments
}
