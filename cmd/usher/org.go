package main

import (
	"context"

	"github.com/usher-auth/usher/db"
	"github.com/usher-auth/usher/internal/admin"
)

type orgCmd struct {
	Add          orgAddCmd          `cmd:"" help:"Add an organization."`
	Rename       orgRenameCmd       `cmd:"" help:"Change the name of an organization."`
	List         orgListCmd         `cmd:"" help:"List the organizations."`
	Delete       orgDeleteCmd       `cmd:"" help:"Delete an organization, and end its grants and memberships. Delete its groups first."`
	AddMember    orgAddMemberCmd    `cmd:"" help:"Add a user to an organization."`
	RemoveMember orgRemoveMemberCmd `cmd:"" help:"Remove a user from an organization and from its groups."`
	Members      orgMembersCmd      `cmd:"" help:"List the members."`
}

type orgAddCmd struct {
	changeFlags
	ID   string `arg:"" help:"Organization ID ({organization} in grants), at most 128 UTF-16 code units."`
	Name string `help:"Display name."`
}

func (c *orgAddCmd) Run(ctx context.Context, out *console, database *db.DB) error {
	organization, err := database.AddOrganization(ctx, c.ID, c.Name, c.Actor)
	if err != nil {
		return err
	}
	return c.done(out, organization, "added organization %s", organization.ID)
}

type orgRenameCmd struct {
	changeFlags
	ID   string `arg:"" help:"ID, from the list command."`
	Name string `arg:"" help:"New display name; \"\" removes it."`
}

func (c *orgRenameCmd) Run(ctx context.Context, out *console, database *db.DB) error {
	renamed, err := database.RenameOrganization(ctx, c.ID, c.Name, c.Actor)
	if err != nil {
		return err
	}
	return c.done(out, renamed, "renamed organization %s", renamed.ID)
}

type orgListCmd struct{ listFlags }

func (c *orgListCmd) Run(ctx context.Context, out *console, database *db.DB) error {
	organizations, err := database.Organizations(ctx, admin.Page[string]{})
	if err != nil {
		return err
	}
	return printList(out, &c.listFlags, organizations, []string{"ID", "NAME", "CREATED", "BY"}, func(o admin.Organization) []string {
		return []string{o.ID, o.Name, timeCell(&o.CreatedAt), o.CreatedBy}
	})
}

type orgDeleteCmd struct {
	changeFlags
	ID string `arg:"" help:"ID, from the list command."`
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
	Org  string `arg:"" help:"Organization ID."`
	User string `arg:"" help:"User ID."`
}

func (c *orgAddMemberCmd) Run(ctx context.Context, out *console, database *db.DB) error {
	return addMember(ctx, out, database, &c.changeFlags, admin.Subject{Kind: admin.OrganizationKind, ID: c.Org}, c.User)
}

type orgRemoveMemberCmd struct {
	changeFlags
	Org  string `arg:"" help:"Organization ID."`
	User string `arg:"" help:"User ID."`
}

func (c *orgRemoveMemberCmd) Run(ctx context.Context, out *console, database *db.DB) error {
	return removeMember(ctx, out, database, &c.changeFlags, admin.Subject{Kind: admin.OrganizationKind, ID: c.Org}, c.User)
}

type orgMembersCmd struct {
	listFlags
	Org string `arg:"" help:"Organization ID."`
}

func (c *orgMembersCmd) Run(ctx context.Context, out *console, database *db.DB) error {
	return listMembers(ctx, out, database, &c.listFlags, admin.Subject{Kind: admin.OrganizationKind, ID: c.Org})
}
