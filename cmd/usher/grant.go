package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/usher-auth/usher/db"
	"github.com/usher-auth/usher/internal/admin"
	"github.com/usher-auth/usher/permissions"
)

type grantCmd struct {
	Add    grantAddCmd    `cmd:"" help:"Give a user, a group, an organization or everyone access to rooms or stores."`
	List   grantListCmd   `cmd:"" help:"List the grants."`
	Revoke grantRevokeCmd `cmd:"" help:"Revoke a grant, from the next request on."`
}

// The subject of a grant is one of several flags, and so is the pattern. Both are
// required in usher grant add and optional in usher grant list. kong reads that from
// the tags, so the flags are declared twice.

type grantAddCmd struct {
	changeFlags
	User     string `required:"" xor:"subject" placeholder:"ID" help:"Grant to this user."`
	Group    string `required:"" xor:"subject" placeholder:"ID" help:"Grant to the members of this group."`
	Org      string `required:"" xor:"subject" placeholder:"ID" help:"Grant to the members of this organization."`
	Everyone bool   `required:"" xor:"subject" help:"Grant to every user."`

	Room  string `required:"" xor:"pattern" placeholder:"PATTERN" help:"Room ID, prefix followed by *, or *. For each token, {user} becomes the user's ID, {organization} each of the user's organizations (in a grant to an organization, only that one), and {group} each of the user's groups (in a grant to a group, only that one). {organization}:{group} becomes every pair of an organization and a group of the user. See docs/audit.md#placeholders."`
	Store string `required:"" xor:"pattern" placeholder:"PATTERN" help:"The same for stores."`

	Access     permissions.Access `required:"" enum:"read,full" placeholder:"read|full" help:"Access: read or full."`
	InOrg      string             `placeholder:"ID" help:"Only in sessions where this organization is active."`
	From       instant            `placeholder:"TIME" help:"Start, for example 2030-01-31T18:00:00Z (default: now)."`
	Until      instant            `placeholder:"TIME" help:"End (default: never expires)."`
	Reason     string             `placeholder:"TEXT" help:"Reason, stored in the audit."`
	Yes        bool               `help:"Do not ask for confirmation of a grant on everything to everyone."`
	OpenPrefix bool               `help:"Allow a * that does not end a segment: acme* also matches acme-evil."`
}

func (c *grantAddCmd) Run(ctx context.Context, out *console, database *db.DB) error {
	kind, pattern := resource(c.Room, c.Store)
	if err := c.confirm(out, kind, pattern); err != nil {
		return err
	}
	grant, warnings, err := database.AddGrant(ctx, admin.NewGrant{
		Subject:      subject(c.User, c.Group, c.Org, c.Everyone),
		Organization: c.InOrg,
		Kind:         kind,
		Pattern:      pattern,
		Access:       c.Access,
		From:         c.From.Time,
		Until:        c.Until.Time,
		Reason:       c.Reason,
		OpenPrefix:   c.OpenPrefix,
	}, c.Actor)
	if errors.Is(err, admin.ErrOpenPrefix) {
		return fmt.Errorf("%w: --open-prefix", err)
	}
	if err != nil {
		return err
	}
	for _, warning := range warnings {
		out.warn(warning)
	}
	return c.done(out, grant, "added grant %d: %s", grant.ID, sentence(&grant))
}

// confirm says what a grant on every room or store opens. If it is for everyone, it
// asks for confirmation.
func (c *grantAddCmd) confirm(out *console, kind permissions.Kind, pattern string) error {
	if pattern != "*" || c.User != "" || c.Yes {
		return nil
	}
	if !c.Everyone {
		out.warn(fmt.Sprintf("this gives its members %s on every %s, including those of other organizations", strings.ToUpper(c.Access.String()), kind))
		return nil
	}
	opens := fmt.Sprintf("this gives every user %s on every %s", strings.ToUpper(c.Access.String()), kind)
	if !isTerminal(out.in) {
		return fmt.Errorf("%s: if you want that, add --yes", opens)
	}
	fmt.Fprintf(out.err, "usher: %s. Continue? [y/N] ", opens)
	answer, err := bufio.NewReader(out.in).ReadString('\n')
	if answer = strings.ToLower(strings.TrimSpace(answer)); err != nil || answer != "y" && answer != "yes" {
		return errors.New("nothing was granted")
	}
	return nil
}

func isTerminal(in io.Reader) bool {
	file, ok := in.(*os.File)
	if !ok {
		return false
	}
	_, err := unix.IoctlGetWinsize(int(file.Fd()), unix.TIOCGWINSZ)
	return err == nil
}

