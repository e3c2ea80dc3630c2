package db

import (
	"bytes"
	"context"
	"errors"

	"github.com/jackc/pgx/v5"

	"github.com/usher-auth/usher/internal/admin"
)

// txKey is what a transaction stands under in the context of what it runs.
type txKey struct{ *DB }

// Once makes a change and keeps its answer in the same transaction. The same
// request gets that answer again, and changes nothing; of two at the same time
// the second waits. Another request under the key is [admin.ErrKeyReused].
//
// What change does by the context that it is given, with one of db's changing
// methods, is part of the transaction. Its error undoes all and comes back as
// it is: nothing is kept then.
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
			return refuse(admin.ErrKeyReused, "this idempotency key came with another request before: take a new one for each change")
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

// ForgetAnswers deletes what [DB.Once] has kept for a day.
func (db *DB) ForgetAnswers(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, adminTimeout)
	defer cancel()
	_, err := db.pool.Exec(ctx, statement("forget_answers"))
	return failed("forget answers", err)
}
