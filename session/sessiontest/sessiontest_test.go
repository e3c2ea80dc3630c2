package sessiontest_test

import (
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/usher-auth/usher/permissions"
	"github.com/usher-auth/usher/session"
	"github.com/usher-auth/usher/session/sessiontest"
)

func verifier(t *testing.T, cfg session.VerifierConfig) *session.Verifier {
	t.Helper()
	v, err := session.NewVerifier(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// Tokens from before and after a rotation verify, also with keys from a server.
func TestRotate(t *testing.T) {
	t.Parallel()
	for _, alg := range []string{session.EdDSA, session.ES256} {
		issuer := sessiontest.NewIssuer(sessiontest.Config{Audience: "chat", Algorithm: alg})
		token := sessiontest.Token{Rooms: sessiontest.Access{"acme:*": permissions.Full}}
		before := issuer.Issue(token)
		issuer.Rotate()
		after := issuer.Issue(token)
		if strings.Split(before, ".")[0] == strings.Split(after, ".")[0] {
			t.Errorf("%s: Rotate kept the key", alg)
		}
		server := httptest.NewServer(issuer)
		defer server.Close()
		fetched, err := session.KeysFromURL(server.URL, session.URLKeysConfig{})
		if err != nil {
			t.Fatal(err)
		}
		defer fetched.Close()
		own := issuer.VerifierConfig()
		remote := own
		remote.Keys = fetched
		for name, cfg := range map[string]session.VerifierConfig{"own keys": own, "fetched keys": remote} {
			v := verifier(t, cfg)
			for _, text := range []string{before, after} {
				if _, err := v.Verify(t.Context(), text); err != nil {
					t.Errorf("%s, %s: %v", alg, name, err)
				}
			}
		}
	}
}

// Every field of a Token is in the claims.
func TestClaims(t *testing.T) {
	t.Parallel()
	at := time.Date(2030, 1, 31, 18, 0, 0, 0, time.UTC)
	issuer := sessiontest.NewIssuer(sessiontest.Config{
		Audience: "both", Issuer: "https://auth.example.test", Now: func() time.Time { return at },
	})
	claims, err := verifier(t, issuer.VerifierConfig()).Verify(t.Context(), issuer.Issue(sessiontest.Token{
		User: "ada", Organization: "acme", Session: "s1", Info: []byte(`{"name":"Ada"}`),
		Rooms: sessiontest.Access{"acme:*": permissions.Read}, Stores: sessiontest.Access{"acme_notes": permissions.Full},
		Age: time.Minute, Lifetime: 2 * time.Minute,
	}))
	if err != nil {
		t.Fatal(err)
	}
	if claims.Issuer != "https://auth.example.test" || claims.Audience != "both" || claims.Subject != "ada" ||
		claims.Organization != "acme" || claims.SessionID != "s1" || claims.UserInfo != `{"name":"Ada"}` {
		t.Errorf("got %+v", claims)
	}
	if got := at.Add(-time.Minute); !claims.IssuedAt.Equal(got) || !claims.ExpiresAt.Equal(got.Add(2*time.Minute)) {
		t.Errorf("got iat %s and exp %s", claims.IssuedAt, claims.ExpiresAt)
	}
	if got := claims.Access(permissions.Room("acme:1")); got != permissions.Read {
		t.Errorf("room: got %s, want read", got)
	}
	if got := claims.Access(permissions.Store("acme_notes")); got != permissions.Full {
		t.Errorf("store: got %s, want full", got)
	}
}

// A token that usher never issues is a mistake in the test.
func TestPanics(t *testing.T) {
	t.Parallel()
	issuer := sessiontest.NewIssuer(sessiontest.Config{Audience: "chat"})
	rooms := sessiontest.Access{"acme:*": permissions.Read}
	for name, call := range map[string]func(){
		"no audience":       func() { sessiontest.NewIssuer(sessiontest.Config{}) },
		"unknown algorithm": func() { sessiontest.NewIssuer(sessiontest.Config{Audience: "chat", Algorithm: "HS256"}) },
		"no access":         func() { issuer.Issue(sessiontest.Token{}) },
		"bad pattern":       func() { issuer.Issue(sessiontest.Token{Rooms: sessiontest.Access{"a*b": permissions.Read}}) },
		"too long a life":   func() { issuer.Issue(sessiontest.Token{Rooms: rooms, Lifetime: 2 * session.MaxTTL}) },
	} {
		func() {
			defer func() {
				if text, ok := recover().(string); !ok || !strings.HasPrefix(text, "sessiontest: ") {
					t.Errorf("%s: no panic of sessiontest: %q", name, text)
				}
			}()
			call()
		}()
	}
}
