package main

import (
	"context"
	"encoding/json"
	"strconv"

	"github.com/usher-auth/usher/audit"
	"github.com/usher-auth/usher/db"
	"github.com/usher-auth/usher/internal/admin"
)

type auditLogCmd struct {
	listFlags
	User  string `placeholder:"ID" help:"Only this user."`
	Limit int    `default:"20" placeholder:"N" help:"Maximum number of rows."`
}

func (c *auditLogCmd) Run(ctx context.Context, out *console, database *db.DB) error {
	decisions, err := database.Decisions(ctx, admin.DecisionFilter{User: c.User}, admin.Page[admin.DecisionPlace]{Limit: c.Limit})
	if err != nil {
		return err
	}
	header := []string{"AT", "RESULT", "COUNT", "REASON", "USER", "ROOM", "STORE", "PATTERNS", "JTI"}
	return printList(out, &c.listFlags, decisions, header, func(d audit.Record) []string {
		patterns := ""
		if d.Patterns != nil {
			text, _ := json.Marshal(d.Patterns) // rules always marshal
			patterns = string(text)
		}
		count := "1"
		if d.Count != nil {
			count = strconv.FormatInt(*d.Count, 10)
		}
		return []string{
			timeCell(&d.IssuedAt), d.Result, count, textCell(d.Reason), textCell(d.UserID), textCell(d.Room), textCell(d.Store),
			patterns, textCell(d.JTI),
		}
	})
}
