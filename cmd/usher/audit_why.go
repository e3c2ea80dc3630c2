package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/usher-auth/usher/audit"
	"github.com/usher-auth/usher/db"
)

type auditWhyCmd struct {
	askFlags
	User string `arg:"" help:"User ID."`
	resourceFlags
}

// Run prints the result on stderr and the table of grants on stdout.
func (c *auditWhyCmd) Run(ctx context.Context, out *console, database *db.DB) error {
	r, err := c.resource()
	if err != nil {
		return err
	}
	found, err := database.Why(ctx, c.User, r)
	if err != nil {
		return err
	}
	if c.JSON {
		return printJSON(out.out, found)
	}
	fmt.Fprintf(out.err, "%s on %s %s: %s\n", strings.ToUpper(found.Access), r.Kind, cell(r.ID), found.Why)
	header := []string{"GRANT", "FOR", "PATTERN", "ACCESS", "IN ORG", "MATCHES", "COUNTS", "WHY"}
	return answer(out, &c.askFlags, found.Grants, header, func(g audit.WhyGrant) []string {
		return []string{
			idCell(g.GrantID), strings.TrimSpace(g.SubjectKind + " " + g.SubjectID), g.Pattern, g.Access, g.OrganizationID,
			yesCell(g.Matches), yesCell(g.Counts), g.Why,
		}
	})
}
