package pglocal_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgproto3"

	"github.com/usher-auth/usher/db/dbtest"
	"github.com/usher-auth/usher/db/pglocal"
)

const helperEnv = "PGLOCAL_TEST_HELPER_DIR"

// TestMain is also the program of TestParentKilled: a process that runs a
// server until it is killed.
func TestMain(m *testing.M) {
	syscall.Umask(0o022) // so that the tests' folders get the modes that they request
	dir := os.Getenv(helperEnv)
	if dir == "" {
		os.Exit(m.Run())
	}
	server, err := pglocal.Start(context.Background(), pglocal.Config{Dir: dir})
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	fmt.Println(server.PID())
	select {}
}

func start(t *testing.T, dir string) *pglocal.Server {
	t.Helper()
	return startWith(t, pglocal.Config{Dir: dir})
}

func startWith(t *testing.T, cfg pglocal.Config) *pglocal.Server {
	t.Helper()
	server, err := pglocal.Start(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := server.Stop(); err != nil {
			t.Error(err)
		}
	})
	return server
}

func stop(t *testing.T, server *pglocal.Server) {
	t.Helper()
	if err := server.Stop(); err != nil {
		t.Fatal(err)
	}
	if alive(server.PID()) {
		t.Fatalf("postgres %d runs after Stop", server.PID())
	}
}

func connect(t *testing.T, server *pglocal.Server) *pgx.Conn {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), server.URL("postgres"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close(context.Background()) })
	return conn
}

func do(t *testing.T, server *pglocal.Server, sql string) {
	t.Helper()
	conn := connect(t, server)
	defer conn.Close(t.Context())
	if _, err := conn.Exec(t.Context(), sql); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
}

func query[T any](t *testing.T, server *pglocal.Server, sql string) T {
	t.Helper()
	conn := connect(t, server)
	defer conn.Close(t.Context())
	var got T
	if err := conn.QueryRow(t.Context(), sql).Scan(&got); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
	return got
}

func alive(pid int) bool { return !errors.Is(syscall.Kill(pid, 0), syscall.ESRCH) }

func waitGone(t *testing.T, pid int) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); alive(pid); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("postgres %d still runs", pid)
		}
	}
}

// owner returns the user that owns the data in dir.
func owner(t *testing.T, dir string) *syscall.Credential {
	t.Helper()
	info, err := os.Stat(filepath.Join(dir, "data"))
	if err != nil {
		t.Fatal(err)
	}
	st := info.Sys().(*syscall.Stat_t)
	return &syscall.Credential{Uid: st.Uid, Gid: st.Gid}
}

func TestStartAgain(t *testing.T) {
	t.Parallel()
	dir := dbtest.Dir(t)
	first := start(t, dir)
	do(t, first, "CREATE TABLE kept AS SELECT 42 AS n")
	for setting, want := range map[string]string{
		"fsync": "on", "synchronous_commit": "on", "full_page_writes": "on",
		"listen_addresses": "", "server_encoding": "UTF8", "lc_collate": "C", "timezone": "UTC",
	} {
		// lc_collate left pg_settings in version 16.
		sql := fmt.Sprintf("SELECT current_setting('%s')", setting)
		if setting == "lc_collate" {
			sql = "SELECT datcollate FROM pg_database WHERE datname = current_database()"
		}
		if got := query[string](t, first, sql); got != want {
			t.Errorf("%s = %q, want %q", setting, got, want)
		}
	}
	stop(t, first)
	if err := first.Err(); err != nil {
		t.Errorf("Err after Stop = %v, want nil", err)
	}
	if err := first.Stop(); err != nil {
		t.Errorf("second Stop = %v, want nil", err)
	}

	second := start(t, dir)
	if got := query[int](t, second, "SELECT n FROM kept"); got != 42 {
		t.Errorf("after a restart kept.n = %d, want 42", got)
	}
}

