// Package identity finds out who is calling, as far as the request alone
// tells: which credential it bears. Whether the credential is worth anything
// is the directory's to say.
package identity

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/usher-auth/usher/internal/secret"
)

// What a request may lack or have too much of: a 401, but for
// [ErrCredentialInURL] and [ErrKeyInBrowser].
var (
	ErrNoCredential    = errors.New("identity: no session cookie and no Authorization header")
	ErrDuplicateCookie = errors.New("identity: two cookies of the session's name")
	ErrBadCookie       = errors.New("identity: session cookie is not a session token")
	ErrBadBearer       = errors.New("identity: Authorization header is not a credential usher takes")
	// ErrKeyInBrowser is a 400: a secret key in a page is everybody's.
	ErrKeyInBrowser = errors.New("identity: an API key from a browser")
	// ErrCredentialInURL is a 400: URLs end up in logs and histories (RFC
	// 9700, section 4.3.2).
	ErrCredentialInURL = errors.New("identity: credential in the URL")
)

// maxCredential bounds what goes to the directory as a session token.
const maxCredential = 4_096

// Config names the credentials that usher takes.
type Config struct {
	// Cookie is the name of the application's session cookie. Required.
	Cookie string
}

// A Reader takes credentials from requests. It is safe for concurrent use.
type Reader struct{ cfg Config }

// NewReader returns a reader, or every fault of the configuration at once.
func NewReader(cfg Config) (*Reader, error) {
	if !validCookieName(cfg.Cookie) {
		return nil, fmt.Errorf("identity: %q is no cookie name (RFC 6265, section 4.1.1)", cfg.Cookie)
	}
	return &Reader{cfg}, nil
}

// A Credential is what a caller showed: one of a session cookie's value, an
// identity provider's token, and an API key.
type Credential struct {
	Session  secret.Text
	Upstream secret.Text // for [Upstream.Verify]
	APIKey   *APIKey
}

// Read returns the request's credential, or one of this package's errors. The
// Authorization header comes first; where it is present the cookie is not
// read, so that a bad bearer never falls through to the cookie.
func (r *Reader) Read(req *http.Request) (Credential, error) {
	if credentialInURL(req) {
		return Credential{}, ErrCredentialInURL
	}
	if len(req.Header.Values("Authorization")) > 0 {
		return r.readBearer(req)
	}
	cookies := req.CookiesNamed(r.cfg.Cookie)
	switch len(cookies) {
	case 0:
		return Credential{}, ErrNoCredential
	case 1:
	default: // a sibling domain tossed one in
		return Credential{}, ErrDuplicateCookie
	}
	value := cookies[0].Value
	if value == "" || len(value) > maxCredential || !utf8.ValidString(value) || strings.IndexByte(value, 0) >= 0 {
		return Credential{}, ErrBadCookie
	}
	return Credential{Session: secret.New(value)}, nil
}

// readBearer reads an API key or a token (RFC 6750, section 2.1), of which only
// the token has a dot.
func (*Reader) readBearer(req *http.Request) (Credential, error) {
	values := req.Header.Values("Authorization")
	scheme, text, _ := strings.Cut(values[0], " ")
	if len(values) != 1 || !strings.EqualFold(scheme, "Bearer") {
		return Credential{}, ErrBadBearer
	}
	if strings.Contains(text, ".") {
		return Credential{Upstream: secret.New(text)}, nil
	}
	key, err := ParseAPIKey(secret.New(text))
	if err != nil {
		return Credential{}, err
	}
	if len(req.Header.Values("Origin")) > 0 {
		return Credential{}, ErrKeyInBrowser
	}
	return Credential{APIKey: &key}, nil
}

var credentialParameters = []string{"token", "access_token", "id_token", "api_key", "apikey", "key", "secret", "session"}

func credentialInURL(req *http.Request) bool {
	if req.URL.RawQuery == "" {
		return false
	}
	for name := range req.URL.Query() {
		if slices.Contains(credentialParameters, strings.ToLower(name)) {
			return true
		}
	}
	return false
}

// validCookieName reports whether name is an RFC 9110 token.
func validCookieName(name string) bool {
	return name != "" && strings.IndexFunc(name, func(c rune) bool {
		return c <= ' ' || c >= 0x7f || strings.ContainsRune(`()<>@,;:\"/[]?={}`, c)
	}) < 0
}
