// Package jwk reads and fetches public keys: usher's own for package session, and those of
// identity providers for package identity. It does not handle tokens.
//
// A [Profile] says which keys are accepted, because the two packages accept different keys.
package jwk

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	_ "crypto/sha512" // for ES384, ES512, RS384 and RS512
	"errors"
	"fmt"
	"math/big"
	"slices"
	"strings"

	"github.com/golang-jwt/jwt/v5"
)

// Algorithms of signatures (RFC 7518, section 3.1; RFC 8037; RFC 9864).
const (
	EdDSA   = "EdDSA"
	Ed25519 = "Ed25519" // a second name of EdDSA; a key has one of the two
	ES256   = "ES256"
	ES384   = "ES384"
	ES512   = "ES512"
	RS256   = "RS256"
	RS384   = "RS384"
	RS512   = "RS512"
	PS256   = "PS256"
)

// methods has the signature check of each algorithm. For PS256, the salt must have the length
// of the hash (RFC 7518, section 3.5), which golang-jwt does not require by default.
var methods = map[string]jwt.SigningMethod{
	EdDSA:   jwt.SigningMethodEdDSA,
	Ed25519: jwt.SigningMethodEdDSA,
	ES256:   jwt.SigningMethodES256,
	ES384:   jwt.SigningMethodES384,
	ES512:   jwt.SigningMethodES512,
	RS256:   jwt.SigningMethodRS256,
	RS384:   jwt.SigningMethodRS384,
	RS512:   jwt.SigningMethodRS512,
	PS256: &jwt.SigningMethodRSAPSS{
		SigningMethodRSA: jwt.SigningMethodPS256.SigningMethodRSA,
		Options:          &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash},
	},
}

// A Profile says which keys are accepted, and in which form.
type Profile struct {
	// Algorithms are the accepted algorithms. A key that does not name its algorithm is
	// for the one in this list that fits. If several fit, it is for the first of
	// [Algorithms] that does.
	Algorithms []string
	// Lenient accepts a key without a kid, padding in its base64url, and zero
	// bytes before its numbers.
	Lenient bool
}

// Own is for usher's own keys, which package session reads. RS256 and PS256 are included for
// users of package session who have another issuer.
var Own = Profile{Algorithms: []string{EdDSA, Ed25519, ES256, RS256, PS256}}

// Algorithms are all algorithms that an identity provider's keys may be for.
func Algorithms() []string {
	return []string{EdDSA, Ed25519, ES256, ES384, ES512, RS256, PS256, RS384, RS512}
}

// A Key is a public key that verifies signatures of one algorithm. It is
// immutable. The zero Key verifies nothing.
type Key struct {
	ID        string // kid; may be empty with a lenient profile
	Algorithm string

	public crypto.PublicKey
	method jwt.SigningMethod
}

// New returns a key without an ID. It refuses an algorithm that does not fit the key or is not
// in the profile, and keys that are weak, or expensive to verify with.
func (p Profile) New(alg string, public crypto.PublicKey) (Key, error) {
	k := Key{Algorithm: alg, public: public, method: methods[alg]}
	if err := k.check(); err != nil {
		return Key{}, err
	}
	if !slices.Contains(p.Algorithms, alg) {
		return Key{}, fmt.Errorf("alg %s is not one of %s", alg, strings.Join(p.Algorithms, ", "))
	}
	return k, nil
}

// Public returns the key itself. The caller must not change it.
func (k Key) Public() crypto.PublicKey { return k.public }

// Equal reports whether both are the same key for the same algorithm.
func (k Key) Equal(other Key) bool {
	public, ok := k.public.(interface{ Equal(crypto.PublicKey) bool })
	return ok && k.Algorithm == other.Algorithm && public.Equal(other.public)
}

// Verify reports whether signature is the key's signature of input, both in the form of a JWS.
func (k Key) Verify(input string, signature []byte) bool {
	return k.method != nil && k.method.Verify(input, signature, k.public) == nil
}

// fitting returns the algorithms that a key could be for, the usual one first.
func fitting(public crypto.PublicKey) []string {
	switch public := public.(type) {
	case ed25519.PublicKey:
		return []string{EdDSA, Ed25519}
	case *ecdsa.PublicKey:
		switch public.Curve {
		case elliptic.P256():
			return []string{ES256}
		case elliptic.P384():
			return []string{ES384}
		case elliptic.P521():
			return []string{ES512}
		}
	case *rsa.PublicKey:
		return []string{RS256, PS256, RS384, RS512}
	}
	return nil
}

