package db_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/usher-auth/usher/db/dbtest"
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

// The audit and its evidence are append-only: for usher's own role and for
// auditors by privilege, for owners who err by trigger, on every partition,
// those too that were made later.
func TestAuditIsAppendOnly(t *testing.T) {
	t.Parallel()
	s := newSealed(t)
	for monthsAgo := range 2 { // the older one is in a partition that was made for it
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

// Whoever calls a definer function acts with the owner's rights: nobody does
// who was not given it, and nothing that he brings along decides what it calls.
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

// Auditors read schema audit, all of it, and nothing else.
func TestAuditorsReadSchemaAuditAlone(t *testing.T) {
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
