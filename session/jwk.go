package session

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"slices"

	"github.com/golang-jwt/jwt/v5"

	"github.com/usher-auth/usher/internal/jws"
	"github.com/usher-auth/usher/internal/strictjson"
)

// Algorithms that a key can verify with, beside [EdDSA] and [ES256].
const (
	// Ed25519 is a second name of [EdDSA] (RFC 9864). A key has one of the
	// two, and its tokens say that one.
	Ed25519 = "Ed25519"
	// RS256 and PS256 are for other issuers' tokens; usher does not sign with
	// them.
	RS256 = "RS256"
	PS256 = "PS256"
)

// methods has the signature check of each algorithm. That of PS256 takes salts
// of the hash's length only (RFC 7518, section 3.5), which golang-jwt's own
// does not insist on.
var methods = map[string]jwt.SigningMethod{
	EdDSA:   jwt.SigningMethodEdDSA,
	Ed25519: jwt.SigningMethodEdDSA,
	ES256:   jwt.SigningMethodES256,
	RS256:   jwt.SigningMethodRS256,
	PS256: &jwt.SigningMethodRSAPSS{
		SigningMethodRSA: jwt.SigningMethodPS256.SigningMethodRSA,
		Options:          &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash},
	},
}

const (
	maxKeyIDBytes = 128
	maxJWKSBytes  = 256 << 10
	maxJWKSKeys   = 64
	jwksDepth     = 16
)

// A JWK is a public key that verifies tokens of one algorithm (RFC 7517). It
// is immutable and holds nothing secret. The zero JWK verifies nothing.
type JWK struct {
	KeyID     string // kid: what tokens name the key by
	Algorithm string // alg: the only one that the key verifies

	public crypto.PublicKey
	method jwt.SigningMethod
}

// NewJWK names a public key by its [JWK.Thumbprint]. It takes an
// [ed25519.PublicKey] for [EdDSA] or [Ed25519], an [*ecdsa.PublicKey] on P-256
// for [ES256], and an [*rsa.PublicKey] for [RS256] or [PS256], and refuses the
// weak keys that [ParseJWK] refuses.
func NewJWK(alg string, public crypto.PublicKey) (JWK, error) {
	k := JWK{Algorithm: alg, public: public, method: methods[alg]}
	if err := k.check(); err != nil {
		return JWK{}, fmt.Errorf("session: JWK: %w", err)
	}
	k.KeyID = k.Thumbprint()
	return k, nil
}

// ParseJWK reads one key of a JWK Set. It takes what [NewJWK] takes, given a
// kid; an alg may be absent, but an RSA key is then one of [RS256]. It refuses
// a key that is for something else than signatures (use, key_ops) and one
// whose private half is there, with [ErrPrivateKey].
func ParseJWK(data []byte) (JWK, error) {
	members, err := strictjson.Object(data, jwksDepth)
	if err != nil {
		return JWK{}, fmt.Errorf("session: JWK: %w", err)
	}
	k, err := parseJWK(members)
	if err != nil {
		return JWK{}, fmt.Errorf("session: JWK: %w", err)
	}
	return k, nil
}

// ErrPrivateKey says that a JWK or a JWK Set shows a private key: its owner
// must be told, and nothing that it signed can be trusted.
var ErrPrivateKey = errors.New("private key in public")

// privateMembers are those of RFC 7518 sections 6.2.2 and 6.3.2. The k of a
// symmetric key is not among them: such a key in a set is merely of no use.
var privateMembers = []string{"d", "p", "q", "dp", "dq", "qi", "oth"}

func parseJWK(m strictjson.Members) (JWK, error) {
	for _, name := range privateMembers {
		if _, ok := m.Get(name); ok {
			return JWK{}, ErrPrivateKey
		}
	}
	kid, _ := jws.Text(m, "kid")
	if kid == "" || len(kid) > maxKeyIDBytes {
		return JWK{}, fmt.Errorf("kid is not a string of 1 to %d bytes", maxKeyIDBytes)
	}
	if !forSignatures(m) {
		return JWK{}, errors.New("use or key_ops is not for verifying signatures")
	}
	k := JWK{KeyID: kid}
	kty, _ := jws.Text(m, "kty")
	crv, _ := jws.Text(m, "crv")
	switch {
	case kty == "OKP" && crv == "Ed25519":
		k.Algorithm, k.public = EdDSA, ed25519.PublicKey(bytesMember(m, "x"))
	case kty == "EC" && crv == "P-256":
		x, y := bytesMember(m, "x"), bytesMember(m, "y")
		if len(x) != 32 || len(y) != 32 {
			return JWK{}, errors.New("x or y is not 32 bytes of base64url")
		}
		public, err := ecdsa.ParseUncompressedPublicKey(elliptic.P256(), slices.Concat([]byte{4}, x, y))
		if err != nil {
			return JWK{}, errors.New("not a point of P-256")
		}
		k.Algorithm, k.public = ES256, public
	case kty == "RSA":
		n, e := bytesMember(m, "n"), bytesMember(m, "e")
		if len(n) == 0 || n[0] == 0 || len(e) == 0 || len(e) > 4 {
			return JWK{}, errors.New("n or e is not a base64url number of the right size")
		}
		k.Algorithm = RS256
		k.public = &rsa.PublicKey{N: new(big.Int).SetBytes(n), E: int(new(big.Int).SetBytes(e).Int64())}
	default:
		return JWK{}, errors.New("kty or crv is unknown")
	}
	if alg, ok := m.Get("alg"); ok {
		k.Algorithm, _ = alg.Text()
	}
	k.method = methods[k.Algorithm]
	return k, k.check()
}

