package db

import (
	"context"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/pressly/goose/v3"
	"github.com/pressly/goose/v3/lock"

	"github.com/usher-auth/usher/internal/secret"
)

var (
	//go:embed migrations/*.sql
	migrations embed.FS

	// RolesSQL is the script that makes the roles, for who may.
	//
	//go:embed roles.sql
	RolesSQL string

	//go:embed queries/has_foreign_tables.sql
	hasForeignTablesSQL string
	//go:embed queries/mark_deployment.sql
	markDeploymentSQL string
	//go:embed queries/migrations_applied.sql
	migrationsAppliedSQL string
	//go:embed queries/deployment.sql
	deploymentSQL string
)

// Mode says what a database is to usher. It is written once, at the first
// migration.
type Mode string

// A database of one mode is refused by the other's program.
const (
	Production Mode = "production" // usher serve
	Dev        Mode = "dev"        // usher dev, with demo data
)

// A WrongModeError says that a database belongs to the other program.
type WrongModeError struct{ Got, Want Mode }

func (e *WrongModeError) Error() string {
	if e.Got == "" {
		return "db: this database holds tables that are not usher's: usher dev takes an empty database or one that it made"
	}
	if e.Got == Dev {
		return "db: this database was made by usher dev and holds demo users: usher serve takes only one made by usher migrate"
	}
	return "db: this database is a production one: usher dev takes an empty database or one that it made"
}

// A Migration is one step of the schema.
type Migration struct {
	Version int64  `json:"version"`
	Name    string `json:"name"`
	Applied bool   `json:"applied"`
}

// Migrate brings the schema up to this binary's version, under an advisory
// lock, and marks a new database with mode. It returns the steps that it
// applied. The URL's role must own the database; it needs CREATEROLE, or the
// two roles made beforehand.
func Migrate(ctx context.Context, url secret.Text, mode Mode) ([]Migration, error) {
	conn, err := connect(ctx, url)
	if err != nil {
		return nil, err
	}
	defer conn.Close(ctx)
	if encoding := conn.PgConn().ParameterStatus("server_encoding"); encoding != "UTF8" {
		return nil, fmt.Errorf("db: migrate: the database has encoding %s: ids are Unicode, make it with ENCODING 'UTF8'", encoding)
	}
	if mode == Dev {
		var foreign bool
		if err := conn.QueryRow(ctx, hasForeignTablesSQL).Scan(&foreign); err != nil {
			return nil, fmt.Errorf("db: migrate: %w", err)
		}
		if foreign {
			return nil, &WrongModeError{Want: Dev}
		}
	}
	if _, err := conn.Exec(ctx, "CREATE SCHEMA IF NOT EXISTS usher"); err != nil {
		return nil, fmt.Errorf("db: migrate: %w", err)
	}
	applied, err := migrateUp(ctx, conn.Config())
	if err != nil {
		return nil, fmt.Errorf("db: migrate: %w", err)
	}
	salt := make([]byte, 32)
	_, _ = rand.Read(salt) // never fails
	var got Mode
	err = conn.QueryRow(ctx, markDeploymentSQL, pgx.StrictNamedArgs{"mode": mode, "salt": salt}).Scan(&got)
	if err != nil {
		return nil, fmt.Errorf("db: migrate: %w", err)
	}
	if got != mode {
		return nil, &WrongModeError{Got: got, Want: mode}
	}
	return applied, nil
}

func migrateUp(ctx context.Context, cfg *pgx.ConnConfig) ([]Migration, error) {
	sqlDB := stdlib.OpenDB(*cfg)
	defer sqlDB.Close()
	files, err := fs.Sub(migrations, "migrations")
	if err != nil {
		return nil, err
	}
	locker, err := lock.NewPostgresSessionLocker()
	if err != nil {
		return nil, err
	}
	provider, err := goose.NewProvider(goose.DialectPostgres, sqlDB, files,
		goose.WithSessionLocker(locker), goose.WithTableName("usher.migrations"))
	if err != nil {
		return nil, err
	}
	results, err := provider.Up(ctx)
	if err != nil {
		return nil, err
	}
	applied := make([]Migration, len(results))
	for i, r := range results {
		applied[i] = Migration{r.Source.Version, path.Base(r.Source.Path), true}
	}
	return applied, nil
}

// MigrationStatus lists the steps of this binary and which of them the
// database has. It writes nothing.
func MigrationStatus(ctx context.Context, url secret.Text) ([]Migration, error) {
	conn, err := connect(ctx, url)
	if err != nil {
		return nil, err
	}
	defer conn.Close(ctx)
	rows, err := conn.Query(ctx, migrationsAppliedSQL)
	if err != nil {
		return nil, fmt.Errorf("db: migration status: %w", err)
	}
	applied, err := pgx.CollectRows(rows, pgx.RowTo[int64])
	if err != nil && !hasCode(err, undefinedTable, undefinedSchema) {
		return nil, fmt.Errorf("db: migration status: %w", err)
	}
	steps := embeddedMigrations()
	for i := range steps {
		steps[i].Applied = slices.Contains(applied, steps[i].Version)
	}
	return steps, nil
}

func connect(ctx context.Context, url secret.Text) (*pgx.Conn, error) {
	cfg, err := pgx.ParseConfig(url.Reveal())
	if err != nil {
		return nil, errBadURL
	}
	if cfg.ConnectTimeout == 0 {
		cfg.ConnectTimeout = 5 * connectTimeout
	}
	conn, err := pgx.ConnectConfig(ctx, cfg)
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
		version, err := goose.NumericComponent(e.Name())
		if err != nil {
			panic(err)
		}
		steps[i] = Migration{Version: version, Name: e.Name()}
	}
	return steps
}

// SchemaVersion is the version that this binary works with.
func SchemaVersion() int64 {
	steps := embeddedMigrations()
	return steps[len(steps)-1].Version
}

// A Deployment is what a database says of itself to the program that opens it.
type Deployment struct {
	Mode          Mode
	SchemaVersion int64
	// MayRewriteAudit says that the role may change or delete audit rows, as
	// owners and superusers may: not a role to serve with.
	MayRewriteAudit bool
	// LosesCommits says that an acknowledged commit may be lost in a crash:
	// synchronous_commit or fsync is off.
	LosesCommits bool
	// Directory names the one in force: see [DB.UseDirectory].
	Directory string

	salt []byte
}

// Deployment reads the database's mark. It returns [ErrNotMigrated] where
// there is none.
func (db *DB) Deployment(ctx context.Context) (Deployment, error) {
	var d Deployment
	err := db.pool.QueryRow(ctx, deploymentSQL).Scan(&d.Mode, &d.SchemaVersion, &d.MayRewriteAudit, &d.LosesCommits, &d.salt, &d.Directory)
	switch {
	case errors.Is(err, pgx.ErrNoRows), hasCode(err, undefinedTable, undefinedSchema):
		return Deployment{}, ErrNotMigrated
	case err != nil:
		return Deployment{}, unavailable("deployment", err)
	}
	return d, nil
}

// Key derives a key from what only the deployment's replicas know, one for each
// purpose.
func (d *Deployment) Key(purpose string) ([]byte, error) {
	return hkdf.Key(sha256.New, d.salt, nil, purpose, sha256.Size)
}

// ErrNotMigrated says that the database has no usher schema yet.
var ErrNotMigrated = errors.New("db: no usher schema in this database: run usher migrate up")
