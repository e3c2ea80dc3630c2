package db

import (
	"context"
	"errors"
	"slices"

	"github.com/jackc/pgx/v5"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/usher-auth/usher/audit"
	"github.com/usher-auth/usher/internal/admin"
)

// ProveToken proves that the token with that jti was issued, and when. It returns
// [admin.ErrNotFound] if the audit has no such row, and [admin.ErrInUse] if the row
// is not sealed yet. A row that was tampered with has no proof.
func (db *DB) ProveToken(ctx context.Context, jti string) (p *audit.InclusionProof, err error) {
	ctx, cancel := context.WithTimeout(ctx, adminTimeout)
	defer cancel()
	err = db.read(ctx, func(q querier) error {
		p, err = db.proveToken(ctx, q, jti)
		return err
	})
	return p, failed("prove token", err)
}

func (db *DB) proveToken(ctx context.Context, q querier, jti string) (*audit.InclusionProof, error) {
	row, err := queryRow[decisionRow](ctx, q, statement("token_leaf"), pgx.StrictNamedArgs{"jti": jti})
	if errors.Is(err, pgx.ErrNoRows) {
		return nil, refuse(admin.ErrNotFound, "the audit has no token %q: check the jti, and whether its month was pruned", jti)
	}
	if err != nil {
		return nil, err
	}
	record, err := row.record()
	if err != nil {
		return nil, refuse(admin.ErrInvalid, "decision %d was changed, it holds %s: run usher audit verify", row.ID, err)
	}
	p := &audit.InclusionProof{ID: row.ID, Decision: record, PersonalDigest: row.PersonalDigest}
	var first int64
	var ids []int64
	err = q.QueryRow(ctx, statement("seal_of_decision"), pgx.StrictNamedArgs{"id": row.ID}).Scan(&first, &ids)
	position := slices.Index(ids, row.ID)
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		return nil, refuse(admin.ErrInUse, "the row of token %q is not sealed yet: try again in a second, with usher serve running", jti)
	case err != nil:
		return nil, err
	case position < 0:
		return nil, refuse(admin.ErrInvalid, "decision %d was inserted after the rows around it were sealed: run usher audit verify", row.ID)
	}
	p.Leaf = first + int64(position)
	var size int64
	if err := q.QueryRow(ctx, statement("last_checkpoint")).Scan(&size, &p.Checkpoint); err != nil {
		return nil, err
	}
	path, err := tlog.ProveRecord(size, p.Leaf, storedHashes(ctx, q))
	if err != nil {
		return nil, err
	}
	for _, hash := range path {
		p.Proof = append(p.Proof, hash[:])
	}
	keys, err := db.verifiers(ctx, q)
	if err != nil {
		return nil, err
	}
	if _, err := p.Check(keys); err != nil {
		return nil, refuse(admin.ErrInvalid, "decision %d, or the tree, was changed: run usher audit verify to find where", row.ID)
	}
	return p, nil
}
