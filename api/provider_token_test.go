package api_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/usher-auth/usher/db/dbtest"
	"github.com/usher-auth/usher/internal/identity"
	"github.com/usher-auth/usher/internal/identity/identitytest"
	"github.com/usher-auth/usher/internal/secret"
	"github.com/usher-auth/usher/session"
)

const idp = "https://id.example.com"

// providersOf reads a configuration whose provider answers at every address.
func providersOf(t testing.TB, transport http.RoundTripper, lines ...string) *identity.Providers {
	t.Helper()
	issuers, err := identity.ParseProviders(lines)
	if err != nil {
		t.Fatal(err)
	}
	u, err := identity.NewProviders(identity.ProvidersConfig{Providers: issuers, Transport: transport})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(u.Close)
	return u
}

// bearing returns a page's request with a token.
func (r *rig) bearing(t testing.TB, token secret.Text, body string) *http.Request {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, r.URL+"/api/auth", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Origin", allowedOrigin)
	req.Header.Set("Authorization", "Bearer "+token.Reveal())
	return req
}

// issued verifies the token in an answer.
func (r *rig) issued(t testing.TB, a answer) session.Claims {
	t.Helper()
	var response authResponse
	if err := json.Unmarshal(a.body, &response); a.status != http.StatusOK || err != nil {
		t.Fatalf("status = %d, %v: %s", a.status, err, a.body)
	}
	verifier, err := session.NewVerifier(session.VerifierConfig{Issuer: ownURL, Audience: "liveblocks", Keys: publishedKeys(t, r.Server)})
	if err != nil {
		t.Fatal(err)
	}
	claims, err := verifier.Verify(t.Context(), response.Token)
	if err != nil {
		t.Fatal(err)
	}
	return claims
}

// patternsOf returns the patterns of a token, from the audit.
func (r *rig) patternsOf(t testing.TB, claims session.Claims) any {
	t.Helper()
	var text string
	if err := r.pg.Pool.QueryRow(t.Context(), `SELECT patterns::text FROM audit.tokens WHERE jti = $1`, claims.ID).Scan(&text); err != nil {
		t.Fatal(err)
	}
	return canonical(t, text)
}

type row struct{ reason, kind, caller, user string }

func (r *rig) denial(t testing.TB, a answer) (d row) {
	t.Helper()
	query := `SELECT reason, caller_kind, coalesce(caller_id, ''), coalesce(user_id, '') FROM audit.denials WHERE request_id = $1`
	if err := r.pg.Pool.QueryRow(t.Context(), query, a.header.Get("X-Request-Id")).Scan(&d.reason, &d.kind, &d.caller, &d.user); err != nil {
		t.Errorf("no audit row: %v", err)
	}
	return d
}

const oidc = "oidc issuer=" + idp + " jwks=" + idp + "/jwks aud=usher"

// A provider's token gives the same access as a session of the same user. usher's token
// does not outlive it, and its row says which provider's token it was.
func TestAuthorizeByProviderToken(t *testing.T) {
	t.Parallel()
	p := identitytest.New(idp, idp+"/jwks")
	r := newRigWith(t, dbtest.New(t), providersOf(t, p, oidc+" organizations=orgs"))
	exp := time.Now().Add(2 * time.Minute).Unix()
	token := p.Token(map[string]any{"aud": "usher", "sub": "ada", "sid": "session-1", "exp": exp, "orgs": []string{"acme"}})
	req := r.bearing(t, token, `{"room":"acme:design:1","userId":"grace"}`) // the user in it is not read
	req.Header.Set("Origin", "https://elsewhere.example.com")               // no cookie, no forgery
	req.AddCookie(&http.Cookie{Name: cookie, Value: sessionToken("mallory", "")})
	a := send(t, r.Server, req)
	claims := r.issued(t, a)
	if claims.Subject != "ada" || claims.SessionID == "" || claims.SessionID == "session-1" || claims.ExpiresAt.Unix() != exp {
		t.Errorf("claims = %+v, want ada's until %d", claims, exp)
	}
	if got := a.header.Get("Access-Control-Allow-Origin"); got != "" {
		t.Errorf("Access-Control-Allow-Origin = %q for an origin that is not listed", got)
	}
	want := canonical(t, `{"rooms":{"acme:*":"read","home:ada:*":"full","acme:design:*":"full"}}`)
	if diff := cmp.Diff(want, r.patternsOf(t, claims)); diff != "" {
		t.Errorf("patterns (-want +got):\n%s", diff)
	}
	var kind, caller string
	if err := r.pg.Pool.QueryRow(t.Context(), `SELECT caller_kind, caller_id FROM audit.tokens WHERE jti = $1`, claims.ID).Scan(&kind, &caller); err != nil {
		t.Fatal(err)
	}
	if kind != "provider" || caller != idp+" "+claims.SessionID {
		t.Errorf("caller = %s %q, want provider %q", kind, caller, idp+" "+claims.SessionID)
	}
	if strings.Contains(r.log.String(), token.Reveal()) || strings.Contains(r.log.String(), "session-1") {
		t.Error("the token or its session is in the log")
	}
}

