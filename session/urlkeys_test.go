package session_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/usher-auth/usher/session"
)

const keyURL = "https://usher.test/.well-known/jwks.json"

// issuer is a transport that answers like the issuer's server. It uses no network, so that
// a synctest bubble controls the time.
type issuer struct {
	mu      sync.Mutex
	status  int
	body    func(context.Context) io.Reader
	fetches []time.Time
}

func (i *issuer) RoundTrip(r *http.Request) (*http.Response, error) {
	i.mu.Lock()
	i.fetches = append(i.fetches, time.Now())
	status, body := i.status, i.body
	i.mu.Unlock()
	if r.URL.String() != keyURL {
		return nil, fmt.Errorf("asked for %s", r.URL)
	}
	if body == nil {
		<-r.Context().Done()
		return nil, r.Context().Err()
	}
	return &http.Response{StatusCode: status, Header: http.Header{"Location": {"https://evil.test/"}}, Body: io.NopCloser(body(r.Context())), Request: r}, nil
}

func (i *issuer) serve(status int, body string) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.status, i.body = status, func(context.Context) io.Reader { return strings.NewReader(body) }
}

func (i *issuer) publish(t testing.TB, forgers ...forger) {
	i.serve(http.StatusOK, string(session.MarshalJWKS(keySet(t, forgers...).Keys())))
}

// hang makes requests wait until their context ends.
func (i *issuer) hang() {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.body = nil
}

func (i *issuer) count() int {
	i.mu.Lock()
	defer i.mu.Unlock()
	return len(i.fetches)
}

// keysFrom returns the keys of an issuer, after their first fetch. It is for a synctest
// bubble: nothing is still running when the test ends.
func keysFrom(t *testing.T, i *issuer, cfg session.URLKeysConfig) *session.URLKeys {
	t.Helper()
	cfg.Transport = i
	keys, err := session.KeysFromURL(keyURL, cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		keys.Close()
		synctest.Wait()
	})
	return keys
}

// look asks for a key, and returns the result and how long it took.
func look(keys session.KeySource, kid string) (string, time.Duration) {
	start := time.Now()
	k, err := keys.Key(context.Background(), kid)
	switch {
	case err == nil && k.KeyID == kid:
		return "found", time.Since(start)
	case errors.Is(err, session.ErrSigningKeyUnknown):
		return "unknown", time.Since(start)
	case errors.Is(err, session.ErrKeysUnavailable):
		return "unavailable", time.Since(start)
	}
	return fmt.Sprint(k, err), time.Since(start)
}

func want(t *testing.T, keys session.KeySource, kid, result string, within time.Duration) {
	t.Helper()
	if got, took := look(keys, kid); got != result || took > within {
		t.Errorf("key %s: got %s after %s, want %s within %s", kid, got, took, result, within)
	}
}

func TestURLKeysConfig(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		for _, tt := range []struct {
			name, url string
			cfg       session.URLKeysConfig
			fault     string
		}{
			{"https", keyURL, session.URLKeysConfig{}, ""},
			{"loopback", "http://127.0.0.1:8080/jwks", session.URLKeysConfig{}, ""},
			{"loopback by name", "http://localhost/jwks", session.URLKeysConfig{}, ""},
			{"loopback, IPv6", "http://[::1]:8080/jwks", session.URLKeysConfig{}, ""},
			{"http by leave", "http://usher:8080/jwks", session.URLKeysConfig{AllowHTTP: true}, ""},
			{"http", "http://usher:8080/jwks", session.URLKeysConfig{}, "http to another host"},
			{"http, like loopback", "http://127.0.0.1.evil.test/jwks", session.URLKeysConfig{}, "http to another host"},
			{"empty", "", session.URLKeysConfig{}, "absolute"},
			{"relative", "/jwks", session.URLKeysConfig{}, "absolute"},
			{"file", "file:///etc/passwd", session.URLKeysConfig{}, "absolute"},
			{"no host", "https:///jwks", session.URLKeysConfig{}, "absolute"},
			{"password", "https://u:p@usher.test/jwks", session.URLKeysConfig{}, "password"},
			{"often", keyURL, session.URLKeysConfig{Refresh: time.Second}, "Refresh"},
			{"seldom", keyURL, session.URLKeysConfig{Refresh: time.Hour}, "Refresh"},
			{"soon stale", keyURL, session.URLKeysConfig{MaxStale: time.Minute}, "MaxStale"},
		} {
			i := &issuer{}
			i.serve(http.StatusNotFound, "")
			tt.cfg.Transport = i
			keys, err := session.KeysFromURL(tt.url, tt.cfg)
			if tt.fault == "" && err != nil || tt.fault != "" && (err == nil || !strings.Contains(err.Error(), tt.fault)) {
				t.Errorf("%s: got %v, want %q", tt.name, err, tt.fault)
			}
			if err == nil {
				keys.Close()
			} else if i.count() > 0 {
				t.Errorf("%s: fetched", tt.name)
			}
		}
		synctest.Wait()
	})
}

