package principal

import (
	"errors"
	"slices"
	"time"

	"github.com/usher-auth/usher/permissions"
	"github.com/usher-auth/usher/session"
)

// Why an API key is refused. Who shows it is told the same for the first
// three.
var (
	ErrAPIKeyUnknown = errors.New("no such API key")
	ErrAPIKeyRevoked = errors.New("API key is revoked")
	ErrAPIKeyExpired = errors.New("API key has expired")
	// ErrAPIKeyScope says that a key asked for more than its scope: another
	// route, organization, pattern or access. It is refused, never narrowed.
	ErrAPIKeyScope = errors.New("request is outside of the API key's scope")
)

// Routes that an API key may be for.
const (
	RouteAuth          = "auth"           // POST /api/auth
	RouteAuthorizeUser = "authorize-user" // POST /v2/authorize-user
	RouteIdentifyUser  = "identify-user"  // POST /v2/identify-user
)

// An APIKey is another backend's credential, found and in force, with its
// scope.
type APIKey struct {
	ID     string
	Name   string
	Routes []string
	// Organizations are the ones whose members the key speaks for; nil is
	// everybody.
	Organizations []string
	// Scope is the most that the key may grant.
	Scope session.Patterns
	// ExpiresAt is zero for a key without an end.
	ExpiresAt time.Time
}

// Bound makes a principal's tokens end with the key, for which they are made. It
// returns [ErrAPIKeyExpired] if the key is over within the second, before which no
// token could end.
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

// SpeaksFor reports whether the key may name members of an organization; of
// none where organization is empty.
func (k *APIKey) SpeaksFor(organization string) bool {
	return k.Organizations == nil || slices.Contains(k.Organizations, organization)
}

// MayGrant reports whether one rule of the scope covers all of r, at its
// access or more.
func (k *APIKey) MayGrant(r permissions.Rule) bool {
	scope := k.Scope.Rooms
	if r.Pattern.Kind() == permissions.StoreKind {
		scope = k.Scope.Stores
	}
	return slices.ContainsFunc(scope, func(s permissions.Rule) bool {
		return s.Access >= r.Access && s.Pattern.Covers(r.Pattern)
	})
}

// MayGrantAll reports whether the key may grant all that a token opens.
func (k *APIKey) MayGrantAll(p session.Patterns) bool {
	for _, r := range slices.Concat(p.Rooms, p.Stores) {
		if !k.MayGrant(r) {
			return false
		}
	}
	return true
}
