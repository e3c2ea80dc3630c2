package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/alecthomas/kong"
	"github.com/jackc/pgx/v5"

	"github.com/usher-auth/usher/db/dbtest"
	"github.com/usher-auth/usher/db/pglocal"
)

// These tests run usher as a process. This test binary also acts as usher.
const beUsher = "USHER_TEST_BE_USHER"

func TestMain(m *testing.M) {
	if os.Getenv(beUsher) != "" {
		main()
		return
	}
	os.Exit(m.Run())
}

// programs are those that no test uses now. Making the parser is most of what a
// command costs, and above all with the race detector.
var programs struct {
	mu   sync.Mutex
	idle []*program
}

// run runs usher in this process, with the environment of the tests.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	programs.mu.Lock()
	var p *program
	if n := len(programs.idle); n > 0 {
		p, programs.idle = programs.idle[n-1], programs.idle[:n-1]
	}
	programs.mu.Unlock()
	if p == nil {
		p = newProgram()
	}
	code := p.run(ctx, args, stdout, stderr)
	// The parser resets the values, but not what it notes about them.
	_ = kong.Visit(p.parser.Model, func(node kong.Visitable, next kong.Next) error {
		switch node := node.(type) {
		case *kong.Node:
			node.Active = false
		case *kong.Flag:
			node.Set = false
		case *kong.Value:
			node.Set = false
		}
		return next(nil)
	})
	programs.mu.Lock()
	programs.idle = append(programs.idle, p)
	programs.mu.Unlock()
	return code
}

// process is a running usher.
type process struct {
	cmd    *exec.Cmd
	out    *syncBuffer // its standard output
	log    *syncBuffer // its log
	ended  chan struct{}
	status *os.ProcessState
}

type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *syncBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *syncBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

// startUsher starts usher with the arguments and ends it with the test.
func startUsher(t testing.TB, env []string, args ...string) *process {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	p := &process{cmd: exec.Command(self, args...), out: new(syncBuffer), log: new(syncBuffer), ended: make(chan struct{})}
	p.cmd.Env = append(cleanEnv(), beUsher+"=1")
	p.cmd.Env = append(p.cmd.Env, env...)
	p.cmd.Stdout, p.cmd.Stderr = p.out, p.log
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		_ = p.cmd.Wait()
		p.status = p.cmd.ProcessState
		close(p.ended)
	}()
	t.Cleanup(func() {
		p.signal(syscall.SIGTERM)
		select {
		case <-p.ended:
		case <-time.After(20 * time.Second):
			p.signal(syscall.SIGKILL)
			<-p.ended
		}
		if t.Failed() {
			t.Logf("usher %s\n%s%s", strings.Join(args, " "), p.out, p.log)
		}
	})
	return p
}

// cleanEnv returns the environment without variables that configure usher.
func cleanEnv() (env []string) {
	for _, v := range os.Environ() {
		if (!strings.HasPrefix(v, "USHER_") || strings.HasPrefix(v, "USHER_POSTGRES_BIN=")) && !strings.HasPrefix(v, "MAKELEVEL=") {
			env = append(env, v)
		}
	}
	return env
}

func (p *process) signal(s syscall.Signal) { _ = p.cmd.Process.Signal(s) }

// exit waits for the end and returns the exit code, or -1 after a signal.
func (p *process) exit(t testing.TB) int {
	t.Helper()
	select {
	case <-p.ended:
		return p.status.ExitCode()
	case <-time.After(30 * time.Second):
		t.Fatalf("usher did not end:\n%s%s", p.out, p.log)
		return 0
	}
}

// until waits for a condition, and fails the test after half a minute.
func until(t testing.TB, what string, met func() bool) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !met(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain until %s", what)
		}
	}
}

// startDev starts usher dev in dir and returns its dev.json.
func startDev(t testing.TB, dir string, args ...string) (*process, devFile) {
	t.Helper()
	p := startUsher(t, nil, append([]string{"dev", "--dir", dir, "--listen", "127.0.0.1:0"}, args...)...)
	until(t, "usher dev greets", func() bool {
		select {
		case <-p.ended:
			t.Fatalf("usher dev ended: %s%s", p.out, p.log)
		default:
		}
		return strings.Contains(p.out.String(), "Ctrl-C stops it")
	})
	return p, readDevFile(t, dir)
}

func readDevFile(t testing.TB, dir string) (dev devFile) {
	t.Helper()
	content, err := os.ReadFile(filepath.Join(dir, "dev.json"))
	if err == nil {
		err = json.Unmarshal(content, &dev)
	}
	if err != nil {
		t.Fatal(err)
	}
	return dev
}

// ask posts to /api/auth with a session cookie. err is an error of the connection.
func ask(ctx context.Context, url, cookie, body string) (status int, header http.Header, answer map[string]any, err error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, url+"/api/auth", strings.NewReader(body))
	if err != nil {
		return 0, nil, nil, err
	}
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("Origin", url)
	r.Header.Set("Cookie", "usher_session="+cookie)
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		return 0, nil, nil, err
	}
	defer res.Body.Close()
	content, err := io.ReadAll(res.Body)
	if err != nil {
		return 0, nil, nil, err
	}
	if err := json.Unmarshal(content, &answer); err != nil {
		return 0, nil, nil, fmt.Errorf("%w in %q", err, content)
	}
	return res.StatusCode, res.Header, answer, nil
}

