package service_test

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"encoding/base64"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/usher-auth/usher/api"
	"github.com/usher-auth/usher/db"
	"github.com/usher-auth/usher/db/dbtest"
	"github.com/usher-auth/usher/internal/identity"
	"github.com/usher-auth/usher/internal/keyencryption"
	"github.com/usher-auth/usher/internal/secret"
	"github.com/usher-auth/usher/internal/service"
	"github.com/usher-auth/usher/session"
)

const publicURL = "https://auth.example.com"

// running is the whole service with a signed-in user.
type running struct {
	url, opsURL string
	client      *http.Client // of an honest user
	newClient   func() *http.Client
	cookie, key string
}

// stalledLog returns a log that nobody reads.
func stalledLog(t *testing.T) *slog.Logger {
	t.Helper()
	reader, writer := io.Pipe()
	log := service.NewLogWriter(writer)
	t.Cleanup(func() {
		_ = reader.Close()
		log.Close(time.Minute)
	})
	return slog.New(slog.NewJSONHandler(log, nil))
}

// start runs the service. With secured, it uses HTTP/2 over TLS.
func start(t *testing.T, secured bool) *running {
	t.Helper()
	pg := dbtest.New(t)
	owner, err := db.Open(secret.New(pg.URL))
	if err != nil {
		t.Fatal(err)
	}
	defer owner.Close()
	random := make([]byte, 32)
	_, _ = rand.Read(random)
	encryption, err := keyencryption.Parse(secret.New(base64.StdEncoding.EncodeToString(random)))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := owner.EnsureSigningKey(t.Context(), session.EdDSA, encryption, "t"); err != nil {
		t.Fatal(err)
	}
	const demo = `INSERT INTO usher.users (id, created_by) VALUES ('ada', 't');
		INSERT INTO usher.grants (subject_kind, subject_id, resource_kind, pattern, access, created_by) VALUES ('user', 'ada', 'room', 'acme:*', 'full', 't')`
	if _, err := pg.Pool.Exec(t.Context(), demo); err != nil {
		t.Fatal(err)
	}
	token, _, err := owner.AddSession(t.Context(), "ada", "", time.Hour, "t")
	if err != nil {
		t.Fatal(err)
	}
	key, _, err := identity.NewAPIKey("test")
	if err != nil {
		t.Fatal(err)
	}
	listener := func() net.Listener {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		return l
	}
	r := &running{cookie: "usher_session=" + token.Reveal(), key: key.Reveal()}
	cfg := service.Config{
		DatabaseURL: secret.New(pg.ServiceURL), Mode: db.Production, KeyEncryption: encryption,
		Issuer:      session.IssuerConfig{Issuer: publicURL},
		Credentials: identity.Config{Cookie: "usher_session", Proxy: identity.ProxyConfig{Trusted: []string{"127.0.0.1"}}},
		Limits:      api.Limits{Failures: 120, Proxies: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}},
		Public:      listener(), Ops: listener(), Drain: time.Second, Logger: stalledLog(t),
	}
	r.url, r.opsURL = "http://"+cfg.Public.Addr().String(), "http://"+cfg.Ops.Addr().String()
	r.newClient = func() *http.Client { return &http.Client{Transport: &http.Transport{}} }
	if secured {
		borrowed := httptest.NewTLSServer(http.NotFoundHandler())
		t.Cleanup(borrowed.Close)
		r.url = "https://" + cfg.Public.Addr().String()
		cfg.Public = tls.NewListener(cfg.Public, &tls.Config{Certificates: borrowed.TLS.Certificates, NextProtos: []string{"h2", "http/1.1"}, MinVersion: tls.VersionTLS12})
		r.newClient = func() *http.Client {
			return &http.Client{Transport: &http.Transport{
				TLSClientConfig: &tls.Config{RootCAs: borrowed.Client().Transport.(*http.Transport).TLSClientConfig.RootCAs, ServerName: "example.com"}, ForceAttemptHTTP2: true,
			}}
		}
	}
	r.client = r.newClient()
	s, err := service.New(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Log(err) // requests that were cut off
		}
	})
	return r
}

// behindProxy puts a proxy in front that streams bodies.
func (r *running) behindProxy(t *testing.T) {
	t.Helper()
	to, err := url.Parse(r.url)
	if err != nil {
		t.Fatal(err)
	}
	proxy := httptest.NewServer(&httputil.ReverseProxy{
		Rewrite: func(p *httputil.ProxyRequest) { p.SetURL(to); p.SetXForwarded() }, Transport: r.newClient().Transport,
		ErrorLog: slog.NewLogLogger(slog.DiscardHandler, slog.LevelInfo),
	})
	t.Cleanup(proxy.Close)
	r.url = proxy.URL
	r.newClient = func() *http.Client { return &http.Client{Transport: &http.Transport{}} }
	r.client = r.newClient()
}

// ask makes a normal request and returns how long it took. If the answer has no token, it
// returns an hour.
func (r *running) ask(ctx context.Context) time.Duration {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	began := time.Now()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, r.url+"/api/auth", strings.NewReader(`{"room":"acme:1"}`))
	if err != nil {
		return time.Hour
	}
	req.Header = http.Header{"Content-Type": {"application/json"}, "Origin": {publicURL}, "Cookie": {r.cookie}}
	res, err := r.client.Do(req)
	if err != nil {
		return time.Hour
	}
	defer res.Body.Close()
	if _, err := io.Copy(io.Discard, res.Body); err != nil || res.StatusCode != http.StatusOK {
		return time.Hour
	}
	return time.Since(began)
}

