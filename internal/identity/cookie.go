package identity

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/usher-auth/usher/internal/secret"
)

// Why a session cookie cannot be used: a 401.
var (
	ErrUnsignedCookie  = errors.New("identity: session cookie is not signed with the application's secret")
	ErrEncryptedCookie = errors.New("identity: session cookie is an encrypted token, which only the application can read")
)

const (
	// maxCookie bounds a cookie as browsers do, and what goes to the directory.
	maxCookie = 4_096
	// minCookieSecret is what HMAC-SHA-256 wants of a key, in bytes (RFC 7518,
	// section 3.2).
	minCookieSecret = 32
	// betterAuthDefault is what Better Auth signs with unless a secret is configured.
	betterAuthDefault = "better-auth-secret-12345678901234567890"

	securePrefix = "__Secure-"
	hostPrefix   = "__Host-"
)

// cookieNames returns the names that the application's cookie may have: with TLS
// most libraries add a prefix. A name that is configured with a prefix is the only
// one.
func cookieNames(name string) []string {
	if strings.HasPrefix(name, securePrefix) || strings.HasPrefix(name, hostPrefix) {
		return []string{name}
	}
	return []string{name, securePrefix + name, hostPrefix + name}
}

func checkCookieSecret(s secret.Text) error {
	switch text := s.Reveal(); {
	case text == betterAuthDefault:
		return errors.New("identity: the cookie secret is Better Auth's default, which is public: set another one in the application")
	case len(text) < minCookieSecret:
		return fmt.Errorf("identity: a cookie secret of %d bytes can be guessed: set one of at least %d in the application; openssl rand -base64 32 makes one", len(text), minCookieSecret)
	}
	return nil
}

// readCookie returns the session token that the request's cookie holds.
func (r *Reader) readCookie(req *http.Request) (secret.Text, error) {
	switch n := r.differentCookies(req, ""); {
	case n > 1: // a sibling domain tossed one in
		return secret.Text{}, ErrDuplicateCookie
	case n == 0 && r.differentCookies(req, ".0") > 0: // one that is too long for a cookie is cut in pieces
		return secret.Text{}, ErrEncryptedCookie
	case n == 0:
		return secret.Text{}, ErrNoCredential
	}
	var value string // empty if net/http does not accept it
	for _, name := range r.cookieNames {
		if cookie, err := req.Cookie(name); err == nil {
			value = cookie.Value
		}
	}
	switch {
	case isJWE(value):
		return secret.Text{}, ErrEncryptedCookie
	case value == "" || len(value) > maxCookie:
		return secret.Text{}, ErrBadCookie
	}
	if len(r.cfg.CookieSecrets) > 0 {
		var ok bool
		if value, ok = r.signed(value); !ok {
			return secret.Text{}, ErrUnsignedCookie
		}
	}
	if !utf8.ValidString(value) || strings.IndexByte(value, 0) >= 0 {
		return secret.Text{}, ErrBadCookie
	}
	return secret.New(value), nil
}

// differentCookies counts those of the session's names, with a suffix, that
// differ in name or value: also those whose values net/http does not accept. What
// it leaves out could be the user's own, and what is left the one that was tossed
// in. The same cookie twice is one: browsers send it so when it was set for two
// paths or domains.
func (r *Reader) differentCookies(req *http.Request, suffix string) int {
	different := map[[2]string]bool{}
	for _, header := range req.Header["Cookie"] {
		for pair := range strings.SplitSeq(header, ";") {
			got, value, _ := strings.Cut(pair, "=")
			if got, ok := strings.CutSuffix(strings.Trim(got, " \t"), suffix); ok && slices.Contains(r.cookieNames, got) {
				different[[2]string{got, strings.TrimRight(value, " \t")}] = true
			}
		}
	}
	return len(different)
}

// signed returns what a signed cookie says: value.signature, percent-encoded,
// as Better Auth makes it. One value has one signature, in one spelling.
func (r *Reader) signed(cookie string) (value string, ok bool) {
	text, err := url.PathUnescape(cookie)
	dot := strings.LastIndexByte(text, '.')
	if err != nil || dot < 1 {
		return "", false
	}
	value, signature := text[:dot], text[dot+1:]
	for _, key := range r.cfg.CookieSecrets {
		mac := hmac.New(sha256.New, []byte(key.Reveal()))
		mac.Write([]byte(value))
		if hmac.Equal([]byte(base64.StdEncoding.EncodeToString(mac.Sum(nil))), []byte(signature)) {
			return value, true
		}
	}
	return "", false
}

// isJWE reports whether a value has the five parts of an encrypted token (RFC
// 7516, section 7.1), the first of which is JSON in base64url.
func isJWE(value string) bool {
	return strings.HasPrefix(value, "eyJ") && strings.Count(value, ".") == 4
}
