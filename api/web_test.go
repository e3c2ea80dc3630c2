package api_test

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/usher-auth/usher"
	"github.com/usher-auth/usher/api"
	"github.com/usher-auth/usher/audit"
	"github.com/usher-auth/usher/internal/identity"
	"github.com/usher-auth/usher/internal/principal"
	"github.com/usher-auth/usher/internal/secret"
	"github.com/usher-auth/usher/permissions"
	"github.com/usher-auth/usher/session"
)

// Requests as browsers and proxies send them. The numbers are those of the security
// checklist: WEB-01 to WEB-15.

const foreignOrigin = "https://evil.example"

// web is the API with a directory and an audit that remember which users were asked for.
// Every user may open everything.
type web struct {
	*httptest.Server
	cfg api.Config
	log *lockedBuffer

	mu     sync.Mutex
	asked  []string // "session x", "user x in y", "key"
	rows   []*audit.Decision
	broken bool
	until  time.Time // of every session
}

func newWeb(t testing.TB, change func(*api.Config, *identity.Config)) *web {
	t.Helper()
	s := &web{log: new(lockedBuffer)}
	keys := newKeys(t)
	issuer, err := session.NewIssuer(session.IssuerConfig{Issuer: ownURL, Keys: keys})
	if err != nil {
		t.Fatal(err)
	}
	s.cfg = api.Config{
		URL: ownURL, Origins: []string{allowedOrigin}, Directory: s, Issuer: issuer, Keys: keys, Audit: s, Contract: usher.OpenAPI,
		Logger: slog.New(slog.NewJSONHandler(s.log, nil)), Registry: prometheus.NewRegistry(),
	}
	credentials := identity.Config{Cookie: cookie}
	if change != nil {
		change(&s.cfg, &credentials)
	}
	if s.cfg.Credentials, err = identity.NewReader(credentials); err != nil {
		t.Fatal(err)
	}
	handler, err := api.New(s.cfg)
	if err != nil {
		t.Fatal(err)
	}
	s.Server = httptest.NewServer(handler)
	t.Cleanup(s.Close)
	return s
}

// behindProxy makes the test a trusted proxy that signs users in.
func behindProxy(_ *api.Config, credentials *identity.Config) {
	credentials.Proxy = identity.ProxyConfig{Trusted: []string{"127.0.0.1"}, UserHeader: "X-Auth-Request-User", OrganizationHeader: "X-Auth-Request-Org"}
}

func (s *web) principal(who, user, organization string) (*principal.Principal, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asked = append(s.asked, who)
	switch {
	case s.broken:
		return nil, principal.ErrUnavailable
	case user == "unknown":
		return nil, principal.ErrSessionUnknown
	}
	rooms, roomsErr := permissions.ParseTemplate(permissions.RoomKind, "*")
	stores, storesErr := permissions.ParseTemplate(permissions.StoreKind, "*")
	if err := errors.Join(roomsErr, storesErr); err != nil {
		return nil, err
	}
	return &principal.Principal{
		At: time.Now(), Known: user != "nobody", User: session.User{ID: user, Organization: organization, Until: s.until},
		Grants: []principal.Grant{{SubjectKind: "everyone", Template: rooms, Access: 2}, {SubjectKind: "everyone", Template: stores, Access: 2}},
	}, nil
}

func (s *web) PrincipalBySession(_ context.Context, token secret.Text) (*principal.Principal, error) {
	return s.principal("session "+token.Reveal(), token.Reveal(), "")
}

func (s *web) PrincipalByUser(_ context.Context, user, organization string) (*principal.Principal, error) {
	return s.principal("user "+user+" in "+organization, user, organization)
}

func (s *web) PrincipalByClaims(_ context.Context, claims *principal.ProviderClaims) (*principal.Principal, error) {
	return s.principal("token of "+claims.UserID, claims.UserID, claims.Organization)
}

func (s *web) PrincipalByAPIKey(_ context.Context, _ string, _ [sha256.Size]byte, user, organization string) (*principal.APIKey, *principal.Principal, error) {
	p, err := s.principal("key", user, organization)
	return &principal.APIKey{Routes: []string{principal.RouteAuth}}, p, err
}

func (s *web) Record(_ context.Context, d *audit.Decision) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.rows = append(s.rows, d)
	return nil
}

// seen returns which users were asked for and what was recorded since the last call.
func (s *web) seen() (asked []string, rows []*audit.Decision) {
	s.mu.Lock()
	defer s.mu.Unlock()
	asked, rows = s.asked, s.rows
	s.asked, s.rows = nil, nil
	return asked, rows
}

// ask sends a request of ada from a listed page, with changes.
func (s *web) ask(t testing.TB, method, target, body string, change func(http.Header)) answer {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, s.URL+target, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	r.Header = http.Header{"Content-Type": {"application/json"}, "Origin": {allowedOrigin}, "Cookie": {cookie + "=ada"}}
	if change != nil {
		change(r.Header)
	}
	return send(t, s.Server, r)
}

func set(pairs ...string) func(http.Header) {
	return func(h http.Header) {
		for i := 0; i < len(pairs); i += 2 {
			h.Del(pairs[i])
			if pairs[i+1] != "" {
				h.Set(pairs[i], pairs[i+1])
			}
		}
	}
}

func newTestKey(t testing.TB) string {
	t.Helper()
	text, _, err := identity.NewAPIKey("live")
	if err != nil {
		t.Fatal(err)
	}
	return text.Reveal()
}

func TestWEB01ContentTypes(t *testing.T) {
	t.Parallel()
	s := newWeb(t, nil)
	for contentType, want := range map[string]int{
		"application/json":                               200,
		"application/json;charset=utf-8":                 200,
		"application/json; charset=UTF-8":                200,
		`application/json; charset="utf-8"`:              200,
		"APPLICATION/JSON":                               200, // RFC 9110, section 8.3.1
		"":                                               415,
		"text/plain":                                     415,
		"text/plain;charset=UTF-8":                       415,
		"text/plain; application/json":                   415,
		"text/json":                                      415,
		"application/x-www-form-urlencoded":              415,
		"multipart/form-data; boundary=x":                415,
		"application/json; charset=utf-16":               415,
		"application/json; charset=iso-8859-1":           415,
		"application/json; charset=utf-8; charset=utf-7": 415,
		"application/json; profile=x":                    415,
		"application/json, text/plain":                   415,
		"text/plain, application/json":                   415,
		"application/jsonp":                              415,
		"application/json+x":                             415,
		"application/problem+json":                       415,
		"application/*":                                  415,
		"*/*":                                            415,
		"json":                                           415,
		"application /json":                              415,
		"application/json charset=utf-8":                 415,
		"application/x-www-form-urlencoded; a=application/json": 415,
	} {
		a := s.ask(t, http.MethodPost, "/api/auth", `{}`, set("Content-Type", contentType))
		asked, rows := s.seen()
		if a.status != want || want == 415 && len(asked)+len(rows) > 0 {
			t.Errorf("Content-Type %q: %d, asked for %q; want %d", contentType, a.status, asked, want)
		}
	}
	a := s.ask(t, http.MethodPost, "/api/auth", `{}`, func(h http.Header) { h["Content-Type"] = []string{"application/json", "text/plain"} })
	if a.status != 415 {
		t.Errorf("two content types: %d, want 415", a.status)
	}
}

