package audit_test

import (
	"crypto/rand"
	"fmt"
	"os"
	"time"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/usher-auth/usher/audit"
)

// An auditor has a proof from usher audit prove, the public key from usher audit public-key, and
// a checkpoint that they kept. They need neither the database nor the network.
func Example() {
	publicKey, err := os.ReadFile("testdata/public-key.txt")
	if err != nil {
		panic(err)
	}
	keys, err := audit.ParseKeys(string(publicKey))
	if err != nil {
		panic(err)
	}

	// The row of a token is in the tree of a signed checkpoint.
	text, err := os.ReadFile("testdata/proof.json")
	if err != nil {
		panic(err)
	}
	proof, err := audit.ParseInclusionProof(text)
	if err != nil {
		panic(err)
	}
	covers, err := proof.Check(keys)
	if err != nil {
		panic(err)
	}
	fmt.Println(proof)
	fmt.Printf("leaf %d of %d\n", proof.Leaf, covers.Size)

	// The checkpoint is the one that the auditor kept.
	kept, err := os.ReadFile("testdata/checkpoint.txt")
	if err != nil {
		panic(err)
	}
	checkpoint, err := audit.OpenCheckpoint(string(kept), keys)
	if err != nil {
		panic(err)
	}
	fmt.Println("as kept:", checkpoint == covers)

	// A row that was changed is not in it.
	eve := "eve"
	proof.Decision.UserID = &eve
	_, err = proof.Check(keys)
	fmt.Println(err)
	// Output:
	// token M4dk for user "grace": issued at 2026-11-05T14:03:26Z, recorded at 2026-11-05T14:03:26.004Z, expires at 2026-11-05T14:08:26Z, signed by key key-1
	// leaf 2 of 5
	// as kept: true
	// the proof does not show that this row is in the audit: the row, its place or the proof was changed
}

// A key that is not the audit's opens nothing.
func ExampleOpenCheckpoint_incorrect() {
	private, _, err := note.GenerateKey(rand.Reader, "usher-audit-other")
	if err != nil {
		panic(err)
	}
	signer, err := note.NewSigner(private)
	if err != nil {
		panic(err)
	}
	signed, err := audit.Checkpoint{Origin: "usher-audit-other", Size: 1, Root: tlog.RecordHash(nil)}.Sign(signer)
	if err != nil {
		panic(err)
	}
	publicKey, err := os.ReadFile("testdata/public-key.txt")
	if err != nil {
		panic(err)
	}
	keys, err := audit.ParseKeys(string(publicKey))
	if err != nil {
		panic(err)
	}
	_, err = audit.OpenCheckpoint(signed, keys)
	fmt.Println(err)
	// Output:
	// not a checkpoint signed by the audit's key: note has no verifiable signatures
}

// The leaf of a row, for programs that rebuild the tree from audit.decision_leaves.
func ExampleDecisionLeaf() {
	at := time.Date(2026, 11, 5, 14, 3, 26, 0, time.UTC)
	reason := "no_credential"
	record := audit.Record{
		IssuedAt: at, Result: audit.ResultDenied, Reason: &reason, CallerKind: audit.CallerNone, RequestID: "R1", Replica: "usher-1",
	}
	personal := make([]byte, 32) // personal_digest of the row
	digest := record.Digest(personal)
	var tree audit.Tree
	tree.Append(audit.DecisionLeaf(1, at.Add(4*time.Millisecond), digest[:]), nil)
	fmt.Println(tree.Size(), tree.Root())
	// Output:
	// 1 /sKTMfDGdjoieNCVz0F6lIWbm4+incnFvKh65X17mos=
}
