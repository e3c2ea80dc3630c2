// Package dbtest creates a migrated database for each test, on a real PostgreSQL:
//
//	pg := dbtest.New(t)
//	store, err := db.Open(secret.New(pg.ServiceURL))
//
// The first test of a package starts a private server from the installed
// programs. USHER_TEST_DATABASE_URL names another server, which must be used for
// tests only: postgres://superuser:password@host:5432/postgres. Without either,
// the test fails; it is never skipped.
//
// The private server and its data are removed when the test process ends. On a
// given server, the databases are removed and the roles stay.
package dbtest

import (
	"context"
	"crypto/rand"
	_ "embed"
	"errors"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/usher-auth/usher/db"
	"github.com/usher-auth/usher/db/pglocal"
	"github.com/usher-auth/usher/internal/secret"
)

// RoleSuffix ends the names of the roles, which all databases of New share.
const RoleSuffix = "test"

const (
	serverEnv = "USHER_TEST_DATABASE_URL"
	poolerEnv = "USHER_TEST_POOLER" // host:port, for the service's URL: see scripts/test-pgbouncer.sh
	password  = "hunter2"           // only a given server asks for it; tests look for it in logs
	timeout   = time.Minute
)

// DB is the database of one test. Its roles have the same privileges as in
// production; none of them is a superuser.
type DB struct {
	URL        string        // as the owner, who migrates
	ServiceURL string        // as a member of usher_service_test: what usher serve runs as
	AuditorURL string        // as a member of usher_auditor_test
	Pool       *pgxpool.Pool // as the owner; closed with the test
}

// New returns a database as usher migrate up creates it. The database is dropped
// when the test ends, even if something is still connected. New takes about
// 30 ms, and a second longer the first time.
func New(t testing.TB) *DB {
	t.Helper()
	s, err := sharedServer()
	if err != nil {
		t.Fatalf("dbtest: %v", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), timeout)
	defer cancel()
	name := "usher_test_" + strings.ToLower(rand.Text())
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), timeout)
		defer cancel()
		if _, err := s.admin.Exec(ctx, "DROP DATABASE IF EXISTS "+name+" WITH (FORCE)"); err != nil {
			t.Errorf("dbtest: %v", err)
		}
	})
	if err := s.create(ctx, name); err != nil {
		t.Fatalf("dbtest: %v", err)
	}
	d := &DB{
		URL:        s.url("usher_owner", name),
		ServiceURL: throughPooler(t, s.url("usher_test_service", name)),
		AuditorURL: s.url("usher_test_auditor", name),
	}
	d.Pool, err = pgxpool.New(ctx, d.URL)
	if err != nil {
		t.Fatalf("dbtest: %v", err)
	}
	t.Cleanup(d.Pool.Close)
	return d
}

// With returns a database URL with one more parameter.
func With(t testing.TB, address, name, value string) string {
	t.Helper()
	u, err := url.Parse(address)
	if err != nil {
		t.Fatalf("dbtest: %v", err)
	}
	query := u.Query()
	query.Set(name, value)
	u.RawQuery = query.Encode()
	return u.String()
}

// Dir returns a folder for a server that one test starts, removed with the test.
// Like the shared server's, it is in memory if there is room and TMPDIR is unset:
// a copy of a database is hundreds of files.
func Dir(t testing.TB) string {
	t.Helper()
	dir, err := pglocal.TempDir(inMemory(), "usher-test-*")
	if err != nil {
		t.Fatalf("dbtest: %v", err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Errorf("dbtest: %v", err)
		}
	})
	return dir
}

// server is the PostgreSQL server of this process.
type server struct {
	base     *url.URL // of the superuser
	admin    *pgxpool.Pool
	template string   // empty on a given server, where nobody would remove it
	alive    *os.File // open while the process lives: see cleanUpAfter
}

