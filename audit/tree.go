package audit

import (
	"crypto/sha256"
	"slices"

	"golang.org/x/mod/sumdb/tlog"
)

// A Tree is the right edge of an RFC 6962 Merkle tree, which is enough to append to it. The zero
// Tree is empty. It may be used by one goroutine only.
type Tree struct {
	size int64
	edge []tlog.Hash // roots of its complete subtrees, the largest first
}

// LoadTree reads the edge of a stored tree at a size.
func LoadTree(size int64, stored tlog.HashReader) (*Tree, error) {
	t := &Tree{size: size}
	// The root of a tree is computed from its edge.
	_, err := tlog.TreeHash(size, tlog.HashReaderFunc(func(indexes []int64) (hashes []tlog.Hash, err error) {
		t.edge, err = stored.ReadHashes(indexes)
		return slices.Clone(t.edge), err
	}))
	return t, err
}

// Append adds a leaf. It appends the leaf and the nodes that become complete to stored, in the
// order of [tlog.StoredHashIndex].
func (t *Tree) Append(leaf tlog.Hash, stored []byte) []byte {
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

// Clone returns a copy, which can be appended to separately.
func (t *Tree) Clone() *Tree { return &Tree{t.size, slices.Clone(t.edge)} }

// Size returns the number of leaves.
func (t *Tree) Size() int64 { return t.size }

// Root returns the tree's root hash.
func (t *Tree) Root() tlog.Hash {
	if t.size == 0 {
		return sha256.Sum256(nil)
	}
	root := t.edge[len(t.edge)-1]
	for _, left := range slices.Backward(t.edge[:len(t.edge)-1]) {
		root = tlog.NodeHash(left, root)
	}
	return root
}
