package db

import (
	"context"
	"errors"

	"github.com/jackc/pgx/v5"

	"github.com/usher-auth/usher/internal/admin"
)

// AddGroup adds a group to usher's own directory, in an organization if one is
// named. The rules for the id are those for a user's. Ids are unique across all
// organizations: a duplicate is [admin.ErrExists]. A missing organization is
// [admin.ErrNotFound].
func (db *DB) AddGroup(ctx context.Context, id, organization, name string, actor admin.Actor) (admin.Group, error) {
	if err := checkID(admin.GroupKind, id); err != nil {
		return admin.Group{}, err
	}
	var group admin.Group
	err := db.transactAs(ctx, actor, "add group", func(ctx context.Context, tx pgx.Tx) (err error) {
		group, err = queryRow[admin.Group](ctx, tx, statement("add_group"),
			pgx.StrictNamedArgs{"id": id, "organization_id": organization, "name": name, "actor": actor})
		switch {
		case violates(err, uniqueViolation, "groups_pkey"):
			return refuseExisting(admin.Subject{Kind: admin.GroupKind, ID: id})
		case violates(err, foreignKeyViolation, "groups_organization_id_fkey"):
			return refuseMissing(admin.Subject{Kind: admin.OrganizationKind, ID: organization})
		case err != nil:
			return err
		}
		return record(ctx, tx, "group.add", id, group)
	})
	return group, err
}

// Group returns a group of usher's own directory, or [admin.ErrNotFound].
func (db *DB) Group(ctx context.Context, id string) (admin.Group, error) {
	if err := db.checkOwnDirectory(ctx, "get group"); err != nil {
		return admin.Group{}, err
	}
	return get[admin.Group](ctx, db, admin.Subject{Kind: admin.GroupKind, ID: id}, statement("group"))
}

// Groups lists the groups of usher's own directory by id.
func (db *DB) Groups(ctx context.Context, page admin.Page[string]) ([]admin.Group, error) {
	if err := db.checkOwnDirectory(ctx, "list groups"); err != nil {
		return nil, err
	}
	return ask[admin.Group](ctx, db, "list groups", statement("list_groups"), pgx.StrictNamedArgs{"after": page.After, "limit": page.Limit})
}

// RenameGroup changes the name of a group; an empty name removes it. A missing
// group is [admin.ErrNotFound].
func (db *DB) RenameGroup(ctx context.Context, id, name string, actor admin.Actor) (admin.Group, error) {
	var renamed admin.Group
	err := db.transactAs(ctx, actor, "rename group", func(ctx context.Context, tx pgx.Tx) (err error) {
		renamed, err = queryRow[admin.Group](ctx, tx, statement("rename_group"), pgx.StrictNamedArgs{"id": id, "name": name})
		if errors.Is(err, pgx.ErrNoRows) {
			return refuseMissing(admin.Subject{Kind: admin.GroupKind, ID: id})
		}
		if err != nil {
			return err
		}
		return record(ctx, tx, "group.update", id, renamed)
	})
	return renamed, err
}

// DeleteGroup deletes a group, ends its memberships and revokes its grants. A
// missing group is [admin.ErrNotFound].
func (db *DB) DeleteGroup(ctx context.Context, id string, actor admin.Actor) (admin.Deletion, error) {
	var gone admin.Deletion
	err := db.transactAs(ctx, actor, "delete group", func(ctx context.Context, tx pgx.Tx) (err error) {
		if gone, err = deleteSubject(ctx, tx, admin.Subject{Kind: admin.GroupKind, ID: id}, statement("delete_group")); err != nil {
			return err
		}
		return record(ctx, tx, "group.delete", id, gone)
	})
	return gone, err
}
