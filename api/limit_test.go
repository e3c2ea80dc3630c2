package api_test

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"pgregory.net/rapid"

	"github.com/usher-auth/usher"
	"github.com/usher-auth/usher/api"
	"github.com/usher-auth/usher/audit"
	"github.com/usher-auth/usher/internal/identity"
	"github.com/usher-auth/usher/internal/identity/identitytest"
	"github.com/usher-auth/usher/internal/principal"
	"github.com/usher-auth/usher/internal/secret"
	"github.com/usher-auth/usher/permissions"
	"github.com/usher-auth/usher/session"
)

// gated is the API with limits, a clock that the test moves, and a directory with one API
// key and every session except those that begin with "bad".
type gated struct {
	*api.API
	registry *prometheus.Registry
	key      string

	mu      sync.Mutex
	now     time.Time
	fault   error // of every look-up
	lookUps int
	rows    int
	wait    chan struct{} // look-ups wait until it is closed
}

func newGated(t testing.TB, limits api.Limits) *gated {
	t.Helper()
	return newGatedWith(t, limits, nil)
}

// newGatedWith is newGated with identity providers.
func newGatedWith(t testing.TB, limits api.Limits, providers *identity.Providers) *gated {
	t.Helper()
	g := &gated{registry: prometheus.NewRegistry(), now: time.Now(), wait: make(chan struct{})}
	close(g.wait)
	text, _, err := identity.NewAPIKey("test")
	if err != nil {
		t.Fatal(err)
	}
	g.key = text.Reveal()
	keys := newKeys(t)
	issuer, err := session.NewIssuer(session.IssuerConfig{Issuer: ownURL, Keys: keys})
	if err != nil {
		t.Fatal(err)
	}
	credentials, err := identity.NewReader(identity.Config{
		Cookie: cookie, Proxy: identity.ProxyConfig{Trusted: []string{proxyPeer}, UserHeader: "X-User"},
	})
	if err != nil {
		t.Fatal(err)
	}
	g.API, err = api.New(api.Config{
		URL: ownURL, Credentials: credentials, Providers: providers, Directory: g, Issuer: issuer, Keys: keys, Audit: g, Limits: limits,
		Contract: usher.OpenAPI, Logger: slog.New(slog.DiscardHandler), Registry: g.registry, Now: g.clock,
	})
	if err != nil {
		t.Fatal(err)
	}
	return g
}

func (g *gated) clock() time.Time {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.now
}

func (g *gated) pass(d time.Duration) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.now = g.now.Add(d)
}

// lookUp counts a look-up and returns its fault.
func (g *gated) lookUp() error {
	g.mu.Lock()
	g.lookUps++
	wait, fault := g.wait, g.fault
	g.mu.Unlock()
	<-wait
	return fault
}

func (g *gated) counts() (lookUps, rows int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.lookUps, g.rows
}

func (g *gated) PrincipalBySession(_ context.Context, token secret.Text) (*principal.Principal, error) {
	if err := g.lookUp(); err != nil {
		return nil, err
	}
	if strings.HasPrefix(token.Reveal(), "bad") {
		return nil, principal.ErrSessionUnknown
	}
	return g.principal(), nil
}

func (g *gated) PrincipalByAPIKey(_ context.Context, id string, _ [sha256.Size]byte, _, _ string) (*principal.APIKey, *principal.Principal, error) {
	if err := g.lookUp(); err != nil {
		return nil, nil, err
	}
	if good, _ := identity.ParseAPIKey(secret.New(g.key)); id != good.ID {
		return nil, nil, principal.ErrAPIKeyUnknown
	}
	return &principal.APIKey{ID: id, Routes: everyRoute, Scope: everything}, g.principal(), nil
}

func (g *gated) PrincipalByUser(context.Context, string, string) (*principal.Principal, error) {
	if err := g.lookUp(); err != nil {
		return nil, err
	}
	return g.principal(), nil
}

func (g *gated) PrincipalByClaims(ctx context.Context, claims *principal.ProviderClaims) (*principal.Principal, error) {
	return g.PrincipalByUser(ctx, claims.UserID, claims.Organization)
}

