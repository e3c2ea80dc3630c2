package db

import (
	"context"
	_ "embed"
	"encoding/json"

	"github.com/jackc/pgx/v5"

	"github.com/usher-auth/usher/admin"
)

var (
	//go:embed queries/record_change.sql
	recordChangeSQL string
	//go:embed queries/list_changes.sql
	listChangesSQL string
)

// Changes lists what was changed, the newest first.
func (db *DB) Changes(ctx context.Context, f admin.ChangeFilter, page admin.Page[int64]) ([]admin.Change, error) {
	return list[admin.Change](ctx, db.pool, "list changes", listChangesSQL, pgx.StrictNamedArgs{
		"actor": f.Actor, "action": f.Action, "target": f.Target, "since": nullableTime(f.Since), "until": nullableTime(f.Until),
		"before": page.After, "limit": page.Limit,
	})
}

// record writes the audit row of a change, into the transaction that makes it:
// one begun by transactAs, under whose actor it stands. details is what was
// made or what went along; it must hold no secret.
func record(ctx context.Context, tx pgx.Tx, action, target string, details any) error {
	text, err := json.Marshal(details)
	if err != nil {
		return err
	}
	_, err = tx.Exec(ctx, recordChangeSQL, pgx.StrictNamedArgs{"action": action, "target": target, "details": string(text)})
	return err
}
