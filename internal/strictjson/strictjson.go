// Package strictjson reads JSON that strangers send: tokens, key sets, request
// bodies.
//
// It accepts less than encoding/json does, so that no two readers of a
// document can take it for two different things (RFC 8725 section 3.7, RFC
// 8259 sections 4 and 8): one value and nothing after it, valid UTF-8 without
// a byte order mark, no name twice in an object, no NUL and no lone surrogate
// in a string, and no deeper nesting than the caller says. Names are matched
// exactly; in the outermost object no two may even differ in case alone, since
// encoding/json would take them for one. Inner objects may be maps whose names
// are ids, and in ids case counts.
//
//	members, err := strictjson.Object(body, 16)
//	room, ok := members.Get("room")
//
// The whole document is checked before any of it is handed out. Nothing is
// decoded before it is asked for, and nothing by reflection.
package strictjson

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"
)

// SyntaxError says why a document was refused. It never repeats any of the
// document and so may be shown to whoever sent it.
type SyntaxError struct {
	Offset int    // in bytes, where the document went wrong
	Reason string // one of a fixed few
}

func (e *SyntaxError) Error() string {
	return fmt.Sprintf("strictjson: at byte %d: %s", e.Offset, e.Reason)
}

// Value is one JSON value of a document that was checked as a whole. It shares
// the document's memory. Of the zero Value every method reports false.
type Value struct{ raw string }

// Member is one name and value of an object.
type Member struct {
	Name  string
	Value Value
}

// Members are those of one object, in the order of the document. No two names
// are equal.
type Members []Member

// Get returns the value of exactly this name, and whether there is one.
func (m Members) Get(name string) (Value, bool) {
	for i := range m {
		if m[i].Name == name {
			return m[i].Value, true
		}
	}
	return Value{}, false
}

// Object checks data and returns the members of the object that it holds. An
// object inside another is one deeper; the outermost has depth 1. The error is
// a [*SyntaxError]. The caller may reuse data.
func Object(data []byte, maxDepth int) (Members, error) {
	s, err := scan(string(data), maxDepth, false)
	if err != nil {
		return nil, err
	}
	if !s.root.is('{') {
		return nil, &SyntaxError{0, "not an object"}
	}
	return s.members, nil
}

// Parse is [Object] for a document that may hold any kind of value.
func Parse(data []byte, maxDepth int) (Value, error) {
	s, err := scan(string(data), maxDepth, false)
	return s.root, err
}

func (v Value) is(first byte) bool { return v.raw != "" && v.raw[0] == first }

// Raw returns the value as it stands in the document.
func (v Value) Raw() string { return v.raw }

// IsNull reports whether the value is null.
func (v Value) IsNull() bool { return v.is('n') }

// Bool returns a true or false, and whether the value is one.
func (v Value) Bool() (b, ok bool) { return v.is('t'), v.is('t') || v.is('f') }

// Text returns a string without its quotes and escapes, and whether the value
// is one.
func (v Value) Text() (string, bool) {
	if !v.is('"') {
		return "", false
	}
	return unescape(v.raw), true
}

// Float64 returns a number, and whether the value is one that a float64 can
// hold: 1e400 is not.
func (v Value) Float64() (float64, bool) {
	f, err := strconv.ParseFloat(v.raw, 64) // takes no other JSON
	return f, err == nil
}

// Members returns those of an object, and whether the value is one. Every call
// scans the value anew.
func (v Value) Members() (Members, bool) {
	if !v.is('{') {
		return nil, false
	}
	s, _ := scan(v.raw, math.MaxInt, true)
	return s.members, true
}

// Elements returns those of an array, and whether the value is one. Every call
// scans the value anew.
func (v Value) Elements() ([]Value, bool) {
	if !v.is('[') {
		return nil, false
	}
	s, _ := scan(v.raw, math.MaxInt, true)
	return s.elements, true
}

// scanner goes over a document once. It checks all of it and keeps only what
// stands directly in the outermost object or array.
type scanner struct {
	text     string
	pos      int
	maxDepth int
	again    bool   // the text is part of a document that was scanned before
	names    []name // of the objects that are open, the innermost last

	root     Value
	members  Members
	elements []Value
}

// name is a member's name and where it starts.
type name struct {
	text   string
	offset int
}

