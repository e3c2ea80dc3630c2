package db

import (
	"time"

	"github.com/usher-auth/usher/audit"
)

// CountAt is count.
func (f *FloodLog) CountAt(d *audit.Decision, now time.Time) (bool, error) { return f.count(d, now) }
