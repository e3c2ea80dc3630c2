package db

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
)

// MaxClockDifference is how far this machine's clock and the database's may differ.
// Tokens take their times from the database, and verifiers compare them with their
// own clocks. Beyond it, usher issues nothing: verifiers would refuse the tokens,
// or the database would decide by a wrong time who may have one.
const MaxClockDifference = 5 * time.Second

// clockAhead returns how far the database's clock is ahead at least, if it was read
// between two times of this machine. It is negative for one that is behind.
func clockAhead(at, sent, received time.Time) time.Duration {
	switch {
	case at.After(received):
		return at.Sub(received)
	case at.Before(sent):
		return at.Sub(sent)
	}
	return 0
}

// checkClock returns an error if the difference is too large, and keeps it for
// [DB.ClockAhead].
func (db *DB) checkClock(at, sent, received time.Time) error {
	ahead := clockAhead(at, sent, received)
	db.clockAhead.Store(int64(ahead))
	switch {
	case ahead > MaxClockDifference:
		return fmt.Errorf("the database's clock is %s ahead of this machine's: synchronize both with NTP", ahead.Round(time.Millisecond))
	case ahead < -MaxClockDifference:
		return fmt.Errorf("the database's clock is %s behind this machine's: synchronize both with NTP", -ahead.Round(time.Millisecond))
	}
	return nil
}

// ClockAhead returns how far the database's clock was ahead of this machine's when
// it was last read, less what the network may explain.
func (db *DB) ClockAhead() time.Duration { return time.Duration(db.clockAhead.Load()) }

// Ready reports why no decision can be recorded now, or nil: the server takes no
// writes, a privilege or a partition is missing, the table is locked, the disk is
// full, or no synchronous standby acknowledges commits. It leaves no row.
func (db *DB) Ready(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 2*queryTimeout)
	defer cancel()
	sent := db.now()
	var at time.Time
	var fsync bool
	err := db.begin(ctx, func(tx pgx.Tx) error {
		if err := tx.QueryRow(ctx, statement("ready")).Scan(&at, &fsync); err != nil {
			return err
		}
		if !fsync {
			return fmt.Errorf("fsync is off, so a crash may lose acknowledged commits: turn it on")
		}
		if err := db.checkClock(at, sent, db.now()); err != nil {
			return err
		}
		probe, err := tx.Begin(ctx)
		if err != nil {
			return err
		}
		if _, err := probe.Exec(ctx, statement("probe_audit")); err != nil {
			return err
		}
		return probe.Rollback(ctx)
	})
	if err != nil {
		return unavailable("ready", err)
	}
	return nil
}
