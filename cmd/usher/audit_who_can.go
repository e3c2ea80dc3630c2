package main

import (
	"context"
	"strings"

	"github.com/usher-auth/usher/audit"
	"github.com/usher-auth/usher/db"
	"github.com/usher-auth/usher/internal/admin"
	"github.com/usher-auth/usher/permissions"
)

type auditWhoCanCmd struct {
	askFlags
	resourceFlags
	Access string   `default:"read" enum:"read,full" help:"Minimum access: read or full."`
	At     *instant `placeholder:"TIME" help:"At this time in the past (default: now)."`
}

func (c *auditWhoCanCmd) Run(ctx context.Context, out *console, database *db.DB) error {
	r, err := c.resource()
	if err != nil {
		return err
	}
	access, err := permissions.ParseAccess(c.Access)
	if err != nil {
		return err
	}
	var found []audit.Opening
	if c.At == nil {
		found, err = database.WhoCan(ctx, r, access, admin.Page[audit.Opening]{})
	} else {
		found, err = database.WhoCould(ctx, r, c.At.Time, access, admin.Page[audit.Opening]{})
	}
	if err != nil {
		return err
	}
	header := []string{"WHO", "ACCESS", "THROUGH", "PATTERN", "IN ORG", "GRANT"}
	return answer(out, &c.askFlags, found, header, func(o audit.Opening) []string {
		return []string{
			strings.TrimSpace(o.PrincipalKind + " " + o.PrincipalID), o.Access, strings.TrimSpace(o.ThroughKind + " " + o.ThroughID),
			o.Pattern, o.OrganizationID, idCell(o.GrantID),
		}
	})
}
