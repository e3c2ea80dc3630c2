package identity_test

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"pgregory.net/rapid"

	"github.com/usher-auth/usher/internal/identity"
)

func newProxyReader(t testing.TB, addressHeader string) *identity.Reader {
	t.Helper()
	r, err := identity.NewReader(identity.Config{Cookie: cookie, Proxy: identity.ProxyConfig{
		Trusted:            []string{"10.0.0.7", "10.1.0.0/16", "fd00:1::/32", "192.0.2.1"},
		UserHeader:         "X-Auth-Request-User",
		OrganizationHeader: "x-auth-request-org",
		AddressHeader:      addressHeader,
	}})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestProxyUser(t *testing.T) {
	t.Parallel()
	const trusted, stranger = "10.0.0.7:4711", "203.0.113.9:4711"
	named := func(user, organization, proxy string) *identity.ProxyUser {
		return &identity.ProxyUser{User: user, Organization: organization, Proxy: netip.MustParseAddr(proxy)}
	}
	signedIn := func(h http.Header) http.Header {
		h.Set("Cookie", cookie+"=abc")
		return h
	}
	users := func(values ...string) http.Header { return http.Header{"X-Auth-Request-User": values} }
	withOrganization := func(values ...string) http.Header {
		return http.Header{"X-Auth-Request-User": {"ada"}, "X-Auth-Request-Org": values}
	}
	for name, test := range map[string]struct {
		peer   string
		header http.Header
		want   *identity.ProxyUser
		err    error
	}{
		"from a proxy":                  {trusted, users("ada"), named("ada", "", "10.0.0.7"), nil},
		"with an organization":          {trusted, withOrganization("acme"), named("ada", "acme", "10.0.0.7"), nil},
		"from a network of proxies":     {"10.1.255.255:1", users("ada"), named("ada", "", "10.1.255.255"), nil},
		"over IPv6":                     {"[fd00:1::5]:1", users("ada"), named("ada", "", "fd00:1::5"), nil},
		"over IPv6 with a zone":         {"[fd00:1::5%eth0]:1", users("ada"), named("ada", "", "fd00:1::5"), nil},
		"over IPv4 in IPv6":             {"[::ffff:10.0.0.7]:1", users("ada"), named("ada", "", "10.0.0.7"), nil},
		"before the cookie":             {trusted, signedIn(users("ada")), named("ada", "", "10.0.0.7"), nil},
		"any text is an id":             {trusted, users("ada:é,*@x"), named("ada:é,*@x", "", "10.0.0.7"), nil},
		"as long as may be":             {trusted, users(strings.Repeat("é", 128)), named(strings.Repeat("é", 128), "", "10.0.0.7"), nil},
		"nobody named, and a cookie":    {trusted, signedIn(http.Header{}), nil, nil},
		"nobody named, and no cookie":   {trusted, http.Header{}, nil, identity.ErrNoCredential},
		"a similar name is another":     {trusted, http.Header{"X_Auth_Request_User": {"ada"}}, nil, identity.ErrNoCredential},
		"from a stranger":               {stranger, users("ada"), nil, identity.ErrUntrustedProxy},
		"from a stranger with a cookie": {stranger, signedIn(users("ada")), nil, identity.ErrUntrustedProxy},
		"empty, from a stranger":        {stranger, users(""), nil, identity.ErrUntrustedProxy},
		"an organization, likewise":     {stranger, signedIn(http.Header{"X-Auth-Request-Org": {"acme"}}), nil, identity.ErrUntrustedProxy},
		"from the next address":         {"10.0.0.8:1", users("ada"), nil, identity.ErrUntrustedProxy},
		"from the next network":         {"10.2.0.0:1", users("ada"), nil, identity.ErrUntrustedProxy},
		"from no address":               {"@", users("ada"), nil, identity.ErrUntrustedProxy},
		"forwarded by a proxy":          {stranger, http.Header{"X-Auth-Request-User": {"ada"}, "X-Forwarded-For": {"10.0.0.7"}}, nil, identity.ErrUntrustedProxy},
		"twice":                         {trusted, users("ada", "ada"), nil, identity.ErrBadProxyUser},
		"empty":                         {trusted, users(""), nil, identity.ErrBadProxyUser},
		"empty, with a cookie":          {trusted, signedIn(users("")), nil, identity.ErrBadProxyUser},
		"too long":                      {trusted, users(strings.Repeat("x", 129)), nil, identity.ErrBadProxyUser},
		"too long in UTF-16":            {trusted, users(strings.Repeat("😀", 65)), nil, identity.ErrBadProxyUser},
		"a tab":                         {trusted, users("a\tda"), nil, identity.ErrBadProxyUser},
		"a C1 control":                  {trusted, users("a\u0085da"), nil, identity.ErrBadProxyUser},
		"not UTF-8":                     {trusted, users("caf\xe9"), nil, identity.ErrBadProxyUser},
		"two organizations":             {trusted, withOrganization("acme", "globex"), nil, identity.ErrBadProxyUser},
		"an empty organization":         {trusted, withOrganization(""), nil, identity.ErrBadProxyUser},
		"an organization without user":  {trusted, signedIn(http.Header{"X-Auth-Request-Org": {"acme"}}), nil, identity.ErrBadProxyUser},
		"beside an Authorization":       {trusted, http.Header{"X-Auth-Request-User": {"ada"}, "Authorization": {"Bearer x"}}, nil, identity.ErrBadAPIKey},
		"a stranger's Authorization":    {stranger, http.Header{"X-Auth-Request-User": {"ada"}, "Authorization": {"Bearer x"}}, nil, identity.ErrBadAPIKey},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := httptest.NewRequest(http.MethodPost, "/", http.NoBody)
			r.Header, r.RemoteAddr = test.header, test.peer
			got, err := newProxyReader(t, "").Read(r)
			if !errors.Is(err, test.err) || (err == nil) != (test.err == nil) {
				t.Fatalf("Read() error = %v, want %v", err, test.err)
			}
			if diff := cmp.Diff(test.want, got.Proxy, cmpopts.EquateComparable(netip.Addr{})); diff != "" {
				t.Errorf("named (-want +got):\n%s", diff)
			}
			if got.Proxy != nil && !got.Session.IsEmpty() {
				t.Error("the cookie was read beside the proxy's header")
			}
		})
	}
}

