package session

import (
	"crypto"
	"fmt"

	"github.com/usher-auth/usher/internal/jwk"
)

// Algorithms that a key can verify with, in addition to [EdDSA] and [ES256].
const (
	// Ed25519 is a second name for [EdDSA] (RFC 9864). A key has one of the two names,
	// and its tokens must use that one.
	Ed25519 = jwk.Ed25519
	// RS256 and PS256 are for other issuers' tokens. usher does not sign with them.
	RS256 = jwk.RS256
	PS256 = jwk.PS256
)

// A JWK is a public key that verifies tokens of one algorithm (RFC 7517). It
// is immutable and holds nothing secret. The zero JWK verifies nothing.
type JWK struct {
	KeyID     string // kid: the name of the key in tokens
	Algorithm string // alg: the only algorithm that the key verifies

	key jwk.Key
}

// NewJWK returns a JWK for a public key, with its [JWK.Thumbprint] as kid. It accepts an
// [ed25519.PublicKey] for [EdDSA] or [Ed25519], an [*ecdsa.PublicKey] on P-256 for
// [ES256], and an [*rsa.PublicKey] for [RS256] or [PS256]. It refuses the same weak keys
// as [ParseJWK].
func NewJWK(alg string, public crypto.PublicKey) (JWK, error) {
	key, err := jwk.Own.New(alg, public)
	if err != nil {
		return JWK{}, fmt.Errorf("session: JWK: %w", err)
	}
	return JWK{key.Thumbprint(), alg, key}, nil
}

// ParseJWK reads one key of a JWK Set. It accepts the same keys as [NewJWK]. A kid is
// required. An alg is optional; an RSA key without one is for [RS256]. It refuses a key
// that is not for signatures (use, key_ops), and returns [ErrPrivateKey] for a key with
// its private half.
func ParseJWK(data []byte) (JWK, error) {
	key, err := jwk.Own.Parse(data)
	if err != nil {
		return JWK{}, fmt.Errorf("session: JWK: %w", err)
	}
	return JWK{key.ID, key.Algorithm, key}, nil
}

// ErrPrivateKey is returned if a JWK or a JWK Set contains a private key. Tell its owner,
// and do not trust anything that it signed.
var ErrPrivateKey = jwk.ErrPrivateKey

// Public returns the key itself. The caller must not change it.
func (k JWK) Public() crypto.PublicKey { return k.key.Public() }

// equal reports whether both are the same key for the same algorithm.
func (k JWK) equal(other JWK) bool { return k.key.Equal(other.key) }

// Verify reports whether signature is the key's signature of input, both in the form of a
// JWS. It is only one of the checks that a token needs: see [Verifier.Verify].
func (k JWK) Verify(input string, signature []byte) bool { return k.key.Verify(input, signature) }

// MarshalJSON writes the public members. It always includes kid, use and alg.
func (k JWK) MarshalJSON() ([]byte, error) {
	k.key.ID = k.KeyID
	return k.key.MarshalJSON()
}

// Thumbprint returns the RFC 7638 SHA-256 thumbprint in base64url: a name that depends
// only on the key.
func (k JWK) Thumbprint() string { return k.key.Thumbprint() }