// A user's first token adds the user to usher's own directory, even if several pages ask
// at the same time.
func TestFirstSight(t *testing.T) {
	t.Parallel()
	p := identitytest.New(idp, idp+"/jwks")
	r := newRigWith(t, dbtest.New(t), providersOf(t, p, oidc+" id=id:{sub} organization=org groups=groups"))
	if _, err := r.pg.Pool.Exec(t.Context(), `INSERT INTO usher.grants (subject_kind, subject_id, resource_kind, pattern, access, created_by) VALUES
		('group', 'staff', 'room', 'staff:*', 'full', 't')`); err != nil {
		t.Fatal(err)
	}
	token := p.Token(map[string]any{"aud": "usher", "sub": "zoe", "name": "Zoë", "org": "acme", "groups": []string{"staff", "bad\nid"}})
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			a := send(t, r.Server, r.bearing(t, token, `{"room":"acme:1"}`))
			for tries := 0; a.status == http.StatusServiceUnavailable && tries < 10; tries++ { // as clients do on a busy machine
				a = send(t, r.Server, r.bearing(t, token, `{"room":"acme:1"}`))
			}
			if a.status != http.StatusOK {
				t.Errorf("status = %d: %s", a.status, a.body)
			}
		})
	}
	wg.Wait()
	claims := r.issued(t, send(t, r.Server, r.bearing(t, token, `{}`)))
	if claims.Subject != "id:zoe" || claims.Organization != "acme" || claims.UserInfo != `{"name":"Zoë"}` {
		t.Errorf("claims = %+v", claims)
	}
	var changes []string
	query := `SELECT array_agg(action || ' ' || target ORDER BY id) FROM audit.changes WHERE actor = 'issuer ` + idp + `'`
	if err := r.pg.Pool.QueryRow(t.Context(), query).Scan(&changes); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"user.add id:zoe", "member.add acme", "group.add staff", "member.add staff"}, changes); diff != "" {
		t.Errorf("changes (-want +got):\n%s", diff)
	}
	if !strings.Contains(r.log.String(), "are not valid and were skipped") {
		t.Error("the log does not say that a group's id was skipped")
	}
}

// A token that lists more groups than are read is accepted, and the log says what was
// left out.
func TestManyGroups(t *testing.T) {
	t.Parallel()
	p := identitytest.New(idp, idp+"/jwks")
	r := newRigWith(t, dbtest.New(t), providersOf(t, p, oidc+" groups=groups"))
	groups := make([]string, 503)
	for n := range groups {
		groups[n] = fmt.Sprintf("g%03d", n)
	}
	token := p.Token(map[string]any{"aud": "usher", "sub": "ada", "groups": groups})
	a := send(t, r.Server, r.bearing(t, token, `{}`))
	for tries := 0; a.status == http.StatusServiceUnavailable && tries < 10; tries++ { // as clients do on a busy machine
		a = send(t, r.Server, r.bearing(t, token, `{}`))
	}
	r.issued(t, a)
	var made int
	query := `SELECT count(*) FROM usher.memberships WHERE user_id = 'ada' AND member_of_kind = 'group' AND created_by = $1 AND ended_at IS NULL`
	if err := r.pg.Pool.QueryRow(t.Context(), query, "issuer "+idp).Scan(&made); err != nil || made != 500 {
		t.Errorf("%d memberships, %v; want 500", made, err)
	}
	if log := r.log.String(); !strings.Contains(log, `"claim":"groups","limit":500,"left_out":3,"first_left_out":"g500"`) {
		t.Errorf("the log does not say what was left out:\n%s", log)
	}
}

