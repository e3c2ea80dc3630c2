// Package audit has the evidence of usher's audit: the rows, their digests and leaves, the
// Merkle tree of the leaves, the tree's signed checkpoints, and the proofs that a row is in
// the tree. It needs no database: an auditor's own program can use it to check what usher
// printed.
//
//	keys, err := audit.ParseKeys(publicKey) // as usher audit public-key printed it
//	proof, err := audit.ParseInclusionProof(text)
//	checkpoint, err := proof.Check(keys)
//
// Package db, which is internal to the service's own programs, stores the rows,
// seals them and walks over them.
package audit
