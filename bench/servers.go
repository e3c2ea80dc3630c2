package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"time"

	"github.com/usher-auth/usher/session"
)

// A server is one of the processes that are compared.
type server struct {
	name   string
	url    string
	opsURL string // of usher
	cmd    *exec.Cmd
	ended  chan struct{}

	keys     *session.URLKeys
	verifier *session.Verifier
	people   []person // the users to ask for
	requests [][]byte // one for each of them

	turns    []turn
	received int      // number of tokens, including the warm-up
	sampled  []string // jtis of the verified tokens
}

func (b *bench) startUsher(ctx context.Context, binary string) (*server, error) {
	service, err := url.Parse(b.postgres.URL(database))
	if err != nil {
		return nil, err
	}
	service.User = url.User(serviceUser)
	address, err := freeAddress(ctx)
	if err != nil {
		return nil, err
	}
	ops, err := freeAddress(ctx)
	if err != nil {
		return nil, err
	}
	s := &server{name: usherServer, url: "http://" + address, opsURL: "http://" + ops, people: b.people}
	s.cmd = exec.CommandContext(ctx, binary, "serve")
	s.cmd.Env = environment(
		"USHER_DATABASE_URL="+service.String(),
		"USHER_KEY_ENCRYPTION_KEY="+encryptionKey,
		"USHER_URL="+s.url,
		"USHER_LISTEN="+address,
		"USHER_OPS_LISTEN="+ops,
		"USHER_RATE_LIMIT=1000000000", // requests are counted, but the limit is never reached
	)
	return s, b.start(ctx, s)
}

func (b *bench) startLimit(ctx context.Context) (*server, error) {
	program, err := os.Executable()
	if err != nil {
		return nil, err
	}
	address, err := freeAddress(ctx)
	if err != nil {
		return nil, err
	}
	s := &server{name: limitServer, url: "http://" + address, people: b.people[:1]}
	s.cmd = exec.CommandContext(ctx, program, limitCommand)
	s.cmd.Env = environment(
		"BENCH_DATABASE_URL="+b.postgres.URL(database),
		"BENCH_URL="+s.url,
		"BENCH_COOKIE="+s.people[0].Cookie,
	)
	return s, b.start(ctx, s)
}

func (b *bench) startNode(ctx context.Context) (*server, error) {
	dir, err := nodeDir()
	if err != nil {
		return nil, err
	}
	address, err := freeAddress(ctx)
	if err != nil {
		return nil, err
	}
	s := &server{name: nodeServer, url: "http://" + address, people: b.people}
	s.cmd = exec.CommandContext(ctx, "node", filepath.Join(dir, "server.mjs"))
	s.cmd.Env = environment("BENCH_DATABASE_URL="+b.postgres.URL(database), "BENCH_URL="+s.url, "NODE_ENV=production")
	return s, b.start(ctx, s)
}

// nodeDir returns the folder of the Node server, next to this file.
func nodeDir() (string, error) {
	_, file, _, _ := runtime.Caller(0)
	dir := filepath.Join(filepath.Dir(file), "node")
	if _, err := os.Stat(filepath.Join(dir, "node_modules")); err != nil {
		return "", errors.New("bench/node has no node_modules: run make bench, or npm ci in bench/node")
	}
	return dir, nil
}

// environment returns this process's environment without variables that would change the
// servers.
func environment(add ...string) []string {
	env := add
	for _, e := range os.Environ() {
		if !strings.HasPrefix(e, "USHER_") && !strings.HasPrefix(e, "PG") {
			env = append(env, e)
		}
	}
	return env
}

// freeAddress returns an address that was free a moment ago.
func freeAddress(ctx context.Context) (string, error) {
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer l.Close()
	return l.Addr().String(), nil
}

// start starts the process with its own log, and waits for its keys.
func (b *bench) start(ctx context.Context, s *server) (err error) {
	log, err := os.Create(filepath.Join(b.dir, s.name+".log"))
	if err != nil {
		return err
	}
	defer log.Close()
	s.cmd.Stdout, s.cmd.Stderr = log, log
	s.cmd.Cancel = func() error { return s.cmd.Process.Signal(syscall.SIGTERM) }
	s.cmd.WaitDelay = 15 * time.Second
	s.cmd.SysProcAttr = dieWithParent()
	s.ended = make(chan struct{})
	started := make(chan error)
	go func() {
		// On Linux, a child's parent is the thread that forked it, and the kernel ends
		// the child with that thread (golang/go#27505). So keep the thread.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := s.cmd.Start()
		started <- err
		if err == nil {
			_ = s.cmd.Wait() // ProcessState has the result
			close(s.ended)
		}
	}()
	if err := <-started; err != nil {
		return fmt.Errorf("%s: %w", s.name, err)
	}
	defer func() {
		if err != nil {
			s.stop()
			text, _ := os.ReadFile(log.Name())
			err = fmt.Errorf("%s: %w\n%s", s.name, err, text)
		}
	}()
	jwks := s.url + "/.well-known/jwks.json"
	if err := s.await(ctx, jwks); err != nil {
		return err
	}
	if s.keys, err = session.KeysFromURL(jwks, session.URLKeysConfig{}); err != nil {
		return err
	}
	s.verifier, err = session.NewVerifier(session.VerifierConfig{Issuer: s.url, Audience: "liveblocks", Keys: s.keys})
	if err != nil {
		return err
	}
	for _, p := range s.people {
		s.requests = append(s.requests, newRequest(s.url, p))
	}
	return nil
}

// await waits until the server answers.
func (s *server) await(ctx context.Context, address string) error {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	for {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
		if err != nil {
			return err
		}
		if response, err := http.DefaultClient.Do(request); err == nil {
			_ = response.Body.Close()
			if response.StatusCode == http.StatusOK {
				return nil
			}
		}
		select {
		case <-s.ended:
			return fmt.Errorf("ended at its start (%s)", s.cmd.ProcessState)
		case <-ctx.Done():
			return fmt.Errorf("did not start: %w", ctx.Err())
		case <-time.After(20 * time.Millisecond):
		}
	}
}

func (b *bench) stopServers() {
	for _, s := range b.servers {
		s.stop()
	}
}

func (s *server) stop() {
	if s.keys != nil {
		s.keys.Close()
	}
	_ = s.cmd.Cancel() // fails only if the process has ended
	select {
	case <-s.ended:
	case <-time.After(s.cmd.WaitDelay):
		_ = s.cmd.Process.Kill()
		<-s.ended
	}
}
