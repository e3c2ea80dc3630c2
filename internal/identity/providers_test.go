package identity_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/usher-auth/usher/internal/codes"
	"github.com/usher-auth/usher/internal/identity"
	"github.com/usher-auth/usher/internal/identity/identitytest"
	"github.com/usher-auth/usher/internal/jwk"
	"github.com/usher-auth/usher/internal/secret"
	"github.com/usher-auth/usher/session"
)

const (
	issuerURL = "https://id.example.com"
	keysURL   = "https://id.example.com/jwks"
	plain     = "oidc issuer=" + issuerURL + " jwks=" + keysURL + " aud=usher"
)

// verifier reads the lines. Every address leads to the provider, or to another transport.
func verifier(t testing.TB, keys http.RoundTripper, lines ...string) *identity.Providers {
	t.Helper()
	issuers, err := identity.ParseProviders(lines)
	if err != nil {
		t.Fatal(err)
	}
	u, err := identity.NewProviders(identity.ProvidersConfig{Providers: issuers, Transport: keys})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(u.Close)
	return u
}

// reasonOf returns the code of a refusal, "unavailable" for a fault, and "" for no error.
func reasonOf(t testing.TB, err error) string {
	t.Helper()
	if e, ok := errors.AsType[*identity.ProviderTokenError](err); ok {
		return e.Code
	}
	if errors.Is(err, session.ErrKeysUnavailable) {
		return "unavailable"
	}
	if err != nil {
		t.Errorf("got %T %v", err, err)
	}
	return ""
}

type m = map[string]any

