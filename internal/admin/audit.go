package admin

import (
	"encoding/json"
	"time"

	"github.com/usher-auth/usher/session"
)

// Results of a [Decision].
const (
	ResultIssued = "issued"
	ResultDenied = "denied"
)

// A Decision is an audit row: a token issued, or a denial with its reason.
type Decision struct {
	ID             int64             `json:"-"` // its place among those of one instant
	IssuedAt       time.Time         `json:"issuedAt"`
	RecordedAt     time.Time         `json:"recordedAt"`
	Result         string            `json:"result"`
	Reason         *string           `json:"reason,omitempty"`
	CallerKind     string            `json:"callerKind"`
	CallerID       *string           `json:"callerId,omitempty"`
	UserID         *string           `json:"userId,omitempty"`
	OrganizationID *string           `json:"organizationId,omitempty"`
	Audience       *string           `json:"audience,omitempty"`
	Room           *string           `json:"room,omitempty"`
	Store          *string           `json:"store,omitempty"`
	Patterns       *session.Patterns `json:"patterns,omitempty"`
	Partial        bool              `json:"partial,omitempty"`
	SkippedGrants  []int64           `json:"skippedGrants,omitempty"`
	JTI            *string           `json:"jti,omitempty" db:"jti"`
	KID            *string           `json:"kid,omitempty" db:"kid"`
	ExpiresAt      *time.Time        `json:"expiresAt,omitempty"`
	IP             *string           `json:"ip,omitempty" db:"ip"` // of a flood's row a network: 2001:db8::/56
	UserAgent      *string           `json:"userAgent,omitempty"`
	Origin         *string           `json:"origin,omitempty"`
	RequestID      string            `json:"requestId"`
	Replica        string            `json:"replica"`
	Count          *int64            `json:"count,omitempty"` // of a flood's row: how many refusals it stands for
}

// A DecisionFilter narrows a list of decisions. Zero fields let through all.
type DecisionFilter struct {
	Result   string // issued or denied
	Reason   string // of a denial
	User     string
	Room     string // that was asked for
	Store    string // that was asked for
	CallerID string // of a key, or of a session its sid
	Since    time.Time
	Until    time.Time // exclusive
}

// A DecisionPlace is where a decision stands among the newest.
type DecisionPlace struct {
	IssuedAt time.Time
	ID       int64
}

// A Change is the audit row of what an operator, an administrator or usher
// itself changed.
type Change struct {
	ID        int64           `json:"id"`
	ChangedAt time.Time       `json:"changedAt"`
	Actor     string          `json:"actor"`
	Action    string          `json:"action"` // for example "grant.add"
	Target    string          `json:"target"` // the id of what was changed
	Details   json.RawMessage `json:"details,omitempty"`
}

// A ChangeFilter narrows a list of changes. Zero fields let through all.
type ChangeFilter struct {
	Actor  string
	Action string
	Target string
	Since  time.Time
	Until  time.Time // exclusive
}

// An Opening is one principal who can open a room or a store, and one grant
// that lets him. A principal may have several.
type Opening struct {
	PrincipalKind  string `json:"principalKind"`         // "user", "everyone" or "api_key"
	PrincipalID    string `json:"principalId,omitempty"` // empty for everyone
	Access         string `json:"access"`                // "read" or "full": what this grant gives
	GrantID        int64  `json:"grantId,omitempty"`     // zero for an API key, which has a scope
	ThroughKind    string `json:"throughKind"`           // whom the grant is for
	ThroughID      string `json:"throughId,omitempty"`
	Pattern        string `json:"pattern"`                  // as granted
	OrganizationID string `json:"organizationId,omitempty"` // must be active; empty: a session without one will do
}

// A Reach is one pattern that a user may open, and the grant that lets him.
type Reach struct {
	ResourceKind   string `json:"resourceKind"` // "room" or "store"
	Pattern        string `json:"pattern"`      // placeholders filled in
	Access         string `json:"access"`       // "read" or "full"
	GrantID        int64  `json:"grantId"`
	Granted        string `json:"granted"`     // the pattern as granted
	ThroughKind    string `json:"throughKind"` // whom the grant is for
	ThroughID      string `json:"throughId,omitempty"`
	OrganizationID string `json:"organizationId,omitempty"` // must be active; empty: a session without one will do
}

// An Explanation says why a user can open a room or a store, or why not.
type Explanation struct {
	Access string           `json:"access"` // "none", "read" or "full", in the session that gives most
	Why    string           `json:"why"`    // a sentence
	Grants []ExplainedGrant `json:"grants"`
}

// An ExplainedGrant is one that names the id, or is for the user in some way.
type ExplainedGrant struct {
	GrantID        int64      `json:"grantId"`
	SubjectKind    string     `json:"subjectKind"`
	SubjectID      string     `json:"subjectId,omitempty"`
	OrganizationID string     `json:"organizationId,omitempty"` // confines it to sessions of that one
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
	Access         string    `json:"access"` // what it gave to the id
	JTI            string    `json:"jti"`
	IssuedAt       time.Time `json:"issuedAt"`
	ExpiresAt      time.Time `json:"expiresAt"`
	OrganizationID string    `json:"organizationId,omitempty"`
	Audience       string    `json:"audience"`
	CallerKind     string    `json:"callerKind"`
	CallerID       string    `json:"callerId,omitempty"`
}

// A HolderPlace is where a holder stands among those of an id.
type HolderPlace struct {
	UserID   string
	IssuedAt time.Time
	JTI      string
}
