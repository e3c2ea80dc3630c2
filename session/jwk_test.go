package session_test

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/go-jose/go-jose/v4"
	"github.com/google/go-cmp/cmp"

	"github.com/usher-auth/usher/session"
)

const ed25519Key = `{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo","kid":"g","use":"sig","alg":"EdDSA"}`

// badKeySet is one entry of testdata/jwks_bad.json.
type badKeySet struct {
	ID     string `json:"id"`
	JWKS   string `json:"jwks"`
	Expect string `json:"expect"`
	Why    string `json:"why"`
}

func readBadKeySets(t testing.TB) []badKeySet {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("testdata", "jwks_bad.json"))
	if err != nil {
		t.Fatal(err)
	}
	var f map[string]json.RawMessage
	if err := json.Unmarshal(data, &f); err != nil {
		t.Fatal(err)
	}
	for _, raw := range f {
		var sets []badKeySet
		if json.Unmarshal(raw, &sets) == nil {
			return sets
		}
	}
	t.Fatal("no key sets")
	return nil
}

func TestBadKeySets(t *testing.T) {
	t.Parallel()
	sets := readBadKeySets(t)
	for _, s := range sets {
		keys, err := session.ParseJWKS([]byte(s.JWKS))
		var got string
		switch {
		case errors.Is(err, session.ErrPrivateKey):
			got = "refuse-and-alert"
		case err != nil:
			got = "refuse"
		case keys.Len() == 0:
			got = "no-keys"
		default:
			got = "keys"
			if _, err := keys.Key(t.Context(), "g"); err == nil && keys.Len() == 1 {
				got = "skip-bad-keep-good"
			}
		}
		want := map[string]string{
			"skip": "no-keys", // the bad one is alone in its set
			// TestURLKeysKeepLastGood tests how a refresh handles it.
			"keep-last-good-until-max-stale": map[string]string{"html": "refuse", "keys-empty": "no-keys"}[s.ID],
		}[s.Expect]
		if want == "" {
			want = s.Expect
		}
		if got != want {
			t.Errorf("%s (%s): got %s, %v; want %s", s.ID, s.Why, got, err, want)
		}
	}
	if len(sets) != 21 {
		t.Errorf("got %d sets, want 21", len(sets))
	}
	t.Logf("%d key sets", len(sets))
}

func TestThumbprints(t *testing.T) {
	t.Parallel()
	data, err := os.ReadFile(filepath.Join("testdata", "rfc_examples.json"))
	if err != nil {
		t.Fatal(err)
	}
	var examples map[string]struct {
		JWK        map[string]string `json:"jwk"`
		Thumbprint string            `json:"thumbprint_sha256"`
		JWS        string            `json:"jws"`
	}
	if err := json.Unmarshal(data, &examples); err != nil {
		t.Fatal(err)
	}
	for name, e := range examples {
		e.JWK["kid"] = "x"
		raw, err := json.Marshal(e.JWK)
		if err != nil {
			t.Fatal(err)
		}
		k, err := session.ParseJWK(raw)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if got := k.Thumbprint(); got != e.Thumbprint {
			t.Errorf("%s: got thumbprint %s, want %s", name, got, e.Thumbprint)
		}
		if e.JWS != "" {
			dot := strings.LastIndexByte(e.JWS, '.')
			signature, err := base64.RawURLEncoding.DecodeString(e.JWS[dot+1:])
			if err != nil || !k.Verify(e.JWS[:dot], signature) {
				t.Errorf("%s: the RFC's signature does not verify (%v)", name, err)
			}
		}
	}
	if len(examples) != 2 {
		t.Errorf("got %d examples, want 2", len(examples))
	}
}

func with(jwk string, changes ...string) string {
	var members map[string]any
	if err := json.Unmarshal([]byte(jwk), &members); err != nil {
		panic(err)
	}
	for i := 0; i < len(changes); i += 2 {
		delete(members, changes[i])
		if changes[i+1] != "" {
			members[changes[i]] = json.RawMessage(changes[i+1])
		}
	}
	b, err := json.Marshal(members)
	if err != nil {
		panic(err)
	}
	return string(b)
}

func number(n *big.Int) string { return `"` + base64.RawURLEncoding.EncodeToString(n.Bytes()) + `"` }

