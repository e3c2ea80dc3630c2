package main

import (
	"context"

	"github.com/usher-auth/usher/db"
)

type auditProveCmd struct {
	adminFlags
	JTI string `arg:"" name:"jti" help:"The token's jti claim."`
}

// Run prints the proof, which is JSON with and without --json.
func (c *auditProveCmd) Run(ctx context.Context, out *console, database *db.DB) error {
	proof, err := database.ProveToken(ctx, c.JTI)
	if err != nil {
		return err
	}
	return printJSON(out.out, proof)
}