// algorithmOf chooses the algorithm of a key that does not name its own.
func (p Profile) algorithmOf(public crypto.PublicKey) string {
	all := fitting(public)
	allowed := slices.DeleteFunc(slices.Clone(all), func(alg string) bool { return !slices.Contains(p.Algorithms, alg) })
	switch {
	case len(allowed) == 1:
		return allowed[0]
	case len(all) > 0:
		return all[0]
	}
	return ""
}

// check refuses an algorithm that does not fit the key, and keys that are weak or expensive to
// verify with.
func (k Key) check() error {
	algs := fitting(k.public)
	switch public := k.public.(type) {
	case ed25519.PublicKey:
		if !slices.Contains(algs, k.Algorithm) {
			return errors.New("alg is not of an Ed25519 key")
		}
		return checkEd25519(public)
	case *ecdsa.PublicKey:
		if !slices.Contains(algs, k.Algorithm) {
			return fmt.Errorf("alg is not of a %s key", public.Curve.Params().Name)
		}
		if _, err := public.ECDH(); err != nil {
			return fmt.Errorf("not a point of %s", public.Curve.Params().Name)
		}
		return nil
	case *rsa.PublicKey:
		if !slices.Contains(algs, k.Algorithm) {
			return errors.New("alg is not of an RSA key")
		}
		return checkRSA(public)
	}
	return fmt.Errorf("a %T is not a public key that verifies", k.public)
}

func checkRSA(public *rsa.PublicKey) error {
	if bits := public.N.BitLen(); bits < 2048 || bits > 4096 {
		return errors.New("RSA modulus is not of 2048 to 4096 bits")
	}
	if public.N.Bit(0) == 0 {
		return errors.New("RSA modulus is even")
	}
	if public.E < 65537 || public.E >= 1<<31 || public.E%2 == 0 {
		return errors.New("RSA exponent is not an odd number from 65537 to 2^31")
	}
	return nil
}

// The field and the curve of Ed25519 (RFC 8032, section 5.1).
var (
	one      = big.NewInt(1)
	edwardsP = new(big.Int).Sub(new(big.Int).Lsh(one, 255), big.NewInt(19))
	edwardsD = quotient(big.NewInt(-121665), big.NewInt(121666))
)

// quotient is a/b in the field. No b that is passed here is ever 0.
func quotient(a, b *big.Int) *big.Int {
	q := new(big.Int).ModInverse(b, edwardsP)
	return q.Mod(q.Mul(q, a), edwardsP)
}

// checkEd25519 refuses bytes that are not a point of the curve, and points of small order, for
// which one signature is valid for every message. crypto/ed25519 accepts both.
func checkEd25519(public ed25519.PublicKey) error {
	if len(public) != ed25519.PublicKeySize {
		return errors.New("x is not 32 bytes of base64url")
	}
	encoded := slices.Clone(public)
	encoded[31] &= 0x7f // the sign of x
	slices.Reverse(encoded)
	y := new(big.Int).SetBytes(encoded)
	if y.Cmp(edwardsP) >= 0 {
		return errors.New("Ed25519 key is not in its one spelling")
	}
	// From -x²+y² = 1+dx²y². The divisor is never 0, because -1/d is not a square.
	yy := new(big.Int).Mul(y, y)
	xx := quotient(new(big.Int).Sub(yy, one), new(big.Int).Add(one, new(big.Int).Mul(edwardsD, yy)))
	if big.Jacobi(xx, edwardsP) < 0 {
		return errors.New("not a point of Ed25519")
	}
	// The small orders divide 8: doubled three times, such a point is (0, 1). Doubling
	// needs only the square of x.
	for range 3 {
		yy := new(big.Int).Mul(y, y)
		xxyy := new(big.Int).Mul(xx, yy)
		dxxyy := new(big.Int).Mul(edwardsD, xxyy)
		y = quotient(new(big.Int).Add(yy, xx), new(big.Int).Sub(one, dxxyy))
		square := new(big.Int).Add(one, dxxyy)
		xx = quotient(new(big.Int).Lsh(xxyy, 2), square.Mul(square, square))
	}
	if y.Cmp(one) == 0 {
		return errors.New("Ed25519 key is of small order")
	}
	return nil
}