// Each fault of a token has its own reason. Only a token without another fault is refused as
// expired.
func TestProviderTokenRefusals(t *testing.T) {
	t.Parallel()
	p := identitytest.New(issuerURL, keysURL)
	key, stranger := identitytest.NewKey(session.EdDSA, "key-1"), identitytest.NewKey(session.EdDSA, "key-1")
	ec := identitytest.NewKey(session.ES256, "key-2")
	p.SetKeys(key, ec)
	u := verifier(t, p, plain+" typ=JWT azp=web require=email_verified=true refuse=banned") // fetches at once
	good := m{"aud": "usher", "azp": "web", "email_verified": true}
	with := func(more m) m {
		all := m{}
		for k, v := range good {
			all[k] = v
		}
		for k, v := range more {
			all[k] = v
		}
		return all
	}
	by := func(key identitytest.Key, header, claims m) string {
		return p.TokenBy(key, header, with(claims)).Reveal()
	}
	now := time.Now().Unix()
	for name, test := range map[string]struct{ token, want string }{
		"good":                           {by(key, nil, nil), ""},
		"good by the other key":          {by(ec, nil, nil), ""},
		"aud in an array":                {by(key, nil, m{"aud": []string{"a", "usher"}}), ""},
		"an unusual typ":                 {by(key, m{"typ": "application/jwt"}, nil), ""},
		"no typ":                         {by(key, m{"typ": nil}, nil), codes.TypeMismatch},
		"encrypted":                      {"eyJhbGciOiJkaXIifQ..a.b.c", codes.TokenEncrypted},
		"empty":                          {"", codes.TokenMalformed},
		"dots":                           {strings.Repeat(".", 100_000), codes.TokenMalformed},
		"two parts":                      {"a.b", codes.TokenMalformed},
		"blank":                          {by(key, nil, nil) + " ", codes.TokenMalformed},
		"too long":                       {by(key, nil, m{"x": strings.Repeat("x", 16<<10)}), codes.TokenMalformed},
		"crit":                           {by(key, m{"crit": []string{"exp"}}, nil), codes.HeaderInvalid},
		"b64":                            {by(key, m{"b64": false}, nil), codes.HeaderInvalid},
		"zip":                            {by(key, m{"zip": "DEF"}, nil), codes.HeaderInvalid},
		"enc":                            {by(key, m{"enc": "A256GCM"}, nil), codes.HeaderInvalid},
		"members that change nothing":    {by(key, m{"gty": []string{"password"}, "ver": "1.0", "x5c": []string{"x"}, "jku": "https://evil.example.com", "cty": "JWT"}, nil), ""},
		"a stranger's jwk":               {by(stranger, m{"jwk": stranger.JWK()}, nil), codes.SignatureInvalid},
		"a stranger's jku":               {by(stranger, m{"jku": "https://evil.example.com"}, nil), codes.SignatureInvalid},
		"a stranger's x5u":               {by(stranger, m{"x5u": "https://evil.example.com"}, nil), codes.SignatureInvalid},
		"a stranger's x5c":               {by(stranger, m{"x5c": []string{"x"}}, nil), codes.SignatureInvalid},
		"another issuer":                 {by(key, nil, m{"iss": "https://evil.example.com"}), codes.IssuerMismatch},
		"a slash at the end":             {by(key, nil, m{"iss": issuerURL + "/"}), codes.IssuerMismatch},
		"other case":                     {by(key, nil, m{"iss": "https://ID.example.com"}), codes.IssuerMismatch},
		"issuers":                        {by(key, nil, m{"iss": []string{issuerURL}}), codes.IssuerMismatch},
		"no issuer":                      {by(key, nil, m{"iss": nil}), codes.IssuerMismatch},
		"alg none":                       {by(key, m{"alg": "none"}, nil), codes.AlgorithmMismatch},
		"alg in other case":              {by(key, m{"alg": "eddsa"}, nil), codes.AlgorithmMismatch},
		"no alg":                         {by(key, m{"alg": nil}, nil), codes.AlgorithmMismatch},
		"alg of the other key":           {by(ec, m{"kid": "key-1"}, nil), codes.AlgorithmMismatch},
		"a public key as a secret":       {by(identitytest.SecretKey(string(identitytest.JWKS(key))), m{"kid": "key-1"}, nil), codes.AlgorithmMismatch},
		"no kid, and one key fits":       {by(key, m{"kid": nil}, nil), ""},
		"no kid, by a stranger":          {by(stranger, m{"kid": nil}, nil), codes.SignatureInvalid},
		"kid is null":                    {by(key, m{"kid": json.RawMessage("null")}, nil), codes.KeyUnknown},
		"kid is empty":                   {by(key, m{"kid": ""}, nil), codes.KeyUnknown},
		"kid is a number":                {by(key, m{"kid": 1}, nil), codes.KeyUnknown},
		"a long kid":                     {by(key, m{"kid": strings.Repeat("k", 129)}, nil), codes.KeyUnknown},
		"a stranger's key of that kid":   {by(stranger, nil, nil), codes.SignatureInvalid},
		"and expired":                    {by(stranger, nil, m{"iat": now - 100, "exp": now - 10}), codes.SignatureInvalid},
		"another typ":                    {by(key, m{"typ": "logout+jwt"}, nil), codes.TypeMismatch},
		"typ is a number":                {by(key, m{"typ": 1}, nil), codes.TypeMismatch},
		"typ is empty":                   {by(key, m{"typ": ""}, nil), codes.TypeMismatch},
		"no aud":                         {by(key, nil, m{"aud": nil}), codes.AudienceMismatch},
		"aud is null":                    {by(key, nil, m{"aud": json.RawMessage("null")}), codes.AudienceMismatch},
		"aud is empty":                   {by(key, nil, m{"aud": ""}), codes.AudienceMismatch},
		"aud is an empty array":          {by(key, nil, m{"aud": []string{}}), codes.AudienceMismatch},
		"aud is another's":               {by(key, nil, m{"aud": "usher2"}), codes.AudienceMismatch},
		"aud in other case":              {by(key, nil, m{"aud": "Usher"}), codes.AudienceMismatch},
		"aud holds what is no text":      {by(key, nil, m{"aud": []any{"usher", 1}}), codes.AudienceMismatch},
		"aud is nested":                  {by(key, nil, m{"aud": []any{[]any{"usher"}}}), codes.AudienceMismatch},
		"no azp":                         {by(key, nil, m{"azp": nil}), codes.AudienceMismatch},
		"azp is another's":               {by(key, nil, m{"azp": "web2"}), codes.AudienceMismatch},
		"a claim is missing":             {by(key, nil, m{"email_verified": nil}), codes.ClaimRefused},
		"a claim is not as required":     {by(key, nil, m{"email_verified": false}), codes.ClaimRefused},
		"a claim is there that must not": {by(key, nil, m{"banned": "x"}), codes.ClaimRefused},
		"no sub":                         {by(key, nil, m{"sub": nil}), codes.ClaimsInvalid},
		"sub is empty":                   {by(key, nil, m{"sub": ""}), codes.ClaimsInvalid},
		"sub is a number":                {by(key, nil, m{"sub": 1}), codes.ClaimsInvalid},
		"sub has a line break":           {by(key, nil, m{"sub": "a\nb"}), codes.ClaimsInvalid},
		"sub is too long":                {by(key, nil, m{"sub": strings.Repeat("u", 129)}), codes.ClaimsInvalid},
		"no exp":                         {by(key, nil, m{"exp": nil}), codes.ClaimsInvalid},
		"no iat":                         {by(key, nil, m{"iat": nil}), codes.ClaimsInvalid},
		"exp is a text":                  {by(key, nil, m{"exp": fmt.Sprint(now + 60)}), codes.ClaimsInvalid},
		"exp is beyond all time":         {by(key, nil, m{"exp": json.RawMessage("1e400")}), codes.ClaimsInvalid},
		"a life of a day":                {by(key, nil, m{"exp": now + 86_400}), codes.LifetimeTooLong},
		"exp before iat":                 {by(key, nil, m{"iat": now, "exp": now - 1}), codes.ClaimsInvalid},
		"nbf is a text":                  {by(key, nil, m{"nbf": "now"}), codes.ClaimsInvalid},
		"nbf is to come":                 {by(key, nil, m{"nbf": now + 500}), codes.TokenNotYetValid},
		"nbf is within the leeway":       {by(key, nil, m{"nbf": now + 20}), ""},
		"iat is to come":                 {by(key, nil, m{"iat": now + 500}), codes.TokenNotYetValid},
		"expired":                        {by(key, nil, m{"iat": now - 100, "exp": now - 1}), codes.TokenExpired},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := u.Verify(t.Context(), secret.New(test.token))
			if got := reasonOf(t, err); got != test.want {
				t.Errorf("got %q (%v), want %q", got, err, test.want)
			}
			if e, ok := errors.AsType[*identity.ProviderTokenError](err); ok {
				known := test.want != codes.TokenMalformed && test.want != codes.TokenEncrypted && test.want != codes.IssuerMismatch
				if (e.Issuer == issuerURL) != known {
					t.Errorf("the error names the issuer %q", e.Issuer)
				}
				if test.token != "" && strings.Contains(err.Error(), test.token[max(0, len(test.token)-20):]) {
					t.Error("the error repeats the token")
				}
			}
		})
	}
}