// production is a production database with a user ada who may read every room,
// and her session.
type production struct {
	owner, service string   // URLs
	key            string   // file of the key encryption key
	env            []string // of usher serve
	session        string
}

// newProduction returns one on the server that the tests share.
func newProduction(t *testing.T) *production {
	t.Helper()
	pg := dbtest.New(t)
	p := &production{owner: pg.URL, service: pg.ServiceURL}
	p.setUp(t, func(args ...string) string {
		code, stdout, stderr := terminal{t, p.owner}.run(args...)
		if code != 0 {
			t.Fatalf("usher %s: exit code %d\n%s%s", strings.Join(args, " "), code, stdout, stderr)
		}
		return stdout
	})
	return p
}

// productionServer is a production with a Postgres of its own, set up by processes
// as an operator does it.
type productionServer struct {
	*production
	dir string
	pg  *pglocal.Server
}

func newProductionServer(t *testing.T) *productionServer {
	t.Helper()
	p := &productionServer{production: new(production), dir: dbtest.Dir(t)}
	p.startPostgres(t)
	p.owner = p.pg.URL("prod")
	p.service = strings.Replace(p.owner, "postgres@", "usher:hunter2@", 1)
	p.exec(t, p.pg.URL("postgres"), "CREATE DATABASE prod")
	p.setUp(t, func(args ...string) string {
		u := startUsher(t, []string{"USHER_DATABASE_URL=" + p.owner, "USHER_SERVICE_PASSWORD=hunter2"}, args...)
		if code := u.exit(t); code != 0 {
			t.Fatalf("usher %s: exit code %d\n%s%s", strings.Join(args, " "), code, u.out, u.log)
		}
		return u.out.String()
	})
	return p
}

func (p *productionServer) startPostgres(t *testing.T) {
	t.Helper()
	server, err := pglocal.Start(context.Background(), pglocal.Config{Dir: p.dir})
	if err != nil {
		t.Fatal(err)
	}
	if p.pg == nil {
		t.Cleanup(func() { _ = p.pg.Stop() })
	}
	p.pg = server
}

// setUp fills the database by usher's commands. run runs one as the owner.
func (p *production) setUp(t *testing.T, run func(args ...string) string) {
	t.Helper()
	p.key = filepath.Join(t.TempDir(), "kek")
	if err := os.WriteFile(p.key, []byte("m3Qx0f9mV1vJc7tB0b5Zk2yqC4n8oXhWl6uR1sTzE9A=\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	run("migrate", "up", "--key-encryption-key-file", p.key)
	run("user", "add", "ada")
	run("grant", "add", "--everyone", "--room", "*", "--access", "read", "--yes")
	var created struct{ Token string }
	if added := run("session", "add", "ada", "--json"); json.Unmarshal([]byte(added), &created) != nil || created.Token == "" {
		t.Fatalf("usher session add --json printed %q", added)
	}
	p.session = created.Token
	p.env = []string{
		"USHER_KEY_ENCRYPTION_KEY_FILE=" + p.key, "USHER_DATABASE_URL=" + p.service,
		"USHER_RATE_LIMIT=0", // the tests send many requests with one session
		"USHER_DRAIN_DELAY=0s",
	}
}

func (p *production) exec(t testing.TB, url, sql string) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(t.Context())
	if _, err := conn.Exec(t.Context(), sql); err != nil {
		t.Fatal(err)
	}
}

// run runs a command as the service and returns what it printed.
func (p *production) run(t *testing.T, args ...string) string {
	t.Helper()
	code, stdout, stderr := terminal{t, p.service}.run(args...)
	if code != 0 {
		t.Fatalf("usher %s: exit code %d\n%s%s", strings.Join(args, " "), code, stdout, stderr)
	}
	return stdout
}

// serve starts usher serve and returns where it listens.
func (p *production) serve(t testing.TB) (u *process, url, opsURL string) {
	t.Helper()
	port := freePort(t)
	url = "http://127.0.0.1:" + port
	u = startUsher(t, p.env, "serve", "--url", url, "--listen", "127.0.0.1:"+port, "--ops-listen", "127.0.0.1:0")
	until(t, "usher serves", func() bool {
		select {
		case <-u.ended:
			t.Fatalf("usher serve ended: %s", u.log)
		default:
		}
		opsURL = logged(u, "serving", "ops_listen")
		return opsURL != ""
	})
	return u, url, "http://" + opsURL
}

// freePort asks the kernel for a free port, because usher serve must know its URL before
// it listens.
func freePort(t testing.TB) string {
	t.Helper()
	l, err := listen(t.Context(), "listen", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	_, port, _ := strings.Cut(l.Addr().String(), ":")
	return port
}

// logged returns an attribute of the first log line with that message.
func logged(u *process, message, attribute string) string {
	lines := bufio.NewScanner(strings.NewReader(u.log.String()))
	for lines.Scan() {
		var line map[string]any
		if json.Unmarshal(lines.Bytes(), &line) == nil && line["msg"] == message {
			value, _ := line[attribute].(string)
			return value
		}
	}
	return ""
}
