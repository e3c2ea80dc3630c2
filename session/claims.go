package session

import (
	"slices"
	"strings"
	"time"

	"github.com/usher-auth/usher/internal/strictjson"
	"github.com/usher-auth/usher/permissions"
)

// Claims are the contents of a verified token (docs/token.md). Only [Verifier.Verify]
// makes them. They may be shared between goroutines.
type Claims struct {
	Issuer    string
	Audience  string // the verifier's own, even if the token names other backends too
	Subject   string // the user's id
	ID        string // jti: no two tokens have the same
	IssuedAt  time.Time
	ExpiresAt time.Time // without the verifier's leeway

	// Kind is k: "acc", or "id" for an identity token, which grants nothing. In a
	// token without Liveblocks' claims, Kind, Project, UserID and UserInfo are empty.
	Kind    string
	Project string // pid
	UserID  string // uid
	// UserInfo is ui, a JSON object as the issuer wrote it.
	UserInfo string

	Organization string // org: the organization of the session
	SessionID    string // sid: identifies the session that the token came from

	rules []permissions.Rule
	// bounds are room patterns that lower a feature below its base. They limit broader
	// patterns to READ. Tokens whose patterns usher chose have no bounds.
	bounds []permissions.Pattern
}

// Can reports whether the token gives this access, or more, to the resource:
//
//	claims.Can(permissions.Store("acme_notes"), permissions.Full)
//
// For [permissions.None] it always reports false.
func (c Claims) Can(resource permissions.Resource, access permissions.Access) bool {
	return access > permissions.None && c.Access(resource) >= access
}

// Access returns the token's access to the resource: the strongest access of all
// patterns that match it. It is [permissions.None] if no pattern matches, or if the id
// is not valid. In a token of POST /v2/authorize-user, a pattern can lower a feature
// below its base ("storage:none"). The most specific of these patterns limits the
// broader patterns to READ.
func (c Claims) Access(resource permissions.Resource) permissions.Access {
	bound, bounded := c.bound(resource)
	strongest := permissions.None
	for i := range c.rules {
		r := &c.rules[i]
		if r.Access <= strongest || r.Pattern.Kind() != resource.Kind || !r.Pattern.Matches(resource.ID) {
			continue
		}
		if bounded && r.Pattern.Covers(bound) {
			strongest = max(strongest, permissions.Read)
		} else {
			strongest = r.Access
		}
	}
	return strongest
}

// bound returns the most specific of the bounds that match the resource. Bounds are room
// patterns, so they never apply to stores.
func (c Claims) bound(resource permissions.Resource) (bound permissions.Pattern, bounded bool) {
	for _, p := range c.bounds {
		if p.Matches(resource.ID) && (!bounded || bound.Covers(p)) {
			bound, bounded = p, true
		}
	}
	return bound, bounded
}

// read reads the claims that are not in RFC 7519. They are optional, but must have the
// right type.
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
		access, lowers, ok := roomAccess(m.Value)
		if !ok {
			return errClaim("perms")
		}
		c.grant(permissions.RoomKind, m.Name, access, lowers)
	}
	for _, m := range stores {
		access, ok := storeAccess(m.Value)
		if !ok {
			return errClaim("stores")
		}
		c.grant(permissions.StoreKind, m.Name, access, false)
	}
	return nil
}

// grant adds a rule, and a bound if the pattern lowers a feature. It adds nothing for an
// unknown kind of token or an invalid pattern.
func (c *Claims) grant(kind permissions.Kind, text string, access permissions.Access, lowers bool) {
	if access == permissions.None && !lowers || c.Kind != "" && c.Kind != "acc" {
		return
	}
	pattern, err := permissions.ParsePattern(kind, text)
	if err != nil {
		return
	}
	if access > permissions.None {
		c.rules = append(c.rules, permissions.Rule{Pattern: pattern, Access: access})
	}
	if lowers {
		c.bounds = append(c.bounds, pattern)
	}
}

// storeAccess reads a value of stores as access, and reports whether it is a string.
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

// roomAccess reads a list of Liveblocks' permission names as access. lowers reports
// whether the list lowers a feature below its base, and ok whether it is a list of
// strings. FULL needs a base of write and no feature below write. READ needs a base of
// read or write.
//
// Names are feature:level. For each feature, the strongest level counts. The same rule
// applies to features that Liveblocks adds later: they can reduce FULL to READ, but never
// add access.
func roomAccess(v strictjson.Value) (access permissions.Access, lowers, ok bool) {
	names, ok := v.Elements()
	if !ok {
		return permissions.None, false, false
	}
	list := make([]string, len(names))
	for i, n := range names {
		if list[i], ok = n.Text(); !ok {
			return permissions.None, false, false
		}
	}
	access, lowers = accessOf(list)
	return access, lowers, true
}

// accessOf is roomAccess for a list of strings.
func accessOf(names []string) (access permissions.Access, lowers bool) {
	for _, name := range names {
		switch name {
		case "*:write", "room:write":
			access = permissions.Full
		case "*:read", "room:read":
			access = max(access, permissions.Read)
		}
	}
	if slices.ContainsFunc(names, func(name string) bool { return isBelow(access, name, names) }) {
		return min(access, permissions.Read), true
	}
	return access, false
}

// isBelow reports whether name is a feature's level below the base, and names has no
// higher level of that feature. If names has no base, the base is write, because a broader
// pattern could give it.
func isBelow(base permissions.Access, name string, names []string) bool {
	if name == "*:read" || name == "room:read" {
		return false
	}
	colon := strings.LastIndexByte(name, ':')
	if colon < 0 {
		return false
	}
	feature, level := name[:colon], name[colon+1:]
	switch {
	case slices.Contains(names, feature+":write"):
		return false
	case level == "read":
		return base != permissions.Read
	case level == "none":
		return !slices.Contains(names, feature+":read")
	}
	return false
}
