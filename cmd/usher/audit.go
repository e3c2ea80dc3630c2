package main

import (
	"context"
	"encoding/json"

	"github.com/usher-auth/usher/admin"
	"github.com/usher-auth/usher/db"
)

type auditCmd struct {
	Log     auditLogCmd     `cmd:"" help:"List the newest decisions: tokens issued, and denials."`
	Explain auditExplainCmd `cmd:"" help:"Say which token a user would get, and why. Issues none."`
}

type auditLogCmd struct {
	adminFlags
	User   string `placeholder:"ID" help:"Of this user alone."`
	AtMost int    `default:"20" help:"How many."`
}

func (c *auditLogCmd) Run(ctx context.Context, out *console, database *db.DB) error {
	decisions, err := database.Decisions(ctx, admin.DecisionFilter{User: c.User}, admin.Page[admin.DecisionPlace]{Limit: c.AtMost})
	if err != nil {
		return err
	}
	header := []string{"AT", "RESULT", "REASON", "USER", "ROOM", "STORE", "PATTERNS", "JTI"}
	return printList(out.out, c.JSON, decisions, header, func(d db.Decision) []string {
		patterns := ""
		if d.Patterns != nil {
			text, _ := json.Marshal(d.Patterns) // rules always marshal
			patterns = string(text)
		}
		return []string{
			timeCell(&d.IssuedAt), d.Result, textCell(d.Reason), textCell(d.UserID), textCell(d.Room), textCell(d.Store),
			patterns, textCell(d.JTI),
		}
	})
}