// bytesMember returns a member that is base64url, or nil.
func bytesMember(m strictjson.Members, name string) []byte {
	s, _ := jws.Text(m, name)
	b, ok := jws.DecodeBase64URL(s)
	if !ok {
		return nil
	}
	return b
}

// forSignatures reports whether use and key_ops allow verifying, and nothing
// beside it: a key that also encrypts is a key for two algorithms.
func forSignatures(m strictjson.Members) bool {
	if use, ok := m.Get("use"); ok {
		if s, _ := use.Text(); s != "sig" {
			return false
		}
	}
	if ops, ok := m.Get("key_ops"); ok {
		list, _ := ops.Elements()
		if len(list) != 1 {
			return false
		}
		if s, _ := list[0].Text(); s != "verify" {
			return false
		}
	}
	return true
}

// check refuses an algorithm that is not the key's, and keys that are weak or
// dear to verify with.
func (k JWK) check() error {
	switch public := k.public.(type) {
	case ed25519.PublicKey:
		if k.Algorithm != EdDSA && k.Algorithm != Ed25519 {
			return errors.New("alg is not of an Ed25519 key")
		}
		return checkEd25519(public)
	case *ecdsa.PublicKey:
		if k.Algorithm != ES256 {
			return errors.New("alg is not of a P-256 key")
		}
		if public.Curve != elliptic.P256() {
			return errors.New("not on P-256")
		}
		if _, err := public.ECDH(); err != nil {
			return errors.New("not a point of P-256")
		}
		return nil
	case *rsa.PublicKey:
		if k.Algorithm != RS256 && k.Algorithm != PS256 {
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

// checkEd25519 refuses what is no point of the curve or one of small order,
// under which one signature passes for every message. crypto/ed25519 refuses
// neither.
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
	// From -x²+y² = 1+dx²y². The divisor is never 0, for -1/d is no square.
	yy := new(big.Int).Mul(y, y)
	xx := quotient(new(big.Int).Sub(yy, one), new(big.Int).Add(one, new(big.Int).Mul(edwardsD, yy)))
	if big.Jacobi(xx, edwardsP) < 0 {
		return errors.New("not a point of Ed25519")
	}
	// The small orders divide 8: doubled three times, such a point is (0, 1).
	// Doubling needs no more of x than its square.
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

// Public returns the key itself; the caller must not change it.
func (k JWK) Public() crypto.PublicKey { return k.public }

// equal reports whether both are the same key for the same algorithm.
func (k JWK) equal(other JWK) bool {
	public, ok := k.public.(interface{ Equal(crypto.PublicKey) bool })
	return ok && k.Algorithm == other.Algorithm && public.Equal(other.public)
}

// Verify reports whether signature is the key's own over input, as a JWS has
// the two. It is one of many checks that a token needs: see [Verifier.Verify].
func (k JWK) Verify(input string, signature []byte) bool {
	return k.method != nil && k.method.Verify(input, signature, k.public) == nil
}

// jwkJSON has the members of RFC 7517 and 7518 that are published, in the
// order in which usher writes them.
type jwkJSON struct {
	KeyType   string `json:"kty"`
	Curve     string `json:"crv,omitempty"`
	X         string `json:"x,omitempty"`
	Y         string `json:"y,omitempty"`
	N         string `json:"n,omitempty"`
	E         string `json:"e,omitempty"`
	KeyID     string `json:"kid"`
	Use       string `json:"use"`
	Algorithm string `json:"alg"`
}

func (k JWK) members() jwkJSON {
	encode := base64.RawURLEncoding.EncodeToString
	m := jwkJSON{KeyID: k.KeyID, Use: "sig", Algorithm: k.Algorithm}
	switch public := k.public.(type) {
	case ed25519.PublicKey:
		m.KeyType, m.Curve, m.X = "OKP", "Ed25519", encode(public)
	case *ecdsa.PublicKey:
		point, err := public.Bytes() // 4, x, y
		if err != nil {
			panic(err) // checked when the JWK was made
		}
		m.KeyType, m.Curve, m.X, m.Y = "EC", "P-256", encode(point[1:33]), encode(point[33:])
	case *rsa.PublicKey:
		m.KeyType, m.N, m.E = "RSA", encode(public.N.Bytes()), encode(big.NewInt(int64(public.E)).Bytes())
	}
	return m
}

// MarshalJSON writes the public members, of which kid, use and alg are always
// there.
func (k JWK) MarshalJSON() ([]byte, error) { return json.Marshal(k.members()) }

// Thumbprint returns the RFC 7638 SHA-256 thumbprint in base64url: a name that
// follows from the key alone.
func (k JWK) Thumbprint() string {
	m := k.members()
	// Required members only, in lexicographic order (RFC 7638 3.2, RFC 8037 2).
	var canonical string
	switch m.KeyType {
	case "OKP":
		canonical = `{"crv":"` + m.Curve + `","kty":"OKP","x":"` + m.X + `"}`
	case "EC":
		canonical = `{"crv":"` + m.Curve + `","kty":"EC","x":"` + m.X + `","y":"` + m.Y + `"}`
	case "RSA":
		canonical = `{"e":"` + m.E + `","kty":"RSA","n":"` + m.N + `"}`
	}
	sum := sha256.Sum256([]byte(canonical))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}
