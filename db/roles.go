package db

import (
	"cmp"
	"context"
	"fmt"
	"regexp"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/usher-auth/usher/internal/admin"
	"github.com/usher-auth/usher/internal/secret"
)

// Roles are the two roles that have privileges in usher's schemas. Neither can log in:
// whoever runs usher serve is a member of the first, and auditors are of the second.
//
// Roles belong to the whole server, so each database has its own: a login of one
// database then has no privilege in another.
type Roles struct{ Service, Auditor string }

// The names of the roles in the schema's files, and the beginnings of their real ones.
const (
	serviceRole = "usher_service"
	auditorRole = "usher_auditor"
)

// roleSuffix matches what needs no care in a shell, and leaves room for the rest of
// the name: Postgres cuts off names of more than 63 bytes.
var roleSuffix = regexp.MustCompile(`^[A-Za-z0-9_.-]{1,49}$`)

// RolesFor returns the roles that [Migrate] uses for the database of a URL: named after
// a suffix, or if that is empty, after the database. It does not connect.
func RolesFor(url secret.Text, suffix string) (Roles, error) {
	if suffix != "" {
		return rolesNamed(suffix)
	}
	cfg, err := parseURL(url)
	if err != nil {
		return Roles{}, err
	}
	return rolesNamed(cmp.Or(cfg.ConnConfig.Database, cfg.ConnConfig.User))
}

func rolesNamed(suffix string) (Roles, error) {
	if !roleSuffix.MatchString(suffix) {
		return Roles{}, refuse(admin.ErrInvalid, "%.100q cannot be a part of the names of usher's roles: give 1 to 49 letters, digits, _, . or - as --role-suffix", suffix)
	}
	return Roles{Service: serviceRole + "_" + suffix, Auditor: auditorRole + "_" + suffix}, nil
}

// SQL is the script that creates the roles where they are missing, for a role with
// CREATEROLE.
func (r Roles) SQL() string {
	var sql strings.Builder
	sql.WriteString(`-- Creates the two roles that usher's schema uses, if the owner of usher's database
-- may not create roles. Run it once per database, as a role with CREATEROLE. Then run
-- usher migrate up as the owner.
--
-- Neither role can log in. Make the login role of usher serve a member of the
-- first, and auditors' login roles members of the second:
--
`)
	for _, login := range []struct{ name, group string }{{"usher", r.Service}, {"reports", r.Auditor}} {
		fmt.Fprintf(&sql, "--   CREATE ROLE %s LOGIN PASSWORD '...' IN ROLE %s;\n", login.name, quote(login.group))
	}
	sql.WriteString("DO $$\nBEGIN\n")
	for _, name := range []string{r.Service, r.Auditor} {
		fmt.Fprintf(&sql, "    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = '%s') THEN\n        CREATE ROLE %s NOLOGIN;\n    END IF;\n", name, quote(name))
	}
	sql.WriteString("END\n$$;\n")
	return sql.String()
}

// SharedRoles returns other databases of the server in which this database's roles have
// privileges: a login of one can read the others.
func (db *DB) SharedRoles(ctx context.Context, of Roles) ([]string, error) {
	databases, err := of.otherDatabases(ctx, db.pool)
	return databases, failed("shared roles", err)
}

// otherDatabases returns other databases of the server in which the roles have
// privileges.
func (r Roles) otherDatabases(ctx context.Context, q querier) ([]string, error) {
	rows, err := q.Query(ctx, statement("databases_of_roles"), pgx.StrictNamedArgs{"roles": []string{r.Service, r.Auditor}})
	if err != nil {
		return nil, err
	}
	return pgx.CollectRows(rows, pgx.RowTo[string])
}

// move gives others the privileges that the roles have in this database, and takes
// them from these.
func (r Roles) move(ctx context.Context, tx pgx.Tx, to Roles) error {
	type privilege struct{ Privilege, Object string }
	for _, role := range []struct{ from, to string }{{r.Service, to.Service}, {r.Auditor, to.Auditor}} {
		has, err := list[privilege](ctx, tx, "role privileges", statement("role_privileges"), pgx.StrictNamedArgs{"role": role.from})
		if err != nil {
			return err
		}
		for _, p := range has {
			if _, err := tx.Exec(ctx, fmt.Sprintf("GRANT %[1]s ON %[2]s TO %[3]s; REVOKE %[1]s ON %[2]s FROM %[4]s", p.Privilege, p.Object, quote(role.to), quote(role.from)),
				pgx.QueryExecModeSimpleProtocol); err != nil {
				return err
			}
		}
	}
	return nil
}

// in replaces the names that the schema's files use for the roles.
func (r Roles) in(sql string) string {
	return strings.NewReplacer(serviceRole, quote(r.Service), auditorRole, quote(r.Auditor)).Replace(sql)
}

func quote(name string) string { return pgx.Identifier{name}.Sanitize() }
