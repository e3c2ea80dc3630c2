package db

import (
	"context"
	"errors"

	"github.com/jackc/pgx/v5"

	"github.com/usher-auth/usher/internal/admin"
)

// AddOrganization adds an organization to usher's own directory. The rules for the
// id are those for a user's; the name may be empty. A duplicate id is
// [admin.ErrExists].
func (db *DB) AddOrganization(ctx context.Context, id, name string, actor admin.Actor) (admin.Organization, error) {
	if err := checkID(admin.OrganizationKind, id); err != nil {
		return admin.Organization{}, err
	}
	var organization admin.Organization
	err := db.transactAs(ctx, actor, "add organization", func(ctx context.Context, tx pgx.Tx) (err error) {
		organization, err = queryRow[admin.Organization](ctx, tx, statement("add_organization"),
			pgx.StrictNamedArgs{"id": id, "name": name, "actor": actor})
		if violates(err, uniqueViolation, "organizations_pkey") {
			return refuseExisting(admin.Subject{Kind: admin.OrganizationKind, ID: id})
		}
		if err != nil {
			return err
		}
		return record(ctx, tx, "organization.add", id, organization)
	})
	return organization, err
}

// Organization returns an organization of usher's own directory, or [admin.ErrNotFound].
func (db *DB) Organization(ctx context.Context, id string) (admin.Organization, error) {
	if err := db.checkOwnDirectory(ctx, "get organization"); err != nil {
		return admin.Organization{}, err
	}
	return get[admin.Organization](ctx, db, admin.Subject{Kind: admin.OrganizationKind, ID: id}, statement("organization"))
}

// Organizations lists the organizations of usher's own directory by id.
func (db *DB) Organizations(ctx context.Context, page admin.Page[string]) ([]admin.Organization, error) {
	if err := db.checkOwnDirectory(ctx, "list organizations"); err != nil {
		return nil, err
	}
	return ask[admin.Organization](ctx, db, "list organizations", statement("list_organizations"), pgx.StrictNamedArgs{"after": page.After, "limit": page.Limit})
}

// RenameOrganization changes the name of an organization; an empty name removes it.
// A missing organization is [admin.ErrNotFound].
func (db *DB) RenameOrganization(ctx context.Context, id, name string, actor admin.Actor) (admin.Organization, error) {
	var renamed admin.Organization
	err := db.transactAs(ctx, actor, "rename organization", func(ctx context.Context, tx pgx.Tx) (err error) {
		renamed, err = queryRow[admin.Organization](ctx, tx, statement("rename_organization"), pgx.StrictNamedArgs{"id": id, "name": name})
		if errors.Is(err, pgx.ErrNoRows) {
			return refuseMissing(admin.Subject{Kind: admin.OrganizationKind, ID: id})
		}
		if err != nil {
			return err
		}
		return record(ctx, tx, "organization.update", id, renamed)
	})
	return renamed, err
}

// DeleteOrganization deletes an organization, ends its memberships, and revokes its
// grants and those confined to its sessions. An organization that still has groups
// is [admin.ErrInUse], a missing one [admin.ErrNotFound].
func (db *DB) DeleteOrganization(ctx context.Context, id string, actor admin.Actor) (admin.Deletion, error) {
	var gone admin.Deletion
	err := db.transactAs(ctx, actor, "delete organization", func(ctx context.Context, tx pgx.Tx) (err error) {
		gone, err = deleteSubject(ctx, tx, admin.Subject{Kind: admin.OrganizationKind, ID: id}, statement("delete_organization"))
		if violates(err, foreignKeyViolation, "groups_organization_id_fkey") {
			return refuse(admin.ErrInUse, "organization %q still has groups: delete those first", id)
		}
		if err != nil {
			return err
		}
		return record(ctx, tx, "organization.delete", id, gone)
	})
	return gone, err
}