func scan(text string, maxDepth int, again bool) (scanner, error) {
	s := scanner{text: text, maxDepth: maxDepth, again: again}
	s.space()
	root, err := s.value(1)
	if err != nil {
		return scanner{}, err
	}
	s.space()
	if s.pos < len(text) {
		return scanner{}, s.fail("more after the value")
	}
	s.root = root
	return s, nil
}

func (s *scanner) fail(reason string) error {
	if s.pos >= len(s.text) {
		reason = "unexpected end"
	}
	return &SyntaxError{s.pos, reason}
}

// peek returns the byte at hand, or 0, which no rule accepts, at the end.
func (s *scanner) peek() byte {
	if s.pos < len(s.text) {
		return s.text[s.pos]
	}
	return 0
}

// take steps over c if it is the byte at hand.
func (s *scanner) take(c byte) bool {
	if s.peek() != c {
		return false
	}
	s.pos++
	return true
}

func (s *scanner) space() {
	for s.pos < len(s.text) {
		switch s.text[s.pos] {
		case ' ', '\t', '\n', '\r':
			s.pos++
		default:
			return
		}
	}
}

// value scans one value. Were it an object or an array, it would have the
// given depth.
func (s *scanner) value(depth int) (Value, error) {
	start := s.pos
	var err error
	switch c := s.peek(); {
	case (c == '{' || c == '[') && depth > s.maxDepth:
		err = s.fail("nested too deeply")
	case c == '{':
		err = s.object(depth)
	case c == '[':
		err = s.array(depth)
	case c == '"':
		err = s.string()
	case c == '-' || isDigit(c):
		err = s.number()
	default:
		err = s.literal()
	}
	return Value{s.text[start:s.pos]}, err
}

func (s *scanner) object(depth int) error {
	s.pos++
	if depth == 1 { // enough for a token's claims without growing
		s.members = make(Members, 0, 16)
	}
	if s.names == nil && !s.again {
		s.names = make([]name, 0, 16)
	}
	open, members := len(s.names), 0
	for s.space(); !s.take('}'); s.space() {
		if members++; members > 1 {
			if !s.take(',') {
				return s.fail("want a comma or the end of the object")
			}
			s.space()
		}
		start := s.pos
		if s.peek() != '"' {
			return s.fail("want a name in quotes")
		}
		if err := s.string(); err != nil {
			return err
		}
		text := unescape(s.text[start:s.pos])
		if !s.again {
			s.names = append(s.names, name{text, start})
		}
		s.space()
		if !s.take(':') {
			return s.fail("want a colon")
		}
		s.space()
		v, err := s.value(depth + 1)
		if err != nil {
			return err
		}
		if depth == 1 {
			s.members = append(s.members, Member{text, v})
		}
	}
	compare := strings.Compare
	if depth == 1 {
		compare = compareFold
	}
	err := unique(s.names[open:], compare)
	s.names = s.names[:open]
	return err
}

func (s *scanner) array(depth int) error {
	s.pos++
	s.space()
	for first := true; !s.take(']'); first = false {
		if !first {
			if !s.take(',') {
				return s.fail("want a comma or the end of the array")
			}
			s.space()
		}
		v, err := s.value(depth + 1)
		if err != nil {
			return err
		}
		if depth == 1 {
			if s.elements == nil {
				s.elements = make([]Value, 0, 4)
			}
			s.elements = append(s.elements, v)
		}
		s.space()
	}
	return nil
}

func (s *scanner) literal() error {
	for _, word := range [...]string{"true", "false", "null"} {
		if strings.HasPrefix(s.text[s.pos:], word) {
			s.pos += len(word)
			return nil
		}
	}
	return s.fail("want a value")
}

func (s *scanner) number() error {
	s.take('-')
	if !s.take('0') && !s.digits() {
		return s.fail("want a digit")
	}
	if s.take('.') && !s.digits() {
		return s.fail("want a digit")
	}
	if s.take('e') || s.take('E') {
		_ = s.take('+') || s.take('-')
		if !s.digits() {
			return s.fail("want a digit")
		}
	}
	return nil
}

func (s *scanner) digits() bool {
	start := s.pos
	for isDigit(s.peek()) {
		s.pos++
	}
	return s.pos > start
}

func isDigit(c byte) bool { return '0' <= c && c <= '9' }

