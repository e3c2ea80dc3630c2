package identity_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"maps"
	"math/big"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/usher-auth/usher/internal/codes"
	"github.com/usher-auth/usher/internal/identity"
	"github.com/usher-auth/usher/internal/identity/identitytest"
	"github.com/usher-auth/usher/internal/jwk"
)

// rawJWK returns a key in a provider's form: the usual members, with changes. nil removes a member.
func rawJWK(t testing.TB, key identitytest.Key, changes m) m {
	t.Helper()
	text, err := json.Marshal(key.JWK())
	if err != nil {
		t.Fatal(err)
	}
	members := m{}
	if err := json.Unmarshal(text, &members); err != nil {
		t.Fatal(err)
	}
	maps.Copy(members, changes)
	maps.DeleteFunc(members, func(_ string, v any) bool { return v == nil })
	return members
}

func jwks(t testing.TB, keys ...m) []byte {
	t.Helper()
	text, err := json.Marshal(m{"keys": append([]m{}, keys...)})
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// A key is found by the token's kid and alg. Equal keys count as one. If the token names no key,
// there must be only one that fits.
func TestKeyOfAToken(t *testing.T) {
	t.Parallel()
	ed, other := identitytest.NewKey(jwk.EdDSA, "k"), identitytest.NewKey(jwk.EdDSA, "k")
	ec, rs, ps := identitytest.NewKey(jwk.ES256, "k"), identitytest.NewKey(jwk.RS256, "k"), identitytest.NewKey(jwk.PS256, "k")
	named := identitytest.NewKey(jwk.EdDSA, "named")
	noKid, noAlg := m{"kid": nil}, m{"alg": nil}
	paddedN := func(members m) m {
		n, err := base64.RawURLEncoding.DecodeString(members["n"].(string))
		if err != nil {
			t.Fatal(err)
		}
		members["n"] = base64.URLEncoding.EncodeToString(append([]byte{0}, n...))
		return members
	}
	const unknown, algorithm, signature = codes.KeyUnknown, codes.AlgorithmMismatch, codes.SignatureInvalid
	for name, test := range map[string]struct {
		set  []m
		key  identitytest.Key
		head m
		want string
	}{
		"one key":            {[]m{rawJWK(t, ed, nil)}, ed, nil, ""},
		"the same key twice": {[]m{rawJWK(t, ed, nil), rawJWK(t, ed, nil)}, ed, nil, ""},
		"the same key twice, once without an alg":  {[]m{rawJWK(t, ed, nil), rawJWK(t, ed, noAlg)}, ed, nil, ""},
		"the same key three times":                 {[]m{rawJWK(t, ed, nil), rawJWK(t, ed, noAlg), rawJWK(t, ed, nil)}, ed, nil, ""},
		"the same key, to encrypt with too":        {[]m{rawJWK(t, ed, m{"use": "enc"}), rawJWK(t, ed, nil)}, ed, nil, ""},
		"RS256 beside PS256":                       {[]m{rawJWK(t, rs, nil), rawJWK(t, ps, nil)}, ps, nil, ""},
		"PS256 beside RS256":                       {[]m{rawJWK(t, ps, nil), rawJWK(t, rs, nil)}, rs, nil, ""},
		"RSA beside EC":                            {[]m{rawJWK(t, rs, nil), rawJWK(t, ec, nil)}, ec, nil, ""},
		"EC beside Ed25519":                        {[]m{rawJWK(t, ec, nil), rawJWK(t, ed, nil)}, ed, nil, ""},
		"two different keys of one kid":            {[]m{rawJWK(t, ed, nil), rawJWK(t, other, nil)}, ed, nil, "unavailable"},
		"two of them, one twice":                   {[]m{rawJWK(t, ed, nil), rawJWK(t, ed, nil), rawJWK(t, other, nil)}, ed, nil, "unavailable"},
		"two of them, asked for beside a good one": {[]m{rawJWK(t, ed, nil), rawJWK(t, other, nil), rawJWK(t, ec, nil)}, ed, nil, algorithm},
		"two of them beside a good one":            {[]m{rawJWK(t, ed, nil), rawJWK(t, other, nil), rawJWK(t, ec, nil)}, ec, nil, ""},
		"an alg that no key of this kid has":       {[]m{rawJWK(t, rs, nil)}, ps, nil, algorithm},
		"an alg of another key type":               {[]m{rawJWK(t, rs, nil)}, ed, nil, algorithm},

		"no kid in the token":                        {[]m{rawJWK(t, named, nil)}, named, noKid, ""},
		"no kid in the set":                          {[]m{rawJWK(t, ed, noKid)}, ed, nil, ""},
		"no kid in both":                             {[]m{rawJWK(t, ed, noKid)}, ed, noKid, ""},
		"no kid in both, the key twice":              {[]m{rawJWK(t, ed, noKid), rawJWK(t, ed, noKid)}, ed, noKid, ""},
		"no kid, and one key of each type":           {[]m{rawJWK(t, ed, noKid), rawJWK(t, ec, noKid), rawJWK(t, rs, noKid)}, ec, noKid, ""},
		"no kid in the token, two keys fit":          {[]m{rawJWK(t, ed, nil), rawJWK(t, named, nil)}, ed, noKid, unknown},
		"no kid in the set, two keys fit":            {[]m{rawJWK(t, ed, noKid), rawJWK(t, other, noKid)}, ed, nil, unknown},
		"another kid than the only key":              {[]m{rawJWK(t, named, nil)}, ed, nil, unknown},
		"another kid than one, beside one without":   {[]m{rawJWK(t, named, nil), rawJWK(t, ed, noKid)}, ed, nil, ""},
		"a kid that is there, beside one without":    {[]m{rawJWK(t, named, nil), rawJWK(t, ed, noKid)}, named, nil, ""},
		"signed by another than the only key":        {[]m{rawJWK(t, ed, noKid)}, other, noKid, signature},
		"no kid, and no key for the token's alg":     {[]m{rawJWK(t, ec, noKid)}, ed, noKid, unknown},
		"an RSA key without an alg":                  {[]m{rawJWK(t, rs, noAlg)}, rs, nil, ""},
		"an RSA key without an alg is one for RS256": {[]m{rawJWK(t, rs, noAlg)}, ps, nil, algorithm},

		"padding and a zero before n":        {[]m{paddedN(rawJWK(t, rs, nil))}, rs, nil, ""},
		"a certificate chain, never read":    {[]m{rawJWK(t, rs, m{"x5c": []string{"nonsense"}, "x5u": "https://evil.example.com", "x5t": "x"})}, rs, nil, ""},
		"a key that is not used":             {[]m{rawJWK(t, named, nil), rawJWK(t, ed, m{"use": "enc"})}, ed, nil, unknown},
		"a key for key agreement beside one": {[]m{{"kty": "OKP", "crv": "X25519", "kid": "k", "x": "AAAA"}, rawJWK(t, ed, nil)}, ed, nil, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				p := identitytest.New(issuerURL, keysURL)
				p.Answer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(jwks(t, test.set...)) }))
				u := verifier(t, p, plain)
				synctest.Wait() // the first fetch
				time.Sleep(time.Minute)
				_, err := u.Verify(t.Context(), p.TokenBy(test.key, test.head, m{"aud": "usher"}))
				if got := reasonOf(t, err); got != test.want {
					t.Errorf("got %q (%v), want %q", got, err, test.want)
				}
				u.Close()
				synctest.Wait()
			})
		})
	}
}

