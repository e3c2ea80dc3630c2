package identity

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/usher-auth/usher/internal/codes"
	"github.com/usher-auth/usher/internal/jwk"
	"github.com/usher-auth/usher/internal/jws"
	"github.com/usher-auth/usher/internal/principal"
	"github.com/usher-auth/usher/internal/secret"
	"github.com/usher-auth/usher/internal/strictjson"
	"github.com/usher-auth/usher/session"
)

const (
	maxWaiting = 64 // requests that wait for one provider's keys
	jweDots    = 4  // RFC 7516, section 7.1
)

// ProvidersConfig is for [NewProviders].
type ProvidersConfig struct {
	Providers []ProviderConfig
	// Transport fetches keys (default: usher's own, which connects only to public
	// addresses).
	Transport http.RoundTripper
	// OnError is called for each fetch of a provider's keys that failed, for a log
	// and a metric; it may be nil.
	OnError func(issuer string, err error)
	// Now is the clock (default: [time.Now]).
	Now func() time.Time
}

// Providers verifies the tokens of identity providers. It is safe for concurrent
// use.
type Providers struct {
	providers map[string]*provider // by iss
	keys      []fetchedKeys
	now       func() time.Time
}

type provider struct {
	ProviderConfig
	keys keySource // nil with a secret
}

// NewProviders starts to fetch the providers' keys, or returns every fault of the
// configuration at once. A provider that is down stops nothing: its tokens are a
// [KeysUnavailableError] until its keys have been fetched. Close it after use.
func NewProviders(cfg ProvidersConfig) (*Providers, error) {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	issuers, err := complete(cfg.Providers)
	if err != nil {
		return nil, err
	}
	p := &Providers{providers: map[string]*provider{}, now: cfg.Now}
	var faults []error
	for _, c := range issuers {
		one := &provider{ProviderConfig: c}
		if one.keys, err = p.keysOf(&c, &cfg); err != nil {
			faults = append(faults, fmt.Errorf("issuer %s: jwks: %s", c.name(), plain(err)))
		}
		for _, iss := range c.Issuers {
			p.providers[iss] = one
		}
	}
	if err := errors.Join(faults...); err != nil {
		p.Close()
		return nil, err
	}
	return p, nil
}

// plain removes the package's name from an error, for the middle of a sentence.
func plain(err error) string { return strings.TrimPrefix(err.Error(), "session: ") }

// keysOf returns the source of one provider's keys, and of no other's.
func (p *Providers) keysOf(c *ProviderConfig, cfg *ProvidersConfig) (keySource, error) {
	switch {
	case !c.Secret.IsEmpty():
		return nil, nil //nolint:nilnil // see provider
	case len(c.Keys.Keys) > 0:
		return c.Keys, nil
	}
	fetch := jwk.FetchConfig{Transport: cfg.Transport, MaxWaiting: maxWaiting, AllowHTTP: c.mayUseHTTP()}
	if fetch.Transport == nil {
		fetch.Transport = keyTransport(c)
	}
	if cfg.OnError != nil {
		name := c.name()
		fetch.OnError = func(err error) { cfg.OnError(name, err) }
	}
	var fetcher *jwk.Fetcher[KeySet]
	var err error
	if c.Discover {
		fetcher, err = jwk.FetchFromIssuer(c.name(), fetch, c.parseSet)
	} else {
		fetcher, err = jwk.Fetch(c.JWKS, fetch, nil, c.parseSet)
	}
	switch {
	case err != nil && c.overHTTP():
		return nil, fmt.Errorf("bad key URL: %w: use https, or private=yes if it is at a private address", err)
	case err != nil:
		return nil, fmt.Errorf("bad key URL: %w", err)
	}
	keys := fetchedKeys{fetcher}
	p.keys = append(p.keys, keys)
	return keys, nil
}

// Close stops fetching keys.
func (p *Providers) Close() {
	for _, keys := range p.keys {
		keys.Close()
	}
}

// A ProviderTokenError says why a token is refused. Its text is for the log: it says
// more than the caller may know, and quotes nothing of the token.
type ProviderTokenError struct {
	Code   string // of package codes
	Issuer string // the provider that the token claims to be from; empty if there is no such provider
	detail string
}

