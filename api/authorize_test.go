package api_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/usher-auth/usher"
	"github.com/usher-auth/usher/api"
	"github.com/usher-auth/usher/audit"
	"github.com/usher-auth/usher/db"
	"github.com/usher-auth/usher/db/dbtest"
	"github.com/usher-auth/usher/internal/identity"
	"github.com/usher-auth/usher/internal/principal"
	"github.com/usher-auth/usher/internal/secret"
	"github.com/usher-auth/usher/permissions"
	"github.com/usher-auth/usher/session"
)

const (
	cookie        = "usher_session"
	ownURL        = "https://auth.example.com"
	allowedOrigin = "https://app.example.com"
)

// demo is a tenant with every kind of caller.
const demo = `
	INSERT INTO usher.users (id, info, disabled_at, created_by) VALUES
		('ada', '{"name": "Ada"}', NULL, 't'), ('grace', NULL, NULL, 't'), ('mallory', NULL, NULL, 't'), ('eve', NULL, now(), 't'),
		('a:b', NULL, NULL, 't'), ('nobody', NULL, NULL, 't');
	INSERT INTO usher.organizations (id, created_by) VALUES ('acme', 't'), ('globex', 't');
	INSERT INTO usher.memberships (user_id, member_of_kind, member_of_id, created_by) VALUES
		('ada', 'organization', 'acme', 't'), ('grace', 'organization', 'acme', 't'), ('mallory', 'organization', 'globex', 't'), ('eve', 'organization', 'acme', 't');
	INSERT INTO usher.grants (subject_kind, subject_id, resource_kind, pattern, access, created_by) VALUES
		('everyone', '', 'room', '{organization}:*', 'read', 't'),
		('everyone', '', 'room', 'home:{user}:*', 'full', 't'),
		('user', 'ada', 'room', 'acme:design:*', 'full', 't'),
		('user', 'ada', 'store', 'acme_notes', 'full', 't')`