// A user who switches to another organization gets its access, and no access of the old
// one. A user whose membership has ended gets no access of that organization, even if the
// session or the claim still names it.
func TestOrganizationSwitch(t *testing.T) {
	t.Parallel()
	const both = `
		INSERT INTO usher.memberships (user_id, member_of_kind, member_of_id, created_by) VALUES ('ada', 'organization', 'globex', 't');
		INSERT INTO usher.groups (id, organization_id, created_by) VALUES ('acme-red', 'acme', 't'), ('globex-red', 'globex', 't');
		INSERT INTO usher.memberships (user_id, member_of_kind, member_of_id, created_by) VALUES ('ada', 'group', 'acme-red', 't'), ('ada', 'group', 'globex-red', 't');
		INSERT INTO usher.grants (subject_kind, subject_id, organization_id, resource_kind, pattern, access, created_by) VALUES
			('organization', 'acme', NULL, 'room', 'of-acme', 'full', 't'), ('organization', 'globex', NULL, 'room', 'of-globex', 'full', 't'),
			('group', 'acme-red', NULL, 'room', 'red-of-acme', 'full', 't'), ('group', 'globex-red', NULL, 'room', 'red-of-globex', 'full', 't'),
			('user', 'ada', 'acme', 'room', 'ada-in-acme', 'full', 't'), ('everyone', '', 'globex', 'room', 'all-in-globex', 'read', 't');`
	type ask func(t *testing.T, r *rig, organization string) answer
	bySession := func(t *testing.T, r *rig, organization string) answer {
		// The application writes the active organization into the session.
		_, err := r.pg.Pool.Exec(t.Context(), `UPDATE usher.sessions SET organization_id = $1 WHERE token_hash = sha256($2)`,
			organization, []byte(sessionToken("ada", "")))
		if err != nil {
			t.Fatal(err)
		}
		return send(t, r.Server, r.as(t, "ada", `{}`))
	}
	p := identitytest.New(idp, idp+"/jwks")
	byClaim := func(t *testing.T, r *rig, organization string) answer {
		return send(t, r.Server, r.bearing(t, p.Token(map[string]any{"aud": "usher", "sub": "ada", "org": organization}), `{}`))
	}
	// A provider that lists all organizations, with the same list as the directory.
	byListingClaim := func(t *testing.T, r *rig, organization string) answer {
		var listed []string
		if err := r.pg.Pool.QueryRow(t.Context(), `SELECT array_agg(id) FROM usher.directory_memberships('ada') WHERE kind = 'organization'`).Scan(&listed); err != nil {
			t.Fatal(err)
		}
		return send(t, r.Server, r.bearing(t, p.Token(map[string]any{"aud": "usher", "sub": "ada", "org": organization, "orgs": listed}), `{}`))
	}
	for name, test := range map[string]struct {
		ask       ask
		settings  string
		directory string
	}{
		"by session": {bySession, "", "usher"},
		"by a claim over an application's directory":  {byClaim, " organization=org", "better-auth"},
		"by a claim beside a list of all memberships": {byListingClaim, " organization=org organizations=orgs", "usher"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			pg := dbtest.New(t)
			if _, err := pg.Pool.Exec(t.Context(), `UPDATE usher.deployment SET directory = $1`, test.directory); err != nil {
				t.Fatal(err)
			}
			for _, table := range []string{"users", "organizations", "groups", "memberships", "sessions"} { // in place of the application's
				if _, err := pg.Pool.Exec(t.Context(), "ALTER TABLE usher."+table+" DISABLE TRIGGER own_directory"); err != nil {
					t.Fatal(err)
				}
			}
			r := newRigWith(t, pg, providersOf(t, p, oidc+test.settings))
			if _, err := pg.Pool.Exec(t.Context(), both); err != nil {
				t.Fatal(err)
			}
			check := func(organization, org, rooms string) {
				t.Helper()
				claims := r.issued(t, test.ask(t, r, organization))
				if claims.Organization != org {
					t.Errorf("in %s: org = %q, want %q", organization, claims.Organization, org)
				}
				if diff := cmp.Diff(canonical(t, `{"rooms":`+rooms+`}`), r.patternsOf(t, claims)); diff != "" {
					t.Errorf("in %s: patterns (-want +got):\n%s", organization, diff)
				}
			}
			const acme = `{"acme:*":"read","home:ada:*":"full","acme:design:*":"full","of-acme":"full","red-of-acme":"full","ada-in-acme":"full"}`
			const globex = `{"globex:*":"read","home:ada:*":"full","acme:design:*":"full","of-globex":"full","red-of-globex":"full","all-in-globex":"read"}`
			check("acme", "acme", acme)
			check("globex", "globex", globex)
			check("acme", "acme", acme)
			if _, err := pg.Pool.Exec(t.Context(), `UPDATE usher.memberships SET ended_at = now(), ended_by = 't' WHERE user_id = 'ada' AND organization_id = 'globex'`); err != nil {
				t.Fatal(err)
			}
			check("globex", "", `{"home:ada:*":"full","acme:design:*":"full"}`)
			check("acme", "acme", acme)
		})
	}
}

