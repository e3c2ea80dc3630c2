package identity

import (
	"errors"
	"net/http"
	"strings"

	"github.com/usher-auth/usher/internal/secret"
)

// Why a text is not an admin key, or a request has no usable one.
var (
	ErrBadAdminKey = errors.New("identity: not an admin key: its form or its checksum is wrong")
	ErrAPIKey      = errors.New("identity: an API key instead of an admin key")
	ErrNoAdminKey  = errors.New("identity: no Authorization header")
	// ErrAdminKeyInBrowser is a 400, as [ErrKeyInBrowser] is.
	ErrAdminKeyInBrowser = errors.New("identity: an admin key from a browser")
)

// An AdminKey is an [APIKey] for the admin API: neither is accepted as the other.
type AdminKey APIKey

// NewAdminKey is [NewAPIKey] for the admin API.
func NewAdminKey(environment string) (text secret.Text, key AdminKey, err error) {
	text, made, err := newKey(adminPrefix, environment)
	return text, AdminKey(made), err
}

// ParseAdminKey is [ParseAPIKey] for the admin API. It returns [ErrAPIKey] for
// what begins as an API key does.
func ParseAdminKey(text secret.Text) (AdminKey, error) {
	s := text.Reveal()
	key, ok := parseKey(adminPrefix, s)
	switch {
	case ok:
		return AdminKey(key), nil
	case strings.HasPrefix(s, keyPrefix):
		return AdminKey{}, ErrAPIKey
	}
	return AdminKey{}, ErrBadAdminKey
}

// ReadAdminKey returns the admin key of a request, or one of this package's
// errors. Only the Authorization header is read: with a cookie, any page that the
// key's owner visits could use it.
func ReadAdminKey(req *http.Request) (AdminKey, error) {
	if credentialInURL(req) {
		return AdminKey{}, ErrCredentialInURL
	}
	if len(req.Header.Values("Origin")) > 0 {
		return AdminKey{}, ErrAdminKeyInBrowser
	}
	text, err := bearer(req)
	switch {
	case errors.Is(err, ErrNoCredential):
		return AdminKey{}, ErrNoAdminKey
	case err != nil:
		return AdminKey{}, ErrBadAdminKey
	}
	return ParseAdminKey(text)
}

const bearerScheme = "Bearer"

// bearer returns the bearer token of the Authorization header (RFC 6750, section
// 2.1).
func bearer(req *http.Request) (secret.Text, error) {
	values := req.Header.Values("Authorization")
	if len(values) == 0 {
		return secret.Text{}, ErrNoCredential
	}
	scheme, text, _ := strings.Cut(values[0], " ")
	if len(values) != 1 || !strings.EqualFold(scheme, bearerScheme) {
		return secret.Text{}, ErrBadBearer
	}
	return secret.New(text), nil
}
