package api_test

import (
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/usher-auth/usher/db/dbtest"
	"github.com/usher-auth/usher/internal/identity"
	"github.com/usher-auth/usher/internal/identity/identitytest"
	"github.com/usher-auth/usher/session"
)

// TestIdentityGuide reads the configurations out of docs/identity.md and runs
// each against a stand-in of its provider: keys where the provider has them, a
// token as it makes them.
func TestIdentityGuide(t *testing.T) {
	t.Parallel()
	guide, err := os.ReadFile("../docs/identity.md")
	if err != nil {
		t.Fatal(err)
	}
	secretFile := filepath.Join(t.TempDir(), "secret")
	sharedSecret := strings.Repeat("s", 32)
	if err := os.WriteFile(secretFile, []byte(sharedSecret+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	configurations := map[string]string{}
	for _, block := range regexp.MustCompile("(?ms)^```text ([a-z0-9-]+)\n(.*?)^```$").FindAllStringSubmatch(string(guide), -1) {
		configurations[block[1]] = strings.ReplaceAll(block[2], "/etc/usher/authjs-secret", secretFile)
	}
	type claims = map[string]any
	providers := map[string]struct {
		issuer, keysURL string
		key             identitytest.Key
		header, claims  claims
		user            string
	}{
		"clerk": {
			"https://clerk.example.com", "https://clerk.example.com/.well-known/jwks.json", identitytest.NewKey(session.RS256, "ins_1"),
			claims{"cat": "cl_B7d4PD111AAA"},
			claims{"azp": "https://app.example.com", "sid": "sess_1", "v": 2, "o": claims{"id": "acme", "slg": "acme"}},
			"user_1",
		},
		"supabase": {
			"https://abcdefghijklm.supabase.co/auth/v1", "https://abcdefghijklm.supabase.co/auth/v1/.well-known/jwks.json", identitytest.NewKey(session.ES256, "b0"),
			nil,
			claims{"aud": "authenticated", "role": "authenticated", "session_id": "s", "is_anonymous": false, "user_metadata": claims{"full_name": "Ada"}},
			"user_1",
		},
		"better-auth": {
			"https://app.example.com", "https://app.example.com/api/auth/jwks", identitytest.NewKey(session.EdDSA, "Wd8a"),
			claims{"typ": nil},
			claims{"aud": "https://app.example.com", "id": "user_1", "name": "Ada"},
			"user_1",
		},
		"authjs": {
			"https://app.example.com", "", identitytest.SecretKey(sharedSecret), nil, claims{"aud": "usher", "name": "Ada"}, "user_1",
		},
		"auth0": {
			"https://tenant.eu.auth0.com/", "https://tenant.eu.auth0.com/.well-known/jwks.json", identitytest.NewKey(session.RS256, "QzEx"),
			claims{"typ": "at+jwt"},
			claims{"sub": "auth0|user_1", "aud": []string{"https://usher.example.com", "https://tenant.eu.auth0.com/userinfo"}},
			"auth0|user_1",
		},
		"keycloak": {
			"https://sso.example.com/realms/acme", "https://sso.example.com/realms/acme/protocol/openid-connect/certs", identitytest.NewKey(session.RS256, "kc"),
			nil,
			claims{"typ": "Bearer", "azp": "web", "aud": "account", "sid": "s"},
			"user_1",
		},
		"oidc": {
			"https://id.example.com", "https://keys.example.com/jwks", identitytest.NewKey(session.PS256, "1"), nil, claims{"aud": "my-client-id"}, "user_1",
		},
	}
	want := append(slices.Collect(maps.Keys(providers)), "issuers")
	if diff := cmp.Diff(slices.Sorted(slices.Values(want)), slices.Sorted(maps.Keys(configurations))); diff != "" {
		t.Errorf("configurations of the guide (-want +got):\n%s", diff)
	}
	if got := identity.Presets(); !slices.Equal(got, slices.Sorted(maps.Keys(providers))) {
		t.Errorf("presets %q, want each to have a section", got)
	}
	if issuers, err := identity.ParseProviders(strings.Split(configurations["issuers"], "\n")); err != nil || len(issuers) != 2 {
		t.Errorf("the list: %d issuers, %v", len(issuers), err)
	}
	for name, provider := range providers {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := identitytest.New(provider.issuer, provider.keysURL)
			p.SetKeys(provider.key)
			r := newRigWith(t, dbtest.New(t), providersOf(t, p, strings.Split(configurations[name], "\n")...))
			req := r.bearing(t, p.TokenBy(provider.key, provider.header, provider.claims), `{}`)
			if got := r.issued(t, send(t, r.Server, req)); got.Subject != provider.user {
				t.Errorf("the token is of %q, want %q", got.Subject, provider.user)
			}
			var made int
			query := `SELECT count(*) FROM audit.changes WHERE action = 'user.add' AND target = $1 AND actor = $2`
			if err := r.pg.Pool.QueryRow(t.Context(), query, provider.user, "issuer "+provider.issuer).Scan(&made); err != nil || made != 1 {
				t.Errorf("the user was made %d times, %v; want once", made, err)
			}
			a := send(t, r.Server, r.bearing(t, p.TokenBy(identitytest.NewKey(session.EdDSA, provider.key.ID), provider.header, provider.claims), `{}`))
			if a.status != http.StatusUnauthorized {
				t.Errorf("signed by a stranger: %d, want 401", a.status)
			}
		})
	}
}
