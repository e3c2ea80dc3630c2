package api_test

import (
	"context"
	"encoding/json"
	"go/parser"
	"go/token"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/usher-auth/usher/audit"
	"github.com/usher-auth/usher/db"
	"github.com/usher-auth/usher/internal/principal"
)

// An attempt holds a slot, so it must not wait for the client: it has no request to read
// from and no response to write to.
func TestAttemptsKnowNoHTTP(t *testing.T) {
	t.Parallel()
	file, err := parser.ParseFile(token.NewFileSet(), "attempt.go", nil, parser.ImportsOnly)
	if err != nil {
		t.Fatal(err)
	}
	for _, imported := range file.Imports {
		if strings.HasPrefix(imported.Path.Value, `"net/http`) || imported.Path.Value == `"io"` {
			t.Errorf("attempt.go imports %s", imported.Path.Value)
		}
	}
}

// While more bodies are arriving than there are slots, another request is answered.
func TestSlowBodiesHoldNoSlot(t *testing.T) {
	t.Parallel()
	f := &fake{
		lookUp: func() (*principal.Principal, error) { return nil, principal.ErrSessionUnknown },
		record: func(context.Context, *audit.Decision) error { return nil },
	}
	handler := newAPI(t, f, f, &rig{registry: prometheus.NewRegistry(), log: new(lockedBuffer), keys: newKeys(t)})
	call := func(path string, body io.Reader, headers ...string) int {
		r := httptest.NewRequest(http.MethodPost, path, body)
		r.Header.Set("Content-Type", "application/json")
		for i := 0; i < len(headers); i += 2 {
			r.Header.Set(headers[i], headers[i+1])
		}
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, r)
		return w.Code
	}
	const slow = 1_100
	key := newTestKey(t)
	reading, done := make(chan struct{}, 2*slow), make(chan struct{}, 2*slow)
	release := make(chan struct{})
	for range slow {
		for _, request := range [][]string{{"/v2/authorize-user", "Authorization", "Bearer " + key}, {"/api/auth", "Origin", allowedOrigin, "Cookie", cookie + "=x"}} {
			go func() {
				call(request[0], slowBody{reading, release}, request[1:]...)
				done <- struct{}{}
			}()
		}
	}
	for range 2 * slow {
		<-reading
	}
	if got := call("/api/auth", strings.NewReader(`{}`), "Origin", allowedOrigin, "Cookie", cookie+"=x"); got != http.StatusUnauthorized {
		t.Errorf("an honest request beside %d slow bodies = %d, want 401", 2*slow, got)
	}
	close(release)
	for range 2 * slow {
		<-done
	}
}

// slowBody is a request body that signals when it is read, and then waits.
type slowBody struct {
	reading chan<- struct{}
	release <-chan struct{}
}

func (b slowBody) Read([]byte) (int, error) {
	b.reading <- struct{}{}
	<-b.release
	return 0, io.EOF
}

// A body that does not arrive is answered with 408, and at /v2 with 503, because
// Liveblocks' SDK turns a 4xx into a permanent refusal.
func TestSlowBodiesAreCutOff(t *testing.T) {
	t.Parallel()
	s := newWeb(t, nil)
	for path, want := range map[string]int{"/api/auth": http.StatusRequestTimeout, "/v2/authorize-user": http.StatusServiceUnavailable, "/v2/identify-user": http.StatusServiceUnavailable} {
		t.Run(path, func(t *testing.T) {
			t.Parallel()
			body, end := io.Pipe()
			defer end.Close()
			r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.URL+path, body)
			if err != nil {
				t.Fatal(err)
			}
			r.Header = http.Header{"Content-Type": {"application/json"}, "Authorization": {"Bearer " + newTestKey(t)}}
			began := time.Now()
			res, err := s.Client().Do(r)
			if err != nil {
				t.Fatal(err)
			}
			defer res.Body.Close()
			text, err := io.ReadAll(res.Body)
			if err != nil {
				t.Fatal(err)
			}
			if took := time.Since(began); res.StatusCode != want || took < time.Second || !json.Valid(text) {
				t.Errorf("answered with %d after %s, want %d after 2 s: %s", res.StatusCode, took, want, text)
			}
			if retry := res.Header.Get("Retry-After"); (retry != "") != (want == http.StatusServiceUnavailable) {
				t.Errorf("Retry-After = %q", retry)
			}
		})
	}
}