// The forms of claims: what counts as present, as required, and as a list.
func TestClaimForms(t *testing.T) {
	t.Parallel()
	p := identitytest.New(issuerURL, keysURL)
	u := verifier(t, p, plain+" require=roles=admin require=roles=1 refuse=/status/blocked=true groups=groups organization=org user=/ids/a~1b~0")
	good := m{"aud": "usher", "sub": nil, "roles": "admin", "ids": m{"a/b~": "user_1"}}
	for name, test := range map[string]struct {
		claims m
		reason string
		groups []string
	}{
		"nothing more":               {nil, "", []string{}},
		"a value in an array":        {m{"roles": []any{"x", true, "admin"}}, "", []string{}},
		"a number as it is written":  {m{"roles": 1}, "", []string{}},
		"a value of another type":    {m{"roles": m{"admin": true}}, codes.ClaimRefused, nil},
		"others in an array":         {m{"roles": []any{"x", "admins"}}, codes.ClaimRefused, nil},
		"a required claim is null":   {m{"roles": json.RawMessage("null")}, codes.ClaimRefused, nil},
		"a refused value":            {m{"status": m{"blocked": true}}, codes.ClaimRefused, nil},
		"not the refused value":      {m{"status": m{"blocked": false}}, "", []string{}},
		"no members under a pointer": {m{"status": "blocked"}, "", []string{}},
		"one group":                  {m{"groups": "a"}, "", []string{"a"}},
		"no groups":                  {m{"groups": []string{}}, "", []string{}},
		"groups are null":            {m{"groups": json.RawMessage("null")}, "", []string{}},
		"a group is a number":        {m{"groups": []any{"a", 1}}, codes.ClaimsInvalid, nil},
		"groups are a number":        {m{"groups": 1}, codes.ClaimsInvalid, nil},
		"500 groups":                 {m{"groups": strings.Split(strings.Repeat("a ", 499)+"b", " ")}, "", []string{"a", "b"}},
		"no organization":            {m{"org": json.RawMessage("null")}, "", []string{}},
		"organizations":              {m{"org": []string{"a"}}, codes.ClaimsInvalid, nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			claims := m{}
			for _, from := range []m{good, test.claims} {
				for k, v := range from {
					claims[k] = v
				}
			}
			got, err := u.Verify(t.Context(), p.Token(claims))
			if reason := reasonOf(t, err); reason != test.reason {
				t.Fatalf("got %q (%v), want %q", reason, err, test.reason)
			}
			if diff := cmp.Diff(test.groups, got.Groups); diff != "" {
				t.Errorf("groups (-want +got):\n%s", diff)
			}
		})
	}
}

// From a list that is too long, always the same first 500 ids are read. The others are reported, so
// that their memberships are not ended.
func TestLongLists(t *testing.T) {
	t.Parallel()
	p := identitytest.New(issuerURL, keysURL)
	u := verifier(t, p, plain+" groups=groups organizations=orgs")
	for _, count := range []int{499, 500, 501, 1_500} {
		ids := make([]string, count)
		for n := range ids {
			ids[n] = fmt.Sprintf("%04d", count-n)
		}
		asObject := m{}
		for _, id := range ids {
			asObject[id] = m{}
		}
		got, err := u.Verify(t.Context(), p.Token(m{"aud": "usher", "groups": append(ids, "bad\nid", ids[0]), "orgs": asObject}))
		if count > 1_000 { // two such lists are more than a token may have
			got, err = u.Verify(t.Context(), p.Token(m{"aud": "usher", "groups": append(ids, "bad\nid", ids[0])}))
			got.Organizations, got.OrganizationsLeftOut = got.Groups, got.GroupsLeftOut
		}
		if err != nil {
			t.Errorf("%d groups: %v", count, err)
			continue
		}
		slices.Sort(ids)
		read := min(count, 500)
		for _, list := range []struct{ got, leftOut []string }{{got.Groups, got.GroupsLeftOut}, {got.Organizations, got.OrganizationsLeftOut}} {
			if diff := cmp.Diff(ids[:read], list.got); diff != "" {
				t.Errorf("of %d, read (-want +got):\n%s", count, diff)
			}
			if diff := cmp.Diff(ids[read:], list.leftOut, cmpopts.EquateEmpty()); diff != "" {
				t.Errorf("of %d, left out (-want +got):\n%s", count, diff)
			}
		}
		if got.Skipped != 1 {
			t.Errorf("of %d, %d skipped, want 1", count, got.Skipped)
		}
	}
}

