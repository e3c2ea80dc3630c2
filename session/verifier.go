package session

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/usher-auth/usher/internal/codes"
	"github.com/usher-auth/usher/internal/jwk"
	"github.com/usher-auth/usher/internal/jws"
	"github.com/usher-auth/usher/internal/strictjson"
)

const (
	maxIDBytes = 255 // of a jti
	// A user id has at most 128 UTF-16 code units, and each needs at most 3 bytes of UTF-8.
	maxSubjectBytes = 384

	defaultLeeway = 30 * time.Second
	maxLeeway     = time.Minute
)

// VerifierConfig says which tokens a [Verifier] accepts.
type VerifierConfig struct {
	// Issuer is the only accepted iss, compared byte by byte. Required.
	Issuer string
	// Audience is this backend's own name, which must be in the token's aud. Required.
	Audience string
	// Keys are the issuer's public keys: [KeysFromURL], [KeysFromFile] or a [KeySet].
	// Required.
	Keys KeySource
	// Leeway is the tolerated difference between clocks, at most 60 s (default: 30s).
	Leeway time.Duration
	// MaxLifetime is the maximum of exp - iat (default: [MaxTTL]).
	MaxLifetime time.Duration
	// Memo is the number of verified tokens to remember (default: 0). A remembered token
	// needs no signature check when it comes again; its times and its key are still
	// checked.
	Memo int
	// Now is the clock (default: [time.Now]).
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
	// ErrInvalidToken is returned for every refused token.
	ErrInvalidToken = errors.New("session: invalid token")
	// ErrExpired is returned for a token that is valid except that it has expired. Such
	// an error is also an [ErrInvalidToken].
	ErrExpired = errors.New("session: token has expired")
)

// A TokenError is the refusal of a token. Its text is always the same, so it may be shown
// to the sender of the token and does not help a forger. Code and Detail are for the log;
// slog writes them automatically.
//
// The codes are stable, and the same as in the npm package: token_malformed,
// header_invalid, type_mismatch, key_unknown, algorithm_mismatch,
// signature_invalid, issuer_mismatch, audience_mismatch, claims_invalid,
// lifetime_too_long, token_not_yet_valid, token_expired. docs/errors.md explains
// each.
type TokenError struct {
	Code   string
	Detail string // what exactly failed, for people; it never quotes the token
}

func (*TokenError) Error() string { return ErrInvalidToken.Error() }

// Is makes every TokenError an [ErrInvalidToken].
func (e *TokenError) Is(target error) bool {
	return target == ErrInvalidToken || target == ErrExpired && e.Code == codes.TokenExpired
}

// LogValue implements [slog.LogValuer].
func (e *TokenError) LogValue() slog.Value {
	text := ErrInvalidToken.Error() + ": " + e.Code
	if e.Detail != "" {
		text += ": " + e.Detail
	}
	return slog.StringValue(text)
}

var (
	errKeyID       = &TokenError{codes.HeaderInvalid, "kid is missing or malformed"}
	errType        = &TokenError{codes.TypeMismatch, "typ is not at+jwt"}
	errUnknownKey  = &TokenError{codes.KeyUnknown, "kid names no published key"}
	errPayload     = &TokenError{codes.TokenMalformed, "the payload is not a strict JSON object"}
	errIssuer      = &TokenError{codes.IssuerMismatch, "iss"}
	errAudience    = &TokenError{codes.AudienceMismatch, "aud"}
	errLifetime    = &TokenError{codes.LifetimeTooLong, "exp - iat"}
	errIssuedLater = &TokenError{codes.TokenNotYetValid, "iat"}
	errNotYet      = &TokenError{codes.TokenNotYetValid, "nbf"}
	errExpired     = &TokenError{codes.TokenExpired, "exp"}
)

// errClaim says that a claim is missing or malformed.
func errClaim(name string) error { return &TokenError{codes.ClaimsInvalid, name} }

// Verify returns the claims of a valid token. For a token that is not valid, the error is
// an [ErrInvalidToken] of type [*TokenError]. If the key is unavailable, the error is an
// [ErrKeysUnavailable], which says nothing about the token: answer 503 then, not 401.
// Verify waits only for the fetch of an unknown key, and at most until ctx ends.
//
// A token is valid if all of this is true:
//
//   - It is a JWS in compact form, of at most 16 KiB, in canonical base64url.
//   - Its header has only alg, kid and typ. typ is at+jwt, and alg is the key's.
//   - Its signature is good.
//   - Its payload is strict JSON. iss, aud, sub, jti, iat and exp are present. They, nbf
//     and the other claims of [Claims] have the right types.
//   - Its lifetime is at most MaxLifetime, and it is valid now.
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

