package db_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/usher-auth/usher/db"
	"github.com/usher-auth/usher/db/dbtest"
	"github.com/usher-auth/usher/internal/secret"
)

func TestMigrateTwiceChangesNothing(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	pg := dbtest.New(t)
	if applied := migrate(t, pg); len(applied) != 0 {
		t.Errorf("Migrate() of a migrated database = %v; want nothing", applied)
	}
	steps, err := db.MigrationStatus(ctx, secret.New(pg.URL))
	if err != nil || len(steps) == 0 {
		t.Fatalf("MigrationStatus() = %v, %v", steps, err)
	}
	for _, s := range steps {
		if !s.Applied {
			t.Errorf("%s is not applied", s.Name)
		}
	}
	d, err := open(t, pg).Deployment(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if d.Mode != db.Production || d.SchemaVersion != db.SchemaVersion() || d.MayRewriteAudit || d.LosesCommits {
		t.Errorf("Deployment() = %+v", d)
	}
	owner, err := db.Open(secret.New(pg.URL))
	if err != nil {
		t.Fatal(err)
	}
	defer owner.Close()
	if d, err := owner.Deployment(ctx); err != nil || !d.MayRewriteAudit {
		t.Errorf("Deployment() as the owner = %+v, %v; want MayRewriteAudit", d, err)
	}
}

// usher serve refuses a database with demo data, and usher dev a production database.
func TestMigrateKeepsModesApart(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	pg := dbtest.New(t)
	var wrong *db.WrongModeError
	if _, err := db.Migrate(ctx, secret.New(pg.URL), db.MigrateConfig{Mode: db.Dev}); !errors.As(err, &wrong) {
		t.Errorf("usher dev on a production database: %v, want a WrongModeError", err)
	}
	exec(t, pg, "DROP SCHEMA usher, audit CASCADE")
	exec(t, pg, "CREATE TABLE public.invoices (id int)")
	if _, err := db.Migrate(ctx, secret.New(pg.URL), db.MigrateConfig{Mode: db.Dev}); !errors.As(err, &wrong) {
		t.Errorf("usher dev on an application's database: %v, want a WrongModeError", err)
	}
	if _, err := open(t, pg).Deployment(ctx); !errors.Is(err, db.ErrNotMigrated) {
		t.Errorf("Deployment() of it: %v, want %v", err, db.ErrNotMigrated)
	}
	exec(t, pg, "DROP TABLE public.invoices")
	if _, err := db.Migrate(ctx, secret.New(pg.URL), db.MigrateConfig{Mode: db.Dev}); err != nil {
		t.Errorf("usher dev on an empty database: %v", err)
	}
	if _, err := db.Migrate(ctx, secret.New(pg.URL), db.MigrateConfig{Mode: db.Production}); !errors.As(err, &wrong) {
		t.Errorf("usher migrate on a demo database: %v, want a WrongModeError", err)
	}
}

func TestDeploymentSaysThatCommitsMayBeLost(t *testing.T) {
	t.Parallel()
	pg := dbtest.New(t)
	d, err := db.Open(secret.New(dbtest.With(t, pg.ServiceURL, "options", "-csynchronous_commit=off")))
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	if got, err := d.Deployment(t.Context()); err != nil || !got.LosesCommits {
		t.Errorf("Deployment() = %+v, %v; want LosesCommits", got, err)
	}
}

// The error does not quote a URL that cannot be parsed, because a password may be
// anywhere in it.
func TestOpenKeepsABadURLToItself(t *testing.T) {
	t.Parallel()
	for _, bad := range []string{"postgres://u:canary@host:port/db", "canary", "postgres://%zz:canary@h/db", "host=x canary"} {
		_, err := db.Open(secret.New(bad))
		if err == nil {
			t.Errorf("%q was taken", bad)
		} else if strings.Contains(err.Error(), "canary") {
			t.Errorf("the error repeats the URL: %v", err)
		}
	}
}

// A migration that waits for a table lets requests pass, and goes on when the table is
// free.
func TestMigrateLetsRequestsPass(t *testing.T) {
	t.Parallel()
	pg := dbtest.New(t)
	log := newAuditLog(t, pg)
	exec(t, pg, "DELETE FROM usher.applied_schema")
	report, err := pg.Pool.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := report.Exec(t.Context(), "LOCK TABLE usher.decisions IN ROW EXCLUSIVE MODE"); err != nil {
		t.Fatal(err)
	}
	migrated := make(chan error, 1)
	go func() {
		_, err := db.Migrate(t.Context(), secret.New(pg.URL), db.MigrateConfig{Mode: db.Production})
		migrated <- err
	}()
	eventually(t, "the migration waits", func() error {
		var waiting bool
		err := pg.Pool.QueryRow(t.Context(), "SELECT EXISTS (SELECT FROM pg_locks WHERE NOT granted AND relation = 'usher.decisions'::regclass)").Scan(&waiting)
		if err == nil && !waiting {
			err = errors.New("it does not")
		}
		return err
	})
	for n := range 5 {
		if err := log.Record(t.Context(), issued(fmt.Sprint("jti-", n))); err != nil {
			t.Errorf("Record() while a migration waits: %v", err)
		}
	}
	select {
	case err := <-migrated:
		t.Fatalf("Migrate() = %v, although the table is held", err)
	default:
	}
	if err := report.Rollback(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := <-migrated; err != nil {
		t.Errorf("Migrate() = %v", err)
	}
}
