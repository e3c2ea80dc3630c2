package main

import (
	"context"
	"errors"
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
	Directory      string            `arg:"" help:"better-auth, authjs, usher, or an SQL file whose name ends in .sql."`
	Table          map[string]string `placeholder:"NAME=TABLE" help:"A table that the application renamed, as member=members."`
	Column         map[string]string `placeholder:"NAME=COLUMN" help:"A column that the application renamed, as banned=is_banned, or member.userId=user for one table."`
	AllowAnonymous bool              `help:"Give tokens to anonymous users (better-auth)."`
}

// usedDirectory is the JSON of usher directory use.
type usedDirectory struct {
	Name     string             `json:"name"`
	Reads    []db.DirectoryRead `json:"reads,omitempty"`
	Warnings []string           `json:"warnings,omitempty"`
}

// preset returns the directory for the tables of this database, and what it reads.
func (c *directoryUseCmd) preset(ctx context.Context, database *db.DB) (db.DirectoryDefinition, []db.DirectoryRead, error) {
	if !strings.HasSuffix(c.Directory, ".sql") {
		return database.PresetDirectory(ctx, db.Preset{
			Name: c.Directory, Schema: c.Schema, Tables: c.Table, Columns: c.Column, AllowAnonymous: c.AllowAnonymous,
		})
	}
	if len(c.Table) > 0 || len(c.Column) > 0 || c.AllowAnonymous {
		return db.DirectoryDefinition{}, nil, errors.New("--table, --column and --allow-anonymous are for better-auth and authjs: write the names into the SQL file")
	}
	definition, err := c.definition(c.Directory)
	return definition, nil, err
}

func (c *directoryUseCmd) Run(ctx context.Context, out *console, database *db.DB) error {
	definition, reads, err := c.preset(ctx, database)
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
	if !c.JSON {
		for _, read := range reads {
			fmt.Fprintln(out.out, read)
		}
	}
	return c.done(out, usedDirectory{definition.Name, reads, warnings}, "the directory is %s", definition.Name)
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
