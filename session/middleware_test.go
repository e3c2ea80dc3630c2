package session_test

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/usher-auth/usher/session"
)

func TestMiddleware(t *testing.T) {
	t.Parallel()
	f := edForger("ed")
	keys := keySet(t, f)
	token, expired := f.token(claims()), f.token(claims("iat", "1799990000", "exp", "1799990300"))
	down := keyFunc(func(context.Context, string) (session.JWK, error) { return session.JWK{}, session.ErrKeysUnavailable })

	for _, tt := range []struct {
		name   string
		keys   session.KeySource
		cookie string // the configured name
		target string
		header http.Header
		status int
		code   string // in the log
	}{
		{"header", keys, "", "/", http.Header{"Authorization": {"Bearer " + token}}, 200, ""},
		{"scheme in another case", keys, "", "/", http.Header{"Authorization": {"bearer " + token}}, 200, ""},
		{"cookie", keys, "usher", "/", http.Header{"Cookie": {"a=b; usher=" + token}, "Origin": {"https://app.example.com"}}, 200, ""},
		{"cookie, of the same origin", keys, "usher", "/", http.Header{"Cookie": {"usher=" + token}, "Sec-Fetch-Site": {"same-origin"}}, 200, ""},
		{"header of any page", keys, "usher", "/", http.Header{"Authorization": {"Bearer " + token}, "Origin": {"https://evil.example"}}, 200, ""},
		{"header before cookie", keys, "usher", "/", http.Header{"Authorization": {"Bearer " + token}, "Cookie": {"usher=x"}}, 200, ""},

		{"nothing", keys, "", "/", nil, 401, "no token"},
		{"nothing, cookie configured", keys, "usher", "/", nil, 401, "no token"},
		{"cookie not configured", keys, "", "/", http.Header{"Cookie": {"usher=" + token}}, 401, "no token"},
		{"another cookie", keys, "usher", "/", http.Header{"Cookie": {"Usher=" + token}}, 401, "no token"},
		{"in the URL", keys, "", "/?token=" + token + "&access_token=" + token, nil, 401, "no token"},
		{"in the URL, cookie configured", keys, "usher", "/?usher=" + token, nil, 401, "no token"},
		{"bad header does not fall through", keys, "usher", "/", http.Header{"Authorization": {"Bearer x"}, "Cookie": {"usher=" + token}}, 401, "token_malformed"},
		{"empty header does not fall through", keys, "usher", "/", http.Header{"Authorization": {""}, "Cookie": {"usher=" + token}}, 401, "no token"},
		{"other scheme does not fall through", keys, "usher", "/", http.Header{"Authorization": {"Basic eDp5"}, "Cookie": {"usher=" + token}}, 401, "no token"},
		{"no scheme", keys, "", "/", http.Header{"Authorization": {token}}, 401, "no token"},
		{"two blanks", keys, "", "/", http.Header{"Authorization": {"Bearer  " + token}}, 401, "token_malformed"},
		{"two headers", keys, "", "/", http.Header{"Authorization": {"Bearer " + token, "Bearer " + token}}, 401, "two tokens"},
		{"two cookies", keys, "usher", "/", http.Header{"Cookie": {"usher=" + token + "; usher=" + token}}, 401, "two tokens"},
		{"two cookies in two headers", keys, "usher", "/", http.Header{"Cookie": {"usher=" + token, "usher=x"}}, 401, "two tokens"},
		{"empty cookie", keys, "usher", "/", http.Header{"Cookie": {"usher="}, "Origin": {"https://app.example.com"}}, 401, "token_malformed"},
		{"cookie, of a foreign page", keys, "usher", "/", http.Header{"Cookie": {"usher=" + token}, "Origin": {"https://evil.example"}}, 403, "may not use"},
		{"cookie, of a longer origin", keys, "usher", "/", http.Header{"Cookie": {"usher=" + token}, "Origin": {"https://app.example.com.evil.test"}}, 403, "may not use"},
		{"cookie, of http", keys, "usher", "/", http.Header{"Cookie": {"usher=" + token}, "Origin": {"http://app.example.com"}}, 403, "may not use"},
		{"cookie, of no origin", keys, "usher", "/", http.Header{"Cookie": {"usher=" + token}, "Origin": {"null"}}, 403, "may not use"},
		{"cookie, of two origins", keys, "usher", "/", http.Header{"Cookie": {"usher=" + token}, "Origin": {"https://app.example.com", "https://evil.example"}}, 403, "may not use"},
		{"cookie, of the same site", keys, "usher", "/", http.Header{"Cookie": {"usher=" + token}, "Sec-Fetch-Site": {"same-site"}}, 403, "may not use"},
		{"cookie, of who does not say", keys, "usher", "/", http.Header{"Cookie": {"usher=" + token}}, 403, "may not use"},
		{"cookie, bad and foreign", keys, "usher", "/", http.Header{"Cookie": {"usher=x"}, "Origin": {"https://evil.example"}}, 403, "may not use"},
		{"expired", keys, "", "/", http.Header{"Authorization": {"Bearer " + expired}}, 401, "token_expired"},
		{"forged", keys, "", "/", http.Header{"Authorization": {"Bearer " + otherSignature(token)}}, 401, "signature_invalid"},
		{"keys down", down, "", "/", http.Header{"Authorization": {"Bearer " + token}}, 503, "unavailable"},
		{"keys down, and no token", down, "", "/", nil, 401, "no token"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			var log bytes.Buffer
			served := false
			handler := newVerifier(t, session.VerifierConfig{Keys: tt.keys}).Middleware(session.MiddlewareConfig{
				Cookie: tt.cookie, Origins: []string{"https://app.example.com"}, Logger: slog.New(slog.NewJSONHandler(&log, nil)),
			})(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
				c, ok := session.ClaimsFromContext(r.Context())
				served = ok && c.Subject == "user_1"
			}))
			r := httptest.NewRequest(http.MethodGet, tt.target, nil)
			r.Header = tt.header
			w := httptest.NewRecorder()
			handler.ServeHTTP(w, r)
			if w.Code != tt.status || served != (tt.status == 200) {
				t.Fatalf("got %d, served %t; want %d", w.Code, served, tt.status)
			}
			if tt.status == 200 {
				if log.Len() > 0 {
					t.Errorf("logged %s", log.String())
				}
				return
			}
			var body map[string]string
			if err := json.Unmarshal(w.Body.Bytes(), &body); err != nil {
				t.Fatalf("body %s: %v", w.Body, err)
			}
			want := map[string]string{"error": "unauthorized", "reason": "The request has no valid token.", "requestId": body["requestId"]}
			retry, challenge := "", "Bearer"
			switch {
			case tt.status == 503:
				want["error"], want["reason"] = "unavailable", "Tokens cannot be verified at the moment. Try again."
				retry, challenge = "5", ""
			case tt.status == 403:
				want["error"], want["reason"] = "forbidden", "Pages of this origin may not use the user's cookie."
				challenge = ""
			case !strings.Contains(tt.code, " token"):
				challenge = `Bearer error="invalid_token"`
			}
			if diff := cmp.Diff(want, body); diff != "" {
				t.Errorf("body (-want +got):\n%s", diff)
			}
			for name, value := range map[string]string{
				"Content-Type": "application/json", "Cache-Control": "no-store", "Retry-After": retry, "WWW-Authenticate": challenge,
			} {
				if got := w.Header().Get(name); got != value {
					t.Errorf("%s: got %q, want %q", name, got, value)
				}
			}
			var line map[string]any
			if err := json.Unmarshal(log.Bytes(), &line); err != nil {
				t.Fatalf("log %s: %v", log.String(), err)
			}
			if message, _ := line["error"].(string); !strings.Contains(message, tt.code) || line["request_id"] != body["requestId"] || body["requestId"] == "" {
				t.Errorf("logged %s, want %q and the request's id %s", log.String(), tt.code, body["requestId"])
			}
			if strings.Contains(log.String(), token[:40]) {
				t.Errorf("the log shows the token: %s", log.String())
			}
		})
	}
}

// Without a logger, on a real server.
func TestMiddlewareServes(t *testing.T) {
	t.Parallel()
	f := edForger("ed")
	middleware := newVerifier(t, session.VerifierConfig{Keys: keySet(t, f)}).Middleware(session.MiddlewareConfig{})
	server := httptest.NewServer(middleware(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c, _ := session.ClaimsFromContext(r.Context())
		_, _ = io.WriteString(w, c.Subject)
	})))
	t.Cleanup(server.Close)
	for token, want := range map[string]string{f.token(claims()): "200 user_1", "x": "401 {"} {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, server.URL, nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Authorization", "Bearer "+token)
		res, err := server.Client().Do(r)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(res.Body)
		_ = res.Body.Close()
		if got := res.Status[:4] + string(body); err != nil || !strings.HasPrefix(got, want) {
			t.Errorf("%.20s: got %q, %v; want %q", token, got, err, want)
		}
	}
}

func TestClaimsFromContext(t *testing.T) {
	t.Parallel()
	if c, ok := session.ClaimsFromContext(t.Context()); ok {
		t.Errorf("got %+v from an empty context", c)
	}
}
