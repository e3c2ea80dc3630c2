package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/usher-auth/usher/db"
	"github.com/usher-auth/usher/internal/admin"
)

// Functions that usher org and usher group share.

// addMember also succeeds for a user who is already a member.
func addMember(ctx context.Context, out *console, database *db.DB, flags *changeFlags, of admin.Subject, user string) error {
	membership, err := database.AddMember(ctx, of, user, flags.Actor)
	became := "is now"
	if errors.Is(err, admin.ErrExists) {
		became = "is already"
		membership, err = member(ctx, database, of, user)
	}
	if err != nil {
		return err
	}
	if of.Kind == admin.GroupKind {
		if err := warnOfGuest(ctx, out, database, of.ID, user); err != nil {
			return err
		}
	}
	return flags.done(out, membership, "user %s %s a member of %s %s", user, became, of.Kind, of.ID)
}

// member returns a user's membership, or [admin.ErrNotFound].
func member(ctx context.Context, database *db.DB, of admin.Subject, user string) (admin.Membership, error) {
	members, err := database.Members(ctx, of, admin.Page[string]{})
	if err != nil {
		return admin.Membership{}, err
	}
	for _, m := range members {
		if m.UserID == user {
			return m, nil
		}
	}
	return admin.Membership{}, admin.Refuse(admin.ErrNotFound, "user %q is not a member of %s", user, of)
}

// warnOfGuest warns if a member of a group is not in its organization. That is
// allowed, but the group's grants then rarely count.
func warnOfGuest(ctx context.Context, out *console, database *db.DB, id, user string) error {
	group, err := database.Group(ctx, id)
	if err != nil || group.OrganizationID == "" {
		return err
	}
	_, err = member(ctx, database, admin.Subject{Kind: admin.OrganizationKind, ID: group.OrganizationID}, user)
	if errors.Is(err, admin.ErrNotFound) {
		out.warn(fmt.Sprintf("user %q is not a member of organization %q, which the group belongs to. To add the user there too, run: usher org add-member %s %s",
			user, group.OrganizationID, cell(group.OrganizationID), cell(user)))
		return nil
	}
	return err
}

// removedMember is the JSON of an ended membership.
type removedMember struct {
	UserID       string `json:"userId"`
	MemberOfKind string `json:"memberOfKind"`
	MemberOfID   string `json:"memberOfId"`
	GroupsLeft   int64  `json:"groupsLeft"`
}

// removeMember also succeeds for a user who is not a member, if the organization or the
// group exists.
func removeMember(ctx context.Context, out *console, database *db.DB, flags *changeFlags, of admin.Subject, user string) error {
	groups, err := database.RemoveMember(ctx, of, user, flags.Actor)
	left := "is no longer"
	if errors.Is(err, admin.ErrNotFound) {
		left = "is not"
		_, err = database.Members(ctx, of, admin.Page[string]{Limit: 1})
	}
	if err != nil {
		return err
	}
	sentence := fmt.Sprintf("user %s %s a member of %s %s", user, left, of.Kind, of.ID)
	if groups > 0 {
		sentence += ", nor of " + count(groups, "group") + " in it"
	}
	return flags.done(out, removedMember{user, of.Kind, of.ID, groups}, "%s", sentence)
}

func listMembers(ctx context.Context, out *console, database *db.DB, flags *listFlags, of admin.Subject) error {
	members, err := database.Members(ctx, of, admin.Page[string]{})
	if err != nil {
		return err
	}
	return printList(out, flags, members, []string{"USER", "SINCE", "BY"}, func(m admin.Membership) []string {
		return []string{m.UserID, timeCell(&m.CreatedAt), m.CreatedBy}
	})
}