// If no header is configured, no header names a user, whoever sends it.
func TestProxyUserIsOffByDefault(t *testing.T) {
	t.Parallel()
	r := httptest.NewRequest(http.MethodPost, "/", http.NoBody)
	r.Header.Set("X-Auth-Request-User", "ada")
	r.Header.Set("", "ada")
	if got, err := newReader(t).Read(r); !errors.Is(err, identity.ErrNoCredential) || got.Proxy != nil {
		t.Errorf("Read() = %+v, %v; want %v", got, err, identity.ErrNoCredential)
	}
}

func TestClientAddr(t *testing.T) {
	t.Parallel()
	const proxy, stranger = "10.0.0.7:4711", "203.0.113.9:4711"
	for name, test := range map[string]struct {
		header string // which one is read
		peer   string
		values []string
		want   string
	}{
		"nothing forwarded":           {"", proxy, nil, "10.0.0.7"},
		"by a proxy":                  {"", proxy, []string{"198.51.100.1"}, "198.51.100.1"},
		"by a stranger":               {"", stranger, []string{"198.51.100.1"}, "203.0.113.9"},
		"the client lies":             {"", proxy, []string{"1.1.1.1, 198.51.100.1"}, "198.51.100.1"},
		"the client plays the proxy":  {"", proxy, []string{"1.1.1.1, 10.1.0.1, 198.51.100.1"}, "198.51.100.1"},
		"by two proxies":              {"", proxy, []string{"1.1.1.1,198.51.100.1 , 10.1.2.3"}, "198.51.100.1"},
		"in two headers":              {"", proxy, []string{"1.1.1.1", "198.51.100.1", "10.1.2.3"}, "198.51.100.1"},
		"from among the proxies":      {"", proxy, []string{"10.1.9.9, 10.1.2.3"}, "10.1.9.9"},
		"with a port":                 {"", proxy, []string{"198.51.100.1:55"}, "198.51.100.1"},
		"IPv6":                        {"", proxy, []string{"2001:db8::1"}, "2001:db8::1"},
		"IPv6 in brackets":            {"", proxy, []string{"[2001:db8::1]"}, "2001:db8::1"},
		"IPv6 with a port":            {"", proxy, []string{"[2001:db8::1]:55"}, "2001:db8::1"},
		"IPv4 in IPv6":                {"", proxy, []string{"::ffff:198.51.100.1"}, "198.51.100.1"},
		"garbage before the client":   {"", proxy, []string{"\x00, unknown, 198.51.100.1"}, "198.51.100.1"},
		"garbage":                     {"", proxy, []string{"unknown"}, "10.0.0.7"},
		"garbage before a proxy":      {"", proxy, []string{"198.51.100.1, x, 10.1.2.3"}, "10.0.0.7"},
		"an empty hop":                {"", proxy, []string{"198.51.100.1,"}, "10.0.0.7"},
		"a network":                   {"", proxy, []string{"198.51.100.0/24"}, "10.0.0.7"},
		"half a bracket":              {"", proxy, []string{"2001:db8::1]"}, "10.0.0.7"},
		"a zone":                      {"", proxy, []string{"fe80::1%eth0"}, "10.0.0.7"},
		"a name":                      {"", proxy, []string{"client.example.com"}, "10.0.0.7"},
		"octal":                       {"", proxy, []string{"0198.51.100.1"}, "10.0.0.7"},
		"a decimal":                   {"", proxy, []string{"3325256705"}, "10.0.0.7"},
		"Forwarded":                   {"Forwarded", proxy, []string{`for=1.1.1.1, for=198.51.100.1;proto=https;by=10.0.0.7`}, "198.51.100.1"},
		"Forwarded, other case":       {"forwarded", proxy, []string{`proto=https; For="198.51.100.1:55"`}, "198.51.100.1"},
		"Forwarded, IPv6":             {"Forwarded", proxy, []string{`for="[2001:db8::1]:55", for=10.1.2.3`}, "2001:db8::1"},
		"Forwarded, a comma quoted":   {"Forwarded", proxy, []string{`for=1.1.1.1, for=198.51.100.1;host="a,b"`}, "198.51.100.1"},
		"Forwarded, a quote left":     {"Forwarded", proxy, []string{`for="1.1.1.1`, `for=198.51.100.1`}, "198.51.100.1"},
		"Forwarded, hidden":           {"Forwarded", proxy, []string{`for=_hidden`}, "10.0.0.7"},
		"Forwarded, twice in one":     {"Forwarded", proxy, []string{`for=1.1.1.1;for=198.51.100.1`}, "10.0.0.7"},
		"Forwarded, without for":      {"Forwarded", proxy, []string{`by=10.0.0.7`}, "10.0.0.7"},
		"Forwarded, in a quoted host": {"Forwarded", proxy, []string{`for=198.51.100.1;host="x;for=1.1.1.1"`}, "10.0.0.7"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := httptest.NewRequest(http.MethodPost, "/", http.NoBody)
			r.RemoteAddr = test.peer
			// The header that is not configured may come from the client.
			r.Header = http.Header{"X-Forwarded-For": {"6.6.6.6"}, "Forwarded": {"for=6.6.6.6"}, "X-Real-Ip": {"6.6.6.6"}}
			read := "X-Forwarded-For"
			if test.header != "" {
				read = "Forwarded"
			}
			r.Header[read] = test.values
			if got := newProxyReader(t, test.header).ClientAddr(r); got.String() != test.want {
				t.Errorf("ClientAddr() = %s, want %s", got, test.want)
			}
		})
	}
}

