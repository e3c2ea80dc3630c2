package permissions_test

import (
	"errors"
	"strings"
	"testing"
	"unicode/utf16"
	"unicode/utf8"

	"pgregory.net/rapid"

	"github.com/usher-auth/usher/permissions"
)

func TestParsePatternErrors(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, text string
		kind       permissions.Kind
		message    string
	}{
		{"empty", "", permissions.RoomKind, `permissions: pattern "" is empty`},
		{"inner wildcard", "a*b", permissions.RoomKind, `permissions: pattern "a*b" contains a '*', which is allowed only at the end of a pattern`},
		{"two wildcards", "a**", permissions.RoomKind, `permissions: pattern "a**" contains a '*', which is allowed only at the end of a pattern`},
		{"no UTF-8", "a\xff*", permissions.RoomKind, `permissions: pattern "a\xff*" is not valid UTF-8`},
		{"line of a log", "a\nb", permissions.RoomKind, `permissions: pattern "a\nb" contains a control character`},
		{"store with a colon", "acme:*", permissions.StoreKind, `permissions: pattern "acme:*" contains a character that store ids cannot have: use A-Z, a-z, 0-9, '_' and '-'`},
		{"no kind", "acme", 0, `permissions: pattern "acme" is of no known kind`},
		{"long", strings.Repeat("x", 1000), permissions.RoomKind, `permissions: pattern "` + strings.Repeat("x", 64) + `"... is longer than 128 UTF-16 units`},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			p, err := permissions.ParsePattern(c.kind, c.text)
			patternErr, ok := errors.AsType[*permissions.PatternError](err)
			if !ok {
				t.Fatalf("ParsePattern = %v, %v, want a *PatternError", p, err)
			}
			if patternErr.Text != c.text {
				t.Errorf("Text = %q, want %q", patternErr.Text, c.text)
			}
			if got := err.Error(); got != c.message {
				t.Errorf("got  %s\nwant %s", got, c.message)
			}
			if p != (permissions.Pattern{}) {
				t.Errorf("got the pattern %v with the error", p)
			}
		})
	}
}

func TestMustPatternPanics(t *testing.T) {
	t.Parallel()
	defer func() {
		if _, ok := recover().(*permissions.PatternError); !ok {
			t.Error("MustPattern did not panic with a *PatternError")
		}
	}()
	room("a*b")
}

func TestMatches(t *testing.T) {
	t.Parallel()
	type check struct {
		pattern permissions.Pattern
		id      string
		want    bool
	}
	allow := func(p permissions.Pattern, id string) check { return check{p, id, true} }
	deny := func(p permissions.Pattern, id string) check { return check{p, id, false} }
	for _, c := range []check{
		allow(room("acme:*"), "acme:"),
		allow(room("acme:*"), "acme:design:1"),
		deny(room("acme:*"), "acme"),
		deny(room("acme:*"), "acme-evil:1"),
		allow(room("acme*"), "acme-evil:1"), // what the lint is for
		deny(room("acme:*"), "ACME:1"),
		deny(room("acme:*"), "acme：1"), // full-width colon
		deny(room("acme:*"), "acme%3A1"),
		deny(room("acme:*"), " acme:1"),
		deny(room("acme:*"), "\u200bacme:1"),
		deny(room("é:*"), "e\u0301:1"),  // composed, decomposed
		deny(room("ac_e:*"), "acme:1"),  // no LIKE
		deny(room("acme.1"), "acmeX1"),  // no regular expression
		deny(room("acme"), "acme\n"),    // nor its $
		deny(room("acme:*"), "acme:\n"), // not an id at all
		deny(room("acme:*"), "acme:*"),
		deny(room("*"), "*"),
		deny(room("*"), ""),
		deny(room("*"), "a\xff"),
		deny(room("*"), strings.Repeat("a", 129)),
		allow(store("*"), "acme_notes"),
		deny(store("*"), "acme:notes"),
		allow(store("acme_*"), "acme_notes"),
		deny(store("acme_*"), "acme-notes"),
		deny(permissions.Pattern{}, ""),
		deny(permissions.Pattern{}, "acme"),
	} {
		if got := c.pattern.Matches(c.id); got != c.want {
			t.Errorf("%s %q.Matches(%q) = %t, want %t", c.pattern.Kind(), c.pattern, c.id, got, c.want)
		}
	}
}

