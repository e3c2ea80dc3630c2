package db

import (
	"context"
	"errors"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/usher-auth/usher/audit"
	"github.com/usher-auth/usher/internal/admin"
	"github.com/usher-auth/usher/permissions"
)

// Codes of PostgreSQL, appendix A.
const (
	invalidParameterValue = "22023"
	featureNotSupported   = "0A000"
)

// WhoCan lists who can open a room or a store now, with access or more. An invalid
// id, or an access other than Read and Full, is [admin.ErrInvalid]. An opening is
// its own place in the list.
func (db *DB) WhoCan(ctx context.Context, r permissions.Resource, access permissions.Access, page admin.Page[audit.Opening]) ([]audit.Opening, error) {
	return ask[audit.Opening](ctx, db, "who can", statement("who_can"), openingArgs(r, access, page))
}

func openingArgs(r permissions.Resource, access permissions.Access, page admin.Page[audit.Opening]) pgx.StrictNamedArgs {
	after := page.After
	return pgx.StrictNamedArgs{
		"kind": r.Kind.String(), "id": r.ID, "access": access.String(), "limit": page.Limit,
		"after_principal_kind": after.PrincipalKind, "after_principal_id": after.PrincipalID, "after_access": after.Access,
		"after_grant_id": after.GrantID, "after_pattern": after.Pattern, "after_organization_id": after.OrganizationID,
		"after_through_kind": after.ThroughKind, "after_through_id": after.ThroughID,
	}
}

// WhoCould is [DB.WhoCan] for a time in the past. If the directory keeps no
// history, the error is [admin.ErrNoHistory].
func (db *DB) WhoCould(ctx context.Context, r permissions.Resource, at time.Time, access permissions.Access, page admin.Page[audit.Opening]) ([]audit.Opening, error) {
	args := openingArgs(r, access, page)
	args["at"] = at
	return ask[audit.Opening](ctx, db, "who could", statement("who_could"), args)
}

// WhatCan lists what a user may open now. The list is empty if the user is disabled
// or not in the directory. A reach is its own place in the list.
func (db *DB) WhatCan(ctx context.Context, user string, page admin.Page[audit.Reach]) ([]audit.Reach, error) {
	after := page.After
	return ask[audit.Reach](ctx, db, "what can", statement("what_can"), pgx.StrictNamedArgs{
		"user_id": user, "limit": page.Limit, "after_resource_kind": after.ResourceKind, "after_pattern": after.Pattern,
		"after_access": after.Access, "after_grant_id": after.GrantID, "after_organization_id": after.OrganizationID,
		"after_through_kind": after.ThroughKind, "after_through_id": after.ThroughID,
	})
}

// Why explains a user's access to a room or a store now: first the grants that
// count, then those that name the id and do not count.
func (db *DB) Why(ctx context.Context, user string, r permissions.Resource) (audit.Why, error) {
	rows, err := ask[audit.WhyGrant](ctx, db, "explain access", statement("why"),
		pgx.StrictNamedArgs{"user_id": user, "kind": r.Kind.String(), "id": r.ID})
	if err != nil {
		return audit.Why{}, err
	}
	return audit.Why{Access: rows[0].Access, Why: rows[0].Why, Grants: rows[1:]}, nil
}

// Holders lists the tokens that opened a room or a store at a time: issued by then
// and not yet expired. A verifier's leeway is not counted.
func (db *DB) Holders(ctx context.Context, r permissions.Resource, at time.Time, page admin.Page[admin.HolderPlace]) ([]audit.Holder, error) {
	return ask[audit.Holder](ctx, db, "holders", statement("holders"), pgx.StrictNamedArgs{
		"kind": r.Kind.String(), "id": r.ID, "at": at, "limit": page.Limit,
		"after_user_id": page.After.UserID, "after_issued_at": page.After.IssuedAt, "after_jti": page.After.JTI,
	})
}

// TokensOf lists the tokens issued for a user since a time, newest first.
func (db *DB) TokensOf(ctx context.Context, user string, since time.Time) ([]audit.Record, error) {
	return ask[audit.Record](ctx, db, "tokens of", statement("tokens_of"), pgx.StrictNamedArgs{"user_id": user, "since": since})
}

// UnusedGrants lists grants in force since a time that no token issued since then
// used; audit.unused_grants defines it exactly. It reads all those tokens, which
// takes minutes for millions of them.
func (db *DB) UnusedGrants(ctx context.Context, since time.Time) ([]admin.Grant, error) {
	return askWithin[admin.Grant](ctx, reportTimeout, db, "unused grants", statement("unused_grants"), pgx.StrictNamedArgs{"since": since})
}

// RiskyGrants lists risky grants that are or will be in force, by reason. One grant
// may have several reasons.
func (db *DB) RiskyGrants(ctx context.Context) ([]audit.RiskyGrant, error) {
	return askWithin[audit.RiskyGrant](ctx, reportTimeout, db, "risky grants", statement("risky_grants"), nil)
}

// MembershipHistory lists all memberships that a user, a group or an organization
// ever had, oldest first. If the directory keeps no history, the error is
// [admin.ErrNoHistory].
func (db *DB) MembershipHistory(ctx context.Context, of admin.Subject) ([]audit.Membership, error) {
	return ask[audit.Membership](ctx, db, "membership history", statement("membership_history"), pgx.StrictNamedArgs{"kind": of.Kind, "id": of.ID})
}

// reportTimeout bounds a query that reads the whole audit or all grants.
const reportTimeout = 10 * time.Minute

// ask returns the rows of an administrator's or auditor's query that uses an index.
func ask[T any](ctx context.Context, db *DB, operation, sql string, args pgx.StrictNamedArgs) ([]T, error) {
	return askWithin[T](ctx, adminTimeout, db, operation, sql, args)
}

// askWithin is ask with a time limit. The audit's functions report invalid
// arguments themselves.
func askWithin[T any](ctx context.Context, limit time.Duration, db *DB, operation, sql string, args pgx.StrictNamedArgs) (answers []T, err error) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	err = db.read(ctx, func(q querier) error {
		rows, err := q.Query(ctx, sql, args)
		if err != nil {
			return err
		}
		answers, err = pgx.CollectRows(rows, pgx.RowToStructByName[T])
		return err
	})
	pgErr, ok := errors.AsType[*pgconn.PgError](err)
	switch {
	case ok && pgErr.Code == invalidParameterValue:
		return nil, refuse(admin.ErrInvalid, "%s. %s", pgErr.Message, pgErr.Hint)
	case ok && pgErr.Code == featureNotSupported:
		return nil, refuse(admin.ErrNoHistory, "%s. %s", pgErr.Message, pgErr.Hint)
	}
	return answers, failed(operation, err)
}
