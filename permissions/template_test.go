package permissions_test

import (
	"encoding/json"
	"errors"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/usher-auth/usher/permissions"
)

func template(t testing.TB, kind permissions.Kind, text string) permissions.Template {
	t.Helper()
	tpl, err := permissions.ParseTemplate(kind, text)
	if err != nil {
		t.Fatal(err)
	}
	return tpl
}

func TestParseTemplate(t *testing.T) {
	t.Parallel()
	const (
		braces   = "contains a '{' or '}' that is not part of {user}, {organization} or {group}"
		inner    = "contains a '*', which is allowed only at the end of a pattern"
		tooLong  = "is longer than 128 UTF-16 units"
		storeSet = "contains a character that store ids cannot have: use A-Z, a-z, 0-9, '_' and '-'"
	)
	type check struct {
		kind         permissions.Kind
		text, reason string
	}
	rooms := func(text, reason string) check { return check{permissions.RoomKind, text, reason} }
	stores := func(text, reason string) check { return check{permissions.StoreKind, text, reason} }
	for _, c := range []check{
		rooms("*", ""),
		rooms("acme", ""),
		rooms("acme*", ""), // only the lint minds
		rooms("{organization}:*", ""),
		rooms("{user}", ""),
		rooms("user:{user}", ""),
		rooms("{organization}/{group}.{user}:*", ""),
		rooms("{user}:{user}", ""),
		rooms("{group}.", ""),
		stores("{organization}_notes", ""),
		stores("{user}_*", ""),
		stores("notes-{user}", ""),

		rooms("", "is empty"),
		rooms("**", inner),
		rooms("*{user}", inner),
		rooms("{user}:*:{group}", inner),
		rooms("a\n{user}", "contains a control character"),
		rooms("{user}:\xff", "is not valid UTF-8"),
		rooms("{organization}*", "needs ':', '/' or '.' or the end after {organization}"),
		rooms("{user}{group}", "needs ':', '/' or '.' or the end after {user}"),
		rooms("{user}_notes", "needs ':', '/' or '.' or the end after {user}"),
		rooms("{group}：x", "needs ':', '/' or '.' or the end after {group}"), // full width
		stores("{group}*", "needs '_' or the end after {group}"),
		stores("{group}-*", "needs '_' or the end after {group}"),
		stores("{group}:*", "needs '_' or the end after {group}"),
		stores("acme:{group}", storeSet),
		rooms("{org}:*", braces),
		rooms("{User}:*", braces),
		rooms("{ user }:*", braces),
		rooms("{}:*", braces),
		rooms("{user:*", braces),
		rooms("user}:*", braces),
		rooms("{{user}}:*", braces),
		rooms("{user}}", "needs ':', '/' or '.' or the end after {user}"),
		rooms("{user", braces),
		stores("{org}_x", braces),
		rooms(strings.Repeat("a", 128), ""),
		rooms(strings.Repeat("a", 128)+"*", ""),
		rooms(strings.Repeat("a", 129), tooLong),
		rooms(strings.Repeat("a", 122)+"{user}", ""),
		rooms(strings.Repeat("a", 123)+"{user}", tooLong),
		rooms(strings.Repeat("{user}:", 1000), tooLong),
		{0, "acme", "is of no known kind"},
	} {
		tpl, err := permissions.ParseTemplate(c.kind, c.text)
		reason := ""
		if err != nil {
			patternErr, ok := errors.AsType[*permissions.PatternError](err)
			if !ok {
				t.Fatalf("ParseTemplate(%q): %T, want a *PatternError", c.text, err)
			}
			reason = patternErr.Reason
		}
		if reason != c.reason {
			t.Errorf("%s template %.40q: got %q, want %q", c.kind, c.text, reason, c.reason)
		}
		if err == nil && (tpl.String() != c.text || tpl.Kind() != c.kind) {
			t.Errorf("got the %s template %q, want the %s template %q", tpl.Kind(), tpl, c.kind, c.text)
		}
	}
}

func TestUses(t *testing.T) {
	t.Parallel()
	for text, want := range map[string][]permissions.Placeholder{
		"user:*":                  nil,
		"{user}":                  {permissions.UserPlaceholder},
		"{organization}:{user}:*": {permissions.UserPlaceholder, permissions.OrganizationPlaceholder},
		"group/{group}/*":         {permissions.GroupPlaceholder},
	} {
		var got []permissions.Placeholder
		for _, p := range []permissions.Placeholder{
			permissions.UserPlaceholder, permissions.OrganizationPlaceholder, permissions.GroupPlaceholder,
		} {
			if template(t, permissions.RoomKind, text).Uses(p) {
				got = append(got, p)
			}
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%q uses (-want +got):\n%s", text, diff)
		}
	}
}