var sharedServer = sync.OnceValues(func() (*server, error) {
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	s := new(server)
	address := os.Getenv(serverEnv)
	private := address == ""
	if private {
		var err error
		if address, err = s.startPrivate(ctx); err != nil {
			return nil, err
		}
	}
	base, err := url.Parse(address)
	if err != nil || base.Scheme == "" {
		return nil, errors.New(serverEnv + " is not of the form postgres://superuser:password@host:5432/postgres")
	}
	s.base = base
	if s.admin, err = pgxpool.New(ctx, address); err != nil {
		return nil, err
	}
	if !private && os.Getenv(poolerEnv) == "" {
		return s, nil
	}
	template := "usher_template_" + strings.ToLower(rand.Text())
	if err := s.create(ctx, template); err != nil {
		return nil, err
	}
	s.template = template
	return s, nil
})

func (s *server) startPrivate(ctx context.Context) (string, error) {
	dir, err := pglocal.TempDir(inMemory(), "usher-dbtest-*")
	if err != nil {
		return "", err
	}
	if s.alive, err = cleanUpAfter(dir); err != nil {
		return "", err
	}
	private, err := pglocal.Start(ctx, pglocal.Config{Dir: dir, Settings: map[string]string{"max_connections": "300"}})
	if err != nil {
		return "", err
	}
	return private.URL("postgres"), nil
}

// cleanUpAfter starts a shell that stops the server in dir and removes dir once
// this process has ended, even if it was killed: a test binary runs no code when
// it ends. The shell waits for the end of a pipe, which is closed with the
// returned file when the process ends.
func cleanUpAfter(dir string) (*os.File, error) {
	r, w, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer r.Close()
	const script = `read -r _
		while pid=$(head -n 1 "$1/postmaster.pid") && kill -INT "$pid"; do sleep 0.05; done
		rm -rf "$2"`
	cmd := exec.Command("/bin/sh", "-c", script, "sh", filepath.Join(dir, "data"), dir)
	cmd.Stdin = r
	cmd.Dir = "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // Ctrl-C ends the tests, not this
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	return w, cmd.Process.Release()
}

// create makes a migrated database: a copy of the template if there is one.
func (s *server) create(ctx context.Context, name string) error {
	if s.template != "" {
		_, err := s.admin.Exec(ctx, "CREATE DATABASE "+name+" OWNER usher_owner STRATEGY file_copy TEMPLATE "+s.template)
		return err
	}
	// Roles belong to the whole server, and other test processes may be making
	// the same ones.
	return pgx.BeginFunc(ctx, s.admin, func(lock pgx.Tx) error {
		if _, err := lock.Exec(ctx, "SELECT pg_advisory_xact_lock(hashtext('usher dbtest'))"); err != nil {
			return err
		}
		for _, step := range []func() error{
			s.exec(ctx, ownerSQL),
			s.exec(ctx, "CREATE DATABASE "+name+" OWNER usher_owner"),
			func() error {
				_, err := db.Migrate(ctx, secret.New(s.url("usher_owner", name)), db.MigrateConfig{Mode: db.Production, RoleSuffix: RoleSuffix})
				return err
			},
			s.exec(ctx, membersSQL),
		} {
			if err := step(); err != nil {
				return err
			}
		}
		return nil
	})
}

var (
	//go:embed owner.sql
	ownerSQL string
	//go:embed members.sql
	membersSQL string
)

func (s *server) exec(ctx context.Context, sql string) func() error {
	return func() error {
		_, err := s.admin.Exec(ctx, sql)
		return err
	}
}

// direct lists the tests that get the server's own address beside a pooler, and why.
var direct = map[string]string{
	"TestPlantedOperatorsAreNotCalled":       "usher refuses a pooler when others may create objects in schema public",
	"TestDeploymentSaysThatCommitsMayBeLost": "a pooler refuses the setting in the URL",
}

// throughPooler replaces the address of a URL by that of a connection pooler,
// where the environment names one.
func throughPooler(t testing.TB, address string) string {
	u, err := url.Parse(address)
	name, _, _ := strings.Cut(t.Name(), "/")
	if pooler := os.Getenv(poolerEnv); err == nil && pooler != "" && direct[name] == "" {
		u.Host = pooler
	}
	return u.String()
}

// url returns a connection URL for a role to a database.
func (s *server) url(role, name string) string {
	u := *s.base
	u.User = url.UserPassword(role, password)
	u.Path = "/" + name
	return u.String()
}
