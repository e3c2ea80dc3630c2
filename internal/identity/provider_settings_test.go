package identity_test

import (
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/usher-auth/usher/internal/identity"
	"github.com/usher-auth/usher/internal/identity/identitytest"
	"github.com/usher-auth/usher/internal/secret"
	"github.com/usher-auth/usher/session"
)

func TestParseProviders(t *testing.T) {
	t.Parallel()
	got, err := identity.ParseProviders([]string{
		"", "  # a remark", // as in a file of lines
		"clerk\tissuer=https://clerk.example.com  azp=https://app.example.com id=clerk:{sub} leeway=10s",
		`oidc issuer=https://id.example.com aud="the audience" aud=b jwks=https://keys.example.com/a=b typ=none typ=custom+jwt alg=ES256
			require=role=a require=role=b require=tenant refuse=guest id="o: {sub}" max-life=8h private=yes name= email=/profile/e~1mail`,
	})
	if err != nil {
		t.Fatal(err)
	}
	want := []identity.ProviderConfig{
		{
			Issuers: []string{"https://clerk.example.com"}, JWKS: "https://clerk.example.com/.well-known/jwks.json",
			Algorithms: []string{"RS256"}, Parties: []string{"https://app.example.com"}, Types: []string{"JWT"},
			Require: []identity.ClaimRule{{Claim: "sid"}, {Claim: "v", Values: []string{"2"}}},
			Only:    []identity.ClaimRule{{Claim: "sts", Values: []string{"active"}}}, PartyClaim: "azp",
			UserClaim: "sub", ID: "clerk:{sub}", OrganizationClaim: "/o/id", SessionClaim: "sid", MaxLife: time.Hour, Leeway: 10 * time.Second,
		},
		{
			Issuers: []string{"https://id.example.com"}, JWKS: "https://keys.example.com/a=b", AllowPrivate: true,
			Algorithms: []string{"ES256"}, Audiences: []string{"the audience", "b"}, Types: []string{"", "custom+jwt"},
			Require: []identity.ClaimRule{{Claim: "role", Values: []string{"a", "b"}}, {Claim: "tenant"}},
			Refuse:  []identity.ClaimRule{{Claim: "guest"}}, PartyClaim: "azp",
			UserClaim: "sub", ID: "o: {sub}", AvatarClaim: "picture", EmailClaim: "/profile/e~1mail", SessionClaim: "sid", MaxLife: 8 * time.Hour, Leeway: 30 * time.Second,
		},
	}
	ignore := cmpopts.IgnoreFields(identity.ProviderConfig{}, "Keys", "Secret")
	if diff := cmp.Diff(want, got, ignore); diff != "" {
		t.Errorf("ParseProviders() (-want +got):\n%s", diff)
	}
}

