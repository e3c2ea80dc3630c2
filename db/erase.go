package db

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/usher-auth/usher/internal/admin"
)

// Actions of the changes that record erasures from the audit.
const (
	forgetAction = "audit.forget"
	pruneAction  = "audit.prune"
)

const (
	// forgottenAtOnce bounds the rows of one transaction, for which the sealer
	// waits.
	forgottenAtOnce = 5_000
	// dropTries is the number of attempts, a second apart, with a lock_timeout of
	// 200 ms.
	dropTries = 15
	// pruneTimeout limits the pruning of one month, which counts its rows.
	pruneTimeout = 10 * time.Minute
)

// Forget erases ip, user agent and origin from a user's audit rows, and returns the
// number of rows. Salted digests stay, so that the audit's tree remains valid. A
// backup made before still contains the erased data.
func (db *DB) Forget(ctx context.Context, user string, actor admin.Actor) (rows int64, err error) {
	for {
		var erased int64
		err := db.transactAs(ctx, actor, "forget", func(ctx context.Context, tx pgx.Tx) error {
			args := pgx.StrictNamedArgs{"user_id": user, "at_most": forgottenAtOnce}
			if err := tx.QueryRow(ctx, statement("forget_decisions"), args).Scan(&erased); err != nil || erased == 0 {
				return err
			}
			return record(ctx, tx, forgetAction, user, map[string]int64{"rows": erased})
		})
		if err != nil || erased == 0 {
			return rows, err
		}
		rows += erased
	}
}

// A Pruning is the audit's record of what usher audit prune dropped of one month.
type Pruning struct {
	Month   string `json:"month"` // 2026-01
	Rows    int64  `json:"rows"`
	FirstID int64  `json:"firstId"`
	LastID  int64  `json:"lastId"`
	// Staying are the decisions of other months with ids between those.
	Staying []int64 `json:"staying,omitempty"`
}

// Prune drops the decisions of all months that ended before a time, with one record
// per month. The tree keeps their leaves. If a month has unsealed rows, or a long
// query reads it, the error is [admin.ErrInUse]. The role must own the tables.
func (db *DB) Prune(ctx context.Context, before time.Time, actor admin.Actor) (pruned []Pruning, err error) {
	rows, err := db.pool.Query(ctx, statement("months_before"), pgx.StrictNamedArgs{"before": before})
	if err != nil {
		return nil, failed("prune", err)
	}
	months, err := pgx.CollectRows(rows, pgx.RowTo[time.Time])
	if err != nil {
		return nil, failed("prune", err)
	}
	for _, month := range months {
		p, err := db.pruneMonth(ctx, month, actor)
		if err != nil {
			return pruned, err
		}
		pruned = append(pruned, p)
	}
	return pruned, nil
}

func (db *DB) pruneMonth(ctx context.Context, month time.Time, actor admin.Actor) (Pruning, error) {
	ctx, cancel := context.WithTimeout(ctx, pruneTimeout)
	defer cancel()
	p := Pruning{Month: month.Format("2006-01")}
	err := db.begin(ctx, func(tx pgx.Tx) error {
		args := pgx.StrictNamedArgs{"month": month, "tries": dropTries}
		var first, last *int64 // null: the month had no rows
		if err := tx.QueryRow(ctx, statement("drop_decisions"), args).Scan(&p.Rows, &first, &last, &p.Staying); err != nil {
			return err
		}
		if p.Rows > 0 {
			p.FirstID, p.LastID = *first, *last
		}
		return record(ctx, actingTx{tx, actor}, pruneAction, p.Month, p)
	})
	switch {
	case hasCode(err, lockNotAvailable):
		return p, refuse(admin.ErrInUse, "a long query reads the decisions of %s: try again when it has ended", p.Month)
	case hasCode(err, notInPrerequisite):
		return p, refuse(admin.ErrInUse, "some decisions of %s are not sealed: start usher serve, which seals them, and try again", p.Month)
	}
	return p, failed("prune", err)
}
