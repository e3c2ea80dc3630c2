package db

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/usher-auth/usher/internal/admin"
	"github.com/usher-auth/usher/permissions"
)

// AddGrant adds a grant. Warnings are sentences about a grant that it added.
//
// An invalid pattern is a [*permissions.PatternError]; an open prefix is that and
// [admin.ErrOpenPrefix]. A missing subject or organization is [admin.ErrNotFound].
// A duplicate of an active grant is [admin.ErrExists], because revoking one would
// leave the other. So is a template that can expand to the same id as an active one
// with different placeholders ([permissions.Template.Conflicts]).
func (db *DB) AddGrant(ctx context.Context, g admin.NewGrant, actor admin.Actor) (added admin.Grant, warnings []string, err error) {
	all, err := db.AddGrants(ctx, []admin.NewGrant{g}, actor)
	if e, ok := errors.AsType[*admin.IndexError](err); ok {
		err = e.Err
	}
	if err != nil {
		return admin.Grant{}, nil, err
	}
	return all[0].Grant, all[0].Warnings, nil
}

// AddGrants adds all of the grants, in order, or none. An error of [DB.AddGrant]
// for one of them is wrapped in an [*admin.IndexError].
func (db *DB) AddGrants(ctx context.Context, grants []admin.NewGrant, actor admin.Actor) ([]admin.AddedGrant, error) {
	templates, added := make([]permissions.Template, len(grants)), make([]admin.AddedGrant, len(grants))
	for i := range grants {
		var err error
		if templates[i], added[i].Warnings, err = checkGrant(&grants[i]); err != nil {
			return nil, &admin.IndexError{Index: i, Err: err}
		}
	}
	err := db.transactAs(ctx, actor, "add grants", func(ctx context.Context, tx pgx.Tx) (err error) {
		locked, changes := map[admin.Subject]string{}, make([]change, len(grants))
		for i := range grants {
			var unlisted []string
			if added[i].Grant, unlisted, err = addGrant(ctx, tx, &grants[i], templates[i], locked, actor); err != nil {
				return &admin.IndexError{Index: i, Err: failed("add grant", err)}
			}
			added[i].Warnings = append(added[i].Warnings, unlisted...)
			changes[i] = change{"grant.add", strconv.FormatInt(added[i].ID, 10), added[i].Grant}
		}
		return recordAll(ctx, tx, changes)
	})
	if err != nil {
		return nil, err
	}
	return added, nil
}

// addGrant adds a checked grant. locked are the subjects that the transaction has
// already locked, each with its warning.
func addGrant(ctx context.Context, tx pgx.Tx, g *admin.NewGrant, template permissions.Template, locked map[admin.Subject]string, actor admin.Actor) (added admin.Grant, warnings []string, err error) {
	subjects := []admin.Subject{g.Subject}
	if g.Organization != "" {
		subjects = append(subjects, admin.Subject{Kind: admin.OrganizationKind, ID: g.Organization})
	}
	for _, s := range subjects {
		warning, done := locked[s]
		if !done {
			if warning, err = lockSubject(ctx, tx, s); err != nil {
				return admin.Grant{}, nil, err
			}
			locked[s] = warning
		}
		if warning != "" {
			warnings = append(warnings, warning)
		}
	}
	if err := checkTemplate(ctx, tx, template); err != nil {
		return admin.Grant{}, nil, err
	}
	added, err = queryRow[admin.Grant](ctx, tx, statement("add_grant"), pgx.StrictNamedArgs{
		"subject_kind": g.Subject.Kind, "subject_id": g.Subject.ID, "organization_id": g.Organization,
		"resource_kind": g.Kind.String(), "pattern": g.Pattern, "access": g.Access.String(),
		"valid_from": nullableTime(g.From), "valid_until": nullableTime(g.Until), "reason": g.Reason, "actor": actor,
	})
	if errors.Is(err, pgx.ErrNoRows) {
		return admin.Grant{}, nil, refuseTwin(ctx, tx, g)
	}
	if violates(err, checkViolation, "grants_template_conflict") {
		return admin.Grant{}, nil, refuseConflict(g.Pattern, err)
	}
	return added, warnings, err
}

// checkGrant does the checks that need no database.
func checkGrant(g *admin.NewGrant) (template permissions.Template, warnings []string, err error) {
	switch g.Subject.Kind {
	case admin.UserKind, admin.GroupKind, admin.OrganizationKind:
		err = checkID(g.Subject.Kind, g.Subject.ID)
	case admin.EveryoneKind:
		if g.Subject.ID != "" {
			err = refuse(admin.ErrInvalid, "everyone has no id")
		}
	default:
		err = refuse(admin.ErrInvalid, "the subject must be a user, a group, an organization or everyone")
	}
	if err == nil && g.Organization != "" {
		err = checkID(admin.OrganizationKind, g.Organization)
	}
	if err != nil {
		return template, nil, err
	}
	if g.Access != permissions.Read && g.Access != permissions.Full {
		return template, nil, refuse(admin.ErrInvalid, "the access is neither read nor full")
	}
	if !g.Until.IsZero() && (!g.Until.After(g.From) || !g.Until.After(time.Now())) {
		return template, nil, refuse(admin.ErrInvalid, "the grant would end at %s, before it begins", g.Until.Format(time.RFC3339))
	}
	if template, err = permissions.ParseTemplate(g.Kind, g.Pattern); err != nil {
		return template, nil, err
	}
	if warnings, err = template.Lint(); err != nil && !g.OpenPrefix {
		return template, nil, fmt.Errorf("%w; %w", err, admin.ErrOpenPrefix)
	}
	return template, warnings, nil
}

