package main

import (
	"errors"
	"fmt"
	"os"
	"os/user"
	"strconv"
	"strings"
	"time"

	"github.com/usher-auth/usher/db"
	"github.com/usher-auth/usher/internal/admin"
	"github.com/usher-auth/usher/internal/secret"
)

// adminFlags are common to the subcommands that use the database. kong passes the
// result of ProvideDB to their Run.
type adminFlags struct {
	databaseFlags
	JSON bool `xor:"format" help:"Print JSON."`
}

// ProvideDB opens the database that the flags name, or that of a running usher dev. It
// is closed after the command.
func (f *adminFlags) ProvideDB(out *console) (*db.DB, error) {
	if f.DatabaseURL.IsEmpty() && f.DatabaseURLFile == "" {
		if dev, dir := runningDev(); dir != "" {
			fmt.Fprintf(out.err, "usher: using the database of usher dev in %s\n", dir)
			f.DatabaseURL = secret.New(dev.DatabaseURL)
		}
	}
	url, err := f.url()
	if err != nil {
		return nil, err
	}
	out.database, err = db.Open(url)
	return out.database, err
}

// changeFlags are adminFlags for changes, which are recorded under an actor's name.
type changeFlags struct {
	adminFlags
	Actor admin.Actor `env:"USHER_ACTOR" default:"${user}" placeholder:"WHO" help:"Actor, recorded in the audit."`
}

// actorName returns the name of the person at this terminal.
func actorName() admin.Actor {
	name := strconv.Itoa(os.Getuid())
	if u, err := user.Current(); err == nil {
		name = u.Username
	}
	host, err := os.Hostname()
	if err != nil {
		host = "unknown"
	}
	return admin.Actor("cli:" + name + "@" + host)
}

// done reports a change: as a sentence, or as the resulting object in JSON.
func (f *adminFlags) done(out *console, object any, sentence string, args ...any) error {
	if f.JSON {
		return printJSON(out.out, object)
	}
	fmt.Fprintf(out.out, sentence+"\n", args...)
	return nil
}

// warn prints a warning about what the command did.
func (c *console) warn(warning string) { fmt.Fprintf(c.err, "usher: warning: %s\n", warning) }

// deleted is the JSON of a deletion.
type deleted struct {
	ID string `json:"id"`
	admin.Deletion
}

// wentAlong says what else a deletion removed.
func wentAlong(d admin.Deletion) string {
	parts := []string{count(d.GrantsRevoked, "grant") + " revoked", count(d.MembershipsEnded, "membership") + " ended"}
	if d.SessionsEnded > 0 {
		parts = append(parts, count(d.SessionsEnded, "session")+" ended")
	}
	return strings.Join(parts, ", ")
}

// count writes "1 grant", "2 grants".
func count(n int64, noun string) string {
	if n != 1 {
		noun += "s"
	}
	return fmt.Sprintf("%d %s", n, noun)
}

// instant is a flag with a time.
type instant struct{ time.Time }

// UnmarshalText reads RFC 3339. The seconds or the whole time of day may be left out.
func (i *instant) UnmarshalText(text []byte) error {
	for _, layout := range []string{time.RFC3339, "2006-01-02T15:04Z07:00", time.DateOnly} {
		if t, err := time.Parse(layout, string(text)); err == nil {
			i.Time = t
			return nil
		}
	}
	return errors.New("write a time as 2030-01-31T18:00:00Z, 2030-01-31T18:00Z or 2030-01-31 (UTC)")
}