// Lists that are not arrays: Keycloak writes organizations as an object, with details for each. No
// other value is read as a list.
func TestListsInObjects(t *testing.T) {
	t.Parallel()
	p := identitytest.New(issuerURL, keysURL)
	u := verifier(t, p, plain+" groups=groups organizations=/a/orgs")
	for value, want := range map[string][]string{
		`{"acme":{"id":"1","tier":["gold"]},"Beta":{}}`: {"Beta", "acme"},
		`{}`:                      {},
		`["acme"]`:                {"acme"},
		`"acme"`:                  {"acme"},
		`null`:                    {},
		`{"acme":true}`:           nil,
		`{"acme":false}`:          nil,
		`{"acme":null}`:           nil,
		`{"acme":"member"}`:       nil,
		`{"acme":["member"]}`:     nil,
		`{"acme":{},"beta":0}`:    nil,
		`{"acme":{},"acme":{}}`:   nil, // no JSON that can be read in one way
		`[{"acme":{}}]`:           nil,
		`["acme",null]`:           nil,
		`["acme",["beta"]]`:       nil,
		`true`:                    nil,
		`0`:                       nil,
		`[{"id":"acme"}]`:         nil,
		`{"acme":{"a":{"b":{}}}}`: {"acme"},
	} {
		for _, claims := range []m{{"groups": json.RawMessage(value)}, {"a": m{"orgs": json.RawMessage(value)}}} {
			claims["aud"] = "usher"
			got, err := u.Verify(t.Context(), p.Token(claims))
			list := got.Groups
			if _, there := claims["a"]; there {
				list = got.Organizations
			}
			if (err == nil) != (want != nil) || err == nil && !slices.Equal(list, want) {
				t.Errorf("%s in %v: got %q, %v; want %q", value, slices.Collect(maps.Keys(claims)), list, err, want)
			}
		}
	}
}

// A list that the provider keeps elsewhere is not an empty list: reading it as empty would end the
// memberships that the provider created.
func TestListsElsewhere(t *testing.T) {
	t.Parallel()
	p := identitytest.New(issuerURL, keysURL)
	const reads = " groups=groups organizations=/ms/orgs"
	source := m{"src1": m{"endpoint": "https://graph.example.com"}}
	for name, test := range map[string]struct {
		settings string
		claims   m
		want     string
	}{
		"a distributed claim":                {reads, m{"_claim_names": m{"groups": "src1"}, "_claim_sources": source}, codes.ClaimsIncomplete},
		"and a part of the list":             {reads, m{"_claim_names": m{"groups": "src1"}, "groups": []string{"a"}}, codes.ClaimsIncomplete},
		"of the claim that a pointer enters": {reads, m{"_claim_names": m{"ms": "src1"}}, codes.ClaimsIncomplete},
		"of another claim":                   {reads, m{"_claim_names": m{"address": "src1"}}, ""},
		"no names":                           {reads, m{"_claim_names": m{}}, ""},
		"null":                               {reads, m{"_claim_names": json.RawMessage("null")}, ""},
		"names that cannot be read":          {reads, m{"_claim_names": []string{"groups"}}, codes.ClaimsIncomplete},
		"names in a text":                    {reads, m{"_claim_names": "groups"}, codes.ClaimsIncomplete},
		"hasgroups":                          {reads, m{"hasgroups": true}, codes.ClaimsIncomplete},
		"hasgroups in a text":                {reads, m{"hasgroups": "true"}, codes.ClaimsIncomplete},
		"hasgroups 1":                        {reads, m{"hasgroups": 1}, codes.ClaimsIncomplete},
		"not hasgroups":                      {reads, m{"hasgroups": false}, ""},
		"not hasgroups in a text":            {reads, m{"hasgroups": "false"}, ""},
		"hasgroups null":                     {reads, m{"hasgroups": json.RawMessage("null")}, ""},
		"a source in the claim's name":       {reads, m{"groups:src1": "x"}, codes.ClaimsIncomplete},
		"an active organization elsewhere":   {" organization=org", m{"_claim_names": m{"org": "src1"}}, codes.ClaimsIncomplete},
		"hasgroups, with another claim":      {" groups=roles", m{"hasgroups": true}, ""},
		"what is not read":                   {"", m{"hasgroups": true, "_claim_names": m{"groups": "src1"}}, ""},
		"a name elsewhere":                   {" name=name", m{"_claim_names": m{"name": "src1"}}, ""}, // nothing rests on it
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test.claims["aud"] = "usher"
			_, err := verifier(t, p, plain+test.settings).Verify(t.Context(), p.Token(test.claims))
			if got := reasonOf(t, err); got != test.want {
				t.Errorf("got %q (%v), want %q", got, err, test.want)
			}
		})
	}
}

