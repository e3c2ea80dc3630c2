package identity_test

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/usher-auth/usher/internal/identity"
)

const cookie = "usher_session"

func newReader(t testing.TB) *identity.Reader {
	t.Helper()
	r, err := identity.NewReader(identity.Config{Cookie: cookie})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestRead(t *testing.T) {
	t.Parallel()
	reader := newReader(t)
	for name, test := range map[string]struct {
		target  string
		header  http.Header
		want    error
		session string
	}{
		"a cookie":                        {"/", http.Header{"Cookie": {cookie + "=abc"}}, nil, "abc"},
		"among others":                    {"/", http.Header{"Cookie": {"a=b; " + cookie + "=abc; c=d"}}, nil, "abc"},
		"in quotes":                       {"/", http.Header{"Cookie": {cookie + `="abc"`}}, nil, "abc"},
		"with a signature":                {"/", http.Header{"Cookie": {cookie + "=token.c2lnbmF0dXJl%3D"}}, nil, "token.c2lnbmF0dXJl%3D"},
		"no cookie":                       {"/", nil, identity.ErrNoCredential, ""},
		"the name is case-sensitive":      {"/", http.Header{"Cookie": {"USHER_SESSION=abc"}}, identity.ErrNoCredential, ""},
		"a nameless cookie is no cookie":  {"/", http.Header{"Cookie": {"=" + cookie + "=abc"}}, identity.ErrNoCredential, ""},
		"a prefix of the name":            {"/", http.Header{"Cookie": {cookie + "2=abc"}}, identity.ErrNoCredential, ""},
		"two":                             {"/", http.Header{"Cookie": {cookie + "=a; " + cookie + "=b"}}, identity.ErrDuplicateCookie, ""},
		"the same one twice":              {"/", http.Header{"Cookie": {cookie + "=a; x=y; " + cookie + "=a"}}, nil, "a"},
		"the same one in two headers":     {"/", http.Header{"Cookie": {cookie + "=a", cookie + "=a"}}, nil, "a"},
		"the same, once in quotes":        {"/", http.Header{"Cookie": {cookie + "=a; " + cookie + `="a"`}}, identity.ErrDuplicateCookie, ""},
		"the same twice, and another":     {"/", http.Header{"Cookie": {cookie + "=a; " + cookie + "=a; " + cookie + "=b"}}, identity.ErrDuplicateCookie, ""},
		"the same, but for its case":      {"/", http.Header{"Cookie": {cookie + "=a; " + cookie + "=A"}}, identity.ErrDuplicateCookie, ""},
		"one with and without a value":    {"/", http.Header{"Cookie": {cookie + "=a; " + cookie}}, identity.ErrDuplicateCookie, ""},
		"twice what cannot be read":       {"/", http.Header{"Cookie": {cookie + "=caf\xc3\xa9; " + cookie + "=caf\xc3\xa9"}}, identity.ErrBadCookie, ""},
		"two headers":                     {"/", http.Header{"Cookie": {cookie + "=a", cookie + "=b"}}, identity.ErrDuplicateCookie, ""},
		"empty":                           {"/", http.Header{"Cookie": {cookie + "="}}, identity.ErrBadCookie, ""},
		"too long":                        {"/", http.Header{"Cookie": {cookie + "=" + strings.Repeat("x", 4_097)}}, identity.ErrBadCookie, ""},
		"as long as may be":               {"/", http.Header{"Cookie": {cookie + "=" + strings.Repeat("x", 4_096)}}, nil, strings.Repeat("x", 4_096)},
		"a bearer is never fallen from":   {"/", http.Header{"Cookie": {cookie + "=abc"}, "Authorization": {"Bearer x"}}, identity.ErrBadAPIKey, ""},
		"nor is an empty Authorization":   {"/", http.Header{"Cookie": {cookie + "=abc"}, "Authorization": {""}}, identity.ErrBadBearer, ""},
		"another scheme":                  {"/", http.Header{"Authorization": {"Basic sk_live_x"}}, identity.ErrBadBearer, ""},
		"two bearers":                     {"/", http.Header{"Authorization": {"Bearer a", "Bearer b"}}, identity.ErrBadBearer, ""},
		"a public key":                    {"/", http.Header{"Authorization": {"Bearer pk_live_x"}}, identity.ErrPublicKey, ""},
		"too many cookies":                {"/", http.Header{"Cookie": {strings.Repeat("a=b; ", 5_000) + cookie + "=abc"}}, identity.ErrBadCookie, ""},
		"one that net/http does not take": {"/", http.Header{"Cookie": {cookie + "=caf\xc3\xa9"}}, identity.ErrBadCookie, ""},
		"nor hides another":               {"/", http.Header{"Cookie": {cookie + "=tossed; " + cookie + "=caf\xc3\xa9"}}, identity.ErrDuplicateCookie, ""},
		"a nameless cookie that plays it": {"/", http.Header{"Cookie": {cookie + "=abc;" + cookie + "=tossed"}}, identity.ErrDuplicateCookie, ""},
		"blanks around the name":          {"/", http.Header{"Cookie": {"a=b;  " + cookie + " =abc; " + cookie + "=x"}}, identity.ErrDuplicateCookie, ""},
		"a token in the URL":              {"/?token=abc", http.Header{"Cookie": {cookie + "=abc"}}, identity.ErrCredentialInURL, ""},
		"in any case":                     {"/?Access_Token=abc", http.Header{"Cookie": {cookie + "=abc"}}, identity.ErrCredentialInURL, ""},
		"other parameters do not matter":  {"/?mode=cookie", http.Header{"Cookie": {cookie + "=abc"}}, nil, "abc"},
		"beside what cannot be parsed":    {"/?%zz=1;token=x", http.Header{"Cookie": {cookie + "=abc"}}, identity.ErrCredentialInURL, ""},
		"with a bad escape in its value":  {"/?token=%zz", http.Header{"Cookie": {cookie + "=abc"}}, identity.ErrCredentialInURL, ""},
		"in an escaped name":              {"/?%74oken=abc", http.Header{"Cookie": {cookie + "=abc"}}, identity.ErrCredentialInURL, ""},
		"without a value":                 {"/?a=b&token", http.Header{"Cookie": {cookie + "=abc"}}, identity.ErrCredentialInURL, ""},
		"the session in the URL":          {"/?" + cookie + "=abc", nil, identity.ErrCredentialInURL, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := httptest.NewRequest(http.MethodPost, test.target, http.NoBody)
			r.Header = test.header
			got, err := reader.Read(r)
			if !errors.Is(err, test.want) || (err == nil) != (test.want == nil) {
				t.Fatalf("Read() error = %v, want %v", err, test.want)
			}
			if got.Session.Reveal() != test.session {
				t.Errorf("session = %q, want %q", got.Session.Reveal(), test.session)
			}
		})
	}
}