func (g *gated) principal() *principal.Principal {
	acme, err := permissions.ParseTemplate(permissions.RoomKind, "acme:*")
	if err != nil {
		panic(err)
	}
	return &principal.Principal{
		At: g.clock(), Known: true, User: session.User{ID: "ada"},
		Grants: []principal.Grant{{SubjectKind: "everyone", Template: acme, Access: permissions.Read}},
	}
}

func (g *gated) Record(context.Context, *audit.Decision) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.rows++
	return nil
}

const (
	somewhere = "203.0.113.7"
	proxyPeer = "198.51.100.200"
)

// ask sends a request from an address and checks the answer against the
// contract. A credential that begins with sk_ is an API key.
func (g *gated) ask(t testing.TB, peer, path, credential, body string, headers ...string) answer {
	t.Helper()
	r := httptest.NewRequest(http.MethodPost, path, strings.NewReader(body))
	r.RemoteAddr = netip.AddrPortFrom(netip.MustParseAddr(peer), 1234).String()
	r.Header.Set("Content-Type", "application/json")
	if strings.HasPrefix(credential, "sk_") {
		r.Header.Set("Authorization", "Bearer "+credential)
	} else {
		r.Header.Set("Origin", ownURL)
		r.AddCookie(&http.Cookie{Name: cookie, Value: credential})
	}
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	w := httptest.NewRecorder()
	g.ServeHTTP(w, r)
	a := answer{status: w.Code, header: w.Result().Header, body: w.Body.Bytes()}
	checkAnswer(t, r, []byte(body), a)
	return a
}

// wants checks a status of POST /api/auth.
func (g *gated) wants(t testing.TB, status int, peer, credential string) answer {
	t.Helper()
	body := `{}`
	if strings.HasPrefix(credential, "sk_") {
		body = `{"userId":"ada"}`
	}
	a := g.ask(t, peer, "/api/auth", credential, body)
	if a.status != status {
		t.Fatalf("%s from %s = %d %s, want %d", credential, peer, a.status, a.body, status)
	}
	return a
}

// limited returns the value of usher_rate_limited_total for a limit.
func (g *gated) limited(t testing.TB, limit string) float64 {
	t.Helper()
	families, err := g.registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			if f.GetName() == "usher_rate_limited_total" && m.GetLabel()[0].GetValue() == limit {
				return m.GetCounter().GetValue()
			}
		}
	}
	return 0
}

// checkLimited checks the fields that say when to retry.
func checkLimited(t testing.TB, a answer, policy string, perMinute int) (wait time.Duration) {
	t.Helper()
	p := a.problem(t)
	seconds, err := strconv.Atoi(a.header.Get("Retry-After"))
	if err != nil || seconds < 1 || p.Error != "rate_limited" {
		t.Errorf("answer = %d %s, Retry-After %q", a.status, a.body, a.header.Get("Retry-After"))
	}
	if got, want := a.header.Get("RateLimit-Policy"), fmt.Sprintf(`"%s";q=%d;w=60`, policy, perMinute); got != want {
		t.Errorf("RateLimit-Policy = %s, want %s", got, want)
	}
	if got, want := a.header.Get("RateLimit"), fmt.Sprintf(`"%s";r=0;t=%d`, policy, seconds); got != want {
		t.Errorf("RateLimit = %s, want %s", got, want)
	}
	return time.Duration(seconds) * time.Second
}

func TestSessionLimit(t *testing.T) {
	t.Parallel()
	g := newGated(t, api.Limits{Session: 6})
	for range 6 {
		g.wants(t, 200, somewhere, "ada")
	}
	lookUps, rows := g.counts()
	a := g.wants(t, 429, somewhere, "ada")
	wait := checkLimited(t, a, "session", 6)
	g.wants(t, 429, "198.51.100.1", "ada") // the session, not the address
	if l, r := g.counts(); l != lookUps || r != rows {
		t.Errorf("beyond the limit, there were %d look-ups and %d audit rows, want none", l-lookUps, r-rows)
	}
	if got := g.limited(t, "session"); got != 2 {
		t.Errorf("usher_rate_limited_total = %v, want 2", got)
	}
	g.wants(t, 200, somewhere, "grace")
	g.pass(wait)
	g.wants(t, 200, somewhere, "ada")
}

