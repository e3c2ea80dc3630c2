package main

import (
	"context"
	"strings"

	"github.com/usher-auth/usher/audit"
	"github.com/usher-auth/usher/db"
)

type auditRiskyGrantsCmd struct{ askFlags }

func (c *auditRiskyGrantsCmd) Run(ctx context.Context, out *console, database *db.DB) error {
	found, err := database.RiskyGrants(ctx)
	if err != nil {
		return err
	}
	header := []string{"RISK", "GRANT", "API KEY", "SUBJECT", "ACCESS", "KIND", "PATTERN", "IN ORG", "CREATED", "BY"}
	return answer(out, &c.askFlags, found, header, func(g audit.RiskyGrant) []string {
		return []string{
			g.Reason, idCell(g.GrantID), g.APIKeyID, strings.TrimSpace(g.SubjectKind + " " + g.SubjectID), g.Access, g.ResourceKind, g.Pattern,
			g.OrganizationID, timeCell(&g.CreatedAt), g.CreatedBy,
		}
	})
}
