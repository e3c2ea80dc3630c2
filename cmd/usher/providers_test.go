package main

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/usher-auth/usher/internal/identity/identitytest"
	"github.com/usher-auth/usher/internal/secret"
)

// usher serve accepts a provider's tokens, starts while another provider is down, and
// continues while both are down.
func TestServeIssuers(t *testing.T) {
	t.Parallel()
	p := identitytest.New("", "")
	provider := httptest.NewServer(p)
	t.Cleanup(provider.Close)
	p.Issuer, p.KeysURL = provider.URL, provider.URL+"/jwks"
	prod := newProduction(t)
	prod.env = append(prod.env, "USHER_ISSUERS=\n# one a line\noidc issuer="+provider.URL+" aud=usher id=id:{sub} name=name\n"+
		"oidc issuer=http://127.0.0.1:1 aud=usher id=down:{sub}\n")
	u, url, ops := prod.serve(t)
	ask := func(token secret.Text) int {
		t.Helper()
		r, err := http.NewRequestWithContext(context.WithoutCancel(t.Context()), http.MethodPost, url+"/api/auth", strings.NewReader(`{"room":"any:1"}`))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Content-Type", "application/json")
		r.Header.Set("Authorization", "Bearer "+token.Reveal())
		res, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		return res.StatusCode
	}
	token := p.Token(map[string]any{"aud": "usher", "name": "Ada"})
	if got := ask(token); got != 200 {
		t.Fatalf("a token: %d, want 200\n%s", got, u.log)
	}
	if got := ask(p.Token(map[string]any{"aud": "usher", "iss": "http://127.0.0.1:1"})); got != 503 {
		t.Errorf("a token of one that is down: %d, want 503", got)
	}
	checkStatus(t, ops+"/readyz", 200)
	if got := get(t, ops+"/metrics"); !strings.Contains(got, `usher_provider_key_failures_total{issuer="http://127.0.0.1:1"}`) ||
		!strings.Contains(got, `usher_provider_key_failures_total{issuer="`+provider.URL+`"} 0`) {
		t.Error("/metrics does not count the failed fetches of each issuer")
	}
	conn, err := pgx.Connect(t.Context(), prod.owner)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.WithoutCancel(t.Context()))
	rows := 0 // one per hour
	for deadline := time.Now().Add(10 * time.Second); rows != 1; time.Sleep(20 * time.Millisecond) {
		const failures = "SELECT count(*) FROM audit.changes WHERE action = 'issuer.keys_failed' AND target = 'http://127.0.0.1:1'"
		if err := conn.QueryRow(t.Context(), failures).Scan(&rows); err != nil || time.Now().After(deadline) {
			t.Fatalf("the audit has %d rows of the provider that is down, %v; want 1", rows, err)
		}
	}
	if got := logged(u, "keys of an identity provider could not be fetched", "issuer"); got != "http://127.0.0.1:1" {
		t.Errorf("the log names %q", got)
	}
	provider.Close()
	if got := ask(token); got != 200 {
		t.Errorf("a token while its provider is down: %d, want 200", got)
	}
	if strings.Contains(u.log.String(), token.Reveal()) {
		t.Error("the token is in the log")
	}
	if got := prod.run(t, "user", "list", "--json"); !strings.Contains(got, `"id:user_1"`) || !strings.Contains(got, `"issuer `+provider.URL+`"`) {
		t.Errorf("usher user list: %s", got)
	}
}
