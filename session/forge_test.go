package session_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"math/big"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/usher-auth/usher/session"
)

const (
	testIssuer   = "https://auth.example.test"
	testAudience = "sync:example"
)

var testNow = time.Unix(1800000000, 0)

// forger writes valid and invalid tokens by hand, without the code under test.
type forger struct {
	private crypto.Signer
	alg     string
	kid     string
}

// edForger signs with an Ed25519 key that is the same in each run.
func edForger(kid string) forger {
	seed := sha256.Sum256([]byte("usher test key " + kid))
	return forger{ed25519.NewKeyFromSeed(seed[:]), session.EdDSA, kid}
}

func ecForger(kid string) forger {
	seed := sha256.Sum256([]byte("usher test key " + kid))
	key, err := ecdsa.ParseRawPrivateKey(elliptic.P256(), seed[:])
	if err != nil {
		panic(err)
	}
	return forger{key, session.ES256, kid}
}

func (f forger) jwk(t testing.TB) session.JWK {
	t.Helper()
	k, err := session.NewJWK(f.alg, f.private.Public())
	if err != nil {
		t.Fatal(err)
	}
	k.KeyID = f.kid
	return k
}

func keySet(t testing.TB, forgers ...forger) session.KeySet {
	t.Helper()
	keys := make([]session.JWK, len(forgers))
	for i, f := range forgers {
		keys[i] = f.jwk(t)
	}
	set, err := session.NewKeySet(keys...)
	if err != nil {
		t.Fatal(err)
	}
	return set
}

func (f forger) header() string {
	return fmt.Sprintf(`{"alg":%q,"kid":%q,"typ":"at+jwt"}`, f.alg, f.kid)
}

// token signs claims with the header that is right for the key.
func (f forger) token(claims string) string { return f.tokenWith(f.header(), claims) }

func (f forger) tokenWith(header, claims string) string {
	return f.signed(encode(header) + "." + encode(claims))
}

func (f forger) signed(input string) string { return input + "." + encode(f.signature(input)) }

func encode(s string) string { return base64.RawURLEncoding.EncodeToString([]byte(s)) }

func (f forger) signature(input string) string {
	digest := sha256.Sum256([]byte(input))
	var signature []byte
	var err error
	switch private := f.private.(type) {
	case ed25519.PrivateKey:
		signature = ed25519.Sign(private, []byte(input))
	case *ecdsa.PrivateKey:
		// Without a source of randomness (RFC 6979), so it is the same in each run.
		if signature, err = private.Sign(nil, digest[:], crypto.SHA256); err == nil {
			signature = rawECDSA(signature)
		}
	case *rsa.PrivateKey:
		if f.alg == session.PS256 {
			return f.pss(input, rsa.PSSSaltLengthEqualsHash)
		}
		signature, err = rsa.SignPKCS1v15(nil, private, crypto.SHA256, digest[:])
	}
	if err != nil {
		panic(err)
	}
	return string(signature)
}

// pss signs as PS256 with a salt of any length.
func (f forger) pss(input string, salt int) string {
	digest := sha256.Sum256([]byte(input))
	signature, err := rsa.SignPSS(rand.Reader, f.private.(*rsa.PrivateKey), crypto.SHA256, digest[:], &rsa.PSSOptions{SaltLength: salt})
	if err != nil {
		panic(err)
	}
	return string(signature)
}

// rawECDSA returns r and s, 32 bytes each, from a DER signature of P-256.
func rawECDSA(der []byte) []byte {
	r := der[4 : 4+int(der[3])]
	s := der[4+len(r)+2:]
	raw := make([]byte, 64)
	new(big.Int).SetBytes(r).FillBytes(raw[:32])
	new(big.Int).SetBytes(s).FillBytes(raw[32:])
	return raw
}

// claims returns good claims with changes, which are pairs of a name and a JSON value. A
// name with the value "" is left out.
func claims(changes ...string) string {
	members := []string{
		"iss", `"` + testIssuer + `"`, "aud", `"` + testAudience + `"`, "sub", `"user_1"`, "jti", `"01J"`,
		"iat", "1799999990", "exp", "1800000290", "k", `"acc"`, "perms", `{"acme:*":["room:write","comments:write"]}`,
	}
	for change := range slices.Chunk(changes, 2) {
		if i := slices.Index(members, change[0]); i >= 0 {
			members[i+1] = change[1]
		} else {
			members = append(members, change...)
		}
	}
	var b strings.Builder
	for m := range slices.Chunk(members, 2) {
		if m[1] != "" {
			fmt.Fprintf(&b, ",%q:%s", m[0], m[1])
		}
	}
	return "{" + strings.TrimPrefix(b.String(), ",") + "}"
}

func newVerifier(t testing.TB, cfg session.VerifierConfig) *session.Verifier {
	t.Helper()
	if cfg.Issuer == "" {
		cfg.Issuer = testIssuer
	}
	if cfg.Audience == "" {
		cfg.Audience = testAudience
	}
	if cfg.Now == nil {
		cfg.Now = func() time.Time { return testNow }
	}
	v, err := session.NewVerifier(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return v
}
