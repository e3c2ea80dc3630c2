package db

import (
	"context"
	"errors"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/usher-auth/usher/internal/admin"
	"github.com/usher-auth/usher/permissions"
	"github.com/usher-auth/usher/session"
)

// Codes of PostgreSQL, appendix A.
const (
	invalidParameterValue = "22023"
	featureNotSupported   = "0A000"
)

// WhoCan lists who can open a room or a store now, with access or more. An id
// that is none, or an access other than Read and Full, is [admin.ErrInvalid]. An
// opening is its own place in the list.
func (db *DB) WhoCan(ctx context.Context, r permissions.Resource, access permissions.Access, page admin.Page[admin.Opening]) ([]admin.Opening, error) {
	return ask[admin.Opening](ctx, db, "who can", statement("who_can"), openingArgs(r, access, page))
}

func openingArgs(r permissions.Resource, access permissions.Access, page admin.Page[admin.Opening]) pgx.StrictNamedArgs {
	after := page.After
	return pgx.StrictNamedArgs{
		"kind": r.Kind.String(), "id": r.ID, "access": access.String(), "limit": page.Limit,
		"after_principal_kind": after.PrincipalKind, "after_principal_id": after.PrincipalID, "after_access": after.Access,
		"after_grant_id": after.GrantID, "after_pattern": after.Pattern, "after_organization_id": after.OrganizationID,
		"after_through_kind": after.ThroughKind, "after_through_id": after.ThroughID,
	}
}

// WhoCould is [DB.WhoCan] for a time in the past. Over a directory that keeps
// no history it is [admin.ErrNoHistory].
func (db *DB) WhoCould(ctx context.Context, r permissions.Resource, at time.Time, access permissions.Access, page admin.Page[admin.Opening]) ([]admin.Opening, error) {
	args := openingArgs(r, access, page)
	args["at"] = at
	return ask[admin.Opening](ctx, db, "who could", statement("who_could"), args)
}

// WhatCan lists what a user may open now: nothing, where the directory does not
// list the user or calls him disabled. A reach is its own place in the list.
func (db *DB) WhatCan(ctx context.Context, user string, page admin.Page[admin.Reach]) ([]admin.Reach, error) {
	after := page.After
	return ask[admin.Reach](ctx, db, "what can", statement("what_can"), pgx.StrictNamedArgs{
		"user_id": user, "limit": page.Limit, "after_resource_kind": after.ResourceKind, "after_pattern": after.Pattern,
		"after_access": after.Access, "after_grant_id": after.GrantID, "after_organization_id": after.OrganizationID,
		"after_through_kind": after.ThroughKind, "after_through_id": after.ThroughID,
	})
}

// ExplainAccess explains what a user can do with a room or a store now: what
// counts comes first, then what names the id and does not count.
func (db *DB) ExplainAccess(ctx context.Context, user string, r permissions.Resource) (admin.Explanation, error) {
	rows, err := ask[admin.ExplainedGrant](ctx, db, "explain access", statement("why"),
		pgx.StrictNamedArgs{"user_id": user, "kind": r.Kind.String(), "id": r.ID})
	if err != nil {
		return admin.Explanation{}, err
	}
	return admin.Explanation{Access: rows[0].Access, Why: rows[0].Why, Grants: rows[1:]}, nil
}

// Holders lists the tokens that opened a room or a store at a time: issued then
// or before, and not yet expired. A verifier's leeway comes on top.
func (db *DB) Holders(ctx context.Context, r permissions.Resource, at time.Time, page admin.Page[admin.HolderPlace]) ([]admin.Holder, error) {
	return ask[admin.Holder](ctx, db, "holders", statement("holders"), pgx.StrictNamedArgs{
		"kind": r.Kind.String(), "id": r.ID, "at": at, "limit": page.Limit,
		"after_user_id": page.After.UserID, "after_issued_at": page.After.IssuedAt, "after_jti": page.After.JTI,
	})
}

// An IssuedToken is the record of a token.
type IssuedToken struct {
	JTI            string           `json:"jti"`
	IssuedAt       time.Time        `json:"issuedAt"`
	ExpiresAt      time.Time        `json:"expiresAt"`
	UserID         string           `json:"userId"`
	OrganizationID string           `json:"organizationId,omitempty"`
	Audience       string           `json:"audience"`
	Room           string           `json:"room,omitempty"` // as asked for
	Store          string           `json:"store,omitempty"`
	Patterns       session.Patterns `json:"patterns"`
	Partial        bool             `json:"partial"`
	CallerKind     string           `json:"callerKind"`
	CallerID       string           `json:"callerId,omitempty"`
	IP             string           `json:"ip,omitempty"`
	UserAgent      string           `json:"userAgent,omitempty"`
	Origin         string           `json:"origin,omitempty"`
	RequestID      string           `json:"requestId"`
}

