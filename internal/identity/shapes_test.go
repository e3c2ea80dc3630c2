package identity_test

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"

	"github.com/usher-auth/usher/internal/codes"
	"github.com/usher-auth/usher/internal/identity"
	"github.com/usher-auth/usher/internal/identity/identitytest"
	"github.com/usher-auth/usher/internal/jwk"
	"github.com/usher-auth/usher/internal/principal"
)

// A shape is a provider's token: its recorded header and claims, with other names. The table in
// docs/identity.md says what each shape gives.
type shape struct {
	name           string
	line           string // of [identity.ParseProviders]
	header, claims string // JSON, over the usual alg, kid, iss, iat and exp
	want           principal.ProviderClaims
	refused        string // a code, in place of want
	life           time.Duration
}

// A source is a provider's keys and where they are.
type source struct{ issuer, keysURL, algorithm, kid string }

var sources = map[string]source{
	"clerk":       {"https://clerk.example.com", "https://clerk.example.com/.well-known/jwks.json", jwk.RS256, "ins_2abc"},
	"supabase":    {"https://abcd.supabase.co/auth/v1", "https://abcd.supabase.co/auth/v1/.well-known/jwks.json", jwk.ES256, "0b0b6a"},
	"auth0":       {"https://tenant.eu.auth0.com/", "https://tenant.eu.auth0.com/.well-known/jwks.json", jwk.RS256, "QzEx"},
	"entra":       {"https://login.microsoftonline.com/t1/v2.0", "https://login.microsoftonline.com/t1/discovery/v2.0/keys", jwk.RS256, "nOo3Z"},
	"entra v1":    {"https://sts.windows.net/t1/", "https://login.microsoftonline.com/t1/discovery/keys", jwk.RS256, "nOo3Z"},
	"keycloak":    {"https://sso.example.com/realms/acme", "https://sso.example.com/realms/acme/protocol/openid-connect/certs", jwk.RS256, "kc"},
	"cognito":     {"https://cognito-idp.eu-west-1.amazonaws.com/eu-west-1_A", "https://cognito-idp.eu-west-1.amazonaws.com/eu-west-1_A/.well-known/jwks.json", jwk.RS256, "a+/b="},
	"firebase":    {"https://securetoken.google.com/my-project", "https://www.googleapis.com/service_accounts/v1/jwk/securetoken@system.gserviceaccount.com", jwk.RS256, "ab12"},
	"logto":       {"https://tenant.logto.app/oidc", "https://tenant.logto.app/oidc/jwks", jwk.ES384, "JWbZ"},
	"fusionauth":  {"https://fusionauth.example.com", "https://fusionauth.example.com/.well-known/jwks.json", jwk.RS256, "592a"},
	"google":      {"https://accounts.google.com", "https://www.googleapis.com/oauth2/v3/certs", jwk.RS256, "e86e"},
	"better-auth": {"https://app.example.com", "https://app.example.com/api/auth/jwks", jwk.EdDSA, "Wd8a"},
	"authjs":      {"https://app.example.com", "", identity.HS256, ""},
	"oidc":        {"https://id.example.com", "https://keys.example.com/jwks", jwk.PS256, "1"},
}