// Every pair of headers in which a browser describes the page: with a session, with a
// user that a proxy names, and at sign-out.
func TestWEB02SecFetchSite(t *testing.T) {
	t.Parallel()
	s := newWeb(t, behindProxy)
	for _, origin := range []string{"", ownURL, allowedOrigin, foreignOrigin, "null", "http://auth.example.com", ownURL + ":8443"} {
		for _, site := range []string{"", "same-origin", "same-site", "cross-site", "none", "Same-Origin", "same-origin, same-origin", "*"} {
			listed := origin == ownURL || origin == allowedOrigin
			good := listed || site == "same-origin"
			for name, test := range map[string]struct {
				method string
				change []string
				ok     int
			}{
				"a session":       {http.MethodPost, nil, 200},
				"a proxy's user":  {http.MethodPost, []string{"Cookie", "", "X-Auth-Request-User", "ada"}, 200},
				"sign-out":        {http.MethodDelete, []string{"Cookie", ""}, 204},
				"an API key":      {http.MethodPost, []string{"Cookie", "", "Authorization", "Bearer " + newTestKey(t)}, 403}, // of no scope
				"a bad bearer":    {http.MethodPost, []string{"Authorization", "Bearer x"}, 401},
				"no credential":   {http.MethodPost, []string{"Cookie", ""}, 401},
				"two cookies":     {http.MethodPost, []string{"Cookie", cookie + "=ada; " + cookie + "=x"}, 401},
				"an odd sign-out": {http.MethodDelete, []string{"Authorization", "Bearer x"}, 204},
			} {
				want := test.ok
				switch {
				case name == "an API key" && origin != "":
					want = 400 // it is in a browser
				case name == "an API key":
				case !good && (want == 200 || want == 204):
					want = 403
				}
				a := s.ask(t, test.method, "/api/auth", `{"userId":"ada"}`, set(append(test.change, "Origin", origin, "Sec-Fetch-Site", site)...))
				asked, rows := s.seen()
				if a.status != want {
					t.Errorf("%s, Origin %q, Sec-Fetch-Site %q: %d %s, want %d", name, origin, site, a.status, a.body, want)
				}
				if name != "an API key" && want == 403 && (len(asked) > 0 || len(rows) != 1 || rows[0].Reason != "origin_not_allowed") {
					t.Errorf("%s, Origin %q, Sec-Fetch-Site %q: asked for %q, recorded %d rows", name, origin, site, asked, len(rows))
				}
			}
		}
	}
	two := func(h http.Header) { h.Del("Origin"); h["Sec-Fetch-Site"] = []string{"same-origin", "same-origin"} }
	if a := s.ask(t, http.MethodPost, "/api/auth", `{}`, two); a.status != 403 {
		t.Errorf("two Sec-Fetch-Site: %d, want 403", a.status)
	}
}

func TestWEB03Methods(t *testing.T) {
	t.Parallel()
	s := newWeb(t, nil)
	allowed := map[string]string{
		"/api/auth": "POST DELETE OPTIONS", "/v2/authorize-user": "POST", "/v2/identify-user": "POST", "/.well-known/jwks.json": "GET HEAD", "/openapi.yaml": "GET HEAD",
	}
	for path, methods := range allowed {
		for _, method := range []string{"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "TRACE", "OPTIONS", "PROPFIND", "post"} {
			if slices.Contains(strings.Fields(methods), method) {
				continue
			}
			a := s.ask(t, method, path, `{}`, set("X-HTTP-Method-Override", "POST", "X-Method-Override", "POST"))
			if want := strings.Fields(methods); a.status != 405 || !cmp.Equal(a.header.Values("Allow"), want) {
				t.Errorf("%s %s: %d, Allow %q; want 405, %q", method, path, a.status, a.header.Values("Allow"), want)
			}
		}
	}
	if a := s.ask(t, http.MethodOptions, "/api/auth", ``, nil); a.status != 405 || len(a.header.Values("Allow")) != 3 {
		t.Errorf("OPTIONS that is not a preflight: %d, Allow %q; want 405 and three methods", a.status, a.header.Values("Allow"))
	}
	if asked, rows := s.seen(); len(asked)+len(rows) > 0 {
		t.Errorf("asked for %q, %d rows", asked, len(rows))
	}
}

// Origins that look like a listed one and are not listed.
var refusedOrigins = []string{
	"null", "Null", "*", "https://*", "https://*.example.com", "undefined", "about:blank", "file://", "data:", "blob:" + allowedOrigin,
	"chrome-extension://app.example.com", "app.example.com", "//app.example.com", "https:app.example.com", "https:/app.example.com",
	foreignOrigin, "https://example.com", "https://auth2.example.com", "https://sub.app.example.com", "https://app.example.co", "https://app.example.com.au",
	"https://app.example.com.evil.test", "https://evilapp.example.com", "https://evil-app.example.com", "https://appXexample.com", "https://app.examplecom",
	"http://app.example.com", "http://auth.example.com", "HTTPS://app.example.com", "https://APP.example.com", "https://App.Example.Com", "wss://app.example.com",
	"https://app.example.com.", "https://.app.example.com", "https://app..example.com",
	"https://app.example.com:443", "https://app.example.com:80", "https://app.example.com:8443", "https://app.example.com:", "https://app.example.com:0",
	"https://app.example.com/", "https://app.example.com/path", "https://app.example.com?x", "https://app.example.com#x", "https://app.example.com\\",
	"https://user@app.example.com", "https://user:pass@app.example.com", "https://app.example.com@evil.example", "https://evil.example#@app.example.com",
	"https://app.example.com https://evil.example", "https://evil.example https://app.example.com", "https://app.example.com,https://evil.example",
	"https://app%2eexample.com", "https://app.example.com%00.evil.example", "https://app。example.com", "https://аpp.example.com", "https://xn--pp-8cd.example.com",
	"https://app.example.com\t.evil.example", "https://127.0.0.1", "https://[::1]", "http://localhost", "javascript:alert(1)",
}

