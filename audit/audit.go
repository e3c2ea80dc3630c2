// Package audit is the evidence of usher's audit: what a row says, the digest
// and the leaf that are made of it, the Merkle tree that they stand in, the
// checkpoints over that tree, and the proofs that a row is in it. It needs no
// database: an auditor's own program checks with it what usher printed.
//
//	keys, err := audit.ParseKeys(publicKey) // as usher audit public-key printed it
//	proof, err := audit.ParseInclusionProof(text)
//	checkpoint, err := proof.Check(keys)
//
// Package db, which is internal to the service's own programs, stores the rows,
// seals them and walks over them.
package audit
