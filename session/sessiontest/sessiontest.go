// Package sessiontest is an issuer for the tests of a sync backend. It signs tokens like
// usher, with its own key and with a clock that the test moves. It needs no usher, no
// network and no database:
//
//	issuer := sessiontest.NewIssuer(sessiontest.Config{Audience: "livestore"})
//	verifier, err := session.NewVerifier(issuer.VerifierConfig())
//	token := issuer.Issue(sessiontest.Token{Stores: sessiontest.Access{"acme_notes": permissions.Full}})
//
// Use it only in tests. Its functions panic if a test asks for a token that usher never
// issues.
package sessiontest

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/usher-auth/usher/permissions"
	"github.com/usher-auth/usher/session"
)

// Config is the configuration of an [Issuer].
type Config struct {
	// Audience is the aud of its tokens: the name of the backend under test.
	// Required.
	Audience string
	// Issuer is the iss of its tokens (default: https://usher.example.test).
	Issuer string
	// Algorithm is [session.EdDSA] (the default) or [session.ES256].
	Algorithm string
	// Now is the clock (default: stopped at the time of the call). [Issuer.Advance]
	// moves it forward in both cases.
	Now func() time.Time
}

// Access maps patterns to access: "acme:*" to [permissions.Full].
type Access map[string]permissions.Access

// Token says what a token holds. Rooms or Stores must name a pattern; every
// other field has a default.
type Token struct {
	User   string // the user id (default: alice)
	Rooms  Access // adds the claims that Liveblocks' clients read
	Stores Access
	// Audience is the aud (default: the issuer's). Name another one to test that
	// your backend refuses it.
	Audience string
	// Lifetime is the time from issue to expiry (default: 5m), from
	// [session.MinTTL] to [session.MaxTTL].
	Lifetime time.Duration
	// Age is the time since issue (default: 0). An age above the lifetime makes
	// an expired token.
	Age          time.Duration
	Info         json.RawMessage // the user's info, ui, in a token with rooms
	Organization string          // the active organization, org
	Session      string          // the session, sid
}

// An Issuer issues tokens for tests. It is safe for concurrent use.
type Issuer struct {
	cfg Config

	mu       sync.Mutex
	keys     []*session.SigningKey // the last one signs
	advanced time.Duration
}

// NewIssuer returns an issuer with one key. It panics if the audience is empty
// or the algorithm is unknown.
func NewIssuer(cfg Config) *Issuer {
	if cfg.Audience == "" {
		panic("sessiontest: Audience is empty")
	}
	cfg.Issuer = cmp.Or(cfg.Issuer, "https://usher.example.test")
	cfg.Algorithm = cmp.Or(cfg.Algorithm, session.EdDSA)
	if cfg.Now == nil {
		start := time.Now()
		cfg.Now = func() time.Time { return start }
	}
	i := &Issuer{cfg: cfg}
	i.Rotate()
	return i
}

// Issue returns a token that a verifier of [Issuer.VerifierConfig] accepts,
// unless t says otherwise.
func (i *Issuer) Issue(t Token) string {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.sign(i.keys[len(i.keys)-1], t)
}

// Forge returns the same token with a forged signature: it is signed with another key,
// but has this issuer's key id.
func (i *Issuer) Forge(t Token) string {
	i.mu.Lock()
	defer i.mu.Unlock()
	header, _, _ := strings.Cut(i.sign(i.keys[len(i.keys)-1], t), ".")
	_, rest, _ := strings.Cut(i.sign(i.newKey(), t), ".")
	return header + "." + rest
}

func (i *Issuer) sign(key *session.SigningKey, t Token) string {
	if len(t.Rooms) == 0 && len(t.Stores) == 0 {
		panic("sessiontest: a token without access: set Rooms or Stores")
	}
	issuer, err := session.NewIssuer(session.IssuerConfig{
		Issuer:    i.cfg.Issuer,
		Keys:      session.NewKeyring(key),
		Algorithm: i.cfg.Algorithm,
		Audiences: []session.Audience{{
			Name:   cmp.Or(t.Audience, i.cfg.Audience),
			Rooms:  len(t.Rooms) > 0,
			Stores: len(t.Stores) > 0,
		}},
		TTL:         t.Lifetime,
		MaxPatterns: len(t.Rooms) + len(t.Stores),
		Now:         func() time.Time { return i.now().Add(-t.Age) },
	})
	if err != nil {
		panic(fmt.Sprintf("sessiontest: %v", err))
	}
	s := issuer.Prepare(session.User{ID: cmp.Or(t.User, "alice"), Info: t.Info, Organization: t.Organization, Session: t.Session})
	for pattern, access := range t.Rooms {
		s.Allow(pattern, access)
	}
	for pattern, access := range t.Stores {
		s.AllowStore(pattern, access)
	}
	token, err := s.Authorize()
	if err != nil {
		panic(fmt.Sprintf("sessiontest: %v", err))
	}
	return token.Text.Reveal()
}

// Rotate creates a new key and signs with it from now on. The old key stays published, so
// its tokens stay valid.
func (i *Issuer) Rotate() {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.keys = append(i.keys, i.newKey())
}

func (i *Issuer) newKey() *session.SigningKey {
	key, err := session.GenerateKey(i.cfg.Algorithm, session.KeyTimes{})
	if err != nil {
		panic(fmt.Sprintf("sessiontest: %v", err))
	}
	return key
}

// VerifierConfig returns the configuration of a verifier that trusts this issuer:
// its name, the audience, its keys and its clock.
func (i *Issuer) VerifierConfig() session.VerifierConfig {
	return session.VerifierConfig{Issuer: i.cfg.Issuer, Audience: i.cfg.Audience, Keys: i, Now: i.Now}
}

// Key implements [session.KeySource] with the current keys.
func (i *Issuer) Key(ctx context.Context, kid string) (session.JWK, error) {
	set, err := session.ParseJWKS(i.JWKS())
	if err != nil {
		return session.JWK{}, err
	}
	return set.Key(ctx, kid)
}

// JWKS returns the public keys, as usher serves them at /.well-known/jwks.json.
func (i *Issuer) JWKS() []byte {
	i.mu.Lock()
	defer i.mu.Unlock()
	return session.NewKeyring(i.keys...).JWKS(i.now())
}

// ServeHTTP answers every request with the public keys. Give it to
// [net/http/httptest.NewServer] to test how a backend fetches them.
func (i *Issuer) ServeHTTP(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/jwk-set+json")
	_, _ = w.Write(i.JWKS())
}

// Now returns the time of the clock.
func (i *Issuer) Now() time.Time {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.now()
}

func (i *Issuer) now() time.Time { return i.cfg.Now().Add(i.advanced) }

// Advance moves the clock forward.
func (i *Issuer) Advance(d time.Duration) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.advanced += d
}
