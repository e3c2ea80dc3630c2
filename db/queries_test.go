package db_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/usher-auth/usher/db/dbtest"
)

// Postgres parses every statement against the migrated schema: a column that is
// misspelt or of the wrong type does not wait for the first call.
func TestQueriesPrepare(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("queries/*.sql")
	if err != nil || len(files) == 0 {
		t.Fatalf("found %d queries: %v", len(files), err)
	}
	pool := dbtest.New(t).Pool
	for _, file := range files {
		content, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		sql, _, err := pgx.NamedArgs{}.RewriteQuery(t.Context(), nil, string(content), nil)
		if err != nil {
			t.Errorf("%s: %v", file, err)
			continue
		}
		conn, err := pool.Acquire(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := conn.Conn().Prepare(t.Context(), file, sql); err != nil {
			t.Errorf("%s: %v", file, err)
		}
		conn.Release()
	}
}

// A query that no method embeds is one that nobody runs.
func TestQueriesAreEmbedded(t *testing.T) {
	t.Parallel()
	sources, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	var code strings.Builder
	for _, source := range sources {
		content, err := os.ReadFile(source)
		if err != nil {
			t.Fatal(err)
		}
		code.Write(content)
	}
	files, err := filepath.Glob("queries/*.sql")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		if !strings.Contains(code.String(), "//go:embed "+file+"\n") {
			t.Errorf("%s is embedded nowhere", file)
		}
	}
}
