package session

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/usher-auth/usher/permissions"
)

// permissionNames are the names that Liveblocks' SDK 3.24 supports.
var permissionNames = []string{
	"*:read", "*:write",
	"room:read", "room:write", "room:presence:write",
	"storage:read", "storage:write", "storage:none",
	"comments:read", "comments:write", "comments:none",
	"comments:public:read", "comments:public:write", "comments:public:none",
	"comments:private:read", "comments:private:write", "comments:private:none",
	"feeds:read", "feeds:write", "feeds:none",
}

// RoomPermissions are Liveblocks' permission names for the rooms of one pattern, as
// another backend sent them.
type RoomPermissions struct {
	Pattern permissions.Pattern
	Names   []string
}

// A PermissionsError says what is wrong with permissions that another backend sent.
// Reason is a sentence for that backend.
type PermissionsError struct{ Reason string }

func (e *PermissionsError) Error() string { return "session: " + e.Reason }

// ParseRoomPermissions checks one pattern and its names. A repeated name counts once, as
// in Liveblocks' SDK. The error is a [*PermissionsError].
func ParseRoomPermissions(pattern string, names []string) (RoomPermissions, error) {
	p, err := permissions.ParsePattern(permissions.RoomKind, pattern)
	if err != nil {
		return RoomPermissions{}, &PermissionsError{strings.TrimPrefix(err.Error(), "permissions: ")}
	}
	r := RoomPermissions{Pattern: p, Names: make([]string, 0, len(names))}
	for _, name := range names {
		if !slices.Contains(permissionNames, name) {
			return RoomPermissions{}, &PermissionsError{fmt.Sprintf("Not a valid permission: %.64q", name)}
		}
		if !slices.Contains(r.Names, name) {
			r.Names = append(r.Names, name)
		}
	}
	return r, nil
}

// Access returns the access that a verifier reads from the names.
func (r RoomPermissions) Access() permissions.Access {
	access, _ := accessOf(r.Names)
	return access
}

// Needs returns the access to the pattern that an API key needs to grant the names: FULL
// for any permission to write except presence, READ for any other.
func (r RoomPermissions) Needs() permissions.Access {
	needs := permissions.None
	for _, name := range r.Names {
		switch {
		case strings.HasSuffix(name, ":none"):
		case strings.HasSuffix(name, ":write") && name != "room:presence:write":
			return permissions.Full
		default:
			needs = permissions.Read
		}
	}
	return needs
}

// AuthorizeUser signs a token with the permissions that another backend gives its user,
// verbatim and in their order: POST /v2/authorize-user of Liveblocks' API. If there are
// more patterns than one token may hold, it returns a [*PermissionsError].
func (i *Issuer) AuthorizeUser(user User, given []RoomPermissions, at time.Time) (Token, error) {
	if len(given) > i.cfg.MaxPatterns {
		// Liveblocks' own API answers with this text.
		return Token{}, &PermissionsError{fmt.Sprintf("A token cannot have more more than %d permissions.", i.cfg.MaxPatterns)}
	}
	return i.forRooms(user, at, i.projectClaim, func(b []byte, t *Token) []byte {
		start := len(b) + 1
		b = append(b, `,"perms":{`...)
		t.Patterns.Rooms = make([]permissions.Rule, 0, len(given))
		for n, r := range given {
			if n > 0 {
				b = append(b, ',')
			}
			b = append(appendString(b, r.Pattern.String()), ':')
			b = appendStrings(b, r.Names)
			t.Patterns.Rooms = append(t.Patterns.Rooms, permissions.Rule{Pattern: r.Pattern, Access: r.Needs()})
		}
		b = append(b, '}')
		t.Chosen = "{" + string(b[start:]) + "}"
		return b
	})
}

// IdentifyUser signs an identity token, which has no permissions: POST /v2/identify-user
// of Liveblocks' API.
func (i *Issuer) IdentifyUser(user User, groups []string, at time.Time) (Token, error) {
	return i.forRooms(user, at, i.identityClaim, func(b []byte, t *Token) []byte {
		t.Identity = true
		if len(groups) > 0 {
			start := len(b) + 1
			b = appendStrings(append(b, `,"gids":`...), groups)
			t.Chosen = "{" + string(b[start:]) + "}"
		}
		return b
	})
}

// forRooms signs a token for the first backend that accepts rooms.
func (i *Issuer) forRooms(user User, at time.Time, kindAndProject []byte, claims func([]byte, *Token) []byte) (Token, error) {
	n := slices.IndexFunc(i.cfg.Audiences, func(a Audience) bool { return a.Rooms })
	if n < 0 {
		return Token{}, &AudienceError{"No sync backend accepts rooms."}
	}
	audience := i.cfg.Audiences[n]
	t, key, b, err := i.begin(user, audience, at, kindAndProject)
	if err != nil {
		return Token{}, err
	}
	b = claims(b, &t)
	if b, t.InfoOmitted, err = appendInfo(b, user.Info); err != nil {
		return Token{}, err
	}
	t.Text, err = sign(key, append(b, '}'))
	return t, err
}

func appendStrings(b []byte, list []string) []byte {
	b = append(b, '[')
	for n, s := range list {
		if n > 0 {
			b = append(b, ',')
		}
		b = appendString(b, s)
	}
	return append(b, ']')
}

// InfoFits reports whether info is small enough for the ui claim.
func InfoFits(info json.RawMessage) bool {
	_, omitted, err := appendInfo(nil, info)
	return err == nil && !omitted
}