// rig is the API on a real Postgres, behind a real listener.
type rig struct {
	*httptest.Server
	pg        *dbtest.DB
	registry  *prometheus.Registry
	log       *lockedBuffer
	keys      *session.Keyring
	providers *identity.Providers // may be nil
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func newRig(t testing.TB) *rig { return newRigWith(t, dbtest.New(t), nil) }

// newRigWith is newRig on a database without data, with identity providers.
func newRigWith(t testing.TB, pg *dbtest.DB, providers *identity.Providers) *rig {
	t.Helper()
	if _, err := pg.Pool.Exec(t.Context(), demo); err != nil {
		t.Fatal(err)
	}
	r := &rig{pg: pg, registry: prometheus.NewRegistry(), log: new(lockedBuffer), keys: newKeys(t), providers: providers}
	directory, audit := r.open(t)
	r.Server = serve(t, directory, audit, r)
	for _, user := range []string{"ada", "grace", "mallory", "eve", "a:b", "nobody"} {
		r.signIn(t, user, "", time.Hour)
	}
	r.signIn(t, "ada", "globex", time.Hour) // not hers
	return r
}

// open returns usher's connection to the database.
func (r *rig) open(t testing.TB) (*db.Directory, *db.AuditLog) {
	t.Helper()
	database, err := db.Open(secret.New(r.pg.ServiceURL))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(database.Close)
	directory, err := database.Directory(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	audit := database.StartAuditLog(db.AuditLogConfig{Replica: "test", Registry: prometheus.NewRegistry()})
	t.Cleanup(audit.Close)
	return directory, audit
}

func newKeys(t testing.TB) *session.Keyring {
	t.Helper()
	key, err := session.GenerateKey(session.EdDSA, session.KeyTimes{})
	if err != nil {
		t.Fatal(err)
	}
	return session.NewKeyring(key)
}

func newAPI(t testing.TB, directory api.Directory, audit api.Audit, r *rig) *api.API {
	t.Helper()
	issuer, err := session.NewIssuer(session.IssuerConfig{Issuer: ownURL, Keys: r.keys})
	if err != nil {
		t.Fatal(err)
	}
	credentials, err := identity.NewReader(identity.Config{Cookie: cookie})
	if err != nil {
		t.Fatal(err)
	}
	a, err := api.New(api.Config{
		URL: ownURL, Origins: []string{allowedOrigin}, Credentials: credentials, Providers: r.providers, Directory: directory, Issuer: issuer, Keys: r.keys,
		Audit: audit, Contract: usher.OpenAPI, Logger: slog.New(slog.NewJSONHandler(r.log, nil)), Registry: r.registry,
	})
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func serve(t testing.TB, directory api.Directory, audit api.Audit, r *rig) *httptest.Server {
	t.Helper()
	server := httptest.NewServer(newAPI(t, directory, audit, r))
	t.Cleanup(server.Close)
	return server
}

// token returns a session token of a user. organization may be empty.
func sessionToken(user, organization string) string {
	return "token-of-" + user + "-in-" + organization
}

func (r *rig) signIn(t testing.TB, user, organization string, ttl time.Duration) {
	t.Helper()
	hash := sha256.Sum256([]byte(sessionToken(user, organization)))
	_, err := r.pg.Pool.Exec(t.Context(), `INSERT INTO usher.sessions (token_hash, user_id, organization_id, created_at, expires_at)
		VALUES ($1, $2, nullif($3, ''), now() - interval '1 day', now() + $4)`, hash[:], user, organization, ttl)
	if err != nil {
		t.Fatal(err)
	}
}

// as returns a user's request from an allowed page.
func (r *rig) as(t testing.TB, user, body string) *http.Request {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, r.URL+"/api/auth", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Origin", allowedOrigin)
	req.AddCookie(&http.Cookie{Name: cookie, Value: sessionToken(user, "")})
	return req
}

type authResponse struct {
	Token     string
	ExpiresAt time.Time
	Partial   bool
}

func TestAuthorize(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	for name, test := range map[string]struct {
		user, body string
		patterns   string // of the audit row, which says what the token opens
		audience   string
	}{
		"a room":               {"ada", `{"room":"acme:design:1"}`, `{"rooms":{"acme:*":"read","home:ada:*":"full","acme:design:*":"full"}}`, "liveblocks"},
		"a store":              {"ada", `{"store":"acme_notes"}`, `{"stores":{"acme_notes":"full"}}`, "livestore"},
		"all":                  {"grace", `{}`, `{"rooms":{"acme:*":"read","home:grace:*":"full"}}`, "liveblocks"},
		"an audience":          {"ada", `{"audience":"livestore"}`, `{"stores":{"acme_notes":"full"}}`, "livestore"},
		"unknown names":        {"grace", `{"room":"acme:1","userId":"ada","x":{"y":[1]}}`, `{"rooms":{"acme:*":"read","home:grace:*":"full"}}`, "liveblocks"},
		"a value does not fit": {"a:b", `{}`, ``, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a := send(t, r.Server, r.as(t, test.user, test.body))
			if test.patterns == "" {
				if a.status != http.StatusForbidden {
					t.Fatalf("status = %d, want 403: %s", a.status, a.body)
				}
				var skipped int
				query := `SELECT cardinality(skipped_grants) FROM audit.denials WHERE request_id = $1`
				if err := r.pg.Pool.QueryRow(t.Context(), query, a.header.Get("X-Request-Id")).Scan(&skipped); err != nil || skipped != 1 {
					t.Errorf("the audit names %d skipped grants, %v; want 1", skipped, err)
				}
				return
			}
			if a.status != http.StatusOK {
				t.Fatalf("status = %d: %s", a.status, a.body)
			}
			var response authResponse
			if err := json.Unmarshal(a.body, &response); err != nil {
				t.Fatal(err)
			}
			verifier, err := session.NewVerifier(session.VerifierConfig{Issuer: ownURL, Audience: test.audience, Keys: publishedKeys(t, r.Server)})
			if err != nil {
				t.Fatal(err)
			}
			claims, err := verifier.Verify(t.Context(), response.Token)
			if err != nil {
				t.Fatalf("the token does not verify with the published keys: %v", err)
			}
			var row struct {
				user, patterns, audience, requestID string
				issued, expires                     time.Time
			}
			query := `SELECT user_id, patterns::text, audience, request_id, issued_at, expires_at FROM audit.tokens WHERE jti = $1`
			err = r.pg.Pool.QueryRow(t.Context(), query, claims.ID).Scan(&row.user, &row.patterns, &row.audience, &row.requestID, &row.issued, &row.expires)
			if err != nil {
				t.Fatalf("no audit row for jti %s: %v", claims.ID, err)
			}
			if row.user != test.user || row.audience != test.audience || row.requestID != a.header.Get("X-Request-Id") {
				t.Errorf("audit row = %+v", row)
			}
			if diff := cmp.Diff(canonical(t, test.patterns), canonical(t, row.patterns)); diff != "" {
				t.Errorf("patterns (-want +got):\n%s", diff)
			}
			if !row.expires.Equal(response.ExpiresAt) || row.issued.Unix() != claims.IssuedAt.Unix() {
				t.Errorf("times differ: row %s to %s, claims %s, answer %s", row.issued, row.expires, claims.IssuedAt, response.ExpiresAt)
			}
		})
	}
}

func canonical(t testing.TB, text string) (v any) {
	t.Helper()
	if err := json.Unmarshal([]byte(text), &v); err != nil {
		t.Fatalf("%v: %s", err, text)
	}
	return v
}

func publishedKeys(t testing.TB, server *httptest.Server) session.KeySource {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, server.URL+"/.well-known/jwks.json", http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	keys, err := session.ParseJWKS(send(t, server, req).body)
	if err != nil {
		t.Fatal(err)
	}
	return keys
}

// Each refusal has its status, slug and audit row, and no other row. Malformed requests
// are counted and have no row.
func TestBadInput(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.signIn(t, "grace", "expired", -time.Second)
	body := func(b string) func(*http.Request) {
		return func(req *http.Request) {
			req.Body, req.ContentLength = io.NopCloser(strings.NewReader(b)), int64(len(b))
		}
	}
	header := func(name string, values ...string) func(*http.Request) {
		return func(req *http.Request) {
			req.Header.Del(name)
			for _, v := range values {
				req.Header.Add(name, v)
			}
		}
	}
	cookies := func(values ...string) func(*http.Request) { return header("Cookie", values...) }
	ada := cookie + "=" + sessionToken("ada", "")
	long := strings.Repeat("r", 129)
	for _, test := range []struct {
		name   string
		change func(*http.Request)
		status int
		slug   string
		reason string // of the audit row; empty: no row
	}{
		{"not JSON", body(`room=acme:1`), 400, "bad_request", ""},
		{"empty", body(``), 400, "bad_request", ""},
		{"an array", body(`["acme:1"]`), 400, "bad_request", ""},
		{"cut off", body(`{"room":"acme:1"`), 400, "bad_request", ""},
		{"two values", body(`{"room":"acme:1"}{}`), 400, "bad_request", ""},
		{"a number as room", body(`{"room":1}`), 400, "bad_request", ""},
		{"a number as store", body(`{"store":[]}`), 400, "bad_request", ""},
		{"an object as audience", body(`{"audience":{}}`), 400, "bad_request", ""},
		{"an empty room", body(`{"room":""}`), 400, "bad_request", ""},
		{"an empty audience", body(`{"audience":""}`), 400, "bad_request", ""},
		{"a wildcard as room", body(`{"room":"acme:*"}`), 400, "bad_request", ""},
		{"a control character", body(`{"room":"acme:\u0007"}`), 400, "bad_request", ""},
		{"a NUL", body(`{"room":"acme:\u0000"}`), 400, "bad_request", ""},
		{"a lone surrogate", body(`{"room":"acme:\ud800"}`), 400, "bad_request", ""},
		{"invalid UTF-8", body("{\"room\":\"acme:\xff\"}"), 400, "bad_request", ""},
		{"129 units", body(`{"room":"` + long + `"}`), 400, "bad_request", ""},
		{"129 units by surrogates", body(`{"room":"` + strings.Repeat("😀", 64) + `x"}`), 400, "bad_request", ""},
		{"a store outside of LiveStore's characters", body(`{"store":"acme:notes"}`), 400, "bad_request", ""},
		{"a name twice", body(`{"room":"acme:1","room":"globex:1"}`), 400, "bad_request", ""},
		{"a name twice, in different case", body(`{"room":"acme:1","Room":"globex:1"}`), 400, "bad_request", ""},
		{"17 deep", body(strings.Repeat(`{"a":`, 17) + `1` + strings.Repeat(`}`, 17)), 400, "bad_request", ""},
		{"an unlisted audience", body(`{"room":"acme:1","audience":"evil"}`), 400, "bad_request", ""},
		{"an audience of the other kind", body(`{"room":"acme:1","audience":"livestore"}`), 400, "bad_request", ""},
		{"room and store of two backends", body(`{"room":"acme:1","store":"acme_notes"}`), 400, "bad_request", ""},
		{"a credential in the URL", func(req *http.Request) { req.URL.RawQuery = "access_token=canary" }, 400, "bad_request", ""},
		{"64 KiB and a byte", body(`{"x":"` + strings.Repeat("x", 64<<10-7) + `"}`), 413, "payload_too_large", ""},
		{"no content type", header("Content-Type"), 415, "unsupported_media_type", ""},
		{"a form's content type", header("Content-Type", "text/plain"), 415, "unsupported_media_type", ""},
		{"another charset", header("Content-Type", "application/json; charset=latin1"), 415, "unsupported_media_type", ""},
		{"two content types", header("Content-Type", "application/json", "text/plain"), 415, "unsupported_media_type", ""},
		{"GET", func(req *http.Request) { req.Method, req.Body, req.ContentLength = http.MethodGet, nil, 0 }, 405, "method_not_allowed", ""},
		{"PUT", func(req *http.Request) { req.Method = http.MethodPut }, 405, "method_not_allowed", ""},
		{"OPTIONS that is not a preflight", func(req *http.Request) { req.Method = http.MethodOptions }, 405, "method_not_allowed", ""},
		{"no such route", func(req *http.Request) { req.URL.Path = "/api/auth/x" }, 404, "not_found", ""},
		{"a doubled slash", func(req *http.Request) { req.URL.Path = "//api/auth" }, 404, "not_found", ""},

		{"no cookie", cookies(), 401, "unauthorized", "no_credential"},
		{"another cookie", cookies("SID=x"), 401, "unauthorized", "no_credential"},
		{"the name in another case", cookies("Usher_session=x"), 401, "unauthorized", "no_credential"},
		{"a foreign cookie", cookies(cookie + "=nobody-knows-this"), 401, "unauthorized", "session_unknown"},
		{"an empty cookie", cookies(cookie + "="), 401, "unauthorized", "bad_cookie"},
		{"a cookie that only Auth.js can read", cookies(cookie + "=eyJhbGciOiJkaXIifQ..aXY.Y2lwaGVy.dGFn"), 401, "unauthorized", "encrypted_cookie"},
		{"two, one of them with a prefix", cookies(ada + "; __Secure-" + ada), 401, "unauthorized", "duplicate_cookie"},
		{"an expired session", cookies(cookie + "=" + sessionToken("grace", "expired")), 401, "unauthorized", "session_expired"},
		{"two cookies of the name", cookies(ada + "; " + cookie + "=other"), 401, "unauthorized", "duplicate_cookie"},
		{"two Cookie headers", cookies(ada, cookie+"=other"), 401, "unauthorized", "duplicate_cookie"},
		{"a bearer beside a good cookie", header("Authorization", "Bearer abc"), 401, "unauthorized", "bad_api_key"},

		{"a foreign origin", header("Origin", "https://evil.example"), 403, "forbidden", "origin_not_allowed"},
		{"no origin at all", header("Origin"), 403, "forbidden", "origin_not_allowed"},
		{"the null origin", header("Origin", "null"), 403, "forbidden", "origin_not_allowed"},
		{"a suffix of ours", header("Origin", "https://app.example.com.evil.test"), 403, "forbidden", "origin_not_allowed"},
		{"a prefix of ours", header("Origin", "https://evilapp.example.com"), 403, "forbidden", "origin_not_allowed"},
		{"http of an https origin", header("Origin", "http://app.example.com"), 403, "forbidden", "origin_not_allowed"},
		{"another port", header("Origin", "https://app.example.com:8443"), 403, "forbidden", "origin_not_allowed"},
		{"upper case", header("Origin", "https://APP.example.com"), 403, "forbidden", "origin_not_allowed"},
		{"a trailing dot", header("Origin", "https://app.example.com."), 403, "forbidden", "origin_not_allowed"},
		{"two origins", header("Origin", allowedOrigin, "https://evil.example"), 403, "forbidden", "origin_not_allowed"},
		{"a sibling site", func(req *http.Request) { header("Origin")(req); header("Sec-Fetch-Site", "same-site")(req) }, 403, "forbidden", "origin_not_allowed"},
		{"a disabled user", cookies(cookie + "=" + sessionToken("eve", "")), 403, "forbidden", "user_disabled"},
		{"a room without a grant", body(`{"room":"globex:1"}`), 403, "forbidden", "no_grant"},
		{"a store without a grant", body(`{"store":"globex_notes"}`), 403, "forbidden", "no_grant"},
		{"an organization that is not hers", func(req *http.Request) {
			cookies(cookie + "=" + sessionToken("ada", "globex"))(req)
			body(`{"room":"acme:1"}`)(req)
		}, 403, "forbidden", "no_grant"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			req := r.as(t, "ada", `{"room":"acme:design:1"}`)
			test.change(req)
			a := send(t, r.Server, req)
			p := a.problem(t)
			if a.status != test.status || p.Error != test.slug {
				t.Fatalf("answer = %d %s, want %d %s", a.status, a.body, test.status, test.slug)
			}
			if got := a.header.Get("Cache-Control"); got != "no-store" {
				t.Errorf("Cache-Control = %q", got)
			}
			var reasons []string
			if err := r.pg.Pool.QueryRow(t.Context(), `SELECT coalesce(array_agg(reason), '{}') FROM audit.denials WHERE request_id = $1`, p.RequestID).Scan(&reasons); err != nil {
				t.Fatal(err)
			}
			if got := strings.Join(reasons, ","); got != test.reason {
				t.Errorf("audit rows = %q, want %q", got, test.reason)
			}
			if counted := r.counted(t, test.status); counted < 1 {
				t.Errorf("usher_http_requests_total counts %v answers of %d", counted, test.status)
			}
			if strings.Contains(r.log.String(), "canary") {
				t.Error("the log repeats a credential")
			}
		})
	}
	var tokens int
	if err := r.pg.Pool.QueryRow(t.Context(), `SELECT count(*) FROM audit.tokens`).Scan(&tokens); err != nil || tokens != 0 {
		t.Errorf("bad input was given %d tokens, %v", tokens, err)
	}
}

// counted returns the number of answers with a status, from the metrics.
func (r *rig) counted(t testing.TB, status int) (n float64) {
	t.Helper()
	families, err := r.registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			for _, l := range m.GetLabel() {
				if f.GetName() == "usher_http_requests_total" && l.GetName() == "status" && l.GetValue() == fmt.Sprint(status) {
					n += m.GetCounter().GetValue()
				}
			}
		}
	}
	return n
}

