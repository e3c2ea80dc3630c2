package principal

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"
)

const maxID = 128 // UTF-16 code units

// IDFault returns the reason why s cannot be the id of a user, an organization or a group.
// It completes the sentence "the id ...". It is empty for a valid id: valid UTF-8 of 1 to
// 128 UTF-16 code units without control characters. Unlike a room's id, such an id may
// contain '*', because it is never a pattern.
func IDFault(s string) string {
	switch {
	case s == "":
		return "is empty"
	case !utf8.ValidString(s):
		return "is not valid UTF-8"
	case strings.ContainsFunc(s, unicode.IsControl):
		return "contains a control character"
	case utf16Len(s) > maxID:
		return fmt.Sprintf("is longer than %d UTF-16 units", maxID)
	}
	return ""
}

// IsID reports whether s can be the id of a user, an organization or a group.
func IsID(s string) bool { return IDFault(s) == "" }

// utf16Len returns the length in UTF-16 code units, like JavaScript's length.
func utf16Len(s string) int {
	units := 0
	for _, r := range s {
		units += utf16.RuneLen(r)
	}
	return units
}
