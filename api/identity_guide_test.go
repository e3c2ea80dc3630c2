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
	"github.com/usher-auth/usher/internal/jwk"
	"github.com/usher-auth/usher/session"
)

// TestIdentityGuide reads the configurations from docs/identity.md and runs each against
// a simulated provider, which serves its keys at the provider's address and issues a
// token in the provider's format.
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
		"entra": {
			"https://login.microsoftonline.com/11111111-2222-3333-4444-555555555555/v2.0", "https://login.microsoftonline.com/11111111/discovery/v2.0/keys", identitytest.NewKey(jwk.RS256, "nOo3Z"),
			nil,
			claims{"aud": "66666666-7777-8888-9999-000000000000", "scp": "usher", "oid": "o-1", "sub": "pairwise"},
			"o-1",
		},
		"cognito": {
			"https://cognito-idp.eu-west-1.amazonaws.com/eu-west-1_AbCdEfGhI", "https://cognito-idp.eu-west-1.amazonaws.com/eu-west-1_AbCdEfGhI/.well-known/jwks.json", identitytest.NewKey(jwk.RS256, "a+/b="),
			claims{"typ": nil},
			claims{"token_use": "access", "client_id": "1example23456789", "username": "ada", "origin_jti": "o"},
			"user_1",
		},
		"firebase": {
			"https://securetoken.google.com/my-project", "https://www.googleapis.com/service_accounts/v1/jwk/securetoken@system.gserviceaccount.com", identitytest.NewKey(jwk.RS256, "ab12"),
			nil,
			claims{"aud": "my-project", "firebase": claims{"sign_in_provider": "password"}},
			"user_1",
		},
		"logto": {
			"https://tenant.logto.app/oidc", "https://tenant.logto.app/oidc/jwks", identitytest.NewKey(jwk.ES384, "JWbZ"),
			claims{"typ": "at+jwt"},
			claims{"aud": "https://usher.example.com", "client_id": "my-spa-id"},
			"user_1",
		},
		"fusionauth": {
			"https://fusionauth.example.com", "https://fusionauth.example.com/.well-known/jwks.json", identitytest.NewKey(jwk.RS256, "592a"),
			claims{"gty": []string{"authorization_code"}},
			claims{"aud": "3c219e58-ed0e-4b18-ad48-f4f92793ae32", "authenticationType": "PASSWORD", "tty": "at"},
			"user_1",
		},
		"google": {
			"https://accounts.google.com", "https://www.googleapis.com/oauth2/v3/certs", identitytest.NewKey(jwk.RS256, "e86e"),
			nil,
			claims{"aud": "1234-abcd.apps.googleusercontent.com"},
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