// Refused requests without a credential add as few rows on the second listener as on the
// first, and all of them are counted.
func TestFloodsOfBothListenersAreCounted(t *testing.T) {
	t.Parallel()
	const requests = 300
	r := newAdminRig(t)
	log := r.store.StartAuditLog(db.AuditLogConfig{Replica: "floods", Registry: prometheus.NewRegistry()})
	t.Cleanup(log.Close)
	floods := db.StartFloodLog(db.FloodLogConfig{Log: log, Registry: prometheus.NewRegistry()})
	public := newAPI(t, new(fake), floods, &rig{registry: prometheus.NewRegistry(), log: new(lockedBuffer), keys: r.keys})
	users, err := r.store.Directory(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, listener := range []struct {
		handler      http.Handler
		method, path string
	}{
		{public, http.MethodPost, "/api/auth"},
		{public, http.MethodDelete, "/api/auth"},
		{public, http.MethodPost, "/v2/authorize-user"},
		{newOps(t, public, r.store, users), http.MethodGet, "/v1/admin/users"},
		{newOps(t, public, r.store, users), http.MethodPost, "/v1/admin/users"},
	} {
		for range requests {
			req := httptest.NewRequest(listener.method, listener.path, strings.NewReader(`{}`))
			req.Header.Set("Content-Type", "application/json")
			w := httptest.NewRecorder()
			listener.handler.ServeHTTP(w, req)
			if w.Code != http.StatusUnauthorized && w.Code != http.StatusForbidden {
				t.Fatalf("%s %s = %d %s", listener.method, listener.path, w.Code, w.Body)
			}
		}
	}
	if err := floods.Close(); err != nil {
		t.Fatal(err)
	}
	var rows, refused int
	const counts = `SELECT count(*), coalesce(sum(coalesce(count, 1)), 0) FROM audit.denials WHERE replica = 'floods'`
	if err := r.pg.Pool.QueryRow(t.Context(), counts).Scan(&rows, &refused); err != nil {
		t.Fatal(err)
	}
	// 60 full rows for each of the three reasons, and one count per second.
	if refused != 5*requests || rows < 3*60 || rows > 3*60+100 {
		t.Errorf("%d refusals left %d rows that count %d", 5*requests, rows, refused)
	}
}

// Anyone can cause any number of refusals, so the log holds only a sample of them.
func TestRefusalsAreSampledInTheLog(t *testing.T) {
	t.Parallel()
	f := &fake{
		lookUp: func() (*principal.Principal, error) { return nil, principal.ErrSessionUnknown },
		record: func(context.Context, *audit.Decision) error { return nil },
	}
	r := &rig{registry: prometheus.NewRegistry(), log: new(lockedBuffer), keys: newKeys(t)}
	handler := newAPI(t, f, f, r)
	began := time.Now()
	const each = 300
	for range each {
		for _, headers := range []map[string]string{{}, {"Origin": allowedOrigin, "Cookie": cookie + "=x"}, {"Authorization": "Bearer sk_live_x"}} {
			request := httptest.NewRequest(http.MethodPost, "/api/auth", strings.NewReader(`{}`))
			request.Header.Set("Content-Type", "application/json")
			for name, value := range headers {
				request.Header.Set(name, value)
			}
			handler.ServeHTTP(httptest.NewRecorder(), request)
		}
	}
	// 120 per minute, and then one per second.
	seconds := int(time.Since(began).Seconds()) + 2
	if lines := strings.Count(r.log.String(), `"msg":"request"`); lines < 100 || lines > 120*(1+seconds/60+1)+seconds {
		t.Errorf("the log has %d lines of %d refusals in %d s", lines, 3*each, seconds)
	}
}
