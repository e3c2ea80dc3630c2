package db_test

import (
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/usher-auth/usher/db"
	"github.com/usher-auth/usher/db/dbtest"
	"github.com/usher-auth/usher/internal/admin"
	"github.com/usher-auth/usher/internal/secret"
)

func migrate(t *testing.T, pg *dbtest.DB) []db.Migration {
	t.Helper()
	done, err := db.Migrate(t.Context(), secret.New(pg.URL), db.MigrateConfig{Mode: db.Production})
	if err != nil {
		t.Fatal(err)
	}
	return done.Applied
}

func differences(t *testing.T, pg *dbtest.DB) []string {
	t.Helper()
	found, err := open(t, pg).SchemaDifferences(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// Objects of an earlier build are replaced: changed functions, views with other columns
// and objects that depend on them, types, functions with other arguments, and objects
// that this build no longer has.
func TestMigrateReplacesOldViewsAndFunctions(t *testing.T) {
	t.Parallel()
	pg := dbtest.New(t)
	exec(t, pg, `CREATE OR REPLACE FUNCTION usher.check_question(kind text, id text, access text DEFAULT 'read') RETURNS void
		LANGUAGE plpgsql IMMUTABLE AS $$ BEGIN END $$`)
	exec(t, pg, "CREATE OR REPLACE TRIGGER keep BEFORE DELETE ON usher.grants FOR EACH ROW WHEN (false) EXECUTE FUNCTION usher.only_once()")
	exec(t, pg, `DROP VIEW audit.tokens CASCADE; CREATE VIEW audit.tokens AS SELECT jti, issued_at AS at FROM usher.decisions;
		CREATE FUNCTION audit.tokens_of(user_id text) RETURNS SETOF audit.tokens LANGUAGE sql STABLE AS 'SELECT * FROM audit.tokens'`)
	exec(t, pg, "DROP TYPE audit.holder CASCADE; CREATE TYPE audit.holder AS (who text)")
	exec(t, pg, "CREATE FUNCTION audit.explain() RETURNS SETOF audit.holder LANGUAGE sql AS 'SELECT NULL::audit.holder'")
	exec(t, pg, "CREATE VIEW audit.old AS SELECT * FROM audit.explain()")
	exec(t, pg, "DROP TRIGGER keep_all ON usher.users")
	exec(t, pg, "UPDATE usher.applied_schema SET sha256 = 'old', objects = objects || '{FUNCTION audit.explain,VIEW audit.old}'")
	// Objects that operators created.
	exec(t, pg, "GRANT SELECT ON audit.tokens TO PUBLIC")
	exec(t, pg, "CREATE VIEW audit.ours AS SELECT user_id FROM audit.denials; CREATE VIEW public.report AS SELECT * FROM audit.ours")
	if d, err := open(t, pg).Deployment(t.Context()); err != nil || d.SchemaCurrent {
		t.Errorf("Deployment() of an old schema = %+v, %v; want it not to be current", d, err)
	}
	applied := migrate(t, pg)
	if len(applied) != 1 || applied[0].Name != "views and functions" {
		t.Errorf("Migrate() = %v, want the views and functions alone", applied)
	}
	if got, want := differences(t, pg), []string{"VIEW audit.ours was not made by usher"}; !slices.Equal(got, want) {
		t.Errorf("SchemaDifferences() = %q, want %q", got, want)
	}
	exec(t, pg, "SELECT FROM public.report")
	for name, sql := range map[string]string{
		"a view that was dropped has its privileges":   "SELECT has_table_privilege('public', 'audit.tokens', 'SELECT')::text",
		"usher's roles have theirs":                    "SELECT has_table_privilege('usher_auditor_test', 'audit.tokens', 'SELECT')::text",
		"a function that was dropped is not everyones": "SELECT (NOT has_function_privilege('public', 'audit.tokens_of(text, timestamptz)', 'EXECUTE'))::text",
		"old functions are gone":                       "SELECT (to_regprocedure('audit.explain()') IS NULL AND to_regprocedure('audit.tokens_of(text)') IS NULL)::text",
		"old views are gone":                           "SELECT (to_regclass('audit.old') IS NULL)::text",
	} {
		if got := texts(t, pg, sql); !slices.Equal(got, []string{"true"}) {
			t.Errorf("%s: %v", name, got)
		}
	}
	if d, err := open(t, pg).Deployment(t.Context()); err != nil || !d.SchemaCurrent {
		t.Errorf("Deployment() = %+v, %v; want a current schema", d, err)
	}
	if applied := migrate(t, pg); len(applied) != 0 {
		t.Errorf("Migrate() again = %v, want nothing", applied)
	}
}

// If another owner's view depends on a view whose columns change, nothing changes until
// that owner drops it.
func TestMigrateKeepsForeignViews(t *testing.T) {
	t.Parallel()
	pg := dbtest.New(t)
	exec(t, pg, "DROP VIEW audit.risky_grants; CREATE VIEW audit.risky_grants AS SELECT 1 AS reason; CREATE VIEW public.report AS SELECT reason FROM audit.risky_grants")
	exec(t, pg, "UPDATE usher.applied_schema SET sha256 = 'old'")
	_, err := db.Migrate(t.Context(), secret.New(pg.URL), db.MigrateConfig{Mode: db.Production})
	if err == nil || !strings.Contains(err.Error(), "audit.risky_grants") || !strings.Contains(err.Error(), "view public.report") {
		t.Errorf("Migrate() = %v, want an error that names both views", err)
	}
	exec(t, pg, "SELECT reason FROM public.report")
	exec(t, pg, "DROP VIEW public.report")
	migrate(t, pg)
	if got := differences(t, pg); len(got) > 0 {
		t.Errorf("SchemaDifferences() = %q", got)
	}
}

// An application's directory stays in use.
func TestMigrateKeepsTheDirectory(t *testing.T) {
	t.Parallel()
	pg := application(t, "better-auth")
	use(t, pg, builtIn(t, pg, db.BetterAuthDirectory))
	before := texts(t, pg, "SELECT pg_get_functiondef('usher.directory_user(text)'::regprocedure) || pg_get_viewdef('usher.directory_members'::regclass)")
	exec(t, pg, "UPDATE usher.applied_schema SET sha256 = 'old'")
	migrate(t, pg)
	after := texts(t, pg, "SELECT pg_get_functiondef('usher.directory_user(text)'::regprocedure) || pg_get_viewdef('usher.directory_members'::regclass)")
	if !slices.Equal(before, after) || !strings.Contains(after[0], "banned") {
		t.Errorf("the directory is another one: %s", after)
	}
	if got := differences(t, pg); len(got) > 0 {
		t.Errorf("SchemaDifferences() = %q", got)
	}
}

func TestSchemaDifferences(t *testing.T) {
	t.Parallel()
	pg := dbtest.New(t)
	if got := differences(t, pg); len(got) > 0 {
		t.Fatalf("SchemaDifferences() of a new database = %q", got)
	}
	var want []string
	for sql, difference := range map[string]string{
		"CREATE OR REPLACE FUNCTION usher.only_once() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN OLD; END $$":                     "FUNCTION usher.only_once is not as usher made it",
		"ALTER FUNCTION audit.who_can(text, text, text) RESET search_path":                                                                 "FUNCTION audit.who_can is not as usher made it",
		"CREATE OR REPLACE VIEW audit.checkpoint_keys AS SELECT name, public_key, created_at FROM usher.checkpoint_keys WHERE name <> 'a'": "VIEW audit.checkpoint_keys is not as usher made it",
		"DROP VIEW audit.risky_grants":                        "VIEW audit.risky_grants is missing",
		"DROP FUNCTION audit.holders; DROP TYPE audit.holder": "TYPE audit.holder is missing, FUNCTION audit.holders is missing",
		"DROP TRIGGER keep ON usher.changes":                  "TRIGGER usher.changes.keep is missing",
		"ALTER TABLE usher.seals DISABLE TRIGGER keep":        "TRIGGER usher.seals.keep is not as usher made it",
		"CREATE TRIGGER first BEFORE INSERT ON usher.decisions FOR EACH ROW EXECUTE FUNCTION usher.only_once()":                                                               "TRIGGER usher.decisions.first was not made by usher",
		"CREATE FUNCTION usher.spare() RETURNS int LANGUAGE sql AS 'SELECT 1'":                                                                                                "FUNCTION usher.spare was not made by usher",
		"CREATE OR REPLACE TRIGGER keep BEFORE DELETE ON usher.grants FOR EACH ROW WHEN (false) EXECUTE FUNCTION usher.only_once()":                                           "TRIGGER usher.grants.keep is not as usher made it",
		"CREATE OR REPLACE TRIGGER keep BEFORE DELETE ON usher.api_keys FOR EACH ROW EXECUTE FUNCTION usher.stamp_user()":                                                     "TRIGGER usher.api_keys.keep is not as usher made it",
		"CREATE OR REPLACE FUNCTION usher.directory_user(id text) RETURNS TABLE (info jsonb, disabled boolean) LANGUAGE sql STABLE ROWS 1 AS $$ SELECT NULL::jsonb, false $$": "FUNCTION usher.directory_user is not as usher made it",
	} {
		exec(t, pg, sql)
		want = append(want, strings.Split(difference, ", ")...)
	}
	slices.Sort(want)
	if diff := cmp.Diff(want, differences(t, pg)); diff != "" {
		t.Errorf("SchemaDifferences() (-want +got):\n%s", diff)
	}
}

func TestMigrateAtTheSameTime(t *testing.T) {
	t.Parallel()
	pg := dbtest.New(t)
	exec(t, pg, "DROP SCHEMA usher, audit CASCADE")
	var all sync.WaitGroup
	for range 5 {
		all.Go(func() {
			if _, err := db.Migrate(t.Context(), secret.New(pg.URL), db.MigrateConfig{Mode: db.Production}); err != nil {
				t.Error(err)
			}
			if err := db.MakeServiceLogin(t.Context(), secret.New(pg.URL), "usher_login_race", secret.New("password")); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if got, err := openURL(t, pg.URL).SchemaDifferences(t.Context()); err != nil || len(got) > 0 {
		t.Errorf("SchemaDifferences() = %q, %v", got, err)
	}
	exec(t, pg, "DROP ROLE usher_login_race")
}

// A database of the other program is not changed.
func TestMigrateChecksTheModeFirst(t *testing.T) {
	t.Parallel()
	pg := dbtest.New(t)
	exec(t, pg, "UPDATE usher.applied_schema SET sha256 = 'old'")
	if _, err := db.Migrate(t.Context(), secret.New(pg.URL), db.MigrateConfig{Mode: db.Dev}); err == nil {
		t.Error("usher dev migrated a production database")
	}
	if got := texts(t, pg, "SELECT sha256 FROM usher.applied_schema"); !slices.Equal(got, []string{"old"}) {
		t.Errorf("applied_schema = %v: it was changed", got)
	}
}

// A schema that the application already has is not changed.
func TestMigrateRefusesForeignSchemas(t *testing.T) {
	t.Parallel()
	pg := dbtest.New(t)
	for name, sql := range map[string]string{
		"a table":                 "CREATE SCHEMA audit; CREATE TABLE audit.logged_actions (id int)",
		"a function":              "CREATE SCHEMA audit; CREATE FUNCTION audit.log() RETURNS int LANGUAGE sql AS 'SELECT 1'",
		"a table of schema usher": "CREATE SCHEMA usher; CREATE TABLE usher.seats (id int)",
	} {
		exec(t, pg, "DROP SCHEMA IF EXISTS usher, audit CASCADE")
		exec(t, pg, sql)
		before := texts(t, pg, "SELECT oid::regclass::text || coalesce(relacl::text, '') FROM pg_class WHERE relnamespace::regnamespace::text IN ('usher', 'audit')")
		_, err := db.Migrate(t.Context(), secret.New(pg.URL), db.MigrateConfig{Mode: db.Production})
		if !errors.Is(err, admin.ErrInUse) || !strings.Contains(err.Error(), "that is not usher's: it holds ") {
			t.Errorf("%s: Migrate() = %v, want a refusal that names it", name, err)
		}
		after := texts(t, pg, "SELECT oid::regclass::text || coalesce(relacl::text, '') FROM pg_class WHERE relnamespace::regnamespace::text IN ('usher', 'audit')")
		if !slices.Equal(before, after) {
			t.Errorf("%s: %v became %v", name, before, after)
		}
	}
	exec(t, pg, "DROP SCHEMA IF EXISTS usher, audit CASCADE; CREATE SCHEMA audit")
	migrate(t, pg)
}
