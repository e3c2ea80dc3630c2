package main

import (
	"context"
	"errors"
	"fmt"
	"io"
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

// directoryFlags say where the tables of a directory are.
type directoryFlags struct {
	Schema         string            `default:"public" help:"Schema of the application's tables: {schema} in the SQL."`
	Table          map[string]string `placeholder:"NAME=TABLE" help:"Table that the application renamed, for example member=members."`
	Column         map[string]string `placeholder:"NAME=COLUMN" help:"Column that the application renamed, for example banned=is_banned. For one table only: member.userId=user."`
	AllowAnonymous bool              `help:"Issue tokens to anonymous users (better-auth)."`
}

// named reports whether a flag is given that only a preset takes, in a database.
func (f *directoryFlags) named() bool {
	return len(f.Table) > 0 || len(f.Column) > 0 || f.AllowAnonymous
}

// file returns the directory of an SQL file.
func (f *directoryFlags) file(name string) (db.DirectoryDefinition, error) {
	if f.named() {
		return db.DirectoryDefinition{}, errors.New("--table, --column and --allow-anonymous are for better-auth and authjs: write the names into the SQL file")
	}
	text, err := os.ReadFile(name)
	if err != nil {
		return db.DirectoryDefinition{}, err
	}
	return db.FileDirectory(name, string(text), f.Schema)
}

// inDatabase returns a directory for the tables of a database, and what it reads.
func (f *directoryFlags) inDatabase(ctx context.Context, database *db.DB, name string) (db.DirectoryDefinition, []db.DirectoryRead, error) {
	if strings.HasSuffix(name, ".sql") {
		definition, err := f.file(name)
		return definition, nil, err
	}
	return database.PresetDirectory(ctx, db.Preset{
		Name: name, Schema: f.Schema, Tables: f.Table, Columns: f.Column, AllowAnonymous: f.AllowAnonymous,
	})
}

// printReads prints what a directory reads, one line each.
func printReads(w io.Writer, reads []db.DirectoryRead) {
	for _, read := range reads {
		fmt.Fprintln(w, read)
	}
}

// betterAuthStorage says what usher cannot see in Better Auth's tables.
const betterAuthStorage = "usher cannot see in the tables whether Better Auth uses secondaryStorage with preserveSessionInDatabase: " +
	"before Better Auth 1.7.2, a session that was signed out then stays in the table, and usher gives it tokens until it expires. Do not set it, or use 1.7.2 or later"

type directoryUseCmd struct {
	changeFlags
	directoryFlags
	Directory string `arg:"" help:"Built-in directory (better-auth, authjs or usher), or an SQL file whose name ends in .sql."`
}

// usedDirectory is the JSON of usher directory use.
type usedDirectory struct {
	Name     string             `json:"name"`
	Reads    []db.DirectoryRead `json:"reads,omitempty"`
	Warnings []string           `json:"warnings,omitempty"`
}

func (c *directoryUseCmd) Run(ctx context.Context, out *console, database *db.DB) error {
	definition, reads, err := c.inDatabase(ctx, database, c.Directory)
	if err != nil {
		printReads(out.err, reads)
		return err
	}
	warnings, err := database.UseDirectory(ctx, definition, c.Actor)
	if err != nil {
		return err
	}
	if definition.Name == db.BetterAuthDirectory {
		warnings = append(warnings, betterAuthStorage)
	}
	for _, warning := range warnings {
		out.warn(warning)
	}
	if !c.JSON {
		printReads(out.out, reads)
	}
	return c.done(out, usedDirectory{definition.Name, reads, warnings}, "the directory is %s", definition.Name)
}

type directoryShowCmd struct {
	adminFlags
	directoryFlags
	Directory string `arg:"" optional:"" help:"Built-in directory, as a start for your own file: better-auth, authjs or usher. With a database URL, it is for the tables of that database (default: the directory in use)."`
}

// shownDirectory is the JSON of usher directory show.
type shownDirectory struct {
	db.DirectoryDefinition
	Reads []db.DirectoryRead `json:"reads,omitempty"`
}

// Run prints the SQL on stdout, and on stderr what a preset reads.
func (c *directoryShowCmd) Run(ctx context.Context, out *console) error {
	shown, err := c.shown(ctx, out)
	if err != nil {
		return err
	}
	if c.JSON {
		return printJSON(out.out, shown)
	}
	printReads(out.err, shown.Reads)
	fmt.Fprintf(out.out, "-- directory: %s\n\n%s", shown.Name, shown.SQL)
	return nil
}

// shown needs a database for the directory in use. With one, it finds a preset's
// tables there.
func (c *directoryShowCmd) shown(ctx context.Context, out *console) (shown shownDirectory, err error) {
	known := !c.DatabaseURL.IsEmpty() || c.DatabaseURLFile != ""
	switch {
	case strings.HasSuffix(c.Directory, ".sql"):
		shown.DirectoryDefinition, err = c.file(c.Directory)
		return shown, err
	case c.Directory != "" && !known && c.named():
		return shown, errors.New("--table, --column and --allow-anonymous are for the tables of a database: give --database-url too")
	case c.Directory != "" && !known:
		shown.DirectoryDefinition, shown.Reads, err = db.BuiltInDirectory(c.Directory, c.Schema)
		return shown, err
	}
	database, err := c.ProvideDB(out)
	if err != nil {
		return shown, err
	}
	if c.Directory == "" {
		shown.DirectoryDefinition, err = database.DirectoryInForce(ctx)
		return shown, err
	}
	shown.DirectoryDefinition, shown.Reads, err = c.inDatabase(ctx, database, c.Directory)
	if len(shown.Reads) == 0 || !errors.Is(err, admin.ErrInvalid) {
		return shown, err
	}
	out.warn(fmt.Sprintf("%s. The SQL has the library's own names", plain(err)))
	shown.DirectoryDefinition, _, err = db.BuiltInDirectory(c.Directory, c.Schema)
	return shown, err
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
