// Package identity finds out who is calling: which credential a request has, from
// which address, and, for an identity provider's token, whether it is valid and what
// it says. It also makes API keys and admin keys. Whether there is such a session or
// key, and what its user may do, the directory says.
package identity

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/usher-auth/usher/internal/secret"
)

// Why a request has no usable credential: a 401, except [ErrCredentialInURL] and
// [ErrKeyInBrowser].
var (
	ErrNoCredential    = errors.New("identity: no session cookie and no Authorization header")
	ErrDuplicateCookie = errors.New("identity: two different session cookies")
	ErrBadCookie       = errors.New("identity: session cookie is not a session token")
	ErrBadBearer       = errors.New("identity: Authorization header is not one that usher accepts")
	// ErrKeyInBrowser is a 400: a secret key in a page is public.
	ErrKeyInBrowser = errors.New("identity: an API key from a browser")
	// ErrCredentialInURL is a 400: URLs end up in logs and histories (RFC
	// 9700, section 4.3.2).
	ErrCredentialInURL = errors.New("identity: credential in the URL")
)

// Config says which credentials usher accepts.
type Config struct {
	// Cookie is the name of the application's session cookie, which may also have
	// the prefix __Secure- or __Host-. Required.
	Cookie string
	// CookieSecrets are those with which the application signs the cookie, as
	// Better Auth does. The signature must be by one of them, and what it covers
	// is the session token. Without secrets, the cookie is the token.
	CookieSecrets []secret.Text
	// Proxy is about the proxies in front of usher.
	Proxy ProxyConfig
	// IgnoredSchemes are those of an Authorization header that is not for usher,
	// such as Basic: a request with one is read as if it had no such header.
	// Without it, the header hides the cookie. Bearer cannot be one.
	IgnoredSchemes []string
}

// A Reader reads the credentials of requests. It is safe for concurrent use.
type Reader struct {
	cfg         Config
	cookieNames []string
	proxies     proxies
}

// NewReader returns a reader, or every fault of the configuration at once.
func NewReader(cfg Config) (*Reader, error) {
	proxies, err := newProxies(cfg.Proxy)
	faults := []error{err}
	if !isToken(cfg.Cookie) {
		faults = append(faults, fmt.Errorf("identity: %q is not a cookie name (RFC 6265, section 4.1.1)", cfg.Cookie))
	}
	for _, s := range cfg.CookieSecrets {
		faults = append(faults, checkCookieSecret(s))
	}
	for _, scheme := range cfg.IgnoredSchemes {
		switch {
		case !isToken(scheme):
			faults = append(faults, fmt.Errorf("identity: %q is not a scheme of Authorization (RFC 9110, section 11.1), as in Basic", scheme))
		case strings.EqualFold(scheme, bearerScheme):
			faults = append(faults, errors.New("identity: Authorization: Bearer cannot be ignored: usher itself reads it"))
		}
	}
	if err := errors.Join(faults...); err != nil {
		return nil, err
	}
	return &Reader{cfg, cookieNames(cfg.Cookie), proxies}, nil
}

// A Credential is what a caller showed: one of a session token from the cookie, an
// identity provider's token, an API key, and the user that a trusted proxy names.
type Credential struct {
	Session       secret.Text
	ProviderToken secret.Text // for [Providers.Verify]
	APIKey        *APIKey
	Proxy         *ProxyUser
	AdminKey      *AdminKey // from [ReadAdminKey]; [Reader.Read] reads none
}

// Read returns the request's credential, or one of this package's errors. The
// Authorization header comes first, then a proxy's header, then the cookie. The
// first that is present decides: a bad one never falls through to the next.
func (r *Reader) Read(req *http.Request) (Credential, error) {
	if credentialInURL(req, r.cookieNames...) {
		return Credential{}, ErrCredentialInURL
	}
	if !r.ignoresAuthorization(req) {
		return r.readBearer(req)
	}
	if named, err := r.proxies.readUser(req); err != nil || named != nil {
		return Credential{Proxy: named}, err
	}
	token, err := r.readCookie(req)
	return Credential{Session: token}, err
}

// ignoresAuthorization reports whether a request has no Authorization header that
// is for usher.
func (r *Reader) ignoresAuthorization(req *http.Request) bool {
	for _, value := range req.Header.Values("Authorization") {
		scheme, _, _ := strings.Cut(value, " ")
		if !slices.ContainsFunc(r.cfg.IgnoredSchemes, func(ignored string) bool { return strings.EqualFold(ignored, scheme) }) {
			return false
		}
	}
	return true
}

// readBearer reads an API key or a token: only a token has a dot.
func (*Reader) readBearer(req *http.Request) (Credential, error) {
	text, err := bearer(req)
	if err != nil {
		return Credential{}, err
	}
	if strings.Contains(text.Reveal(), ".") {
		return Credential{ProviderToken: text}, nil
	}
	key, err := ParseAPIKey(text)
	if err != nil {
		return Credential{}, err
	}
	if len(req.Header.Values("Origin")) > 0 {
		return Credential{}, ErrKeyInBrowser
	}
	return Credential{APIKey: &key}, nil
}

var credentialParameters = []string{
	"token", "access_token", "id_token", "refresh_token", "jwt", "authorization", "bearer",
	"api_key", "apikey", "key", "secret", "client_secret", "password", "session", "cookie",
}

// credentialInURL looks at the names of all parameters, also of those that
// [net/url.ParseQuery] drops. cookies are more such names.
func credentialInURL(req *http.Request, cookies ...string) bool {
	for pair := range strings.FieldsFuncSeq(req.URL.RawQuery, func(c rune) bool { return c == '&' || c == ';' }) {
		name, _, _ := strings.Cut(pair, "=")
		if plain, err := url.QueryUnescape(name); err == nil {
			name = plain
		}
		is := func(other string) bool { return strings.EqualFold(name, other) }
		if slices.ContainsFunc(credentialParameters, is) || slices.ContainsFunc(cookies, is) {
			return true
		}
	}
	return false
}

// isToken reports whether name is a token (RFC 9110, section 5.6.2), as the
// names of headers and cookies are.
func isToken(name string) bool {
	return name != "" && strings.IndexFunc(name, func(c rune) bool {
		return c <= ' ' || c >= 0x7f || strings.ContainsRune(`()<>@,;:\"/[]?={}`, c)
	}) < 0
}