func TestParseJWK(t *testing.T) {
	t.Parallel()
	ec := string(marshal(t, ecForger("ec").jwk(t)))
	r := rsaForger(t, session.RS256, "rs")
	rs := string(marshal(t, r.jwk(t)))
	n := r.private.(*rsa.PrivateKey).N
	bits := func(size uint) string { // an odd modulus of that many bits
		return number(new(big.Int).Add(new(big.Int).Lsh(big.NewInt(1), size-1), big.NewInt(1)))
	}
	var members map[string]string
	if err := json.Unmarshal([]byte(ec), &members); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name, jwk string
		want      string // part of the error, "" for none
	}{
		{"Ed25519", ed25519Key, ""},
		{"Ed25519 by its second name", with(ed25519Key, "alg", `"Ed25519"`), ""},
		{"P-256", ec, ""},
		{"RSA", rs, ""},
		{"RSA for PS256", with(rs, "alg", `"PS256"`), ""},
		{"no alg", with(ed25519Key, "alg", ""), ""},
		{"no use", with(ed25519Key, "use", ""), ""},
		{"key_ops", with(ed25519Key, "use", "", "key_ops", `["verify"]`), ""},
		{"use and key_ops", with(ed25519Key, "key_ops", `["verify"]`), ""},
		{"unknown members", with(ed25519Key, "x5t", `"AA"`, "foo", `{}`), ""},
		{"kid of 128 bytes", with(ed25519Key, "kid", `"`+strings.Repeat("k", 128)+`"`), ""},
		{"2048 bits", with(rs, "n", bits(2048)), ""},
		{"4096 bits", with(rs, "n", bits(4096)), ""},
		{"largest exponent", with(rs, "e", number(big.NewInt(1<<31-1))), ""},

		{"not an object", "[]", "not an object"},
		{"a name twice", strings.Replace(ed25519Key, `{`, `{"kid":"x",`, 1), "a repeated name"},
		{"no kid", with(ed25519Key, "kid", ""), "kid"},
		{"empty kid", with(ed25519Key, "kid", `""`), "kid"},
		{"null kid", with(ed25519Key, "kid", "null"), "kid"},
		{"kid of 129 bytes", with(ed25519Key, "kid", `"`+strings.Repeat("k", 129)+`"`), "kid"},
		{"symmetric", `{"kty":"oct","k":"AAAA","kid":"x"}`, "kty"},
		{"kty in lower case", with(ed25519Key, "kty", `"okp"`), "kty"},
		{"kty of another", with(ec, "kty", `"OKP"`), "kty"},
		{"P-384", with(ec, "crv", `"P-384"`), "crv"},
		{"Ed448", with(ed25519Key, "crv", `"Ed448"`), "crv"},
		{"X25519", with(ed25519Key, "crv", `"X25519"`), "crv"},
		{"use enc", with(ed25519Key, "use", `"enc"`), "use"},
		{"use null", with(ed25519Key, "use", "null"), "use"},
		{"key_ops empty", with(ed25519Key, "key_ops", "[]"), "key_ops"},
		{"key_ops encrypt", with(ed25519Key, "key_ops", `["encrypt"]`), "key_ops"},
		{"key_ops more", with(ed25519Key, "key_ops", `["verify","encrypt"]`), "key_ops"},
		{"key_ops text", with(ed25519Key, "key_ops", `"verify"`), "key_ops"},
		{"use sig, key_ops encrypt", with(ed25519Key, "key_ops", `["encrypt"]`), "key_ops"},
		{"alg of another", with(ed25519Key, "alg", `"ES256"`), "alg"},
		{"alg of a larger hash", with(rs, "alg", `"RS512"`), "alg"},
		{"alg of an EC key", with(ec, "alg", `"EdDSA"`), "alg"},
		{"alg none", with(ed25519Key, "alg", `"none"`), "alg"},
		{"alg null", with(ed25519Key, "alg", "null"), "alg"},
		{"alg HS256", with(rs, "alg", `"HS256"`), "alg"},
		{"x padded", with(ed25519Key, "x", `"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo="`), "32 bytes"},
		{"x with a line feed", with(ed25519Key, "x", `"11qYAYKxCrfVS_7TyWQHOg7hcvPa\npiMlrwIaaPcHURo"`), "32 bytes"},
		{"x with trailing bits", with(ed25519Key, "x", `"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURp"`), "32 bytes"},
		{"x is y", with(ec, "x", `"`+members["y"]+`"`), "not a point"},
		{"EC without y", with(ec, "y", ""), "32 bytes"},
		{"EC without x", with(ec, "x", ""), "32 bytes"},
		{"EC with a long x", with(ec, "x", `"AA`+strings.Repeat("A", 42)+`"`), "32 bytes"},
		{"n with a leading zero", with(rs, "n", `"`+base64.RawURLEncoding.EncodeToString(append([]byte{0}, n.Bytes()...))+`"`), "right size"},
		{"no n", with(rs, "n", ""), "right size"},
		{"no e", with(rs, "e", ""), "right size"},
		{"2047 bits", with(rs, "n", bits(2047)), "bits"},
		{"4097 bits", with(rs, "n", bits(4097)), "bits"},
		{"even modulus", with(rs, "n", number(new(big.Int).Add(n, big.NewInt(1)))), "even"},
		{"e of 1", with(rs, "e", `"AQ"`), "exponent"},
		{"e of 3", with(rs, "e", `"Aw"`), "exponent"},
		{"even e", with(rs, "e", number(big.NewInt(65538))), "exponent"},
		{"e of 2^31+1", with(rs, "e", number(big.NewInt(1<<31+1))), "exponent"},
		{"e of 2^32+65537", with(rs, "e", number(big.NewInt(1<<32+65537))), "right size"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			k, err := session.ParseJWK([]byte(tt.jwk))
			if tt.want != "" {
				if err == nil || !strings.Contains(err.Error(), tt.want) {
					t.Errorf("ParseJWK(%.200s): got %v, want an error with %q", tt.jwk, err, tt.want)
				}
				return
			}
			if err != nil {
				t.Fatalf("ParseJWK(%.200s): %v", tt.jwk, err)
			}
			again, err := session.ParseJWK(marshal(t, k))
			if err != nil || again.KeyID != k.KeyID || again.Algorithm != k.Algorithm || again.Thumbprint() != k.Thumbprint() {
				t.Errorf("written and read again: got %+v, %v; want %+v", again, err, k)
			}
		})
	}
	for _, private := range []string{"d", "p", "q", "dp", "dq", "qi", "oth"} {
		for _, jwk := range []string{ed25519Key, ec, rs} {
			if _, err := session.ParseJWK([]byte(with(jwk, private, `"AA"`))); !errors.Is(err, session.ErrPrivateKey) {
				t.Errorf("with %s: got %v, want ErrPrivateKey", private, err)
			}
		}
	}
}