// The answers to a wrong, an unknown and an expired session are the same (OWASP ASVS
// 6.3.8).
func TestSessionsCannotBeProbed(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	r.signIn(t, "grace", "expired", -time.Second)
	shape := func(value string) string {
		req := r.as(t, "ada", `{}`)
		req.Header.Set("Cookie", cookie+"="+value)
		a := send(t, r.Server, req)
		p := a.problem(t)
		for _, varies := range []string{"Date", "X-Request-Id"} {
			a.header.Del(varies)
		}
		return fmt.Sprint(a.status, p.Error, p.Reason, a.header)
	}
	expired := shape(sessionToken("grace", "expired"))
	for _, value := range []string{"unknown", "x", strings.Repeat("y", 5_000)} {
		if got := shape(value); got != expired {
			t.Errorf("a wrong session answers\n%s\nan expired one\n%s", got, expired)
		}
	}
}

func TestSameOriginBySecFetchSite(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	for name, change := range map[string]func(http.Header){
		"Sec-Fetch-Site alone": func(h http.Header) { h.Del("Origin"); h.Set("Sec-Fetch-Site", "same-origin") },
		"its own origin":       func(h http.Header) { h.Set("Origin", ownURL) },
	} {
		req := r.as(t, "ada", `{}`)
		change(req.Header)
		if a := send(t, r.Server, req); a.status != http.StatusOK {
			t.Errorf("%s: %d %s", name, a.status, a.body)
		}
	}
}