func TestExpand(t *testing.T) {
	t.Parallel()
	const (
		roomKind  = permissions.RoomKind
		storeKind = permissions.StoreKind
		colon     = `contains ':', which separates segments`
	)
	org := func(id string) permissions.Values { return permissions.Values{Organization: id} }
	user := func(id string) permissions.Values { return permissions.Values{User: id} }
	for _, c := range []struct {
		name    string
		kind    permissions.Kind
		text    string
		values  permissions.Values
		pattern string // "": refused
		reason  string
	}{
		{"the seed's rule", roomKind, "{organization}:*", org("acme"), "acme:*", ""},
		{"no placeholder", roomKind, "acme:*", permissions.Values{}, "acme:*", ""},
		{"all three", roomKind, "{organization}/{group}.{user}:*", permissions.Values{User: "ada", Organization: "acme", Group: "r"}, "acme/r.ada:*", ""},
		{"twice", roomKind, "{user}:{user}", user("ada"), "ada:ada", ""},
		{"braces in a value are text", roomKind, "{organization}:{user}", permissions.Values{User: "ada", Organization: "{user}"}, "{user}:ada", ""},
		{"a value that looks like a prefix of the pattern", roomKind, "acme:{organization}:*", org("acme"), "acme:acme:*", ""},
		{"store", storeKind, "{organization}_notes", org("acme-2"), "acme-2_notes", ""},
		{"store, at the end", storeKind, "notes_{user}", user("user-2x"), "notes_user-2x", ""},

		{"empty", roomKind, "{organization}:*", user("ada"), "", "is empty"},
		{"wildcard", roomKind, "{organization}:*", org("*"), "", "contains a '*', which is allowed only at the end of a pattern"},
		{"wildcard at the end", roomKind, "user:{user}", user("*"), "", "contains a '*', which is allowed only at the end of a pattern"},
		{"ends in a wildcard", roomKind, "user:{user}", user("ada*"), "", "contains a '*', which is allowed only at the end of a pattern"},
		{"separator", roomKind, "{organization}:*", org("acme:design"), "", colon},
		{"separator alone", roomKind, "{organization}:*", org(":"), "", colon},
		{"separator at the value's end", roomKind, "{organization}:*", org("acme:"), "", colon},
		{"separator between two", roomKind, "{organization}:{user}", permissions.Values{User: "ada", Organization: "acme:bob"}, "", colon},
		{"another separator than the one that follows", roomKind, "{organization}:*", org("acme/evil"), "", `contains '/', which separates segments`},
		{"a dot", roomKind, "{user}:*", user("ada@acme.example"), "", `contains '.', which separates segments`},
		{"separator at the template's end", roomKind, "home.{user}", user("bob.smith"), "", `contains '.', which separates segments`},
		{"any separator at the template's end", roomKind, "user:{user}", user("a:b"), "", colon},
		{"store separator at the template's end", storeKind, "notes_{user}", user("user_2x"), "", `contains '_', which separates segments`},
		{"a store does not allow a room's separators", storeKind, "notes_{user}", user("a:b"), "", "contains a character that store ids cannot have: use A-Z, a-z, 0-9, '_' and '-'"},
		{"a store's separator is not special in rooms", roomKind, "user:{user}", user("user_2x"), "user:user_2x", ""},
		{"control character", roomKind, "{organization}:*", org("acme\x00"), "", "contains a control character"},
		{"newline", roomKind, "{user}", user("ada\n"), "", "contains a control character"},
		{"no UTF-8", roomKind, "{organization}:*", org("acme\xff"), "", "is not valid UTF-8"},
		{"two halves of a rune", roomKind, "{user}.{user}", user("日"[:1]), "", "is not valid UTF-8"},
		{"just short enough", roomKind, "{organization}:*", org(strings.Repeat("a", 127)), strings.Repeat("a", 127) + ":*", ""},
		{"too long with what follows", roomKind, "{organization}:*", org(strings.Repeat("a", 128)), "", "makes a pattern that is longer than 128 UTF-16 units"},
		{"too long", roomKind, "{organization}:*", org(strings.Repeat("😀", 65)), "", "is longer than 128 UTF-16 units"},
		{"store separator", storeKind, "{organization}_*", org("acme_evil"), "", `contains '_', which separates segments`},
		{"not in store ids", storeKind, "{organization}_*", org("acme.example"), "", "contains a character that store ids cannot have: use A-Z, a-z, 0-9, '_' and '-'"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			got, err := template(t, c.kind, c.text).Expand(c.values)
			if c.reason == "" {
				if err != nil || got.String() != c.pattern || got.Kind() != c.kind {
					t.Errorf("Expand = %s %q, %v, want %s %q", got.Kind(), got, err, c.kind, c.pattern)
				}
				return
			}
			templateErr, ok := errors.AsType[*permissions.TemplateError](err)
			if !ok {
				t.Fatalf("Expand = %q, %v, want a *TemplateError", got, err)
			}
			if templateErr.Reason != c.reason {
				t.Errorf("Reason = %q, want %q", templateErr.Reason, c.reason)
			}
			if got != (permissions.Pattern{}) {
				t.Errorf("got the pattern %q with the error", got)
			}
		})
	}
}

