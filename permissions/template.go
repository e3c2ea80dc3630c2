package permissions

import (
	"fmt"
	"strings"
)

// Placeholder is a word in braces in a template.
type Placeholder string

// The placeholders. They mean the id of the user, of the session's organization (or of each
// organization that the user is a member of), and of each of the user's groups.
const (
	UserPlaceholder         Placeholder = "user"
	OrganizationPlaceholder Placeholder = "organization"
	GroupPlaceholder        Placeholder = "group"
)

// Values are the values of a template's placeholders in one expansion.
type Values struct {
	User, Organization, Group string
}

func (v Values) of(p Placeholder) string {
	switch p {
	case UserPlaceholder:
		return v.User
	case OrganizationPlaceholder:
		return v.Organization
	case GroupPlaceholder:
		return v.Group
	}
	return ""
}

// Template is the pattern of a grant. It may contain {user}, {organization} and {group}, which
// are replaced by ids when a token is issued. The zero Template expands to nothing.
type Template struct {
	text  string
	kind  Kind
	fixed Pattern // zero if there is a placeholder
}

// ParseTemplate reads a pattern with any number of placeholders. After each placeholder must
// come a separator (':', '/' or '.' in rooms, '_' in stores) or the end. Otherwise, as in
// `{organization}*` or `{user}{group}`, the end of the value would be unclear, and acme's
// members could enter acme-evil. Braces may only be used for placeholders. Errors are
// [*PatternError].
func ParseTemplate(kind Kind, text string) (Template, error) {
	if fault := templateFault(kind, text); fault != "" {
		return Template{}, &PatternError{text, fault}
	}
	t := Template{text: text, kind: kind}
	if !strings.Contains(text, "{") {
		var err error
		if t.fixed, err = ParsePattern(kind, text); err != nil {
			return Template{}, err
		}
	}
	return t, nil
}

func templateFault(kind Kind, text string) string {
	if text == "" {
		return "is empty"
	}
	rest, wildcard := strings.CutSuffix(text, "*")
	total := 0
	for {
		literal, p, after := cutPlaceholder(rest)
		if strings.ContainsAny(literal, "{}") {
			return "contains a '{' or '}' that is not part of {user}, {organization} or {group}"
		}
		units, fault := measure(kind, literal)
		if fault != "" {
			return fault
		}
		total += units
		if p == "" {
			break
		}
		total += len("{}") + len(p)
		if ends := after == "" && !wildcard; !ends && !startsWithSeparator(kind, after) {
			return fmt.Sprintf("needs %s or the end after {%s}", kind.separatorNames(), p)
		}
		rest = after
	}
	if total > maxUnits {
		return tooLong
	}
	return ""
}

// cutPlaceholder cuts text around its first placeholder. If there is no placeholder, or
// if another brace comes first, it returns text, "" and "".
func cutPlaceholder(text string) (literal string, p Placeholder, after string) {
	literal, rest, _ := strings.Cut(text, "{")
	name, after, closed := strings.Cut(rest, "}")
	switch p := Placeholder(name); p {
	case UserPlaceholder, OrganizationPlaceholder, GroupPlaceholder:
		if closed {
			return literal, p, after
		}
	}
	return text, "", ""
}

func startsWithSeparator(kind Kind, text string) bool {
	return text != "" && strings.IndexByte(kind.separators(), text[0]) >= 0
}

// String returns the text that t was parsed from.
func (t Template) String() string { return t.text }

// Kind returns the kind of resource that t is for.
func (t Template) Kind() Kind { return t.kind }

// Uses reports whether t contains p. It then needs one expansion for each value of p.
func (t Template) Uses(p Placeholder) bool {
	return strings.Contains(t.text, "{"+string(p)+"}")
}

// TemplateError says why a value does not fit into a template. It does not contain the value.
type TemplateError struct {
	Template    string
	Placeholder Placeholder
	Reason      string // completes the sentence "the value of {user} ...", for instance "is empty"
}

func (e *TemplateError) Error() string {
	return fmt.Sprintf("permissions: template %s: the value of {%s} %s", quote(e.Template), e.Placeholder, e.Reason)
}

