package audit_test

import (
	"crypto/sha256"
	"fmt"
	"testing"

	"golang.org/x/mod/sumdb/tlog"

	"github.com/usher-auth/usher/audit"
)

// At every size, appending gives the same hashes and roots as package tlog, also if the tree is
// loaded again in between.
func TestTree(t *testing.T) {
	t.Parallel()
	var want, got []tlog.Hash
	reader := tlog.HashReaderFunc(func(indexes []int64) ([]tlog.Hash, error) {
		var hashes []tlog.Hash
		for _, i := range indexes {
			hashes = append(hashes, want[i])
		}
		return hashes, nil
	})
	tree := new(audit.Tree)
	if tree.Root() != tlog.Hash(sha256.Sum256(nil)) {
		t.Errorf("the root of an empty tree is %s", tree.Root())
	}
	for n := range int64(70) {
		leaf := tlog.RecordHash(fmt.Append(nil, n))
		hashes, err := tlog.StoredHashesForRecordHash(n, leaf, reader)
		if err != nil {
			t.Fatal(err)
		}
		want = append(want, hashes...)
		for stored := tree.Append(leaf, nil); len(stored) > 0; stored = stored[tlog.HashSize:] {
			got = append(got, tlog.Hash(stored[:tlog.HashSize]))
		}
		if len(got) != len(want) || got[len(got)-1] != want[len(want)-1] {
			t.Fatalf("of %d leaves, %d hashes are stored, want %d", n+1, len(got), len(want))
		}
		root, err := tlog.TreeHash(n+1, reader)
		if err != nil || tree.Root() != root || tree.Size() != n+1 {
			t.Fatalf("the tree of %d leaves has %d and root %s, want %s (%v)", n+1, tree.Size(), tree.Root(), root, err)
		}
		if n%7 == 0 {
			if tree, err = audit.LoadTree(n+1, reader); err != nil || tree.Root() != root {
				t.Fatalf("loaded: %s, %v; want %s", tree.Root(), err, root)
			}
		}
	}
}
