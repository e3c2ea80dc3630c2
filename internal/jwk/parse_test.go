package jwk_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"maps"
	"math/big"
	"strings"
	"sync"
	"testing"

	"github.com/go-jose/go-jose/v4"
	"github.com/google/go-cmp/cmp"

	"github.com/usher-auth/usher/internal/jwk"
)

var lenient = jwk.Profile{Algorithms: jwk.Algorithms(), Lenient: true}

var rsaKey = sync.OnceValue(func() *rsa.PrivateKey {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	return key
})

func ecKey(t testing.TB, curve elliptic.Curve) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(curve, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func encode(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }

type members = map[string]any

func rsaMembers(more members) members {
	m := members{"kty": "RSA", "n": encode(rsaKey().N.Bytes()), "e": "AQAB"}
	maps.Copy(m, more)
	return m
}

func text(t testing.TB, v any) []byte {
	t.Helper()
	data, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// Providers write numbers with leading zero bytes, padding, and keys without a kid. Everything else
// that the exact profile refuses is refused here too.
func TestLenient(t *testing.T) {
	t.Parallel()
	n := rsaKey().N.Bytes()
	padded := base64.URLEncoding.EncodeToString
	ec := ecKey(t, elliptic.P256())
	point, err := ec.PublicKey.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	ed, _, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	const yes, no = true, false
	for name, test := range map[string]struct {
		key        members
		own, other bool
	}{
		"plain":                       {rsaMembers(members{"kid": "k"}), yes, yes},
		"a zero before n":             {rsaMembers(members{"kid": "k", "n": encode(append([]byte{0}, n...))}), no, yes},
		"zeros before n":              {rsaMembers(members{"kid": "k", "n": encode(append([]byte{0, 0, 0}, n...))}), no, yes},
		"zeros before e":              {rsaMembers(members{"kid": "k", "e": encode([]byte{0, 0, 1, 0, 1})}), no, yes},
		"n of zeros":                  {rsaMembers(members{"kid": "k", "n": encode(make([]byte, 256))}), no, no},
		"n is empty":                  {rsaMembers(members{"kid": "k", "n": ""}), no, no},
		"n is a number":               {rsaMembers(members{"kid": "k", "n": 3}), no, no},
		"padded n":                    {rsaMembers(members{"kid": "k", "n": padded(n)}), no, yes},
		"padded n with a zero before": {rsaMembers(members{"kid": "k", "n": padded(append([]byte{0}, n...))}), no, yes},
		"a padding too many":          {rsaMembers(members{"kid": "k", "n": padded(n) + "="}), no, no},
		"padding within":              {rsaMembers(members{"kid": "k", "n": "=" + padded(n)[1:]}), no, no},
		"a line break":                {rsaMembers(members{"kid": "k", "n": encode(n) + "\n"}), no, no},
		"padded x and y":              {members{"kty": "EC", "crv": "P-256", "kid": "k", "x": padded(point[1:33]), "y": padded(point[33:])}, no, yes},
		"a zero before x":             {members{"kty": "EC", "crv": "P-256", "kid": "k", "x": encode(append([]byte{0}, point[1:33]...)), "y": encode(point[33:])}, no, no},
		"padded Ed25519":              {members{"kty": "OKP", "crv": "Ed25519", "kid": "k", "x": padded(ed)}, no, yes},
		"no kid":                      {rsaMembers(nil), no, yes},
		"kid is empty":                {rsaMembers(members{"kid": ""}), no, no},
		"kid is a number":             {rsaMembers(members{"kid": 1}), no, no},
		"kid is null":                 {rsaMembers(members{"kid": nil}), no, no},
		"a long kid":                  {rsaMembers(members{"kid": strings.Repeat("k", 129)}), no, no},
		"for encryption":              {rsaMembers(members{"kid": "k", "use": "enc"}), no, no},
		"a symmetric key":             {members{"kty": "oct", "kid": "k", "k": "c2VjcmV0", "alg": "HS256"}, no, no},
		"alg is a number":             {rsaMembers(members{"kid": "k", "alg": 1}), no, no},
		"alg of another key":          {rsaMembers(members{"kid": "k", "alg": "ES256"}), no, no},
		"alg of encryption":           {rsaMembers(members{"kid": "k", "alg": "RSA-OAEP"}), no, no},
		"RS512":                       {rsaMembers(members{"kid": "k", "alg": "RS512"}), no, yes},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for _, p := range []struct {
				jwk.Profile
				want bool
			}{{jwk.Own, test.own}, {lenient, test.other}} {
				if _, err := p.Parse(text(t, test.key)); (err == nil) != p.want {
					t.Errorf("lenient %t: got %v, want accepted %t", p.Lenient, err, p.want)
				}
			}
		})
	}
	for _, p := range []jwk.Profile{jwk.Own, lenient} {
		if _, err := p.Parse(text(t, rsaMembers(members{"d": "AQAB"}))); !errors.Is(err, jwk.ErrPrivateKey) {
			t.Errorf("lenient %t: a private key: %v", p.Lenient, err)
		}
	}
}