// subject returns the subject that the flags name, or the zero Subject.
func subject(user, group, organization string, everyone bool) admin.Subject {
	switch {
	case user != "":
		return admin.Subject{Kind: admin.UserKind, ID: user}
	case group != "":
		return admin.Subject{Kind: admin.GroupKind, ID: group}
	case organization != "":
		return admin.Subject{Kind: admin.OrganizationKind, ID: organization}
	case everyone:
		return admin.Subject{Kind: admin.EveryoneKind}
	}
	return admin.Subject{}
}

// resource returns the kind and the pattern that the flags name, or neither.
func resource(room, store string) (permissions.Kind, string) {
	switch {
	case room != "":
		return permissions.RoomKind, room
	case store != "":
		return permissions.StoreKind, store
	}
	return 0, ""
}

// sentence says what a grant gives.
func sentence(g *admin.Grant) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s has %s on %s %s", subjectCell(g), strings.ToUpper(g.Access), g.ResourceKind, g.Pattern)
	if g.OrganizationID != "" {
		fmt.Fprintf(&b, " in sessions of organization %s", g.OrganizationID)
	}
	if g.ValidFrom.After(g.CreatedAt) {
		fmt.Fprintf(&b, " from %s", timeCell(&g.ValidFrom))
	}
	if g.ValidUntil != nil {
		fmt.Fprintf(&b, " until %s", timeCell(g.ValidUntil))
	}
	return b.String()
}

func subjectCell(g *admin.Grant) string { return strings.TrimSpace(g.SubjectKind + " " + g.SubjectID) }

type grantListCmd struct {
	listFlags
	User     string `xor:"subject" placeholder:"ID" help:"Only grants to this user, without grants to everyone and to the user's groups and organizations."`
	Group    string `xor:"subject" placeholder:"ID" help:"Only grants to this group."`
	Org      string `xor:"subject" placeholder:"ID" help:"Only grants to this organization."`
	Everyone bool   `xor:"subject" help:"Only grants to everyone."`

	Room  string `xor:"pattern" placeholder:"PATTERN" help:"Only grants with exactly this room pattern."`
	Store string `xor:"pattern" placeholder:"PATTERN" help:"Only grants with exactly this store pattern."`

	All bool `help:"Include revoked and expired grants."`
}

func (c *grantListCmd) Run(ctx context.Context, out *console, database *db.DB) error {
	filter := admin.GrantFilter{Subject: subject(c.User, c.Group, c.Org, c.Everyone), Ended: c.All}
	filter.Kind, filter.Pattern = resource(c.Room, c.Store)
	grants, err := database.Grants(ctx, filter, admin.Page[int64]{})
	if err != nil {
		return err
	}
	header := []string{"ID", "SUBJECT", "ACCESS", "KIND", "PATTERN", "IN ORG", "FROM", "UNTIL", "BY", "REASON"}
	if c.All {
		header = append(header, "REVOKED", "BY", "REASON")
	}
	return printList(out, &c.listFlags, grants, header, func(g admin.Grant) []string {
		cells := []string{
			fmt.Sprint(g.ID), subjectCell(&g), g.Access, g.ResourceKind, g.Pattern, g.OrganizationID,
			timeCell(&g.ValidFrom), timeCell(g.ValidUntil), g.CreatedBy, g.Reason,
		}
		if c.All {
			cells = append(cells, timeCell(g.RevokedAt), g.RevokedBy, g.RevokeReason)
		}
		return cells
	})
}

type grantRevokeCmd struct {
	changeFlags
	ID     int64  `arg:"" help:"Grant ID, from usher grant list."`
	Reason string `placeholder:"TEXT" help:"Reason, stored in the audit."`
}

func (c *grantRevokeCmd) Run(ctx context.Context, out *console, database *db.DB) error {
	grant, err := database.RevokeGrant(ctx, c.ID, c.Reason, c.Actor)
	if errors.Is(err, admin.ErrNotFound) {
		if before, getErr := database.Grant(ctx, c.ID); getErr == nil && before.RevokedAt != nil {
			return c.done(out, before, "grant %d was already revoked at %s by %s", before.ID, timeCell(before.RevokedAt), before.RevokedBy)
		}
	}
	if err != nil {
		return err
	}
	return c.done(out, grant, "revoked grant %d: %s", grant.ID, strings.Replace(sentence(&grant), " has ", " had ", 1))
}
