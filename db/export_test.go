package db

import "time"

// CheckClock is checkClock.
func (db *DB) CheckClock(at, sent, received time.Time) error {
	return db.checkClock(at, sent, received)
}

// SetClock replaces this machine's clock. Call it before other goroutines use db.
func (db *DB) SetClock(now func() time.Time) { db.now = now }
