package db

import (
	"context"
	_ "embed"
	"encoding/json"

	"github.com/jackc/pgx/v5"
)

//go:embed queries/record_change.sql
var recordChangeSQL string

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
