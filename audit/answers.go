package audit

import "time"

// An Opening is one principal who can open a room or a store, with one grant that allows it.
// A principal may have several.
type Opening struct {
	PrincipalKind  string `json:"principalKind"`         // "user", "everyone" or "api_key"
	PrincipalID    string `json:"principalId,omitempty"` // empty for everyone
	Access         string `json:"access"`                // "read" or "full": the access of this grant
	GrantID        int64  `json:"grantId,omitempty"`     // zero for an API key, which has a scope
	ThroughKind    string `json:"throughKind"`           // the grant's subject
	ThroughID      string `json:"throughId,omitempty"`
	Pattern        string `json:"pattern"`                  // as granted
	OrganizationID string `json:"organizationId,omitempty"` // must be active; empty: a session without one will do
}

// A Reach is one pattern that a user may open, with the grant that allows it.
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
	Access string     `json:"access"` // "none", "read" or "full", in the session that gives the most
	Why    string     `json:"why"`    // a sentence
	Grants []WhyGrant `json:"grants"`
}

// A WhyGrant is a grant whose pattern matches the id, or that concerns the user.
type WhyGrant struct {
	GrantID        int64      `json:"grantId"`
	SubjectKind    string     `json:"subjectKind"`
	SubjectID      string     `json:"subjectId,omitempty"`
	OrganizationID string     `json:"organizationId,omitempty"` // limits it to sessions in this organization
	Pattern        string     `json:"pattern"`                  // as granted
	Access         string     `json:"access"`
	HoldsFrom      *time.Time `json:"holdsFrom"`
	HoldsUntil     *time.Time `json:"holdsUntil,omitempty"`
	Matches        bool       `json:"matches"` // it matches the id, or would match it for some user
	Counts         bool       `json:"counts"`
	Why            string     `json:"why"` // a sentence
}

// A Holder is a token that could open a room or a store at some time.
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

// A RiskyGrant is a grant or an API key that should be reviewed.
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

// A Membership is a current or an ended membership.
type Membership struct {
	UserID       string     `json:"userId"`
	MemberOfKind string     `json:"memberOfKind"` // "organization" or "group"
	MemberOfID   string     `json:"memberOfId"`
	Since        time.Time  `json:"since"`
	Until        *time.Time `json:"until,omitempty"`
	AddedBy      string     `json:"addedBy"`
	EndedBy      string     `json:"endedBy,omitempty"`
}
