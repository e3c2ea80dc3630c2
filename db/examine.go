package db

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"
)

// MissingPartitions returns the months, written 2026-11, of this one and the
// next three, for which the audit has no partition.
func (db *DB) MissingPartitions(ctx context.Context) ([]string, error) {
	rows, err := db.pool.Query(ctx, statement("missing_partitions"))
	if err != nil {
		return nil, failed("missing partitions", err)
	}
	months, err := pgx.CollectRows(rows, pgx.RowTo[string])
	return months, failed("missing partitions", err)
}

// ProbeAudit writes an audit row and takes it back. An error says why no
// decision could be recorded now.
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

var errTakeBack = errors.New("db: taken back")