func TestWEB04Origins(t *testing.T) {
	t.Parallel()
	s := newWeb(t, nil)
	preflight := func(origin string) answer {
		return s.ask(t, http.MethodOptions, "/api/auth", "", set("Cookie", "", "Content-Type", "",
			"Origin", origin, "Access-Control-Request-Method", "POST", "Access-Control-Request-Headers", "content-type"))
	}
	post := func(origin string) answer { return s.ask(t, http.MethodPost, "/api/auth", `{}`, set("Origin", origin)) }
	signOut := func(origin string) answer { return s.ask(t, http.MethodDelete, "/api/auth", "", set("Origin", origin)) }
	check := func(a answer, origin string, status int, allowed bool) {
		t.Helper()
		want := http.Header{}
		if allowed {
			want.Set("Access-Control-Allow-Origin", origin)
			want.Set("Access-Control-Allow-Credentials", "true")
		}
		for _, name := range []string{"Access-Control-Allow-Origin", "Access-Control-Allow-Credentials"} {
			if got := a.header.Values(name); !slices.Equal(got, want.Values(name)) {
				t.Errorf("Origin %q: %s = %q, want %q", origin, name, got, want.Values(name))
			}
		}
		if a.status != status || !variesByOrigin(a) {
			t.Errorf("Origin %q: %d, Vary %q; want %d, Origin", origin, a.status, a.header.Values("Vary"), status)
		}
		if !allowed && a.header.Get("Set-Cookie") != "" {
			t.Errorf("Origin %q: a cookie was set", origin)
		}
	}
	for _, origin := range []string{allowedOrigin, ownURL} {
		check(preflight(origin), origin, 204, true)
		check(post(origin), origin, 200, true)
		check(signOut(origin), origin, 204, true)
	}
	if len(refusedOrigins) < 40 {
		t.Errorf("%d origins, want at least 40", len(refusedOrigins))
	}
	for _, origin := range refusedOrigins {
		check(preflight(origin), origin, 204, false)
		check(post(origin), origin, 403, false)
		check(signOut(origin), origin, 403, false)
	}
	// Two origins, the good one first: neither is echoed.
	for _, two := range [][]string{{allowedOrigin, foreignOrigin}, {allowedOrigin, allowedOrigin}, {foreignOrigin, allowedOrigin}} {
		a := s.ask(t, http.MethodPost, "/api/auth", `{}`, func(h http.Header) { h["Origin"] = two })
		check(a, strings.Join(two, " and "), 403, false)
	}
}

func variesByOrigin(a answer) bool {
	return strings.Count(strings.Join(a.header.Values("Vary"), ","), "Origin") == 1
}

// A preflight needs no database, and allows what /api/auth accepts.
func TestWEB04Preflights(t *testing.T) {
	t.Parallel()
	s := newWeb(t, nil)
	for name, test := range map[string]struct {
		path, method, headers string
		status                int
		allowed               bool
	}{
		"a token":               {"/api/auth", "POST", "content-type", 204, true},
		"in cookie mode":        {"/api/auth?mode=cookie", "POST", "content-type", 204, true},
		"with an Authorization": {"/api/auth", "POST", "authorization,content-type", 204, true},
		"without headers":       {"/api/auth", "POST", "", 204, true},
		"sign-out":              {"/api/auth", "DELETE", "", 204, true},
		"another method":        {"/api/auth", "PUT", "", 204, false},
		"a proxy's header":      {"/api/auth", "POST", "content-type,x-auth-request-user", 204, false},
		"every header":          {"/api/auth", "POST", "*", 204, false},
		"another route":         {"/v2/authorize-user", "POST", "content-type", 405, false},
		"the keys":              {"/.well-known/jwks.json", "GET", "x", 405, false},
		"a slash at the end":    {"/api/auth/", "POST", "content-type", 204, true},
		"no route":              {"/api/auth/x", "POST", "content-type", 404, false},
	} {
		a := s.ask(t, http.MethodOptions, test.path, "", set("Cookie", "", "Content-Type", "",
			"Access-Control-Request-Method", test.method, "Access-Control-Request-Headers", test.headers))
		if got := a.header.Get("Access-Control-Allow-Origin") == allowedOrigin; a.status != test.status || got != test.allowed {
			t.Errorf("%s: %d, allowed %t; want %d, %t", name, a.status, got, test.status, test.allowed)
		}
	}
	if asked, rows := s.seen(); len(asked)+len(rows) > 0 {
		t.Errorf("a preflight asked for %q and recorded %d rows", asked, len(rows))
	}
}

// CVE-2025-47908: the headers that a preflight asks for are a long list of commas. Not
// parallel, because it counts allocations.
func TestWEB05PreflightOfCommas(t *testing.T) {
	s := newWeb(t, nil)
	for _, headers := range []string{strings.Repeat(",", 100<<10), strings.Repeat("a,", 50<<10), strings.Repeat(" ", 100<<10), strings.Repeat("content-type,", 8<<10)} {
		call := func() time.Duration {
			r := httptest.NewRequest(http.MethodOptions, "/api/auth", http.NoBody)
			r.Header = http.Header{"Origin": {allowedOrigin}, "Access-Control-Request-Method": {"POST"}, "Access-Control-Request-Headers": {headers}}
			w := httptest.NewRecorder()
			began := time.Now()
			s.Config.Handler.ServeHTTP(w, r)
			took := time.Since(began)
			if w.Code != 204 || w.Header().Get("Access-Control-Allow-Origin") != "" {
				t.Errorf("%d bytes of %.5q: %d, allowed %q", len(headers), headers, w.Code, w.Header().Get("Access-Control-Allow-Origin"))
			}
			return took
		}
		const calls = 20
		var before, after runtime.MemStats
		fastest := call()
		runtime.ReadMemStats(&before)
		for range calls {
			fastest = min(fastest, call())
		}
		runtime.ReadMemStats(&after)
		if bytes := (after.TotalAlloc - before.TotalAlloc) / calls; fastest > time.Millisecond || bytes > 16<<10 {
			t.Errorf("%d bytes of %.5q take %s and %d bytes, want at most 1 ms and 16 KiB", len(headers), headers, fastest, bytes)
		}
	}
}

