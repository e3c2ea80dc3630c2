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
	ErrKeyInBrowser = errors.New("identity: a secret key from a browser")
	// ErrCredentialInURL is a 400: URLs end up in logs and histories (RFC
	// 9700, section 4.3.2).
	ErrCredentialInURL = errors.New("identity: credential in the URL")
)

// Config names the credentials that usher takes.
type Config struct {
	// Cookie is the name of the application's session cookie. It may come with
	// the prefix __Secure- or __Host-, too. Required.
	Cookie string
	// CookieSecrets are those with which the application signs the cookie, as
	// Better Auth does: the signature is verified with any of them, and what
	// it covers is the session token. None: the cookie is the token.
	CookieSecrets []secret.Text
}

// A Reader takes credentials from requests. It is safe for concurrent use.
type Reader struct {
	cfg         Config
	cookieNames []string
}

// NewReader returns a reader, or every fault of the configuration at once.
func NewReader(cfg Config) (*Reader, error) {
	var faults []error
	if !validCookieName(cfg.Cookie) {
		faults = append(faults, fmt.Errorf("identity: %q is no cookie name (RFC 6265, section 4.1.1)", cfg.Cookie))
	}
	for _, s := range cfg.CookieSecrets {
		faults = append(faults, checkCookieSecret(s))
	}
	if err := errors.Join(faults...); err != nil {
		return nil, err
	}
	return &Reader{cfg, cookieNames(cfg.Cookie)}, nil
}

// A Credential is what a caller showed: a session token out of the cookie, or
// an API key.
type Credential struct {
	Session secret.Text
	APIKey  *APIKey // nil: the caller is a session
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
	token, err := r.readCookie(req)
	return Credential{Session: token}, err
}

// readBearer reads an API key.
func (*Reader) readBearer(req *http.Request) (Credential, error) {
	text, err := bearer(req)
	if err != nil {
		return Credential{}, err
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
