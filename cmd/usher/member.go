package main

import (
	"context"
	"fmt"

	"github.com/usher-auth/usher/db"
	"github.com/usher-auth/usher/internal/admin"
)

// What usher org and usher group do alike with their members.

func addMember(ctx context.Context, out *console, database *db.DB, flags *changeFlags, of admin.Subject, user string) error {
	membership, err := database.AddMember(ctx, of, user, flags.Actor)
	if err != nil {
		return err
	}
	return flags.done(out, membership, "user %s is now a member of %s %s", user, of.Kind, of.ID)
}

// removedMember is the JSON of a membership's end.
type removedMember struct {
	UserID       string `json:"userId"`
	MemberOfKind string `json:"memberOfKind"`
	MemberOfID   string `json:"memberOfId"`
	GroupsLeft   int64  `json:"groupsLeft"`
}

func removeMember(ctx context.Context, out *console, database *db.DB, flags *changeFlags, of admin.Subject, user string) error {
	groups, err := database.RemoveMember(ctx, of, user, flags.Actor)
	if err != nil {
		return err
	}
	sentence := fmt.Sprintf("user %s is no longer a member of %s %s", user, of.Kind, of.ID)
	if groups > 0 {
		sentence += ", nor of " + count(groups, "group") + " of it"
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
