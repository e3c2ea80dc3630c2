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
	IP             *string           `json:"ip,omitempty" db:"ip"`
	UserAgent      *string           `json:"userAgent,omitempty"`
	Origin         *string           `json:"origin,omitempty"`
	RequestID      string            `json:"requestId"`
	Replica        string            `json:"replica"`
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
