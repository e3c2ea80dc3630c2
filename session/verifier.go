package session

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/usher-auth/usher/internal/jwk"
	"github.com/usher-auth/usher/internal/jws"
	"github.com/usher-auth/usher/internal/strictjson"
)

const (
	maxIDBytes = 255 // of a jti
	// A user id has at most 128 UTF-16 units, of at most 3 bytes of UTF-8 each.
	maxSubjectBytes = 384

	defaultLeeway = 30 * time.Second
	maxLeeway     = time.Minute
)

// VerifierConfig says which tokens a [Verifier] accepts.
type VerifierConfig struct {
	// Issuer is the only iss accepted, byte by byte. Required.
	Issuer string
	// Audience is this backend's own name, one of the token's aud. Required.
	Audience string
	// Keys are the issuer's public keys. Required: [KeysFromURL],
	// [KeysFromFile] or a [KeySet].
	Keys KeySource
	// Leeway is how far clocks may be apart, 30 s where zero, at most 60 s.
	Leeway time.Duration
	// MaxLifetime bounds exp - iat, [MaxTTL] where zero.
	MaxLifetime time.Duration
	// Memo is the number of tokens that are remembered once they were verified,
	// so that showing one again costs no signature check. Its times and its
	// key are checked every time. None where zero.
	Memo int
	// Now is the clock, [time.Now] where nil.
	Now func() time.Time
}

func (cfg *VerifierConfig) validate() error {
	var faults []error
	if cfg.Issuer == "" {
		faults = append(faults, errors.New("Issuer is empty"))
	}
	if cfg.Audience == "" {
		faults = append(faults, errors.New("Audience is empty"))
	}
	if cfg.Keys == nil {
		faults = append(faults, errors.New("Keys is nil"))
	} else if set, ok := cfg.Keys.(KeySet); ok && set.Len() == 0 {
		faults = append(faults, errors.New("Keys has no usable key"))
	}
	if cfg.Leeway < 0 || cfg.Leeway > maxLeeway {
		faults = append(faults, fmt.Errorf("Leeway %s is not from 0 to %s", cfg.Leeway, maxLeeway))
	}
	if cfg.MaxLifetime < 0 {
		faults = append(faults, fmt.Errorf("MaxLifetime %s is negative", cfg.MaxLifetime))
	}
	if cfg.Memo < 0 {
		faults = append(faults, fmt.Errorf("Memo %d is negative", cfg.Memo))
	}
	return errors.Join(faults...)
}

// A Verifier checks access tokens. It is safe for concurrent use.
type Verifier struct {
	cfg  VerifierConfig
	memo memo
}