// Users that a proxy names have one limit each, like sessions, whatever address the proxy
// forwards.
func TestProxyUserLimit(t *testing.T) {
	t.Parallel()
	g := newGated(t, api.Limits{Session: 2, Failures: 1})
	for i, want := range []int{200, 200, 429, 429} {
		forwarded := fmt.Sprintf("203.0.113.%d", i)
		a := g.ask(t, proxyPeer, "/api/auth", "", `{}`, "X-User", "ada", "X-Forwarded-For", forwarded)
		if a.status != want {
			t.Fatalf("request %d = %d %s, want %d", i, a.status, a.body, want)
		}
	}
	if a := g.ask(t, proxyPeer, "/api/auth", "", `{}`, "X-User", "grace"); a.status != 200 {
		t.Errorf("another user = %d %s, want 200", a.status, a.body)
	}
}

// The SDKs turn a 429 into a 403, and their clients then stop permanently.
func TestAPIKeyLimit(t *testing.T) {
	t.Parallel()
	g := newGated(t, api.Limits{APIKey: 3})
	const body = `{"userId":"ada","permissions":{"acme:*":["room:read"]}}`
	for _, path := range []string{"/v2/authorize-user", "/v2/identify-user"} {
		if a := g.ask(t, somewhere, path, g.key, body); a.status != 200 {
			t.Fatalf("%s = %d %s", path, a.status, a.body)
		}
	}
	g.wants(t, 200, somewhere, g.key)
	checkLimited(t, g.wants(t, 429, somewhere, g.key), "api_key", 3)
	for _, path := range []string{"/v2/authorize-user", "/v2/identify-user"} {
		a := g.ask(t, somewhere, path, g.key, body)
		if a.status != 503 {
			t.Errorf("%s = %d %s, want 503", path, a.status, a.body)
		}
		checkLimited(t, a, "api_key", 3)
	}
}

// A new caller's requests are counted once the caller is known, however many are in
// flight then.
func TestLimitOfFirstRequests(t *testing.T) {
	t.Parallel()
	g := newGated(t, api.Limits{Session: 2})
	g.wait = make(chan struct{})
	statuses := make(chan int, 5)
	for range cap(statuses) {
		go func() { statuses <- g.ask(t, somewhere, "/api/auth", "ada", `{}`).status }()
	}
	until(t, func() bool { lookUps, _ := g.counts(); return lookUps == cap(statuses) })
	close(g.wait)
	got := map[int]int{}
	for range cap(statuses) {
		got[<-statuses]++
	}
	if _, rows := g.counts(); got[200] != 2 || got[429] != 3 || rows != 2 {
		t.Errorf("answers = %v and %d audit rows, want 2 of 200 with their rows, 3 of 429", got, rows)
	}
}

// One network holds at most a quarter of the slots, so that others have the rest.
func TestOneNetworkHoldsItsShareOfTheSlots(t *testing.T) {
	t.Parallel()
	const inFlight = 16
	g := newGated(t, api.Limits{Failures: 120, InFlight: inFlight})
	g.wait = make(chan struct{})
	statuses := make(chan int, inFlight)
	ask := func(peer string) { go func() { statuses <- g.ask(t, peer, "/api/auth", "ada", `{}`).status }() }
	holds := func(requests int) {
		t.Helper()
		until(t, func() bool { lookUps, _ := g.counts(); return lookUps == requests })
	}
	for range inFlight / 4 {
		ask("192.0.2.1")
	}
	holds(inFlight / 4)
	g.wants(t, 503, "192.0.2.1", "ada")
	for peer := range 3 { // the other three quarters
		for range inFlight / 4 {
			ask(fmt.Sprintf("198.51.100.%d", peer))
		}
	}
	holds(inFlight)
	g.wants(t, 503, "203.0.113.1", "ada")
	close(g.wait)
	for range inFlight {
		if got := <-statuses; got != 200 {
			t.Errorf("a request that had a slot = %d, want 200", got)
		}
	}
	g.wants(t, 200, "192.0.2.1", "ada")
}

