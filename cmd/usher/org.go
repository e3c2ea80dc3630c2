package main

import (
	"context"

	"github.com/usher-auth/usher/db"
	"github.com/usher-auth/usher/internal/admin"
)

type orgCmd struct {
	Add          orgAddCmd          `cmd:"" help:"Add an organization."`
	List         orgListCmd         `cmd:"" help:"List the organizations."`
	Delete       orgDeleteCmd       `cmd:"" help:"Delete an organization, with its grants and memberships. Its groups must be gone."`
	AddMember    orgAddMemberCmd    `cmd:"" help:"Make a user a member."`
	RemoveMember orgRemoveMemberCmd `cmd:"" help:"End a user's membership, and that in the organization's groups."`
	Members      orgMembersCmd      `cmd:"" help:"List the members."`
}

type orgAddCmd struct {
	changeFlags
	ID   string `arg:"" help:"Opaque, at most 128 UTF-16 units: what {organization} stands for."`
	Name string `help:"For people."`
}

func (c *orgAddCmd) Run(ctx context.Context, out *console, database *db.DB) error {
	organization, err := database.AddOrganization(ctx, c.ID, c.Name, c.Actor)
	if err != nil {
		return err
	}
	return c.done(out, organization, "added organization %s", organization.ID)
}

type orgListCmd struct{ adminFlags }

func (c *orgListCmd) Run(ctx context.Context, out *console, database *db.DB) error {
	organizations, err := database.Organizations(ctx, admin.Page[string]{})
	if err != nil {
		return err
	}
	return printList(out.out, c.JSON, organizations, []string{"ID", "NAME", "CREATED", "BY"}, func(o admin.Organization) []string {
		return []string{o.ID, o.Name, timeCell(&o.CreatedAt), o.CreatedBy}
	})
}

type orgDeleteCmd struct {
	changeFlags
	ID string `arg:""`
}

func (c *orgDeleteCmd) Run(ctx context.Context, out *console, database *db.DB) error {
	gone, err := database.DeleteOrganization(ctx, c.ID, c.Actor)
	if err != nil {
		return err
	}
	return c.done(out, deleted{c.ID, gone}, "deleted organization %s: %s", c.ID, wentAlong(gone))
}

type orgAddMemberCmd struct {
	changeFlags
	Org  string `arg:""`
	User string `arg:""`
}

func (c *orgAddMemberCmd) Run(ctx context.Context, out *console, database *db.DB) error {
	return addMember(ctx, out, database, &c.changeFlags, admin.Subject{Kind: admin.OrganizationKind, ID: c.Org}, c.User)
}

type orgRemoveMemberCmd struct {
	changeFlags
	Org  string `arg:""`
	User string `arg:""`
}

func (c *orgRemoveMemberCmd) Run(ctx context.Context, out *console, database *db.DB) error {
	return removeMember(ctx, out, database, &c.changeFlags, admin.Subject{Kind: admin.OrganizationKind, ID: c.Org}, c.User)
}

type orgMembersCmd struct {
	adminFlags
	Org string `arg:""`
}

func (c *orgMembersCmd) Run(ctx context.Context, out *console, database *db.DB) error {
	return listMembers(ctx, out, database, &c.adminFlags, admin.Subject{Kind: admin.OrganizationKind, ID: c.Org})
}
