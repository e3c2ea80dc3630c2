package db

import "time"

// CheckClock is checkClock.
func (db *DB) CheckClock(at, sent, received time.Time) error {
	return db.checkClock(at, sent, received)
}
