package db

import (
	"context"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"embed"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/usher-auth/usher/internal/admin"
	"github.com/usher-auth/usher/internal/secret"
)

//go:embed migrations/*.sql
var migrations embed.FS

// Mode is the purpose of a database. The first migration stores it, and it never
// changes.
type Mode string

// Each program refuses databases of the other mode.
const (
	Production Mode = "production" // usher serve
	Dev        Mode = "dev"        // usher dev, with demo data
)

// A WrongModeError says that a database belongs to the other program.
type WrongModeError struct{ Got, Want Mode }

func (e *WrongModeError) Error() string {
	if e.Got == "" {
		return "db: this database has tables that are not usher's: usher dev accepts an empty database or one that it created"
	}
	if e.Got == Dev {
		return "db: this database was created by usher dev and has demo users: usher serve accepts only one created by usher migrate"
	}
	return "db: this is a production database: usher dev accepts an empty database or one that it created"
}

// A Migration is one step of the schema.
type Migration struct {
	Version int64  `json:"version"`
	Name    string `json:"name"`
	Applied bool   `json:"applied"`
}

// MigrateConfig is what [Migrate] is told. The mode is required.
type MigrateConfig struct {
	Mode Mode
	// RoleSuffix ends the names of [Roles]. If it is empty, a database keeps those that
	// it has, and a new one gets its name as the suffix. Another suffix than the
	// database's moves all privileges to other roles.
	RoleSuffix string
}

// Migrated is what [Migrate] did and found.
type Migrated struct {
	Applied []Migration
	Roles   Roles
	// SharedWith are other databases of the server in which these roles have
	// privileges, as where one database is a copy of another. A login of one can then
	// read the other.
	SharedWith []string
}

// Migrate brings the schema up to this binary's version and marks a new database
// with the mode, all in one transaction: if a step fails, the database stays as it was.
// Concurrent calls wait for each other. The URL's role must own the database. It needs
// CREATEROLE, unless the two roles already exist.
func Migrate(ctx context.Context, url secret.Text, cfg MigrateConfig) (*Migrated, error) {
	conn, err := connect(ctx, url)
	if err != nil {
		return nil, err
	}
	defer conn.Close(ctx)
	if encoding := conn.PgConn().ParameterStatus("server_encoding"); encoding != "UTF8" {
		return nil, fmt.Errorf("db: migrate: the database has encoding %s, but ids are Unicode: create it with ENCODING 'UTF8'", encoding)
	}
	if cfg.Mode == Dev {
		var foreign bool
		if err := conn.QueryRow(ctx, statement("has_foreign_tables")).Scan(&foreign); err != nil {
			return nil, fmt.Errorf("db: migrate: %w", inFull(err))
		}
		if foreign {
			return nil, &WrongModeError{Want: Dev}
		}
	}
	if err := checkSchemas(ctx, conn); err != nil {
		return nil, nameRoles(ctx, conn, err)
	}
	if err := makeMigrationsTable(ctx, conn); err != nil {
		return nil, migrateFailed(ctx, conn, err)
	}
	done, err := migrateUnlocked(ctx, conn, cfg)
	if _, refused := errors.AsType[*admin.Refusal](err); refused {
		return nil, err
	}
	if err != nil {
		return nil, migrateFailed(ctx, conn, err)
	}
	return done, nil
}

// Requests queue behind a step that waits for a table, so a step waits only for
// stepLockTimeout. Then all steps are rolled back and tried again, at most
// migrateTries times.
const (
	stepLockTimeout = "200ms"
	migrateTries    = 60
	migrateRetry    = 500 * time.Millisecond
)

// migrateUnlocked runs the transaction of all steps. An open report of an auditor, for
// example, may hold a table that a step changes.
func migrateUnlocked(ctx context.Context, conn *pgx.Conn, cfg MigrateConfig) (done *Migrated, err error) {
	for range migrateTries {
		err = pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) (err error) {
			done, err = migrate(ctx, tx, cfg)
			return err
		})
		if !hasCode(err, lockNotAvailable) {
			return done, err
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(migrateRetry):
		}
	}
	return nil, fmt.Errorf("other transactions hold usher's tables, and nothing has changed: end them (pg_stat_activity lists them), then run usher migrate up again: %w", err)
}

func migrateFailed(ctx context.Context, conn *pgx.Conn, err error) error {
	if hasCode(err, insufficientPrivilege) {
		return nameRoles(ctx, conn, &PrivilegeError{operation: "migrate", cause: err})
	}
	return fmt.Errorf("db: migrate: %w", inFull(err))
}

// checkSchemas refuses a schema that has one of usher's names and is used by the
// application: its tables would mix with those that auditors read.
func checkSchemas(ctx context.Context, conn *pgx.Conn) error {
	type schema struct{ Schema, Owner, Holds string }
	found, err := list[schema](ctx, conn, "migrate", statement("foreign_schemas"), nil)
	if err != nil || len(found) == 0 {
		return err
	}
	s := found[0]
	what := "belongs to role " + s.Owner
	if s.Holds != "" {
		what = "holds " + s.Holds
	}
	return refuse(admin.ErrInUse, "this database has a schema %s that is not usher's: it %s. Nothing has changed. usher needs its own schemas usher and audit: "+
		"rename that schema, or give usher a database of its own", s.Schema, what)
}