// forUsher reads claims, null where they are null, and adds the audience.
func forUsher(t testing.TB, text string) m {
	t.Helper()
	var members map[string]json.RawMessage
	if err := json.Unmarshal([]byte(text), &members); err != nil {
		t.Fatal(err)
	}
	claims := m{"aud": "usher"}
	for name, value := range members {
		claims[name] = value
	}
	return claims
}

// A claim listed in only has one of its values, or is missing.
func TestOnly(t *testing.T) {
	t.Parallel()
	p := identitytest.New(issuerURL, keysURL)
	u := verifier(t, p, plain+" only=sts=active only=sts=fresh only=/amr/bound=true")
	for claims, want := range map[string]string{
		`{}`:                       "",
		`{"sts":"active"}`:         "",
		`{"sts":"fresh"}`:          "",
		`{"sts":"pending"}`:        codes.ClaimRefused,
		`{"sts":"Active"}`:         codes.ClaimRefused,
		`{"sts":""}`:               codes.ClaimRefused,
		`{"sts":null}`:             codes.ClaimRefused,
		`{"sts":["active"]}`:       codes.ClaimRefused,
		`{"sts":{"active":true}}`:  codes.ClaimRefused,
		`{"sts":true}`:             codes.ClaimRefused,
		`{"amr":{"bound":true}}`:   "",
		`{"amr":{"bound":"true"}}`: "",
		`{"amr":{"bound":false}}`:  codes.ClaimRefused,
		`{"amr":{"bound":"yes"}}`:  codes.ClaimRefused,
	} {
		_, err := u.Verify(t.Context(), p.Token(forUsher(t, claims)))
		if got := reasonOf(t, err); got != want {
			t.Errorf("%s: got %q (%v), want %q", claims, got, err, want)
		}
	}
}

// azp=optional accepts a token without azp, but not a token with another azp.
func TestOptionalParty(t *testing.T) {
	t.Parallel()
	p := identitytest.New(issuerURL, keysURL)
	for _, test := range []struct {
		settings, claims, want string
	}{
		{" azp=web", `{"azp":"web"}`, ""},
		{" azp=web", `{}`, codes.AudienceMismatch},
		{" azp=web azp=optional", `{"azp":"web"}`, ""},
		{" azp=web azp=optional", `{}`, ""},
		{" azp=web azp=optional", `{"azp":"evil"}`, codes.AudienceMismatch},
		{" azp=web azp=optional", `{"azp":"optional"}`, codes.AudienceMismatch},
		{" azp=web azp=optional", `{"azp":""}`, codes.AudienceMismatch},
		{" azp=web azp=optional", `{"azp":null}`, codes.AudienceMismatch},
		{" azp=web azp=optional", `{"azp":["web"]}`, codes.AudienceMismatch},
		{" azp=web azp=optional", `{"azp":1}`, codes.AudienceMismatch},
		{" azp=optional", `{}`, ""},
		{" azp=optional", `{"azp":"web"}`, codes.AudienceMismatch},
		{" azp=web azp-claim=client_id", `{"client_id":"web"}`, ""},
		{" azp=web azp-claim=client_id", `{"azp":"web"}`, codes.AudienceMismatch},
		{" azp=web azp-claim=client_id", `{"azp":"web","client_id":"evil"}`, codes.AudienceMismatch},
	} {
		_, err := verifier(t, p, plain+test.settings).Verify(t.Context(), p.Token(forUsher(t, test.claims)))
		if got := reasonOf(t, err); got != test.want {
			t.Errorf("%s: %s: got %q (%v), want %q", test.settings, test.claims, got, err, test.want)
		}
	}
}

// A published key cannot be used for an algorithm that the operator did not list.
func TestAlgorithmsOfAnIssuer(t *testing.T) {
	t.Parallel()
	p := identitytest.New(issuerURL, keysURL)
	ec, ed := identitytest.NewKey(session.ES256, "ec"), identitytest.NewKey(session.EdDSA, "ed")
	p.SetKeys(ec, ed)
	u := verifier(t, p, plain+" alg=ES256")
	for key, want := range map[*identitytest.Key]string{&ec: "", &ed: codes.AlgorithmMismatch} {
		_, err := u.Verify(t.Context(), p.TokenBy(*key, nil, m{"aud": "usher"}))
		if got := reasonOf(t, err); got != want {
			t.Errorf("%s: %q (%v), want %q", key.Algorithm, got, err, want)
		}
	}
}