// Each fault names its issuer and its setting, and all faults are reported at once.
func TestParseProvidersFaults(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file := func(name, content string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	short, empty, long := file("short", strings.Repeat("s", 31)), file("empty", "\n"), file("long", strings.Repeat("s", 32))
	noKeys := file("keys.json", `{"keys":[]}`)
	const id = "issuer https://id.example.com: "
	for name, test := range map[string]struct {
		lines []string
		want  []string
	}{
		"no preset":                {[]string{"okta issuer=https://id.example.com"}, []string{`issuer 1: preset: "okta" is not one of auth0, authjs, better-auth, clerk, cognito,`}},
		"no issuer":                {[]string{"oidc aud=a"}, []string{"issuer 1: issuer: it is missing"}},
		"no audience":              {[]string{"oidc issuer=https://id.example.com"}, []string{id + "aud: neither aud nor azp is given"}},
		"any and some audience":    {[]string{"oidc issuer=https://id.example.com aud=a any-audience=yes"}, []string{id + "any-audience:"}},
		"Clerk's without azp":      {[]string{"clerk issuer=https://id.example.com aud=a"}, []string{id + "azp: it is missing"}},
		"Auth.js's without keys":   {[]string{"authjs issuer=https://id.example.com aud=a"}, []string{id + "jwks: the keys have 0 sources"}},
		"keys of two sources":      {[]string{"oidc issuer=https://id.example.com aud=a discovery=yes secret-file=" + long}, []string{id + "jwks: the keys have 2 sources"}},
		"a short secret":           {[]string{"authjs issuer=https://id.example.com aud=a secret-file=" + short}, []string{id + "secret-file: the secret is shorter than 32 bytes"}},
		"an empty secret":          {[]string{"authjs issuer=https://id.example.com aud=a secret-file=" + empty}, []string{id + "secret-file: " + empty + " is empty"}},
		"a secret that is gone":    {[]string{"authjs issuer=https://id.example.com aud=a secret-file=" + dir + "/none"}, []string{id + "secret-file: open " + dir + "/none: no such file"}},
		"a file without keys":      {[]string{"authjs issuer=https://id.example.com aud=a keys-file=" + noKeys}, []string{id + "keys-file: no usable key at " + noKeys + ": the set is empty"}},
		"HS256 for public keys":    {[]string{"oidc issuer=https://id.example.com aud=a alg=HS256"}, []string{id + `alg: "HS256" is not one of EdDSA`}},
		"RS256 for a secret":       {[]string{"authjs issuer=https://id.example.com aud=a alg=RS256 secret-file=" + long}, []string{id + `alg: "RS256" is not one of HS256`}},
		"none":                     {[]string{"oidc issuer=https://id.example.com aud=a alg=none"}, []string{id + `alg: "none"`}},
		"no typ":                   {[]string{"oidc issuer=https://id.example.com aud=a typ="}, []string{id + "typ: no typ is accepted"}},
		"an id without a place":    {[]string{"oidc issuer=https://id.example.com aud=a id=ada"}, []string{id + `id: "ada" is neither`}},
		"an id of a claim":         {[]string{"oidc issuer=https://id.example.com aud=a id={email}{sub}"}, []string{id + `id: "{email}{sub}" is neither`}},
		"an unknown setting":       {[]string{"oidc issuer=https://id.example.com aud=a audience=b"}, []string{id + "audience: there is no such setting; there are alg, any-audience, aud,"}},
		"a setting twice":          {[]string{"oidc issuer=https://id.example.com aud=a id=a:{sub} id=b:{sub}"}, []string{id + "id: it is given twice"}},
		"no value":                 {[]string{"oidc issuer=https://id.example.com aud=a private"}, []string{id + `"private" is not a setting, as in name=value`}},
		"quotes without an end":    {[]string{`oidc issuer=https://id.example.com aud="a`}, []string{id + "aud: the closing quote is missing"}},
		"a switch":                 {[]string{"oidc issuer=https://id.example.com aud=a private=true"}, []string{id + `private: "true" is neither yes nor no`}},
		"a time":                   {[]string{"oidc issuer=https://id.example.com aud=a max-life=1d"}, []string{id + `max-life: "1d" is not a duration`}},
		"a long life":              {[]string{"oidc issuer=https://id.example.com aud=a max-life=1000h"}, []string{id + "max-life: 1000h0m0s is not from"}},
		"a long leeway":            {[]string{"oidc issuer=https://id.example.com aud=a leeway=2m"}, []string{id + "leeway: 2m0s is not from"}},
		"azp=optional, and no aud": {[]string{"oidc issuer=https://id.example.com azp=web azp=optional"}, []string{id + "azp: optional accepts a token without it, which may be for any other application: give aud too"}},
		"only without a value":     {[]string{"oidc issuer=https://id.example.com aud=a only=sts"}, []string{id + "only: a claim has no value: write only=claim=value"}},
		"no aud for Entra":         {[]string{"entra issuer=https://id.example.com"}, []string{id + "aud: it is missing: list the application ID"}},
		"an issuer twice": {
			[]string{"oidc issuer=https://id.example.com aud=a id=a:{sub}", "oidc issuer=https://b.example.com issuer=https://id.example.com aud=a id=b:{sub}"},
			[]string{id + "issuer: it is given twice"},
		},
		"the same ids": {
			[]string{"oidc issuer=https://id.example.com aud=a", "oidc issuer=https://b.example.com aud=a"},
			[]string{`issuer https://b.example.com: id: "{sub}" gives the same ids as "{sub}" of https://id.example.com: take different prefixes, or say share-ids=yes in both`},
		},
		"ids that begin alike": {
			[]string{"oidc issuer=https://id.example.com aud=a id=a:{sub}", "oidc issuer=https://b.example.com aud=a id=a:b:{sub} share-ids=yes"},
			[]string{`issuer https://b.example.com: id: "a:b:{sub}" gives the same ids as "a:{sub}"`},
		},
		"all at once": {
			[]string{"okta", "oidc issuer=https://id.example.com leeway=2m", "clerk x=1"},
			[]string{"issuer 1: preset", id + "aud:", id + "leeway:", "issuer 3: azp:", "issuer 3: x:"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := identity.ParseProviders(test.lines)
			if err == nil {
				t.Fatal("taken")
			}
			for _, want := range test.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("the error does not say %q:\n%v", want, err)
				}
			}
			if got := strings.Count(err.Error(), "\n") + 1; got != len(test.want) {
				t.Errorf("%d faults, want %d:\n%v", got, len(test.want), err)
			}
			if strings.Contains(err.Error(), strings.Repeat("s", 31)) {
				t.Error("the error shows the secret")
			}
		})
	}
	for _, lines := range [][]string{
		{"oidc issuer=https://id.example.com aud=a share-ids=yes", "oidc issuer=https://b.example.com aud=a share-ids=yes"},
		{"oidc issuer=https://id.example.com issuer=https://id.example.com/ any-audience=yes"},
		{"clerk issuer=https://id.example.com azp=a", "# nothing"},
		{"clerk issuer=https://id.example.com azp=optional"},
		{"oidc issuer=https://id.example.com aud=a azp=b azp=optional"},
		{"google aud=a"},
	} {
		if _, err := identity.ParseProviders(lines); err != nil {
			t.Errorf("%q: %v", lines, err)
		}
	}
}

