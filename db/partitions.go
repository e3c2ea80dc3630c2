package db

import (
	"context"
	_ "embed"
)

//go:embed queries/make_partitions.sql
var makePartitionsSQL string

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
	if err := db.pool.QueryRow(ctx, makePartitionsSQL).Scan(&p.Made, &p.InDefault); err != nil {
		return Partitions{}, unavailable("make partitions", err)
	}
	return p, nil
}

// A Pruning is what usher audit prune dropped of one month, as its record
// says it.
type Pruning struct {
	Month   string `json:"month"` // 2026-01
	Rows    int64  `json:"rows"`
	FirstID int64  `json:"firstId"`
	LastID  int64  `json:"lastId"`
	// Staying are the decisions with ids between those, in other months.
	Staying []int64 `json:"staying,omitempty"`
}

// Actions of the changes by which parts of the audit go.
const (
	forgetAction = "audit.forget"
	pruneAction  = "audit.prune"
)
