package main

import (
	"context"

	"github.com/usher-auth/usher/db"
	"github.com/usher-auth/usher/internal/admin"
)

type auditUnusedGrantsCmd struct {
	askFlags
	Since instant `required:"" placeholder:"TIME" help:"Unused since this time."`
}

func (c *auditUnusedGrantsCmd) Run(ctx context.Context, out *console, database *db.DB) error {
	found, err := database.UnusedGrants(ctx, c.Since.Time)
	if err != nil {
		return err
	}
	header := []string{"ID", "SUBJECT", "ACCESS", "KIND", "PATTERN", "IN ORG", "CREATED", "BY", "REASON"}
	return answer(out, &c.askFlags, found, header, func(g admin.Grant) []string {
		return []string{
			idCell(g.ID), subjectCell(&g), g.Access, g.ResourceKind, g.Pattern, g.OrganizationID, timeCell(&g.CreatedAt), g.CreatedBy, g.Reason,
		}
	})
}