func TestCovers(t *testing.T) {
	t.Parallel()
	type check struct {
		p, q permissions.Pattern
		want bool
	}
	yes := func(p, q permissions.Pattern) check { return check{p, q, true} }
	no := func(p, q permissions.Pattern) check { return check{p, q, false} }
	for _, c := range []check{
		yes(room("*"), room("*")),
		yes(room("*"), room("acme")),
		no(room("acme"), room("*")),
		yes(room("acme:*"), room("acme:*")),
		yes(room("acme:*"), room("acme:")),
		yes(room("acme:*"), room("acme:design:*")),
		no(room("acme:design:*"), room("acme:*")),
		no(room("acme:"), room("acme:*")),
		yes(room("acme"), room("acme")),
		no(room("acme"), room("acme:1")),
		no(room("*"), store("acme")),
		no(store("acme"), room("acme")),
		no(permissions.Pattern{}, permissions.Pattern{}),
		no(room("*"), permissions.Pattern{}),
		no(permissions.Pattern{}, room("*")),
	} {
		if got := c.p.Covers(c.q); got != c.want {
			t.Errorf("%s %q.Covers(%s %q) = %t, want %t", c.p.Kind(), c.p, c.q.Kind(), c.q, got, c.want)
		}
	}
}

func TestCoversIsMatching(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		p, q := anyPattern.Draw(t, "p"), anyPattern.Draw(t, "q")
		// No pattern holds "~": only what covers all of "acme:*" matches "acme:~".
		witness := strings.TrimSuffix(q.String(), "*")
		if q.IsWildcard() {
			witness += "~"
		}
		if got, want := p.Covers(q), p.Matches(witness); got != want {
			t.Fatalf("%q.Covers(%q) = %t, want %t", p, q, got, want)
		}
	})
}

// matchOracle is the specification of matching, written simply, by runes.
func matchOracle(pattern, id string) bool {
	p, i := []rune(pattern), []rune(id)
	if len(p) > 0 && p[len(p)-1] == '*' {
		p = p[:len(p)-1]
		if len(i) < len(p) {
			return false
		}
		i = i[:len(p)]
	}
	return string(p) == string(i)
}

// idOracle is the specification of ids, written simply.
func idOracle(kind permissions.Kind, id string) bool {
	if !utf8.ValidString(id) || id == "" || len(utf16.Encode([]rune(id))) > 128 {
		return false
	}
	for _, r := range id {
		if r < 0x20 || 0x7f <= r && r <= 0x9f || r == '*' {
			return false
		}
		if kind == permissions.StoreKind && !strings.ContainsRune(
			"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-", r) {
			return false
		}
	}
	return true
}

func FuzzParsePattern(f *testing.F) {
	for _, text := range []string{
		"", "*", "**", "acme", "acme:*", "a*b", "acme_notes", "a\x00", "\xff*", "\xed\xa0\x80", "日本:*", "\u0085",
		strings.Repeat("😀", 64) + "*", strings.Repeat("a", 129), "{user}:*",
	} {
		f.Add(false, text, "acme:1")
		f.Add(true, text, "acme_1")
	}
	f.Fuzz(func(t *testing.T, isStore bool, text, id string) {
		kind := permissions.RoomKind
		if isStore {
			kind = permissions.StoreKind
		}
		p, err := permissions.ParsePattern(kind, text)
		literal := strings.TrimSuffix(text, "*")
		if want := text == "*" || idOracle(kind, literal); (err == nil) != want {
			t.Fatalf("ParsePattern(%q) = %v, want valid %t", text, err, want)
		}
		idErr := permissions.CheckID(kind, id)
		if want := idOracle(kind, id); (idErr == nil) != want {
			t.Fatalf("CheckID(%q) = %v, want valid %t", id, idErr, want)
		}
		if err != nil {
			if len(err.Error()) > 500 {
				t.Fatalf("message of %d bytes", len(err.Error()))
			}
			return
		}
		if again, err := permissions.ParsePattern(kind, p.String()); err != nil || again != p || again.String() != text {
			t.Fatalf("ParsePattern(%q) again = %q, %v", text, again, err)
		}
		for _, id := range []string{id, literal, literal + id} {
			want := idOracle(kind, id) && matchOracle(text, id)
			if got := p.Matches(id); got != want {
				t.Fatalf("%q.Matches(%q) = %t, want %t", text, id, got, want)
			}
			rule := permissions.Rule{Pattern: p, Access: permissions.Read}
			if got := permissions.Cover([]permissions.Rule{rule}).Access(id); (got == permissions.Read) != want {
				t.Fatalf("Access(%q) by %q = %s, want a match: %t", id, text, got, want)
			}
		}
	})
}
