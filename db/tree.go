package db

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5"
	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

// A tree is the right edge of an RFC 6962 Merkle tree: all that appending to it
// takes. The zero tree is empty.
type tree struct {
	size int64
	edge []tlog.Hash // roots of its complete subtrees, the largest first
}

// loadTree reads the edge of the stored tree as it was at a size.
func loadTree(size int64, stored tlog.HashReader) (*tree, error) {
	t := &tree{size: size}
	// What the root of a tree is made of is its edge.
	_, err := tlog.TreeHash(size, tlog.HashReaderFunc(func(indexes []int64) (hashes []tlog.Hash, err error) {
		t.edge, err = stored.ReadHashes(indexes)
		return slices.Clone(t.edge), err
	}))
	return t, err
}

// append adds a leaf and the nodes that it completes to stored, in the order of
// [tlog.StoredHashIndex].
func (t *tree) append(leaf tlog.Hash, stored []byte) []byte {
	stored = append(stored, leaf[:]...)
	for n := t.size; n&1 == 1; n >>= 1 {
		last := len(t.edge) - 1
		leaf = tlog.NodeHash(t.edge[last], leaf)
		t.edge = t.edge[:last]
		stored = append(stored, leaf[:]...)
	}
	t.edge = append(t.edge, leaf)
	t.size++
	return stored
}

// root is the tree's hash. The tree must not be empty.
func (t *tree) root() tlog.Hash {
	root := t.edge[len(t.edge)-1]
	for _, left := range slices.Backward(t.edge[:len(t.edge)-1]) {
		root = tlog.NodeHash(left, root)
	}
	return root
}

// storedHashes reads the hashes of the tree that the seals hold.
func storedHashes(ctx context.Context, q querier) tlog.HashReader {
	return tlog.HashReaderFunc(func(indexes []int64) ([]tlog.Hash, error) {
		if len(indexes) == 0 {
			return nil, nil
		}
		rows, err := q.Query(ctx, statement("tree_hashes"), pgx.StrictNamedArgs{"indexes": indexes})
		if err != nil {
			return nil, err
		}
		found, err := pgx.CollectRows(rows, pgx.RowTo[[]byte])
		if err != nil {
			return nil, err
		}
		hashes := make([]tlog.Hash, len(found))
		for i, hash := range found {
			if len(hash) != tlog.HashSize {
				return nil, errBrokenTree
			}
			hashes[i] = tlog.Hash(hash)
		}
		if len(hashes) != len(indexes) {
			return nil, errBrokenTree
		}
		return hashes, nil
	})
}

var errBrokenTree = errors.New("the stored tree does not fit its last checkpoint: usher audit verify says where")

// A checkpoint says that the tree of an origin had a root at a size. Signed, it
// is what auditors keep.
type checkpoint struct {
	origin string
	size   int64
	root   tlog.Hash
}

// text is the body of a checkpoint as other transparency logs write it (C2SP
// tlog-checkpoint).
func (c *checkpoint) text() string {
	return fmt.Sprintf("%s\n%d\n%s\n", c.origin, c.size, base64.StdEncoding.EncodeToString(c.root[:]))
}

func (c *checkpoint) sign(signer note.Signer) (string, error) {
	signed, err := note.Sign(&note.Note{Text: c.text()}, signer)
	return string(signed), err
}

// openCheckpoint returns a checkpoint that one of the verifiers signed.
func openCheckpoint(signed string, verifiers note.Verifiers) (*checkpoint, error) {
	opened, err := note.Open([]byte(signed), verifiers)
	if err != nil {
		return nil, fmt.Errorf("not a checkpoint signed by the audit's key: %w", err)
	}
	lines := strings.SplitN(opened.Text, "\n", 4) // others may add lines
	if len(lines) == 4 && lines[0] == opened.Sigs[0].Name {
		size, sizeErr := strconv.ParseInt(lines[1], 10, 64)
		root, rootErr := tlog.ParseHash(lines[2])
		if sizeErr == nil && rootErr == nil && size > 0 && strconv.FormatInt(size, 10) == lines[1] {
			return &checkpoint{lines[0], size, root}, nil
		}
	}
	return nil, errors.New("a signed text, but no checkpoint")
}
