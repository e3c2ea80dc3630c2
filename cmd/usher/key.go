package main

import (
	"context"
	"fmt"

	"github.com/usher-auth/usher/db"
	"github.com/usher-auth/usher/internal/admin"
)

type keyCmd struct {
	Create keyCreateCmd `cmd:"" help:"Create the first signing key of an algorithm. Run as the database's owner."`
	List   keyListCmd   `cmd:"" help:"List the signing keys and their times."`
}

type keyCreateCmd struct {
	changeFlags
	keyEncryptionFlags
	Alg string `env:"USHER_SIGNING_ALG" default:"EdDSA" enum:"EdDSA,ES256" help:"Algorithm: EdDSA, or ES256 for verifiers without Ed25519."`
}

func (c *keyCreateCmd) Run(ctx context.Context, out *console, database *db.DB) error {
	encryption, err := c.encryption()
	if err != nil {
		return err
	}
	if err := database.EnsureCheckpointKey(ctx, encryption, c.Actor); err != nil {
		return err
	}
	made, err := database.EnsureSigningKey(ctx, c.Alg, encryption, c.Actor)
	if err != nil {
		return err
	}
	if made == nil {
		if keys, unusable, err := database.SigningKeys(ctx, encryption); err == nil && len(keys) == 0 && len(unusable) > 0 {
			return fmt.Errorf("there is already a signing key, and none of the key encryption keys decrypts it (%w): give the one that encrypted it as --key-encryption-key", unusable[0])
		}
		return fmt.Errorf("there is already a signing key for %s, and a second one would not be used: see usher key list", c.Alg)
	}
	return c.done(out, made, "created %s signing key %s: it signs from now on", made.Alg, made.ID)
}

type keyListCmd struct{ listFlags }

func (c *keyListCmd) Run(ctx context.Context, out *console, database *db.DB) error {
	keys, err := database.ListSigningKeys(ctx, admin.Page[admin.SigningKeyPlace]{})
	if err != nil {
		return err
	}
	header := []string{"ID", "ALG", "PUBLISHED", "SIGNS FROM", "SIGNS UNTIL", "UNPUBLISHED", "COMPROMISED"}
	return printList(out, &c.listFlags, keys, header, func(k admin.SigningKeyTimes) []string {
		return []string{
			k.ID, k.Alg, timeCell(&k.PublishedAt), timeCell(&k.SignsFrom),
			timeCell(k.SignsUntil), timeCell(k.UnpublishedAt), timeCell(k.CompromisedAt),
		}
	})
}
