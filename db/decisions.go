package db

import (
	"context"

	"github.com/jackc/pgx/v5"

	"github.com/usher-auth/usher/audit"
	"github.com/usher-auth/usher/internal/admin"
)

// Decisions lists audit rows, newest first.
func (db *DB) Decisions(ctx context.Context, f admin.DecisionFilter, page admin.Page[admin.DecisionPlace]) ([]audit.Record, error) {
	return ask[audit.Record](ctx, db, "list decisions", statement("list_decisions"), pgx.StrictNamedArgs{
		"result": f.Result, "reason": f.Reason, "user_id": f.User, "room": f.Room, "store": f.Store, "caller_id": f.CallerID,
		"since": nullableTime(f.Since), "until": nullableTime(f.Until),
		"before": nullableTime(page.After.IssuedAt), "before_id": page.After.ID, "limit": page.Limit,
	})
}
