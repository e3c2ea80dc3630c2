package jwk

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
	"strings"

	"github.com/usher-auth/usher/internal/jws"
	"github.com/usher-auth/usher/internal/strictjson"
)

const (
	// MaxKeyIDBytes is the maximum length of a kid.
	MaxKeyIDBytes = 128
	// MaxSetBytes and MaxSetKeys bound a JWK Set.
	MaxSetBytes = 256 << 10
	MaxSetKeys  = 64
	maxDepth    = 16
)

// ErrPrivateKey is returned if a JWK or a JWK Set contains a private key. Tell its owner, and do
// not trust anything that it signed.
var ErrPrivateKey = errors.New("private key in public")

// privateMembers are those of RFC 7518 sections 6.2.2 and 6.3.2. The k of a symmetric key is not
// included: such a key in a set is only unusable.
var privateMembers = []string{"d", "p", "q", "dp", "dq", "qi", "oth"}

// Parse reads one key (RFC 7517, section 4).
func (p Profile) Parse(data []byte) (Key, error) {
	members, err := strictjson.Object(data, maxDepth)
	if err != nil {
		return Key{}, err
	}
	return p.parse(members)
}

func (p Profile) parse(m strictjson.Members) (Key, error) {
	for _, name := range privateMembers {
		if _, ok := m.Get(name); ok {
			return Key{}, ErrPrivateKey
		}
	}
	value, there := m.Get("kid")
	kid, _ := value.Text()
	if (there || !p.Lenient) && (kid == "" || len(kid) > MaxKeyIDBytes) {
		return Key{}, fmt.Errorf("kid is not a string of 1 to %d bytes", MaxKeyIDBytes)
	}
	if !forSignatures(m) {
		return Key{}, errors.New("use or key_ops is not for verifying signatures")
	}
	public, err := p.public(m)
	if err != nil {
		return Key{}, err
	}
	alg := p.algorithmOf(public)
	if value, there := m.Get("alg"); there {
		alg, _ = value.Text()
	}
	k, err := p.New(alg, public)
	k.ID = kid
	return k, err
}

// Unnamed returns a key without an ID and without a named algorithm.
func (p Profile) Unnamed(public crypto.PublicKey) (Key, error) {
	return p.New(p.algorithmOf(public), public)
}

// IsSet reports whether data looks like a JWK Set rather than one JWK.
func IsSet(data []byte) bool {
	members, _ := strictjson.Object(data, maxDepth) // anything else has no members
	_, there := members.Get("keys")
	return there
}

func (p Profile) public(m strictjson.Members) (crypto.PublicKey, error) {
	kty, _ := jws.Text(m, "kty")
	crv, _ := jws.Text(m, "crv")
	curve, alg := elliptic.Curve(nil), ""
	switch crv {
	case "P-256":
		curve, alg = elliptic.P256(), ES256
	case "P-384":
		curve, alg = elliptic.P384(), ES384
	case "P-521":
		curve, alg = elliptic.P521(), ES512
	}
	switch {
	case kty == "OKP" && crv == "Ed25519":
		return ed25519.PublicKey(p.bytes(m, "x")), nil
	case kty == "EC" && curve != nil && !slices.Contains(p.Algorithms, alg):
		return nil, fmt.Errorf("crv %s is for %s, which is not one of %s", crv, alg, strings.Join(p.Algorithms, ", "))
	case kty == "EC" && curve != nil:
		size := (curve.Params().BitSize + 7) / 8
		x, y := p.bytes(m, "x"), p.bytes(m, "y")
		if len(x) != size || len(y) != size {
			return nil, fmt.Errorf("x or y is not %d bytes of base64url", size)
		}
		public, err := ecdsa.ParseUncompressedPublicKey(curve, slices.Concat([]byte{4}, x, y))
		if err != nil {
			return nil, fmt.Errorf("not a point of %s", crv)
		}
		return public, nil
	case kty == "RSA":
		n, e := p.number(m, "n"), p.number(m, "e")
		if len(n) == 0 || n[0] == 0 || len(e) == 0 || len(e) > 4 {
			return nil, errors.New("n or e is not a base64url number of the right size")
		}
		return &rsa.PublicKey{N: new(big.Int).SetBytes(n), E: int(new(big.Int).SetBytes(e).Int64())}, nil
	}
	return nil, errors.New("kty or crv is unknown")
}

// bytes returns the decoded value of a base64url member, or nil.
func (p Profile) bytes(m strictjson.Members, name string) []byte {
	s, _ := jws.Text(m, name)
	if p.Lenient && len(s)%4 == 0 {
		s = strings.TrimSuffix(strings.TrimSuffix(s, "="), "=")
	}
	b, ok := jws.DecodeBase64URL(s)
	if !ok {
		return nil
	}
	return b
}

