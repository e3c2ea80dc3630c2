package permissions

import (
	"cmp"
	"strings"
)

// Pattern is what a rule is for: all rooms or stores ("*"), one (its id), or those whose ids
// have the same prefix ("acme:*"). Patterns can be compared with ==. The zero Pattern matches
// nothing.
type Pattern struct {
	text  string
	kind  Kind
	units int // of the literal
}

// PatternError says why a text is not a pattern or not a template. Its message quotes only
// the start of a long text.
type PatternError struct {
	Text   string
	Reason string // completes the sentence "the pattern ...", for instance "is empty"
}

func (e *PatternError) Error() string {
	return "permissions: pattern " + quote(e.Text) + " " + e.Reason
}

// ParsePattern reads "*", an id, or an id followed by one '*'. [CheckID] defines ids. The '*'
// does not count toward the 128 units. Errors are [*PatternError].
func ParsePattern(kind Kind, text string) (Pattern, error) {
	literal, _ := strings.CutSuffix(text, "*")
	units, fault := measure(kind, literal)
	if fault == "" && text == "" {
		fault = "is empty"
	}
	if fault != "" {
		return Pattern{}, &PatternError{text, fault}
	}
	return Pattern{text, kind, units}, nil
}

// MustPattern is [ParsePattern] for texts that are known to be patterns, as in tests. It
// panics for any other text.
func MustPattern(kind Kind, text string) Pattern {
	p, err := ParsePattern(kind, text)
	if err != nil {
		panic(err)
	}
	return p
}

// String returns the text that p was parsed from.
func (p Pattern) String() string { return p.text }

// Kind returns the kind of resource that p is for.
func (p Pattern) Kind() Kind { return p.kind }

// IsWildcard reports whether p ends in '*'.
func (p Pattern) IsWildcard() bool { return strings.HasSuffix(p.text, "*") }

// IsOpenPrefix reports whether the pattern has a wildcard that does not end a segment, such
// as `acme*`, which also matches acme-evil:1. The pattern `*` is not an open prefix.
func (p Pattern) IsOpenPrefix() bool { return isOpenPrefix(p.kind, p.text) }

func isOpenPrefix(kind Kind, text string) bool {
	prefix, wildcard := strings.CutSuffix(text, "*")
	return wildcard && prefix != "" && !startsWithSeparator(kind, prefix[len(prefix)-1:])
}

// Matches reports whether p matches id. No pattern, not even "*", matches an id that
// [CheckID] refuses for p's kind.
func (p Pattern) Matches(id string) bool {
	return p.matches(id) && idFault(p.kind, id) == ""
}

// matches is Matches for an id that is known to be valid.
func (p Pattern) matches(id string) bool {
	if prefix, ok := strings.CutSuffix(p.text, "*"); ok {
		return strings.HasPrefix(id, prefix)
	}
	return p.text == id
}

// Covers reports whether p has q's kind and matches every id that q matches. Only the form of
// the patterns counts: a pattern covers itself, and a wildcard covers patterns that start
// with its literal.
func (p Pattern) Covers(q Pattern) bool {
	if p.kind != q.kind || p.kind == 0 {
		return false
	}
	if prefix, ok := strings.CutSuffix(p.text, "*"); ok {
		return strings.HasPrefix(q.text, prefix)
	}
	return p.text == q.text
}

// compareNested orders patterns so that each comes directly before those that it covers.
func compareNested(p, q Pattern) int {
	a, aWild := strings.CutSuffix(p.text, "*")
	b, bWild := strings.CutSuffix(q.text, "*")
	return cmp.Or(strings.Compare(a, b), compareBool(bWild, aWild))
}

// compareBroad orders patterns as Select tries them: wildcards before ids,
// shorter literals first, then by bytes.
func compareBroad(p, q Pattern) int {
	return cmp.Or(
		compareBool(q.IsWildcard(), p.IsWildcard()),
		cmp.Compare(p.units, q.units),
		strings.Compare(p.text, q.text))
}

// compareExact orders patterns as a token writes them: ids before wildcards,
// longer literals first, then by bytes.
func compareExact(p, q Pattern) int {
	return cmp.Or(
		compareBool(p.IsWildcard(), q.IsWildcard()),
		cmp.Compare(q.units, p.units),
		strings.Compare(p.text, q.text))
}

// compareBool orders false before true.
func compareBool(a, b bool) int {
	switch {
	case a == b:
		return 0
	case b:
		return -1
	}
	return 1
}