func TestSettings(t *testing.T) {
	t.Parallel()
	server := startWith(t, pglocal.Config{Dir: dbtest.Dir(t), Settings: map[string]string{"fsync": "off"}})
	if got := query[string](t, server, "SELECT current_setting('fsync')"); got != "off" {
		t.Errorf("fsync = %q, want off", got)
	}
}

// Only the server's own user and root can open the socket, because whoever opens it is a
// superuser and can make the server run programs.
func TestSocketIsPrivate(t *testing.T) {
	t.Parallel()
	dir := dbtest.Dir(t)
	start(t, dir)
	info, err := os.Stat(filepath.Join(dir, "data"))
	if err != nil {
		t.Fatal(err)
	}
	if got := info.Mode().Perm(); got != 0o700 {
		t.Errorf("folder of the socket has mode %o, want 700", got)
	}
	info, err = os.Stat(filepath.Join(dir, "data", ".s.PGSQL.5432"))
	if err != nil {
		t.Fatal(err)
	}
	if got := info.Mode().Perm(); got != 0o700 {
		t.Errorf("socket has mode %o, want 700", got)
	}
}

func TestInUse(t *testing.T) {
	t.Parallel()
	dir := dbtest.Dir(t)
	first := start(t, dir)
	_, err := pglocal.Start(t.Context(), pglocal.Config{Dir: dir})
	if !errors.Is(err, pglocal.ErrInUse) || !strings.Contains(err.Error(), dir) {
		t.Fatalf("second Start = %v, want ErrInUse that names %s", err, dir)
	}
	if got := query[int](t, first, "SELECT 1"); got != 1 {
		t.Errorf("first server answers %d, want 1", got)
	}
}

func TestSideBySide(t *testing.T) {
	t.Parallel()
	one, two := start(t, dbtest.Dir(t)), start(t, dbtest.Dir(t))
	do(t, one, "CREATE TABLE mine AS SELECT 1")
	if query[bool](t, two, "SELECT to_regclass('mine') IS NOT NULL") {
		t.Error("the second server sees the first one's table")
	}
}

