package main

import (
	"context"
	"fmt"
	"io"
	"strings"

	"github.com/usher-auth/usher/db"
	"github.com/usher-auth/usher/internal/admin"
	"github.com/usher-auth/usher/internal/secret"
)

type migrateCmd struct {
	Up     migrateUpCmd     `cmd:"" help:"Apply the missing migrations. Run as the database's owner; usher serve runs as a role with fewer rights."`
	Status migrateStatusCmd `cmd:"" help:"List the migrations and which of them are applied."`
	Roles  migrateRolesCmd  `cmd:"" help:"Print the SQL that creates the roles, for a database owner without CREATEROLE."`
}

// roleFlags name the roles of a database.
type roleFlags struct {
	RoleSuffix string `env:"USHER_ROLE_SUFFIX" placeholder:"NAME" help:"Ends the names of the roles usher_service_NAME and usher_auditor_NAME, which belong to the whole server. Default: the database's name."`
}

type migrateUpCmd struct {
	databaseFlags
	keyEncryptionFlags
	roleFlags
	SigningAlg          string      `env:"USHER_SIGNING_ALG" default:"EdDSA" enum:"EdDSA,ES256" help:"Algorithm of the first signing key. It is created if it is missing and a key encryption key is given."`
	ServiceUser         string      `env:"USHER_SERVICE_USER" default:"usher" help:"Login role for usher serve, created if a password is given."`
	ServicePassword     secret.Text `env:"USHER_SERVICE_PASSWORD" placeholder:"TEXT" help:"Password of that login role."`
	ServicePasswordFile string      `env:"USHER_SERVICE_PASSWORD_FILE" placeholder:"FILE" help:"File that holds the password."`
	JSON                bool        `help:"Print JSON."`
}

// Run prints each step when it is done: if a later one fails, the earlier ones stay.
func (c *migrateUpCmd) Run(ctx context.Context, out *console) error {
	url, err := c.url()
	if err != nil {
		return err
	}
	did := func(format string, args ...any) {
		if !c.JSON {
			fmt.Fprintf(out.out, format+"\n", args...)
		}
	}
	done, err := db.Migrate(ctx, url, db.MigrateConfig{Mode: db.Production, RoleSuffix: c.RoleSuffix})
	if err != nil {
		return err
	}
	if c.JSON {
		if err := printJSON(out.out, done.Applied); err != nil {
			return err
		}
	}
	for _, m := range done.Applied {
		did("applied %s", m.Name)
	}
	did("schema is at version %d", db.SchemaVersion())
	did("roles: %s for usher serve, %s for auditors", done.Roles.Service, done.Roles.Auditor)
	if len(done.SharedWith) > 0 {
		out.warn(fmt.Sprintf("these roles have privileges in other databases of this server too: %s. A login of one can read the others: give this database its own with --role-suffix NAME",
			strings.Join(done.SharedWith, ", ")))
	}
	if !c.KeyEncryptionKey.IsEmpty() || c.KeyEncryptionKeyFile != "" {
		made, err := c.firstSigningKey(ctx, url)
		if err != nil {
			return err
		}
		if made != nil {
			did("made signing key %s", made.ID)
		} else {
			did("signing key: there is one")
		}
	}
	if !c.ServicePassword.IsEmpty() || c.ServicePasswordFile != "" {
		password, err := oneSecret("service-password", c.ServicePassword, c.ServicePasswordFile)
		if err != nil {
			return err
		}
		if err := db.MakeServiceLogin(ctx, url, c.ServiceUser, password); err != nil {
			return err
		}
		did("login %s: its password is set, and it is a member of %s", c.ServiceUser, done.Roles.Service)
	}
	return nil
}

func (c *migrateUpCmd) firstSigningKey(ctx context.Context, url secret.Text) (*admin.SigningKeyTimes, error) {
	encryption, err := c.encryption()
	if err != nil {
		return nil, err
	}
	database, err := db.Open(url)
	if err != nil {
		return nil, err
	}
	defer database.Close()
	if err := database.EnsureCheckpointKey(ctx, encryption, actorName()); err != nil {
		return nil, err
	}
	return database.EnsureSigningKey(ctx, c.SigningAlg, encryption, actorName())
}

type migrateRolesCmd struct {
	databaseFlags
	roleFlags
}

// Run does not connect: the URL only names the database.
func (c *migrateRolesCmd) Run(out *console) error {
	var url secret.Text
	if c.RoleSuffix == "" {
		var err error
		if url, err = c.url(); err != nil {
			return fmt.Errorf("the roles are named after the database: give --role-suffix, or %w", err)
		}
	}
	roles, err := db.RolesFor(url, c.RoleSuffix)
	if err != nil {
		return err
	}
	_, err = io.WriteString(out.out, roles.SQL())
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
