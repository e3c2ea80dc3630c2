package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/usher-auth/usher/db"
	"github.com/usher-auth/usher/internal/admin"
	"github.com/usher-auth/usher/internal/secret"
)

type directoryCmd struct {
	Use   directoryUseCmd   `cmd:"" help:"Point the directory at an application's tables, or back at usher's own. Needs the database's owner."`
	Show  directoryShowCmd  `cmd:"" help:"Print the SQL in force, or that of a directory which comes with usher."`
	Sweep directorySweepCmd `cmd:"" help:"List the users who have grants and whom the directory does not list."`
}

// directoryName is an argument: a directory that comes with usher, or a file.
type directoryName struct {
	Schema string `default:"public" help:"Where the application's tables are: {schema} in the SQL."`
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
	Directory string `arg:"" help:"better-auth, authjs, usher, or a file of SQL that ends in .sql."`
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
	Directory string `arg:"" optional:"" help:"better-auth, authjs or usher, as a beginning for a file of your own; what is in force where none is named."`
}

func (c *directoryShowCmd) Run(ctx context.Context, out *console, database *db.DB) (err error) {
	var shown db.DirectoryDefinition
	if c.Directory != "" {
		shown, err = c.definition(c.Directory)
	} else {
		shown, err = database.DirectoryInForce(ctx)
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
	Revoke bool `help:"Revoke their grants, so that whoever gets the same id later inherits nothing."`
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
		return c.done(out, sweptDirectory{Revoked: revoked}, "revoked %s of users whom the directory does not list", count(int64(len(revoked)), "grant"))
	}
	gone, err := database.GoneUsers(ctx)
	if err != nil {
		return err
	}
	return printList(out.out, c.JSON, gone, []string{"USER"}, func(id string) []string { return []string{id} })
}

// cookieSecretFlags name what signs the application's session cookie.
type cookieSecretFlags struct {
	SessionCookieSecret     secret.Text `env:"USHER_SESSION_COOKIE_SECRET" placeholder:"TEXT" help:"What the application signs the cookie with (Better Auth: BETTER_AUTH_SECRET). Several, separated by commas, while it changes: any may have signed."`
	SessionCookieSecretFile string      `env:"USHER_SESSION_COOKIE_SECRET_FILE" placeholder:"FILE" help:"A file that holds it."`
}

// cookieSecrets returns none where the cookie is not signed.
func (f *cookieSecretFlags) cookieSecrets() (secrets []secret.Text, err error) {
	if f.SessionCookieSecret.IsEmpty() && f.SessionCookieSecretFile == "" {
		return nil, nil
	}
	text, err := oneSecret("session-cookie-secret", f.SessionCookieSecret, f.SessionCookieSecretFile)
	if err != nil {
		return nil, err
	}
	for s := range strings.SplitSeq(text.Reveal(), ",") {
		secrets = append(secrets, secret.New(strings.TrimSpace(s)))
	}
	return secrets, nil
}

// checkDirectory refuses to serve nobody: over Better Auth's tables every
// cookie is signed.
func checkDirectory(ctx context.Context, database *db.DB, cookieSecrets []secret.Text) error {
	d, err := database.Deployment(ctx)
	if err != nil {
		return err
	}
	if d.Directory == db.BetterAuthDirectory && len(cookieSecrets) == 0 {
		return errors.New("the directory is Better Auth's, which signs its session cookie: give its secret (BETTER_AUTH_SECRET) as --session-cookie-secret or --session-cookie-secret-file")
	}
	return nil
}

// signedIn returns the demo's users, or none of them where an application signs
// the cookies, or is the directory.
func (c *devCmd) signedIn(ctx context.Context, owner secret.Text) ([]string, error) {
	database, err := db.Open(owner)
	if err != nil {
		return nil, err
	}
	defer database.Close()
	d, err := database.Deployment(ctx)
	if err != nil {
		return nil, err
	}
	secrets, err := c.cookieSecrets()
	if err != nil || len(secrets) > 0 || d.Directory != db.OwnDirectory {
		return nil, err
	}
	return demoUsers, nil
}

// sweeper is who revokes the grants of deleted users, for the record.
const sweeper = "usher"

// sweep revokes the grants of users whom the application has deleted.
func (s *service) sweep(ctx context.Context) {
	revoked, err := s.db.Sweep(ctx, sweeper)
	if err != nil && ctx.Err() == nil {
		s.cfg.logger.ErrorContext(ctx, "the directory could not be swept", "error", err.Error())
	}
	if len(revoked) > 0 {
		s.cfg.logger.InfoContext(ctx, "grants of deleted users revoked", "count", len(revoked))
	}
}