// Each bad token has its status and its row. The answer says no more than what helps an
// honest owner.
func TestBadProviderTokens(t *testing.T) {
	t.Parallel()
	p := identitytest.New(idp, idp+"/jwks")
	key, stranger := identitytest.NewKey(session.EdDSA, "key-1"), identitytest.NewKey(session.EdDSA, "key-1")
	p.SetKeys(key)
	r := newRigWith(t, dbtest.New(t), providersOf(t, p, oidc))
	now := time.Now().Unix()
	by := func(key identitytest.Key, header, claims map[string]any) string {
		if _, there := claims["aud"]; !there {
			if claims == nil {
				claims = map[string]any{}
			}
			claims["aud"] = "usher"
		}
		return p.TokenBy(key, header, claims).Reveal()
	}
	warm := send(t, r.Server, r.bearing(t, secret.New(by(key, nil, map[string]any{"sub": "ada"})), `{}`))
	r.issued(t, warm)
	// From here on the provider is down, so an unknown key stays unknown however long
	// the test takes.
	p.Answer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusBadGateway) }))
	const invalid = "The Authorization header has no valid token."
	for name, test := range map[string]struct {
		token  string
		status int
		reason string // of the row; empty: none
		caller string
		tells  string
	}{
		"signed by another's key of the same kid": {by(stranger, nil, nil), 401, "signature_invalid", idp, invalid},
		"and expired":                {by(stranger, nil, map[string]any{"iat": now - 99, "exp": now - 9}), 401, "signature_invalid", idp, invalid},
		"expired":                    {by(key, nil, map[string]any{"iat": now - 99, "exp": now - 9}), 401, "token_expired", idp, "The token has expired"},
		"to come":                    {by(key, nil, map[string]any{"nbf": now + 500}), 401, "token_not_yet_valid", idp, invalid},
		"no aud":                     {by(key, nil, map[string]any{"aud": nil}), 401, "audience_mismatch", idp, invalid},
		"another aud":                {by(key, nil, map[string]any{"aud": "x"}), 401, "audience_mismatch", idp, invalid},
		"an array of others":         {by(key, nil, map[string]any{"aud": []string{"x", "y"}}), 401, "audience_mismatch", idp, invalid},
		"an empty array":             {by(key, nil, map[string]any{"aud": []string{}}), 401, "audience_mismatch", idp, invalid},
		"an empty aud":               {by(key, nil, map[string]any{"aud": ""}), 401, "audience_mismatch", idp, invalid},
		"alg none":                   {by(key, map[string]any{"alg": "none"}, nil), 401, "algorithm_mismatch", idp, invalid},
		"the public key as a secret": {by(identitytest.SecretKey(string(identitytest.JWKS(key))), map[string]any{"kid": "key-1"}, nil), 401, "algorithm_mismatch", idp, invalid},
		"another issuer":             {by(key, nil, map[string]any{"iss": "https://evil.example.com"}), 401, "issuer_mismatch", "", invalid},
		"a slash at the end":         {by(key, nil, map[string]any{"iss": idp + "/"}), 401, "issuer_mismatch", "", invalid},
		"another typ":                {by(key, map[string]any{"typ": "logout+jwt"}, nil), 401, "type_mismatch", idp, invalid},
		"crit":                       {by(key, map[string]any{"crit": []string{"x"}}, nil), 401, "header_invalid", idp, invalid},
		"no token":                   {"a.b", 401, "token_malformed", "", invalid},
		"a life of a day":            {by(key, nil, map[string]any{"exp": now + 86_400}), 401, "lifetime_too_long", idp, invalid},
		"an invalid id":              {by(key, nil, map[string]any{"sub": "a\nb"}), 401, "claims_invalid", idp, invalid},
		"Auth.js's own":              {"eyJhbGciOiJkaXIiLCJlbmMiOiJBMjU2Q0JDLUhTNTEyIn0..aXY.Y2lwaGVy.dGFn", 401, "token_encrypted", "", "keep its sessions in the database"},
		"of a disabled user":         {by(key, nil, map[string]any{"sub": "eve"}), 403, "user_disabled", idp, "This user is disabled."},
		"of a user without grants":   {by(key, nil, map[string]any{"sub": "a:b"}), 403, "no_grant", idp, "No grant"},
		"an unknown kid":             {by(key, map[string]any{"kid": "key-2"}, nil), 503, "", "", "Try again"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			req := r.bearing(t, secret.New(test.token), `{}`)
			req.AddCookie(&http.Cookie{Name: cookie, Value: sessionToken("ada", "")}) // not fallen back to
			a := send(t, r.Server, req)
			told := a.problem(t)
			if a.status != test.status || !strings.Contains(told.Reason, test.tells) {
				t.Errorf("status %d, %q; want %d, %q", a.status, told.Reason, test.status, test.tells)
			}
			if test.status == 503 {
				// The provider is asked at most once in 30 s.
				if seconds, err := strconv.Atoi(a.header.Get("Retry-After")); err != nil || seconds < 1 || seconds > 30 {
					t.Errorf("Retry-After = %q, want 1 to 30", a.header.Get("Retry-After"))
				}
				return
			}
			d := r.denial(t, a)
			caller, _, _ := strings.Cut(d.caller, " ")
			if d.reason != test.reason || d.kind != "provider" || caller != test.caller {
				t.Errorf("row %+v, want %s of %q", d, test.reason, test.caller)
			}
			if strings.Contains(r.log.String(), test.token) {
				t.Error("the token is in the log")
			}
		})
	}
}

