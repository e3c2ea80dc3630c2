package db

import (
	"context"
)

// Partitions is the result of [DB.MakePartitions].
type Partitions struct {
	Made int
	// InDefault is the number of rows, up to 10,001, that were written while their
	// month had no partition. Up to 10,000 were moved.
	InDefault int64
}

// MakePartitions creates the missing audit partitions of this month and the next
// three.
func (db *DB) MakePartitions(ctx context.Context) (p Partitions, err error) {
	ctx, cancel := context.WithTimeout(ctx, 10*queryTimeout)
	defer cancel()
	if err := db.pool.QueryRow(ctx, statement("make_partitions")).Scan(&p.Made, &p.InDefault); err != nil {
		return Partitions{}, unavailable("make partitions", err)
	}
	return p, nil
}