const (
	clerkLine  = "clerk issuer=https://clerk.example.com azp=https://app.example.com"
	clerk      = `"azp":"https://app.example.com","sid":"sess_1","v":2,"fva":[0,-1],"fea":"u:basic","pla":"u:free","jti":"j1","sub":"user_1"`
	clerkOrg   = `"o":{"id":"org_1","rol":"admin","slg":"acme","per":"read","fpm":"1"}`
	clerkWants = `{"cat":"cl_B7d4PD111AAA"}`

	supabaseLine = "supabase issuer=https://abcd.supabase.co/auth/v1"
	supabase     = `"aud":"authenticated","role":"authenticated","session_id":"s1","aal":"aal1","amr":[{"method":"password","timestamp":1}],"phone":"",` +
		`"app_metadata":{"provider":"email","providers":["email"]},"sub":"5f1d"`

	auth0Line = "auth0 issuer=https://tenant.eu.auth0.com/ aud=https://usher.example.com organization=org_id groups=https://example.com/groups"
	auth0     = `"aud":["https://usher.example.com","https://tenant.eu.auth0.com/userinfo"],"azp":"client","scope":"openid profile","permissions":[]`

	entraLine = "entra issuer=https://login.microsoftonline.com/t1/v2.0 aud=11111111-2222 groups=groups"
	entra     = `"aud":"11111111-2222","nbf":1,"aio":"A","azp":"client","azpacr":"0","name":"Ada","oid":"o-1","preferred_username":"ada@example.com",` +
		`"rh":"0.A","sub":"pairwise","tid":"t1","uti":"u","ver":"2.0"`
	entra1Line = "entra issuer=https://sts.windows.net/t1/ aud=api://11111111-2222 azp=client azp-claim=appid groups=groups"
	entra1     = `"aud":"api://11111111-2222","nbf":1,"acr":"1","aio":"A","amr":["pwd"],"appid":"client","appidacr":"0","family_name":"L","name":"Ada","oid":"o-1",` +
		`"scp":"access","sub":"pairwise","tid":"t1","unique_name":"ada@example.com","upn":"ada@example.com","uti":"u","ver":"1.0"`

	keycloakLine = "keycloak issuer=https://sso.example.com/realms/acme azp=web organizations=organization groups=groups"
	keycloak     = `"auth_time":1,"jti":"onrtac:1","aud":"account","azp":"web","sid":"s1","acr":"1","allowed-origins":["https://app.example.com"],"sub":"k1",` +
		`"realm_access":{"roles":["user"]},"resource_access":{"account":{"roles":["view"]}},"scope":"openid","email_verified":true,"name":"Ada","groups":["/staff"]`

	cognitoLine = "cognito issuer=https://cognito-idp.eu-west-1.amazonaws.com/eu-west-1_A azp=client groups=cognito:groups"
	cognito     = `"origin_jti":"oj","event_id":"e","jti":"j1","auth_time":1,"cognito:groups":["staff"],"version":2,"sub":"c1"`

	firebaseLine = "firebase issuer=https://securetoken.google.com/my-project aud=my-project"
	firebase     = `"aud":"my-project","auth_time":1,"user_id":"f1","sub":"f1"`

	logtoLine = "logto issuer=https://tenant.logto.app/oidc aud=https://usher.example.com azp=spa"
	logto     = `"jti":"j1","scope":"","aud":"https://usher.example.com"`

	fusionauthLine = "fusionauth issuer=https://fusionauth.example.com aud=app-1 groups=roles"
	fusionauth     = `"aud":"app-1","jti":"j1","email":"ada@example.com","email_verified":true,"applicationId":"app-1","roles":["editor"],"scope":"offline_access","sid":"s1","auth_time":1,"tid":"t","sub":"fa1"`

	googleLine = "google aud=client.apps.googleusercontent.com"
	google     = `"azp":"client.apps.googleusercontent.com","sub":"1097","hd":"example.com","email":"ada@example.com","email_verified":true,"at_hash":"x","name":"Ada","picture":"https://example.com/a.png","given_name":"Ada"`

	betterAuthLine = "better-auth issuer=https://app.example.com organization=activeOrganizationId"
	betterAuth     = `"aud":"https://app.example.com","id":"b1","sub":"b1","name":"Ada","email":"ada@example.com","emailVerified":true,"createdAt":"2026-01-01T00:00:00.000Z"`

	oidcLine = "oidc issuer=https://id.example.com aud=my-client-id"
)

func info(pairs ...string) map[string]string {
	members := map[string]string{}
	for n := 0; n < len(pairs); n += 2 {
		members[pairs[n]] = pairs[n+1]
	}
	return members
}