func TestTemplateError(t *testing.T) {
	t.Parallel()
	_, err := template(t, permissions.RoomKind, "{organization}:{group}:*").
		Expand(permissions.Values{Organization: "acme", Group: "secret:name"})
	want := `permissions: template "{organization}:{group}:*": the value of {group} contains ':', which separates segments`
	if err == nil || err.Error() != want {
		t.Errorf("got  %v\nwant %s", err, want)
	}
	if pattern, err := (permissions.Template{}).Expand(permissions.Values{}); err == nil {
		t.Errorf("the zero Template expands to %q", pattern)
	}
}

func TestLint(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		kind     permissions.Kind
		text     string
		open     bool
		warnings int
	}{
		{permissions.RoomKind, "*", false, 0},
		{permissions.RoomKind, "acme", false, 0},
		{permissions.RoomKind, "acme:*", false, 0},
		{permissions.RoomKind, "acme/*", false, 0},
		{permissions.RoomKind, "acme.*", false, 0},
		{permissions.RoomKind, "{organization}:*", false, 0},
		{permissions.RoomKind, "acme-b:*", false, 0},
		{permissions.RoomKind, "acme*", true, 0},
		{permissions.RoomKind, "acme-*", true, 0},
		{permissions.RoomKind, "acme_*", true, 0},
		{permissions.RoomKind, "acme：*", true, 0}, // full width
		{permissions.RoomKind, "acme: *", true, 0},
		{permissions.RoomKind, "acme:d*", true, 0},
		{permissions.StoreKind, "*", false, 0},
		{permissions.StoreKind, "acme_*", false, 0},
		{permissions.StoreKind, "acme_notes", false, 0},
		{permissions.StoreKind, "acme*", true, 0},
		{permissions.StoreKind, "acme-*", true, 1},
		{permissions.StoreKind, "acme-notes", false, 1},
		{permissions.StoreKind, "a-{organization}_*", false, 1},
	} {
		warnings, err := template(t, c.kind, c.text).Lint()
		if open := err != nil; open != c.open || len(warnings) != c.warnings {
			t.Errorf("Lint of the %s %q = %q, %v, want %d warnings, an open prefix: %t",
				c.kind, c.text, warnings, err, c.warnings, c.open)
		}
	}
}

func TestLintMessages(t *testing.T) {
	t.Parallel()
	warnings, err := template(t, permissions.StoreKind, "acme-*").Lint()
	wantErr := `permissions: pattern "acme-*" is an open prefix: without '_' before its '*', it also matches longer names, as acme* matches acme-evil`
	if patternErr, ok := errors.AsType[*permissions.PatternError](err); !ok || patternErr.Error() != wantErr {
		t.Errorf("got  %v\nwant %s", err, wantErr)
	}
	want := []string{`store pattern "acme-*" contains '-': some backends keep stores such as a-b and a_b in the same table`}
	if diff := cmp.Diff(want, warnings); diff != "" {
		t.Errorf("warnings (-want +got):\n%s", diff)
	}
}