func (s *scanner) string() error {
	s.pos++
	for s.pos < len(s.text) {
		switch c := s.text[s.pos]; {
		case c == '"':
			s.pos++
			return nil
		case c == '\\':
			if err := s.escape(); err != nil {
				return err
			}
		case c < ' ':
			return s.fail("a control character in a string")
		case c < utf8.RuneSelf:
			s.plain()
		default:
			r, size := utf8.DecodeRuneInString(s.text[s.pos:])
			if r == utf8.RuneError && size == 1 {
				return s.fail("invalid UTF-8")
			}
			s.pos += size
		}
	}
	return s.fail("")
}

// plain steps over the byte at hand and those after it that need no look, of
// which most strings are made.
func (s *scanner) plain() {
	for s.pos++; s.pos < len(s.text); s.pos++ {
		if c := s.text[s.pos]; c < ' ' || c == '"' || c == '\\' || c >= utf8.RuneSelf {
			return
		}
	}
}

// escape scans what a backslash begins, for a character beyond the first plane
// both halves of it.
func (s *scanner) escape() error {
	rest := s.text[s.pos:]
	if len(rest) > 1 && shortEscape(rest[1]) != 0 {
		s.pos += 2
		return nil
	}
	r, size := unicodeEscape(rest)
	switch {
	case size == 0:
		return s.fail("an unknown escape in a string")
	case r == 0:
		return s.fail("NUL in a string")
	case utf16.IsSurrogate(r):
		return s.fail("half a surrogate pair in a string")
	}
	s.pos += size
	return nil
}

// shortEscape returns what a backslash and c stand for, or 0.
func shortEscape(c byte) byte {
	switch c {
	case '"', '\\', '/':
		return c
	case 'b':
		return '\b'
	case 'f':
		return '\f'
	case 'n':
		return '\n'
	case 'r':
		return '\r'
	case 't':
		return '\t'
	}
	return 0
}

// unicodeEscape decodes the \uXXXX, or the pair of them, that s begins with,
// and returns its size: 0 where s does not begin with one. Of half a pair it
// returns that half.
func unicodeEscape(s string) (rune, int) {
	r, ok := hex4(s)
	if !ok {
		return 0, 0
	}
	if utf16.IsSurrogate(r) {
		if low, ok := hex4(s[6:]); ok && utf16.DecodeRune(r, low) != unicode.ReplacementChar {
			return utf16.DecodeRune(r, low), 12
		}
	}
	return r, 6
}

func hex4(s string) (rune, bool) {
	if len(s) < 6 || s[0] != '\\' || s[1] != 'u' {
		return 0, false
	}
	n, err := strconv.ParseUint(s[2:6], 16, 16)
	return rune(n), err == nil
}

// unescape returns the text of a string that the scanner let through.
func unescape(raw string) string {
	raw = raw[1 : len(raw)-1]
	plain := strings.IndexByte(raw, '\\')
	if plain < 0 {
		return raw
	}
	b := append(make([]byte, 0, len(raw)), raw[:plain]...)
	for raw = raw[plain:]; raw != ""; {
		if raw[0] != '\\' {
			b, raw = append(b, raw[0]), raw[1:]
		} else if c := shortEscape(raw[1]); c != 0 {
			b, raw = append(b, c), raw[2:]
		} else {
			r, size := unicodeEscape(raw)
			b, raw = utf8.AppendRune(b, r), raw[size:]
		}
	}
	return string(b)
}

// unique refuses two names that compare as equal. It sorts: a stranger who
// sends many names must not make this slow.
func unique(names []name, compare func(a, b string) int) error {
	slices.SortFunc(names, func(a, b name) int {
		return cmp.Or(compare(a.text, b.text), cmp.Compare(a.offset, b.offset))
	})
	for i := 1; i < len(names); i++ {
		if compare(names[i-1].text, names[i].text) == 0 {
			return &SyntaxError{names[i].offset, "a name twice in an object"}
		}
	}
	return nil
}

// compareFold orders names by their characters, of which it takes all cases
// for the same one, as encoding/json and [strings.EqualFold] do: U+017F, the
// long s, is an s.
func compareFold(a, b string) int {
	for a != "" && b != "" {
		ra, na := utf8.DecodeRuneInString(a)
		rb, nb := utf8.DecodeRuneInString(b)
		if ra != rb {
			if c := cmp.Compare(fold(ra), fold(rb)); c != 0 {
				return c
			}
		}
		a, b = a[na:], b[nb:]
	}
	return cmp.Compare(len(a), len(b))
}

// fold returns the least of the characters that differ from r in case alone.
func fold(r rune) rune {
	for {
		next := unicode.SimpleFold(r)
		if next <= r {
			return next
		}
		r = next
	}
}
