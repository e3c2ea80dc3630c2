// Package pglocal runs a private PostgreSQL out of the programs that are
// installed on the machine, for usher dev and for tests:
//
//	server, err := pglocal.Start(ctx, pglocal.Config{Dir: ".usher"})
//	if err != nil {
//		return err
//	}
//	defer server.Stop()
//	pool, err := pgxpool.New(ctx, server.URL("postgres"))
//
// The server listens on a Unix socket that its own user and root alone can
// open, so nobody needs a password. It ends with the process that started it,
// however that one ends: the kernel sees to it on Linux, and elsewhere a server
// that outlived a kill -9 is stopped by the next Start on its folder. Root
// cannot run PostgreSQL; for root it runs as an unprivileged user.
//
// It is not for production: its settings are PostgreSQL's defaults, every
// connection is a superuser's who asks to be, and nothing backs it up.
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

// Config says where a server lives and how it behaves.
type Config struct {
	// Dir holds the data, the socket and the server's log. It is made where it
	// is missing. Where the unprivileged user that stands in for root may not
	// enter it, Dir/data is a symbolic link to where the data are instead.
	Dir string

	// Settings are added to PostgreSQL's own, which are durable by default: a
	// commit that was acknowledged survives kill -9.
	Settings map[string]string

	// Logger says what Start found and did. The default discards it.
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

// Start finds the programs, makes the database cluster where Dir has none,
// starts the server and waits until it accepts connections: about a second the
// first time, a tenth of one later. It first stops a server that an earlier
// process left behind in Dir, and recovers what a crash left. ctx bounds the
// start alone, not the life of the server.
//
// Errors to tell apart are [ErrNoPostgres] and [ErrInUse]; all are sentences
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
		release(lock) // before done, so that who waited for it can Start
		close(s.done)
	}()
	return s, nil
}

// create makes a database cluster, aside first: a cluster that initdb did not
// finish is never taken for one.
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
		log.WarnContext(ctx, "the data lie elsewhere: the user postgres runs as may not enter the folder", "folder", at.dir, "data", data)
	}
	log.InfoContext(ctx, "database cluster made", "version", bin.major, "data", data, "took", time.Since(began).Round(time.Millisecond))
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
	for _, settings := range []map[string]string{defaults, settings} { // of two, the later counts
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
		// The sessions of a postgres that was killed go as soon as they notice.
		// Until then their shared memory keeps a new one out.
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

// awaitReady returns when a connection succeeds, postgres ends or ctx does.
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

// URL returns a connection URL, for pgx as for psql, by which the superuser
// reaches a database. It holds no secret.
func (s *Server) URL(database string) string {
	return (&url.URL{
		Scheme: "postgres",
		User:   url.User(superuser),
		Path:   "/" + database,
		// The port is said lest PGPORT decide. libpq does not read + as a space.
		RawQuery: "host=" + strings.ReplaceAll(url.QueryEscape(s.socketDir), "+", "%20") + "&port=" + port,
	}).String()
}

// PID returns the process id of the postmaster.
func (s *Server) PID() int { return s.process.cmd.Process.Pid }

// Done returns a channel that is closed once the server has ended, by Stop or
// by itself. Its folder is then free for another Start.
func (s *Server) Done() <-chan struct{} { return s.done }

// Err returns nil while the server runs and after Stop, else why it ended.
func (s *Server) Err() error {
	select {
	case <-s.done:
		return s.err
	default:
		return nil
	}
}

// Stop ends the server by a fast shutdown, which rolls back what is open, and
// waits for it. A server that takes longer than ten seconds is killed, which is
// an error but loses nothing that was committed. Later calls do nothing.
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

// acquire locks dir for this process. The kernel lifts the lock when the
// process ends, so that none is ever stale.
func acquire(dir string) (*os.File, error) {
	lock, err := os.OpenFile(filepath.Join(dir, "postgres.lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		_ = lock.Close()
		if errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, fmt.Errorf("%s: %w; stop it, or take another folder", dir, ErrInUse)
		}
		return nil, fmt.Errorf("lock %s: %w", lock.Name(), err)
	}
	return lock, nil
}

// release unlocks before it closes: a child that another goroutine is just
// forking holds a copy of the file until its exec, and with it the lock.
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
		return fmt.Errorf("the data in %[1]s were made by PostgreSQL %[2]s, but the programs in %[3]s are version %[4]d: "+
			"name the folder of version %[2]s's programs in %[5]s, or remove %[1]s to begin anew",
			data, made, bin.dir, bin.major, binEnv)
	}
	return nil
}

// tail returns the end of what a program printed, on one line for an error.
func tail(output *os.File) string {
	content, err := os.ReadFile(output.Name())
	if err != nil {
		return err.Error()
	}
	content = content[max(0, len(content)-2000):]
	lines := strings.Split(strings.TrimSpace(string(content)), "\n")
	return strings.Join(slices.DeleteFunc(lines, func(l string) bool { return l == "" }), "; ")
}
