package main

import (
	"context"
	"fmt"
	"os"
	"strings"

	"github.com/usher-auth/usher/db"
)

// auditKeyFlags name the audit's public key.
type auditKeyFlags struct {
	PublicKey string `placeholder:"FILE" type:"existingfile" help:"The audit's public keys, one per line, as printed by usher audit public-key."`
}

func (f *auditKeyFlags) keys() ([]string, error) {
	text, err := os.ReadFile(f.PublicKey)
	if err != nil {
		return nil, fmt.Errorf("--public-key: %w", err)
	}
	keys := strings.Fields(string(text))
	if len(keys) == 0 {
		return nil, fmt.Errorf("--public-key: %s is empty", f.PublicKey)
	}
	return keys, nil
}

type auditPublicKeyCmd struct{ adminFlags }

func (c *auditPublicKeyCmd) Run(ctx context.Context, out *console, database *db.DB) error {
	keys, err := database.CheckpointKeys(ctx)
	if err != nil {
		return err
	}
	if c.JSON {
		return printJSON(out.out, keys)
	}
	if len(keys) == 0 {
		return db.ErrNoCheckpointKey
	}
	for _, key := range keys {
		fmt.Fprintln(out.out, key.PublicKey)
	}
	return nil
}
