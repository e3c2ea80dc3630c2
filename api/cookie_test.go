package api_test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/usher-auth/usher/api"
	"github.com/usher-auth/usher/internal/identity"
	"github.com/usher-auth/usher/internal/principal"
	"github.com/usher-auth/usher/permissions"
	"github.com/usher-auth/usher/session"
)

func withDomain(cfg *api.Config, _ *identity.Config) { cfg.TokenCookieDomain = "example.com" }

func setCookie(t testing.TB, a answer) *http.Cookie {
	t.Helper()
	lines := a.header.Values("Set-Cookie")
	if len(lines) != 1 {
		t.Fatalf("%d %s sets %d cookies, want one", a.status, a.body, len(lines))
	}
	c, err := http.ParseSetCookie(lines[0])
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// ends reports whether an answer makes browsers delete the token's cookie.
func ends(t testing.TB, a answer, want http.Cookie) bool {
	t.Helper()
	c := setCookie(t, a)
	c.Raw = ""
	want.Value, want.MaxAge = "", -1
	return c.String() == want.String()
}

func TestCookieMode(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		change func(*api.Config, *identity.Config)
		want   http.Cookie // its attributes
	}{
		"of one host":   {nil, http.Cookie{Name: "__Host-usher", Path: "/", HttpOnly: true, Secure: true, SameSite: http.SameSiteLaxMode}},
		"of one domain": {withDomain, http.Cookie{Name: "__Secure-usher", Path: "/", Domain: "example.com", HttpOnly: true, Secure: true, SameSite: http.SameSiteLaxMode}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newWeb(t, test.change)
			before := time.Now()
			a := s.ask(t, http.MethodPost, "/api/auth?mode=cookie", `{"store":"acme_notes"}`, nil)
			_, rows := s.seen()
			if a.status != http.StatusOK || len(rows) != 1 {
				t.Fatalf("%d %s, %d rows", a.status, a.body, len(rows))
			}
			c := setCookie(t, a)
			token := rows[0].Token
			if payload, err := base64.RawURLEncoding.DecodeString(strings.Split(c.Value, ".")[1]); err != nil || !bytes.Contains(payload, []byte(`"jti":"`+token.ID+`"`)) {
				t.Error("the cookie does not hold the token on record")
			}
			if bytes.Contains(a.body, []byte(c.Value)) || strings.Contains(s.log.String(), c.Value) {
				t.Error("the token is in the answer or in the log")
			}
			var body struct{ ExpiresAt time.Time }
			if err := json.Unmarshal(a.body, &body); err != nil || !body.ExpiresAt.Equal(token.ExpiresAt) {
				t.Errorf("answer = %s, %v; want the token's end %s", a.body, err, token.ExpiresAt)
			}
			if left := body.ExpiresAt.Sub(before) - time.Duration(c.MaxAge)*time.Second; left < -time.Second || left > 30*time.Second {
				t.Errorf("Max-Age = %d, and the token ends in %s", c.MaxAge, body.ExpiresAt.Sub(before))
			}
			want := test.want
			want.Value, want.MaxAge = c.Value, c.MaxAge
			if c.Raw = ""; c.String() != want.String() {
				t.Errorf("Set-Cookie: %s\nwant        %s", c, &want)
			}
			if out := s.ask(t, http.MethodDelete, "/api/auth", "", set("Cookie", "")); out.status != 204 || len(out.body) > 0 || !ends(t, out, test.want) {
				t.Errorf("sign-out: %d %s %q", out.status, out.body, out.header.Values("Set-Cookie"))
			}
			if asked, rows := s.seen(); len(asked)+len(rows) > 0 {
				t.Errorf("a sign-out asked for %q and recorded %d rows", asked, len(rows))
			}
			for reason, value := range map[string]string{"session_unknown": "unknown", "bad_cookie": ""} {
				a := s.ask(t, http.MethodPost, "/api/auth?mode=cookie", `{"store":"acme_notes"}`, set("Cookie", cookie+"="+value))
				if a.status != 401 || !ends(t, a, test.want) {
					t.Errorf("%s: %d %q, want a 401 that ends the cookie", reason, a.status, a.header.Values("Set-Cookie"))
				}
			}
		})
	}
}