// TokensOf lists the tokens that a user was given since a time, newest first.
func (db *DB) TokensOf(ctx context.Context, user string, since time.Time) ([]IssuedToken, error) {
	return ask[IssuedToken](ctx, db, "tokens of", statement("tokens_of"), pgx.StrictNamedArgs{"user_id": user, "since": since})
}

// UnusedGrants lists grants that have held since a time and of which no token
// since then made use; audit.unused_grants says exactly when. It reads all
// those tokens, which takes minutes where they are millions.
func (db *DB) UnusedGrants(ctx context.Context, since time.Time) ([]admin.Grant, error) {
	return askWithin[admin.Grant](ctx, reportTimeout, db, "unused grants", statement("unused_grants"), pgx.StrictNamedArgs{"since": since})
}

// A RiskyGrant is a grant, or an API key, that somebody should look at.
type RiskyGrant struct {
	Reason         string    `json:"reason"`             // a slug: see audit.risky_grants
	GrantID        int64     `json:"grantId,omitempty"`  // zero for an API key
	APIKeyID       string    `json:"apiKeyId,omitempty"` // empty for a grant, as what follows is for an API key
	SubjectKind    string    `json:"subjectKind,omitempty"`
	SubjectID      string    `json:"subjectId,omitempty"`
	OrganizationID string    `json:"organizationId,omitempty"`
	ResourceKind   string    `json:"resourceKind,omitempty"`
	Pattern        string    `json:"pattern,omitempty"`
	Access         string    `json:"access,omitempty"`
	CreatedAt      time.Time `json:"createdAt"`
	CreatedBy      string    `json:"createdBy"`
}

// RiskyGrants lists what holds now or will, by reason. One grant may have
// several.
func (db *DB) RiskyGrants(ctx context.Context) ([]RiskyGrant, error) {
	return askWithin[RiskyGrant](ctx, reportTimeout, db, "risky grants", statement("risky_grants"), nil)
}

// A PastMembership is one that goes on or has ended.
type PastMembership struct {
	UserID       string     `json:"userId"`
	MemberOfKind string     `json:"memberOfKind"` // "organization" or "group"
	MemberOfID   string     `json:"memberOfId"`
	Since        time.Time  `json:"since"`
	Until        *time.Time `json:"until,omitempty"`
	AddedBy      string     `json:"addedBy"`
	EndedBy      string     `json:"endedBy,omitempty"`
}

// MembershipHistory lists all memberships that a user, a group or an
// organization ever had, oldest first. Over a directory that keeps no history
// it is [admin.ErrNoHistory].
func (db *DB) MembershipHistory(ctx context.Context, of admin.Subject) ([]PastMembership, error) {
	return ask[PastMembership](ctx, db, "membership history", statement("membership_history"), pgx.StrictNamedArgs{"kind": of.Kind, "id": of.ID})
}

// reportTimeout bounds a question whose answer takes reading the whole audit,
// or all grants.
const reportTimeout = 10 * time.Minute

// ask lists the answers to an auditor's question, which are looked up.
func ask[T any](ctx context.Context, db *DB, operation, sql string, args pgx.StrictNamedArgs) ([]T, error) {
	return askWithin[T](ctx, adminTimeout, db, operation, sql, args)
}

// askWithin is ask with a limit of time. The audit's functions say themselves
// what is wrong with a question.
func askWithin[T any](ctx context.Context, limit time.Duration, db *DB, operation, sql string, args pgx.StrictNamedArgs) ([]T, error) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	rows, err := db.pool.Query(ctx, sql, args)
	if err != nil {
		return nil, failed(operation, err)
	}
	answers, err := pgx.CollectRows(rows, pgx.RowToStructByName[T])
	pgErr, ok := errors.AsType[*pgconn.PgError](err)
	switch {
	case ok && pgErr.Code == invalidParameterValue:
		return nil, refuse(admin.ErrInvalid, "%s. %s", pgErr.Message, pgErr.Hint)
	case ok && pgErr.Code == featureNotSupported:
		return nil, refuse(admin.ErrNoHistory, "%s. %s", pgErr.Message, pgErr.Hint)
	}
	return answers, failed(operation, err)
}
