// Package pglocal runs a private PostgreSQL, using the programs installed on the
// machine, for usher dev and for tests:
//
//	server, err := pglocal.Start(ctx, pglocal.Config{Dir: ".usher"})
//	if err != nil {
//		return err
//	}
//	defer server.Stop()
//	pool, err := pgxpool.New(ctx, server.URL("postgres"))
//
// The server listens on a Unix socket that only its own user and root can open,
// so no password is needed. It ends when the process that started it ends. After
// a kill -9 of that process, the kernel ends the server on Linux; elsewhere the
// next Start on the same folder does. PostgreSQL refuses to run as root; for root
// it runs as an unprivileged user.
//
// Do not use it in production: its settings are PostgreSQL's defaults, every
// connection can be a superuser's, and nothing backs it up.
package pglocal

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
)

const (
	superuser = "postgres"
	port      = "5432" // of a Unix socket: it only names the file
	poll      = 10 * time.Millisecond
)

// ErrInUse is returned by [Start] when another living process, or another
// Server of this one, runs a server in the same folder.
var ErrInUse = errors.New("another usher runs there")

// Config configures a server.
type Config struct {
	// Dir holds the data, the socket and the server's log. Start creates it if
	// it is missing. If the process runs as root and the unprivileged user cannot
	// enter Dir, Dir/data is a symbolic link to a folder elsewhere.
	Dir string

	// Settings override PostgreSQL's defaults. The defaults are durable: an
	// acknowledged commit survives kill -9.
	Settings map[string]string

	// Logger receives what Start found and did (default: discarded).
	Logger *slog.Logger
}

// Server is a running PostgreSQL. It is safe for concurrent use.
type Server struct {
	process   *process
	socketDir string
	stopping  atomic.Bool
	done      chan struct{}
	err       error // set before done is closed
}

// Start finds the programs, creates a database cluster if Dir has none, starts
// the server and waits until it accepts connections. This takes about a second
// the first time and a tenth of a second later. Start first stops a server that
// an earlier process left behind in Dir, and recovers from a crash. ctx limits
// the start, not the life of the server.
//
// Callers may check for [ErrNoPostgres] and [ErrInUse]. All errors are written
// for the person at the terminal.
func Start(ctx context.Context, cfg Config) (*Server, error) {
	s, err := start(ctx, cfg)
	if err != nil {
		return nil, fmt.Errorf("pglocal: %w", err)
	}
	return s, nil
}

func start(ctx context.Context, cfg Config) (_ *Server, err error) {
	if cfg.Dir == "" {
		return nil, errors.New("no folder given")
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	dir, err := makeDir(cfg.Dir)
	if err != nil {
		return nil, err
	}
	lock, err := acquire(dir)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			release(lock)
		}
	}()

	at, err := findPlace(dir)
	if err != nil {
		return nil, err
	}
	bin, err := findPrograms(at.user)
	if err != nil {
		return nil, err
	}
	output, err := os.OpenFile(filepath.Join(dir, "postgres.log"), os.O_CREATE|os.O_TRUNC|os.O_RDWR|os.O_APPEND, 0o600)
	if err != nil {
		return nil, err
	}
	defer output.Close()

	if at.data == "" {
		if err := create(ctx, cfg.Logger, bin, &at, output); err != nil {
			return nil, err
		}
	}
	if err := checkVersion(bin, at.data); err != nil {
		return nil, err
	}
	if err := stopOrphan(ctx, cfg.Logger, at.data); err != nil {
		return nil, err
	}
	if err := at.chooseSocketDir(); err != nil {
		return nil, err
	}
	s := &Server{socketDir: at.socketDir, done: make(chan struct{})}
	if err := s.launch(ctx, bin, at, cfg.Settings, output); err != nil {
		return nil, err
	}
	cfg.Logger.InfoContext(ctx, "postgres started", "version", bin.major, "pid", s.PID(), "data", at.data)
	go func() {
		<-s.process.ended
		if !s.stopping.Load() {
			s.err = fmt.Errorf("pglocal: postgres ended unexpectedly (%s): see %s", s.process.cmd.ProcessState, output.Name())
		}
		if at.socketDir != at.data {
			_ = os.Remove(at.socketDir)
		}
		release(lock) // before done, so that a waiting caller can Start again
		close(s.done)
	}()
	return s, nil
}

// create makes a database cluster in a temporary folder and renames it, so that
// a cluster that initdb did not finish is never used.
func create(ctx context.Context, log *slog.Logger, bin programs, at *place, output *os.File) error {
	data, err := at.newData(ctx, log, bin)
	if err != nil {
		return err
	}
	if err := stopOrphan(ctx, log, data); err != nil { // of a dir that was removed
		return err
	}
	aside := data + ".new"
	for _, leftover := range []string{data, aside} {
		if err := os.RemoveAll(leftover); err != nil {
			return err
		}
	}
	if err := privateDir(aside, at.user); err != nil {
		return err
	}
	args := []string{
		"--pgdata=" + aside, "--username=" + superuser, "--auth=trust", "--encoding=UTF8",
		"--locale=C", "--no-sync", "--no-instructions",
	}
	if bin.major >= 18 { // where they became the default
		args = append(args, "--no-data-checksums")
	}
	began := time.Now()
	p, err := run(command(bin.dir, "initdb", at.user, args...), output)
	if err != nil {
		return err
	}
	select {
	case <-p.ended:
	case <-ctx.Done():
		_ = p.stop()
		return ctx.Err()
	}
	if !p.cmd.ProcessState.Success() {
		return fmt.Errorf("initdb failed (%s): %s", p.cmd.ProcessState, tail(output))
	}
	if err := os.Rename(aside, data); err != nil {
		return err
	}
	if err := at.adopt(data); err != nil {
		return err
	}
	if filepath.Dir(data) != at.dir {
		log.WarnContext(ctx, "the data is stored elsewhere: the user that postgres runs as cannot enter the folder", "folder", at.dir, "data", data)
	}
	log.InfoContext(ctx, "database cluster created", "version", bin.major, "data", data, "took", time.Since(began).Round(time.Millisecond))
	return nil
}