// For each algorithm, a signature of go-jose verifies with a key in go-jose's form and with a key in
// ours, and with no other algorithm.
func TestAlgorithms(t *testing.T) {
	t.Parallel()
	_, ed, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	keys := map[string]crypto.Signer{
		jwk.EdDSA: ed, jwk.ES256: ecKey(t, elliptic.P256()), jwk.ES384: ecKey(t, elliptic.P384()), jwk.ES512: ecKey(t, elliptic.P521()),
		jwk.RS256: rsaKey(), jwk.RS384: rsaKey(), jwk.RS512: rsaKey(), jwk.PS256: rsaKey(),
	}
	for alg, private := range keys {
		signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.SignatureAlgorithm(alg), Key: private}, nil)
		if err != nil {
			t.Fatal(err)
		}
		signed, err := signer.Sign([]byte("payload"))
		if err != nil {
			t.Fatal(err)
		}
		compact, err := signed.CompactSerialize()
		if err != nil {
			t.Fatal(err)
		}
		dot := strings.LastIndexByte(compact, '.')
		input := compact[:dot]
		signature, err := base64.RawURLEncoding.DecodeString(compact[dot+1:])
		if err != nil {
			t.Fatal(err)
		}
		key, err := lenient.Parse(text(t, jose.JSONWebKey{Key: private.Public(), KeyID: "k", Algorithm: alg, Use: "sig"}))
		if err != nil {
			t.Errorf("%s: %v", alg, err)
			continue
		}
		again, err := lenient.Parse(text(t, key))
		if err != nil || !again.Equal(key) || key.Algorithm != alg {
			t.Errorf("%s: written and read again: %v, %+v", alg, err, again)
		}
		if !key.Verify(input, signature) || key.Verify(input+"x", signature) || key.Verify(input, signature[1:]) {
			t.Errorf("%s: a good signature is refused, or a wrong one accepted", alg)
		}
		for other := range keys {
			wrong, err := lenient.New(other, private.Public())
			if err == nil && other != alg && wrong.Verify(input, signature) {
				t.Errorf("a signature of %s passes for one of %s", alg, other)
			}
		}
		if _, err := jwk.Own.New(alg, private.Public()); (err == nil) != (alg == jwk.EdDSA || alg == jwk.ES256 || alg == jwk.RS256 || alg == jwk.PS256) {
			t.Errorf("%s in usher's own profile: %v", alg, err)
		}
	}
}

// The zero key verifies nothing, and is not even equal to itself.
func TestZeroKey(t *testing.T) {
	t.Parallel()
	if zero := (jwk.Key{}); zero.Equal(zero) || zero.Verify("", nil) {
		t.Error("the zero key equals or verifies something")
	}
	if _, err := lenient.New("", ecKey(t, elliptic.P224()).Public()); err == nil {
		t.Error("P-224 is accepted")
	}
}