// An Authorization scheme that the operator lists does not hide the cookie. Any other scheme does,
// and Bearer cannot be listed.
func TestIgnoredSchemes(t *testing.T) {
	t.Parallel()
	reader, err := identity.NewReader(identity.Config{Cookie: cookie, IgnoredSchemes: []string{"Basic", "negotiate"}})
	if err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		authorization []string
		want          error
	}{
		"none":                       {nil, nil},
		"Basic":                      {[]string{"Basic dTpw"}, nil},
		"in lower case":              {[]string{"basic dTpw"}, nil},
		"the other":                  {[]string{"Negotiate abc"}, nil},
		"without anything":           {[]string{"Basic"}, nil},
		"two of them":                {[]string{"Basic a", "Negotiate b"}, nil},
		"one beside a bearer":        {[]string{"Basic a", "Bearer b.c.d"}, identity.ErrBadBearer},
		"a bearer":                   {[]string{"Bearer x"}, identity.ErrBadAPIKey},
		"a scheme that is not named": {[]string{"Digest x"}, identity.ErrBadBearer},
		"like one":                   {[]string{"Basics x"}, identity.ErrBadBearer},
		"a bearer after a comma":     {[]string{"Basic,Bearer x"}, identity.ErrBadBearer},
		"a tab":                      {[]string{"Basic\tdTpw"}, identity.ErrBadBearer},
		"empty":                      {[]string{""}, identity.ErrBadBearer},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := httptest.NewRequest(http.MethodPost, "/", http.NoBody)
			r.Header = http.Header{"Cookie": {cookie + "=abc"}}
			if test.authorization != nil {
				r.Header["Authorization"] = test.authorization
			}
			got, err := reader.Read(r)
			if !errors.Is(err, test.want) || (err == nil) != (test.want == nil) || err == nil && got.Session.Reveal() != "abc" {
				t.Errorf("Read() = %q, %v; want %v", got.Session.Reveal(), err, test.want)
			}
		})
	}
	r := httptest.NewRequest(http.MethodPost, "/", http.NoBody)
	r.Header = http.Header{"Authorization": {"Basic dTpw"}}
	if _, err := reader.Read(r); !errors.Is(err, identity.ErrNoCredential) {
		t.Errorf("without a cookie: %v", err)
	}
	for _, scheme := range []string{"Bearer", "bearer", "BEARER", "", "Basic x", "Basic,Digest"} {
		if _, err := identity.NewReader(identity.Config{Cookie: cookie, IgnoredSchemes: []string{scheme}}); err == nil {
			t.Errorf("%q can be ignored", scheme)
		}
	}
}