func shapes(secretFile string) []shape {
	type c = principal.ProviderClaims
	authjsLine := "authjs issuer=https://app.example.com aud=usher secret-file=" + secretFile
	return []shape{
		{name: "Clerk 2: session", line: clerkLine, header: clerkWants, claims: clerk + `,"sts":"active",` + clerkOrg, want: c{UserID: "user_1", Organization: "org_1", Selective: true, SessionID: "sess_1", TokenID: "j1"}},
		{name: "Clerk 2: session in the personal account", line: clerkLine, header: clerkWants, claims: clerk + `,"sts":"active"`, want: c{UserID: "user_1", Selective: true, SessionID: "sess_1", TokenID: "j1"}},
		{name: "Clerk 2: pending session", line: clerkLine, header: clerkWants, claims: clerk + `,"sts":"pending",` + clerkOrg, refused: codes.ClaimRefused},
		{name: "Clerk 2: native application", line: clerkLine, claims: clerk + `,"azp":null`, refused: codes.AudienceMismatch},
		{name: "Clerk 2: native application, `azp=optional`", line: clerkLine + " azp=optional", claims: clerk + `,"azp":null`, want: c{UserID: "user_1", Selective: true, SessionID: "sess_1", TokenID: "j1"}},
		{name: "Clerk 2: another page, `azp=optional`", line: clerkLine + " azp=optional", claims: clerk + `,"azp":"https://evil.example.com"`, refused: codes.AudienceMismatch},
		{name: "Clerk 2: JWT template", line: clerkLine, claims: clerk + `,"sid":null`, refused: codes.ClaimRefused},
		{name: "Clerk 1: session", line: clerkLine, claims: clerk + `,"v":null,"org_id":"org_1"`, refused: codes.ClaimRefused},

		{name: "Supabase: access token", line: supabaseLine, claims: supabase + `,"is_anonymous":false,"user_metadata":{"full_name":"Ada","avatar_url":"https://example.com/a.png"}`, want: c{UserID: "5f1d", SessionID: "s1", Info: info("name", "Ada", "avatar", "https://example.com/a.png")}},
		{name: "Supabase: anonymous", line: supabaseLine, claims: supabase + `,"is_anonymous":true,"user_metadata":{}`, refused: codes.ClaimRefused},
		{name: "Supabase: anonymous, `refuse=`", line: supabaseLine + " refuse=", claims: supabase + `,"is_anonymous":true`, want: c{UserID: "5f1d", SessionID: "s1"}},
		{name: "Supabase: `service_role` key", line: supabaseLine, claims: supabase + `,"role":"service_role"`, refused: codes.ClaimRefused},

		{name: "Auth0: access token", line: auth0Line, claims: auth0 + `,"sub":"auth0|1"`, life: 24 * time.Hour, want: c{UserID: "auth0|1", Selective: true, Groups: []string{}}},
		{name: "Auth0: RFC 9068 profile, in an organization", line: auth0Line, header: `{"typ":"at+jwt"}`, claims: auth0 + `,"sub":"auth0|1","client_id":"client","jti":"j1","org_id":"org_1","https://example.com/groups":["b","a","b"]`, want: c{UserID: "auth0|1", Organization: "org_1", Selective: true, Groups: []string{"a", "b"}, TokenID: "j1"}},
		{name: "Auth0: machine", line: auth0Line, claims: auth0 + `,"sub":"client@clients","gty":"client-credentials"`, refused: codes.ClaimRefused},

		{name: "Entra 2: access token", line: entraLine, header: `{"x5t":null}`, claims: entra + `,"scp":"access","groups":["g-2","g-1"]`, life: 75 * time.Minute, want: c{UserID: "o-1", Groups: []string{"g-1", "g-2"}, Info: info("name", "Ada")}},
		{name: "Entra 2: in too many groups", line: entraLine, claims: entra + `,"scp":"access","_claim_names":{"groups":"src1"},"_claim_sources":{"src1":{"endpoint":"https://graph.windows.net/t1/users/o-1/getMemberObjects"}}`, refused: codes.ClaimsIncomplete},
		{name: "Entra 2: application", line: entraLine, claims: entra + `,"idtyp":"app","roles":["x"]`, refused: codes.ClaimRefused},
		{name: "Entra 2: ID token", line: entraLine, claims: entra, refused: codes.ClaimRefused},
		{name: "Entra 1: access token", line: entra1Line, header: `{"x5t":"nOo3Z"}`, claims: entra1 + `,"groups":["g-1"]`, life: 85 * time.Minute, want: c{UserID: "o-1", Groups: []string{"g-1"}, Info: info("name", "Ada")}},
		{name: "Entra 1: in too many groups (implicit flow)", line: entra1Line, claims: entra1 + `,"hasgroups":"true"`, refused: codes.ClaimsIncomplete},

		{name: "Keycloak: organizations with their ids", line: keycloakLine, claims: keycloak + `,"typ":"Bearer","organization":{"beta":{},"acme":{"id":"42","tier":["gold"]}}`, want: c{UserID: "k1", Organizations: []string{"acme", "beta"}, Groups: []string{"/staff"}, SessionID: "s1", TokenID: "onrtac:1", Info: info("name", "Ada")}},
		{name: "Keycloak: organizations by name", line: keycloakLine, claims: keycloak + `,"typ":"Bearer","organization":["acme"]`, want: c{UserID: "k1", Organizations: []string{"acme"}, Groups: []string{"/staff"}, SessionID: "s1", TokenID: "onrtac:1", Info: info("name", "Ada")}},
		{name: "Keycloak: ID token", line: keycloakLine, claims: keycloak + `,"typ":"ID"`, refused: codes.ClaimRefused},
		{name: "Keycloak: refresh token", line: keycloakLine, claims: keycloak + `,"typ":"Refresh"`, refused: codes.ClaimRefused},

		{name: "Cognito: access token", line: cognitoLine, header: `{"typ":null}`, claims: cognito + `,"token_use":"access","client_id":"client","username":"ada","scope":"aws.cognito.signin.user.admin"`, want: c{UserID: "c1", Groups: []string{"staff"}, SessionID: "oj", TokenID: "j1"}},
		{name: "Cognito: ID token", line: cognitoLine, header: `{"typ":null}`, claims: cognito + `,"token_use":"id","aud":"client","cognito:username":"ada"`, refused: codes.AudienceMismatch},
		{name: "Cognito: another client", line: cognitoLine, header: `{"typ":null}`, claims: cognito + `,"token_use":"access","client_id":"other","username":"ada"`, refused: codes.AudienceMismatch},
		{name: "Cognito: machine", line: cognitoLine, header: `{"typ":null}`, claims: `"sub":"client","token_use":"access","client_id":"client","scope":"api/read","version":2`, refused: codes.ClaimRefused},

		{name: "Firebase: ID token", line: firebaseLine, claims: firebase + `,"name":"Ada","picture":"https://example.com/a.png","email":"ada@example.com","firebase":{"identities":{"google.com":["1"]},"sign_in_provider":"google.com"}`, want: c{UserID: "f1", Info: info("name", "Ada", "avatar", "https://example.com/a.png")}},
		{name: "Firebase: anonymous", line: firebaseLine, claims: firebase + `,"provider_id":"anonymous","firebase":{"identities":{},"sign_in_provider":"anonymous"}`, refused: codes.ClaimRefused},
		{name: "Firebase: another project", line: firebaseLine, claims: firebase + `,"aud":"other","firebase":{"sign_in_provider":"password"}`, refused: codes.AudienceMismatch},

		{name: "Logto: access token (ES384)", line: logtoLine, header: `{"typ":"at+jwt"}`, claims: logto + `,"sub":"l1","client_id":"spa"`, want: c{UserID: "l1", TokenID: "j1"}},
		{name: "Logto: machine", line: strings.TrimSuffix(logtoLine, " azp=spa"), header: `{"typ":"at+jwt"}`, claims: logto + `,"sub":"m2m","client_id":"m2m"`, refused: codes.ClaimRefused},

		{name: "FusionAuth: access token", line: fusionauthLine, header: `{"gty":["authorization_code"],"use":"at"}`, claims: fusionauth + `,"authenticationType":"PASSWORD","tty":"at"`, want: c{UserID: "fa1", Groups: []string{"editor"}, SessionID: "s1", TokenID: "j1"}},
		{name: "FusionAuth: ID token", line: fusionauthLine, header: `{"gty":["authorization_code"]}`, claims: fusionauth + `,"authenticationType":"PASSWORD","tty":"id"`, refused: codes.ClaimRefused},
		{name: "FusionAuth: machine", line: fusionauthLine, header: `{"gty":["client_credentials"]}`, claims: `"aud":"app-1","sub":"entity","jti":"j1","permissions":{},"tid":"t","tty":"at"`, refused: codes.ClaimRefused},

		{name: "Google: ID token", line: googleLine, claims: google + `,"aud":"client.apps.googleusercontent.com"`, want: c{UserID: "1097", Info: info("name", "Ada", "avatar", "https://example.com/a.png")}},
		{name: "Google: ID token, issuer without https", line: googleLine, claims: google + `,"aud":"client.apps.googleusercontent.com","iss":"accounts.google.com"`, want: c{UserID: "1097", Info: info("name", "Ada", "avatar", "https://example.com/a.png")}},
		{name: "Google: another application", line: googleLine, claims: google + `,"aud":"other.apps.googleusercontent.com"`, refused: codes.AudienceMismatch},

		{name: "Better Auth: JWT plugin", line: betterAuthLine, header: `{"typ":null}`, claims: betterAuth + `,"image":null,"isAnonymous":false,"activeOrganizationId":"acme"`, want: c{UserID: "b1", Organization: "acme", Selective: true, Info: info("name", "Ada")}},
		{name: "Better Auth: anonymous", line: betterAuthLine, header: `{"typ":null}`, claims: betterAuth + `,"isAnonymous":true`, refused: codes.ClaimRefused},
		{name: "Better Auth: cookie cache", line: betterAuthLine, header: `{"typ":"better-auth.session-cache+jwt"}`, claims: betterAuth + `,"aud":"better-auth.session-cache"`, refused: codes.TypeMismatch},
		{name: "Better Auth: OAuth access token", line: betterAuthLine, header: `{"typ":"at+jwt"}`, claims: betterAuth + `,"client_id":"c","azp":"c","scope":"openid"`, refused: codes.TypeMismatch},
		{name: "Better Auth: OAuth access token without a typ", line: betterAuthLine, header: `{"typ":null}`, claims: betterAuth + `,"client_id":"c","scope":"openid"`, refused: codes.ClaimRefused},

		{name: "Auth.js: a JWT of your own", line: authjsLine, claims: `"aud":"usher","sub":"a1","name":"Ada","picture":"https://example.com/a.png","jti":"j1"`, want: c{UserID: "a1", TokenID: "j1", Info: info("name", "Ada", "avatar", "https://example.com/a.png")}},

		{name: "any OpenID provider: ID token (PS256)", line: oidcLine + " email=email", header: `{"x5t":"x","x5t#S256":"x"}`, claims: `"aud":"my-client-id","sub":"u1","name":"Ada","email":"ada@example.com","sid":"s1"`, want: c{UserID: "u1", SessionID: "s1", Info: info("name", "Ada", "email", "ada@example.com")}},
	}
}

