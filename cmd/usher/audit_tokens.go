package main

import (
	"context"
	"encoding/json"
	"strings"
	"time"

	"github.com/usher-auth/usher/audit"
	"github.com/usher-auth/usher/db"
)

type auditTokensCmd struct {
	askFlags
	User  string   `arg:"" help:"User ID."`
	Since *instant `placeholder:"TIME" help:"Issued since this time (default: 24 hours ago)."`
}

func (c *auditTokensCmd) Run(ctx context.Context, out *console, database *db.DB) error {
	since := time.Now().Add(-24 * time.Hour)
	if c.Since != nil {
		since = c.Since.Time
	}
	found, err := database.TokensOf(ctx, c.User, since)
	if err != nil {
		return err
	}
	header := []string{"ISSUED", "EXPIRES", "JTI", "ORG", "AUDIENCE", "ROOM", "STORE", "PATTERNS", "CALLER", "IP"}
	return answer(out, &c.askFlags, found, header, func(t audit.Record) []string {
		patterns, _ := json.Marshal(t.Patterns) // rules always marshal
		return []string{
			timeCell(&t.IssuedAt), timeCell(t.ExpiresAt), textCell(t.JTI), textCell(t.OrganizationID), textCell(t.Audience), textCell(t.Room),
			textCell(t.Store), string(patterns), strings.TrimSpace(t.CallerKind + " " + textCell(t.CallerID)), textCell(t.IP),
		}
	})
}