func until(t testing.TB, met func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); !met(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("waited in vain")
		}
	}
}

func TestFailureLimit(t *testing.T) {
	t.Parallel()
	wrong, _, err := identity.NewAPIKey("test")
	if err != nil {
		t.Fatal(err)
	}
	for name, bad := range map[string]string{
		"unknown sessions": "bad", "unknown keys": wrong.Reveal(), "texts that are no key": "sk_live_x",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g := newGated(t, api.Limits{Failures: 4, Proxies: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}})
			g.wants(t, 200, somewhere, g.key)
			g.wants(t, 200, somewhere, "ada")
			for range 4 {
				g.wants(t, 401, somewhere, bad)
			}
			lookUps, rows := g.counts()
			wait := checkLimited(t, g.wants(t, 429, somewhere, bad), "failures", 4)
			if l, r := g.counts(); l != lookUps || r != rows {
				t.Errorf("beyond the limit, there were %d look-ups and %d audit rows, want none", l-lookUps, r-rows)
			}
			// Callers who were known before, and callers at other addresses, are not
			// locked out.
			g.wants(t, 200, somewhere, g.key)
			g.wants(t, 200, somewhere, "ada")
			g.wants(t, 200, "198.51.100.1", g.key)
			g.wants(t, 401, "198.51.100.1", bad)
			g.wants(t, 429, somewhere, "grace")
			g.pass(wait)
			g.wants(t, 200, somewhere, "grace")
			// A proxy's address does not show who is calling.
			for range 10 {
				g.wants(t, 401, "10.1.2.3", bad)
				g.wants(t, 401, proxyPeer, bad)
			}
		})
	}
}

func TestFailureLimitCountsNetworks(t *testing.T) {
	t.Parallel()
	g := newGated(t, api.Limits{Failures: 1})
	g.wants(t, 401, "2001:db8:0:ab00::1", "bad")
	g.wants(t, 429, "2001:db8:0:abff:1::2", "bad")
	g.wants(t, 401, "2001:db8:0:ac00::1", "bad")
	g.wants(t, 401, "::ffff:203.0.113.7", "bad")
	g.wants(t, 429, "203.0.113.7", "bad")
	g.wants(t, 401, "203.0.113.8", "bad")
}

// Neither a known caller's requests nor faults count toward an address's failures.
func TestFailureLimitCountsFailuresOnly(t *testing.T) {
	t.Parallel()
	g := newGated(t, api.Limits{Failures: 2})
	for n := range 10 {
		g.wants(t, 200, somewhere, fmt.Sprint("user", n))
		if a := g.ask(t, somewhere, "/api/auth", fmt.Sprint("denied", n), `{"room":"globex:1"}`); a.status != 403 {
			t.Fatalf("status = %d, want 403", a.status)
		}
		if a := g.ask(t, somewhere, "/v2/authorize-user", g.key, `{"userId":1}`); a.status != 422 {
			t.Fatalf("status = %d, want 422", a.status)
		}
	}
	g.fault = principal.ErrUnavailable
	for range 10 {
		g.wants(t, 503, somewhere, "bad")
	}
	g.fault = nil
	g.wants(t, 401, somewhere, "bad")
}

// A caller who has reached their limit cannot reset it by causing a refusal.
func TestRefusalsResetNoLimit(t *testing.T) {
	t.Parallel()
	g := newGated(t, api.Limits{Session: 3})
	g.wants(t, 200, somewhere, "ada")
	if a := g.ask(t, somewhere, "/api/auth", "ada", `{}`, "Origin", "https://evil.example"); a.status != 403 {
		t.Fatalf("a foreign origin = %d, want 403", a.status)
	}
	if a := g.ask(t, somewhere, "/v2/authorize-user", "ada", `{}`); a.status != 401 {
		t.Fatalf("a cookie at /v2 = %d, want 401", a.status)
	}
	g.wants(t, 429, somewhere, "ada")
}

