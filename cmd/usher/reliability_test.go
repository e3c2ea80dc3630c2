package main

import (
	"context"
	"net/http"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// usher that starts while Postgres is away waits: it lives, is not ready, answers
// 503, and serves once Postgres is there.
func TestServeWaitsForPostgres(t *testing.T) {
	t.Parallel()
	prod := newProductionServer(t)
	if err := prod.pg.Stop(); err != nil {
		t.Fatal(err)
	}
	port, opsPort := freePort(t), freePort(t)
	url, ops := "http://127.0.0.1:"+port, "http://127.0.0.1:"+opsPort
	u := startUsher(t, prod.env, "serve", "--url", url, "--listen", "127.0.0.1:"+port, "--ops-listen", "127.0.0.1:"+opsPort)
	until(t, "usher says that it waits", func() bool { return logged(u, "waiting for the database", "error") != "" })
	until(t, "usher answers", func() bool { return status(t, ops+"/livez") == 200 })
	checkStatus(t, ops+"/readyz", 503)
	checkStatus(t, ops+"/v1/admin/users", 503)
	checkStatus(t, ops+"/metrics", 200)
	code, header, answer, err := ask(t.Context(), url, prod.session, `{}`)
	if err != nil || code != 503 || header.Get("Retry-After") == "" || answer["error"] != "unavailable" {
		t.Errorf("POST /api/auth = %d %v %v, %v", code, header, answer, err)
	}
	impatient := startUsher(t, prod.env, "serve", "--url", "http://127.0.0.1:1", "--listen", "127.0.0.1:0", "--ops-listen", "127.0.0.1:0")
	until(t, "another usher waits", func() bool { return logged(impatient, "waiting for the database", "error") != "" })
	impatient.signal(syscall.SIGTERM)
	if code := impatient.exit(t); code != 0 {
		t.Errorf("exit code %d of a usher that waited, want 0", code)
	}
	prod.startPostgres(t)
	until(t, "usher serves", func() bool {
		code, _, _, err := ask(t.Context(), url, prod.session, `{}`)
		return err == nil && code == 200
	})
	checkStatus(t, ops+"/readyz", 200)
	u.signal(syscall.SIGTERM)
	if code := u.exit(t); code != 0 {
		t.Errorf("exit code %d", code)
	}
}

// What waiting does not mend ends usher at once, with the reason.
func TestServeDoesNotWaitForAnotherPassword(t *testing.T) {
	t.Parallel()
	prod := newProductionServer(t)
	u := startUsher(t, append(prod.env, "USHER_DATABASE_URL="+prod.pg.URL("missing")), "serve", "--url", "http://127.0.0.1:1", "--listen", "127.0.0.1:0", "--ops-listen", "127.0.0.1:0")
	if code := u.exit(t); code != 1 {
		t.Errorf("exit code %d, want 1", code)
	}
}

// status returns the status of a GET, or 0.
func status(t testing.TB, url string) int {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		return 0
	}
	defer res.Body.Close()
	return res.StatusCode
}

// Two replicas behind a balancer that asks for /readyz are restarted in turn, and
// no client sees a failure.
func TestRollingRestart(t *testing.T) {
	t.Parallel()
	prod := newProduction(t)
	prod.env = append(prod.env, "USHER_DRAIN_DELAY=3s")
	type replica struct {
		u        *process
		url, ops string
	}
	start := func() *replica {
		u, url, ops := prod.serve(t)
		return &replica{u, url, ops}
	}
	replicas := []*replica{start(), start()}
	var ready [2]atomic.Pointer[replica] // nil: not ready
	var mu sync.Mutex
	stop := make(chan struct{})
	var running sync.WaitGroup
	running.Go(func() {
		for {
			mu.Lock()
			for i, r := range replicas {
				if status(t, r.ops+"/readyz") == 200 {
					ready[i].Store(r)
				} else {
					ready[i].Store(nil)
				}
			}
			mu.Unlock()
			select {
			case <-stop:
				return
			case <-time.After(500 * time.Millisecond):
			}
		}
	})
	until(t, "both are ready", func() bool { return ready[0].Load() != nil && ready[1].Load() != nil })
	var asked atomic.Int64
	for i := range 8 {
		running.Go(func() {
			for n := i; ; n++ {
				select {
				case <-stop:
					return
				default:
				}
				r := ready[n%2].Load()
				if r == nil {
					continue
				}
				code, _, answer, err := ask(context.Background(), r.url, prod.session, `{}`)
				if err != nil || code != 200 {
					t.Errorf("a client sees %d %v %v", code, answer, err)
				}
				asked.Add(1)
			}
		})
	}
	for i := range replicas {
		before := asked.Load()
		until(t, "clients ask", func() bool { return asked.Load() > before+100 })
		replicas[i].u.signal(syscall.SIGTERM)
		if code := replicas[i].u.exit(t); code != 0 {
			t.Errorf("exit code %d", code)
		}
		next := start()
		mu.Lock()
		replicas[i] = next
		mu.Unlock()
		until(t, "the new one is ready", func() bool { return ready[i].Load() == next })
	}
	close(stop)
	running.Wait()
}

// SIGTERM ends usher although the database hangs, and a second one ends it at
// once.
func TestServeEndsWhilePostgresHangs(t *testing.T) {
	t.Parallel()
	prod := newProductionServer(t)
	patient, url, _ := prod.serve(t)
	hasty, hastyURL, _ := prod.serve(t)
	stopped := family(t, prod.pg.PID())
	for _, pid := range stopped {
		if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
			t.Fatal(err)
		}
	}
	defer func() {
		for _, pid := range stopped {
			_ = syscall.Kill(pid, syscall.SIGCONT)
		}
	}()
	for _, at := range []string{url, hastyURL} {
		if code, _, _, err := ask(t.Context(), at, prod.session, `{}`); err != nil || code != 503 {
			t.Fatalf("while Postgres hangs: %d, %v; want 503", code, err)
		}
	}
	began := time.Now()
	patient.signal(syscall.SIGTERM)
	patient.exit(t)
	if took := time.Since(began); took > 15*time.Second {
		t.Errorf("usher ended %s after SIGTERM, want at most 15s", took)
	}
	hasty.signal(syscall.SIGTERM)
	until(t, "usher drains", func() bool { return logged(hasty, "draining", "at_most") != "" })
	hasty.signal(syscall.SIGTERM)
	if code := hasty.exit(t); code != -1 {
		t.Errorf("exit code %d after a second SIGTERM, want its signal", code)
	}
}
