// Package strictjson reads JSON from untrusted senders: tokens, key sets, request bodies.
//
// It accepts less than encoding/json, so that two readers of a document can never
// understand it differently (RFC 8725 section 3.7, RFC 8259 sections 4 and 8):
//
//   - one value, and nothing after it;
//   - valid UTF-8, without a byte order mark;
//   - no repeated name in an object;
//   - no NUL and no lone surrogate in a string;
//   - no deeper nesting than the caller allows.
//
// Names must match exactly. In the outermost object, two names must not differ only in
// case, because encoding/json would treat them as equal. Inner objects may be maps whose
// names are ids, so there, case counts.
//
//	members, err := strictjson.Object(body, 16)
//	room, ok := members.Get("room")
//
// The whole document is checked before any value is returned. Values are decoded only on
// request, and without reflection.
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

// SyntaxError says why a document was refused. It never quotes the document, so it may be
// shown to the sender.
type SyntaxError struct {
	Offset int    // of the fault, in bytes
	Reason string // from a fixed list
}

func (e *SyntaxError) Error() string {
	return fmt.Sprintf("strictjson: at byte %d: %s", e.Offset, e.Reason)
}

// Value is one JSON value of a checked document. It shares the document's memory. For the
// zero Value, every method reports false.
type Value struct{ raw string }

// Member is one name and value of an object.
type Member struct {
	Name  string
	Value Value
}

// Members are the members of one object, in the order of the document. All names differ.
type Members []Member

// Get returns the value with exactly this name, and whether there is one.
func (m Members) Get(name string) (Value, bool) {
	for i := range m {
		if m[i].Name == name {
			return m[i].Value, true
		}
	}
	return Value{}, false
}

// Object checks data, which must be an object, and returns its members. The outermost
// object has depth 1, and each object or array inside is one deeper. The error is a
// [*SyntaxError]. The caller may reuse data.
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

// Parse is [Object] for a document with a value of any kind.
func Parse(data []byte, maxDepth int) (Value, error) {
	s, err := scan(string(data), maxDepth, false)
	return s.root, err
}

func (v Value) is(first byte) bool { return v.raw != "" && v.raw[0] == first }

// Raw returns the text of the value in the document.
func (v Value) Raw() string { return v.raw }

// IsNull reports whether the value is null.
func (v Value) IsNull() bool { return v.is('n') }

// Bool returns the value of true or false, and whether it is one of them.
func (v Value) Bool() (b, ok bool) { return v.is('t'), v.is('t') || v.is('f') }

// Text returns a string without quotes and escapes, and whether the value is a string.
func (v Value) Text() (string, bool) {
	if !v.is('"') {
		return "", false
	}
	return unescape(v.raw), true
}

// Float64 returns a number, and whether the value is a number that a float64 can hold:
// 1e400 is too large.
func (v Value) Float64() (float64, bool) {
	f, err := strconv.ParseFloat(v.raw, 64) // fails for every other kind of JSON value
	return f, err == nil
}

// Members returns the members of an object, and whether the value is an object. Every call
// scans the value again.
func (v Value) Members() (Members, bool) {
	if !v.is('{') {
		return nil, false
	}
	s, _ := scan(v.raw, math.MaxInt, true)
	return s.members, true
}

// Elements returns the elements of an array, and whether the value is an array. Every call
// scans the value again.
func (v Value) Elements() ([]Value, bool) {
	if !v.is('[') {
		return nil, false
	}
	s, _ := scan(v.raw, math.MaxInt, true)
	return s.elements, true
}

// scanner reads a document once. It checks everything, and keeps only the direct members or
// elements of the outermost object or array.
type scanner struct {
	text     string
	pos      int
	maxDepth int
	again    bool   // the text is part of a document that was scanned before
	names    []name // of the open objects, the innermost last

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
		return scanner{}, s.fail("unexpected text after the value")
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

// peek returns the current byte. At the end it returns 0, which no rule accepts.
func (s *scanner) peek() byte {
	if s.pos < len(s.text) {
		return s.text[s.pos]
	}
	return 0
}

// take skips c if it is the current byte.
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

// value scans one value. depth is the depth that it has if it is an object or an array.
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
	if depth == 1 { // large enough for a token's claims
		s.members = make(Members, 0, 16)
	}
	if s.names == nil && !s.again {
		s.names = make([]name, 0, 16)
	}
	open, members := len(s.names), 0
	for s.space(); !s.take('}'); s.space() {
		if members++; members > 1 {
			if !s.take(',') {
				return s.fail("expected a comma or the end of the object")
			}
			s.space()
		}
		start := s.pos
		if s.peek() != '"' {
			return s.fail("expected a name in quotes")
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
			return s.fail("expected a colon")
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
				return s.fail("expected a comma or the end of the array")
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
	return s.fail("expected a value")
}

func (s *scanner) number() error {
	s.take('-')
	if !s.take('0') && !s.digits() {
		return s.fail("expected a digit")
	}
	if s.take('.') && !s.digits() {
		return s.fail("expected a digit")
	}
	if s.take('e') || s.take('E') {
		_ = s.take('+') || s.take('-')
		if !s.digits() {
			return s.fail("expected a digit")
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

// plain skips the current byte and all following bytes that need no check. Most strings
// have only such bytes.
func (s *scanner) plain() {
	for s.pos++; s.pos < len(s.text); s.pos++ {
		if c := s.text[s.pos]; c < ' ' || c == '"' || c == '\\' || c >= utf8.RuneSelf {
			return
		}
	}
}

// escape scans one escape that begins with a backslash, or two if they are the halves of a
// surrogate pair.
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

// shortEscape returns the character that a backslash and c mean, or 0.
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

// unicodeEscape decodes the \uXXXX, or the surrogate pair of them, at the start of s. It
// also returns its size, which is 0 if s does not begin with one. For half a pair it
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

// unescape returns the text of a string that the scanner accepted.
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

// unique refuses two names that compare as equal. It sorts them, so that many names do not
// make it slow.
func unique(names []name, compare func(a, b string) int) error {
	slices.SortFunc(names, func(a, b name) int {
		return cmp.Or(compare(a.text, b.text), cmp.Compare(a.offset, b.offset))
	})
	for i := 1; i < len(names); i++ {
		if compare(names[i-1].text, names[i].text) == 0 {
			return &SyntaxError{names[i].offset, "a repeated name in an object"}
		}
	}
	return nil
}

// compareFold orders names by their characters and ignores case, like encoding/json and
// [strings.EqualFold]: U+017F, the long s, is equal to s.
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

// fold returns the smallest of the characters that differ from r only in case.
func fold(r rune) rune {
	for {
		next := unicode.SimpleFold(r)
		if next <= r {
			return next
		}
		r = next
	}
}