func (e *ProviderTokenError) Error() string {
	text := "identity: token refused: " + e.Code
	if e.Issuer != "" {
		text += " of " + e.Issuer
	}
	if e.detail != "" {
		text += ": " + e.detail
	}
	return text
}

// A KeysUnavailableError says that a token's key could not be fetched: a fault,
// which says nothing about the token. It is a [session.ErrKeysUnavailable].
type KeysUnavailableError struct {
	Issuer     string
	RetryAfter time.Duration // 0: unknown
	err        error
}

func (e *KeysUnavailableError) Error() string {
	return fmt.Sprintf("identity: keys of %s: %v", e.Issuer, e.err)
}

// Is makes it a [session.ErrKeysUnavailable], whatever it came from.
func (*KeysUnavailableError) Is(target error) bool { return target == session.ErrKeysUnavailable }

// Verify returns what a token says, or a [*ProviderTokenError], or a
// [*KeysUnavailableError]. It waits only for the fetch of an unknown key, and no
// longer than ctx. iss decides which provider's rules and keys apply. Only a token
// that is valid otherwise is refused as expired.
func (p *Providers) Verify(ctx context.Context, text secret.Text) (principal.ProviderClaims, error) {
	token := text.Reveal()
	if strings.Count(token, ".") == jweDots {
		return principal.ProviderClaims{}, &ProviderTokenError{Code: codes.TokenEncrypted}
	}
	var of *provider
	var payload strictjson.Members
	m, err := jws.Open(token, false, func(m *jws.Message) (key jws.Key, err error) {
		if payload, err = strictjson.Object(m.Payload, jws.MaxDepth); err != nil {
			return key, &ProviderTokenError{Code: codes.TokenMalformed, detail: err.Error()}
		}
		iss, _ := jws.Text(payload, "iss")
		if of = p.providers[iss]; of == nil {
			return key, &ProviderTokenError{Code: codes.IssuerMismatch}
		}
		return of.key(ctx, m)
	})
	if fault, ok := errors.AsType[jws.Fault](err); ok {
		err = faultOf(fault, of)
	}
	if err != nil {
		return principal.ProviderClaims{}, err
	}
	return of.read(m, payload, p.now())
}

func faultOf(fault jws.Fault, of *provider) error {
	e := &ProviderTokenError{Code: fault.Code, detail: fault.Detail}
	if of != nil { // then the token could be read
		e.Issuer = of.name()
	}
	return e
}

// key returns the provider's own key that the token names.
func (p *provider) key(ctx context.Context, m *jws.Message) (jws.Key, error) {
	if !slices.Contains(p.Algorithms, m.Algorithm) {
		return jws.Key{}, p.refuse(codes.AlgorithmMismatch, "alg is not one of %s", strings.Join(p.Algorithms, ", "))
	}
	if !p.Secret.IsEmpty() {
		return jws.Key{Algorithm: HS256, Verify: p.verifyHS256}, nil
	}
	value, named := m.Header.Get("kid")
	if kid, _ := value.Text(); named && (kid == "" || len(kid) > jwk.MaxKeyIDBytes) {
		return jws.Key{}, p.refuse(codes.KeyUnknown, "kid is not a string of 1 to %d bytes", jwk.MaxKeyIDBytes)
	}
	key, err := p.keys.key(ctx, keyName{m.KeyID, named, m.Algorithm})
	if err == nil {
		return jws.Key{Algorithm: key.Algorithm, Verify: key.Verify}, nil
	}
	unavailable := &KeysUnavailableError{Issuer: p.name(), err: err}
	if retry, ok := errors.AsType[*jwk.RetryError](err); ok {
		// The key may be a new one: to refuse it would sign good users out.
		unavailable.RetryAfter = retry.After
		return jws.Key{}, unavailable
	}
	if unknown, ok := errors.AsType[*unknownKeyError](err); ok {
		return jws.Key{}, p.refuse(codes.KeyUnknown, "%s", unknown.reason)
	}
	return jws.Key{}, unavailable
}

func (p *provider) verifyHS256(input string, signature []byte) bool {
	mac := hmac.New(sha256.New, []byte(p.Secret.Reveal()))
	mac.Write([]byte(input))
	return hmac.Equal(mac.Sum(nil), signature)
}

func (p *provider) refuse(code, format string, args ...any) error {
	return &ProviderTokenError{Code: code, Issuer: p.name(), detail: fmt.Sprintf(format, args...)}
}