func TestCORS(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	preflight := func(origin string) answer {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodOptions, r.URL+"/api/auth", http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Origin", origin)
		req.Header.Set("Access-Control-Request-Method", "POST")
		req.Header.Set("Access-Control-Request-Headers", "content-type")
		return send(t, r.Server, req)
	}
	good := preflight(allowedOrigin)
	if good.status != 204 || good.header.Get("Access-Control-Allow-Origin") != allowedOrigin || good.header.Get("Access-Control-Allow-Credentials") != "true" {
		t.Errorf("preflight of a listed origin: %d %v", good.status, good.header)
	}
	for _, origin := range []string{"https://evil.example", "null", allowedOrigin + ".evil.test", "http://app.example.com", "https://APP.example.com", ""} {
		bad := preflight(origin)
		if bad.header.Get("Access-Control-Allow-Origin") != "" || bad.header.Get("Access-Control-Allow-Credentials") != "" {
			t.Errorf("preflight of %q: %v", origin, bad.header)
		}
	}
	for _, origin := range []string{allowedOrigin, "https://evil.example"} {
		req := r.as(t, "ada", `{}`)
		req.Header.Set("Origin", origin)
		a := send(t, r.Server, req)
		if want := map[bool]string{true: origin}[origin == allowedOrigin]; a.header.Get("Access-Control-Allow-Origin") != want {
			t.Errorf("%s: Access-Control-Allow-Origin = %q, want %q", origin, a.header.Get("Access-Control-Allow-Origin"), want)
		}
		if !strings.Contains(strings.Join(a.header.Values("Vary"), ","), "Origin") {
			t.Errorf("%s: Vary = %q, want Origin in it", origin, a.header.Values("Vary"))
		}
	}
}