// A request that may not get a cookie gets no cookie, and the answer says why.
func TestCookieModeRefuses(t *testing.T) {
	t.Parallel()
	s := newWeb(t, behindProxy)
	key := newTestKey(t)
	for name, test := range map[string]struct {
		query, body string
		change      []string
		status      int
		reason      string
	}{
		"a good one":                   {"?mode=cookie", `{"store":"a"}`, nil, 200, ""},
		"by its audience":              {"?mode=cookie", `{"audience":"livestore"}`, nil, 200, ""},
		"of a proxy's user":            {"?mode=cookie", `{"store":"a"}`, []string{"Cookie", "", "X-Auth-Request-User", "ada"}, 200, ""},
		"of the same origin":           {"?mode=cookie", `{"store":"a"}`, []string{"Origin", "", "Sec-Fetch-Site", "same-origin"}, 200, ""},
		"of the same site":             {"?mode=cookie", `{"store":"a"}`, []string{"Sec-Fetch-Site", "same-site"}, 200, ""},
		"beside other parameters":      {"?a=b&mode=cookie", `{"store":"a"}`, nil, 200, ""},
		"another mode":                 {"?mode=token", `{"store":"a"}`, nil, 400, "The only value of mode is cookie"},
		"in another case":              {"?mode=Cookie", `{"store":"a"}`, nil, 400, "The only value of mode is cookie"},
		"an empty mode":                {"?mode=", `{"store":"a"}`, nil, 400, "The only value of mode is cookie"},
		"a mode without value":         {"?mode", `{"store":"a"}`, nil, 400, "The only value of mode is cookie"},
		"two modes":                    {"?mode=cookie&mode=cookie", `{"store":"a"}`, nil, 400, "The only value of mode is cookie"},
		"a query that is not valid":    {"?mode=cookie;x=%zz", `{"store":"a"}`, nil, 400, "is not valid"},
		"a room":                       {"?mode=cookie", `{"room":"a"}`, nil, 400, "only a token for stores"},
		"no audience of stores":        {"?mode=cookie", `{}`, nil, 400, "only a token for stores"},
		"a room and a store":           {"?mode=cookie", `{"room":"a","store":"a"}`, nil, 400, "two requests"},
		"no such audience":             {"?mode=cookie", `{"audience":"x"}`, nil, 400, "audience must be one of"},
		"a page of another site":       {"?mode=cookie", `{"store":"a"}`, []string{"Sec-Fetch-Site", "cross-site"}, 400, "on a different site"},
		"an API key":                   {"?mode=cookie", `{"store":"a","userId":"ada"}`, []string{"Authorization", "Bearer " + key, "Origin", "", "Cookie", ""}, 400, "leave out mode=cookie"},
		"a foreign page":               {"?mode=cookie", `{"store":"a"}`, []string{"Origin", foreignOrigin}, 403, "Pages of the origin"},
		"who is not in the directory":  {"?mode=cookie", `{"store":"a"}`, []string{"X-Auth-Request-User", "nobody"}, 403, "does not list"},
		"a 401 of another mode":        {"", `{"store":"a"}`, []string{"Cookie", ""}, 401, "signed in"},
		"a form that plays a sign-out": {"?mode=cookie", `{}`, []string{"Content-Type", "text/plain", "Cookie", ""}, 415, "application/json"},
	} {
		a := s.ask(t, http.MethodPost, "/api/auth"+test.query, test.body, set(test.change...))
		asked, _ := s.seen()
		if a.status != test.status || (len(a.header.Values("Set-Cookie")) == 1) != (test.status == 200) {
			t.Errorf("%s: %d %s, Set-Cookie %q; want %d", name, a.status, a.body, a.header.Values("Set-Cookie"), test.status)
		}
		if test.status != 200 && !strings.Contains(a.problem(t).Reason, test.reason) {
			t.Errorf("%s: %s, want %q in it", name, a.body, test.reason)
		}
		if (test.status == 400 || test.status == 415) && len(asked) > 0 {
			t.Errorf("%s: asked for %q", name, asked)
		}
	}
	s.mu.Lock()
	s.broken = true
	s.mu.Unlock()
	if a := s.ask(t, http.MethodPost, "/api/auth?mode=cookie", `{"store":"a"}`, nil); a.status != 503 || len(a.header.Values("Set-Cookie")) > 0 {
		t.Errorf("a fault: %d, Set-Cookie %q; want 503 and none", a.status, a.header.Values("Set-Cookie"))
	}
}