func TestNewProvidersFaults(t *testing.T) {
	t.Parallel()
	for url, want := range map[string]string{
		"http://id.example.com/jwks":       "issuer https://id.example.com: jwks: bad key URL: URL is http to another host",
		"https://u:p@id.example.com/jwks":  "URL has a password",
		"file:///etc/passwd":               "URL is not an absolute https URL",
		"https://169.254.169.254.:x/":      "URL is not an absolute https URL",
		"http://127.0.0.1.example.com/":    "URL is http to another host",
		"http://2130706433/":               "URL is http to another host",
		"gopher://id.example.com:70/_jwks": "URL is not an absolute https URL",
	} {
		_, err := identity.NewProviders(identity.ProvidersConfig{Providers: []identity.ProviderConfig{
			{Issuers: []string{"https://id.example.com"}, JWKS: url, Audiences: []string{"a"}},
		}})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", url, err, want)
		}
	}
	one := identity.ProviderConfig{Issuers: []string{"https://id.example.com"}, Discover: true, Audiences: []string{"a"}}
	two := one
	two.Issuers = []string{"https://b.example.com"}
	if _, err := identity.NewProviders(identity.ProvidersConfig{Providers: []identity.ProviderConfig{one, two}}); err == nil || !strings.Contains(err.Error(), "gives the same ids") {
		t.Errorf("two of the same ids: %v", err)
	}
	if _, err := identity.NewProviders(identity.ProvidersConfig{Providers: []identity.ProviderConfig{{}}}); err == nil || !strings.Contains(err.Error(), "issuer 1: issuer: it is missing") {
		t.Errorf("an empty issuer: %v", err)
	}
}

// W-12: keys are never fetched from inside usher's own network, whatever a name resolves to.
func TestPrivateAddresses(t *testing.T) {
	t.Parallel()
	for _, address := range []string{
		"127.0.0.1:443", "127.8.8.8:80", "[::1]:443", "0.0.0.0:80", "[::]:80", "10.1.2.3:443", "172.16.0.1:443", "172.31.255.255:443", "192.168.1.1:443",
		"169.254.169.254:80", "[fe80::1]:443", "[fe80::1%eth0]:443", "[fd00:ec2::254]:80", "[fc00::1]:443", "[::ffff:127.0.0.1]:80", "[::ffff:169.254.169.254]:80",
		"[::127.0.0.1]:80", "[64:ff9b::7f00:1]:80", "[64:ff9b::a9fe:a9fe]:80", "[2002:7f00:1::]:80", "[2001:0:7f00:1::]:80", "100.100.100.200:80", "100.64.0.1:443",
		"192.0.0.192:80", "198.18.0.1:80", "224.0.0.1:80", "[ff02::1]:80", "255.255.255.255:80", "240.0.0.1:80", "0.1.2.3:80", "[fec0::1]:80", "[2001:db8::1]:80", "nonsense",
	} {
		if err := identity.RefusePrivate(address); err == nil {
			t.Errorf("%s is taken for public", address)
		} else if !strings.Contains(err.Error(), "private=yes") {
			t.Errorf("%s: %v, want what to do", address, err)
		}
	}
	for _, address := range []string{"1.1.1.1:443", "[2606:4700:4700::1111]:443", "172.32.0.1:443", "100.128.0.1:443", "[2001:4860:4860::8888]:443", "193.0.0.1:443"} {
		if err := identity.RefusePrivate(address); err != nil {
			t.Errorf("%s: %v", address, err)
		}
	}
}

