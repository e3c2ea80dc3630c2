package main

import (
	"context"
	"strings"

	"github.com/usher-auth/usher/audit"
	"github.com/usher-auth/usher/db"
	"github.com/usher-auth/usher/internal/admin"
)

type auditWhatCanCmd struct {
	askFlags
	User string `arg:"" help:"User ID."`
}

func (c *auditWhatCanCmd) Run(ctx context.Context, out *console, database *db.DB) error {
	found, err := database.WhatCan(ctx, c.User, admin.Page[audit.Reach]{})
	if err != nil {
		return err
	}
	header := []string{"KIND", "PATTERN", "ACCESS", "THROUGH", "GRANTED", "IN ORG", "GRANT"}
	return answer(out, &c.askFlags, found, header, func(r audit.Reach) []string {
		return []string{
			r.ResourceKind, r.Pattern, r.Access, strings.TrimSpace(r.ThroughKind + " " + r.ThroughID), r.Granted, r.OrganizationID,
			idCell(r.GrantID),
		}
	})
}
