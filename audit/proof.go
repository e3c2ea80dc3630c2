package audit

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

// An InclusionProof proves that a token's row is in the tree of a signed checkpoint. Checking
// it needs only the audit's public key. It has the row without the personal data, and their
// salted digest.
type InclusionProof struct {
	ID             int64  `json:"id"`
	Decision       Record `json:"decision"`
	PersonalDigest []byte `json:"personalDigest"`
	Leaf           int64  `json:"leaf"` // index of the leaf, starting at 0
	// Proof is the audit path of RFC 6962, section 2.1.1.
	Proof      [][]byte `json:"proof"`
	Checkpoint string   `json:"checkpoint"`
}

// ParseInclusionProof reads the JSON of an [InclusionProof], in the form that usher audit prove
// prints.
func ParseInclusionProof(text []byte) (*InclusionProof, error) {
	p := new(InclusionProof)
	in := json.NewDecoder(bytes.NewReader(text))
	in.DisallowUnknownFields() // because the proof would not cover them
	err := in.Decode(p)
	if err == nil && len(bytes.TrimSpace(text[in.InputOffset():])) > 0 {
		err = errors.New("it goes on after its end")
	}
	if err != nil {
		return nil, fmt.Errorf("not a proof that usher audit prove printed: %w", err)
	}
	return p, nil
}

// Check returns the checkpoint that covers the row, or an error if the proof is not valid with
// any of the keys. It needs no database and no network.
func (p *InclusionProof) Check(keys note.Verifiers) (Checkpoint, error) {
	c, err := OpenCheckpoint(p.Checkpoint, keys)
	if err != nil {
		return Checkpoint{}, fmt.Errorf("the proof's checkpoint: %w", err)
	}
	path := make(tlog.RecordProof, len(p.Proof))
	for i, hash := range p.Proof {
		if len(hash) != tlog.HashSize {
			return Checkpoint{}, fmt.Errorf("hash %d of the proof has %d bytes, not %d", i, len(hash), tlog.HashSize)
		}
		path[i] = tlog.Hash(hash)
	}
	if p.Decision.IP != nil || p.Decision.UserAgent != nil || p.Decision.Origin != nil {
		return Checkpoint{}, errors.New("the proof contains an ip, user agent or origin, which it cannot prove")
	}
	digest := p.Decision.Digest(p.PersonalDigest)
	if err := tlog.CheckRecord(path, c.Size, c.Root, p.Leaf, DecisionLeaf(p.ID, p.Decision.RecordedAt, digest[:])); err != nil {
		return Checkpoint{}, errors.New("the proof does not show that this row is in the audit: the row, its place or the proof was changed")
	}
	return c, nil
}

// String returns a sentence that says what the proof shows.
func (p *InclusionProof) String() string {
	d := &p.Decision
	return fmt.Sprintf("token %s for user %q: issued at %s, recorded at %s, expires at %s, signed by key %s",
		deref(d.JTI), deref(d.UserID), timeText(d.IssuedAt), timeText(d.RecordedAt), timeText(deref(d.ExpiresAt)), deref(d.KID))
}

func timeText(t time.Time) string { return t.UTC().Format(time.RFC3339Nano) }

// deref returns what p points to, or the zero value.
func deref[T any](p *T) (v T) {
	if p != nil {
		v = *p
	}
	return v
}
