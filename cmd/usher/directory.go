package main

import (
	"context"
	"fmt"
	"os"
	"strings"

	"github.com/usher-auth/usher/db"
	"github.com/usher-auth/usher/internal/admin"
)

type directoryCmd struct {
	Use   directoryUseCmd   `cmd:"" help:"Read users, organizations and groups from the application's tables, or from usher's own again. Run as the database's owner."`
	Show  directoryShowCmd  `cmd:"" help:"Print the SQL in use, or that of a built-in directory."`
	Sweep directorySweepCmd `cmd:"" help:"List users who have grants but are not in the directory."`
}

// directoryName is an argument: a directory that comes with usher, or a file.
type directoryName struct {
	Schema string `default:"public" help:"Schema of the application's tables: {schema} in the SQL."`
}

func (n *directoryName) definition(name string) (db.DirectoryDefinition, error) {
	if !strings.HasSuffix(name, ".sql") {
		return db.BuiltInDirectory(name, n.Schema)
	}
	text, err := os.ReadFile(name)
	if err != nil {
		return db.DirectoryDefinition{}, err
	}
	return db.FileDirectory(name, string(text), n.Schema)
}

type directoryUseCmd struct {
	changeFlags
	directoryName
	Directory string `arg:"" help:"better-auth, authjs, usher, or an SQL file whose name ends in .sql."`
}

// usedDirectory is the JSON of usher directory use.
type usedDirectory struct {
	Name     string   `json:"name"`
	Warnings []string `json:"warnings,omitempty"`
}

func (c *directoryUseCmd) Run(ctx context.Context, out *console, database *db.DB) error {
	definition, err := c.definition(c.Directory)
	if err != nil {
		return err
	}
	warnings, err := database.UseDirectory(ctx, definition, c.Actor)
	if err != nil {
		return err
	}
	for _, warning := range warnings {
		out.warn(warning)
	}
	return c.done(out, usedDirectory{definition.Name, warnings}, "the directory is %s", definition.Name)
}

type directoryShowCmd struct {
	adminFlags
	directoryName
	Directory string `arg:"" optional:"" help:"better-auth, authjs or usher, as a start for a file of your own. Default: the directory in use."`
}

// Run needs the database only for the directory in use.
func (c *directoryShowCmd) Run(ctx context.Context, out *console) (err error) {
	var shown db.DirectoryDefinition
	if c.Directory != "" {
		shown, err = c.definition(c.Directory)
	} else {
		var database *db.DB
		if database, err = c.ProvideDB(out); err == nil {
			shown, err = database.DirectoryInForce(ctx)
		}
	}
	if err != nil {
		return err
	}
	if c.JSON {
		return printJSON(out.out, shown)
	}
	fmt.Fprintf(out.out, "-- directory: %s\n\n%s", shown.Name, shown.SQL)
	return nil
}

type directorySweepCmd struct {
	changeFlags
	Revoke bool `help:"Revoke their grants, so that a later user with the same id inherits nothing."`
}

// sweptDirectory is the JSON of usher directory sweep.
type sweptDirectory struct {
	Users   []string      `json:"users,omitempty"`
	Revoked []admin.Grant `json:"revoked,omitempty"`
}

func (c *directorySweepCmd) Run(ctx context.Context, out *console, database *db.DB) error {
	if c.Revoke {
		revoked, err := database.RevokeGone(ctx, c.Actor)
		if err != nil {
			return err
		}
		return c.done(out, sweptDirectory{Revoked: revoked}, "revoked %s of users who are not in the directory", count(int64(len(revoked)), "grant"))
	}
	gone, err := database.GoneUsers(ctx)
	if err != nil {
		return err
	}
	return printList(out, &listFlags{adminFlags: c.adminFlags}, gone, []string{"USER"}, func(id string) []string { return []string{id} })
}
