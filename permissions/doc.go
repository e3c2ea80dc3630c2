// Package permissions decides who may open what. It has ids, patterns, access and the sets
// of rules that a token carries. It does no I/O and has no state.
//
// Parse the granted patterns, reduce them, and select what a token can hold:
//
//	pattern, err := permissions.ParsePattern(permissions.RoomKind, "acme:design:*")
//	...
//	cover := permissions.Cover([]permissions.Rule{{Pattern: pattern, Access: permissions.Full}})
//	cover.Access("acme:design:1") // full
//	selection, ok := cover.Select("acme:design:1", permissions.Limit{Patterns: 10})
//
// Texts are compared byte by byte. They are never decoded, trimmed, case-folded or
// normalized, neither here nor by callers. testdata/permissions.json has the rules as test
// data; verifiers in other languages and the audit's SQL are tested with it too.
//
// All types are values, and safe for concurrent use.
package permissions
