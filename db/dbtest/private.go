package dbtest

import (
	"context"
	"errors"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/usher-auth/usher/db/pglocal"
)

// A Server is a PostgreSQL server of one test, which may change its settings, stop
// it and replicate it.
type Server struct {
	*pglocal.Server
	dir      string
	name     string
	settings map[string]string
}

// NewServer starts a server for one test, and returns it with a database as
// usher migrate up creates it. It takes about two seconds.
func NewServer(t testing.TB, settings map[string]string) (*Server, *DB) {
	t.Helper()
	s := startServer(t, t.TempDir(), settings)
	s.name = "usher_test"
	base, err := url.Parse(s.Server.URL("postgres"))
	if err != nil {
		t.Fatalf("dbtest: %v", err)
	}
	of := &server{base: base}
	if of.admin, err = pgxpool.New(t.Context(), base.String()); err != nil {
		t.Fatalf("dbtest: %v", err)
	}
	defer of.admin.Close()
	ctx, cancel := context.WithTimeout(t.Context(), timeout)
	defer cancel()
	if err := of.create(ctx, s.name); err != nil {
		t.Fatalf("dbtest: %v", err)
	}
	d := &DB{URL: of.url("usher_owner", s.name), ServiceURL: of.url("usher_test_service", s.name), AuditorURL: of.url("usher_test_auditor", s.name)}
	if d.Pool, err = pgxpool.New(t.Context(), d.URL); err != nil {
		t.Fatalf("dbtest: %v", err)
	}
	t.Cleanup(d.Pool.Close)
	return s, d
}

func startServer(t testing.TB, dir string, settings map[string]string) *Server {
	t.Helper()
	// The user that root runs PostgreSQL as must be able to enter.
	for parent := dir; strings.HasPrefix(parent, os.TempDir()) && parent != os.TempDir(); parent = filepath.Dir(parent) {
		if err := os.Chmod(parent, 0o711); err != nil {
			t.Fatalf("dbtest: %v", err)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), timeout)
	defer cancel()
	private, err := pglocal.Start(ctx, pglocal.Config{Dir: dir, Settings: settings})
	if err != nil {
		t.Fatalf("dbtest: %v", err)
	}
	t.Cleanup(func() { _ = private.Stop() })
	return &Server{Server: private, dir: dir, settings: settings}
}

// Start starts the server again after a Stop.
func (s *Server) Start(t testing.TB) {
	t.Helper()
	again := startServer(t, s.dir, s.settings)
	s.Server = again.Server
}

// Exec runs SQL in the test's database as the superuser.
func (s *Server) Exec(t testing.TB, sql string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), timeout)
	defer cancel()
	pool, err := pgxpool.New(ctx, s.Server.URL(s.name))
	if err != nil {
		t.Fatalf("dbtest: %v", err)
	}
	defer pool.Close()
	if _, err := pool.Exec(ctx, sql); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
}

// Standby starts a hot standby of the server that replicates under a name, which
// synchronous_standby_names may list.
func (s *Server) Standby(t testing.TB, name string) *Server {
	t.Helper()
	primary, err := url.Parse(s.Server.URL("postgres"))
	if err != nil {
		t.Fatalf("dbtest: %v", err)
	}
	data, err := filepath.EvalSymlinks(filepath.Join(s.dir, "data"))
	if err != nil {
		t.Fatalf("dbtest: %v", err)
	}
	dir := t.TempDir()
	if err := s.backUp(t.Context(), data, filepath.Join(dir, "data")); err != nil {
		t.Fatalf("dbtest: %v", err)
	}
	at := primary.Query()
	standby := startServer(t, dir, map[string]string{
		"synchronous_standby_names": "",
		"primary_conninfo":          "host=" + at.Get("host") + " port=" + at.Get("port") + " user=" + primary.User.Username() + " application_name=" + name,
	})
	standby.name = s.name
	return standby
}

// backUp copies the data of the running server, for a standby to start from.
func (s *Server) backUp(ctx context.Context, data, to string) error {
	conn, err := pgx.Connect(ctx, s.Server.URL("postgres"))
	if err != nil {
		return err
	}
	defer conn.Close(ctx)
	if _, err := conn.Exec(ctx, "SELECT pg_backup_start('standby', true)"); err != nil {
		return err
	}
	info, err := os.Stat(data)
	if err != nil {
		return err
	}
	owner := info.Sys().(*syscall.Stat_t)
	err = filepath.WalkDir(data, func(path string, entry os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		inside, err := filepath.Rel(data, path)
		if err != nil {
			return err
		}
		return copyFile(path, filepath.Join(to, inside), entry, owner)
	})
	if err != nil {
		return err
	}
	var label string
	if err := conn.QueryRow(ctx, "SELECT labelfile FROM pg_backup_stop(false)").Scan(&label); err != nil {
		return err
	}
	for name, content := range map[string]string{"backup_label": label, "standby.signal": ""} {
		if err := os.WriteFile(filepath.Join(to, name), []byte(content), 0o600); err != nil {
			return err
		}
		if err := os.Chown(filepath.Join(to, name), int(owner.Uid), int(owner.Gid)); err != nil {
			return err
		}
	}
	return nil
}

// copyFile copies a file or makes a folder. A running server may remove a file
// meanwhile.
func copyFile(from, to string, entry os.DirEntry, owner *syscall.Stat_t) error {
	switch {
	case slices.Contains([]string{"postmaster.pid", "postmaster.opts"}, entry.Name()) || strings.HasPrefix(entry.Name(), ".s.PGSQL"):
		return nil
	case entry.IsDir():
		if err := os.Mkdir(to, 0o700); err != nil {
			return err
		}
	case entry.Type().IsRegular():
		content, err := os.ReadFile(from)
		if errors.Is(err, os.ErrNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
		if err := os.WriteFile(to, content, 0o600); err != nil {
			return err
		}
	default: // a socket
		return nil
	}
	return os.Chown(to, int(owner.Uid), int(owner.Gid))
}

// Both returns a URL that lists the servers, the first one first, as the role of
// another URL.
func Both(t testing.TB, role string, servers ...*Server) string {
	t.Helper()
	u, err := url.Parse(role)
	if err != nil {
		t.Fatalf("dbtest: %v", err)
	}
	var hosts, ports []string
	for _, s := range servers {
		at, err := url.Parse(s.Server.URL("postgres"))
		if err != nil {
			t.Fatalf("dbtest: %v", err)
		}
		hosts, ports = append(hosts, at.Query().Get("host")), append(ports, at.Query().Get("port"))
	}
	query := u.Query()
	query.Set("host", strings.Join(hosts, ","))
	query.Set("port", strings.Join(ports, ","))
	u.RawQuery = strings.ReplaceAll(query.Encode(), "+", "%20")
	return u.String()
}