// launch runs postgres until it accepts connections.
func (s *Server) launch(ctx context.Context, bin programs, at place, settings map[string]string, output *os.File) error {
	defaults := map[string]string{
		"listen_addresses":        "",
		"unix_socket_directories": at.socketDir,
		"unix_socket_permissions": "0700",
		"port":                    port,
		"timezone":                "UTC",
		"log_timezone":            "UTC",
	}
	args := []string{"-D", at.data}
	for _, settings := range []map[string]string{defaults, settings} { // the later of two wins
		for name, value := range settings {
			args = append(args, "-c", name+"="+value)
		}
	}
	for {
		p, err := run(command(bin.dir, "postgres", at.user, args...), output)
		if err != nil {
			return err
		}
		s.process = p
		err = s.awaitReady(ctx)
		if err == nil {
			return nil
		}
		stopErr := p.stop()
		why := tail(output)
		// The sessions of a killed postgres end as soon as they notice. Until
		// then, their shared memory keeps a new postgres from starting.
		if ctx.Err() == nil && strings.Contains(why, "pre-existing shared memory block") {
			if err := output.Truncate(0); err != nil {
				return err
			}
			time.Sleep(poll)
			continue
		}
		return errors.Join(fmt.Errorf("%w: %s", err, why), stopErr)
	}
}

// awaitReady returns when a connection succeeds, or with an error when postgres
// or ctx ends.
func (s *Server) awaitReady(ctx context.Context) error {
	for {
		conn, err := pgconn.Connect(ctx, s.URL("postgres"))
		if err == nil {
			_ = conn.Close(ctx)
			return nil
		}
		select {
		case <-s.process.ended:
			return fmt.Errorf("postgres did not start (%s)", s.process.cmd.ProcessState)
		case <-ctx.Done():
			return fmt.Errorf("postgres did not accept connections: %w", errors.Join(ctx.Err(), err))
		case <-time.After(poll):
		}
	}
}

// URL returns a connection URL for the superuser, for both pgx and psql. It
// contains no secret.
func (s *Server) URL(database string) string {
	return (&url.URL{
		Scheme: "postgres",
		User:   url.User(superuser),
		Path:   "/" + database,
		// Without the port, PGPORT would decide. libpq does not read + as a space.
		RawQuery: "host=" + strings.ReplaceAll(url.QueryEscape(s.socketDir), "+", "%20") + "&port=" + port,
	}).String()
}

// PID returns the process id of the postmaster.
func (s *Server) PID() int { return s.process.cmd.Process.Pid }

// Done returns a channel that is closed once the server has ended, by Stop or on
// its own. Another Start may then use the folder.
func (s *Server) Done() <-chan struct{} { return s.done }

// Err returns why the server ended on its own, and nil while it runs and after
// Stop.
func (s *Server) Err() error {
	select {
	case <-s.done:
		return s.err
	default:
		return nil
	}
}

// Stop ends the server by a fast shutdown, which rolls back open transactions,
// and waits for it. It kills a server that takes longer than ten seconds and
// returns an error; committed data is not lost. Later calls do nothing.
func (s *Server) Stop() error {
	if s.stopping.Swap(true) {
		<-s.done
		return nil
	}
	err := s.process.stop()
	<-s.done
	if err != nil {
		return fmt.Errorf("pglocal: %w", err)
	}
	return nil
}

// acquire locks dir for this process. The kernel releases the lock when the
// process ends, so a lock is never stale.
func acquire(dir string) (*os.File, error) {
	lock, err := os.OpenFile(filepath.Join(dir, "postgres.lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		_ = lock.Close()
		if errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, fmt.Errorf("%s: %w; stop it, or use another folder", dir, ErrInUse)
		}
		return nil, fmt.Errorf("lock %s: %w", lock.Name(), err)
	}
	return lock, nil
}

// release unlocks before it closes the file: a child that another goroutine is
// forking keeps a copy of the file, and with it the lock, until its exec.
func release(lock *os.File) {
	_ = syscall.Flock(int(lock.Fd()), syscall.LOCK_UN)
	_ = lock.Close()
}

func checkVersion(bin programs, data string) error {
	content, err := os.ReadFile(filepath.Join(data, "PG_VERSION"))
	if err != nil {
		return err
	}
	if made := strings.TrimSpace(string(content)); made != strconv.Itoa(bin.major) {
		return fmt.Errorf("the data in %[1]s was created by PostgreSQL %[2]s, but the programs in %[3]s are version %[4]d: "+
			"set %[5]s to the folder of version %[2]s's programs, or remove %[1]s to start over",
			data, made, bin.dir, bin.major, binEnv)
	}
	return nil
}

// tail returns the last lines that a program printed, joined into one line for
// an error.
func tail(output *os.File) string {
	content, err := os.ReadFile(output.Name())
	if err != nil {
		return err.Error()
	}
	content = content[max(0, len(content)-2000):]
	lines := strings.Split(strings.TrimSpace(string(content)), "\n")
	return strings.Join(slices.DeleteFunc(lines, func(l string) bool { return l == "" }), "; ")
}