// A signature with another hash than the curve's is refused, because RFC 7518 fixes the hash for
// each curve.
func TestWrongHash(t *testing.T) {
	t.Parallel()
	input := "a.b"
	digest := func(h hash.Hash) []byte { h.Write([]byte(input)); return h.Sum(nil) }
	private := ecKey(t, elliptic.P384())
	r, s, err := ecdsa.Sign(rand.Reader, private, digest(sha256.New()))
	if err != nil {
		t.Fatal(err)
	}
	key, err := lenient.New(jwk.ES384, private.Public())
	if err != nil {
		t.Fatal(err)
	}
	signature := append(r.FillBytes(make([]byte, 48)), s.FillBytes(make([]byte, 48))...)
	if key.Verify(input, signature) {
		t.Error("ES384 over SHA-256 is accepted")
	}
	r, s, err = ecdsa.Sign(rand.Reader, private, digest(sha512.New384()))
	if err != nil {
		t.Fatal(err)
	}
	if !key.Verify(input, append(r.FillBytes(make([]byte, 48)), s.FillBytes(make([]byte, 48))...)) {
		t.Error("ES384 is refused")
	}
}

// A key without an alg is for the only algorithm of the profile that fits it.
func TestAlgorithmOfAKeyWithoutOne(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		algorithms []string
		want       string
	}{
		{jwk.Algorithms(), "RS256"},
		{[]string{"RS512"}, "RS512"},
		{[]string{"RS512", "ES256"}, "RS512"},
		{[]string{"PS256"}, "PS256"},
		{[]string{"RS256", "RS512"}, "RS256"},
		{[]string{"RS384", "RS512"}, ""}, // nothing says which of the two
		{[]string{"ES256"}, ""},
	} {
		got, err := jwk.Profile{Algorithms: test.algorithms, Lenient: true}.Parse(text(t, rsaMembers(members{"kid": "k"})))
		if got.Algorithm != test.want || (err == nil) != (test.want != "") {
			t.Errorf("%v: got %q, %v; want %q", test.algorithms, got.Algorithm, err, test.want)
		}
	}
}

func TestUnusableKeys(t *testing.T) {
	t.Parallel()
	small := &rsa.PublicKey{N: new(big.Int).SetBit(big.NewInt(1), 1023, 1), E: 65537}
	set := members{"keys": []any{
		members{"kty": "XYZ", "kid": "a\nb"},
		rsaMembers(members{"kid": "enc", "use": "enc"}),
		"no key",
		members{"kty": "RSA", "kid": "weak", "n": encode(small.N.Bytes()), "e": "AQAB"},
		rsaMembers(members{"kid": "good"}),
	}}
	got, err := lenient.ParseSet(text(t, set))
	if err != nil || len(got.Keys) != 1 || got.Keys[0].ID != "good" {
		t.Fatalf("got %+v, %v", got, err)
	}
	want := `key 1 (kid "a\nb"): kty or crv is unknown; key 2 (kid "enc"): use or key_ops is not for verifying signatures; ` +
		`key 3: kty or crv is unknown; key 4 (kid "weak"): RSA modulus is not of 2048 to 4096 bits`
	if diff := cmp.Diff(want, got.Reasons()); diff != "" {
		t.Errorf("Reasons() (-want +got):\n%s", diff)
	}
	many := make([]any, 60)
	for n := range many {
		many[n] = members{"kty": "XYZ", "kid": fmt.Sprint(n)}
	}
	got, err = lenient.ParseSet(text(t, members{"keys": many}))
	if reasons := got.Reasons(); err != nil || len(reasons) > 600 || !strings.HasSuffix(reasons, "and 52 more") {
		t.Errorf("of 60 keys: %v, %s", err, reasons)
	}
	if got := (jwk.Set{}).Reasons(); got != "the set is empty" {
		t.Errorf("of no keys: %q", got)
	}
}

func TestIsSet(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]bool{
		`{"keys":[]}`:              true,
		`{"keys":null,"x":1}`:      true,
		`{"kty":"RSA"}`:            false,
		`{"KEYS":[]}`:              false,
		`{"keys":[],"keys":[]}`:    false,
		`[{"keys":[]}]`:            false,
		`"keys"`:                   false,
		``:                         false,
		`-----BEGIN PUBLIC KEY---`: false,
	} {
		if got := jwk.IsSet([]byte(text)); got != want {
			t.Errorf("IsSet(%s) = %t, want %t", text, got, want)
		}
	}
}