func TestReadAPIKey(t *testing.T) {
	t.Parallel()
	text, key, err := identity.NewAPIKey("live")
	if err != nil {
		t.Fatal(err)
	}
	r := httptest.NewRequest(http.MethodPost, "/", http.NoBody)
	r.Header.Set("Authorization", "bearer "+text.Reveal()) // the scheme has no case
	r.Header.Set("Cookie", cookie+"=abc")                  // not read beside it
	got, err := newReader(t).Read(r)
	if err != nil || got.APIKey == nil || *got.APIKey != key || !got.Session.IsEmpty() {
		t.Errorf("Read() = %v, %v; want the key", got, err)
	}
	r.Header.Set("Origin", "https://app.example.com")
	if _, err := newReader(t).Read(r); !errors.Is(err, identity.ErrKeyInBrowser) {
		t.Errorf("from a page: error = %v, want %v", err, identity.ErrKeyInBrowser)
	}
}

// An identity provider's token may come from a page.
func TestReadProviderToken(t *testing.T) {
	t.Parallel()
	r := httptest.NewRequest(http.MethodPost, "/", http.NoBody)
	r.Header.Set("Authorization", "Bearer a.b.c")
	r.Header.Set("Cookie", cookie+"=abc") // not read beside it
	r.Header.Set("Origin", "https://app.example.com")
	got, err := newReader(t).Read(r)
	if err != nil || got.ProviderToken.Reveal() != "a.b.c" || got.APIKey != nil || !got.Session.IsEmpty() {
		t.Errorf("Read() = %v, %v; want the token", got, err)
	}
}

func TestNewReaderRefusesBadNames(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"", "a b", "a=b", "a;b", "sesión", "a\n"} {
		if _, err := identity.NewReader(identity.Config{Cookie: name}); err == nil {
			t.Errorf("cookie name %q was taken", name)
		}
	}
	for _, name := range []string{"__Host-usher", "better-auth.session_token", "sid"} {
		if _, err := identity.NewReader(identity.Config{Cookie: name}); err != nil {
			t.Errorf("cookie name %q: %v", name, err)
		}
	}
}

// Any header: no panic, and never two sessions at once.
func FuzzCookieHeader(f *testing.F) {
	for _, seed := range []string{cookie + "=abc", cookie + "=a; " + cookie + "=b", "=" + cookie, cookie + "=\"", ";;;", "$Version=1; " + cookie + "=x"} {
		f.Add(seed)
	}
	reader := newReader(f)
	f.Fuzz(func(t *testing.T, header string) {
		r := httptest.NewRequest(http.MethodPost, "/", http.NoBody)
		r.Header.Set("Cookie", header)
		got, err := reader.Read(r)
		if (err == nil) == got.Session.IsEmpty() {
			t.Fatalf("Read() = %d bytes, %v", len(got.Session.Reveal()), err)
		}
		if err == nil && strings.Count(header, cookie) == 0 {
			t.Fatalf("a session out of %q", header)
		}
	})
}

func ExampleReader() {
	reader, err := identity.NewReader(identity.Config{Cookie: "__Host-session"})
	if err != nil {
		panic(err)
	}
	r := httptest.NewRequest(http.MethodPost, "/api/auth", http.NoBody)
	r.Header.Set("Cookie", "__Host-session=6f1ed002ab55")
	credential, err := reader.Read(r)
	fmt.Println(credential.Session, err)
	// Output: [redacted] <nil>
}