// p99 returns the 99th percentile of the duration of a hundred normal requests.
func (r *running) p99(ctx context.Context) time.Duration {
	const requests, workers = 200, 4
	var mu sync.Mutex
	var took []time.Duration
	var working sync.WaitGroup
	for range workers {
		working.Go(func() {
			for range requests / workers {
				d := r.ask(ctx)
				mu.Lock()
				took = append(took, d)
				mu.Unlock()
			}
		})
	}
	working.Wait()
	slices.Sort(took)
	return took[len(took)*99/100-1]
}

// slowBody sends an endless body until it is answered or 4 s have passed.
func (r *running) slowBody(ctx context.Context, client *http.Client, path string, header http.Header) {
	ctx, cancel := context.WithTimeout(ctx, 4*time.Second)
	defer cancel()
	body, end := io.Pipe()
	defer end.Close()
	go func() {
		_, _ = io.WriteString(end, "{")
		<-ctx.Done()
		end.Close()
	}()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, r.url+path, body)
	if err != nil {
		return
	}
	req.Header = header
	if res, err := client.Do(req); err == nil {
		res.Body.Close()
	}
}

// cutOff returns how many bodies did not arrive in time.
func (r *running) cutOff(t *testing.T) (n int) {
	t.Helper()
	res, err := http.Get(r.opsURL + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range strings.Split(string(text), "\n") {
		var count int
		_, err := fmt.Sscanf(line, `usher_http_requests_total{route="/api/auth",status="408"} %d`, &count)
		if err == nil {
			n = count
		}
	}
	return n
}

// slowReader asks for a page and does not read it.
func (r *running) slowReader(ctx context.Context, client *http.Client) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, r.url+"/openapi.yaml", http.NoBody)
	if err != nil {
		return
	}
	res, err := client.Do(req)
	if err != nil {
		return
	}
	select {
	case <-ctx.Done():
	case <-time.After(3 * time.Second):
	}
	res.Body.Close()
}

// Waiting for one client does not block others: while many bodies arrive slowly, many answers
// are not read, many connections are idle and nobody reads the log, normal requests and
// /readyz are answered.
func TestNothingThatWaitsForAClientHoldsWhatOthersNeed(t *testing.T) {
	for name, test := range map[string]struct{ secured, proxied bool }{
		"HTTP/1.1": {}, "HTTP/2": {secured: true}, "HTTP/1.1 behind a proxy": {proxied: true}, "HTTP/2 behind a proxy": {secured: true, proxied: true},
	} {
		t.Run(name, func(t *testing.T) {
			r := start(t, test.secured)
			if test.proxied {
				r.behindProxy(t)
			}
			ctx, stop := context.WithCancel(t.Context())
			var attackers sync.WaitGroup
			defer attackers.Wait()
			defer stop()
			r.ask(ctx) // the first connection
			calm := r.p99(ctx)

			byKey := http.Header{"Content-Type": {"application/json"}, "Authorization": {"Bearer " + r.key}}
			byCookie := http.Header{"Content-Type": {"application/json"}, "Origin": {publicURL}, "Cookie": {r.cookie}}
			for range 3 { // connections over HTTP/2
				client := r.newClient()
				for range 40 {
					attackers.Go(func() {
						for ctx.Err() == nil {
							r.slowBody(ctx, client, "/v2/authorize-user", byKey)
						}
					})
					attackers.Go(func() {
						for ctx.Err() == nil {
							r.slowBody(ctx, client, "/api/auth", byCookie)
						}
					})
				}
				for range 10 {
					attackers.Go(func() {
						for ctx.Err() == nil {
							r.slowReader(ctx, client)
						}
					})
				}
			}
			for range 200 {
				conn, err := net.Dial("tcp", strings.SplitN(r.url, "//", 2)[1])
				if err != nil {
					t.Fatal(err)
				}
				defer conn.Close()
			}
			for end := time.Now().Add(time.Minute); r.cutOff(t) < 100; time.Sleep(100 * time.Millisecond) {
				if time.Now().After(end) {
					t.Fatalf("%d slow bodies were cut off within a minute, want 100", r.cutOff(t))
				}
			}
			// Who waits for an attacker waits for at least 2 s, each time. Other tests
			// run on this machine, too, so that one measurement may be slow by chance.
			attacked := r.p99(ctx)
			for range 20 {
				if attacked <= time.Second {
					break
				}
				attacked = r.p99(ctx)
			}
			t.Logf("p99 of honest requests: %s before, %s during the attack", calm, attacked)
			if attacked > time.Second {
				t.Errorf("p99 of honest requests = %s during the attack, want at most 1s (%s before)", attacked, calm)
			}
			res, err := http.Get(r.opsURL + "/readyz")
			if err != nil {
				t.Fatal(err)
			}
			defer res.Body.Close()
			if res.StatusCode != http.StatusOK {
				t.Errorf("/readyz = %d", res.StatusCode)
			}
		})
	}
}
