package db

import (
	"context"
)

// Partitions says what [DB.MakePartitions] found and did.
type Partitions struct {
	Made int
	// InDefault is the number of rows, up to 10,001, that came while no
	// partition was there for their month. Up to 10,000 were moved.
	InDefault int64
}

// MakePartitions makes the audit's partitions of this month and the next
// three, where they are missing.
func (db *DB) MakePartitions(ctx context.Context) (p Partitions, err error) {
	ctx, cancel := context.WithTimeout(ctx, 10*queryTimeout)
	defer cancel()
	if err := db.pool.QueryRow(ctx, statement("make_partitions")).Scan(&p.Made, &p.InDefault); err != nil {
		return Partitions{}, unavailable("make partitions", err)
	}
	return p, nil
}