// The log says which rule refused a token, and which issuer's rule it is.
func TestProviderTokenErrorText(t *testing.T) {
	t.Parallel()
	p := identitytest.New(issuerURL, keysURL)
	u := verifier(t, p, plain)
	now := time.Now().Unix()
	for want, token := range map[string]secret.Text{
		"identity: token refused: token_encrypted":                                    secret.New("a.b.c.d.e"),
		"identity: token refused: token_malformed: not three parts separated by dots": secret.New("a.b"),
		"identity: token refused: lifetime_too_long of https://id.example.com: the token is valid for 1h15m, which is longer than max-life=1h: if that is what this provider issues, set max-life=1h15m": p.Token(m{"aud": "usher", "iat": now, "exp": now + 75*60}),
		"identity: token refused: header_invalid of https://id.example.com: the header has zip":                                                                                                          p.TokenBy(identitytest.NewKey(session.EdDSA, "key-1"), m{"zip": "DEF"}, nil),
		"identity: token refused: audience_mismatch of https://id.example.com: aud is not one of [\"usher\"]":                                                                                            p.Token(m{"aud": "x"}),
	} {
		if _, err := u.Verify(t.Context(), token); err == nil || err.Error() != want {
			t.Errorf("got %v, want %s", err, want)
		}
	}
}

// UPS-03, J-11: a kid belongs to one issuer. Two issuers with the same kid do not verify each
// other's tokens, and their users are different.
func TestProvidersAreApart(t *testing.T) {
	t.Parallel()
	a, b := identitytest.New("https://a.example.com", "https://a.example.com/jwks"), identitytest.New("https://b.example.com", "https://b.example.com/jwks")
	u := verifier(t, hosts{"a.example.com": a, "b.example.com": b},
		"oidc issuer=https://a.example.com jwks=https://a.example.com/jwks aud=usher id=a:{sub} typ=JWT",
		"oidc issuer=https://b.example.com jwks=https://b.example.com/jwks aud=usher id=b:{sub} typ=JWT")
	var wg sync.WaitGroup
	for range 20 {
		for _, p := range []*identitytest.Provider{a, b} {
			wg.Go(func() {
				other := map[*identitytest.Provider]*identitytest.Provider{a: b, b: a}[p]
				got, err := u.Verify(t.Context(), p.Token(m{"aud": "usher"}))
				if want := p.Issuer[len("https://"):len("https://")+1] + ":user_1"; err != nil || got.UserID != want {
					t.Errorf("token of %s: user %q, %v; want %q", p.Issuer, got.UserID, err, want)
				}
				_, err = u.Verify(t.Context(), p.Token(m{"aud": "usher", "iss": other.Issuer}))
				if got := reasonOf(t, err); got != codes.SignatureInvalid {
					t.Errorf("token of %s that says it is the other's: %q, want %q", p.Issuer, got, codes.SignatureInvalid)
				}
			})
		}
	}
	wg.Wait()
}

type hosts map[string]http.RoundTripper

func (h hosts) RoundTrip(r *http.Request) (*http.Response, error) { return h[r.URL.Host].RoundTrip(r) }

// UPS-05: tokens with invented kids cause one fetch in 30 s and do not affect others. The answer is
// to try again, because the kid may be that of a new key.
func TestUnknownKeysFlood(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := identitytest.New(issuerURL, keysURL)
		key := identitytest.NewKey(session.EdDSA, "key-1")
		p.SetKeys(key)
		u := verifier(t, p, plain)
		claims := m{"aud": "usher"}
		good := p.TokenBy(key, nil, m{"aud": "usher", "exp": time.Now().Add(50 * time.Minute).Unix()})
		reasons := map[string]int{}
		start := time.Now()
		for n := range 10_000 {
			_, err := u.Verify(t.Context(), p.TokenBy(key, m{"kid": fmt.Sprint("made-up-", n)}, claims))
			reasons[reasonOf(t, err)]++
			if e, ok := errors.AsType[*identity.KeysUnavailableError](err); ok {
				fetches := p.Fetches()
				if want := 30*time.Second - time.Since(fetches[len(fetches)-1]); e.RetryAfter != want {
					t.Fatalf("RetryAfter = %s, want the %s that remain", e.RetryAfter, want)
				}
			}
			before := time.Now()
			if _, err := u.Verify(t.Context(), good); err != nil || time.Since(before) > 0 {
				t.Fatalf("a token with a known key: %v after %s", err, time.Since(before))
			}
			time.Sleep(10 * time.Millisecond)
		}
		fetches := p.Fetches()
		for n := 1; n < len(fetches); n++ {
			if pause := fetches[n].Sub(fetches[n-1]); pause < 30*time.Second {
				t.Errorf("fetches %s apart, want 30s at least", pause)
			}
		}
		if most := int(time.Since(start)/(30*time.Second)) + 1; len(fetches) > most {
			t.Errorf("%d fetches, want at most %d", len(fetches), most)
		}
		// Tokens for which a fetch was made are refused. All others must wait.
		if got, want := reasons[codes.KeyUnknown], len(fetches); got != want || reasons["unavailable"] != 10_000-want {
			t.Errorf("reasons %v, want %d unknown keys", reasons, want)
		}

		// A new key is found with the next fetch.
		fresh := identitytest.NewKey(session.EdDSA, "key-2")
		p.SetKeys(fresh, key)
		time.Sleep(30 * time.Second)
		if _, err := u.Verify(t.Context(), p.Token(claims)); err != nil {
			t.Errorf("a new key: %v", err)
		}
		u.Close()
		synctest.Wait()
	})
}

