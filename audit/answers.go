package audit

import "time"

// An Opening is one principal who can open a room or a store, and one grant
// that lets them. A principal may have several.
type Opening struct {
	PrincipalKind  string `json:"principalKind"`         // "user", "everyone" or "api_key"
	PrincipalID    string `json:"principalId,omitempty"` // empty for everyone
	Access         string `json:"access"`                // "read" or "full": what this grant gives
	GrantID        int64  `json:"grantId,omitempty"`     // zero for an API key, which has a scope
	ThroughKind    string `json:"throughKind"`           // the grant's subject
	ThroughID      string `json:"throughId,omitempty"`
	Pattern        string `json:"pattern"`                  // as granted
	OrganizationID string `json:"organizationId,omitempty"` // must be active; empty: a session without one will do
}

// A Reach is one pattern that a user may open, and the grant that lets them.
type Reach struct {
	ResourceKind   string `json:"resourceKind"` // "room" or "store"
	Pattern        string `json:"pattern"`      // placeholders filled in
	Access         string `json:"access"`       // "read" or "full"
	GrantID        int64  `json:"grantId"`
	Granted        string `json:"granted"`     // the pattern as granted
	ThroughKind    string `json:"throughKind"` // the grant's subject
	ThroughID      string `json:"throughId,omitempty"`
	OrganizationID string `json:"organizationId,omitempty"` // must be active; empty: a session without one will do
}

// A Why says why a user can open a room or a store, or why not.
type Why struct {
	Access string     `json:"access"` // "none", "read" or "full", in the session that gives most
	Why    string     `json:"why"`    // a sentence
	Grants []WhyGrant `json:"grants"`
}

// A WhyGrant is a grant that names the id, or is for the user in some way.
type WhyGrant struct {
	GrantID        int64      `json:"grantId"`
	SubjectKind    string     `json:"subjectKind"`
	SubjectID      string     `json:"subjectId,omitempty"`
	OrganizationID string     `json:"organizationId,omitempty"` // confines it to sessions of that organization
	Pattern        string     `json:"pattern"`                  // as granted
	Access         string     `json:"access"`
	HoldsFrom      *time.Time `json:"holdsFrom"`
	HoldsUntil     *time.Time `json:"holdsUntil,omitempty"`
	Matches        bool       `json:"matches"` // names the id, or would if filled in for somebody
	Counts         bool       `json:"counts"`
	Why            string     `json:"why"` // a sentence
}

// A Holder is a token that opened a room or a store at some time.
type Holder struct {
	UserID         string    `json:"userId"`
	Access         string    `json:"access"` // to the id
	JTI            string    `json:"jti"`
	IssuedAt       time.Time `json:"issuedAt"`
	ExpiresAt      time.Time `json:"expiresAt"`
	OrganizationID string    `json:"organizationId,omitempty"`
	Audience       string    `json:"audience"`
	CallerKind     string    `json:"callerKind"`
	CallerID       string    `json:"callerId,omitempty"`
}

// A RiskyGrant is a grant, or an API key, that somebody should look at.
type RiskyGrant struct {
	Reason         string    `json:"reason"`             // a code: see audit.risky_grants
	GrantID        int64     `json:"grantId,omitempty"`  // zero for an API key
	APIKeyID       string    `json:"apiKeyId,omitempty"` // empty for a grant; the next fields are empty for an API key
	SubjectKind    string    `json:"subjectKind,omitempty"`
	SubjectID      string    `json:"subjectId,omitempty"`
	OrganizationID string    `json:"organizationId,omitempty"`
	ResourceKind   string    `json:"resourceKind,omitempty"`
	Pattern        string    `json:"pattern,omitempty"`
	Access         string    `json:"access,omitempty"`
	CreatedAt      time.Time `json:"createdAt"`
	CreatedBy      string    `json:"createdBy"`
}

// A Membership is one that goes on or has ended.
type Membership struct {
	UserID       string     `json:"userId"`
	MemberOfKind string     `json:"memberOfKind"` // "organization" or "group"
	MemberOfID   string     `json:"memberOfId"`
	Since        time.Time  `json:"since"`
	Until        *time.Time `json:"until,omitempty"`
	AddedBy      string     `json:"addedBy"`
	EndedBy      string     `json:"endedBy,omitempty"`
}