// checkTemplate refuses a template that conflicts with an active one. The table's
// trigger refuses only the simplest case, but for every writer; this finds all
// cases. A concurrent call waits for this one.
func checkTemplate(ctx context.Context, tx pgx.Tx, template permissions.Template) error {
	if !strings.Contains(template.String(), "{") {
		return nil
	}
	args := pgx.StrictNamedArgs{"kind": template.Kind().String()}
	if _, err := tx.Exec(ctx, statement("lock_templates")); err != nil {
		return err
	}
	type liveTemplate struct {
		ID      int64
		Pattern string
	}
	others, err := list[liveTemplate](ctx, tx, "list templates", statement("live_templates"), args)
	if err != nil {
		return err
	}
	for _, other := range others {
		parsed, err := permissions.ParseTemplate(template.Kind(), other.Pattern)
		if err == nil && template.Conflicts(parsed) { // what cannot be parsed expands to nothing
			return refuseConflict(template.String(), fmt.Errorf("grant %d has %q", other.ID, other.Pattern))
		}
	}
	return nil
}

func refuseConflict(pattern string, cause error) error {
	why := cause.Error()
	if pgErr, ok := errors.AsType[*pgconn.PgError](cause); ok {
		why = pgErr.Message
	}
	return refuse(admin.ErrExists, "pattern %q conflicts: %s, and one id could match both with different values, so that a user could "+
		"enter what belongs to another user, organization or group. Start one of the two with a literal segment of its own, or revoke that grant first", pattern, why)
}

// refuseTwin names the active grant that is the same as g.
func refuseTwin(ctx context.Context, tx pgx.Tx, g *admin.NewGrant) error {
	live, err := listGrants(ctx, tx, admin.GrantFilter{Subject: g.Subject, Kind: g.Kind, Pattern: g.Pattern})
	if err != nil {
		return err
	}
	i := slices.IndexFunc(live, func(other admin.Grant) bool {
		return other.Access == g.Access.String() && other.OrganizationID == g.Organization && other.ValidUntil == nil
	})
	if i < 0 {
		return refuse(admin.ErrExists, "the same grant is being revoked: try again")
	}
	return refuse(admin.ErrExists, "grant %d is the same: revoke it first, or keep it", live[i].ID)
}

// Grants lists grants in order of creation.
func (db *DB) Grants(ctx context.Context, filter admin.GrantFilter, page admin.Page[int64]) ([]admin.Grant, error) {
	return ask[admin.Grant](ctx, db, "list grants", statement("list_grants"), grantArgs(filter, page))
}

// Grant returns a grant, active or not, or [admin.ErrNotFound].
func (db *DB) Grant(ctx context.Context, id int64) (admin.Grant, error) {
	found, err := db.Grants(ctx, admin.GrantFilter{ID: id, Ended: true}, admin.Page[int64]{})
	if err == nil && len(found) == 0 {
		err = refuseNoGrant(id)
	}
	if err != nil {
		return admin.Grant{}, err
	}
	return found[0], nil
}

func refuseNoGrant(id int64) error {
	return refuse(admin.ErrNotFound, "there is no grant %d: list the grants to find its id", id)
}

// listGrants lists grants in a transaction that changes them.
func listGrants(ctx context.Context, tx pgx.Tx, filter admin.GrantFilter) ([]admin.Grant, error) {
	return list[admin.Grant](ctx, tx, "list grants", statement("list_grants"), grantArgs(filter, admin.Page[int64]{}))
}

func grantArgs(filter admin.GrantFilter, page admin.Page[int64]) pgx.StrictNamedArgs {
	kind := ""
	if filter.Kind != 0 {
		kind = filter.Kind.String()
	}
	return pgx.StrictNamedArgs{
		"id": filter.ID, "subject_kind": filter.Subject.Kind, "subject_id": filter.Subject.ID,
		"resource_kind": kind, "pattern": filter.Pattern, "ended": filter.Ended,
		"after": page.After, "limit": page.Limit,
	}
}

// RevokeGrant revokes a grant, from the next request on, and returns it. If the
// grant does not exist or is already revoked, the error is [admin.ErrNotFound].
func (db *DB) RevokeGrant(ctx context.Context, id int64, reason string, actor admin.Actor) (admin.Grant, error) {
	var revoked admin.Grant
	err := db.transactAs(ctx, actor, "revoke grant", func(ctx context.Context, tx pgx.Tx) (err error) {
		revoked, err = queryRow[admin.Grant](ctx, tx, statement("revoke_grant"), pgx.StrictNamedArgs{"id": id, "reason": reason, "actor": actor})
		if err == nil {
			return record(ctx, tx, "grant.revoke", strconv.FormatInt(id, 10), revoked)
		}
		if !errors.Is(err, pgx.ErrNoRows) {
			return err
		}
		before, err := listGrants(ctx, tx, admin.GrantFilter{ID: id, Ended: true})
		switch {
		case err != nil:
			return err
		case len(before) == 0 || before[0].RevokedAt == nil:
			return refuseNoGrant(id)
		}
		return refuse(admin.ErrNotFound, "grant %d was already revoked at %s by %s",
			id, before[0].RevokedAt.UTC().Format(time.RFC3339), before[0].RevokedBy)
	})
	return revoked, err
}