func TestWEB06CookieTossing(t *testing.T) {
	t.Parallel()
	s := newWeb(t, nil)
	for name, test := range map[string]struct {
		cookies []string
		reason  string // empty: ada is signed in
	}{
		"one":                      {[]string{cookie + "=ada"}, ""},
		"one in quotes":            {[]string{cookie + `="ada"`}, ""},
		"one of another path":      {[]string{`$Version=1; ` + cookie + "=ada; $Path=/"}, ""},
		"two":                      {[]string{cookie + "=ada; " + cookie + "=tossed"}, "duplicate_cookie"},
		"two alike":                {[]string{cookie + "=ada; " + cookie + "=ada"}, ""}, // set for two paths
		"two alike, and another":   {[]string{cookie + "=ada; " + cookie + "=ada; " + cookie + "=tossed"}, "duplicate_cookie"},
		"in two headers":           {[]string{cookie + "=ada", cookie + "=tossed"}, "duplicate_cookie"},
		"one is empty":             {[]string{cookie + "=ada; " + cookie + "="}, "duplicate_cookie"},
		"one has no value":         {[]string{cookie + "=ada; " + cookie}, "duplicate_cookie"},
		"one that is not taken":    {[]string{cookie + "=tossed; " + cookie + "=\\"}, "duplicate_cookie"},
		"without a blank":          {[]string{cookie + "=ada;" + cookie + "=tossed"}, "duplicate_cookie"},
		"the name in another case": {[]string{strings.ToUpper(cookie) + "=ada"}, "no_credential"},
		"a nameless one":           {[]string{"=" + cookie + "=ada"}, "no_credential"},
		"a prefixed one":           {[]string{"__Host-" + cookie + "=ada"}, ""},
		"with and without prefix":  {[]string{"__Host-" + cookie + "=ada; " + cookie + "=tossed"}, "duplicate_cookie"},
		"another prefix":           {[]string{"__Http-" + cookie + "=ada"}, "no_credential"},
		"the name as a value":      {[]string{"a=" + cookie + "=ada"}, "no_credential"},
		"5,000 others before it":   {[]string{strings.Repeat("a=b; ", 5_000) + cookie + "=ada"}, "bad_cookie"},
	} {
		a := s.ask(t, http.MethodPost, "/api/auth", `{}`, func(h http.Header) { h["Cookie"] = test.cookies })
		asked, rows := s.seen()
		if len(rows) != 1 || rows[0].Reason != test.reason || (a.status == 200) != (test.reason == "") {
			t.Errorf("%s: %d, %d rows; want reason %q", name, a.status, len(rows), test.reason)
		}
		if test.reason != "" && (a.status != 401 || len(asked) > 0) {
			t.Errorf("%s: %d, asked for %q; want 401 and nobody", name, a.status, asked)
		}
	}
}

// answers returns one answer of every kind.
func (s *web) answers(t testing.TB) map[string]answer {
	t.Helper()
	etag := s.ask(t, http.MethodGet, "/.well-known/jwks.json", "", nil).header.Get("ETag")
	all := map[string]answer{
		"200":                   s.ask(t, http.MethodPost, "/api/auth", `{}`, nil),
		"200 in cookie mode":    s.ask(t, http.MethodPost, "/api/auth?mode=cookie", `{"store":"a"}`, nil),
		"204 of a sign-out":     s.ask(t, http.MethodDelete, "/api/auth", "", nil),
		"204 of a preflight":    s.ask(t, http.MethodOptions, "/api/auth", "", set("Access-Control-Request-Method", "POST")),
		"204 of a bad one":      s.ask(t, http.MethodOptions, "/api/auth", "", set("Access-Control-Request-Method", "POST", "Origin", foreignOrigin)),
		"304":                   s.ask(t, http.MethodGet, "/.well-known/jwks.json", "", set("If-None-Match", etag)),
		"400":                   s.ask(t, http.MethodPost, "/api/auth", `{`, nil),
		"401":                   s.ask(t, http.MethodPost, "/api/auth", `{}`, set("Cookie", "")),
		"401 of a bearer":       s.ask(t, http.MethodPost, "/api/auth", `{}`, set("Authorization", "Bearer x")),
		"403 of an origin":      s.ask(t, http.MethodPost, "/api/auth", `{}`, set("Origin", foreignOrigin)),
		"404":                   s.ask(t, http.MethodGet, "/nothing", "", nil),
		"405":                   s.ask(t, http.MethodPut, "/api/auth", "", nil),
		"413":                   s.ask(t, http.MethodPost, "/api/auth", `{"x":"`+strings.Repeat("x", 65<<10)+`"}`, nil),
		"415":                   s.ask(t, http.MethodPost, "/api/auth", `{}`, set("Content-Type", "text/plain")),
		"the keys":              s.ask(t, http.MethodGet, "/.well-known/jwks.json", "", nil),
		"the contract":          s.ask(t, http.MethodGet, "/openapi.yaml", "", nil),
		"401 of Liveblocks'":    s.ask(t, http.MethodPost, "/v2/authorize-user", `{}`, set("Origin", "", "Cookie", "")),
		"405 of Liveblocks'":    s.ask(t, http.MethodGet, "/v2/identify-user", "", nil),
		"a listed page without": s.ask(t, http.MethodPost, "/api/auth", `{}`, set("Origin", "", "Sec-Fetch-Site", "same-origin")),
	}
	s.mu.Lock()
	s.broken = true
	s.mu.Unlock()
	all["503"] = s.ask(t, http.MethodPost, "/api/auth", `{}`, nil)
	for name, a := range all {
		if want := name[:3]; want >= "200" && want <= "999" && fmt.Sprint(a.status) != want {
			t.Errorf("%s was answered with %d", name, a.status)
		}
	}
	return all
}

