package session

import (
	"crypto"
	"fmt"

	"github.com/usher-auth/usher/internal/jwk"
)

// Algorithms that a key can verify with, beside [EdDSA] and [ES256].
const (
	// Ed25519 is a second name of [EdDSA] (RFC 9864). A key has one of the
	// two, and its tokens say that one.
	Ed25519 = jwk.Ed25519
	// RS256 and PS256 are for other issuers' tokens; usher does not sign with
	// them.
	RS256 = jwk.RS256
	PS256 = jwk.PS256
)

// A JWK is a public key that verifies tokens of one algorithm (RFC 7517). It
// is immutable and holds nothing secret. The zero JWK verifies nothing.
type JWK struct {
	KeyID     string // kid: what tokens name the key by
	Algorithm string // alg: the only one that the key verifies

	key jwk.Key
}

// NewJWK names a public key by its [JWK.Thumbprint]. It takes an
// [ed25519.PublicKey] for [EdDSA] or [Ed25519], an [*ecdsa.PublicKey] on P-256
// for [ES256], and an [*rsa.PublicKey] for [RS256] or [PS256], and refuses the
// weak keys that [ParseJWK] refuses.
func NewJWK(alg string, public crypto.PublicKey) (JWK, error) {
	key, err := jwk.Own.New(alg, public)
	if err != nil {
		return JWK{}, fmt.Errorf("session: JWK: %w", err)
	}
	return JWK{key.Thumbprint(), alg, key}, nil
}

// ParseJWK reads one key of a JWK Set. It takes what [NewJWK] takes, given a
// kid; an alg may be absent, but an RSA key is then one of [RS256]. It refuses
// a key that is for something else than signatures (use, key_ops) and one
// whose private half is there, with [ErrPrivateKey].
func ParseJWK(data []byte) (JWK, error) {
	key, err := jwk.Own.Parse(data)
	if err != nil {
		return JWK{}, fmt.Errorf("session: JWK: %w", err)
	}
	return JWK{key.ID, key.Algorithm, key}, nil
}

// ErrPrivateKey says that a JWK or a JWK Set shows a private key: its owner
// must be told, and nothing that it signed can be trusted.
var ErrPrivateKey = jwk.ErrPrivateKey

// Public returns the key itself; the caller must not change it.
func (k JWK) Public() crypto.PublicKey { return k.key.Public() }

// equal reports whether both are the same key for the same algorithm.
func (k JWK) equal(other JWK) bool { return k.key.Equal(other.key) }

// Verify reports whether signature is the key's own over input, as a JWS has
// the two. It is one of many checks that a token needs: see [Verifier.Verify].
func (k JWK) Verify(input string, signature []byte) bool { return k.key.Verify(input, signature) }

// MarshalJSON writes the public members, of which kid, use and alg are always
// there.
func (k JWK) MarshalJSON() ([]byte, error) {
	k.key.ID = k.KeyID
	return k.key.MarshalJSON()
}

// Thumbprint returns the RFC 7638 SHA-256 thumbprint in base64url: a name that
// follows from the key alone.
func (k JWK) Thumbprint() string { return k.key.Thumbprint() }
