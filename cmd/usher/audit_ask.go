package main

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/usher-auth/usher/db"
	"github.com/usher-auth/usher/internal/admin"
	"github.com/usher-auth/usher/permissions"
)

// askFlags are what the auditors' questions have in common. Each is one
// function or view of schema audit, where docs/audit.md explains it.
type askFlags struct {
	adminFlags
	CSV bool `name:"csv" xor:"format" help:"Print CSV. What a spreadsheet would take for a formula begins with an apostrophe."`
}

// answer prints what was found: as a table unless it is asked for otherwise.
func answer[T any](out *console, flags *askFlags, found []T, header []string, row func(T) []string) error {
	if flags.CSV {
		return printCSV(out.out, found, header, row)
	}
	return printList(out.out, flags.JSON, found, header, row)
}

// resourceArgs name one room or store.
type resourceArgs struct {
	Kind string `arg:"" enum:"room,store" help:"room or store."`
	ID   string `arg:"" help:"The id of the room or the store."`
}

func (a *resourceArgs) resource() (permissions.Resource, error) {
	kind, err := permissions.ParseKind(a.Kind)
	if err != nil {
		return permissions.Resource{}, err
	}
	return permissions.Resource{Kind: kind, ID: a.ID}, permissions.CheckID(kind, a.ID)
}

type whoCanCmd struct {
	askFlags
	resourceArgs
	Access string   `default:"read" enum:"read,full" help:"With this access or more: read or full."`
	At     *instant `placeholder:"TIME" help:"Who could at this time in the past."`
}

func (c *whoCanCmd) Run(ctx context.Context, out *console, database *db.DB) error {
	r, err := c.resource()
	if err != nil {
		return err
	}
	access, err := permissions.ParseAccess(c.Access)
	if err != nil {
		return err
	}
	var found []admin.Opening
	if c.At == nil {
		found, err = database.WhoCan(ctx, r, access, admin.Page[admin.Opening]{})
	} else {
		found, err = database.WhoCould(ctx, r, c.At.Time, access, admin.Page[admin.Opening]{})
	}
	if err != nil {
		return err
	}
	header := []string{"WHO", "ACCESS", "THROUGH", "PATTERN", "IN ORG", "GRANT"}
	return answer(out, &c.askFlags, found, header, func(o admin.Opening) []string {
		return []string{
			strings.TrimSpace(o.PrincipalKind + " " + o.PrincipalID), o.Access, strings.TrimSpace(o.ThroughKind + " " + o.ThroughID),
			o.Pattern, o.OrganizationID, idCell(o.GrantID),
		}
	})
}

type whatCanCmd struct {
	askFlags
	User string `arg:"" help:"The user's id."`
}

func (c *whatCanCmd) Run(ctx context.Context, out *console, database *db.DB) error {
	found, err := database.WhatCan(ctx, c.User, admin.Page[admin.Reach]{})
	if err != nil {
		return err
	}
	header := []string{"KIND", "PATTERN", "ACCESS", "THROUGH", "GRANTED", "IN ORG", "GRANT"}
	return answer(out, &c.askFlags, found, header, func(r admin.Reach) []string {
		return []string{
			r.ResourceKind, r.Pattern, r.Access, strings.TrimSpace(r.ThroughKind + " " + r.ThroughID), r.Granted, r.OrganizationID,
			idCell(r.GrantID),
		}
	})
}

type whyCmd struct {
	askFlags
	User string `arg:"" help:"The user's id."`
	resourceArgs
}

// Run prints the sum on stderr, beside the table of the grants.
func (c *whyCmd) Run(ctx context.Context, out *console, database *db.DB) error {
	r, err := c.resource()
	if err != nil {
		return err
	}
	found, err := database.ExplainAccess(ctx, c.User, r)
	if err != nil {
		return err
	}
	if c.JSON {
		return printJSON(out.out, found)
	}
	fmt.Fprintf(out.err, "%s on %s %s: %s\n", strings.ToUpper(found.Access), c.Kind, cell(c.ID), found.Why)
	header := []string{"GRANT", "FOR", "PATTERN", "ACCESS", "IN ORG", "MATCHES", "COUNTS", "WHY"}
	return answer(out, &c.askFlags, found.Grants, header, func(g admin.ExplainedGrant) []string {
		return []string{
			idCell(g.GrantID), strings.TrimSpace(g.SubjectKind + " " + g.SubjectID), g.Pattern, g.Access, g.OrganizationID,
			yesCell(g.Matches), yesCell(g.Counts), g.Why,
		}
	})
}

