package db

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/jackc/pgx/v5"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/usher-auth/usher/internal/admin"
)

// An InclusionProof shows to whoever has the audit's public key, and nothing
// else, that a token's row is in the tree of a signed checkpoint. It holds the
// row but for its personal data, of which there is a salted digest.
type InclusionProof struct {
	ID         int64         `json:"id"`
	RecordedAt int64         `json:"recordedAt"` // microseconds since 1970 UTC, as all its times
	Decision   decisionFacts `json:"decision"`
	Leaf       int64         `json:"leaf"` // its index, from 0
	// Proof is the audit path of RFC 6962, section 2.1.1.
	Proof      [][]byte `json:"proof"`
	Checkpoint string   `json:"checkpoint"`
}

// ProveToken proves that the token of that jti was issued and when. It is
// [admin.ErrNotFound] where the audit has no such row, and [admin.ErrInUse] where it is not
// sealed yet. A row that was changed has no proof.
func (db *DB) ProveToken(ctx context.Context, jti string) (*InclusionProof, error) {
	ctx, cancel := context.WithTimeout(ctx, adminTimeout)
	defer cancel()
	row, err := queryRow[decisionLeaf](ctx, db.pool, statement("token_leaf"), pgx.StrictNamedArgs{"jti": jti})
	if errors.Is(err, pgx.ErrNoRows) {
		return nil, refuse(admin.ErrNotFound, "the audit has no token %q: check the jti; or its month was pruned", jti)
	}
	if err != nil {
		return nil, failed("prove token", err)
	}
	facts, err := row.facts()
	if err != nil {
		return nil, refuse(admin.ErrInvalid, "decision %d was changed, it holds %s: usher audit verify finds more", row.ID, err)
	}
	p := &InclusionProof{ID: row.ID, RecordedAt: micros(row.RecordedAt), Decision: facts}
	var first int64
	var ids []int64
	err = db.pool.QueryRow(ctx, statement("seal_of_decision"), pgx.StrictNamedArgs{"id": row.ID}).Scan(&first, &ids)
	position := slices.Index(ids, row.ID)
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		return nil, refuse(admin.ErrInUse, "the row of token %q is not sealed yet: try again in a second; where usher serve does not run, start it", jti)
	case err != nil:
		return nil, failed("prove token", err)
	case position < 0:
		return nil, refuse(admin.ErrInvalid, "decision %d was inserted after its time: usher audit verify finds more", row.ID)
	}
	p.Leaf = first + int64(position)
	var size int64
	if err := db.pool.QueryRow(ctx, statement("last_checkpoint")).Scan(&size, &p.Checkpoint); err != nil {
		return nil, failed("prove token", err)
	}
	path, err := tlog.ProveRecord(size, p.Leaf, storedHashes(ctx, db.pool))
	if err != nil {
		return nil, failed("prove token", err)
	}
	for _, hash := range path {
		p.Proof = append(p.Proof, hash[:])
	}
	keys, err := db.CheckpointKeys(ctx)
	if err != nil {
		return nil, err
	}
	if _, err := p.Check(publicKeys(keys)...); err != nil {
		return nil, refuse(admin.ErrInvalid, "decision %d, or the tree, was changed: usher audit verify finds where", row.ID)
	}
	return p, nil
}

// ParseInclusionProof reads the JSON of an [InclusionProof].
func ParseInclusionProof(text []byte) (*InclusionProof, error) {
	p := new(InclusionProof)
	if err := json.Unmarshal(text, p); err != nil {
		return nil, refuse(admin.ErrInvalid, "this is no proof that usher audit prove wrote: %s", err)
	}
	return p, nil
}

// Check returns the number of leaves under the checkpoint that covers the row,
// or why the proof does not hold under any of the public keys. It asks nobody.
func (p *InclusionProof) Check(publicKeys ...string) (treeSize int64, err error) {
	verifiers, err := parseVerifiers(publicKeys)
	if err != nil {
		return 0, err
	}
	c, err := openCheckpoint(p.Checkpoint, verifiers)
	if err != nil {
		return 0, refuse(admin.ErrInvalid, "the proof's checkpoint: %s", err)
	}
	path := make(tlog.RecordProof, len(p.Proof))
	for i, hash := range p.Proof {
		if len(hash) != tlog.HashSize {
			return 0, refuse(admin.ErrInvalid, "hash %d of the proof has %d bytes, not %d", i, len(hash), tlog.HashSize)
		}
		path[i] = tlog.Hash(hash)
	}
	digest := p.Decision.digest(nil)
	if err := tlog.CheckRecord(path, c.size, c.root, p.Leaf, leafHash(decisionKind, p.ID, p.RecordedAt, digest[:])); err != nil {
		return 0, refuse(admin.ErrInvalid, "the proof does not show that this row is in the audit: the row, its place or the proof was changed")
	}
	return c.size, nil
}

// String is what the proof shows, in a sentence.
func (p *InclusionProof) String() string {
	d := &p.Decision
	return fmt.Sprintf("token %s for user %q: issued at %s, expires at %s, by signing key %s",
		deref(d.JTI), deref(d.UserID), timeOf(d.IssuedAt), timeOf(deref(d.ExpiresAt)), deref(d.KID))
}
