package db

import (
	"context"

	"github.com/jackc/pgx/v5"

	"github.com/usher-auth/usher/internal/admin"
)

// AddMember makes a user of usher's own directory a member of an organization or a
// group. A group of an organization may also have guests, who are not members of
// the organization. An existing membership is [admin.ErrExists]; a missing user,
// organization or group is [admin.ErrNotFound].
func (db *DB) AddMember(ctx context.Context, of admin.Subject, user string, actor admin.Actor) (admin.Membership, error) {
	if err := checkMemberOf(of); err != nil {
		return admin.Membership{}, err
	}
	var membership admin.Membership
	err := db.transactAs(ctx, actor, "add member", func(ctx context.Context, tx pgx.Tx) (err error) {
		membership, err = queryRow[admin.Membership](ctx, tx, statement("add_membership"),
			pgx.StrictNamedArgs{"user_id": user, "kind": of.Kind, "id": of.ID, "actor": actor})
		switch {
		case violates(err, uniqueViolation, "memberships_live"):
			return refuse(admin.ErrExists, "user %q is already a member of %s", user, of)
		case violates(err, foreignKeyViolation, "membership_user"):
			return refuseMissing(admin.Subject{Kind: admin.UserKind, ID: user})
		case violates(err, foreignKeyViolation, "membership_of"):
			return refuseMissing(of)
		case err != nil:
			return err
		}
		return record(ctx, tx, "member.add", of.ID, membership)
	})
	return membership, err
}

// Members lists the members of an organization or a group by user id. If it does
// not exist, the error is [admin.ErrNotFound].
func (db *DB) Members(ctx context.Context, of admin.Subject, page admin.Page[string]) ([]admin.Membership, error) {
	if err := checkMemberOf(of); err != nil {
		return nil, err
	}
	if err := db.checkOwnDirectory(ctx, "list members"); err != nil {
		return nil, err
	}
	var members []admin.Membership
	err := db.transact(ctx, "list members", func(ctx context.Context, tx pgx.Tx) (err error) {
		if _, err := lockSubject(ctx, tx, of); err != nil {
			return err
		}
		members, err = list[admin.Membership](ctx, tx, "list members", statement("list_members"), pgx.StrictNamedArgs{
			"kind": of.Kind, "id": of.ID, "after": page.After, "limit": page.Limit,
		})
		return err
	})
	return members, err
}

// RemoveMember ends a membership. Leaving an organization ends the memberships in
// its groups too; groupsLeft is their number. A user who is not a member is
// [admin.ErrNotFound].
func (db *DB) RemoveMember(ctx context.Context, of admin.Subject, user string, actor admin.Actor) (groupsLeft int64, err error) {
	if err := checkMemberOf(of); err != nil {
		return 0, err
	}
	err = db.transactAs(ctx, actor, "remove member", func(ctx context.Context, tx pgx.Tx) error {
		ended, err := endMemberships(ctx, tx, []admin.Subject{of}, user, actor)
		if err == nil && len(ended) == 0 {
			err = refuse(admin.ErrNotFound, "user %q is not a member of %s", user, of)
		}
		if err == nil {
			groupsLeft = ended[0].GroupsLeft
		}
		return err
	})
	return groupsLeft, err
}

// An endedMembership is one that was ended by itself, not with the membership in its
// organization.
type endedMembership struct {
	UserID       string `json:"userId"`
	MemberOfKind string `json:"memberOfKind"`
	MemberOfID   string `json:"memberOfId"`
	GroupsLeft   int64  `json:"groupsLeft"`
}

// endMemberships ends and records those of the memberships that the user has, in a
// transaction of the actor's.
func endMemberships(ctx context.Context, tx pgx.Tx, of []admin.Subject, user string, actor admin.Actor) ([]endedMembership, error) {
	args := pgx.StrictNamedArgs{"user_id": user, "organizations": idsOf(of, admin.OrganizationKind), "groups": idsOf(of, admin.GroupKind), "actor": actor}
	ended, err := list[endedMembership](ctx, tx, "end memberships", statement("end_memberships"), args)
	if err != nil {
		return nil, err
	}
	changes := make([]change, len(ended))
	for i, m := range ended {
		changes[i] = change{"member.remove", m.MemberOfID, m}
	}
	return ended, recordAll(ctx, tx, changes)
}

// idsOf returns the ids of the subjects of a kind.
func idsOf(subjects []admin.Subject, kind string) []string {
	ids := []string{}
	for _, s := range subjects {
		if s.Kind == kind {
			ids = append(ids, s.ID)
		}
	}
	return ids
}

func checkMemberOf(of admin.Subject) error {
	if of.Kind != admin.OrganizationKind && of.Kind != admin.GroupKind {
		return refuse(admin.ErrInvalid, "%s has no members: name an organization or a group", of)
	}
	return nil
}
