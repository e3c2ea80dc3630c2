package db_test

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/usher-auth/usher/db"
	"github.com/usher-auth/usher/db/dbtest"
	"github.com/usher-auth/usher/internal/admin"
	"github.com/usher-auth/usher/internal/secret"
)

func TestMigrateTwiceChangesNothing(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	pg := dbtest.New(t)
	applied, err := db.Migrate(ctx, secret.New(pg.URL), db.Production)
	if err != nil || len(applied) != 0 {
		t.Errorf("Migrate() of a migrated database = %v, %v; want nothing", applied, err)
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
	if _, err := db.Migrate(ctx, secret.New(pg.URL), db.Dev); !errors.As(err, &wrong) {
		t.Errorf("usher dev on a production database: %v, want a WrongModeError", err)
	}
	exec(t, pg, "DROP SCHEMA usher, audit CASCADE")
	exec(t, pg, "CREATE TABLE public.invoices (id int)")
	if _, err := db.Migrate(ctx, secret.New(pg.URL), db.Dev); !errors.As(err, &wrong) {
		t.Errorf("usher dev on an application's database: %v, want a WrongModeError", err)
	}
	if _, err := open(t, pg).Deployment(ctx); !errors.Is(err, db.ErrNotMigrated) {
		t.Errorf("Deployment() of it: %v, want %v", err, db.ErrNotMigrated)
	}
	exec(t, pg, "DROP TABLE public.invoices")
	if _, err := db.Migrate(ctx, secret.New(pg.URL), db.Dev); err != nil {
		t.Errorf("usher dev on an empty database: %v", err)
	}
	if _, err := db.Migrate(ctx, secret.New(pg.URL), db.Production); !errors.As(err, &wrong) {
		t.Errorf("usher migrate on a demo database: %v, want a WrongModeError", err)
	}
}

func TestDeploymentSaysThatCommitsMayBeLost(t *testing.T) {
	t.Parallel()
	pg := dbtest.New(t)
	d, err := db.Open(secret.New(pg.ServiceURL + "&options=-csynchronous_commit%3Doff"))
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	if got, err := d.Deployment(t.Context()); err != nil || !got.LosesCommits {
		t.Errorf("Deployment() = %+v, %v; want LosesCommits", got, err)
	}
}

func TestMakeServiceLogin(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	pg := dbtest.New(t)
	for _, password := range []string{"first", "second"} { // makes, then changes
		if err := db.MakeServiceLogin(ctx, secret.New(pg.URL), "usher_login_test", secret.New(password)); err != nil {
			t.Fatal(err)
		}
	}
	var kept string
	if err := pg.Pool.QueryRow(ctx, "SELECT pg_has_role('usher_login_test', 'usher_service', 'member')::text").Scan(&kept); err != nil || kept != "true" {
		t.Errorf("member of usher_service: %s, %v", kept, err)
	}
	exec(t, pg, "DROP ROLE usher_login_test")
	for _, bad := range []string{"", "pässwörd", "with\nnewline"} {
		if err := db.MakeServiceLogin(ctx, secret.New(pg.URL), "usher_login_bad", secret.New(bad)); err == nil {
			t.Errorf("password %q was taken", bad)
		}
	}
}

// If two deployments on one server used the same login role, the second one would
// change its password and lock the first one out.
func TestServiceLoginOfAnotherDatabase(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	first, second := dbtest.New(t), dbtest.New(t)
	const name = "usher_login_two"
	if err := db.MakeServiceLogin(ctx, secret.New(first.URL), name, secret.New("first")); err != nil {
		t.Fatal(err)
	}
	verifier := func() []string {
		return texts(t, first, "SELECT shobj_description(oid, 'pg_authid') FROM pg_roles WHERE rolname = '"+name+"'")
	}
	before := verifier()
	err := db.MakeServiceLogin(ctx, secret.New(second.URL), name, secret.New("second"))
	if !errors.Is(err, admin.ErrExists) || !strings.Contains(err.Error(), "--service-user") {
		t.Errorf("MakeServiceLogin() = %v, want a refusal that says what to do", err)
	}
	if after := verifier(); !slices.Equal(before, after) {
		t.Errorf("the role is %v, was %v", after, before)
	}
	if err := db.MakeServiceLogin(ctx, secret.New(first.URL), name, secret.New("changed")); err != nil {
		t.Errorf("its own database: %v", err)
	}
	exec(t, first, "DROP ROLE "+name)
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
