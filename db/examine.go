package db

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
)

// MissingPartitions returns those of this month and the next three, written as
// 2026-11, for which the audit has no partition.
func (db *DB) MissingPartitions(ctx context.Context) ([]string, error) {
	rows, err := db.pool.Query(ctx, statement("missing_partitions"))
	if err != nil {
		return nil, failed("missing partitions", err)
	}
	months, err := pgx.CollectRows(rows, pgx.RowTo[string])
	return months, failed("missing partitions", err)
}

// ProbeAudit writes an audit row and rolls it back. An error says why no decision
// can be recorded now.
func (db *DB) ProbeAudit(ctx context.Context) error {
	err := pgx.BeginFunc(ctx, db.pool, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, statement("probe_audit")); err != nil {
			return err
		}
		return errTakeBack
	})
	if errors.Is(err, errTakeBack) {
		return nil
	}
	return fmt.Errorf("db: probe audit: %w", err)
}

var errTakeBack = errors.New("db: rolled back")

// Unsealed returns the age of the oldest unsealed audit row, or 0 if every row is
// sealed.
func (db *DB) Unsealed(ctx context.Context) (time.Duration, error) {
	var rows int64
	var oldest *time.Time
	if err := db.pool.QueryRow(ctx, statement("unsealed")).Scan(&rows, &oldest, nil, nil); err != nil {
		return 0, failed("unsealed", err)
	}
	if oldest == nil {
		return 0, nil
	}
	return time.Since(*oldest), nil
}

// Health describes the maintenance of the database.
type Health struct {
	NeverAnalyzed  []string // large tables whose statistics are missing
	NoAutovacuum   bool
	LogsParameters bool // the server's log holds the parameters of statements
	DatabaseSize   string
	LargestMonth   string // size of the audit's largest partition
}

// Health checks the maintenance of the database.
func (db *DB) Health(ctx context.Context) (Health, error) {
	h, err := queryRow[Health](ctx, db.pool, statement("health"), nil)
	return h, failed("health", err)
}
