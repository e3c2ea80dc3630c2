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
	// bounds are room patterns that lower a feature below its base: they bound
	// broader patterns to READ. usher's own sessions have none.
	bounds []permissions.Pattern
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
// patterns that match it; [permissions.None] if none does, or if the id is not
// valid. In a token of POST /v2/authorize-user, the most specific pattern that
// lowers a feature below its base ("storage:none") bounds the broader ones to
// READ.
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

// bound returns the most specific of the bounds that match the resource. It
// covers no store's pattern.
func (c Claims) bound(resource permissions.Resource) (bound permissions.Pattern, bounded bool) {
	for _, p := range c.bounds {
		if p.Matches(resource.ID) && (!bounded || bound.Covers(p)) {
			bound, bounded = p, true
		}
	}
	return bound, bounded
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

// grant keeps a rule, and a bound if the pattern lowers a feature. An unknown kind
// of token or an invalid pattern gives nothing.
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

// roomAccess reads a list of Liveblocks' permission names as access. lowers
// reports whether it lowers a feature below its base, ok whether it is a list of
// strings at all. FULL needs a base write and no feature below write; READ needs a
// base read, which a base write includes.
//
// Names are feature:level. For each feature the strongest level counts. A feature
// that Liveblocks adds later follows the same rule: it can reduce FULL to READ,
// and gives nothing.
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

// accessOf is roomAccess for names that were read.
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

// isBelow reports whether name is a level of a feature below the base, and names
// has no higher level of that feature. Without a base of their own, names are
// compared with the base write of a broader pattern.
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