func TestWEB11Headers(t *testing.T) {
	t.Parallel()
	for url, transport := range map[string]string{ownURL: "max-age=31536000", "http://127.0.0.1:8080": ""} {
		s := newWeb(t, func(cfg *api.Config, _ *identity.Config) { cfg.URL = url })
		for name, a := range s.answers(t) {
			public := name == "the keys" || name == "the contract" || name == "304"
			want := map[string]string{
				"Cache-Control":                "no-store",
				"Content-Security-Policy":      "default-src 'none'; frame-ancestors 'none'",
				"Cross-Origin-Resource-Policy": "same-site",
				"Referrer-Policy":              "no-referrer",
				"Strict-Transport-Security":    transport,
				"X-Content-Type-Options":       "nosniff",
			}
			if public {
				want["Cache-Control"] = "public, max-age=300"
			}
			if name == "the keys" || name == "304" {
				want["Cross-Origin-Resource-Policy"] = "cross-origin"
			}
			got := map[string]string{}
			for header := range want {
				got[header] = strings.Join(a.header.Values(header), " and ")
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("%s, %s (-want +got):\n%s", url, name, diff)
			}
			if a.header.Get("X-Request-Id") == "" {
				t.Errorf("%s has no X-Request-Id", name)
			}
			if got := a.header.Get("Content-Type"); len(a.body) > 0 && !public && got != "application/json; charset=utf-8" {
				t.Errorf("%s: Content-Type = %q", name, got)
			}
			if public == variesByOrigin(a) {
				t.Errorf("%s: Vary = %q", name, a.header.Values("Vary"))
			}
		}
	}
}

// WEB-15: no request is ever redirected, in particular no POST.
func TestWEB15NoRedirects(t *testing.T) {
	t.Parallel()
	s := newWeb(t, nil)
	for name, a := range s.answers(t) {
		if a.status/100 == 3 && a.status != 304 || a.header.Get("Location") != "" {
			t.Errorf("%s: %d to %q", name, a.status, a.header.Get("Location"))
		}
	}
	s.seen()
	for _, path := range []string{
		"//api/auth", "/api//auth", "/api/auth//", "/api/auth/.", "/api/auth/..", "/api/auth/x", "/./api/auth", "/x/../api/auth", "/api/auth/..;/", "/api/auth;x=1",
		"/API/AUTH", "/api/Auth", "/%61pi/auth", "/api%2fauth", "/api/auth%2f", "/api/auth%00", "/api/auth%20", "/api\\auth", "/api/auth.json", "/api", "/", "/v2", "/v2/", "/v2//authorize-user",
		"/.well-known/jwks.json/", "/.well-known/", "/openapi.yaml/", "/metrics", "/debug/pprof/", "/readyz", "/v1/admin/users",
	} {
		a := s.ask(t, http.MethodPost, strings.ReplaceAll(path, "\\", "%5c"), `{}`, nil)
		if a.status != 404 || a.header.Get("Location") != "" {
			t.Errorf("POST %s: %d, want 404", path, a.status)
		}
	}
	if asked, _ := s.seen(); len(asked) > 0 {
		t.Errorf("a wrong path asked for %q", asked)
	}
}

func TestWEB12CredentialsInTheURL(t *testing.T) {
	t.Parallel()
	s := newWeb(t, behindProxy)
	const canary = "canary-7d1f"
	for _, query := range []string{
		"token=", "TOKEN=", "access_token=", "id_token=", "refresh_token=", "jwt=", "api_key=", "apikey=", "apiKey=", "key=", "secret=", "client_secret=", "password=",
		"session=", "authorization=", "bearer=", cookie + "=", "room=x&token=", "a=b;token=", "%zz;token=", "%74oken=",
	} {
		for _, path := range []string{"/api/auth", "/v2/authorize-user", "/v2/identify-user"} {
			for name, change := range map[string]func(http.Header){
				"a session":      nil,
				"nobody":         set("Cookie", ""),
				"a proxy's user": set("X-Auth-Request-User", "ada"),
				"an API key":     set("Authorization", "Bearer "+newTestKey(t), "Origin", ""),
			} {
				a := s.ask(t, http.MethodPost, path+"?"+query+canary, `{}`, change)
				asked, rows := s.seen()
				if a.status != 400 || len(asked)+len(rows) > 0 {
					t.Errorf("%s?%s, %s: %d %s, asked for %q", path, query, name, a.status, a.body, asked)
				}
				if strings.Contains(string(a.body), canary) {
					t.Errorf("%s?%s: the answer repeats it", path, query)
				}
			}
		}
	}
	for method, path := range map[string]string{http.MethodGet: "/.well-known/jwks.json", http.MethodPut: "/api/auth", http.MethodOptions: "/api/auth", http.MethodDelete: "/api/auth", http.MethodPost: "/" + canary} {
		s.ask(t, method, path+"?token="+canary, "", nil)
	}
	if s.log.String() == "" || strings.Contains(s.log.String(), canary) {
		t.Errorf("the log repeats a part of the URL, or is empty:\n%.2000s", s.log.String())
	}
}

// If a request has several kinds of credentials, the first counts: Authorization, the
// proxy's header, the cookie. If that one is bad, the others are not tried.
func TestWEB13OneCredential(t *testing.T) {
	t.Parallel()
	s := newWeb(t, behindProxy)
	for name, test := range map[string]struct {
		change []string
		status int
		asked  string // nobody: ""
	}{
		"a cookie":                            {nil, 200, "session ada"},
		"a proxy's user beside a cookie":      {[]string{"X-Auth-Request-User", "grace"}, 200, "user grace in "},
		"in an organization":                  {[]string{"X-Auth-Request-User", "grace", "X-Auth-Request-Org", "acme"}, 200, "user grace in acme"},
		"a key beside a cookie":               {[]string{"Authorization", "Bearer " + newTestKey(t), "Origin", ""}, 403, "key"},
		"a key beside both":                   {[]string{"Authorization", "Bearer " + newTestKey(t), "Origin", "", "X-Auth-Request-User", "grace"}, 403, "key"},
		"a bad bearer beside a cookie":        {[]string{"Authorization", "Bearer x"}, 401, ""},
		"a bad bearer beside a proxy's user":  {[]string{"Authorization", "Bearer x", "X-Auth-Request-User", "grace"}, 401, ""},
		"another scheme beside both":          {[]string{"Authorization", "Basic YTpi", "X-Auth-Request-User", "grace"}, 401, ""},
		"a bad proxy's user beside a cookie":  {[]string{"X-Auth-Request-User", strings.Repeat("x", 200)}, 401, ""},
		"a proxy's user who is not listed":    {[]string{"X-Auth-Request-User", "nobody"}, 403, "user nobody in "},
		"a user in the body beside a session": {nil, 200, "session ada"},
	} {
		a := s.ask(t, http.MethodPost, "/api/auth", `{"userId":"mallory","organization":"acme"}`, set(test.change...))
		asked, rows := s.seen()
		if a.status != test.status || strings.Join(asked, ",") != test.asked || len(rows) != 1 {
			t.Errorf("%s: %d %s, asked for %q, %d rows; want %d, %q and one", name, a.status, a.body, asked, len(rows), test.status, test.asked)
		}
	}
}