type holdersCmd struct {
	askFlags
	resourceArgs
	At *instant `placeholder:"TIME" help:"At this time; now where absent."`
}

func (c *holdersCmd) Run(ctx context.Context, out *console, database *db.DB) error {
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
	return answer(out, &c.askFlags, found, header, func(h admin.Holder) []string {
		return []string{
			h.UserID, h.Access, h.JTI, timeCell(&h.IssuedAt), timeCell(&h.ExpiresAt), h.OrganizationID, h.Audience,
			strings.TrimSpace(h.CallerKind + " " + h.CallerID),
		}
	})
}

type tokensCmd struct {
	askFlags
	User  string   `arg:"" help:"The user's id."`
	Since *instant `placeholder:"TIME" help:"Since this time; for the last 24 hours where absent."`
}

func (c *tokensCmd) Run(ctx context.Context, out *console, database *db.DB) error {
	since := time.Now().Add(-24 * time.Hour)
	if c.Since != nil {
		since = c.Since.Time
	}
	found, err := database.TokensOf(ctx, c.User, since)
	if err != nil {
		return err
	}
	header := []string{"ISSUED", "EXPIRES", "JTI", "ORG", "AUDIENCE", "ROOM", "STORE", "PATTERNS", "CALLER", "IP"}
	return answer(out, &c.askFlags, found, header, func(t db.IssuedToken) []string {
		patterns, _ := json.Marshal(t.Patterns) // rules always marshal
		return []string{
			timeCell(&t.IssuedAt), timeCell(&t.ExpiresAt), t.JTI, t.OrganizationID, t.Audience, t.Room, t.Store, string(patterns),
			strings.TrimSpace(t.CallerKind + " " + t.CallerID), t.IP,
		}
	})
}

type unusedGrantsCmd struct {
	askFlags
	Since instant `required:"" placeholder:"TIME" help:"Of no use since this time."`
}

func (c *unusedGrantsCmd) Run(ctx context.Context, out *console, database *db.DB) error {
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

type riskyGrantsCmd struct{ askFlags }

func (c *riskyGrantsCmd) Run(ctx context.Context, out *console, database *db.DB) error {
	found, err := database.RiskyGrants(ctx)
	if err != nil {
		return err
	}
	header := []string{"RISK", "GRANT", "API KEY", "SUBJECT", "ACCESS", "KIND", "PATTERN", "IN ORG", "CREATED", "BY"}
	return answer(out, &c.askFlags, found, header, func(g db.RiskyGrant) []string {
		return []string{
			g.Reason, idCell(g.GrantID), g.APIKeyID, strings.TrimSpace(g.SubjectKind + " " + g.SubjectID), g.Access, g.ResourceKind, g.Pattern,
			g.OrganizationID, timeCell(&g.CreatedAt), g.CreatedBy,
		}
	})
}

type membersCmd struct {
	askFlags
	Kind string `arg:"" enum:"organization,group,user" help:"organization, group or user."`
	ID   string `arg:""`
}

func (c *membersCmd) Run(ctx context.Context, out *console, database *db.DB) error {
	found, err := database.MembershipHistory(ctx, admin.Subject{Kind: c.Kind, ID: c.ID})
	if err != nil {
		return err
	}
	header := []string{"USER", "OF", "SINCE", "ADDED BY", "UNTIL", "ENDED BY"}
	return answer(out, &c.askFlags, found, header, func(m db.PastMembership) []string {
		return []string{m.UserID, m.MemberOfKind + " " + m.MemberOfID, timeCell(&m.Since), m.AddedBy, timeCell(m.Until), m.EndedBy}
	})
}