// A name that resolves to this machine is not connected to, unless the operator
// names this machine or allows private addresses.
func TestKeysAtAPrivateAddress(t *testing.T) {
	t.Parallel()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	for settings, reached := range map[string]bool{
		"jwks=https://keys.example.com/jwks":             false,
		"jwks=https://keys.example.com/jwks private=yes": true,
		"jwks=https://localhost/jwks":                    true,
		"jwks=https://LOCALHOST/jwks":                    true,
		"jwks=https://keys.localhost/jwks":               true,
		"jwks=https://localhost.example.com/jwks":        false,
	} {
		providers, err := identity.ParseProviders([]string{"oidc issuer=https://id.example.com aud=a " + settings})
		if err != nil {
			t.Fatal(err)
		}
		conn, err := identity.KeyDialer(&providers[0]).DialContext(t.Context(), "tcp", listener.Addr().String())
		if err == nil {
			conn.Close()
		}
		if (err == nil) != reached || err != nil && !strings.Contains(err.Error(), "is not a public address") {
			t.Errorf("%s: got %v, want a connection: %t", settings, err, reached)
		}
	}
}

// With private=yes, keys may be fetched over http from inside the operator's network, but never
// from a public address or from an address where clouds keep credentials.
func TestKeysOverHTTPFromInside(t *testing.T) {
	t.Parallel()
	p := identitytest.New("", "")
	server := httptest.NewServer(p)
	t.Cleanup(server.Close)
	// In upper case, so that only resolving it shows that it is this machine.
	named := strings.Replace(server.URL, "127.0.0.1", "LOCALHOST", 1)
	p.Issuer, p.KeysURL = named, named+"/jwks"
	for _, line := range []string{"oidc aud=usher private=yes issuer=" + named, "oidc aud=usher private=yes issuer=" + named + " jwks=" + named + "/jwks"} {
		if _, err := verifier(t, nil, line).Verify(t.Context(), p.Token(m{"aud": "usher"})); err != nil {
			t.Errorf("%s: %v", line, err)
		}
	}
	for address, want := range map[string]string{
		"http://keycloak:8080/jwks private=yes":          "",
		"http://10.1.2.3/jwks private=yes":               "",
		"http://[fd00::1]/jwks private=yes":              "",
		"http://100.64.0.1/jwks private=yes":             "",
		"http://keycloak:8080/jwks":                      "or private=yes if it is at a private address",
		"http://keycloak:8080/jwks private=no":           "URL is http to another host",
		"http://10.1.2.3/jwks":                           "URL is http to another host",
		"http://1.1.1.1/jwks private=yes":                "URL is http to another host",
		"http://[2606:4700:4700::1111]/jwks private=yes": "URL is http to another host",
		"http://[::ffff:1.1.1.1]/jwks private=yes":       "URL is http to another host",
		"http://169.254.169.254/jwks private=yes":        "URL is http to another host",
		"http://0.0.0.0/jwks private=yes":                "URL is http to another host",
		"http://u:p@keycloak/jwks private=yes":           "URL has a password",
	} {
		configs, err := identity.ParseProviders([]string{"oidc aud=usher issuer=https://id.example.com jwks=" + address})
		if err != nil {
			t.Fatal(err)
		}
		u, err := identity.NewProviders(identity.ProvidersConfig{Providers: configs, Transport: p})
		if err == nil {
			u.Close()
		}
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", address, err, want)
		}
		if warned := strings.Join(configs[0].Warnings(), "\n"); strings.Contains(warned, "over http") != strings.Contains(address, "private=yes") {
			t.Errorf("%s: warnings %q", address, warned)
		}
	}
	for address, inside := range map[string]bool{
		"10.1.2.3:80": true, "172.18.0.2:8080": true, "192.168.1.1:80": true, "[fd00::1]:80": true, "127.0.0.1:80": true, "100.64.0.1:80": true, "[::ffff:10.0.0.1]:80": true,
		"1.1.1.1:80": false, "[2606:4700:4700::1111]:80": false, "169.254.169.254:80": false, "[fe80::1%eth0]:80": false, "0.0.0.0:80": false,
		"198.51.100.1:80": false, "224.0.0.1:80": false, "[64:ff9b::1.1.1.1]:80": false, "[::ffff:1.1.1.1]:80": false, "nonsense": false,
	} {
		if err := identity.RefuseOutside(address); (err == nil) != inside {
			t.Errorf("%s: %v, want inside %t", address, err, inside)
		}
	}
	// https with private=yes still works, without a warning.
	configs, err := identity.ParseProviders([]string{"oidc aud=usher private=yes issuer=https://keycloak:8443"})
	if err != nil || len(configs[0].Warnings()) > 0 {
		t.Errorf("over https: %v, warnings %q", err, configs[0].Warnings())
	}
}