func TestPublicFiles(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	for path, contentType := range map[string]string{"/.well-known/jwks.json": "application/jwk-set+json", "/openapi.yaml": "application/yaml"} {
		get := func(etag string) answer {
			req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, r.URL+path, http.NoBody)
			if err != nil {
				t.Fatal(err)
			}
			if etag != "" {
				req.Header.Set("If-None-Match", etag)
			}
			return send(t, r.Server, req)
		}
		first := get("")
		if first.status != 200 || first.header.Get("Content-Type") != contentType || first.header.Get("Cache-Control") != "public, max-age=300" {
			t.Errorf("%s: %d %v", path, first.status, first.header)
		}
		if again := get(first.header.Get("ETag")); again.status != 304 || len(again.body) != 0 {
			t.Errorf("%s with its ETag: %d, %d bytes; want 304", path, again.status, len(again.body))
		}
		if other := get(`"other"`); other.status != 200 {
			t.Errorf("%s with another ETag: %d", path, other.status)
		}
	}
	req, _ := http.NewRequestWithContext(t.Context(), http.MethodGet, r.URL+"/.well-known/jwks.json", http.NoBody)
	if got := send(t, r.Server, req).header.Get("Access-Control-Allow-Origin"); got != "*" {
		t.Errorf("keys: Access-Control-Allow-Origin = %q, want *", got)
	}
}

