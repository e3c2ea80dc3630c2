package main

import (
	"context"
	"fmt"
	"io"

	"github.com/usher-auth/usher/db"
	"github.com/usher-auth/usher/internal/secret"
)

type migrateCmd struct {
	Up     migrateUpCmd     `cmd:"" help:"Apply the missing migrations. Run as the database's owner; usher serve runs as a role with fewer rights."`
	Status migrateStatusCmd `cmd:"" help:"List the migrations and which of them are applied."`
	Roles  migrateRolesCmd  `cmd:"" help:"Print the SQL that creates the roles, for a database owner without CREATEROLE."`
}

type migrateUpCmd struct {
	databaseFlags
	keyEncryptionFlags
	SigningAlg          string      `env:"USHER_SIGNING_ALG" default:"EdDSA" enum:"EdDSA,ES256" help:"Algorithm of the first signing key. It is created if it is missing and a key encryption key is given."`
	ServiceUser         string      `env:"USHER_SERVICE_USER" default:"usher" help:"Login role for usher serve, created if a password is given."`
	ServicePassword     secret.Text `env:"USHER_SERVICE_PASSWORD" placeholder:"TEXT" help:"Password of that login role."`
	ServicePasswordFile string      `env:"USHER_SERVICE_PASSWORD_FILE" placeholder:"FILE" help:"File that holds the password."`
	JSON                bool        `help:"Print JSON."`
}

func (c *migrateUpCmd) Run(ctx context.Context, out *console) error {
	url, err := c.url()
	if err != nil {
		return err
	}
	applied, err := db.Migrate(ctx, url, db.Production)
	if err != nil {
		return err
	}
	if !c.ServicePassword.IsEmpty() || c.ServicePasswordFile != "" {
		password, err := oneSecret("service-password", c.ServicePassword, c.ServicePasswordFile)
		if err != nil {
			return err
		}
		if err := db.MakeServiceLogin(ctx, url, c.ServiceUser, password); err != nil {
			return err
		}
	}
	if !c.KeyEncryptionKey.IsEmpty() || c.KeyEncryptionKeyFile != "" {
		if err := c.firstSigningKey(ctx, url); err != nil {
			return err
		}
	}
	if c.JSON {
		return printJSON(out.out, applied)
	}
	for _, m := range applied {
		fmt.Fprintf(out.out, "applied %s\n", m.Name)
	}
	fmt.Fprintf(out.out, "schema is at version %d\n", db.SchemaVersion())
	return nil
}

func (c *migrateUpCmd) firstSigningKey(ctx context.Context, url secret.Text) error {
	encryption, err := c.encryption()
	if err != nil {
		return err
	}
	database, err := db.Open(url)
	if err != nil {
		return err
	}
	defer database.Close()
	if err := database.EnsureCheckpointKey(ctx, encryption, actorName()); err != nil {
		return err
	}
	_, err = database.EnsureSigningKey(ctx, c.SigningAlg, encryption, actorName())
	return err
}

type migrateRolesCmd struct{}

// Run needs no database.
func (*migrateRolesCmd) Run(out *console) error {
	_, err := io.WriteString(out.out, db.RolesSQL)
	return err
}

type migrateStatusCmd struct {
	databaseFlags
	JSON bool `help:"Print JSON."`
}

func (c *migrateStatusCmd) Run(ctx context.Context, out *console) error {
	url, err := c.url()
	if err != nil {
		return err
	}
	steps, err := db.MigrationStatus(ctx, url)
	if err != nil {
		return err
	}
	if c.JSON {
		return printJSON(out.out, steps)
	}
	for _, m := range steps {
		state := "missing"
		if m.Applied {
			state = "applied"
		}
		fmt.Fprintf(out.out, "%-8s %s\n", state, m.Name)
	}
	return nil
}
