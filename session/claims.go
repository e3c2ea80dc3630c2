package session

import (
	"slices"
	"strings"
	"time"

	"github.com/usher-auth/usher/internal/strictjson"
	"github.com/usher-auth/usher/permissions"
)

// Claims are what a verified token says (docs/token.md). They come from
// [Verifier.Verify] alone and may be shared between goroutines.
type Claims struct {
	Issuer    string
	Audience  string // the verifier's own; a token for several backends has more
	Subject   string // the user's id
	ID        string // jti: no two tokens have the same
	IssuedAt  time.Time
	ExpiresAt time.Time // without the verifier's leeway

	// Kind is k: "acc", or "id" for an identity token, which grants nothing.
	// Empty in a token without Liveblocks' claims, as all below.
	Kind    string
	Project string // pid
	UserID  string // uid
	// UserInfo is ui, a JSON object as the issuer wrote it.
	UserInfo string

	Organization string // org: the organization of the session
	SessionID    string // sid: stands for the session that the token came from

	rules []permissions.Rule
}

// Can reports whether the token gives at least this access to the resource:
//
//	claims.Can(permissions.Store("acme_notes"), permissions.Full)
//
// For [permissions.None] it reports false: no code path should depend on it.
func (c Claims) Can(resource permissions.Resource, access permissions.Access) bool {
	return access > permissions.None && c.Access(resource) >= access
}

// Access returns what the token gives to the resource: the strongest of all
// the patterns that match it, [permissions.None] where none does or where the
// id is no id.
func (c Claims) Access(resource permissions.Resource) permissions.Access {
	strongest := permissions.None
	for i := range c.rules {
		r := &c.rules[i]
		if r.Access > strongest && r.Pattern.Kind() == resource.Kind && r.Pattern.Matches(resource.ID) {
			strongest = r.Access
		}
	}
	return strongest
}

// read takes the claims that RFC 7519 does not know. None is required; each
// must be of its type.
func (c *Claims) read(payload strictjson.Members) error {
	for _, claim := range [...]struct {
		name string
		to   *string
	}{{"k", &c.Kind}, {"pid", &c.Project}, {"uid", &c.UserID}, {"org", &c.Organization}, {"sid", &c.SessionID}} {
		v, there := payload.Get(claim.name)
		s, ok := v.Text()
		if there && !ok {
			return errClaim(claim.name)
		}
		*claim.to = s
	}
	ui, there := payload.Get("ui")
	if _, ok := ui.Members(); there && !ok {
		return errClaim("ui")
	}
	c.UserInfo = ui.Raw()

	v, there := payload.Get("perms")
	perms, ok := v.Members()
	if there && !ok {
		return errClaim("perms")
	}
	v, there = payload.Get("stores")
	stores, ok := v.Members()
	if there && !ok {
		return errClaim("stores")
	}
	c.rules = make([]permissions.Rule, 0, len(perms)+len(stores))
	for _, m := range perms {
		access, ok := roomAccess(m.Value)
		if !ok {
			return errClaim("perms")
		}
		c.grant(permissions.RoomKind, m.Name, access)
	}
	for _, m := range stores {
		access, ok := storeAccess(m.Value)
		if !ok {
			return errClaim("stores")
		}
		c.grant(permissions.StoreKind, m.Name, access)
	}
	return nil
}

// grant keeps a rule. What it does not understand, a kind of token or a
// pattern, gives nothing.
func (c *Claims) grant(kind permissions.Kind, text string, access permissions.Access) {
	if access == permissions.None || c.Kind != "" && c.Kind != "acc" {
		return
	}
	if pattern, err := permissions.ParsePattern(kind, text); err == nil {
		c.rules = append(c.rules, permissions.Rule{Pattern: pattern, Access: access})
	}
}

// storeAccess reads a value of stores, and whether it is a string at all.
func storeAccess(v strictjson.Value) (permissions.Access, bool) {
	switch s, ok := v.Text(); s {
	case "full":
		return permissions.Full, true
	case "read":
		return permissions.Read, true
	default:
		return permissions.None, ok
	}
}

// roomAccess reads a list of Liveblocks' permission names back as access, and
// whether it is a list of strings at all. FULL needs a base write and no
// feature below write; READ needs a base read, which a base write includes.
//
// Names are feature:level, and of one feature the strongest level counts. A
// feature that Liveblocks adds tomorrow is read by the same rule, so it can
// take FULL away, and give nothing.
func roomAccess(v strictjson.Value) (permissions.Access, bool) {
	names, ok := v.Elements()
	if !ok {
		return permissions.None, false
	}
	list := make([]string, len(names))
	for i, n := range names {
		if list[i], ok = n.Text(); !ok {
			return permissions.None, false
		}
	}
	return accessOf(list), true
}

// accessOf is roomAccess for names that were read.
func accessOf(names []string) permissions.Access {
	access, lowered := permissions.None, false
	for _, name := range names {
		switch name {
		case "*:write", "room:write":
			access = permissions.Full
		case "*:read", "room:read":
			access = max(access, permissions.Read)
		default:
			lowered = lowered || isBelowWrite(name, names)
		}
	}
	if lowered {
		access = min(access, permissions.Read)
	}
	return access
}

// isBelowWrite reports whether name is a level below write of a feature that
// names does not also write.
func isBelowWrite(name string, names []string) bool {
	feature, level := name, ""
	if colon := strings.LastIndexByte(name, ':'); colon >= 0 {
		feature, level = name[:colon], name[colon+1:]
	}
	return (level == "read" || level == "none") && !slices.Contains(names, feature+":write")
}
