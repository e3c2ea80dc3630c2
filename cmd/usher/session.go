package main

import (
	"context"
	"fmt"
	"time"

	"github.com/usher-auth/usher/db"
	"github.com/usher-auth/usher/internal/admin"
)

type sessionCmd struct {
	Add    sessionAddCmd    `cmd:"" help:"Sign a user in and print the value of the session cookie."`
	List   sessionListCmd   `cmd:"" help:"List the sessions that have not expired."`
	Revoke sessionRevokeCmd `cmd:"" help:"End all sessions of a user."`
}

type sessionAddCmd struct {
	changeFlags
	User string        `arg:"" help:"User ID."`
	Org  string        `placeholder:"ID" help:"Active organization: the session is limited to it."`
	TTL  time.Duration `name:"ttl" default:"30d" help:"Lifetime of the session."`
}

// addedSession is the only output with a session's token.
type addedSession struct {
	Token string `json:"token"`
	admin.Session
}

// Run prints only the token on stdout, for scripts, and a sentence on stderr.
func (c *sessionAddCmd) Run(ctx context.Context, out *console, database *db.DB) error {
	token, added, err := database.AddSession(ctx, c.User, c.Org, c.TTL, c.Actor)
	if err != nil {
		return err
	}
	if !c.JSON {
		fmt.Fprintf(out.err, "added a session of user %s until %s; its cookie value is not shown again:\n", added.UserID, timeCell(&added.ExpiresAt))
	}
	return c.done(out, addedSession{token.Reveal(), added}, "%s", token.Reveal())
}

type sessionListCmd struct {
	listFlags
	User string `placeholder:"ID" help:"Only this user."`
}

func (c *sessionListCmd) Run(ctx context.Context, out *console, database *db.DB) error {
	sessions, err := database.Sessions(ctx, c.User, admin.Page[admin.SessionPlace]{})
	if err != nil {
		return err
	}
	return printList(out, &c.listFlags, sessions, []string{"USER", "ORGANIZATION", "CREATED", "EXPIRES"}, func(s admin.Session) []string {
		return []string{s.UserID, s.OrganizationID, timeCell(&s.CreatedAt), timeCell(&s.ExpiresAt)}
	})
}

type sessionRevokeCmd struct {
	changeFlags
	User string `arg:"" help:"User ID."`
}

// endedSessions is the JSON of usher session revoke.
type endedSessions struct {
	UserID        string `json:"userId"`
	SessionsEnded int64  `json:"sessionsEnded"`
}

func (c *sessionRevokeCmd) Run(ctx context.Context, out *console, database *db.DB) error {
	ended, err := database.EndSessions(ctx, c.User, c.Actor)
	if err != nil {
		return err
	}
	return c.done(out, endedSessions{c.User, ended}, "ended %s of user %s", count(ended, "session"), c.User)
}
