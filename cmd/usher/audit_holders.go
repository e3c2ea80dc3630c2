package main

import (
	"context"
	"strings"
	"time"

	"github.com/usher-auth/usher/audit"
	"github.com/usher-auth/usher/db"
	"github.com/usher-auth/usher/internal/admin"
)

type auditHoldersCmd struct {
	askFlags
	resourceFlags
	At *instant `placeholder:"TIME" help:"At this time (default: now)."`
}

func (c *auditHoldersCmd) Run(ctx context.Context, out *console, database *db.DB) error {
	r, err := c.resource()
	if err != nil {
		return err
	}
	at := time.Now()
	if c.At != nil {
		at = c.At.Time
	}
	found, err := database.Holders(ctx, r, at, admin.Page[admin.HolderPlace]{})
	if err != nil {
		return err
	}
	header := []string{"USER", "ACCESS", "JTI", "ISSUED", "EXPIRES", "ORG", "AUDIENCE", "CALLER"}
	return answer(out, &c.askFlags, found, header, func(h audit.Holder) []string {
		return []string{
			h.UserID, h.Access, h.JTI, timeCell(&h.IssuedAt), timeCell(&h.ExpiresAt), h.OrganizationID, h.Audience,
			strings.TrimSpace(h.CallerKind + " " + h.CallerID),
		}
	})
}
