package audit

import (
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

// A Checkpoint states the root of an origin's tree at a size. Auditors keep signed
// checkpoints.
type Checkpoint struct {
	Origin string // the name of the signing key, different for each database
	Size   int64  // number of leaves
	Root   tlog.Hash
}

// String returns the checkpoint's text, in the form of C2SP tlog-checkpoint.
func (c Checkpoint) String() string {
	return fmt.Sprintf("%s\n%d\n%s\n", c.Origin, c.Size, base64.StdEncoding.EncodeToString(c.Root[:]))
}

// Sign returns the signed text.
func (c Checkpoint) Sign(signer note.Signer) (string, error) {
	signed, err := note.Sign(&note.Note{Text: c.String()}, signer)
	return string(signed), err
}

// ParseKeys reads the audit's public keys, in the form that usher audit public-key prints.
func ParseKeys(texts ...string) (note.Verifiers, error) {
	keys := make([]note.Verifier, len(texts))
	for i, text := range texts {
		var err error
		if keys[i], err = note.NewVerifier(strings.TrimSpace(text)); err != nil {
			return nil, fmt.Errorf("%.200q is not a public key of the audit: use what usher audit public-key prints", text)
		}
	}
	return note.VerifierList(keys...), nil
}

// OpenCheckpoint returns a checkpoint that one of the keys signed.
func OpenCheckpoint(signed string, keys note.Verifiers) (Checkpoint, error) {
	opened, err := note.Open([]byte(signed), keys)
	if err != nil {
		return Checkpoint{}, fmt.Errorf("not a checkpoint signed by the audit's key: %w", err)
	}
	lines := strings.SplitN(opened.Text, "\n", 4) // other implementations may add lines
	if len(lines) == 4 && lines[0] == opened.Sigs[0].Name {
		size, sizeErr := strconv.ParseInt(lines[1], 10, 64)
		root, rootErr := tlog.ParseHash(lines[2])
		if sizeErr == nil && rootErr == nil && size > 0 && strconv.FormatInt(size, 10) == lines[1] {
			return Checkpoint{lines[0], size, root}, nil
		}
	}
	return Checkpoint{}, errors.New("a signed text, but not a checkpoint")
}

// SplitCheckpoints splits a text that has several signed checkpoints, in the form that usher
// serve --audit-checkpoints writes.
func SplitCheckpoints(text string) (checkpoints []string) {
	const signature = "\u2014 " // a line with a signature begins with this
	var b strings.Builder
	for line := range strings.Lines(text) {
		signed := strings.HasPrefix(line, signature)
		if b.Len() > 0 && !signed && strings.Contains(b.String(), "\n\n"+signature) {
			checkpoints = append(checkpoints, b.String())
			b.Reset()
		}
		if b.Len() > 0 || strings.TrimSpace(line) != "" { // between two
			b.WriteString(line)
		}
	}
	if b.Len() > 0 {
		checkpoints = append(checkpoints, b.String())
	}
	return checkpoints
}
