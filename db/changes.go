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
	return ask[audit.Change](ctx, db, "list changes", statement("list_changes"), pgx.StrictNamedArgs{
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

// A change is what record writes. Details is the new object, or what was deleted with
// the target. It must not contain a secret.
type change struct {
	action, target string
	details        any
}

// record writes the audit row of a change in the transaction that makes it, which
// must be an actingTx.
func record(ctx context.Context, tx pgx.Tx, action, target string, details any) error {
	return recordAll(ctx, tx, []change{{action, target, details}})
}

// recordAll is record for several changes, in one statement.
func recordAll(ctx context.Context, tx pgx.Tx, changes []change) error {
	acting, ok := tx.(actingTx)
	if !ok {
		return errors.New("db: a change is recorded outside of transactAs")
	}
	var actions, targets, details []string
	var digests [][]byte
	for _, c := range changes {
		encoded, err := json.Marshal(c.details)
		if err != nil {
			return err
		}
		row := audit.Change{Actor: string(acting.actor), Action: c.action, Target: c.target, Details: encoded}
		digest := row.Digest()
		actions, targets = append(actions, c.action), append(targets, c.target)
		details, digests = append(details, string(encoded)), append(digests, digest[:])
	}
	_, err := tx.Exec(ctx, statement("record_changes"), pgx.StrictNamedArgs{
		"actor": acting.actor, "actions": actions, "targets": targets, "details": details, "digests": digests,
	})
	return err
}

// RecordKeyFailure records that the keys of an identity provider could not be
// fetched. It is a change to who can call, without a person behind it.
func (db *DB) RecordKeyFailure(ctx context.Context, issuer, cause string) error {
	return db.transactAs(ctx, "usher", "record key failure", func(ctx context.Context, tx pgx.Tx) error {
		return record(ctx, tx, "issuer.keys_failed", issuer, map[string]string{"cause": cause})
	})
}
