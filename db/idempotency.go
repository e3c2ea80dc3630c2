package db

import (
	"bytes"
	"context"
	"errors"

	"github.com/jackc/pgx/v5"

	"github.com/usher-auth/usher/internal/admin"
)

// txKey is the context key of the transaction of [DB.Once].
type txKey struct{ *DB }

// Once makes a change and stores its response in the same transaction. The same
// request later gets the stored response and changes nothing; a concurrent one
// waits. A different request with the same key is [admin.ErrKeyReused].
//
// Changing methods of db that change calls with its context are part of the
// transaction. If change returns an error, Once rolls back, stores nothing, and
// returns that error unchanged.
func (db *DB) Once(ctx context.Context, r admin.Request, change func(context.Context) ([]byte, error)) (answer []byte, again bool, err error) {
	var refused error
	err = db.transact(ctx, "change once", func(ctx context.Context, tx pgx.Tx) error {
		key := pgx.StrictNamedArgs{"admin_key_id": r.AdminKeyID, "key": r.IdempotencyKey}
		if _, err := tx.Exec(ctx, statement("lock_idempotency_key"), key); err != nil {
			return err
		}
		type keptAnswer struct{ RequestHash, Answer []byte }
		kept, err := queryRow[keptAnswer](ctx, tx, statement("kept_answer"), key)
		switch {
		case err == nil && !bytes.Equal(kept.RequestHash, r.Hash[:]):
			return refuse(admin.ErrKeyReused, "this idempotency key was already used for another request: use a new key for each change")
		case err == nil:
			answer, again = kept.Answer, true
			return nil
		case !errors.Is(err, pgx.ErrNoRows):
			return err
		}
		if answer, refused = change(context.WithValue(ctx, txKey{db}, tx)); refused != nil {
			return refused
		}
		_, err = tx.Exec(ctx, statement("keep_answer"), pgx.StrictNamedArgs{
			"admin_key_id": r.AdminKeyID, "key": r.IdempotencyKey, "request_hash": r.Hash[:], "answer": string(answer),
		})
		return err
	})
	if refused != nil {
		return nil, false, refused
	}
	return answer, again, err
}

// ForgetAnswers deletes responses that [DB.Once] stored more than a day ago.
func (db *DB) ForgetAnswers(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, adminTimeout)
	defer cancel()
	_, err := db.pool.Exec(ctx, statement("forget_answers"))
	return failed("forget answers", err)
}