// members reads JSON members. A later member with the same name replaces the earlier one, and null
// removes it.
func members(t testing.TB, text string) m {
	t.Helper()
	all := m{}
	if err := json.Unmarshal([]byte("{"+text+"}"), &all); err != nil {
		t.Fatalf("%v in %s", err, text)
	}
	return all
}

// TestShapes verifies a token of each shape.
func TestShapes(t *testing.T) {
	t.Parallel()
	secretFile := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(secretFile, []byte(strings.Repeat("s", 32)+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, s := range shapes(secretFile) {
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			preset, _, _ := strings.Cut(s.line, " ")
			from, ok := sources[preset]
			if strings.HasPrefix(s.line, "entra issuer=https://sts") {
				from = sources["entra v1"]
			}
			if !ok {
				t.Fatalf("no source of %s", preset)
			}
			p := identitytest.New(from.issuer, from.keysURL)
			key := identitytest.SecretKey(strings.Repeat("s", 32))
			if from.algorithm != identity.HS256 {
				key = identitytest.NewKey(from.algorithm, from.kid)
			}
			p.SetKeys(key)
			header, claims := m{}, members(t, s.claims)
			if s.header != "" {
				if err := json.Unmarshal([]byte(s.header), &header); err != nil {
					t.Fatal(err)
				}
			}
			now := time.Now().Unix()
			claims["iat"], claims["exp"] = now, now+int64(cmp.Or(s.life, time.Hour).Seconds())
			token := p.TokenBy(key, header, claims)
			got, err := verifier(t, p, s.line).Verify(t.Context(), token)
			if s.refused != "" {
				if code := reasonOf(t, err); code != s.refused {
					t.Errorf("got %q (%v), want %q", code, err, s.refused)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if got.IssuedAt.Unix() != now || got.ExpiresAt.Unix() != claims["exp"] {
				t.Errorf("from %s to %s", got.IssuedAt, got.ExpiresAt)
			}
			got.IssuedAt, got.ExpiresAt = time.Time{}, time.Time{}
			s.want.Issuer = from.issuer
			if s.want.Info == nil {
				s.want.Info = map[string]string{}
			}
			if diff := gocmp.Diff(s.want, got); diff != "" {
				t.Errorf("claims (-want +got):\n%s", diff)
			}
			stranger := identitytest.SecretKey(strings.Repeat("x", 32))
			if from.algorithm != identity.HS256 {
				stranger = identitytest.NewKey(jwk.ES512, from.kid)
			}
			if _, err := verifier(t, p, s.line).Verify(t.Context(), p.TokenBy(stranger, header, claims)); err == nil {
				t.Error("a stranger's token is accepted")
			}
		})
	}
}

// TestShapesGuide compares the table in docs/identity.md with the shapes.
func TestShapesGuide(t *testing.T) {
	t.Parallel()
	path := filepath.Join("..", "..", "docs", "identity.md")
	guide, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var table strings.Builder
	table.WriteString("| token | preset | what it gives |\n|---|---|---|\n")
	for _, s := range shapes("/etc/usher/secret") {
		preset, _, _ := strings.Cut(s.line, " ")
		fmt.Fprintf(&table, "| %s | `%s` | %s |\n", s.name, preset, s.gives())
	}
	const from, to = "<!-- shapes -->\n", "<!-- end of shapes -->"
	_, rest, ok := strings.Cut(string(guide), from)
	got, _, ended := strings.Cut(rest, to)
	if !ok || !ended {
		t.Fatalf("no %s and %s", from, to)
	}
	if diff := gocmp.Diff(table.String(), got); diff != "" {
		t.Errorf("the table in %s is not that of the shapes; put this between %q and %q:\n%s", path, from, to, table.String())
	}
}

// gives returns what a token of the shape gives, for a cell of the table.
func (s *shape) gives() string {
	if s.refused != "" {
		return "refused: `" + s.refused + "`"
	}
	parts := []string{"user `" + s.want.UserID + "`"}
	if s.want.Organization != "" {
		parts = append(parts, "active organization `"+s.want.Organization+"`")
	} else if s.want.Selective {
		parts = append(parts, "no organization")
	}
	for _, list := range []struct {
		name string
		ids  []string
	}{{"organizations", s.want.Organizations}, {"groups", s.want.Groups}} {
		switch {
		case list.ids == nil:
		case len(list.ids) == 0:
			parts = append(parts, "no "+list.name)
		default:
			parts = append(parts, list.name+" `"+strings.Join(list.ids, "`, `")+"`")
		}
	}
	if s.want.SessionID != "" {
		parts = append(parts, "its session")
	}
	if names := slices.Sorted(maps.Keys(s.want.Info)); len(names) > 0 {
		parts = append(parts, strings.Join(names, ", "))
	}
	return strings.Join(parts, "; ")
}

// Every preset has a shape that it accepts.
func TestEveryPresetHasAShape(t *testing.T) {
	t.Parallel()
	accepted := map[string]bool{}
	for _, s := range shapes("") {
		if preset, _, _ := strings.Cut(s.line, " "); s.refused == "" {
			accepted[preset] = true
		}
	}
	if diff := gocmp.Diff(identity.Presets(), slices.Sorted(maps.Keys(accepted))); diff != "" {
		t.Errorf("presets (-want +got):\n%s", diff)
	}
}