func TestURLKeysFirstFetch(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		i := &issuer{}
		i.publish(t, edForger("a"))
		keys := keysFrom(t, i, session.URLKeysConfig{})
		var wg sync.WaitGroup
		for range 100 { // all share one fetch
			wg.Go(func() { want(t, keys, "a", "found", 0) })
		}
		wg.Wait()
		want(t, keys, "b", "unknown", 0)
		if got := i.count(); got != 1 {
			t.Errorf("got %d fetches, want 1", got)
		}
		if err := keys.Err(); err != nil {
			t.Error(err)
		}
	})
}

// UPS-05: 10,000 invented kids cause one fetch in 30 s, and delay no other token.
func TestURLKeysUnknownKids(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		i := &issuer{}
		i.publish(t, edForger("a"))
		keys := keysFrom(t, i, session.URLKeysConfig{})
		want(t, keys, "a", "found", 0)
		start := time.Now()
		for n := range 10_000 {
			want(t, keys, fmt.Sprint("made-up-", n), "unknown", 0)
			want(t, keys, "a", "found", 0)
			time.Sleep(10 * time.Millisecond)
		}
		i.mu.Lock()
		defer i.mu.Unlock()
		for n := 1; n < len(i.fetches); n++ {
			if pause := i.fetches[n].Sub(i.fetches[n-1]); pause < 30*time.Second {
				t.Errorf("fetches %s apart, want 30s at least", pause)
			}
		}
		if got, most := len(i.fetches), int(time.Since(start)/(30*time.Second))+1; got > most {
			t.Errorf("got %d fetches, want at most %d", got, most)
		}
	})
}

// A key that was added after the last fetch is found by fetching again.
func TestURLKeysRotation(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		i := &issuer{}
		i.publish(t, edForger("a"))
		keys := keysFrom(t, i, session.URLKeysConfig{})
		want(t, keys, "a", "found", 0)
		i.publish(t, edForger("a"), edForger("b"))
		time.Sleep(29 * time.Second)
		want(t, keys, "b", "unknown", 0)
		time.Sleep(time.Second)
		var wg sync.WaitGroup
		for range 100 {
			wg.Go(func() { want(t, keys, "b", "found", 0) })
		}
		wg.Wait()
		want(t, keys, "a", "found", 0)
		if got := i.count(); got != 2 {
			t.Errorf("got %d fetches, want 2", got)
		}
	})
}

// UPS-06: a removed key is no longer accepted after the interval, whether it is used
// constantly or was not used for hours.
func TestURLKeysWithdrawn(t *testing.T) {
	t.Parallel()
	for _, pause := range []time.Duration{time.Second, 5 * time.Hour} {
		synctest.Test(t, func(t *testing.T) {
			i := &issuer{}
			i.publish(t, edForger("a"), edForger("b"))
			keys := keysFrom(t, i, session.URLKeysConfig{})
			want(t, keys, "a", "found", 0)
			i.publish(t, edForger("b"))
			for withdrawn := time.Now(); time.Since(withdrawn) < 5*time.Minute; time.Sleep(pause) {
				want(t, keys, "a", "found", 0)
			}
			synctest.Wait()
			want(t, keys, "a", "unknown", 0)
			want(t, keys, "b", "found", 0)
		})
	}
}

