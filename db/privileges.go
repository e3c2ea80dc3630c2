package db

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/usher-auth/usher/internal/principal"
)

const insufficientPrivilege = "42501" // PostgreSQL, appendix A

// A PrivilegeError says that the role in the database URL lacks a privilege. It is
// a fault of the configuration. For callers of the service it is a
// [principal.ErrUnavailable] like any other.
type PrivilegeError struct {
	operation string
	cause     error
	has       string // the roles that have the privilege, in a sentence, if known
}

func (e *PrivilegeError) Error() string {
	text := fmt.Sprintf("db: %s: the role in the database URL may not do that: %s", e.operation, inFull(e.cause))
	if e.has != "" {
		text += ". " + e.has
	}
	return text
}

// Unwrap returns [principal.ErrUnavailable] and the error of Postgres.
func (e *PrivilegeError) Unwrap() []error { return []error{principal.ErrUnavailable, e.cause} }

// NameRoles adds to a [PrivilegeError] which roles have the privilege. Other errors it
// returns as they are.
func (db *DB) NameRoles(ctx context.Context, err error) error {
	if _, ok := errors.AsType[*PrivilegeError](err); !ok {
		return err
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), queryTimeout)
	defer cancel()
	return nameRoles(ctx, db.pool, err)
}

// nameRoles asks Postgres' catalogs, which every role may read. If they cannot be
// read, as by a role that may not connect, it returns the error as it is.
func nameRoles(ctx context.Context, q querier, err error) error {
	lacks, ok := errors.AsType[*PrivilegeError](err)
	if !ok {
		return err
	}
	type rights struct {
		Role, Owner      string
		Serves, Audits   bool // this role may use the schemas usher, audit
		Service, Auditor []string
	}
	r, asked := queryRow[rights](ctx, q, statement("roles_with_rights"), nil)
	if asked != nil {
		return err
	}
	named := *lacks
	member := func(of []string) string { return "a member of " + strings.Join(of, " or ") }
	switch {
	case r.Role == r.Owner:
		return err
	case r.Serves, len(r.Service) == 0:
		named.has = fmt.Sprintf("Connect as %s, the owner", r.Owner)
	case r.Audits:
		named.has = fmt.Sprintf("Connect as %s, or as %s, the owner", member(r.Service), r.Owner)
	default:
		named.has = fmt.Sprintf("Role %s has no rights in usher's schemas: connect as %s for usher audit, as %s for the other commands, or as %s, the owner",
			r.Role, member(r.Auditor), member(r.Service), r.Owner)
	}
	return &named
}