// fake replaces the database in tests where it must fail or count.
type fake struct {
	lookUp func() (*principal.Principal, error)
	record func(context.Context, *audit.Decision) error
}

func (f *fake) PrincipalBySession(context.Context, secret.Text) (*principal.Principal, error) {
	return f.lookUp()
}

func (f *fake) PrincipalByUser(context.Context, string, string) (*principal.Principal, error) {
	return f.lookUp()
}

func (f *fake) PrincipalByAPIKey(context.Context, string, [sha256.Size]byte, string, string) (*principal.APIKey, *principal.Principal, error) {
	return nil, nil, principal.ErrAPIKeyUnknown
}

func (f *fake) PrincipalByClaims(context.Context, *principal.ProviderClaims) (*principal.Principal, error) {
	return f.lookUp()
}
func (f *fake) Record(ctx context.Context, d *audit.Decision) error { return f.record(ctx, d) }

func newFake(t testing.TB) *api.API {
	t.Helper()
	f := new(fake)
	return newAPI(t, f, f, &rig{registry: prometheus.NewRegistry(), log: new(lockedBuffer), keys: newKeys(t)})
}

// A fault is answered with 503 and Retry-After, never with a refusal. Neither a token nor
// a refusal is sent without its row.
func TestFaults(t *testing.T) {
	t.Parallel()
	everything, err := permissions.ParseTemplate(permissions.RoomKind, "*")
	if err != nil {
		t.Fatal(err)
	}
	ada := func() (*principal.Principal, error) {
		return &principal.Principal{
			At: time.Now(), Known: true, User: session.User{ID: "ada"},
			Grants: []principal.Grant{{SubjectKind: "everyone", Template: everything, Access: 2}},
		}, nil
	}
	down := fmt.Errorf("test: %w", principal.ErrUnavailable)
	recorded := func(context.Context, *audit.Decision) error { return nil }
	for name, test := range map[string]struct {
		fake   fake
		room   string
		status int
	}{
		"all is well":                {fake{ada, recorded}, "r", 200},
		"the look-up fails":          {fake{func() (*principal.Principal, error) { return nil, down }, recorded}, "r", 503},
		"the row of a token fails":   {fake{ada, func(context.Context, *audit.Decision) error { return down }}, "r", 503},
		"the row of a refusal fails": {fake{func() (*principal.Principal, error) { return nil, principal.ErrSessionUnknown }, func(context.Context, *audit.Decision) error { return down }}, "r", 503},
		"the row never comes": {fake{ada, func(ctx context.Context, _ *audit.Decision) error {
			if deadline, ok := ctx.Deadline(); !ok || time.Until(deadline) > 2*time.Second {
				return errors.New("the row has more than 2 s")
			}
			<-ctx.Done()
			return errors.Join(down, ctx.Err())
		}}, "r", 503},
		"an unknown error": {fake{func() (*principal.Principal, error) { return nil, errors.New("canary") }, recorded}, "r", 500},
		"a panic":          {fake{func() (*principal.Principal, error) { panic("canary") }, recorded}, "r", 500},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := &rig{registry: prometheus.NewRegistry(), log: new(lockedBuffer), keys: newKeys(t)}
			r.Server = serve(t, &test.fake, &test.fake, r)
			a := send(t, r.Server, r.as(t, "ada", fmt.Sprintf(`{"room":%q}`, test.room)))
			if a.status != test.status {
				t.Fatalf("status = %d, want %d: %s", a.status, test.status, a.body)
			}
			if bytes.Contains(a.body, []byte("canary")) {
				t.Errorf("the answer says what went wrong inside: %s", a.body)
			}
			if a.status != 200 && bytes.Contains(a.body, []byte("eyJ")) {
				t.Errorf("a token left: %s", a.body)
			}
			if a.status == 200 {
				return
			}
			if p := a.problem(t); a.status == 503 && (p.Error != "unavailable" || a.header.Get("Retry-After") == "") {
				t.Errorf("answer = %s, Retry-After %q", a.body, a.header.Get("Retry-After"))
			}
		})
	}
}

