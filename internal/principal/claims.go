package principal

import "time"

// ProviderClaims are what an identity provider's token says of a user, once it
// was verified: what a directory looks up, and usher's own also writes down.
type ProviderClaims struct {
	Issuer string // who says so
	UserID string // in usher's terms: what the provider's own id is mapped to

	// Info are members of the user's info that the provider knows.
	Info map[string]string
	// Organization is the one that the user works in now; empty where the
	// provider names none.
	Organization string
	// Selective says that the provider names the active organization and lists
	// no others: a token without one is then for none of them, since nobody
	// would ever say that a membership is over.
	Selective bool
	// Organizations and Groups are all that the provider knows the user to be
	// in, sorted; nil where it does not list them at all.
	Organizations, Groups []string
	Skipped               int // of those listed, how many are no ids, and left out
	// OrganizationsLeftOut and GroupsLeftOut are listed too, beyond the number
	// that is read: nothing is added for them, and nothing of them ended.
	OrganizationsLeftOut, GroupsLeftOut []string

	SessionID string // the provider's own name of the user's session; may be empty
	TokenID   string // jti; may be empty
	IssuedAt  time.Time
	ExpiresAt time.Time
}
