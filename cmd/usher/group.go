package main

import (
	"context"

	"github.com/usher-auth/usher/db"
	"github.com/usher-auth/usher/internal/admin"
)

type groupCmd struct {
	Add          groupAddCmd          `cmd:"" help:"Add a group."`
	Rename       groupRenameCmd       `cmd:"" help:"Change the name of a group."`
	List         groupListCmd         `cmd:"" help:"List the groups."`
	Delete       groupDeleteCmd       `cmd:"" help:"Delete a group, and end its grants and memberships."`
	AddMember    groupAddMemberCmd    `cmd:"" help:"Add a user to a group."`
	RemoveMember groupRemoveMemberCmd `cmd:"" help:"Remove a user from a group."`
	Members      groupMembersCmd      `cmd:"" help:"List the members."`
}

type groupAddCmd struct {
	changeFlags
	ID   string `arg:"" help:"Group ID ({group} in grants), at most 128 UTF-16 code units."`
	Org  string `placeholder:"ID" help:"Organization that the group belongs to. The group's grants do not count in sessions where another organization is active."`
	Name string `help:"Display name."`
}

func (c *groupAddCmd) Run(ctx context.Context, out *console, database *db.DB) error {
	group, err := database.AddGroup(ctx, c.ID, c.Org, c.Name, c.Actor)
	if err != nil {
		return err
	}
	if group.OrganizationID != "" {
		return c.done(out, group, "added group %s of organization %s", group.ID, group.OrganizationID)
	}
	return c.done(out, group, "added group %s", group.ID)
}

type groupRenameCmd struct {
	changeFlags
	ID   string `arg:"" help:"ID, from the list command."`
	Name string `arg:"" help:"New display name; \"\" removes it."`
}

func (c *groupRenameCmd) Run(ctx context.Context, out *console, database *db.DB) error {
	renamed, err := database.RenameGroup(ctx, c.ID, c.Name, c.Actor)
	if err != nil {
		return err
	}
	return c.done(out, renamed, "renamed group %s", renamed.ID)
}

type groupListCmd struct{ listFlags }

func (c *groupListCmd) Run(ctx context.Context, out *console, database *db.DB) error {
	groups, err := database.Groups(ctx, admin.Page[string]{})
	if err != nil {
		return err
	}
	return printList(out, &c.listFlags, groups, []string{"ID", "ORGANIZATION", "NAME", "CREATED", "BY"}, func(g admin.Group) []string {
		return []string{g.ID, g.OrganizationID, g.Name, timeCell(&g.CreatedAt), g.CreatedBy}
	})
}

type groupDeleteCmd struct {
	changeFlags
	ID string `arg:"" help:"ID, from the list command."`
}

func (c *groupDeleteCmd) Run(ctx context.Context, out *console, database *db.DB) error {
	gone, err := database.DeleteGroup(ctx, c.ID, c.Actor)
	if err != nil {
		return err
	}
	return c.done(out, deleted{c.ID, gone}, "deleted group %s: %s", c.ID, wentAlong(gone))
}

type groupAddMemberCmd struct {
	changeFlags
	Group string `arg:"" help:"Group ID."`
	User  string `arg:"" help:"User ID."`
}

func (c *groupAddMemberCmd) Run(ctx context.Context, out *console, database *db.DB) error {
	return addMember(ctx, out, database, &c.changeFlags, admin.Subject{Kind: admin.GroupKind, ID: c.Group}, c.User)
}

type groupRemoveMemberCmd struct {
	changeFlags
	Group string `arg:"" help:"Group ID."`
	User  string `arg:"" help:"User ID."`
}

func (c *groupRemoveMemberCmd) Run(ctx context.Context, out *console, database *db.DB) error {
	return removeMember(ctx, out, database, &c.changeFlags, admin.Subject{Kind: admin.GroupKind, ID: c.Group}, c.User)
}

type groupMembersCmd struct {
	listFlags
	Group string `arg:"" help:"Group ID."`
}

func (c *groupMembersCmd) Run(ctx context.Context, out *console, database *db.DB) error {
	return listMembers(ctx, out, database, &c.listFlags, admin.Subject{Kind: admin.GroupKind, ID: c.Group})
}