// The cookie expires with the session. It is never a cookie without an expiry.
func TestCookieEndsWithTheSession(t *testing.T) {
	t.Parallel()
	s := newWeb(t, nil)
	for _, left := range []time.Duration{90 * time.Second, 30 * time.Second} {
		s.mu.Lock()
		s.until = time.Now().Add(left)
		s.mu.Unlock()
		a := s.ask(t, http.MethodPost, "/api/auth?mode=cookie", `{"store":"a"}`, nil)
		if c := setCookie(t, a); c.MaxAge < 1 || time.Duration(c.MaxAge)*time.Second > left {
			t.Errorf("Max-Age = %d of a session that ends in %s", c.MaxAge, left)
		}
	}
}

// Browsers keep 4,096 bytes. The cookie with the largest token for stores fits, including
// its attributes.
func TestCookieFits(t *testing.T) {
	t.Parallel()
	worst := strings.Repeat("\u2028", 128) // each one six bytes in JSON
	var grants []principal.Grant
	for i := range 40 {
		store, err := permissions.ParseTemplate(permissions.StoreKind, fmt.Sprintf("%02d", i)+strings.Repeat("s", 126))
		if err != nil {
			t.Fatal(err)
		}
		grants = append(grants, principal.Grant{SubjectKind: "everyone", Template: store, Access: 2})
	}
	f := &fake{func() (*principal.Principal, error) {
		user := session.User{ID: worst, Organization: worst, Session: strings.Repeat("s", 22)}
		return &principal.Principal{At: time.Now(), Known: true, User: user, Grants: grants}, nil
	}, nil}
	s := newWeb(t, func(cfg *api.Config, _ *identity.Config) { cfg.TokenCookieDomain, cfg.Directory = "example.com", f })
	a := s.ask(t, http.MethodPost, "/api/auth?mode=cookie", `{"audience":"livestore"}`, nil)
	if got := len(a.header.Get("Set-Cookie")); a.status != 200 || got < 2_500 || got > 4_096 || !strings.Contains(string(a.body), `"partial":true`) {
		t.Errorf("%d %s: Set-Cookie of %d bytes, want at most 4,096", a.status, a.body, got)
	}
}

func TestNewRefusesCookieDomains(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct{ url, domain, want string }{
		"a parent":             {"https://auth.example.com", "example.com", ""},
		"a grandparent":        {"https://auth.eu.example.co.uk:8443", "example.co.uk", ""},
		"the host itself":      {"https://example.com", "example.com", ""},
		"a private name":       {"https://auth.corp.internal", "corp.internal", ""},
		"on this machine":      {"http://auth.usher.localhost:8080", "usher.localhost", ""},
		"another domain":       {"https://auth.example.com", "example.org", "not a parent"},
		"a child":              {"https://example.com", "auth.example.com", "not a parent"},
		"a suffix of a label":  {"https://auth.example.com", "ample.com", "not a parent"},
		"a dot before":         {"https://auth.example.com", ".example.com", "without a dot"},
		"a dot after":          {"https://auth.example.com", "example.com.", "without a dot"},
		"upper case":           {"https://auth.example.com", "Example.com", "lower case"},
		"more attributes":      {"https://auth.example.com", "example.com; path=/x", "not a parent"},
		"a top-level domain":   {"https://auth.example.com", "com", "public suffix"},
		"a public suffix":      {"https://auth.example.co.uk", "co.uk", "public suffix"},
		"one of private hosts": {"https://usher.github.io", "github.io", "public suffix"},
		"localhost":            {"http://localhost:8080", "localhost", "public suffix"},
		"an address":           {"http://127.0.0.1:8080", "127.0.0.1", "is an IP address"},
		"an IPv6 address":      {"http://[::1]:8080", "::1", "is an IP address"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cfg := newWeb(t, nil).cfg
			cfg.Registry = prometheus.NewRegistry()
			cfg.URL, cfg.TokenCookieDomain = test.url, test.domain
			_, err := api.New(cfg)
			if (err == nil) != (test.want == "") || err != nil && !strings.Contains(err.Error(), test.want) {
				t.Errorf("New() error = %v, want %q", err, test.want)
			}
		})
	}
}