// UPS-07: while the issuer is down, known keys are returned at once, up to MaxStale. Other
// keys are unavailable.
func TestURLKeysIssuerDown(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		i := &issuer{}
		i.publish(t, edForger("a"))
		var failed atomic.Int32
		keys := keysFrom(t, i, session.URLKeysConfig{MaxStale: time.Hour, OnError: func(error) { failed.Add(1) }})
		want(t, keys, "a", "found", 0)
		i.hang()
		for start := time.Now(); time.Since(start) < time.Hour; time.Sleep(7 * time.Second) {
			want(t, keys, "a", "found", 0) // hanging fetches or not
		}
		time.Sleep(time.Minute)
		if got, _ := look(keys, "a"); got != "unavailable" {
			t.Errorf("after MaxStale: got %s, want unavailable", got)
		}
		if !errors.Is(keys.Err(), context.DeadlineExceeded) {
			t.Errorf("Err() = %v, want the time-out", keys.Err())
		}
		// One fetch every 30 s, or 35 s with the timeout, after the first 5 minutes.
		if got := failed.Load(); got < 90 || got > 115 {
			t.Errorf("OnError was called %d times", got)
		}
		if got, _ := look(keys, "b"); got != "unavailable" {
			t.Errorf("an unknown key: got %s, want unavailable", got)
		}

		i.publish(t, edForger("a"), edForger("b"))
		time.Sleep(time.Minute)
		want(t, keys, "a", "found", 0)
		want(t, keys, "b", "found", 0)
		if err := keys.Err(); err != nil {
			t.Error(err)
		}
	})
}

// Issuer and verifier start at the same time: the first token after the issuer is up is
// accepted.
func TestURLKeysColdStart(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		i := &issuer{}
		i.serve(http.StatusBadGateway, "")
		keys := keysFrom(t, i, session.URLKeysConfig{})
		for range 100 {
			want(t, keys, "a", "unavailable", 0)
			time.Sleep(100 * time.Millisecond)
		}
		if got := i.count(); got > 11 {
			t.Errorf("got %d fetches in 10 s, want one a second", got)
		}
		i.publish(t, edForger("a"))
		time.Sleep(time.Second)
		want(t, keys, "a", "found", 0)
	})
}

// F40: initial keys are used until the issuer is reached.
func TestURLKeysInitial(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		i := &issuer{}
		i.hang()
		keys := keysFrom(t, i, session.URLKeysConfig{Initial: keySet(t, edForger("a"))})
		want(t, keys, "a", "found", 0)
		want(t, keys, "b", "unavailable", 5*time.Second)
		i.publish(t, edForger("b"))
		time.Sleep(time.Minute)
		want(t, keys, "b", "found", 0)
		want(t, keys, "a", "unknown", 0)
	})
}

// A call waits no longer than its own context, and does not end the wait of other calls.
func TestURLKeysContext(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		i := &issuer{}
		i.body = func(ctx context.Context) io.Reader {
			select {
			case <-time.After(2 * time.Second):
			case <-ctx.Done():
			}
			return strings.NewReader(string(session.MarshalJWKS(keySet(t, edForger("a")).Keys())))
		}
		i.status = http.StatusOK
		keys := keysFrom(t, i, session.URLKeysConfig{})
		var wg sync.WaitGroup
		wg.Go(func() { want(t, keys, "a", "found", 2*time.Second) })
		wg.Go(func() {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			start := time.Now()
			_, err := keys.Key(ctx, "a")
			if !errors.Is(err, session.ErrKeysUnavailable) || !errors.Is(err, context.DeadlineExceeded) || time.Since(start) != time.Second {
				t.Errorf("got %v after %s, want the context's end after 1s", err, time.Since(start))
			}
		})
		wg.Wait()
		if got := i.count(); got != 1 {
			t.Errorf("got %d fetches, want 1", got)
		}
	})
}

