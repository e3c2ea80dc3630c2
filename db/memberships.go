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
	err = db.transactAs(ctx, actor, "remove member", func(ctx context.Context, tx pgx.Tx) (err error) {
		groupsLeft, err = endMembership(ctx, tx, of, user, actor)
		return err
	})
	return groupsLeft, err
}

// endMembership is RemoveMember in a transaction of the actor's.
func endMembership(ctx context.Context, tx pgx.Tx, of admin.Subject, user string, actor admin.Actor) (groupsLeft int64, err error) {
	var ended int64
	args := pgx.StrictNamedArgs{"user_id": user, "kind": of.Kind, "id": of.ID, "actor": actor}
	if err := tx.QueryRow(ctx, statement("end_membership"), args).Scan(&ended, &groupsLeft); err != nil {
		return 0, err
	}
	if ended == 0 {
		return 0, refuse(admin.ErrNotFound, "user %q is not a member of %s", user, of)
	}
	return groupsLeft, record(ctx, tx, "member.remove", of.ID, map[string]any{
		"userId": user, "memberOfKind": of.Kind, "memberOfId": of.ID, "groupsLeft": groupsLeft,
	})
}

func checkMemberOf(of admin.Subject) error {
	if of.Kind != admin.OrganizationKind && of.Kind != admin.GroupKind {
		return refuse(admin.ErrInvalid, "%s has no members: name an organization or a group", of)
	}
	return nil
}