// makeMigrationsTable creates the table that the transaction of all steps locks. IF
// NOT EXISTS does not wait for a concurrent CREATE of the same table: it fails, and
// the next attempt finds the table.
func makeMigrationsTable(ctx context.Context, conn *pgx.Conn) (err error) {
	for range 10 {
		if _, err = conn.Exec(ctx, "CREATE SCHEMA IF NOT EXISTS usher"); err == nil {
			_, err = conn.Exec(ctx, statement("make_migrations_table"))
		}
		if !hasCode(err, uniqueViolation, duplicateSchema, duplicateTable, internalError) {
			return err
		}
	}
	return err
}

func migrate(ctx context.Context, tx pgx.Tx, cfg MigrateConfig) (*Migrated, error) {
	if _, err := tx.Exec(ctx, statement("lock_migrations")); err != nil {
		return nil, err
	}
	if err := setLocal(ctx, tx, "lock_timeout", stepLockTimeout); err != nil {
		return nil, err
	}
	done, err := appliedMigrations(ctx, tx)
	if err != nil {
		return nil, err
	}
	var roles Roles
	if len(done) > 0 {
		// Check before changing anything in a database of the other program.
		var d Deployment
		if err := tx.QueryRow(ctx, statement("deployment")).Scan(d.columns()...); err != nil {
			return nil, err
		}
		if d.Mode != cfg.Mode {
			return nil, &WrongModeError{Got: d.Mode, Want: cfg.Mode}
		}
		roles = d.Roles
	} else if roles, err = makeRoles(ctx, tx, cfg.RoleSuffix); err != nil {
		return nil, err
	}
	var applied []Migration
	for _, m := range embeddedMigrations() {
		if slices.Contains(done, m.Version) {
			continue
		}
		text, err := migrations.ReadFile("migrations/" + m.Name)
		if err != nil {
			return nil, err
		}
		if _, err := tx.Exec(ctx, roles.in(string(text))); err != nil {
			return nil, fmt.Errorf("%s: %w", m.Name, err)
		}
		if _, err := tx.Exec(ctx, statement("add_migration"), pgx.StrictNamedArgs{"version": m.Version, "name": m.Name}); err != nil {
			return nil, err
		}
		m.Applied = true
		applied = append(applied, m)
	}
	if len(done) == 0 {
		salt := make([]byte, 32)
		_, _ = rand.Read(salt) // never fails
		if _, err := tx.Exec(ctx, statement("mark_deployment"), pgx.StrictNamedArgs{"mode": cfg.Mode, "salt": salt}); err != nil {
			return nil, err
		}
	}
	if cfg.RoleSuffix != "" && roles.Service != serviceRole+"_"+cfg.RoleSuffix {
		old := roles
		if roles, err = makeRoles(ctx, tx, cfg.RoleSuffix); err != nil {
			return nil, err
		}
		if err := old.move(ctx, tx, roles); err != nil {
			return nil, err
		}
	}
	if _, err := tx.Exec(ctx, statement("set_roles"), pgx.StrictNamedArgs{"service": roles.Service, "auditor": roles.Auditor}); err != nil {
		return nil, err
	}
	changed, err := applySchema(ctx, tx, roles)
	if err != nil {
		return nil, err
	}
	if changed {
		applied = append(applied, Migration{Version: SchemaVersion(), Name: schemaStep, Applied: true})
	}
	if len(done) == 0 {
		if _, err := tx.Exec(ctx, statement("make_partitions")); err != nil {
			return nil, err
		}
	}
	shared, err := roles.otherDatabases(ctx, tx)
	return &Migrated{Applied: applied, Roles: roles, SharedWith: shared}, err
}

// makeRoles creates the roles of a new database.
func makeRoles(ctx context.Context, tx pgx.Tx, suffix string) (roles Roles, err error) {
	if suffix == "" {
		if err := tx.QueryRow(ctx, "SELECT current_database()").Scan(&suffix); err != nil {
			return roles, err
		}
	}
	if roles, err = rolesNamed(suffix); err != nil {
		return roles, err
	}
	_, err = tx.Exec(ctx, roles.SQL())
	if hasCode(err, insufficientPrivilege) {
		return roles, refuse(admin.ErrInvalid, "the roles %s and %s are missing, and this role may not create them. No part of the schema was applied: "+
			"have a role with CREATEROLE run what usher migrate roles prints, then run usher migrate up again", roles.Service, roles.Auditor)
	}
	return roles, err
}

// appliedMigrations returns the versions that were applied to the database.
func appliedMigrations(ctx context.Context, q querier) ([]int64, error) {
	rows, err := q.Query(ctx, statement("migrations_applied"))
	if err != nil {
		return nil, err
	}
	versions, err := pgx.CollectRows(rows, pgx.RowTo[int64])
	if hasCode(err, undefinedColumn) {
		return nil, errors.New("this database was made by a build from before the first release, whose steps are no longer there: start with a new database")
	}
	return versions, err
}

