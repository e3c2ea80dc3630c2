package identity_test

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/usher-auth/usher/internal/identity"
	"github.com/usher-auth/usher/internal/secret"
)

const (
	oldSecret = "the application's secret, of before"
	newSecret = "the application's secret, as it is now"
	// A cookie that Better Auth 1.7.25 signed with the secret "vXnLxI5Q3m2mS0dVv2mJt9p8c1q4bK7z".
	betterAuthSecret = "vXnLxI5Q3m2mS0dVv2mJt9p8c1q4bK7z"
	betterAuthToken  = "Yk3Qn8w2ZcVb1LxR5tHs7dPf9mJ0gA02"
	betterAuthCookie = "Yk3Qn8w2ZcVb1LxR5tHs7dPf9mJ0gA02.XauLxdJb9O%2B%2FvCeDuPapiswcTghJY0eG36ko8dPboR8%3D"
	// A session cookie of Auth.js 0.41.3 with the "jwt" strategy, shortened.
	authJSCookie = "eyJhbGciOiJkaXIiLCJlbmMiOiJBMjU2Q0JDLUhTNTEyIiwia2lkIjoieCJ9..AxY8DCtDaGlsbGljb3RoZQ.KDlTtXchhZTGufMYmOYGS4HffxPSUrfmqCHXaI9wOGY.U0m_YmjN04DJvceFICbCVQ"
)

// sign returns a cookie's value, signed like Better Auth does.
func sign(token, key string) string {
	mac := hmac.New(sha256.New, []byte(key))
	mac.Write([]byte(token))
	return url.QueryEscape(token + "." + base64.StdEncoding.EncodeToString(mac.Sum(nil)))
}

func read(t testing.TB, cfg identity.Config, cookies string) (string, error) {
	t.Helper()
	reader, err := identity.NewReader(cfg)
	if err != nil {
		t.Fatal(err)
	}
	r := httptest.NewRequest(http.MethodPost, "/", http.NoBody)
	r.Header.Set("Cookie", cookies)
	got, err := reader.Read(r)
	return got.Session.Reveal(), err
}

func TestSignedCookie(t *testing.T) {
	t.Parallel()
	cfg := identity.Config{
		Cookie:        "better-auth.session_token",
		CookieSecrets: []secret.Text{secret.New(newSecret), secret.New(oldSecret), secret.New(betterAuthSecret)},
	}
	good := sign("abc.def", newSecret)
	decoded, err := url.QueryUnescape(good)
	if err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		value string
		want  error
		token string
	}{
		"as Better Auth makes it":       {betterAuthCookie, nil, betterAuthToken},
		"by the secret of now":          {good, nil, "abc.def"},
		"by the one of before":          {sign("abc", oldSecret), nil, "abc"},
		"percent-encoded by nobody":     {decoded, nil, "abc.def"},
		"by another secret":             {sign("abc", newSecret+"x"), identity.ErrUnsignedCookie, ""},
		"by none":                       {sign("abc", ""), identity.ErrUnsignedCookie, ""},
		"of another token":              {strings.Replace(good, "abc", "abd", 1), identity.ErrUnsignedCookie, ""},
		"the token alone":               {"abc", identity.ErrUnsignedCookie, ""},
		"the signature alone":           {sign("", newSecret), identity.ErrUnsignedCookie, ""},
		"no signature":                  {"abc.", identity.ErrUnsignedCookie, ""},
		"no padding":                    {strings.TrimSuffix(good, "%3D"), identity.ErrUnsignedCookie, ""},
		"base64url":                     {strings.NewReplacer("%2B", "-", "%2F", "_").Replace(betterAuthCookie), identity.ErrUnsignedCookie, ""},
		"a line break in the signature": {good + "%0A", identity.ErrUnsignedCookie, ""},
		"encoded twice":                 {url.QueryEscape(good), identity.ErrUnsignedCookie, ""},
		"half an escape":                {good + "%", identity.ErrUnsignedCookie, ""},
		"empty":                         {"", identity.ErrBadCookie, ""},
		"a NUL, signed":                 {sign("a\x00b", newSecret), identity.ErrBadCookie, ""},
		"no UTF-8, signed":              {sign("a\xffb", newSecret), identity.ErrBadCookie, ""},
		"too long":                      {sign(strings.Repeat("x", 4_096), newSecret), identity.ErrBadCookie, ""},
		"a JWE":                         {authJSCookie, identity.ErrEncryptedCookie, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			token, err := read(t, cfg, cfg.Cookie+"="+test.value)
			if !errors.Is(err, test.want) || (err == nil) != (test.want == nil) || token != test.token {
				t.Errorf("Read() = %q, %v, want %q, %v", token, err, test.token, test.want)
			}
		})
	}
}

