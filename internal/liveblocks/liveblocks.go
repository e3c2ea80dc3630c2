// Package liveblocks holds the permission names that usher itself writes into tokens for
// Liveblocks' clients.
package liveblocks

import "github.com/usher-auth/usher/permissions"

// The names for each access, as JSON. All clients since 1.12 understand them.
const (
	full = `["room:write","comments:write"]`
	read = `["room:read","room:presence:write","comments:read"]`
)

// AppendNames appends the names for an access to b, as a JSON array.
func AppendNames(b []byte, access permissions.Access) []byte {
	if access == permissions.Full {
		return append(b, full...)
	}
	return append(b, read...)
}