// UPS-08: an answer that is not valid changes nothing, and known keys stay available.
func TestURLKeysKeepLastGood(t *testing.T) {
	t.Parallel()
	type answer struct {
		name, body string
		status     int
		replaces   bool
	}
	answers := []answer{
		{"redirect", "", http.StatusFound, false},
		{"not modified", "", http.StatusNotModified, false},
		{"no content", "", http.StatusNoContent, false},
		{"created", `{"keys":[` + ed25519Key + `]}`, http.StatusCreated, false},
		{"error with keys", `{"keys":[` + ed25519Key + `]}`, http.StatusInternalServerError, false},
		{"truncated", `{"keys":[` + ed25519Key, http.StatusOK, false},
		{"too long", `{"keys":[` + ed25519Key + `]}` + strings.Repeat(" ", 256<<10), http.StatusOK, false},
		{"good", `{"keys":[` + ed25519Key + `]}`, http.StatusOK, true},
	}
	for _, s := range readBadKeySets(t) {
		answers = append(answers, answer{s.ID, s.JWKS, http.StatusOK, s.Expect == "skip-bad-keep-good"})
	}
	for _, a := range answers {
		t.Run(a.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				i := &issuer{}
				i.publish(t, edForger("old"))
				var failed atomic.Int32
				keys := keysFrom(t, i, session.URLKeysConfig{OnError: func(error) { failed.Add(1) }})
				want(t, keys, "old", "found", 0)
				i.serve(a.status, a.body)
				time.Sleep(6 * time.Minute)
				if a.replaces {
					want(t, keys, "old", "unknown", 0)
					want(t, keys, "g", "found", 0)
				} else {
					want(t, keys, "old", "found", 0)
					want(t, keys, "g", "unavailable", 0)
				}
				if (failed.Load() == 0) != a.replaces || (keys.Err() == nil) != a.replaces {
					t.Errorf("got %d failures and %v, want failures %t", failed.Load(), keys.Err(), !a.replaces)
				}
				if private := errors.Is(keys.Err(), session.ErrPrivateKey); private != (a.name == "private-d") {
					t.Errorf("got %v, is ErrPrivateKey %t", keys.Err(), private)
				}
			})
		})
	}
}

// TOK-08: nothing in a token makes a verifier fetch another URL than its own, or its own
// more than once.
func TestAttacksFetchNothing(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		for _, name := range attackFiles {
			f := readAttacks(t, name)
			i := &issuer{}
			i.serve(http.StatusOK, string(f.JWKS))
			v := f.verifier(t, keysFrom(t, i, session.URLKeysConfig{}))
			for _, a := range f.Vectors {
				if _, err := v.Verify(t.Context(), a.Token); (err == nil) != (a.Result == "valid") {
					t.Errorf("%s: got %v, want %s", a.ID, err, a.Result)
				}
			}
			if got := i.count(); got != 1 {
				t.Errorf("%s: got %d fetches, want 1", name, got)
			}
		}
	})
}

func TestURLKeysClose(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		i := &issuer{}
		i.publish(t, edForger("a"))
		keys := keysFrom(t, i, session.URLKeysConfig{})
		want(t, keys, "a", "found", 0)
		keys.Close()
		time.Sleep(time.Hour)
		want(t, keys, "a", "found", 0)
		want(t, keys, "b", "unknown", 0)
		if got := i.count(); got != 1 {
			t.Errorf("got %d fetches, want none after Close", got-1)
		}
		keys.Close()
	})
}

// Over a real connection: the default transport works, a redirect is not followed, and an
// endless body is not read.
func TestURLKeysOverHTTP(t *testing.T) {
	t.Parallel()
	jwks := session.MarshalJWKS(keySet(t, edForger("a")).Keys())
	served := make(chan struct{}, 1)
	mux := http.NewServeMux()
	mux.HandleFunc("/jwks", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(jwks) })
	mux.Handle("/moved", http.RedirectHandler("/jwks", http.StatusFound))
	mux.HandleFunc("/endless", func(w http.ResponseWriter, _ *http.Request) {
		for line := []byte(strings.Repeat(" ", 64<<10)); ; {
			if _, err := w.Write(line); err != nil {
				served <- struct{}{}
				return
			}
		}
	})
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	for path, result := range map[string]string{"/jwks": "found", "/moved": "unavailable", "/endless": "unavailable"} {
		keys, err := session.KeysFromURL(server.URL+path, session.URLKeysConfig{})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(keys.Close)
		want(t, keys, "a", result, time.Hour) // here the clock is the machine's
	}
	<-served // the endless one was hung up on
}