// verifiedToken is a token that passed all checks except those of its times.
type verifiedToken struct {
	claims    Claims
	notBefore time.Time // zero if there is no nbf
	key       JWK
}

// holds reports whether key is still one of the issuer's keys.
func (v *Verifier) holds(ctx context.Context, key JWK) bool {
	now, err := v.cfg.Keys.Key(ctx, key.KeyID)
	return err == nil && now.equal(key)
}

// open checks everything about a token except its times.
func (v *Verifier) open(ctx context.Context, token string) (*verifiedToken, error) {
	m, key, err := openJWS(ctx, token, v.cfg.Keys, isAccessToken)
	if err != nil {
		return nil, err
	}
	payload, err := strictjson.Object(m.Payload, jws.MaxDepth)
	if err != nil {
		return nil, errPayload
	}
	t := &verifiedToken{key: key}
	if err := v.checkClaims(payload, t); err != nil {
		return nil, err
	}
	if err := t.claims.read(payload); err != nil {
		return nil, err
	}
	if t.claims.ExpiresAt.Sub(t.claims.IssuedAt) > v.cfg.MaxLifetime {
		return nil, errLifetime
	}
	return t, nil
}

// isAccessToken reports whether typ is the one of RFC 9068. Media types are
// case-insensitive, and no character outside ASCII folds to one of these.
func isAccessToken(typ string) bool {
	return strings.EqualFold(typ, "at+jwt") || strings.EqualFold(typ, "application/at+jwt")
}

// openJWS checks a JWS in compact serialization (RFC 7515) with an accepted typ. It does
// not look at the payload.
func openJWS(ctx context.Context, token string, keys KeySource, takesType func(typ string) bool) (*jws.Message, JWK, error) {
	var key JWK
	m, err := jws.Open(token, true, func(m *jws.Message) (found jws.Key, err error) {
		key, err = findKey(ctx, keys, m, takesType)
		return jws.Key{Algorithm: key.Algorithm, Verify: key.Verify}, err
	})
	if fault, ok := errors.AsType[jws.Fault](err); ok {
		err = &TokenError{fault.Code, fault.Detail}
	}
	return m, key, err
}

// findKey finds the key that a token names. It checks the rest of the header first.
func findKey(ctx context.Context, keys KeySource, m *jws.Message, takesType func(typ string) bool) (JWK, error) {
	if !isTokenKeyID(m.KeyID) {
		return JWK{}, errKeyID
	}
	if typ, _ := jws.Text(m.Header, "typ"); !takesType(typ) {
		return JWK{}, errType
	}
	key, err := keys.Key(ctx, m.KeyID)
	switch {
	case errors.Is(err, ErrSigningKeyUnknown):
		return JWK{}, errUnknownKey
	case errors.Is(err, ErrKeysUnavailable):
		return JWK{}, err
	case err != nil:
		return JWK{}, fmt.Errorf("%w: %w", ErrKeysUnavailable, err)
	}
	return key, nil
}

// isTokenKeyID reports whether kid is safe to look up: it cannot change the meaning of a
// path, of SQL or of a URL in which a [KeySource] uses it.
func isTokenKeyID(kid string) bool {
	for i := range len(kid) {
		c := kid[i]
		if !('a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '.' || c == '_' || c == '-') {
			return false
		}
	}
	return kid != "" && len(kid) <= jwk.MaxKeyIDBytes
}

// checkClaims checks and stores the claims of RFC 7519. It does not compare them with the
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
		return errClaim("sub")
	}
	c.ID, _ = jws.Text(payload, "jti")
	if c.ID == "" || len(c.ID) > maxIDBytes {
		return errClaim("jti")
	}
	var ok bool
	if c.IssuedAt, ok = jws.Date(payload, "iat"); !ok {
		return errClaim("iat")
	}
	if c.ExpiresAt, ok = jws.Date(payload, "exp"); !ok {
		return errClaim("exp")
	}
	if _, there := payload.Get("nbf"); there {
		if t.notBefore, ok = jws.Date(payload, "nbf"); !ok {
			return errClaim("nbf")
		}
	}
	if !c.ExpiresAt.After(c.IssuedAt) {
		return errClaim("exp")
	}
	return nil
}

// checkTime compares a token with the clock. It checks the expiry last: see [ErrExpired].
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

// memo remembers verified tokens by their text; a token has only one spelling. The zero
// memo remembers nothing.
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

// put adds a token. If the memo is full, it forgets an arbitrary token. Only verified
// tokens are added, so forged tokens cannot push out others.
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
	m.tokens[strings.Clone(token)] = t // the caller's string may be part of a larger one
}