func marshal(t testing.TB, k session.JWK) []byte {
	t.Helper()
	b, err := json.Marshal(k)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// Every point whose order divides 8, in its spellings with either sign, and encodings that
// are not a point or not canonical. The list is table 1 of "Taming the many EdDSAs"
// (Chalkias, Garillot, Nikolaenko, 2020).
func TestWeakEd25519Keys(t *testing.T) {
	t.Parallel()
	for _, key := range []string{
		"0100000000000000000000000000000000000000000000000000000000000000",
		"ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
		"0000000000000000000000000000000000000000000000000000000000000080",
		"0000000000000000000000000000000000000000000000000000000000000000",
		"c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
		"c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa",
		"26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
		"26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85",
		"0100000000000000000000000000000000000000000000000000000000000080", // x is 0 and signed
		"ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
		"eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f", // y is p + 1
		"eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
		"edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f", // y is p
		"edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
		"f0ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f", // y is p + 3, which is a point
		"0200000000000000000000000000000000000000000000000000000000000000", // no point
		"0200000000000000000000000000000000000000000000000000000000000080",
		"", "00", strings.Repeat("01", 33),
	} {
		raw, err := hex.DecodeString(key)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := session.NewJWK(session.EdDSA, ed25519.PublicKey(raw)); err == nil {
			t.Errorf("NewJWK took %s", key)
		}
	}
	for range 100 {
		public, _, err := ed25519.GenerateKey(rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := session.NewJWK(session.EdDSA, public); err != nil {
			t.Errorf("NewJWK(%x): %v", public, err)
		}
	}
}

func TestNewJWKRefuses(t *testing.T) {
	t.Parallel()
	p384, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	offCurve := &ecdsa.PublicKey{Curve: elliptic.P256(), X: big.NewInt(1), Y: big.NewInt(1)} //nolint:staticcheck // how a caller would make it
	ed := edForger("x").private.Public()
	for _, tt := range []struct {
		name, alg string
		public    crypto.PublicKey
	}{
		{"no key", session.EdDSA, nil},
		{"a secret", "HS256", []byte("0123456789abcdef0123456789abcdef")},
		{"HS256 of a public key", "HS256", ed},
		{"none", "none", ed},
		{"empty alg", "", ed},
		{"another's alg", session.ES256, ed},
		{"P-384", session.ES256, p384.Public()},
		{"off the curve", session.ES256, offCurve},
		{"a private key", session.EdDSA, edForger("x").private},
	} {
		if k, err := session.NewJWK(tt.alg, tt.public); err == nil {
			t.Errorf("%s: got %+v, want an error", tt.name, k)
		}
	}
}

// The published document has only the public members, in a fixed order.
func TestMarshalJWKS(t *testing.T) {
	t.Parallel()
	ed, ec, rs := edForger("ed").jwk(t), ecForger("ec").jwk(t), rsaForger(t, session.PS256, "rs").jwk(t)
	got := session.MarshalJWKS([]session.JWK{ed, ec, rs})
	shape := regexp.MustCompile(`:"[^"]*"`).ReplaceAllString(string(got), "")
	want := `{"keys":[{"kty","crv","x","kid","use","alg"},{"kty","crv","x","y","kid","use","alg"},{"kty","n","e","kid","use","alg"}]}`
	if shape != want {
		t.Errorf("got members %s, want %s", shape, want)
	}
	keys, err := session.ParseJWKS(got)
	if err != nil || keys.Len() != 3 {
		t.Fatalf("read again: %d keys, %v", keys.Len(), err)
	}
	if again := session.MarshalJWKS([]session.JWK{keys.Keys()[1], keys.Keys()[0], keys.Keys()[2]}); !bytes.Equal(got, again) {
		t.Errorf("written again: got %s, want %s", again, got)
	}
	if got := string(session.MarshalJWKS(nil)); got != `{"keys":[]}` {
		t.Errorf("MarshalJWKS(nil) = %s", got)
	}
}

func TestParseJWKSLimits(t *testing.T) {
	t.Parallel()
	set := func(n int) []byte {
		keys := make([]string, n)
		for i := range keys {
			keys[i] = with(ed25519Key, "kid", fmt.Sprintf(`"k%d"`, i))
		}
		return []byte(`{"keys":[` + strings.Join(keys, ",") + `]}`)
	}
	if keys, err := session.ParseJWKS(set(64)); err != nil || keys.Len() != 64 {
		t.Errorf("64 keys: got %d, %v", keys.Len(), err)
	}
	if _, err := session.ParseJWKS(set(65)); err == nil {
		t.Error("65 keys: want an error")
	}
	padded := append(set(1), bytes.Repeat([]byte{' '}, 256<<10-len(set(1)))...)
	if _, err := session.ParseJWKS(padded); err != nil {
		t.Errorf("256 KiB: %v", err)
	}
	if _, err := session.ParseJWKS(append(padded, ' ')); err == nil {
		t.Error("more than 256 KiB: want an error")
	}
	for _, in := range []string{``, `null`, `[]`, `{}`, `{"keys":null}`, `{"Keys":[]}`, `{"keys":[],"KEYS":[]}`, `{"keys":[]} x`} {
		if _, err := session.ParseJWKS([]byte(in)); err == nil {
			t.Errorf("ParseJWKS(%s): want an error", in)
		}
	}
}

// A kid must select one key. If two keys share it, neither is used.
func TestKeysOfOneKid(t *testing.T) {
	t.Parallel()
	other := string(marshal(t, edForger("g").jwk(t)))
	for name, tt := range map[string]struct {
		keys []string
		want int
	}{
		"two":                {[]string{ed25519Key, other}, 0},
		"the same twice":     {[]string{ed25519Key, ed25519Key}, 0},
		"three":              {[]string{ed25519Key, other, ed25519Key}, 0},
		"beside another":     {[]string{ed25519Key, with(other, "kid", `"h"`), other}, 1},
		"one is of no use":   {[]string{ed25519Key, with(other, "use", `"enc"`)}, 1},
		"not even an object": {[]string{"1", "null", "[]", `"x"`, ed25519Key}, 1},
	} {
		keys, err := session.ParseJWKS([]byte(`{"keys":[` + strings.Join(tt.keys, ",") + `]}`))
		if err != nil || keys.Len() != tt.want {
			t.Errorf("%s: got %d keys, %v; want %d", name, keys.Len(), err, tt.want)
		}
	}
	k := edForger("g").jwk(t)
	if _, err := session.NewKeySet(k, k); err == nil {
		t.Error("NewKeySet took two keys of one kid")
	}
	if _, err := session.NewKeySet(session.JWK{KeyID: "g"}); err == nil {
		t.Error("NewKeySet took an empty key")
	}
}

func TestKeysFromFile(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write := func(name, content string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	keys, err := session.KeysFromFile(write("good", `{"keys":[`+ed25519Key+`]}`))
	if err != nil || keys.Len() != 1 {
		t.Errorf("got %d keys, %v; want 1", keys.Len(), err)
	}
	for name, content := range map[string]string{"empty": "", "no-keys": `{"keys":[]}`, "no-usable": `{"keys":[{"kty":"oct"}]}`} {
		if _, err := session.KeysFromFile(write(name, content)); err == nil {
			t.Errorf("%s: want an error", name)
		}
	}
	if _, err := session.KeysFromFile(filepath.Join(dir, "absent")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("absent: got %v, want ErrNotExist", err)
	}
}

// go-jose reads the keys that we write, accepts the same signatures, and computes the same
// thumbprints.
func TestJWKAgainstGoJose(t *testing.T) {
	t.Parallel()
	for _, f := range []forger{edForger("ed"), ecForger("ec"), rsaForger(t, session.RS256, "rs"), rsaForger(t, session.PS256, "ps")} {
		ours := f.jwk(t)
		var theirs jose.JSONWebKey
		if err := json.Unmarshal(marshal(t, ours), &theirs); err != nil {
			t.Fatalf("%s: %v", f.alg, err)
		}
		if theirs.KeyID != ours.KeyID || theirs.Algorithm != ours.Algorithm || theirs.Use != "sig" || !theirs.IsPublic() || !theirs.Valid() {
			t.Errorf("%s: go-jose reads %+v", f.alg, theirs)
		}
		if equal := theirs.Key.(interface{ Equal(crypto.PublicKey) bool }).Equal(ours.Public()); !equal {
			t.Errorf("%s: go-jose reads another key", f.alg)
		}
		thumbprint, err := theirs.Thumbprint(crypto.SHA256)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(base64.RawURLEncoding.EncodeToString(thumbprint), ours.Thumbprint()); diff != "" {
			t.Errorf("%s: thumbprint (-go-jose +ours):\n%s", f.alg, diff)
		}
		written, err := theirs.MarshalJSON()
		if err != nil {
			t.Fatal(err)
		}
		if again, err := session.ParseJWK(written); err != nil || again.Thumbprint() != ours.Thumbprint() {
			t.Errorf("%s: we read of go-jose's %s: %v", f.alg, written, err)
		}

		// Signed by go-jose, verified by us.
		signer, err := jose.NewSigner(
			jose.SigningKey{Algorithm: jose.SignatureAlgorithm(f.alg), Key: jose.JSONWebKey{Key: f.private, KeyID: f.kid}},
			(&jose.SignerOptions{}).WithType("at+jwt"))
		if err != nil {
			t.Fatal(err)
		}
		signed, err := signer.Sign([]byte(claims()))
		if err != nil {
			t.Fatal(err)
		}
		token, err := signed.CompactSerialize()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := newVerifier(t, session.VerifierConfig{Keys: keySet(t, f)}).Verify(t.Context(), token); err != nil {
			t.Errorf("%s: token of go-jose: %v", f.alg, err)
		}
		// And the other way around.
		parsed, err := jose.ParseSignedCompact(f.token(claims()), []jose.SignatureAlgorithm{jose.SignatureAlgorithm(f.alg)})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := parsed.Verify(theirs); err != nil {
			t.Errorf("%s: go-jose refuses our token: %v", f.alg, err)
		}
	}
}

// Every accepted key is strong, and can be written and read again.
func FuzzParseJWKS(f *testing.F) {
	for _, s := range readBadKeySets(f) {
		if len(s.JWKS) < 8<<10 {
			f.Add([]byte(s.JWKS))
		}
	}
	for _, name := range attackFiles {
		f.Add([]byte(readAttacks(f, name).JWKS))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		keys, err := session.ParseJWKS(data)
		if err != nil {
			return
		}
		for _, k := range keys.Keys() {
			if k.KeyID == "" || len(k.KeyID) > 128 {
				t.Errorf("kid %q", k.KeyID)
			}
			if _, err := session.NewJWK(k.Algorithm, k.Public()); err != nil {
				t.Errorf("read, but not a key to make: %v", err)
			}
		}
		again, err := session.ParseJWKS(session.MarshalJWKS(keys.Keys()))
		if err != nil {
			t.Fatalf("written, not read: %v", err)
		}
		if got, want := session.MarshalJWKS(again.Keys()), session.MarshalJWKS(keys.Keys()); !bytes.Equal(got, want) {
			t.Errorf("read again: got %s, want %s", got, want)
		}
	})
}
