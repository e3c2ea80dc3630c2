package db_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/usher-auth/usher/db"
	"github.com/usher-auth/usher/db/dbtest"
	"github.com/usher-auth/usher/internal/admin"
	"github.com/usher-auth/usher/internal/secret"
	"github.com/usher-auth/usher/permissions"
)

func isRefused(err error) bool {
	pgErr, ok := errors.AsType[*pgconn.PgError](err)
	return ok && pgErr.Code == "42501"
}

func texts(t *testing.T, pg *dbtest.DB, sql string) []string {
	t.Helper()
	rows, err := pg.Pool.Query(t.Context(), sql)
	if err != nil {
		t.Fatal(err)
	}
	found, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// The audit and its evidence are append-only. Privileges prevent changes by usher's own
// role and by auditors, and triggers prevent mistakes of the owner, on every partition,
// including those created later.
func TestAuditIsAppendOnly(t *testing.T) {
	t.Parallel()
	s := newSealed(t)
	for monthsAgo := range 2 { // the older one gets its own partition
		s.record(t, at(issued("jti"), 5*monthsAgo))
	}
	if p, err := s.service.MakePartitions(t.Context()); err != nil || p.Made != 1 {
		t.Fatalf("MakePartitions() = %+v, %v", p, err)
	}
	for ahead := range 3 {
		s.record(t, at(issued("jti"), -1-ahead))
	}
	s.record(t, at(issued("jti"), 14)) // in the default one
	s.seal(t)
	tables := texts(t, s.pg, "SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhparent = 'usher.decisions'::regclass")
	if len(tables) != 6 {
		t.Errorf("partitions = %v, want this month, three ahead, an older one and the default", tables)
	}
	tables = append(tables, "usher.decisions", "usher.changes", "usher.seals", "usher.checkpoint_keys")
	for role, url := range map[string]string{"service": s.pg.ServiceURL, "auditor": s.pg.AuditorURL, "owner": s.pg.URL} {
		conn := connect(t, url)
		for _, table := range tables {
			column := "digest"
			switch table {
			case "usher.seals":
				column = "checkpoint"
			case "usher.checkpoint_keys":
				column = "public_key"
			}
			for _, sql := range []string{
				fmt.Sprintf("UPDATE %s SET %s = %[2]s || %[2]s", table, column), "DELETE FROM " + table, "TRUNCATE " + table,
			} {
				if _, err := conn.Exec(t.Context(), sql); !isRefused(err) {
					t.Errorf("%s: %s: error = %v, want 42501", role, sql, err)
				}
			}
		}
	}
	service := connect(t, s.pg.ServiceURL)
	for _, sql := range []string{
		"SELECT usher.drop_decisions('2020-01-01', 1)",
		"INSERT INTO usher.seals (sealed_at) VALUES (now())",
		"INSERT INTO usher.decisions (recorded_at) VALUES (now())",
		"INSERT INTO usher.changes (changed_at) VALUES (now())",
		"INSERT INTO usher.checkpoint_keys (name, public_key, encrypted_key) VALUES ('a', 'b', '')",
	} {
		if _, err := service.Exec(t.Context(), sql); !isRefused(err) {
			t.Errorf("service: %s: error = %v, want 42501", sql, err)
		}
	}
}

// SECURITY DEFINER functions run with the owner's rights. So only roles with an explicit
// privilege may call them, and nothing of the caller decides what they call.
func TestDefinerFunctionsArePinned(t *testing.T) {
	t.Parallel()
	pg := dbtest.New(t)
	const definers = "SELECT oid::regprocedure::text FROM pg_proc WHERE prosecdef AND pronamespace IN ('usher'::regnamespace, 'audit'::regnamespace)"
	if n := len(texts(t, pg, definers)); n < 5 {
		t.Fatalf("%d definer functions, want more", n)
	}
	for _, f := range texts(t, pg, definers+" AND NOT 'search_path=pg_catalog, pg_temp' = ANY (coalesce(proconfig, '{}'))") {
		t.Errorf("%s does not pin its search_path", f)
	}
	for _, f := range texts(t, pg, definers+" AND has_function_privilege('public', oid, 'EXECUTE')") {
		t.Errorf("%s is for everybody", f)
	}
}

// The caller's search_path does not decide what a function calls: the search_path is
// pinned, or Postgres resolved the names when the function was created (a body without
// quotes), or only functions with a pinned one may call it.
func TestFunctionsArePinned(t *testing.T) {
	t.Parallel()
	pg := dbtest.New(t)
	for _, f := range texts(t, pg, `
		SELECT p.oid::regprocedure::text
		  FROM pg_proc p
		 WHERE p.pronamespace IN ('usher'::regnamespace, 'audit'::regnamespace)
		   AND NOT 'search_path=pg_catalog, pg_temp' = ANY (coalesce(p.proconfig, '{}'))
		   AND p.prosqlbody IS NULL
		   AND (p.prolang <> (SELECT oid FROM pg_language WHERE lanname = 'sql')
		        OR has_function_privilege('usher_auditor_test', p.oid, 'EXECUTE')
		        OR has_function_privilege('usher_service_test', p.oid, 'EXECUTE') AND p.proname NOT LIKE 'directory\_%')`) {
		t.Errorf("%s resolves names by its caller's search_path", f)
	}
}

// On a server that was created before PostgreSQL 15, everybody may create operators in
// schema public. Postgres prefers one with exactly the right types to its own.
func TestPlantedOperatorsAreNotCalled(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	pg := dbtest.New(t)
	exec(t, pg, "SET ROLE pg_database_owner; GRANT CREATE ON SCHEMA public TO PUBLIC; RESET ROLE")
	service := open(t, pg)
	if d, err := service.Deployment(ctx); err != nil || !d.MayCreateInPublic {
		t.Errorf("Deployment() = %+v, %v; want MayCreateInPublic", d, err)
	}
	if _, err := service.AddUser(ctx, "ada", nil, "t"); err != nil {
		t.Fatal(err)
	}
	if _, err := service.AddOrganization(ctx, "acme", "", "t"); err != nil {
		t.Fatal(err)
	}
	attacker := connect(t, pg.ServiceURL)
	if _, err := attacker.Exec(ctx, `
		CREATE FUNCTION public.planted(a usher.id, b usher.id) RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'planted'; END $$;
		CREATE FUNCTION public.planted(a text, b text) RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'planted'; END $$;
		CREATE FUNCTION public.planted(a text, b usher.id) RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'planted'; END $$;
		CREATE FUNCTION public.planted(a usher.id, b text) RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'planted'; END $$;
		CREATE OPERATOR public.= (LEFTARG = usher.id, RIGHTARG = usher.id, FUNCTION = public.planted);
		CREATE OPERATOR public.= (LEFTARG = text, RIGHTARG = usher.id, FUNCTION = public.planted);
		CREATE OPERATOR public.= (LEFTARG = usher.id, RIGHTARG = text, FUNCTION = public.planted);
		GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA public TO PUBLIC`); err != nil {
		t.Fatal(err)
	}
	owner, err := db.Open(secret.New(dbtest.With(t, pg.URL, "search_path", "public,pg_catalog")))
	if err != nil {
		t.Fatal(err)
	}
	defer owner.Close()
	acme := admin.Subject{Kind: admin.OrganizationKind, ID: "acme"}
	for _, c := range []struct {
		name string
		call func() error
	}{
		{"AddMember", func() error { _, err := owner.AddMember(ctx, acme, "ada", "t"); return err }},
		{"AddGrant", func() error {
			_, _, err := owner.AddGrant(ctx, admin.NewGrant{Subject: acme, Kind: permissions.RoomKind, Pattern: "acme:*", Access: permissions.Read}, "t")
			return err
		}},
		{"DeleteUser", func() error { _, err := owner.DeleteUser(ctx, "ada", "t"); return err }},
		{"Migrate", func() error {
			exec(t, pg, "UPDATE usher.applied_schema SET sha256 = 'old'")
			_, err := db.Migrate(ctx, secret.New(pg.URL), db.MigrateConfig{Mode: db.Production})
			return err
		}},
	} {
		if err := c.call(); err != nil {
			t.Errorf("%s: %v", c.name, err)
		}
	}
	// usher's own triggers are safe with any search_path of other programs.
	conn := connect(t, pg.URL)
	if _, err := conn.Exec(ctx, "SET search_path = public, pg_catalog; INSERT INTO usher.users (id, created_by) VALUES ('bob', 't'); INSERT INTO usher.memberships (user_id, member_of_kind, member_of_id, created_by) VALUES ('bob', 'organization', 'acme', 't')"); err != nil {
		t.Errorf("a membership by another program: %v", err)
	}
}

// Auditors can read all of schema audit, and nothing else.
func TestAuditorsReadOnlySchemaAudit(t *testing.T) {
	t.Parallel()
	pg := dbtest.New(t)
	auditor := connect(t, pg.AuditorURL)
	const relations = "SELECT oid::regclass::text FROM pg_class WHERE relkind IN ('r', 'p', 'v', 'S') AND relnamespace = '%s'::regnamespace"
	tables := texts(t, pg, fmt.Sprintf(relations, "usher"))
	if len(tables) < 15 {
		t.Fatalf("tables of usher: %v", tables)
	}
	for _, table := range tables {
		if _, err := auditor.Exec(t.Context(), "SELECT FROM "+table); !isRefused(err) {
			t.Errorf("SELECT FROM %s: error = %v, want 42501", table, err)
		}
	}
	functions := texts(t, pg, `SELECT oid::regproc || '(' || array_to_string(array_fill('NULL'::text, ARRAY[pronargs::int]), ', ') || ')'
		FROM pg_proc WHERE pronamespace = 'usher'::regnamespace AND prorettype <> 'trigger'::regtype`)
	for _, call := range functions {
		if _, err := auditor.Exec(t.Context(), "SELECT "+call); !isRefused(err) {
			t.Errorf("SELECT %s: error = %v, want 42501", call, err)
		}
	}
	for _, view := range texts(t, pg, fmt.Sprintf(relations, "audit")) {
		if _, err := auditor.Exec(t.Context(), "SELECT FROM "+view); err != nil {
			t.Errorf("SELECT FROM %s: %v", view, err)
		}
		if _, err := auditor.Exec(t.Context(), "DELETE FROM "+view); err == nil || !isRefused(err) && !strings.Contains(err.Error(), "cannot delete from view") {
			t.Errorf("DELETE FROM %s: error = %v, want 42501", view, err)
		}
	}
}