// If too many requests wait for the database, further requests are refused at once.
func TestOverload(t *testing.T) {
	t.Parallel()
	release, entered := make(chan struct{}), make(chan struct{}, 2_000)
	f := &fake{
		lookUp: func() (*principal.Principal, error) {
			entered <- struct{}{}
			<-release
			return nil, principal.ErrSessionUnknown
		},
		record: func(context.Context, *audit.Decision) error { return nil },
	}
	handler := newAPI(t, f, f, &rig{registry: prometheus.NewRegistry(), log: new(lockedBuffer), keys: newKeys(t)})
	call := func() int {
		w := httptest.NewRecorder()
		r := httptest.NewRequest(http.MethodPost, "/api/auth", strings.NewReader(`{}`))
		r.Header.Set("Content-Type", "application/json")
		r.Header.Set("Origin", allowedOrigin)
		r.AddCookie(&http.Cookie{Name: cookie, Value: "x"})
		handler.ServeHTTP(w, r)
		return w.Code
	}
	const inFlight = 1_024
	statuses := make(chan int, inFlight)
	for range inFlight {
		go func() { statuses <- call() }()
	}
	for range inFlight {
		<-entered
	}
	if got := call(); got != http.StatusServiceUnavailable {
		t.Errorf("request %d in flight = %d, want 503", inFlight+1, got)
	}
	close(release)
	for range inFlight {
		if got := <-statuses; got != http.StatusUnauthorized {
			t.Errorf("a request that was let in = %d, want 401", got)
		}
	}
}

