// Package identitytest has a stand-in for identity providers: it publishes keys
// and signs tokens, right ones and wrong ones.
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

	"github.com/usher-auth/usher/internal/secret"
	"github.com/usher-auth/usher/session"
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

// New returns a provider with one key, an Ed25519 one of kid "key-1".
func New(issuer, keysURL string) *Provider {
	return &Provider{Issuer: issuer, KeysURL: keysURL, keys: []Key{NewKey(session.EdDSA, "key-1")}}
}

// A Key signs.
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

// NewKey makes a key; of RSA, whose making takes long, all are the same one.
func NewKey(alg, id string) Key {
	k := Key{Algorithm: alg, ID: id}
	var err error
	switch alg {
	case session.EdDSA:
		_, k.private, err = ed25519.GenerateKey(rand.Reader)
	case session.ES256:
		k.private, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	default:
		k.private = rsaKey()
	}
	if err != nil {
		panic(err)
	}
	return k
}

// SecretKey is a key of HS256, without an ID.
func SecretKey(secret string) Key { return Key{Algorithm: "HS256", secret: []byte(secret)} }

// JWK returns the public half.
func (k Key) JWK() session.JWK {
	jwk, err := session.NewJWK(k.Algorithm, k.private.Public())
	if err != nil {
		panic(err)
	}
	jwk.KeyID = k.ID
	return jwk
}

// SetKeys publishes these keys, of which the first signs, in place of those
// before.
func (p *Provider) SetKeys(keys ...Key) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.keys = keys
}

// Answer has the handler answer all requests from now on; nil ends it.
func (p *Provider) Answer(handler http.Handler) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.handler = handler
}

// Fetches returns when the keys were asked for.
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
		jwks := make([]session.JWK, len(keys))
		for i, k := range keys {
			jwks[i] = k.JWK()
		}
		_, _ = w.Write(session.MarshalJWKS(jwks))
	case strings.HasSuffix(strings.TrimSuffix(p.Issuer, "/")+"/.well-known/openid-configuration", at):
		_ = json.NewEncoder(w).Encode(map[string]string{"issuer": p.Issuer, "jwks_uri": p.KeysURL})
	default:
		http.NotFound(w, r)
	}
}

// RoundTrip answers without a network. It makes the provider a transport that
// finds it at every host, and a handler that waits for its request's context
// one that hangs.
func (p *Provider) RoundTrip(r *http.Request) (*http.Response, error) {
	recorder := httptest.NewRecorder()
	r.Host = r.URL.Host
	p.ServeHTTP(recorder, r)
	if err := r.Context().Err(); err != nil {
		return nil, err
	}
	return recorder.Result(), nil
}

// Token signs claims with the provider's key: a user "user_1" and times that
// are right now, changed; nil takes a claim away.
func (p *Provider) Token(changes map[string]any) secret.Text {
	p.mu.Lock()
	key := p.keys[0]
	p.mu.Unlock()
	return p.TokenBy(key, nil, changes)
}

// TokenBy is Token with a key that need not be the provider's, and changes of
// the header: alg and kid, which are the key's, and typ, which is JWT.
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
	digest := sha256.Sum256([]byte(input))
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
		r, s, err = ecdsa.Sign(rand.Reader, private, digest[:])
		if err == nil {
			signature = make([]byte, 64)
			r.FillBytes(signature[:32])
			s.FillBytes(signature[32:])
		}
	case *rsa.PrivateKey:
		if k.Algorithm == session.PS256 {
			signature, err = rsa.SignPSS(rand.Reader, private, crypto.SHA256, digest[:], &rsa.PSSOptions{SaltLength: rsa.PSSSaltLengthEqualsHash})
		} else {
			signature, err = rsa.SignPKCS1v15(nil, private, crypto.SHA256, digest[:])
		}
	}
	if err != nil {
		panic(err)
	}
	return signature
}