// UPS-06: a key that the provider removed is no longer accepted after 10 minutes, even if it is used
// all the time.
func TestWithdrawnKey(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := identitytest.New(issuerURL, keysURL)
		old, fresh := identitytest.NewKey(session.EdDSA, "key-1"), identitytest.NewKey(session.EdDSA, "key-2")
		p.SetKeys(old)
		u := verifier(t, p, plain)
		verify := func() error {
			_, err := u.Verify(t.Context(), p.TokenBy(old, nil, m{"aud": "usher"}))
			return err
		}
		if err := verify(); err != nil {
			t.Fatal(err)
		}
		p.SetKeys(fresh)
		withdrawn := time.Now()
		for verify() == nil {
			if time.Since(withdrawn) > 10*time.Minute {
				t.Fatal("still taken after 10 minutes")
			}
			time.Sleep(time.Second)
		}
		u.Close()
		synctest.Wait()
	})
}

// UPS-07, UPS-08: whatever a provider answers, its last good keys are still used and no request
// waits. Without keys, only its own tokens are answered with a fault.
func TestBadKeySources(t *testing.T) {
	t.Parallel()
	good := string(identitytest.JWKS(identitytest.NewKey(session.EdDSA, "key-9")))
	thousand := make([]identitytest.Key, 1_000)
	for n := range thousand {
		thousand[n] = identitytest.NewKey(session.EdDSA, fmt.Sprint("key-", n))
	}
	many := identitytest.JWKS(thousand...)
	for name, handler := range map[string]http.HandlerFunc{
		"hangs": func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() },
		"redirects": func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "https://evil.example.com/jwks", http.StatusFound)
		},
		"HTML": func(w http.ResponseWriter, _ *http.Request) {
			_, _ = io.WriteString(w, "<!doctype html><title>Sign in</title>")
		},
		"an error": func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusBadGateway)
			_, _ = io.WriteString(w, good)
		},
		"truncated":  func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, good[:len(good)-2]) },
		"no keys":    func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, `{"keys":[]}`) },
		"1,000 keys": func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(many) },
		"a secret key": func(w http.ResponseWriter, _ *http.Request) {
			_, _ = io.WriteString(w, `{"keys":[{"kty":"oct","kid":"key-1","alg":"HS256","k":"c2VjcmV0"}]}`)
		},
		"a private key": func(w http.ResponseWriter, _ *http.Request) {
			_, _ = io.WriteString(w, strings.Replace(good, `"kty"`, `"d":"nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A","kty"`, 1))
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				p, healthy := identitytest.New(issuerURL, keysURL), identitytest.New("https://other.example.com", "https://other.example.com/jwks")
				issuers, err := identity.ParseProviders([]string{
					plain + " id=a:{sub}", "oidc issuer=https://other.example.com jwks=https://other.example.com/jwks aud=usher id=b:{sub}",
				})
				if err != nil {
					t.Fatal(err)
				}
				start := func(failures *atomic.Int32) *identity.Providers {
					u, err := identity.NewProviders(identity.ProvidersConfig{
						Providers: issuers, Transport: hosts{"id.example.com": p, "other.example.com": healthy},
						OnError: func(issuer string, err error) {
							failures.Add(1)
							if issuer != issuerURL || err == nil {
								t.Errorf("OnError(%q, %v)", issuer, err)
							}
						},
					})
					if err != nil {
						t.Fatal(err)
					}
					return u
				}
				// For one process, the provider fails after the start. For the
				// other, it never worked.
				var failedLater, failedFirst atomic.Int32
				warm := start(&failedLater)
				if _, err := warm.Verify(t.Context(), p.Token(m{"aud": "usher"})); err != nil {
					t.Fatal(err)
				}
				p.Answer(handler)
				cold := start(&failedFirst)
				for range 200 { // more than 16 minutes, so there are some refreshes
					time.Sleep(5 * time.Second)
					before := time.Now()
					if _, err := warm.Verify(t.Context(), p.Token(m{"aud": "usher"})); err != nil || time.Since(before) > 0 {
						t.Fatalf("a known key: %v after %s", err, time.Since(before))
					}
				}
				ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
				defer cancel()
				_, err = cold.Verify(ctx, p.Token(m{"aud": "usher"}))
				if got := reasonOf(t, err); got != "unavailable" {
					t.Errorf("without any keys: %q (%v), want a fault", got, err)
				}
				if _, err := cold.Verify(t.Context(), healthy.Token(m{"aud": "usher"})); err != nil {
					t.Errorf("the other provider's: %v", err)
				}
				if later, first := failedLater.Load(), failedFirst.Load(); later == 0 || first == 0 {
					t.Errorf("OnError was called %d and %d times", later, first)
				}

				if name == "hangs" { // whatever it is, after a day the old keys are too old
					time.Sleep(25 * time.Hour)
					_, err = warm.Verify(ctx, p.Token(m{"aud": "usher"}))
					if got := reasonOf(t, err); got != "unavailable" {
						t.Errorf("after a day: %q (%v), want a fault", got, err)
					}
				}
				p.Answer(nil)
				time.Sleep(time.Minute)
				for _, u := range []*identity.Providers{warm, cold} {
					if _, err := u.Verify(t.Context(), p.Token(m{"aud": "usher"})); err != nil {
						t.Errorf("when it is back: %v", err)
					}
					u.Close()
				}
				synctest.Wait()
			})
		})
	}
}