// Over real connections: loopback by its own name, an endless answer, and a redirect.
func TestKeysOverHTTP(t *testing.T) {
	t.Parallel()
	p := identitytest.New("", "")
	server := httptest.NewServer(p)
	t.Cleanup(server.Close)
	p.Issuer, p.KeysURL = server.URL, server.URL+"/jwks"
	endless := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		for line := []byte(strings.Repeat(" ", 64<<10)); ; {
			if _, err := w.Write(line); err != nil {
				return
			}
		}
	}))
	t.Cleanup(endless.Close)
	moved := httptest.NewServer(http.RedirectHandler(server.URL+"/jwks", http.StatusFound))
	t.Cleanup(moved.Close)
	for name, test := range map[string]struct{ line, want string }{
		"its keys":                {"oidc aud=usher issuer=" + server.URL + " jwks=" + server.URL + "/jwks", ""},
		"by discovery":            {"oidc aud=usher issuer=" + server.URL, ""},
		"1 GB, as far as is read": {"oidc aud=usher issuer=" + server.URL + " jwks=" + endless.URL, "unavailable"},
		"a redirect":              {"oidc aud=usher issuer=" + server.URL + " jwks=" + moved.URL, "unavailable"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := verifier(t, nil, test.line).Verify(t.Context(), p.Token(m{"aud": "usher"}))
			if got := reasonOf(t, err); got != test.want {
				t.Errorf("got %q (%v), want %q", got, err, test.want)
			}
		})
	}
}

func FuzzParseProviders(f *testing.F) {
	f.Add("clerk issuer=https://clerk.example.com azp=https://app.example.com id=clerk:{sub}")
	f.Add(`oidc issuer="a b" aud="\x" typ= =x x`)
	f.Fuzz(func(t *testing.T, line string) {
		issuers, err := identity.ParseProviders([]string{strings.ReplaceAll(line, "-file", "")}) // opens no files
		if err == nil && len(issuers) > 0 && len(issuers[0].Audiences)+len(issuers[0].Parties) == 0 && !issuers[0].AnyAudience {
			t.Fatalf("%q makes an issuer whose tokens may be for any application", line)
		}
	})
}

// Any token: no panic, and no claims without a signature.
func FuzzProviderToken(f *testing.F) {
	p := identitytest.New(issuerURL, keysURL)
	key := identitytest.NewKey(session.EdDSA, "key-1")
	keys := identity.NewKeySet(key.JWK())
	u, err := identity.NewProviders(identity.ProvidersConfig{Providers: []identity.ProviderConfig{{Issuers: []string{issuerURL}, Keys: keys, Audiences: []string{"usher"}}}})
	if err != nil {
		f.Fatal(err)
	}
	good := p.TokenBy(key, nil, m{"aud": "usher"}).Reveal()
	f.Add(good)
	f.Add("a.b.c")
	f.Add("....")
	f.Fuzz(func(t *testing.T, token string) {
		_, err := u.Verify(t.Context(), secret.New(token))
		if err == nil && token != good {
			t.Fatalf("a changed token was taken: %q", token)
		}
	})
}
