package session

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// Signing algorithms, by their JWS names (RFC 8037, RFC 7518).
const (
	EdDSA = "EdDSA"
	ES256 = "ES256"
)

// ErrNoSigningKey is returned if no key can sign at this time. This is a fault of the
// service, not of the request.
var ErrNoSigningKey = errors.New("session: no signing key is active")

// A SigningKey is a private key with its schedule. It is immutable and safe for
// concurrent use. Printing it does not show the private half.
type SigningKey struct {
	KeyTimes
	jwk     JWK
	header  string // the JOSE header of the key's tokens, encoded
	sign    func(signingInput string) ([]byte, error)
	marshal func() ([]byte, error) // behind a func so that it cannot be printed
}

// KeyTimes are the schedule of a key: when it is published and when it signs. A zero end
// means no end.
type KeyTimes struct {
	PublishedAt   time.Time
	SignsFrom     time.Time
	SignsUntil    time.Time
	UnpublishedAt time.Time
	CompromisedAt time.Time
}

func (t *KeyTimes) signs(now time.Time) bool {
	return !now.Before(t.SignsFrom) && before(now, t.SignsUntil) && t.published(now)
}

func (t *KeyTimes) published(now time.Time) bool {
	return !now.Before(t.PublishedAt) && before(now, t.UnpublishedAt) && before(now, t.CompromisedAt)
}

// before reports whether now is before end. A zero end means no end.
func before(now, end time.Time) bool { return end.IsZero() || now.Before(end) }

// GenerateKey creates a key for alg, [EdDSA] or [ES256].
func GenerateKey(alg string, times KeyTimes) (*SigningKey, error) {
	var private crypto.Signer
	var err error
	switch alg {
	case EdDSA:
		_, private, err = ed25519.GenerateKey(rand.Reader)
	case ES256:
		private, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	default:
		return nil, fmt.Errorf("session: cannot sign with %q: use %s or %s", alg, EdDSA, ES256)
	}
	if err != nil {
		return nil, fmt.Errorf("session: generate key: %w", err)
	}
	return NewSigningKey(private, times)
}

// NewSigningKey returns a signing key for an Ed25519 or P-256 private key. It signs and
// verifies once, to detect a wrong pair of keys.
func NewSigningKey(private crypto.Signer, times KeyTimes) (*SigningKey, error) {
	var method jwt.SigningMethod
	var alg string
	var public crypto.PublicKey
	switch private := private.(type) {
	case ed25519.PrivateKey:
		method, alg, public = jwt.SigningMethodEdDSA, EdDSA, private.Public()
	case *ecdsa.PrivateKey:
		if private.Curve != elliptic.P256() {
			return nil, errors.New("session: unsupported elliptic curve: use P-256")
		}
		method, alg, public = jwt.SigningMethodES256, ES256, &private.PublicKey
	default:
		return nil, fmt.Errorf("session: cannot sign with a %T: use Ed25519 or P-256", private)
	}
	jwk, err := NewJWK(alg, public)
	if err != nil {
		return nil, err
	}
	k := &SigningKey{
		KeyTimes: times,
		jwk:      jwk,
		header:   base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"` + alg + `","kid":"` + jwk.KeyID + `","typ":"at+jwt"}`)),
		sign:     func(input string) ([]byte, error) { return method.Sign(input, private) },
		marshal:  func() ([]byte, error) { return x509.MarshalPKCS8PrivateKey(private) },
	}
	const probe = "usher signing key self-test"
	signature, err := k.sign(probe)
	if err != nil {
		return nil, fmt.Errorf("session: key does not sign: %w", err)
	}
	if err := method.Verify(probe, signature, public); err != nil {
		return nil, fmt.Errorf("session: key does not verify what it signs: %w", err)
	}
	return k, nil
}

// ParseSigningKey reads what [SigningKey.MarshalPrivate] wrote: PKCS 8 in DER.
func ParseSigningKey(der []byte, times KeyTimes) (*SigningKey, error) {
	parsed, err := x509.ParsePKCS8PrivateKey(der)
	if err != nil {
		return nil, errors.New("session: not a PKCS 8 private key") // without the cause, which could quote the key
	}
	private, ok := parsed.(crypto.Signer)
	if !ok {
		return nil, fmt.Errorf("session: a %T cannot sign", parsed)
	}
	return NewSigningKey(private, times)
}

// ID returns the kid: the RFC 7638 thumbprint of the public key.
func (k *SigningKey) ID() string { return k.jwk.KeyID }

// Algorithm returns the alg header of the key's tokens.
func (k *SigningKey) Algorithm() string { return k.jwk.Algorithm }

// PublicJWK returns the public half.
func (k *SigningKey) PublicJWK() JWK { return k.jwk }

// MarshalPublic returns the public half as PKIX, DER.
func (k *SigningKey) MarshalPublic() ([]byte, error) {
	return x509.MarshalPKIXPublicKey(k.jwk.Public())
}

// signatureSize is the same for both algorithms (RFC 8032, RFC 7518 3.4).
func (*SigningKey) signatureSize() int { return 64 }

// MarshalPrivate returns the private half as PKCS 8, DER: keep it secret.
func (k *SigningKey) MarshalPrivate() ([]byte, error) { return k.marshal() }

// String returns the key's algorithm and id.
func (k *SigningKey) String() string { return k.Algorithm() + " key " + k.ID() }

// A Keyring is the set of signing keys that one replica has loaded. It is immutable.
type Keyring struct{ keys []*SigningKey }

// NewKeyring returns a ring with these keys.
func NewKeyring(keys ...*SigningKey) *Keyring {
	keys = slices.Clone(keys)
	slices.SortStableFunc(keys, func(a, b *SigningKey) int { return b.SignsFrom.Compare(a.SignsFrom) })
	return &Keyring{keys}
}

// Signing returns the key of this algorithm that signs at now. If there are several, it
// returns the one that started last; if there is no key, [ErrNoSigningKey].
func (r *Keyring) Signing(alg string, now time.Time) (*SigningKey, error) {
	for _, k := range r.keys {
		if k.Algorithm() == alg && k.signs(now) {
			return k, nil
		}
	}
	return nil, ErrNoSigningKey
}

// JWKS returns the public halves of the keys that are published at now, as a JWK Set
// (RFC 7517, section 5).
func (r *Keyring) JWKS(now time.Time) []byte {
	var published []JWK
	for _, k := range r.keys {
		if k.published(now) {
			published = append(published, k.jwk)
		}
	}
	return MarshalJWKS(published)
}