// Every algorithm that a provider may use, with keys that name it and with keys that do not.
func TestProviderAlgorithms(t *testing.T) {
	t.Parallel()
	for _, alg := range []string{jwk.EdDSA, jwk.Ed25519, jwk.ES256, jwk.ES384, jwk.ES512, jwk.RS256, jwk.RS384, jwk.RS512, jwk.PS256} {
		t.Run(alg, func(t *testing.T) {
			t.Parallel()
			key := identitytest.NewKey(alg, "k")
			for _, changes := range []m{nil, {"alg": nil}} {
				p := identitytest.New(issuerURL, keysURL)
				p.Answer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(jwks(t, rawJWK(t, key, changes))) }))
				for _, line := range []string{plain, plain + " alg=" + alg} {
					usual := alg != jwk.Ed25519 && !regexp.MustCompile("^(RS384|RS512|PS256)$").MatchString(alg)
					want := ""
					if changes != nil && line == plain && !usual {
						want = codes.AlgorithmMismatch // nothing says that the key is for this algorithm
					}
					_, err := verifier(t, p, line).Verify(t.Context(), p.TokenBy(key, nil, m{"aud": "usher"}))
					if got := reasonOf(t, err); got != want {
						t.Errorf("%q, changes %v: got %q (%v), want %q", line, changes, got, err, want)
					}
				}
			}
		})
	}
	for _, alg := range []string{"ES256K", "PS384", "PS512", "HS384", "none", "Ed448"} {
		if _, err := identity.ParseProviders([]string{plain + " alg=" + alg}); err == nil {
			t.Errorf("alg=%s is accepted", alg)
		}
	}
}

