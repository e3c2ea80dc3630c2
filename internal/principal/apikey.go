package principal

import (
	"errors"
	"slices"
	"time"

	"github.com/usher-auth/usher/permissions"
	"github.com/usher-auth/usher/session"
)

// Reasons for the refusal of an API key.
var (
	ErrAPIKeyUnknown = errors.New("no such API key")
	ErrAPIKeyRevoked = errors.New("API key is revoked")
	ErrAPIKeyExpired = errors.New("API key has expired")
	// ErrAPIKeyScope is returned if a request is outside of the key's scope: another
	// route, organization, pattern or access. The request is refused, never reduced.
	ErrAPIKeyScope = errors.New("request is outside of the API key's scope")
)

// Routes that an API key may be for.
const (
	RouteAuth          = "auth"           // POST /api/auth
	RouteAuthorizeUser = "authorize-user" // POST /v2/authorize-user
	RouteIdentifyUser  = "identify-user"  // POST /v2/identify-user
)

// An APIKey is another backend's credential with its scope. It exists, and is neither
// revoked nor expired.
type APIKey struct {
	ID     string
	Name   string
	Routes []string
	// Organizations are the organizations whose members the key may request tokens for.
	// nil means all users.
	Organizations []string
	// Scope is the most access that the key may grant.
	Scope session.Patterns
	// ExpiresAt is zero for a key that never expires.
	ExpiresAt time.Time
}

// Bound makes a principal's tokens expire with the key, at the latest. It returns
// [ErrAPIKeyExpired] if the key expires within a second, because a token must be valid for
// longer than that.
func (k *APIKey) Bound(p *Principal) error {
	if k.ExpiresAt.IsZero() {
		return nil
	}
	if !k.ExpiresAt.Truncate(time.Second).After(p.At) {
		return ErrAPIKeyExpired
	}
	if until := p.User.Until; until.IsZero() || k.ExpiresAt.Before(until) {
		p.User.Until = k.ExpiresAt
	}
	return nil
}

// Serves reports whether the key is for a route.
func (k *APIKey) Serves(route string) bool { return slices.Contains(k.Routes, route) }

// SpeaksFor reports whether the key may request tokens for members of an organization. If
// organization is empty, it reports whether a request may name none.
func (k *APIKey) SpeaksFor(organization string) bool {
	return k.Organizations == nil || slices.Contains(k.Organizations, organization)
}

// MayGrant reports whether one rule of the scope covers r with the same or more access.
func (k *APIKey) MayGrant(r permissions.Rule) bool {
	scope := k.Scope.Rooms
	if r.Pattern.Kind() == permissions.StoreKind {
		scope = k.Scope.Stores
	}
	return slices.ContainsFunc(scope, func(s permissions.Rule) bool {
		return s.Access >= r.Access && s.Pattern.Covers(r.Pattern)
	})
}

// MayGrantAll reports whether the key may grant everything that a token opens.
func (k *APIKey) MayGrantAll(p session.Patterns) bool {
	for _, r := range slices.Concat(p.Rooms, p.Stores) {
		if !k.MayGrant(r) {
			return false
		}
	}
	return true
}