func TestConflicts(t *testing.T) {
	t.Parallel()
	type check struct {
		a, b string
		want bool
	}
	conflict := func(a, b string) check { return check{a, b, true} }
	fine := func(a, b string) check { return check{a, b, false} }
	for _, c := range []check{
		conflict("{user}:*", "{organization}:*"),
		conflict("{group}:*", "{organization}:*"),
		conflict("x:{user}", "x:{group}"),
		conflict("{organization}:{user}:*", "{organization}:{group}:*"),
		conflict("{organization}:{user}", "{user}:{organization}"),
		// Different texts that match the same ids.
		conflict("{user}:docs:*", "{organization}:*"),
		conflict("{user}:docs:*", "{organization}:docs:plan"),
		conflict("{user}:{user}", "{organization}:plan"),
		conflict("{user}:d*", "{organization}:docs"),
		// One placeholder: the user xbob would enter bob's rooms.
		conflict("x{user}:*", "{user}:*"),
		conflict("x{user}", "{user}"),
		conflict("home:x{user}.*", "home:{user}.inbox"),
		conflict("x{user}:*", "xy{user}:docs"),
		conflict("team-{group}:*", "{organization}:*"),
		conflict("x{user}:a*", "{user}:ab:*"),
		conflict("{user}:{group}:*", "{organization}:{group}:*"),

		fine("{user}:*", "{user}:*"),
		fine("{user}:*", "{user}:docs:*"),
		fine("{user}", "{user}:*"),
		// Values have no separators, so these never meet.
		fine("home.{user}", "home.{user}.*"),
		fine("{organization}/*", "{organization}:*"),
		fine("{user}", "{organization}:*"),
		fine("x:{user}", "x:{group}:*"),
		fine("{user}.inbox", "{organization}:*"),
		fine("{user}.a", "{organization}:a"),
		fine("x{user}:*", "y{user}:*"),
		fine("x{user}:a", "{user}:b"),
		fine("a{user}", "a"), // a value is not empty
		fine("a{user}:*", "a:*"),
		fine("u:{user}:*", "o:{organization}:*"),
		fine("{user}:private:*", "{organization}:shared:*"),
		fine("{user}:docs", "{organization}:docs2"),
		fine("{user}:plan:{user}", "{organization}:plan"),
		fine("{organization}:*", "acme:*"),
		fine("{organization}:*", "acme:{group}:*"),
		fine("acme:*", "acme:*"),
		fine("*", "{user}:*"),
	} {
		a, b := template(t, permissions.RoomKind, c.a), template(t, permissions.RoomKind, c.b)
		if got := a.Conflicts(b); got != c.want {
			t.Errorf("%q.Conflicts(%q) = %t, want %t", a, b, got, c.want)
		}
		if got := b.Conflicts(a); got != c.want {
			t.Errorf("%q.Conflicts(%q) = %t, want %t", b, a, got, c.want)
		}
	}
	if template(t, permissions.RoomKind, "{user}").Conflicts(template(t, permissions.StoreKind, "{group}")) {
		t.Error("a room's template conflicts with a store's")
	}
}

// Two templates without a conflict never match the same id for two different values of a
// placeholder in the same place: a user cannot choose an id that opens another user's rooms.
func TestNoConflictKeepsApart(t *testing.T) {
	t.Parallel()
	tails := map[permissions.Kind][]string{
		permissions.RoomKind: {
			"", ":", ":*", ":a", ":a*", ":a:*", ":b", ".", ".*", ".a", "/*", ":{user}", ":{group}", ":{user}:*", ":a:{group}", ".{user}", ".x{user}",
		},
		permissions.StoreKind: {"", "_", "_*", "_a", "_a*", "_a_*", "_b", "_{user}", "_{group}", "_{user}_*", "_a_{group}", "_x{user}"},
	}
	values := []string{"a", "b", "xa", "x", "ya", "a:b", "b:a", "a.b", "a/b", "a_b", "xa_b", "b.a"}
	placeholders := rapid.SampledFrom([]string{"{user}", "{organization}"})
	rapid.Check(t, func(t *rapid.T) {
		kind := rapid.SampledFrom([]permissions.Kind{permissions.RoomKind, permissions.StoreKind}).Draw(t, "kind")
		heads := map[permissions.Kind][]string{permissions.RoomKind: {"", "a:", "{group}:"}, permissions.StoreKind: {"", "a_", "{group}_"}}
		head := rapid.SampledFrom(heads[kind]).Draw(t, "head")
		literal, tail := rapid.SampledFrom([]string{"", "x", "xa", "y"}), rapid.SampledFrom(tails[kind])
		first, second := placeholders.Draw(t, "first"), placeholders.Draw(t, "second")
		a, errA := permissions.ParseTemplate(kind, head+literal.Draw(t, "literal a")+first+tail.Draw(t, "tail a"))
		b, errB := permissions.ParseTemplate(kind, head+literal.Draw(t, "literal b")+second+tail.Draw(t, "tail b"))
		if errA != nil || errB != nil {
			t.Fatal(errA, errB)
		}
		if a.Conflicts(b) != b.Conflicts(a) {
			t.Fatalf("%q and %q conflict in one order alone", a, b)
		}
		if a.Conflicts(b) {
			return
		}
		for _, one := range values {
			for _, another := range values {
				if first == second && one == another {
					continue
				}
				for _, group := range []string{"a", "b"} {
					p, errA := a.Expand(permissions.Values{User: one, Organization: one, Group: group})
					q, errB := b.Expand(permissions.Values{User: another, Organization: another, Group: group})
					if errA == nil && errB == nil && (p.Covers(q) || q.Covers(p)) {
						t.Fatalf("%q and %q do not conflict, but %q gets %q and %q gets %q", a, b, one, p, another, q)
					}
				}
			}
		}
	})
}

