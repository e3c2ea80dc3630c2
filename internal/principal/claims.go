package principal

import "time"

// ProviderClaims are what a verified token of an identity provider says about a user. A
// directory looks the user up by them. usher's own directory also stores them.
type ProviderClaims struct {
	Issuer string // the provider
	UserID string // the user's id in usher, mapped from the provider's id

	// Info has the fields of the user's info that the token contains.
	Info map[string]string
	// Organization is the user's active organization. It is empty if the provider names
	// none.
	Organization string
	// Selective reports that the provider names only the active organization and never
	// lists the others, so it never says that a membership has ended. A token without an
	// organization then counts for no organization.
	Selective bool
	// Organizations and Groups are the complete lists of the user's organizations and
	// groups, sorted. They are nil if the provider does not list them.
	Organizations, Groups []string
	Skipped               int // number of listed ids that are not valid and were left out
	// OrganizationsLeftOut and GroupsLeftOut are listed ids beyond the number that is
	// read. Their memberships are neither added nor ended.
	OrganizationsLeftOut, GroupsLeftOut []string

	SessionID string // the provider's id of the user's session; may be empty
	TokenID   string // jti; may be empty
	IssuedAt  time.Time
	ExpiresAt time.Time
}