func TestWEB14ForwardedAddresses(t *testing.T) {
	t.Parallel()
	const forwarded = "1.1.1.1, 198.51.100.1"
	for name, test := range map[string]struct {
		trusted []string
		want    string
	}{
		"by a trusted proxy": {[]string{"127.0.0.1"}, "198.51.100.1"},
		"by anybody else":    {[]string{"10.0.0.7"}, "127.0.0.1"},
		"by default":         {nil, "127.0.0.1"},
	} {
		s := newWeb(t, func(_ *api.Config, credentials *identity.Config) { credentials.Proxy.Trusted = test.trusted })
		s.ask(t, http.MethodPost, "/api/auth", `{}`, set("X-Forwarded-For", forwarded, "Forwarded", "for=6.6.6.6", "X-Real-Ip", "6.6.6.6", "True-Client-Ip", "6.6.6.6"))
		s.ask(t, http.MethodPost, "/api/auth", `{}`, set("X-Forwarded-For", forwarded, "Cookie", ""))
		if _, rows := s.seen(); len(rows) != 2 || rows[0].IP.String() != test.want || rows[1].IP.String() != test.want {
			t.Errorf("%s: the audit has %+v, want %s twice", name, rows, test.want)
		}
	}
}

// Behind one proxy, each user has their own limit.
func TestLimitsBehindProxy(t *testing.T) {
	t.Parallel()
	s := newWeb(t, func(cfg *api.Config, credentials *identity.Config) {
		behindProxy(cfg, credentials)
		cfg.Limits = api.Limits{Session: 2}
	})
	for name, change := range map[string][]string{
		"a user":                 {"X-Auth-Request-User", "ada"},
		"another":                {"X-Auth-Request-User", "grace"},
		"a session of that name": nil,
	} {
		for _, want := range []int{200, 200, 429} {
			if a := s.ask(t, http.MethodPost, "/api/auth", `{}`, set(change...)); a.status != want {
				t.Errorf("%s: %d, want %d", name, a.status, want)
			}
		}
	}
}

// A sign-out from a foreign page adds a row. One address can add as many as the failure
// limit allows.
func TestForeignSignOutsAreLimited(t *testing.T) {
	t.Parallel()
	s := newWeb(t, func(cfg *api.Config, _ *identity.Config) { cfg.Limits = api.Limits{Failures: 2} })
	for _, want := range []int{403, 403, 429} {
		if a := s.ask(t, http.MethodDelete, "/api/auth", "", set("Origin", foreignOrigin)); a.status != want {
			t.Errorf("%d, want %d", a.status, want)
		}
	}
	if _, rows := s.seen(); len(rows) != 2 {
		t.Errorf("%d rows, want 2", len(rows))
	}
	if a := s.ask(t, http.MethodDelete, "/api/auth", "", nil); a.status != 204 {
		t.Errorf("a listed page beside them: %d, want 204", a.status)
	}
}

// The rows for a user that a proxy names, on a real directory, and for a caller that only
// pretends to be the proxy.
func TestProxyUsers(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	for name, test := range map[string]struct {
		trusted string
		header  http.Header
		status  int
		row     string // reason, caller kind and id, user, organization, patterns
	}{
		"a user": {"127.0.0.1", http.Header{"X-User": {"ada"}}, 200, `|proxy|127.0.0.1|ada||{"rooms": {"acme:*": "read", "home:ada:*": "full", "acme:design:*": "full"}}`},
		"in an organization": {
			"127.0.0.0/8",
			http.Header{"X-User": {"ada"}, "X-Org": {"acme"}},
			200,
			`|proxy|127.0.0.1|ada|acme|{"rooms": {"acme:*": "read", "home:ada:*": "full", "acme:design:*": "full"}}`,
		},
		"in one that is not theirs":        {"127.0.0.1", http.Header{"X-User": {"grace"}, "X-Org": {"globex"}}, 200, `|proxy|127.0.0.1|grace||{"rooms": {"home:grace:*": "full"}}`},
		"that the directory does not list": {"127.0.0.1", http.Header{"X-User": {"zoe"}}, 403, `user_unknown|proxy|127.0.0.1|zoe||`},
		"who is disabled":                  {"127.0.0.1", http.Header{"X-User": {"eve"}}, 403, `user_disabled|proxy|127.0.0.1|eve||`},
		"from elsewhere":                   {"10.0.0.7", http.Header{"X-User": {"ada"}}, 401, `untrusted_proxy|none||||`},
		"of a foreign page":                {"127.0.0.1", http.Header{"X-User": {"ada"}, "Origin": {foreignOrigin}}, 403, `origin_not_allowed|none||||`},
		"twice":                            {"127.0.0.1", http.Header{"X-User": {"ada", "ada"}}, 401, `bad_proxy_user|none||||`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := r.behindProxy(t, identity.ProxyConfig{Trusted: []string{test.trusted}, UserHeader: "X-User", OrganizationHeader: "X-Org"})
			req := r.as(t, "mallory", `{}`)
			req.URL.Host = strings.TrimPrefix(server.URL, "http://")
			maps.Copy(req.Header, test.header)
			a := send(t, server, req)
			if a.status != test.status {
				t.Fatalf("%d %s, want %d", a.status, a.body, test.status)
			}
			var row string
			err := r.pg.Pool.QueryRow(t.Context(), `SELECT concat_ws('|', coalesce(reason, ''), caller_kind, coalesce(caller_id, ''), coalesce(user_id, ''),
				coalesce(organization_id, ''), coalesce(patterns::text, '')) FROM usher.decisions WHERE request_id = $1`, a.header.Get("X-Request-Id")).Scan(&row)
			if err != nil || row != test.row {
				t.Errorf("the audit has %s, %v; want %s", row, err, test.row)
			}
		})
	}
}

