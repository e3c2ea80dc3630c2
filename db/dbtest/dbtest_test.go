package dbtest_test

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/usher-auth/usher/db/dbtest"
)

func connect(t *testing.T, url string) *pgx.Conn {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	return conn // dropping the database ends the connection
}

func TestRoles(t *testing.T) {
	t.Parallel()
	pg := dbtest.New(t)
	for _, c := range []struct {
		url    string
		member string
	}{
		{pg.URL, "usher_owner"},
		{pg.ServiceURL, "usher_service_test"},
		{pg.AuditorURL, "usher_auditor_test"},
	} {
		conn := connect(t, c.url)
		for _, role := range []string{"usher_owner", "usher_service_test", "usher_auditor_test"} {
			var super, usage bool
			err := conn.QueryRow(t.Context(), `
				SELECT rolsuper, pg_has_role(current_user, $1, 'USAGE') FROM pg_roles WHERE rolname = current_user`, role).Scan(&super, &usage)
			if err != nil {
				t.Fatal(err)
			}
			if super {
				t.Errorf("%s is a superuser", c.url)
			}
			// Since version 16, the creator of a role is a member without its privileges.
			if want := role == c.member; usage != want {
				t.Errorf("%s has the rights of %s: %t, want %t", c.url, role, usage, want)
			}
		}
	}
}

func TestIsolation(t *testing.T) {
	t.Parallel()
	one, two := dbtest.New(t), dbtest.New(t)
	if _, err := one.Pool.Exec(t.Context(), "CREATE TABLE usher.mine ()"); err != nil {
		t.Fatal(err)
	}
	var seen bool
	if err := two.Pool.QueryRow(t.Context(), "SELECT to_regclass('usher.mine') IS NOT NULL").Scan(&seen); err != nil {
		t.Fatal(err)
	}
	if seen {
		t.Error("one test sees another's table")
	}
}

func TestDroppedAtTheEnd(t *testing.T) {
	t.Parallel()
	var url string
	t.Run("test", func(t *testing.T) {
		url = dbtest.New(t).ServiceURL
		connect(t, url) // and stays
	})
	conn, err := pgx.Connect(t.Context(), url)
	if err == nil {
		_ = conn.Close(t.Context())
	}
	if pgErr, ok := errors.AsType[*pgconn.PgError](err); !ok || pgErr.Code != "3D000" {
		t.Errorf("connecting after the test = %v, want 3D000, no such database", err)
	}
}

// A test process leaves no server and no folder, not even when it is killed.
func TestNothingStays(t *testing.T) {
	t.Parallel()
	tmp, err := os.MkdirTemp("", "dbtest-*") //nolint:usetesting // the unprivileged user cannot enter t.TempDir
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(tmp) })
	if err := os.Chmod(tmp, 0o755); err != nil {
		t.Fatal(err)
	}
	child := exec.Command(os.Args[0], "-test.run=^TestIsolation$", "-test.count=1000")
	child.Env = append(os.Environ(), "TMPDIR="+tmp, "USHER_TEST_DATABASE_URL=")
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	waitFor(t, "a server", func() bool {
		started, _ := filepath.Glob(filepath.Join(tmp, "usher-dbtest-*", "data", "postmaster.pid"))
		return len(started) == 1
	})
	if err := child.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = child.Wait() // "signal: killed"
	waitFor(t, "an empty folder", func() bool {
		left, _ := filepath.Glob(filepath.Join(tmp, "*"))
		return len(left) == 0
	})
}

func waitFor(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited 30 s for %s", what)
		}
	}
}

// A test that was renamed or removed has no place in the list of those that get the
// server's own address beside a pooler.
func TestDirectNamesTests(t *testing.T) {
	t.Parallel()
	var source strings.Builder
	for _, pattern := range []string{"../*_test.go", "../../api/*_test.go"} { // what scripts/test-pgbouncer.sh runs
		files, err := filepath.Glob(pattern)
		if err != nil || len(files) == 0 {
			t.Fatalf("%s: %d files, %v", pattern, len(files), err)
		}
		for _, file := range files {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			source.Write(text)
		}
	}
	for name, reason := range dbtest.Direct {
		if !strings.Contains(source.String(), "\nfunc "+name+"(t *testing.T)") {
			t.Errorf("%s, which is listed with %q, is not a test of db or api: remove it from the list", name, reason)
		}
		if reason == "" {
			t.Errorf("%s is listed without a reason", name)
		}
	}
}

func TestWith(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ address, want string }{
		{"postgres://u:p@127.0.0.1:5432/db", "postgres://u:p@127.0.0.1:5432/db?options=-cfsync%3Doff"},
		{"postgres://u:p@127.0.0.1:5432/db?sslmode=disable", "postgres://u:p@127.0.0.1:5432/db?options=-cfsync%3Doff&sslmode=disable"},
		{"postgres://u:p@127.0.0.1:5432/db?options=-cx", "postgres://u:p@127.0.0.1:5432/db?options=-cfsync%3Doff"},
	} {
		if got := dbtest.With(t, c.address, "options", "-cfsync=off"); got != c.want {
			t.Errorf("With(%s) = %s, want %s", c.address, got, c.want)
		}
	}
}