// After kill -9 of postgres, with a session that does not notice at once,
// committed data is there and the next Start waits for the session to end.
func TestPostgresKilled(t *testing.T) {
	t.Parallel()
	dir := dbtest.Dir(t)
	server := start(t, dir)
	do(t, server, "CREATE TABLE kept (n int)")
	for n := range 3 {
		do(t, server, fmt.Sprintf("INSERT INTO kept VALUES (%d)", n))
		busy := connect(t, server).PgConn().Frontend() // never reads the answer
		busy.SendQuery(&pgproto3.Query{String: "SELECT count(*) FROM generate_series(1, 1500000)"})
		if err := busy.Flush(); err != nil {
			t.Fatal(err)
		}
		for query[int](t, server, "SELECT count(*)::int FROM pg_stat_activity WHERE query LIKE '%generate_series(1,%' AND pid <> pg_backend_pid()") == 0 {
		}
		if err := syscall.Kill(server.PID(), syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		<-server.Done()
		if err := server.Err(); err == nil || !strings.Contains(err.Error(), "signal: killed") {
			t.Fatalf("Err after kill -9 = %v, want one that says so", err)
		}
		server = start(t, dir)
		if got := query[int](t, server, "SELECT count(*)::int FROM kept"); got != n+1 {
			t.Errorf("after kill -9 number %d there are %d rows, want %d", n+1, got, n+1)
		}
	}
}

func TestParentKilled(t *testing.T) {
	t.Parallel()
	dir := dbtest.Dir(t)
	var pid int
	for range 2 { // the second parent starts while the first one's server shuts down
		parent := exec.Command(os.Args[0])
		parent.Env = append(os.Environ(), helperEnv+"="+dir)
		out, err := parent.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := parent.Start(); err != nil {
			t.Fatal(err)
		}
		line, _ := bufio.NewReader(out).ReadString('\n')
		if err := parent.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		_ = parent.Wait() // "signal: killed"
		pid, err = strconv.Atoi(strings.TrimSpace(line))
		if err != nil {
			t.Fatalf("the helper printed %q, want a process id", line)
		}
	}
	if runtime.GOOS == "linux" { // elsewhere the next Start stops it
		waitGone(t, pid)
	}
	start(t, dir)
	waitGone(t, pid)
}

// A server that outlived its parent is stopped, and a wrong postmaster.pid does
// not prevent a start.
func TestLeftovers(t *testing.T) {
	t.Parallel()
	bin, err := pglocal.FindPrograms()
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name  string
		leave func(t *testing.T, dir, data string) (gone int)
	}{
		{"running orphan", func(t *testing.T, dir, data string) int {
			orphan := exec.Command(filepath.Join(bin, "postgres"), "-D", data, "-c", "listen_addresses=", "-c", "unix_socket_directories="+data)
			orphan.SysProcAttr = credential(t, dir)
			if err := orphan.Start(); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = orphan.Process.Kill() })
			go func() { _ = orphan.Wait() }()
			for {
				content, _ := os.ReadFile(filepath.Join(data, "postmaster.pid"))
				if strings.Contains(string(content), "ready") {
					return orphan.Process.Pid
				}
				time.Sleep(5 * time.Millisecond)
			}
		}},
		{"PID of another program of the same user", func(t *testing.T, dir, data string) int {
			other := exec.Command("sleep", "600")
			other.SysProcAttr = credential(t, dir)
			if err := other.Start(); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() {
				if !alive(other.Process.Pid) {
					t.Error("the other program was killed")
				}
				_ = other.Process.Kill()
				_ = other.Wait()
			})
			writePID(t, dir, fmt.Sprintf("%d\n%s\n1700000000\n5432\n%s\n", other.Process.Pid, data, data))
			return 0
		}},
		{"empty postmaster.pid", func(t *testing.T, dir, data string) int {
			writePID(t, dir, "")
			return 0
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			dir := dbtest.Dir(t)
			stop(t, start(t, dir))
			gone := c.leave(t, dir, filepath.Join(dir, "data"))
			server := start(t, dir)
			if gone != 0 {
				waitGone(t, gone)
			}
			if got := query[int](t, server, "SELECT 1"); got != 1 {
				t.Errorf("SELECT 1 = %d", got)
			}
		})
	}
}

// credential makes a program run as the user that owns the data.
func credential(t *testing.T, dir string) *syscall.SysProcAttr {
	t.Helper()
	if os.Geteuid() != 0 {
		return nil
	}
	return &syscall.SysProcAttr{Credential: owner(t, dir)}
}

func writePID(t *testing.T, dir, content string) {
	t.Helper()
	file := filepath.Join(dir, "data", "postmaster.pid")
	if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	if os.Geteuid() == 0 {
		user := owner(t, dir)
		if err := os.Chown(file, int(user.Uid), int(user.Gid)); err != nil {
			t.Fatal(err)
		}
	}
}

// A start that was cancelled during initdb leaves no data.
func TestStartCancelled(t *testing.T) {
	t.Parallel()
	dir := dbtest.Dir(t)
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		for {
			if made, _ := filepath.Glob(filepath.Join(dir, "data.new", "*")); len(made) > 0 || t.Context().Err() != nil {
				cancel()
				return
			}
			time.Sleep(time.Millisecond)
		}
	}()
	if _, err := pglocal.Start(ctx, pglocal.Config{Dir: dir}); !errors.Is(err, context.Canceled) {
		t.Fatalf("cancelled Start = %v, want context.Canceled", err)
	}
	if _, err := os.Stat(filepath.Join(dir, "data")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("data after a cancelled Start: %v, want none", err)
	}
	start(t, dir)
}