// behindProxy serves the rig's database a second time, behind trusted proxies.
func (r *rig) behindProxy(t testing.TB, proxies identity.ProxyConfig) *httptest.Server {
	t.Helper()
	directory, audit := r.open(t)
	issuer, err := session.NewIssuer(session.IssuerConfig{Issuer: ownURL, Keys: r.keys})
	if err != nil {
		t.Fatal(err)
	}
	credentials, err := identity.NewReader(identity.Config{Cookie: cookie, Proxy: proxies})
	if err != nil {
		t.Fatal(err)
	}
	handler, err := api.New(api.Config{
		URL: ownURL, Origins: []string{allowedOrigin}, Credentials: credentials, Directory: directory, Issuer: issuer, Keys: r.keys,
		Audit: audit, Contract: usher.OpenAPI, Logger: slog.New(slog.DiscardHandler), Registry: prometheus.NewRegistry(),
	})
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	return server
}

// Misspellings of our fields are refused, because ignoring them would give a token for
// more than was requested. Other unknown fields are ignored.
func TestMisspeltFields(t *testing.T) {
	t.Parallel()
	s := newWeb(t, nil)
	for body, want := range map[string]int{
		`{"rooms":["a"]}`: 400, `{"Room":"a"}`: 400, `{"ROOM":"a"}`: 400, `{"roomId":"a"}`: 400, `{"room_id":"a"}`: 400, `{"roomIds":[]}`: 400, `{"room-name":"a"}`: 400,
		`{"rom":"a"}`: 400, `{"rooom":"a"}`: 400, `{"romo":"a"}`: 400, `{"roon":"a"}`: 400,
		`{"stores":"a"}`: 400, `{"storeID":"a"}`: 400, `{"storeId":"a"}`: 400, `{"Store":"a"}`: 400, `{"stor":"a"}`: 400, `{"sotre":"a"}`: 400,
		`{"audiences":"a"}`: 400, `{"Audience":"a"}`: 400, `{"audiance":"a"}`: 400,
		`{"organisation":"a"}`: 400, `{"organizations":["a"]}`: 400, `{"organizationID":"a"}`: 400, `{"orgId":"a"}`: 400, `{"org":"a"}`: 400,
		`{}`: 200, `{"x":1}`: 200, `{"userId":"x"}`: 200, `{"organizationId":"x"}`: 200, `{"token":"x"}`: 200, `{"clientVersion":"3.1"}`: 200, `{"origin":"x"}`: 200, `{"broom":[]}`: 400,
		`{"room":null}`: 200, `{"room":null,"store":null,"audience":null}`: 200, `{"room":null,"store":"a"}`: 200,
	} {
		a := s.ask(t, http.MethodPost, "/api/auth", body, nil)
		asked, _ := s.seen()
		if a.status != want || want == 400 && (len(asked) > 0 || !strings.Contains(a.problem(t).Reason, "Unknown field")) {
			t.Errorf("%s: %d %s, asked for %q; want %d", body, a.status, a.body, asked, want)
		}
	}
}

// A refusal says whether the origin is missing or not listed, and what to do.
func TestOriginRefusalsSayWhy(t *testing.T) {
	t.Parallel()
	s := newWeb(t, nil)
	for _, method := range []string{http.MethodPost, http.MethodDelete} {
		for origin, want := range map[string][]string{
			"":                     {"no Origin header", "Authorization: Bearer"},
			foreignOrigin:          {`"` + foreignOrigin + `"`, "--origins", "USHER_ORIGINS"},
			"null":                 {`"null"`, "--origins"},
			"capacitor://elsewere": {`"capacitor://elsewere"`, "--origins"},
		} {
			a := s.ask(t, method, "/api/auth", `{}`, set("Origin", origin))
			reason := a.problem(t).Reason
			for _, part := range want {
				if a.status != 403 || !strings.Contains(reason, part) {
					t.Errorf("%s of %q: %d %q, want %q in it", method, origin, a.status, reason, part)
				}
			}
		}
	}
}

func TestListedOrigins(t *testing.T) {
	t.Parallel()
	for listed, sent := range map[string]string{
		"capacitor://localhost": "", "ionic://localhost": "", "tauri://localhost": "", "http://tauri.localhost": "", "app://obsidian.md": "",
		"chrome-extension://abcdefghijklmnopabcdefghijklmnop": "", "moz-extension://1b2c3d4e-0000-4000-8000-000000000000": "",
		"safari-web-extension://1B2C3D4E-0000-4000-8000-000000000000": "",
		"https://bücher.example":                                      "https://xn--bcher-kva.example",
		"https://bücher.de:8443":                                      "https://xn--bcher-kva.de:8443",
		"https://例え.テスト":                                              "https://xn--r8jz45g.xn--zckzah",
		"https://faß.example":                                         "https://xn--fa-hia.example",
		"http://[::1]:3000":                                           "",
		"https://app.example.com":                                     "",
	} {
		if sent == "" {
			sent = listed
		}
		s := newWeb(t, func(cfg *api.Config, _ *identity.Config) { cfg.Origins = []string{listed} })
		a := s.ask(t, http.MethodPost, "/api/auth", `{}`, set("Origin", sent))
		if got := a.header.Get("Access-Control-Allow-Origin"); a.status != 200 || got != sent {
			t.Errorf("%s listed, %s sent: %d %s, allowed %q", listed, sent, a.status, a.body, got)
		}
		if a := s.ask(t, http.MethodPost, "/api/auth", `{}`, set("Origin", sent+"x")); a.status != 403 {
			t.Errorf("%s listed, %sx sent: %d, want 403", listed, sent, a.status)
		}
	}
	cfg := newWeb(t, nil).cfg
	for _, origin := range []string{
		"https://*.vercel.app", "https://*", "*", "capacitor://*", "null", "file://", "file:///x", "data://x", "javascript://x", "blob://x", "about://blank", "ws://app.example.com", "",
		"capacitor://localhost/", "capacitor://localhost/x", "capacitor://", "Capacitor://localhost", "capacitor:localhost", "capacitor://user@localhost", "https://bücher.example/", "https://bücher.example?x",
		"https://user@bücher.example", "https://bü cher.example", "https://app.example.com:443", "https://app.example.com:",
	} {
		cfg.Origins, cfg.Registry = []string{origin}, prometheus.NewRegistry()
		if _, err := api.New(cfg); err == nil || !strings.Contains(err.Error(), "origin") {
			t.Errorf("origin %q: %v, want it refused", origin, err)
		} else if strings.Contains(origin, "*") && !strings.Contains(err.Error(), "wildcard") {
			t.Errorf("origin %q: %v, want it to speak of wildcards", origin, err)
		}
	}
}