// Expand fills v into t. A value must not be empty, and must not contain characters that ids
// cannot have or separators of the kind. So a value always fills exactly one segment, and
// bob.smith cannot enter what {user} gives to bob. Braces in a value are ordinary text. Errors
// are [*TemplateError]: the grant then gives nothing, because no pattern would be a safe
// guess.
func (t Template) Expand(v Values) (Pattern, error) {
	if t.fixed.text != "" {
		return t.fixed, nil
	}
	var last Placeholder
	text := make([]byte, 0, 2*maxUnits)
	for rest := t.text; ; {
		literal, p, after := cutPlaceholder(rest)
		text = append(text, literal...)
		if p == "" {
			break
		}
		value := v.of(p)
		if fault := valueFault(t.kind, value); fault != "" {
			return Pattern{}, &TemplateError{t.text, p, fault}
		}
		text = append(text, value...)
		rest, last = after, p
	}
	pattern, err := ParsePattern(t.kind, string(text))
	if err != nil { // too long: the parts have been checked
		return Pattern{}, &TemplateError{t.text, last, "makes a pattern that " + tooLong}
	}
	return pattern, nil
}

// valueFault returns the reason why value cannot fill a placeholder.
func valueFault(kind Kind, value string) string {
	if fault := idFault(kind, value); fault != "" {
		return fault
	}
	if i := strings.IndexAny(value, kind.separators()); i >= 0 {
		return fmt.Sprintf("contains %q, which separates segments", value[i])
	}
	return ""
}

// Lint checks t as a new grant. It returns a [*PatternError] for an open prefix, which an
// operator can still allow explicitly: a wildcard that does not end a segment, such as
// `acme*`, which also matches acme-evil:1. The pattern `*` is not an open prefix. The warnings
// are sentences.
func (t Template) Lint() (warnings []string, err error) {
	if t.kind == StoreKind && strings.Contains(t.text, "-") {
		warnings = append(warnings, fmt.Sprintf(
			"store pattern %s contains '-': some backends keep stores such as a-b and a_b in the same table", quote(t.text)))
	}
	if isOpenPrefix(t.kind, t.text) {
		return warnings, &PatternError{t.text, fmt.Sprintf(
			"is an open prefix: without %s before its '*', it also matches longer names, as acme* matches acme-evil",
			t.kind.separatorNames())}
	}
	return warnings, nil
}

// Conflicts reports whether t and o can match the same id for different values of their
// placeholders. With both `{user}:*` and `{organization}:*`, a user with the same id as an
// organization would enter its rooms. With both `x{user}:*` and `{user}:*`, the user xbob
// would enter bob's rooms.
//
// A literal in the place of a placeholder is not a conflict, because `acme:*` is meant for
// acme. But be careful: with both `{organization}:*` and `user:{user}:*`, no organization may
// have the id "user".
func (t Template) Conflicts(o Template) bool {
	if t.kind != o.kind {
		return false
	}
	differ := false
	for a, b := t.text, o.text; ; {
		var s, other segment
		s, a = cutSegment(t.kind, a)
		other, b = cutSegment(t.kind, b)
		if !s.meets(&other) {
			return false
		}
		differ = differ || s.differs(&other)
		switch {
		case s.wildcard || other.wildcard: // it also matches the rest of the other one
			return differ
		case s.separator != other.separator:
			return false
		case s.separator == 0:
			return differ
		}
	}
}

// A segment of a template is a literal, optionally followed by a placeholder or a wildcard.
// The literal and a placeholder's value have no separator, but the text that a wildcard
// matches may have some.
type segment struct {
	literal     string
	placeholder Placeholder
	wildcard    bool
	separator   byte // the separator that ends it; 0 at the template's end
}

func cutSegment(kind Kind, text string) (s segment, after string) {
	if i := strings.IndexAny(text, kind.separators()); i >= 0 {
		s.separator = text[i]
		text, after = text[:i], text[i+1:]
	}
	s.literal, s.placeholder, _ = cutPlaceholder(text)
	s.literal, s.wildcard = strings.CutSuffix(s.literal, "*")
	return s, after
}

// meets reports whether the same text can match both segments. For a wildcard, the text may
// be longer.
func (s *segment) meets(o *segment) bool {
	switch {
	case s.literal == o.literal:
		// A value is not empty, so the same literal is not enough.
		return s.open() == o.open() || s.wildcard || o.wildcard
	case strings.HasPrefix(o.literal, s.literal):
		return s.open()
	case strings.HasPrefix(s.literal, o.literal):
		return o.open()
	}
	return false
}

func (s *segment) open() bool { return s.wildcard || s.placeholder != "" }

// differs reports whether two segments that meet can do so for different values.
func (s *segment) differs(o *segment) bool {
	return s.placeholder != "" && o.placeholder != "" && (s.placeholder != o.placeholder || s.literal != o.literal)
}
