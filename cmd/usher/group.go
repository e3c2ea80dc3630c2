package main

import (
	"context"

	"github.com/usher-auth/usher/db"
	"github.com/usher-auth/usher/internal/admin"
)

type groupCmd struct {
	Add          groupAddCmd          `cmd:"" help:"Add a group."`
	List         groupListCmd         `cmd:"" help:"List the groups."`
	Delete       groupDeleteCmd       `cmd:"" help:"Delete a group, with its grants and memberships."`
	AddMember    groupAddMemberCmd    `cmd:"" help:"Make a user a member."`
	RemoveMember groupRemoveMemberCmd `cmd:"" help:"End a user's membership."`
	Members      groupMembersCmd      `cmd:"" help:"List the members."`
}

type groupAddCmd struct {
	changeFlags
	ID   string `arg:"" help:"Opaque, at most 128 UTF-16 units: what {group} stands for."`
	Org  string `help:"The organization whose group it is. Its grants count in that one's sessions."`
	Name string `help:"For people."`
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

type groupListCmd struct{ adminFlags }

func (c *groupListCmd) Run(ctx context.Context, out *console, database *db.DB) error {
	groups, err := database.Groups(ctx, admin.Page[string]{})
	if err != nil {
		return err
	}
	return printList(out.out, c.JSON, groups, []string{"ID", "ORGANIZATION", "NAME", "CREATED", "BY"}, func(g admin.Group) []string {
		return []string{g.ID, g.OrganizationID, g.Name, timeCell(&g.CreatedAt), g.CreatedBy}
	})
}

type groupDeleteCmd struct {
	changeFlags
	ID string `arg:""`
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
	Group string `arg:""`
	User  string `arg:""`
}

func (c *groupAddMemberCmd) Run(ctx context.Context, out *console, database *db.DB) error {
	return addMember(ctx, out, database, &c.changeFlags, admin.Subject{Kind: admin.GroupKind, ID: c.Group}, c.User)
}

type groupRemoveMemberCmd struct {
	changeFlags
	Group string `arg:""`
	User  string `arg:""`
}

func (c *groupRemoveMemberCmd) Run(ctx context.Context, out *console, database *db.DB) error {
	return removeMember(ctx, out, database, &c.changeFlags, admin.Subject{Kind: admin.GroupKind, ID: c.Group}, c.User)
}

type groupMembersCmd struct {
	adminFlags
	Group string `arg:""`
}

func (c *groupMembersCmd) Run(ctx context.Context, out *console, database *db.DB) error {
	return listMembers(ctx, out, database, &c.adminFlags, admin.Subject{Kind: admin.GroupKind, ID: c.Group})
}