// The log says for each unusable key of a set why it is unusable, and for a token, why its key is
// missing.
func TestWhyNoKey(t *testing.T) {
	t.Parallel()
	ed := identitytest.NewKey(jwk.EdDSA, "k")
	failed := make(chan error, 10)
	start := func(set []byte) *identity.Providers {
		configs, err := identity.ParseProviders([]string{plain})
		if err != nil {
			t.Fatal(err)
		}
		p := identitytest.New(issuerURL, keysURL)
		p.Answer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(set) }))
		u, err := identity.NewProviders(identity.ProvidersConfig{Providers: configs, Transport: p, OnError: func(_ string, err error) { failed <- err }})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(u.Close)
		return u
	}
	start(jwks(t, rawJWK(t, ed, m{"use": "enc"}), m{"kty": "EC", "crv": "secp256k1", "kid": "b"}))
	want := `no usable key at https://id.example.com/jwks: key 1 (kid "k"): use or key_ops is not for verifying signatures; key 2 (kid "b"): kty or crv is unknown`
	if err := <-failed; !strings.HasSuffix(err.Error(), want) {
		t.Errorf("got %v, want %s", err, want)
	}
	p := identitytest.New(issuerURL, keysURL)
	u := start(jwks(t, rawJWK(t, identitytest.NewKey(jwk.EdDSA, "a"), nil), rawJWK(t, ed, m{"use": "enc"}), rawJWK(t, identitytest.NewKey(jwk.EdDSA, "b"), nil)))
	for want, head := range map[string]m{
		"key 2 of the set has this kid and is not used: use or key_ops is not for verifying signatures": nil,
		"2 keys fit: the token must name one by its kid":                                                {"kid": nil},
	} {
		if _, err := u.Verify(t.Context(), p.TokenBy(ed, head, m{"aud": "usher"})); err == nil || !strings.HasSuffix(err.Error(), want) {
			t.Errorf("got %v, want %s", err, want)
		}
	}
}

// keys-file is a JWK Set, one JWK, or PEM. A file without a public key, or with a private key, is
// refused at the start.
func TestKeysFile(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	key := identitytest.KeyOf(jwk.ES256, "k", private)
	other := identitytest.NewKey(jwk.ES256, "other")
	block := func(kind string, der []byte, err error) string {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}))
	}
	spki := func(k identitytest.Key) string {
		der, err := x509.MarshalPKIXPublicKey(k.JWK().Public())
		return block("PUBLIC KEY", der, err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "id"}, NotAfter: time.Now().Add(-time.Hour)}
	certificateDER, err := x509.CreateCertificate(rand.Reader, template, template, &private.PublicKey, private)
	certificate := block("CERTIFICATE", certificateDER, err)
	privateDER, err := x509.MarshalPKCS8PrivateKey(private)
	privatePEM := block("PRIVATE KEY", privateDER, err)
	ecDER, err := x509.MarshalECPrivateKey(private)
	ecPEM := block("EC PRIVATE KEY", ecDER, err)
	one, err := json.Marshal(rawJWK(t, key, nil))
	if err != nil {
		t.Fatal(err)
	}
	unnamed, err := json.Marshal(rawJWK(t, key, m{"kid": nil, "alg": nil, "use": nil}))
	if err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct{ content, fault string }{
		"a set":               {string(identitytest.JWKS(key, other)), ""},
		"a JWK":               {string(one), ""},
		"a JWK without a kid": {string(unnamed), ""},
		"PEM":                 {spki(key), ""},
		"PEM with a remark":   {"The key of 2026\n" + spki(key), ""},
		"PEM with CRLF":       {strings.ReplaceAll(spki(key), "\n", "\r\n"), ""},
		"PEM, twice the same": {spki(key) + "\n" + spki(key), ""},
		"a certificate":       {certificate, ""},
		"a private key":       {privatePEM, "private key in public: give usher only the public half"},
		"an EC private key":   {ecPEM, "private key in public"},
		"a private key after": {spki(key) + privatePEM, "private key in public"},
		"a private JWK":       {strings.Replace(string(one), `{`, `{"d":"AQAB",`, 1), "private key in public"},
		"a private JWK Set":   {strings.Replace(string(identitytest.JWKS(key)), `{"kty"`, `{"d":"AQAB","kty"`, 1), "private key in public"},
		"half a PEM":          {spki(key)[:80], "that is not PEM"},
		"PEM of something":    {block("SSH KEY", []byte("x"), nil), `key 1: PEM of type "SSH KEY" is not a public key`},
		"an empty set":        {`{"keys":[]}`, "the set is empty"},
		"nothing":             {"", "is not a JWK Set, a JWK or PEM"},
		"another JWK":         {`{"kty":"oct","k":"c2VjcmV0"}`, "kty or crv is unknown"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(dir, strings.ReplaceAll(name, " ", "-"))
			if err := os.WriteFile(path, []byte(test.content), 0o600); err != nil {
				t.Fatal(err)
			}
			configs, err := identity.ParseProviders([]string{"oidc aud=usher issuer=" + issuerURL + " keys-file=" + path})
			if test.fault != "" {
				if err == nil || !strings.Contains(err.Error(), "keys-file: ") || !strings.Contains(err.Error(), test.fault) {
					t.Errorf("got %v, want %q", err, test.fault)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			u, err := identity.NewProviders(identity.ProvidersConfig{Providers: configs})
			if err != nil {
				t.Fatal(err)
			}
			p := identitytest.New(issuerURL, "")
			if _, err := u.Verify(t.Context(), p.TokenBy(key, nil, m{"aud": "usher"})); err != nil {
				t.Errorf("a token by the key: %v", err)
			}
			stranger := identitytest.NewKey(jwk.ES256, "k")
			if _, err := u.Verify(t.Context(), p.TokenBy(stranger, nil, m{"aud": "usher"})); reasonOf(t, err) != codes.SignatureInvalid {
				t.Errorf("a token by a stranger: %v", err)
			}
		})
	}
}