// Pages of listed origins may send a limited number of headers, such as those of tracing,
// and none in which a proxy names its users.
func TestPreflightsOfTracing(t *testing.T) {
	t.Parallel()
	s := newWeb(t, func(_ *api.Config, credentials *identity.Config) {
		credentials.Proxy = identity.ProxyConfig{Trusted: []string{"127.0.0.1"}, UserHeader: "X-Who"}
	})
	many := make([]string, 33)
	for i := range many {
		many[i] = fmt.Sprint("x-", i)
	}
	for headers, allowed := range map[string]bool{
		"baggage,content-type,sentry-trace": true,
		"content-type,x-datadog-origin,x-datadog-parent-id,x-datadog-sampling-priority,x-datadog-trace-id": true,
		"content-type,traceparent,tracestate,b3,x-b3-traceid,uber-trace-id,x-cloud-trace-context":          true,
		"newrelic, x-request-id, x_custom": true,
		strings.Join(many[:32], ","):       true,
		strings.Join(many, ","):            false,
		"x-" + strings.Repeat("a", 1024):   false,
		"content-type,x-who":               false,
		"content-type,X-WHO":               false,
		"x-forwarded-for":                  false,
		"forwarded":                        false,
		"x-auth-request-user":              false,
		"*":                                false,
		"a,,b":                             false,
		"a b":                              false,
		"a:b":                              false,
		"ä":                                false,
	} {
		a := s.ask(t, http.MethodOptions, "/api/auth", "", set("Cookie", "", "Content-Type", "",
			"Access-Control-Request-Method", "POST", "Access-Control-Request-Headers", headers))
		got := a.header.Get("Access-Control-Allow-Origin") == allowedOrigin
		if a.status != 204 || got != allowed || allowed && a.header.Get("Access-Control-Allow-Headers") == "" {
			t.Errorf("%.80s: %d, allowed %t, headers %q; want %t", headers, a.status, got, a.header.Get("Access-Control-Allow-Headers"), allowed)
		}
		foreign := s.ask(t, http.MethodOptions, "/api/auth", "", set("Cookie", "", "Content-Type", "", "Origin", foreignOrigin,
			"Access-Control-Request-Method", "POST", "Access-Control-Request-Headers", headers))
		if foreign.header.Get("Access-Control-Allow-Headers") != "" {
			t.Errorf("%.80s: a foreign origin may send headers", headers)
		}
	}
}

// HEAD is like GET, without a body.
func TestHead(t *testing.T) {
	t.Parallel()
	s := newWeb(t, nil)
	for _, path := range []string{"/.well-known/jwks.json", "/openapi.yaml"} {
		get := s.ask(t, http.MethodGet, path, "", nil)
		head := s.ask(t, http.MethodHead, path, "", nil)
		if head.status != 200 || len(head.body) > 0 || head.header.Get("Content-Length") != get.header.Get("Content-Length") || head.header.Get("Etag") != get.header.Get("Etag") {
			t.Errorf("HEAD %s: %d %v, want as GET: %v", path, head.status, head.header, get.header)
		}
	}
	ops := httptest.NewServer(newOps(t, newFake(t), fakeStore{}, nil))
	defer ops.Close()
	for _, path := range []string{"/livez", "/readyz", "/metrics"} {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodHead, ops.URL+path, http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		if a := send(t, ops, r); a.status != 200 || len(a.body) > 0 {
			t.Errorf("HEAD %s: %d %s", path, a.status, a.body)
		}
	}
}

func TestSpellingsOfAuthRequests(t *testing.T) {
	t.Parallel()
	s := newWeb(t, nil)
	for _, contentType := range []string{"application/json; charset=utf8", "application/json;charset=UTF8", `application/json; charset="utf8"`} {
		if a := s.ask(t, http.MethodPost, "/api/auth", `{}`, set("Content-Type", contentType)); a.status != 200 {
			t.Errorf("Content-Type %q: %d, want 200", contentType, a.status)
		}
	}
	for _, method := range []string{http.MethodPost, http.MethodDelete} {
		if a := s.ask(t, method, "/api/auth/", `{}`, nil); a.status/100 != 2 {
			t.Errorf("%s /api/auth/: %d %s", method, a.status, a.body)
		}
	}
}

// The 404 for routes of Liveblocks' API that usher does not have is in the shape that the
// SDK prints.
func TestMissingLiveblocksRoutes(t *testing.T) {
	t.Parallel()
	s := newWeb(t, nil)
	for _, test := range []struct {
		method, path string
		want         int
	}{
		{"GET", "/v2/rooms", 404},
		{"POST", "/v2/rooms", 404},
		{"GET", "/v2/rooms/x/storage", 404},
		{"DELETE", "/v2/rooms/x", 404},
		{"POST", "/v2/authorize-users", 404},
		{"GET", "/v2/authorize-user", 405},
		{"PUT", "/v2/identify-user/", 405},
	} {
		a := s.ask(t, test.method, test.path, "", nil)
		var got struct{ Error, Message string }
		if err := json.Unmarshal(a.body, &got); err != nil || a.status != test.want || got.Message == "" || test.want == 404 && !strings.Contains(got.Message, "/v2/identify-user") {
			t.Errorf("%s %s: %d %s, want %d with a message", test.method, test.path, a.status, a.body, test.want)
		}
	}
}

// The log has a request's client, origin and user, and one id in all its lines.
func TestRequestLog(t *testing.T) {
	t.Parallel()
	s := newWeb(t, behindProxy)
	a := s.ask(t, http.MethodPost, "/api/auth", `{}`, set("X-Forwarded-For", "203.0.113.9"))
	var line struct {
		RequestID  string `json:"request_id"`
		Client     string
		Origin     string
		UserID     string `json:"user_id"`
		CallerKind string `json:"caller_kind"`
	}
	if err := json.Unmarshal([]byte(s.log.String()), &line); err != nil {
		t.Fatal(err)
	}
	want := line
	want.RequestID, want.Client, want.Origin, want.UserID, want.CallerKind = a.header.Get("X-Request-Id"), "203.0.113.9", allowedOrigin, "ada", "session"
	if line != want {
		t.Errorf("the log has %+v, want %+v", line, want)
	}
	if strings.Contains(s.log.String(), cookie) {
		t.Error("the log repeats a cookie")
	}
}