// Raw bytes that net/http must refuse before any handler runs (CVE-2025-22871
// and its class).
func TestRequestSmuggling(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	for name, raw := range map[string]string{
		"two lengths": "POST /api/auth HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n{}x",
		"odd coding":  "POST /api/auth HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n",
	} {
		conn, err := net.Dial("tcp", r.Listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
		if _, err := io.WriteString(conn, raw); err != nil {
			t.Fatal(err)
		}
		response, _ := io.ReadAll(conn)
		_ = conn.Close()
		if n := bytes.Count(response, []byte("HTTP/1.1 ")); n != 1 || bytes.Contains(response, []byte(" 200 ")) {
			t.Errorf("%s: answered %q, want one refusal and the end", name, response)
		}
	}
}

func TestNewReportsEveryFault(t *testing.T) {
	t.Parallel()
	_, err := api.New(api.Config{URL: "auth.example.com", Origins: []string{"https://app.example.com/", "*", "https://APP.example.com", "null"}, Limits: api.Limits{APIKey: -1}})
	if err == nil {
		t.Fatal("New accepted a bad config")
	}
	for _, fault := range []string{`"auth.example.com"`, `"https://app.example.com/"`, `"*"`, `"https://APP.example.com"`, `"null"`, "required", "negative"} {
		if !strings.Contains(err.Error(), fault) {
			t.Errorf("error %q does not name %s", err, fault)
		}
	}
}