// MigrationStatus lists the steps of this binary, views and functions last, and
// whether each was applied. It writes nothing.
func MigrationStatus(ctx context.Context, url secret.Text) ([]Migration, error) {
	conn, err := connect(ctx, url)
	if err != nil {
		return nil, err
	}
	defer conn.Close(ctx)
	applied, err := appliedMigrations(ctx, conn)
	if hasCode(err, insufficientPrivilege) {
		return nil, nameRoles(ctx, conn, &PrivilegeError{operation: "migration status", cause: err})
	}
	if err != nil && !hasCode(err, undefinedTable, undefinedSchema) {
		return nil, fmt.Errorf("db: migration status: %w", err)
	}
	steps := embeddedMigrations()
	for i := range steps {
		steps[i].Applied = slices.Contains(applied, steps[i].Version)
	}
	step := Migration{Version: SchemaVersion(), Name: schemaStep}
	if len(applied) > 0 {
		var hash string
		err := conn.QueryRow(ctx, statement("schema_applied")).Scan(&hash, nil)
		if err != nil && !errors.Is(err, pgx.ErrNoRows) {
			return nil, fmt.Errorf("db: migration status: %w", err)
		}
		step.Applied = hash == schemaHash()
	}
	return append(steps, step), nil
}

func connect(ctx context.Context, url secret.Text) (*pgx.Conn, error) {
	cfg, err := parseURL(url)
	if err != nil {
		return nil, err
	}
	if cfg.ConnConfig.ConnectTimeout == 0 {
		cfg.ConnConfig.ConnectTimeout = 5 * connectTimeout
	}
	pooled, err := isPooler(ctx, cfg.ConnConfig)
	if err != nil {
		return nil, unavailable("connect", err)
	}
	if pooled {
		return nil, errPooler
	}
	conn, err := pgx.ConnectConfig(ctx, cfg.ConnConfig)
	if err != nil {
		return nil, unavailable("connect", err)
	}
	return conn, nil
}

// embeddedMigrations lists the steps of this binary in order.
func embeddedMigrations() []Migration {
	entries, err := migrations.ReadDir("migrations")
	if err != nil {
		panic(err) // they are embedded
	}
	steps := make([]Migration, len(entries))
	for i, e := range entries {
		number, _, _ := strings.Cut(e.Name(), "_")
		version, err := strconv.ParseInt(number, 10, 64)
		if err != nil {
			panic(err)
		}
		steps[i] = Migration{Version: version, Name: e.Name()}
	}
	return steps
}

// SchemaVersion is the version that this binary needs.
func SchemaVersion() int64 {
	steps := embeddedMigrations()
	return steps[len(steps)-1].Version
}

// A Deployment describes a database to the program that opens it.
type Deployment struct {
	Mode          Mode
	SchemaVersion int64
	// MayRewriteAudit says that the role may change or delete audit rows, as owners
	// and superusers may. usher serve must not use such a role.
	MayRewriteAudit bool
	// MayCreateInPublic says that the role may create objects in schema public, which
	// other roles could then call in place of Postgres' own.
	MayCreateInPublic bool
	// LosesCommits says that a crash may lose an acknowledged commit, because
	// synchronous_commit or fsync is off.
	LosesCommits bool
	// Directory names the one in force: see [DB.UseDirectory].
	Directory string
	// SchemaCurrent says that the views and functions are those of this binary. If
	// not, usher migrate up replaces them.
	SchemaCurrent bool

	// Roles are those that have privileges in this database.
	Roles Roles

	salt       []byte
	schemaHash string
}

// columns are the scan targets for a row of deployment.sql.
func (d *Deployment) columns() []any {
	return []any{&d.Mode, &d.SchemaVersion, &d.MayRewriteAudit, &d.MayCreateInPublic, &d.LosesCommits, &d.salt, &d.Directory, &d.schemaHash, &d.Roles.Service, &d.Roles.Auditor}
}

// Deployment reads the database's mark, or returns [ErrNotMigrated].
func (db *DB) Deployment(ctx context.Context) (Deployment, error) {
	var d Deployment
	err := db.pool.QueryRow(ctx, statement("deployment")).Scan(d.columns()...)
	switch {
	case errors.Is(err, pgx.ErrNoRows), hasCode(err, undefinedTable, undefinedSchema, undefinedColumn):
		return Deployment{}, ErrNotMigrated
	case err != nil:
		return Deployment{}, db.NameRoles(ctx, unavailable("deployment", err))
	}
	d.SchemaCurrent = d.schemaHash == schemaHash()
	return d, nil
}

// Key derives a key for one purpose from a secret that only the deployment's replicas
// know.
func (d *Deployment) Key(purpose string) ([]byte, error) {
	return hkdf.Key(sha256.New, d.salt, nil, purpose, sha256.Size)
}

// ErrNotMigrated says that the database has no usher schema yet.
var ErrNotMigrated = errors.New("db: no usher schema in this database: run usher migrate up")