// Without providers, the issuer of every token is unknown. On Liveblocks' routes, a token
// does not count as a secret key.
func TestProviderTokenWhereNoneIsTaken(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	token := identitytest.New(idp, "").Token(nil)
	a := send(t, r.Server, r.bearing(t, token, `{}`))
	if d := r.denial(t, a); a.status != 401 || d.reason != "issuer_mismatch" {
		t.Errorf("status %d, row %+v", a.status, d)
	}
	req := r.bearing(t, token, `{"userId":"ada","permissions":{}}`)
	req.URL.Path = "/v2/authorize-user"
	a = send(t, r.Server, req)
	if d := r.denial(t, a); a.status != 403 || d.reason != "bad_api_key" || !strings.Contains(string(a.body), "INVALID_SECRET_KEY") {
		t.Errorf("status %d, row %+v, %s", a.status, d, a.body)
	}
}

// A provider that is down affects only its own users, who are told to try again.
func TestProviderDown(t *testing.T) {
	t.Parallel()
	p := identitytest.New(idp, idp+"/jwks")
	p.Answer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusBadGateway) }))
	r := newRigWith(t, dbtest.New(t), providersOf(t, p, oidc))
	a := send(t, r.Server, r.bearing(t, p.Token(map[string]any{"aud": "usher", "sub": "ada"}), `{}`))
	if a.status != 503 || !regexp.MustCompile(`^[1-9]$`).MatchString(a.header.Get("Retry-After")) || a.problem(t).Error != "unavailable" {
		t.Errorf("status %d, Retry-After %q: %s", a.status, a.header.Get("Retry-After"), a.body)
	}
	if a := send(t, r.Server, r.as(t, "ada", `{}`)); a.status != 200 {
		t.Errorf("a session: %d", a.status)
	}
	// Faults have no row: they say nothing about the caller.
	var rows int
	if err := r.pg.Pool.QueryRow(t.Context(), `SELECT count(*) FROM audit.denials`).Scan(&rows); err != nil || rows != 0 {
		t.Errorf("%d denials, %v", rows, err)
	}
	if !strings.Contains(r.log.String(), fmt.Sprintf("keys of %s", idp)) {
		t.Error("the log does not name the provider")
	}
}
