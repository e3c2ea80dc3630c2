package db

import (
	"context"
	_ "embed"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/usher-auth/usher/session"
)

//go:embed queries/list_decisions.sql
var listDecisionsSQL string

// A Decision is an audit row: a token issued, or a denial with its reason.
type Decision struct {
	IssuedAt       time.Time         `json:"issuedAt"`
	Result         string            `json:"result"`
	Reason         *string           `json:"reason,omitempty"`
	CallerKind     string            `json:"callerKind"`
	UserID         *string           `json:"userId,omitempty"`
	OrganizationID *string           `json:"organizationId,omitempty"`
	Room           *string           `json:"room,omitempty"`
	Store          *string           `json:"store,omitempty"`
	Patterns       *session.Patterns `json:"patterns,omitempty"`
	JTI            *string           `json:"jti,omitempty" db:"jti"`
	IP             *string           `json:"ip,omitempty" db:"ip"`
	RequestID      string            `json:"requestId"`
}

// Decisions lists the newest audit rows, at most so many; of one user where
// one is named.
func (db *DB) Decisions(ctx context.Context, user string, atMost int) ([]Decision, error) {
	return list[Decision](ctx, db.pool, "list decisions", listDecisionsSQL, pgx.StrictNamedArgs{"user_id": user, "at_most": atMost})
}