// The address that the proxy appends counts, whatever a client writes.
func TestClientAddrIsTheProxysWord(t *testing.T) {
	t.Parallel()
	for header, appended := range map[string]string{"X-Forwarded-For": "198.51.100.1", "Forwarded": `for=198.51.100.1;host="a.example"`} {
		reader := newProxyReader(t, header)
		rapid.Check(t, func(t *rapid.T) {
			written := rapid.StringOf(rapid.SampledFrom([]rune(`19.,;:"\= []for%`))).Draw(t, "written")
			r := httptest.NewRequest(http.MethodPost, "/", http.NoBody)
			r.RemoteAddr = "10.0.0.7:4711"
			r.Header.Set(header, written+", "+appended)
			if got := reader.ClientAddr(r).String(); got != "198.51.100.1" {
				t.Fatalf("ClientAddr() = %s, want 198.51.100.1", got)
			}
		})
	}
}

func TestNewReaderRefusesUnsafeProxies(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		cfg  identity.ProxyConfig
		want string // empty: taken
	}{
		"none":                         {identity.ProxyConfig{}, ""},
		"for addresses alone":          {identity.ProxyConfig{Trusted: []string{"10.0.0.0/8", "::1"}}, ""},
		"everybody":                    {identity.ProxyConfig{Trusted: []string{"0.0.0.0/0"}}, "is every address"},
		"everybody, IPv6":              {identity.ProxyConfig{Trusted: []string{"10.0.0.7", "::/0"}}, "is every address"},
		"everybody, by any address":    {identity.ProxyConfig{Trusted: []string{"10.0.0.7/0"}}, "is every address"},
		"a name":                       {identity.ProxyConfig{Trusted: []string{"proxy.internal"}}, "is not an address"},
		"nothing":                      {identity.ProxyConfig{Trusted: []string{""}}, "is not an address"},
		"a zone":                       {identity.ProxyConfig{Trusted: []string{"fe80::1%eth0"}}, "is not an address"},
		"an address with a length":     {identity.ProxyConfig{Trusted: []string{"10.1.2.3/16"}}, "write 10.1.0.0/16"},
		"IPv4 in IPv6":                 {identity.ProxyConfig{Trusted: []string{"::ffff:10.0.0.0/104"}}, "write it as one"},
		"a header and no proxy":        {identity.ProxyConfig{UserHeader: "X-User"}, "list the proxies"},
		"an organization and no user":  {identity.ProxyConfig{Trusted: []string{"10.0.0.7"}, OrganizationHeader: "X-Org"}, "no header names a user"},
		"one header for both":          {identity.ProxyConfig{Trusted: []string{"10.0.0.7"}, UserHeader: "X-User", OrganizationHeader: "x-user"}, "cannot name both"},
		"no header name":               {identity.ProxyConfig{Trusted: []string{"10.0.0.7"}, UserHeader: "X User"}, "is not a header name"},
		"another header of addresses":  {identity.ProxyConfig{AddressHeader: "X-Real-IP"}, "neither X-Forwarded-For nor Forwarded"},
		"and every fault is said once": {identity.ProxyConfig{Trusted: []string{"::/0"}, UserHeader: "X User", AddressHeader: "Via"}, "neither"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := identity.NewReader(identity.Config{Cookie: cookie, Proxy: test.cfg})
			if (err == nil) != (test.want == "") || err != nil && !strings.Contains(err.Error(), test.want) {
				t.Errorf("NewReader() error = %v, want %q", err, test.want)
			}
		})
	}
}

func ExampleReader_ClientAddr() {
	reader, err := identity.NewReader(identity.Config{Cookie: "session", Proxy: identity.ProxyConfig{Trusted: []string{"10.0.0.0/8"}}})
	if err != nil {
		panic(err)
	}
	r := httptest.NewRequest(http.MethodPost, "/api/auth", http.NoBody)
	r.RemoteAddr = "10.0.0.7:4711"
	r.Header.Set("X-Forwarded-For", "1.1.1.1, 198.51.100.1, 10.0.0.9") // the first one the client made up
	fmt.Println(reader.ClientAddr(r))
	// Output: 198.51.100.1
}
