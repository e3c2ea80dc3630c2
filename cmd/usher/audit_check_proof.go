package main

import (
	"errors"
	"fmt"
	"os"

	"github.com/usher-auth/usher/audit"
)

type auditCheckProofCmd struct {
	auditKeyFlags
	Proof string `arg:"" type:"existingfile" help:"File with a proof, as printed by usher audit prove."`
}

// Run uses neither the database nor the network.
func (c *auditCheckProofCmd) Run(out *console) error {
	if c.PublicKey == "" {
		return errors.New("--public-key is missing: give a key that you trust, because a proof means nothing without one")
	}
	keys, err := c.keys()
	if err != nil {
		return err
	}
	text, err := os.ReadFile(c.Proof)
	if err != nil {
		return err
	}
	proof, err := audit.ParseInclusionProof(text)
	if err != nil {
		return err
	}
	verifiers, err := audit.ParseKeys(keys...)
	if err != nil {
		return err
	}
	checkpoint, err := proof.Check(verifiers)
	if err != nil {
		return err
	}
	fmt.Fprintf(out.out, "%s\nit is leaf %d of %d in the tree of the signed checkpoint\n", proof, proof.Leaf, checkpoint.Size)
	return nil
}