// A credential that is no longer good counts as a wrong one from then on.
func TestRevokedCredentialIsForgotten(t *testing.T) {
	t.Parallel()
	g := newGated(t, api.Limits{Failures: 1})
	g.wants(t, 200, somewhere, "ada")
	g.fault = principal.ErrSessionUnknown
	g.wants(t, 401, somewhere, "ada")
	g.wants(t, 401, somewhere, "ada")
	g.wants(t, 429, somewhere, "ada")
}

// usher remembers at most a fixed number of addresses, however many an attacker uses.
func TestLimiterIsBounded(t *testing.T) {
	t.Parallel()
	g := newGated(t, api.Limits{Failures: 1})
	for n := range api.LimiterKeys + 1_000 {
		r := httptest.NewRequest(http.MethodPost, "/api/auth", strings.NewReader(`{}`))
		r.Header.Set("Content-Type", "application/json")
		r.RemoteAddr = fmt.Sprintf("[2001:%x:%x00::1]:1", n>>8, n&0xff)
		g.ServeHTTP(httptest.NewRecorder(), r)
	}
	if got := g.Remembered(); got != api.LimiterKeys {
		t.Errorf("after more addresses than that, usher remembers %d, want %d", got, api.LimiterKeys)
	}
}

// In any period of time, no more requests are accepted than a minute's worth plus the
// share of the time that has passed. A caller who waits as long as told is accepted.
func TestLimitProperty(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		perMinute := rapid.IntRange(1, 20).Draw(rt, "per minute")
		g := newGated(t, api.Limits{Session: perMinute})
		var taken []time.Time
		for _, pause := range rapid.SliceOfN(rapid.IntRange(0, 20_000), 1, 60).Draw(rt, "pauses in ms") {
			g.pass(time.Duration(pause) * time.Millisecond)
			a := g.ask(t, somewhere, "/api/auth", "ada", `{}`)
			if a.status == 429 {
				g.pass(checkLimited(t, a, "session", perMinute))
				a = g.ask(t, somewhere, "/api/auth", "ada", `{}`)
			}
			if a.status != 200 {
				rt.Fatalf("after the wait, the status is %d", a.status)
			}
			taken = append(taken, g.clock())
			for first, from := range taken {
				allowed := float64(perMinute) * (1 + g.clock().Sub(from).Minutes())
				if n := len(taken) - first; float64(n) > allowed+1e-6 {
					rt.Fatalf("%d requests were taken within %s, at %d a minute", n, g.clock().Sub(from), perMinute)
				}
			}
		}
	})
}

// All tokens that a provider issues for one session share one limit. If it names no
// session, all tokens of one user share one.
func TestProviderTokensShareALimit(t *testing.T) {
	t.Parallel()
	p := identitytest.New(idp, idp+"/jwks")
	g := newGatedWith(t, api.Limits{Session: 3}, providersOf(t, p, oidc))
	ask := func(claims map[string]any) int {
		claims["aud"], claims["jti"] = "usher", rand.Text()
		r := httptest.NewRequest(http.MethodPost, "/api/auth", strings.NewReader(`{}`))
		r.Header = http.Header{"Content-Type": {"application/json"}, "Authorization": {"Bearer " + p.Token(claims).Reveal()}}
		w := httptest.NewRecorder()
		g.ServeHTTP(w, r)
		return w.Code
	}
	for name, claims := range map[string]map[string]any{
		"of one session": {"sub": "ada", "sid": "s1"}, "of another session": {"sub": "ada", "sid": "s2"}, "of a user without sessions": {"sub": "grace"},
	} {
		var got []int
		for range 5 {
			got = append(got, ask(claims))
		}
		if want := []int{200, 200, 200, 429, 429}; !slices.Equal(got, want) {
			t.Errorf("fresh tokens %s: %v, want %v", name, got, want)
		}
	}
	if got := g.limited(t, "session"); got != 6 {
		t.Errorf("usher_rate_limited_total = %v, want 6", got)
	}
}
