// Package identitytest simulates identity providers: it publishes keys and signs valid and invalid
// tokens.
//
//	p := identitytest.New("https://id.example.com", "https://id.example.com/jwks")
//	providers, err := identity.NewProviders(identity.ProvidersConfig{Providers: configs, Transport: p})
//	claims, err := providers.Verify(ctx, p.Token(map[string]any{"aud": "usher"}))
package identitytest

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	_ "crypto/sha512" // for SHA-384 and SHA-512
	"encoding/base64"
	"encoding/json"
	"maps"
	"math/big"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/usher-auth/usher/internal/jwk"
	"github.com/usher-auth/usher/internal/secret"
)

// A Provider is an identity provider. Its fields are set before it is used; its
// methods are safe for concurrent use.
type Provider struct {
	Issuer  string
	KeysURL string
	Now     func() time.Time // of iat; time.Now where nil

	mu      sync.Mutex
	keys    []Key
	handler http.Handler
	fetches []time.Time
}

// New returns a provider with one Ed25519 key, whose kid is "key-1".
func New(issuer, keysURL string) *Provider {
	return &Provider{Issuer: issuer, KeysURL: keysURL, keys: []Key{NewKey(jwk.EdDSA, "key-1")}}
}

// A Key signs tokens.
type Key struct {
	Algorithm string
	ID        string
	private   crypto.Signer
	secret    []byte
}

var rsaKey = sync.OnceValue(func() *rsa.PrivateKey {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	return key
})

// NewKey returns a key. All RSA keys are the same one, because creating one takes long.
func NewKey(alg, id string) Key {
	k := Key{Algorithm: alg, ID: id}
	var err error
	switch alg {
	case jwk.EdDSA, jwk.Ed25519:
		_, k.private, err = ed25519.GenerateKey(rand.Reader)
	case jwk.ES256:
		k.private, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	case jwk.ES384:
		k.private, err = ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	case jwk.ES512:
		k.private, err = ecdsa.GenerateKey(elliptic.P521(), rand.Reader)
	default:
		k.private = rsaKey()
	}
	if err != nil {
		panic(err)
	}
	return k
}

// SecretKey returns a key for HS256, without an ID.
func SecretKey(secret string) Key { return Key{Algorithm: "HS256", secret: []byte(secret)} }

// KeyOf returns a Key for a private key.
func KeyOf(alg, id string, private crypto.Signer) Key {
	return Key{Algorithm: alg, ID: id, private: private}
}

// JWK returns the public half.
func (k Key) JWK() jwk.Key {
	key, err := jwk.Profile{Algorithms: jwk.Algorithms()}.New(k.Algorithm, k.private.Public())
	if err != nil {
		panic(err)
	}
	key.ID = k.ID
	return key
}

// JWKS returns the public halves as a JWK Set.
func JWKS(keys ...Key) []byte {
	set := struct {
		Keys []jwk.Key `json:"keys"`
	}{[]jwk.Key{}}
	for _, k := range keys {
		set.Keys = append(set.Keys, k.JWK())
	}
	text, err := json.Marshal(set)
	if err != nil {
		panic(err)
	}
	return text
}

// SetKeys publishes these keys instead of the previous ones. The first key signs.
func (p *Provider) SetKeys(keys ...Key) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.keys = keys
}

// Answer makes the handler answer all requests from now on. nil ends this.
func (p *Provider) Answer(handler http.Handler) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.handler = handler
}

// Fetches returns the times when the keys were fetched.
func (p *Provider) Fetches() []time.Time {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.fetches)
}

// ServeHTTP serves the discovery document and the keys, each at its address.
func (p *Provider) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	p.mu.Lock()
	handler, keys := p.handler, p.keys
	p.fetches = append(p.fetches, time.Now())
	p.mu.Unlock()
	at := "://" + r.Host + r.URL.Path
	switch {
	case handler != nil:
		handler.ServeHTTP(w, r)
	case strings.HasSuffix(p.KeysURL, at):
		_, _ = w.Write(JWKS(keys...))
	case strings.HasSuffix(strings.TrimSuffix(p.Issuer, "/")+"/.well-known/openid-configuration", at):
		_ = json.NewEncoder(w).Encode(map[string]string{"issuer": p.Issuer, "jwks_uri": p.KeysURL})
	default:
		http.NotFound(w, r)
	}
}

// RoundTrip answers without a network, so the provider is a transport that answers at every host.
// With a handler that waits for its request's context, the transport hangs.
func (p *Provider) RoundTrip(r *http.Request) (*http.Response, error) {
	recorder := httptest.NewRecorder()
	r.Host = r.URL.Host
	p.ServeHTTP(recorder, r)
	if err := r.Context().Err(); err != nil {
		return nil, err
	}
	return recorder.Result(), nil
}

// Token signs claims with the provider's key: a user "user_1" and valid times, with changes. A nil
// value removes a claim.
func (p *Provider) Token(changes map[string]any) secret.Text {
	p.mu.Lock()
	key := p.keys[0]
	p.mu.Unlock()
	return p.TokenBy(key, nil, changes)
}

// TokenBy is Token with any key, and with changes to the header. The header has the key's alg and
// kid, and typ JWT.
func (p *Provider) TokenBy(key Key, header, changes map[string]any) secret.Text {
	now := time.Now
	if p.Now != nil {
		now = p.Now
	}
	h := map[string]any{"alg": key.Algorithm, "typ": "JWT"}
	if key.ID != "" {
		h["kid"] = key.ID
	}
	claims := map[string]any{"iss": p.Issuer, "sub": "user_1", "iat": now().Unix(), "exp": now().Add(10 * time.Minute).Unix()}
	maps.Copy(h, header)
	maps.Copy(claims, changes)
	input := encode(h) + "." + encode(claims)
	return secret.New(input + "." + base64.RawURLEncoding.EncodeToString(key.sign(input)))
}

func encode(members map[string]any) string {
	maps.DeleteFunc(members, func(_ string, v any) bool { return v == nil })
	text, err := json.Marshal(members)
	if err != nil {
		panic(err)
	}
	return base64.RawURLEncoding.EncodeToString(text)
}

func (k Key) sign(input string) []byte {
	hash := crypto.SHA256
	switch k.Algorithm[max(0, len(k.Algorithm)-3):] {
	case "384":
		hash = crypto.SHA384
	case "512":
		hash = crypto.SHA512
	}
	h := hash.New()
	h.Write([]byte(input))
	digest := h.Sum(nil)
	var signature []byte
	var err error
	switch private := k.private.(type) {
	case nil:
		mac := hmac.New(sha256.New, k.secret)
		mac.Write([]byte(input))
		return mac.Sum(nil)
	case ed25519.PrivateKey:
		return ed25519.Sign(private, []byte(input))
	case *ecdsa.PrivateKey:
		var r, s *big.Int
		r, s, err = ecdsa.Sign(rand.Reader, private, digest)
		if err == nil {
			half := (private.Curve.Params().BitSize + 7) / 8
			signature = make([]byte, 2*half)
			r.FillBytes(signature[:half])
			s.FillBytes(signature[half:])
		}
	case *rsa.PrivateKey:
		if k.Algorithm == jwk.PS256 {
			signature, err = rsa.SignPSS(rand.Reader, private, hash, digest, &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash})
		} else {
			signature, err = rsa.SignPKCS1v15(nil, private, hash, digest)
		}
	}
	if err != nil {
		panic(err)
	}
	return signature
}