// While a fetch hangs, only a few requests wait for it, and none with a known key.
func TestHangingFetchKeepsFewWaiting(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := identitytest.New(issuerURL, keysURL)
		key := identitytest.NewKey(session.EdDSA, "key-1")
		p.SetKeys(key)
		u := verifier(t, p, plain)
		good := p.Token(m{"aud": "usher"})
		if _, err := u.Verify(t.Context(), good); err != nil {
			t.Fatal(err)
		}
		p.Answer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }))
		time.Sleep(30 * time.Second)
		var wg sync.WaitGroup
		var mu sync.Mutex
		waited := 0
		for n := range 1_000 {
			wg.Go(func() {
				ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
				defer cancel()
				before := time.Now()
				_, err := u.Verify(ctx, p.TokenBy(key, m{"kid": fmt.Sprint(n)}, m{"aud": "usher"}))
				if got := reasonOf(t, err); got != "unavailable" {
					t.Errorf("got %q, want a fault", got)
				}
				if time.Since(before) > 0 {
					mu.Lock()
					waited++
					mu.Unlock()
				}
			})
		}
		wg.Go(func() {
			before := time.Now()
			if _, err := u.Verify(t.Context(), good); err != nil || time.Since(before) > 0 {
				t.Errorf("a known key: %v after %s", err, time.Since(before))
			}
		})
		wg.Wait()
		if waited != 64 {
			t.Errorf("%d waited, want 64", waited)
		}
		time.Sleep(5 * time.Second) // the fetch ends
		u.Close()
		synctest.Wait()
	})
}

// Tokens that our own verifier must refuse are refused here too, except for faults that only
// usher's own tokens must not have.
func TestAttackVectorsOfProviders(t *testing.T) {
	t.Parallel()
	// Providers may do what usher does not: other claims with the same names, a kid of any
	// characters or no kid, a header that changes nothing, a key twice or with padding. And
	// exp has no leeway.
	lawful := regexp.MustCompile(`^(own-|jti-|kid-path$|kid-missing$|hdr-(refuse-|jku|x5u|x5c|x5t|cty|foo|$)|key-1[12]-same-twice$|key-14-x-padded$)`)
	stricter := regexp.MustCompile(`^exp-in-leeway`)
	for _, name := range []string{"jwt_attacks.json", "jwt_attacks_more.json"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			data, err := os.ReadFile(filepath.Join("..", "..", "session", "testdata", name))
			if err != nil {
				t.Fatal(err)
			}
			var f struct {
				Iss, Aud string
				Now      int64
				JWKS     json.RawMessage
				Vectors  []struct{ ID, Token, Result string }
			}
			if err := json.Unmarshal(data, &f); err != nil || len(f.Vectors) == 0 {
				t.Fatal(err)
			}
			set, err := jwk.Profile{Algorithms: jwk.Algorithms(), Lenient: true}.ParseSet(f.JWKS)
			if err != nil {
				t.Fatal(err)
			}
			u, err := identity.NewProviders(identity.ProvidersConfig{
				Providers: []identity.ProviderConfig{{Issuers: []string{f.Iss}, Keys: identity.NewKeySet(set.Keys...), Audiences: []string{f.Aud}, Types: []string{"at+jwt"}}},
				Now:       func() time.Time { return time.Unix(f.Now, 0) },
			})
			if err != nil {
				t.Fatal(err)
			}
			for _, v := range f.Vectors {
				_, err := u.Verify(t.Context(), secret.New(v.Token))
				valid := v.Result == "valid" && !stricter.MatchString(v.ID) || lawful.MatchString(v.ID) || name == "jwt_attacks_more.json" && v.ID == "hdr-jwk"
				if (err == nil) != valid {
					t.Errorf("%s: got %v, want valid %t", v.ID, err, valid)
				}
			}
		})
	}
}
