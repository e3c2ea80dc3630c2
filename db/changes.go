package db

import (
	"context"
	"encoding/json"
	"errors"

	"github.com/jackc/pgx/v5"

	"github.com/usher-auth/usher/audit"
	"github.com/usher-auth/usher/internal/admin"
)

// Changes lists the recorded changes, newest first.
func (db *DB) Changes(ctx context.Context, f admin.ChangeFilter, page admin.Page[int64]) ([]audit.Change, error) {
	return list[audit.Change](ctx, db.pool, "list changes", statement("list_changes"), pgx.StrictNamedArgs{
		"actor": f.Actor, "action": f.Action, "target": f.Target, "since": nullableTime(f.Since), "until": nullableTime(f.Until),
		"before": page.After, "limit": page.Limit,
	})
}

// An actingTx is a transaction that knows the actor of its changes. transactAs
// usually begins it.
type actingTx struct {
	pgx.Tx
	actor admin.Actor
}

// record writes the audit row of a change in the transaction that makes it, which
// must be an actingTx. details is the new object, or what was deleted with the
// target. It must not contain a secret.
func record(ctx context.Context, tx pgx.Tx, action, target string, details any) error {
	changes := new(pgx.Batch)
	if err := queueRecord(changes, tx, action, target, details); err != nil {
		return err
	}
	return tx.SendBatch(ctx, changes).Close()
}

// queueRecord is record for one of many changes that are sent together.
func queueRecord(changes *pgx.Batch, tx pgx.Tx, action, target string, details any) error {
	acting, ok := tx.(actingTx)
	if !ok {
		return errors.New("db: a change is recorded outside of transactAs")
	}
	encoded, err := json.Marshal(details)
	if err != nil {
		return err
	}
	change := audit.Change{Actor: string(acting.actor), Action: action, Target: target, Details: encoded}
	digest := change.Digest()
	changes.Queue(statement("record_change"), pgx.StrictNamedArgs{
		"actor": acting.actor, "action": action, "target": target, "details": string(encoded), "digest": digest[:],
	})
	return nil
}

// RecordKeyFailure records that the keys of an identity provider could not be
// fetched. It is a change to who can call, without a person behind it.
func (db *DB) RecordKeyFailure(ctx context.Context, issuer, cause string) error {
	return db.transactAs(ctx, "usher", "record key failure", func(ctx context.Context, tx pgx.Tx) error {
		return record(ctx, tx, "issuer.keys_failed", issuer, map[string]string{"cause": cause})
	})
}