// NewVerifier returns a verifier, or every fault of the configuration at once.
func NewVerifier(cfg VerifierConfig) (*Verifier, error) {
	if err := cfg.validate(); err != nil {
		return nil, fmt.Errorf("session: bad verifier config: %w", err)
	}
	if cfg.Leeway == 0 {
		cfg.Leeway = defaultLeeway
	}
	if cfg.MaxLifetime == 0 {
		cfg.MaxLifetime = MaxTTL
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	return &Verifier{cfg: cfg, memo: memo{max: cfg.Memo}}, nil
}

var (
	// ErrInvalidToken is what every refusal of a token is.
	ErrInvalidToken = errors.New("session: invalid token")
	// ErrExpired is what the refusal of a token is that was in order until it
	// expired: all else of it was checked before. It is an [ErrInvalidToken]
	// too.
	ErrExpired = errors.New("session: token has expired")
)

// A TokenError is the refusal of a token. Its text is the same for all, so
// that it may reach the bearer and teach a forger nothing. The Code goes to the
// log, where slog puts it by itself.
//
// Codes are stable. In the order of the checks: too-long, form, base64, header,
// kid, unknown-key, alg, signature, typ, payload, iss, aud, sub, jti, iat, exp,
// nbf, lifetime, claims, issued-later, not-yet, expired.
type TokenError struct{ Code string }

func (*TokenError) Error() string { return ErrInvalidToken.Error() }

// Is makes every TokenError an [ErrInvalidToken].
func (e *TokenError) Is(target error) bool {
	return target == ErrInvalidToken || target == ErrExpired && e == errExpired
}

// LogValue implements [slog.LogValuer].
func (e *TokenError) LogValue() slog.Value {
	return slog.StringValue(ErrInvalidToken.Error() + ": " + e.Code)
}

var (
	errKeyID       = &TokenError{"kid"}
	errUnknownKey  = &TokenError{"unknown-key"}
	errType        = &TokenError{"typ"}
	errPayload     = &TokenError{"payload"}
	errIssuer      = &TokenError{"iss"}
	errAudience    = &TokenError{"aud"}
	errSubject     = &TokenError{"sub"}
	errID          = &TokenError{"jti"}
	errIssuedAt    = &TokenError{"iat"}
	errExpiresAt   = &TokenError{"exp"}
	errNotBefore   = &TokenError{"nbf"}
	errLifetime    = &TokenError{"lifetime"}
	errClaims      = &TokenError{"claims"}
	errIssuedLater = &TokenError{"issued-later"}
	errNotYet      = &TokenError{"not-yet"}
	errExpired     = &TokenError{"expired"}
)

// Verify returns the claims of a token that is in order. Otherwise the error is
// an [ErrInvalidToken], of type [*TokenError], or, where the key could not be
// had, an [ErrKeysUnavailable], which says nothing about the token: answer 503
// then, not 401. Verify waits for nothing but an unknown key's fetch, and that
// no longer than ctx.
//
// What is in order: a JWS in compact form, at most 16 KiB, in the only spelling
// of its base64url; a header of alg, kid and typ alone, typ at+jwt, the key's
// own alg; a good signature; strict JSON; iss, aud, sub, jti, iat and exp there
// and of their types, other claims of [Claims] and nbf where they are there; a
// life of at most MaxLifetime, now.
func (v *Verifier) Verify(ctx context.Context, token string) (Claims, error) {
	t, known := v.memo.get(token)
	if !known || !v.holds(ctx, t.key) {
		known = false
		var err error
		if t, err = v.open(ctx, token); err != nil {
			return Claims{}, err
		}
	}
	if err := v.checkTime(t); err != nil {
		return Claims{}, err
	}
	if !known {
		v.memo.put(token, t)
	}
	return t.claims, nil
}

// verifiedToken is a token that is in order at some time.
type verifiedToken struct {
	claims    Claims
	notBefore time.Time // zero where there is no nbf
	key       JWK
}

// holds reports whether key is still among the issuer's.
func (v *Verifier) holds(ctx context.Context, key JWK) bool {
	now, err := v.cfg.Keys.Key(ctx, key.KeyID)
	return err == nil && now.equal(key)
}

// open checks all of a token but the time.
func (v *Verifier) open(ctx context.Context, token string) (*verifiedToken, error) {
	opened, err := openJWS(ctx, token, v.cfg.Keys)
	if err != nil {
		return nil, err
	}
	if !isAccessToken(opened.typ) {
		return nil, errType
	}
	payload, err := strictjson.Object(opened.payload, jws.MaxDepth)
	if err != nil {
		return nil, errPayload
	}
	t := &verifiedToken{key: opened.key}
	if err := v.checkClaims(payload, t); err != nil {
		return nil, err
	}
	if err := t.claims.read(payload); err != nil {
		return nil, err
	}
	return t, nil
}

// isAccessToken reports whether typ is RFC 9068's. Media types are
// case-insensitive; no character outside ASCII folds to one of these.
func isAccessToken(typ string) bool {
	return strings.EqualFold(typ, "at+jwt") || strings.EqualFold(typ, "application/at+jwt")
}

// openedJWS is a JWS whose signature is good.
type openedJWS struct {
	typ     string
	key     JWK
	payload []byte
}

// openJWS checks a JWS in compact serialization (RFC 7515), whatever it is
// about.
func openJWS(ctx context.Context, token string, keys KeySource) (openedJWS, error) {
	var key JWK
	m, err := jws.Open(token, nil, func(m *jws.Message) (found jws.Key, err error) {
		key, err = findKey(ctx, keys, m.KeyID)
		return jws.Key{Algorithm: key.Algorithm, Verify: key.Verify}, err
	})
	if fault, ok := errors.AsType[jws.Fault](err); ok {
		return openedJWS{}, &TokenError{string(fault)}
	}
	if err != nil {
		return openedJWS{}, err
	}
	typ, _ := jws.Text(m.Header, "typ")
	return openedJWS{typ, key, m.Payload}, nil
}

// findKey finds the key that a token names.
func findKey(ctx context.Context, keys KeySource, kid string) (JWK, error) {
	if !isTokenKeyID(kid) {
		return JWK{}, errKeyID
	}
	key, err := keys.Key(ctx, kid)
	switch {
	case errors.Is(err, ErrUnknownKey):
		return JWK{}, errUnknownKey
	case errors.Is(err, ErrKeysUnavailable):
		return JWK{}, err
	case err != nil:
		return JWK{}, fmt.Errorf("%w: %w", ErrKeysUnavailable, err)
	}
	return key, nil
}

// isTokenKeyID reports whether kid is fit to be looked up, in whatever a
// [KeySource] looks: a path, SQL and a URL keep their form with it.
func isTokenKeyID(kid string) bool {
	for i := range len(kid) {
		c := kid[i]
		if !('a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '.' || c == '_' || c == '-') {
			return false
		}
	}
	return kid != "" && len(kid) <= jwk.MaxKeyIDBytes
}

// checkClaims checks and takes the claims of RFC 7519, all but against the
// clock.
func (v *Verifier) checkClaims(payload strictjson.Members, t *verifiedToken) error {
	c := &t.claims
	c.Issuer, _ = jws.Text(payload, "iss")
	if c.Issuer != v.cfg.Issuer {
		return errIssuer
	}
	c.Audience = v.cfg.Audience
	if aud, _ := payload.Get("aud"); !jws.Includes(aud, c.Audience) {
		return errAudience
	}
	c.Subject, _ = jws.Text(payload, "sub")
	if c.Subject == "" || len(c.Subject) > maxSubjectBytes {
		return errSubject
	}
	c.ID, _ = jws.Text(payload, "jti")
	if c.ID == "" || len(c.ID) > maxIDBytes {
		return errID
	}
	var ok bool
	if c.IssuedAt, ok = jws.Date(payload, "iat"); !ok {
		return errIssuedAt
	}
	if c.ExpiresAt, ok = jws.Date(payload, "exp"); !ok {
		return errExpiresAt
	}
	if _, there := payload.Get("nbf"); there {
		if t.notBefore, ok = jws.Date(payload, "nbf"); !ok {
			return errNotBefore
		}
	}
	if life := c.ExpiresAt.Sub(c.IssuedAt); life <= 0 || life > v.cfg.MaxLifetime {
		return errLifetime
	}
	return nil
}

// checkTime checks a token against the clock. Expiry comes last: see
// [ErrExpired].
func (v *Verifier) checkTime(t *verifiedToken) error {
	now, leeway := v.cfg.Now(), v.cfg.Leeway
	if t.claims.IssuedAt.After(now.Add(leeway)) {
		return errIssuedLater
	}
	if t.notBefore.After(now.Add(leeway)) {
		return errNotYet
	}
	if !now.Before(t.claims.ExpiresAt.Add(leeway)) {
		return errExpired
	}
	return nil
}

// memo remembers verified tokens by their text, of which a token has one
// spelling only. The zero memo remembers nothing.
type memo struct {
	max    int
	mu     sync.RWMutex
	tokens map[string]*verifiedToken
}

func (m *memo) get(token string) (*verifiedToken, bool) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	t, ok := m.tokens[token]
	return t, ok
}

// put makes room by forgetting any one: only tokens that verified come here,
// so nobody can push others' out with forged ones.
func (m *memo) put(token string, t *verifiedToken) {
	if m.max == 0 {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.tokens == nil {
		m.tokens = make(map[string]*verifiedToken)
	}
	if len(m.tokens) >= m.max {
		for old := range m.tokens {
			delete(m.tokens, old)
			break
		}
	}
	m.tokens[strings.Clone(token)] = t // the caller's may be part of something larger
}