var placeholder = regexp.MustCompile(`\{(user|organization|group)\}`)

// FuzzTemplate checks that every value is exactly where its placeholder was: a reader who splits
// the pattern at the separators finds the values again, with the literal parts around them.
func FuzzTemplate(f *testing.F) {
	for _, text := range []string{
		"{organization}:*", "{user}", "x{user}.{group}/{organization}:*", "{user}:{user}", "{group}*", "{x}", "a}", "{user}_{group}_*",
	} {
		f.Add(false, text, "ada", "acme", "reviewers")
		f.Add(true, text, "a:b", "*", "")
		f.Add(false, text, "{group}", "a.b", "a/b:")
	}
	f.Fuzz(func(t *testing.T, isStore bool, text, user, organization, group string) {
		kind, separators := permissions.RoomKind, ":/."
		if isStore {
			kind, separators = permissions.StoreKind, "_"
		}
		tpl, err := permissions.ParseTemplate(kind, text)
		if err != nil {
			if len(err.Error()) > 500 {
				t.Fatalf("message of %d bytes", len(err.Error()))
			}
			return
		}
		if again, err := permissions.ParseTemplate(kind, tpl.String()); err != nil || again != tpl {
			t.Fatalf("ParseTemplate(%q) again = %v, %v", text, again, err)
		}
		if tpl.Conflicts(tpl) {
			t.Fatalf("%q conflicts with itself", text)
		}
		_, _ = tpl.Lint()

		values := map[string]string{"{user}": user, "{organization}": organization, "{group}": group}
		places := placeholder.FindAllStringIndex(text, -1)
		pattern, err := tpl.Expand(permissions.Values{User: user, Organization: organization, Group: group})
		if err != nil {
			if len(places) == 0 {
				t.Fatalf("%q has no placeholder, but does not expand: %v", text, err)
			}
			return
		}
		rest, read := pattern.String(), 0
		for _, place := range places {
			var ok bool
			if rest, ok = strings.CutPrefix(rest, text[read:place[0]]); !ok {
				t.Fatalf("%q of %q: the literal before %d is missing", pattern, text, place[0])
			}
			value := rest
			if after := text[place[1]:]; after != "" {
				if !strings.Contains(separators, after[:1]) {
					t.Fatalf("%q: a placeholder is followed by %q", text, after)
				}
				value, _, _ = strings.Cut(rest, after[:1])
			}
			if want := values[text[place[0]:place[1]]]; value != want || value == "" {
				t.Fatalf("%q of %q: read the value %q, want %q", pattern, text, value, want)
			}
			rest, read = rest[len(value):], place[1]
		}
		if rest != text[read:] {
			t.Fatalf("%q of %q ends in %q", pattern, text, rest)
		}
		if pattern.IsWildcard() != strings.HasSuffix(text, "*") {
			t.Fatalf("%q of %q: one is a wildcard, the other is not", pattern, text)
		}
	})
}

// The vectors that SQL is tested with too.
func TestExpandVectors(t *testing.T) {
	t.Parallel()
	content, err := os.ReadFile("testdata/templates.json")
	if err != nil {
		t.Fatal(err)
	}
	var vectors struct {
		Expand []struct {
			Kind, Template, User, Organization, Group string
			Pattern                                   *string
		}
	}
	if err := json.Unmarshal(content, &vectors); err != nil || len(vectors.Expand) == 0 {
		t.Fatalf("%d vectors, %v", len(vectors.Expand), err)
	}
	for _, v := range vectors.Expand {
		kind, err := permissions.ParseKind(v.Kind)
		if err != nil {
			t.Fatal(err)
		}
		got, err := template(t, kind, v.Template).Expand(permissions.Values{User: v.User, Organization: v.Organization, Group: v.Group})
		if (err == nil) != (v.Pattern != nil) || err == nil && got.String() != *v.Pattern {
			t.Errorf("%+v: got %q, %v", v, got, err)
		}
	}
}