// Paths that do not fit a socket address, or that have a meaning in a URL or in
// PostgreSQL's settings.
func TestAwkwardFolders(t *testing.T) {
	t.Parallel()
	for _, name := range []string{
		strings.Repeat("deep/", 40) + "dir",
		"a space, a comma",
		`p+l%us & "quotes" ?#`,
	} {
		t.Run(name[:6], func(t *testing.T) {
			t.Parallel()
			dir := filepath.Join(dbtest.Dir(t), name)
			first := start(t, dir)
			do(t, first, "CREATE TABLE kept AS SELECT 42 AS n")
			stop(t, first)
			second := start(t, dir)
			if got := query[int](t, second, "SELECT n FROM kept"); got != 42 {
				t.Errorf("kept.n = %d, want 42", got)
			}
			if psql, err := exec.LookPath("psql"); err == nil {
				out, err := exec.Command(psql, second.URL("postgres"), "-Atc", "SELECT n FROM kept").CombinedOutput()
				if got := strings.TrimSpace(string(out)); err != nil || got != "42" {
					t.Errorf("psql %s printed %q, %v; want 42", second.URL("postgres"), got, err)
				}
			}
		})
	}
}

// Root's checkout may be in a folder that only root can enter. The data is then
// elsewhere, and is removed after the folder is removed.
func TestFolderOnlyRootMayEnter(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		t.Skip("for root only: any other user runs PostgreSQL directly")
	}
	closed := t.TempDir()
	if err := os.Chmod(closed, 0o700); err != nil {
		t.Fatal(err)
	}
	dir, data := filepath.Join(closed, "checkout"), ""
	t.Cleanup(func() { // after the last server's end
		if data != "" {
			_ = os.RemoveAll(filepath.Dir(data))
		}
	})
	first := start(t, dir)
	data, err := filepath.EvalSymlinks(filepath.Join(dir, "data"))
	if err != nil {
		t.Fatal(err)
	}
	if strings.HasPrefix(data, closed) {
		t.Fatalf("data lie in %s, want them outside of %s", data, closed)
	}
	do(t, first, "CREATE TABLE kept AS SELECT 42 AS n")
	stop(t, first)

	second := start(t, dir)
	if got := query[int](t, second, "SELECT n FROM kept"); got != 42 {
		t.Errorf("kept.n = %d, want 42", got)
	}
	stop(t, second)

	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	third := start(t, dir)
	if query[bool](t, third, "SELECT to_regclass('kept') IS NOT NULL") {
		t.Error("data outlived their folder")
	}
	stop(t, third)

	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	fourth := filepath.Join(closed, "another checkout")
	start(t, fourth)
	if _, err := os.Stat(data); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("data of a folder that is gone: %v, want them removed", err)
	}
	data, err = filepath.EvalSymlinks(filepath.Join(fourth, "data"))
	if err != nil {
		t.Fatal(err)
	}
}

// PostgreSQL cannot serve data that belongs to root.
func TestRootsData(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		t.Skip("for root only")
	}
	dir := dbtest.Dir(t)
	if err := os.Mkdir(filepath.Join(dir, "data"), 0o700); err != nil {
		t.Fatal(err)
	}
	_, err := pglocal.Start(t.Context(), pglocal.Config{Dir: dir})
	if err == nil || !strings.Contains(err.Error(), "belongs to root") {
		t.Errorf("Start on root's data = %v, want an error that names the owner", err)
	}
}

func TestForeignData(t *testing.T) {
	t.Parallel()
	dir := dbtest.Dir(t)
	stop(t, start(t, dir))
	version := filepath.Join(dir, "data", "PG_VERSION")
	if err := os.WriteFile(version, []byte("12\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := pglocal.Start(t.Context(), pglocal.Config{Dir: dir})
	for _, want := range []string{filepath.Join(dir, "data"), "PostgreSQL 12", "USHER_POSTGRES_BIN", "remove"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Start on version 12's data = %v, want an error with %q", err, want)
		}
	}
}