// number returns the bytes of a member that is a Base64urlUInt (RFC 7518,
// section 2), or nil.
func (p Profile) number(m strictjson.Members, name string) []byte {
	b := p.bytes(m, name)
	for p.Lenient && len(b) > 1 && b[0] == 0 {
		b = b[1:]
	}
	return b
}

// forSignatures reports whether use and key_ops allow only verifying. A key that also encrypts
// would be a key for two algorithms.
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

// A Set is the contents of a JWK Set: the usable keys in their order, and the reasons why the
// others are not usable.
type Set struct {
	Keys     []Key
	Unusable []Unusable
}

// Unusable is one element of a JWK Set that is not used.
type Unusable struct {
	Position int    // in the set, from 1
	ID       string // its kid; empty if it has no readable one
	Err      error
}

// ParseSet reads a JWK Set (RFC 7517, section 5). It leaves out keys that the profile does not
// accept. If the set contains a private key, it returns [ErrPrivateKey].
func (p Profile) ParseSet(data []byte) (Set, error) {
	if len(data) > MaxSetBytes {
		return Set{}, fmt.Errorf("longer than %d bytes", MaxSetBytes)
	}
	members, err := strictjson.Object(data, maxDepth)
	if err != nil {
		return Set{}, err
	}
	list, _ := members.Get("keys")
	elements, ok := list.Elements()
	if !ok {
		return Set{}, errors.New("keys is not an array")
	}
	if len(elements) > MaxSetKeys {
		return Set{}, fmt.Errorf("more than %d keys", MaxSetKeys)
	}
	var set Set
	for n, e := range elements {
		m, _ := e.Members()
		k, err := p.parse(m)
		if errors.Is(err, ErrPrivateKey) {
			return Set{}, err
		}
		if err != nil { // RFC 7517, section 5: ignore what is not understood
			kid, _ := jws.Text(m, "kid")
			set.Unusable = append(set.Unusable, Unusable{n + 1, kid, err})
			continue
		}
		set.Keys = append(set.Keys, k)
	}
	return set, nil
}

// maxReasons is the maximum number of unusable keys that an error describes.
const maxReasons = 8

// Reasons returns for each unusable key why it is not used, for a log.
func (s Set) Reasons() string {
	if len(s.Unusable) == 0 {
		return "the set is empty"
	}
	var reasons []string
	for _, u := range s.Unusable {
		if len(reasons) == maxReasons {
			reasons = append(reasons, fmt.Sprintf("and %d more", len(s.Unusable)-maxReasons))
			break
		}
		name := fmt.Sprintf("key %d", u.Position)
		if u.ID != "" {
			name += fmt.Sprintf(" (kid %.64q)", u.ID)
		}
		reasons = append(reasons, name+": "+u.Err.Error())
	}
	return strings.Join(reasons, "; ")
}

// jwkJSON has the published members of RFC 7517 and 7518, in the order in which usher writes
// them.
type jwkJSON struct {
	KeyType   string `json:"kty"`
	Curve     string `json:"crv,omitempty"`
	X         string `json:"x,omitempty"`
	Y         string `json:"y,omitempty"`
	N         string `json:"n,omitempty"`
	E         string `json:"e,omitempty"`
	KeyID     string `json:"kid,omitempty"`
	Use       string `json:"use"`
	Algorithm string `json:"alg"`
}

func (k Key) members() jwkJSON {
	encode := base64.RawURLEncoding.EncodeToString
	m := jwkJSON{KeyID: k.ID, Use: "sig", Algorithm: k.Algorithm}
	switch public := k.public.(type) {
	case ed25519.PublicKey:
		m.KeyType, m.Curve, m.X = "OKP", "Ed25519", encode(public)
	case *ecdsa.PublicKey:
		point, err := public.Bytes() // 4, x, y
		if err != nil {
			panic(err) // checked when the key was made
		}
		half := len(point)/2 + 1
		m.KeyType, m.Curve, m.X, m.Y = "EC", public.Curve.Params().Name, encode(point[1:half]), encode(point[half:])
	case *rsa.PublicKey:
		m.KeyType, m.N, m.E = "RSA", encode(public.N.Bytes()), encode(big.NewInt(int64(public.E)).Bytes())
	}
	return m
}

// MarshalJSON writes the public members.
func (k Key) MarshalJSON() ([]byte, error) { return json.Marshal(k.members()) }

// Thumbprint returns the RFC 7638 SHA-256 thumbprint in base64url: a name that depends only on
// the key.
func (k Key) Thumbprint() string {
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
