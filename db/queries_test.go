package db_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/usher-auth/usher/db/dbtest"
)

// queries returns the statements of ./queries by name.
func queries(t *testing.T) map[string]string {
	t.Helper()
	all := map[string]string{}
	for _, file := range glob(t, "queries/*.sql") {
		for _, one := range regexp.MustCompile(`(?m)^-- name: `).Split(read(t, file), -1)[1:] {
			name, sql, _ := strings.Cut(one, "\n")
			all[name] = sql
		}
	}
	return all
}

func glob(t *testing.T, pattern string) []string {
	t.Helper()
	files, err := filepath.Glob(pattern)
	if err != nil || len(files) == 0 {
		t.Fatalf("found %d files %s: %v", len(files), pattern, err)
	}
	return files
}

func read(t *testing.T, file string) string {
	t.Helper()
	content, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(content)
}

// Postgres prepares every statement on the migrated schema, so that a misspelt column or
// a wrong type is found before the first call.
func TestQueriesPrepare(t *testing.T) {
	t.Parallel()
	pool := dbtest.New(t).Pool
	for name, text := range queries(t) {
		sql, _, err := pgx.NamedArgs{}.RewriteQuery(t.Context(), nil, text, nil)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		conn, err := pool.Acquire(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := conn.Conn().Prepare(t.Context(), name, sql); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		conn.Release()
	}
}

// The code runs every statement, and every name in the code has a statement: a call with
// an unknown name would panic.
func TestQueriesAreUsed(t *testing.T) {
	t.Parallel()
	used := map[string]bool{}
	for _, source := range glob(t, "*.go") {
		for _, name := range regexp.MustCompile(`statement\("(\w+)"\)`).FindAllStringSubmatch(read(t, source), -1) {
			used[name[1]] = true
		}
	}
	there := queries(t)
	for name := range there {
		if !used[name] {
			t.Errorf("the statement %s is used nowhere", name)
		}
	}
	for name := range used {
		if _, ok := there[name]; !ok {
			t.Errorf("there is no statement %s", name)
		}
	}
}