// Changing one character of a signed cookie never gives another token.
func TestSignedCookieCannotBeChanged(t *testing.T) {
	t.Parallel()
	cfg := identity.Config{Cookie: cookie, CookieSecrets: []secret.Text{secret.New(newSecret)}}
	good := sign("GtZ3q9wLmVx2", newSecret)
	for i := range len(good) {
		for _, c := range "aZ0.=%+/-_" {
			for _, changed := range []string{good[:i] + string(c) + good[i+1:], good[:i] + string(c) + good[i:], good[:i] + good[i+1:]} {
				if token, err := read(t, cfg, cookie+"="+changed); err == nil && token != "GtZ3q9wLmVx2" {
					t.Errorf("%q: token %q", changed, token)
				}
			}
		}
	}
}

func TestCookieNames(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		configured, cookies string
		want                error
		token               string
	}{
		"the name":                         {"sid", "sid=a", nil, "a"},
		"with TLS":                         {"sid", "__Secure-sid=a", nil, "a"},
		"on one host":                      {"sid", "__Host-sid=a", nil, "a"},
		"two prefixes":                     {"sid", "__Secure-sid=a; __Host-sid=a", identity.ErrDuplicateCookie, ""},
		"a tossed one beside the real one": {"sid", "__Secure-sid=a; sid=b", identity.ErrDuplicateCookie, ""},
		"a prefix asked for":               {"__Secure-sid", "__Secure-sid=a", nil, "a"},
		"and no other taken":               {"__Secure-sid", "sid=a", identity.ErrNoCredential, ""},
		"which a tossed one does not harm": {"__Secure-sid", "sid=b; __Secure-sid=a; __Host-sid=c; __Secure-__Secure-sid=d", nil, "a"},
		"the other prefix asked for":       {"__Host-sid", "__Host-sid=a; __Secure-sid=b", nil, "a"},
		"prefixes have a case":             {"sid", "__secure-sid=a", identity.ErrNoCredential, ""},
		"a JWE":                            {"sid", "sid=" + authJSCookie, identity.ErrEncryptedCookie, ""},
		"a JWE in pieces":                  {"sid", "__Secure-sid.0=" + authJSCookie[:40] + "; __Secure-sid.1=" + authJSCookie[40:], identity.ErrEncryptedCookie, ""},
		"a JWE that is too long":           {"sid", "sid=" + authJSCookie + strings.Repeat("x", 4_096), identity.ErrEncryptedCookie, ""},
		"a JWS":                            {"sid", "sid=eyJhbGciOiJub25lIn0.e30.", nil, "eyJhbGciOiJub25lIn0.e30."},
		"another cookie's pieces":          {"sid", "sid2.0=a", identity.ErrNoCredential, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			token, err := read(t, identity.Config{Cookie: test.configured}, test.cookies)
			if !errors.Is(err, test.want) || (err == nil) != (test.want == nil) || token != test.token {
				t.Errorf("Read() = %q, %v, want %q, %v", token, err, test.token, test.want)
			}
		})
	}
}

func TestNewReaderRefusesBadSecrets(t *testing.T) {
	t.Parallel()
	for text, part := range map[string]string{
		"":                      "of 0 bytes",
		strings.Repeat("x", 31): "of 31 bytes",
		"better-auth-secret-12345678901234567890": "which is public",
	} {
		_, err := identity.NewReader(identity.Config{Cookie: "a b", CookieSecrets: []secret.Text{secret.New(newSecret), secret.New(text)}})
		if err == nil || !strings.Contains(err.Error(), part) || !strings.Contains(err.Error(), "is not a cookie name") {
			t.Errorf("secret %q: %v, want one with %q, and the other fault", text, err, part)
		}
		if text != "" && strings.Contains(err.Error(), text) {
			t.Errorf("the error holds the secret: %v", err)
		}
	}
}
