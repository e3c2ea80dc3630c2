package main

import (
	"context"

	"github.com/usher-auth/usher/audit"
	"github.com/usher-auth/usher/db"
)

type auditMembersCmd struct {
	askFlags
	Org   string `required:"" xor:"subject" placeholder:"ID" help:"Members of this organization."`
	Group string `required:"" xor:"subject" placeholder:"ID" help:"Members of this group."`
	User  string `required:"" xor:"subject" placeholder:"ID" help:"Memberships of this user."`
}

func (c *auditMembersCmd) Run(ctx context.Context, out *console, database *db.DB) error {
	found, err := database.MembershipHistory(ctx, subject(c.User, c.Group, c.Org, false))
	if err != nil {
		return err
	}
	header := []string{"USER", "OF", "SINCE", "ADDED BY", "UNTIL", "ENDED BY"}
	return answer(out, &c.askFlags, found, header, func(m audit.Membership) []string {
		return []string{m.UserID, m.MemberOfKind + " " + m.MemberOfID, timeCell(&m.Since), m.AddedBy, timeCell(m.Until), m.EndedBy}
	})
}
