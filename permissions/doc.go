// Package permissions decides who may open what. It knows ids, patterns,
// access and the sets of rules that a token carries; it does no I/O and keeps
// no state.
//
// Parse what was granted, reduce it, and take from it what a token can hold:
//
//	pattern, err := permissions.ParsePattern(permissions.RoomKind, "acme:design:*")
//	...
//	cover := permissions.Cover([]permissions.Rule{{Pattern: pattern, Access: permissions.Full}})
//	cover.Access("acme:design:1") // full
//	selection, ok := cover.Select("acme:design:1", permissions.Limit{Patterns: 10})
//
// Texts are compared byte by byte: nothing is decoded, trimmed, folded or
// normalised, here or by whoever calls. The rules stand in testdata/permissions.json,
// which the verifiers in other languages and the SQL of the audit pass too.
//
// All types are values, and safe for concurrent use.
package permissions
