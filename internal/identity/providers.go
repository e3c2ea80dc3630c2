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
	"github.com/usher-auth/usher/internal/secret"
	"github.com/usher-auth/usher/internal/strictjson"
	"github.com/usher-auth/usher/session"
)

// HS256 is for issuers that share a secret with usher, and for them alone.
const HS256 = "HS256"

const (
	minSecret      = 32 // bytes: as many as the hash has (RFC 7518, section 3.2)
	defaultMaxLife = time.Hour
	longestLife    = 7 * 24 * time.Hour
	defaultLeeway  = 30 * time.Second
	maxLeeway      = time.Minute
	maxMemberships = 500 // in one claim
	maxWaiting     = 64  // requests that wait for one issuer's keys
	jweDots        = 4   // RFC 7516, section 7.1
	idPlaceholder  = "{sub}"
)

// An ProviderConfig says which tokens of one identity provider usher takes, and
// what it reads from them. A claim is named by its name, or, inside of another,
// by a JSON Pointer (RFC 6901): /o/id. [ParseProviders] makes one from a line of
// text.
type ProviderConfig struct {
	// Issuers are the values of iss that are this provider, byte by byte; the
	// first is its name in logs, metrics and the audit. Required.
	Issuers []string

	// One of these four says where the keys come from: a JWK Set at an https
	// URL; OpenID discovery, at the first of Issuers; keys at hand; or a secret
	// of at least 32 bytes, for HS256.
	JWKS     string
	Discover bool
	Keys     KeySet
	Secret   secret.Text
	// AllowPrivate allows the keys to be at a private address, as inside of a
	// company's network. A loopback address needs no leave.
	AllowPrivate bool

	// Algorithms are those taken; where nil, HS256 with a Secret and all that
	// usher knows without.
	Algorithms []string
	// Audiences and Parties list the values of aud and azp that are for usher.
	// Where both are given, both are checked; where neither is, AnyAudience
	// must say so.
	Audiences   []string
	Parties     []string
	AnyAudience bool
	// Types are the values of typ, "" for a header without; JWT or none where
	// nil.
	Types []string
	// Require are claims that must be there, Refuse those that must not.
	Require, Refuse []ClaimRule

	// UserClaim is the provider's id of the user, sub where empty. ID makes of
	// it the id in usher: {sub}, which is the default, or a prefix and {sub}.
	// Of two issuers whose users could get the same id, each must say ShareIDs.
	UserClaim string
	ID        string
	ShareIDs  bool

	// What else is read, where it is named.
	OrganizationClaim  string // the active organization: a string
	OrganizationsClaim string // all of the user's: strings
	GroupsClaim        string // all of the user's: strings
	NameClaim          string
	EmailClaim         string
	AvatarClaim        string
	SessionClaim       string // sid where empty

	// MaxLife bounds exp - iat: 1 h where zero, at most 7 days.
	MaxLife time.Duration
	// Leeway is how far clocks may be apart: 30 s where zero, at most 60 s.
	// There is none after exp, which usher's own token must not outlive.
	Leeway time.Duration
}

// A ClaimRule names a claim and, where it matters, its values: a string, or
// another JSON value as it is written. Of an array, one element suffices.
type ClaimRule struct {
	Claim  string
	Values []string
}

func (c *ProviderConfig) name() string { return c.Issuers[0] }

// prefix is what ID puts before the provider's own id.
func (c *ProviderConfig) prefix() string { return strings.TrimSuffix(c.ID, idPlaceholder) }

func (c *ProviderConfig) setDefaults() {
	if c.Algorithms == nil {
		c.Algorithms = jwk.Algorithms()
		if !c.Secret.IsEmpty() {
			c.Algorithms = []string{HS256}
		}
	}
	if c.Types == nil {
		c.Types = []string{"JWT", ""}
	}
	for _, d := range []struct {
		to    *string
		value string
	}{{&c.UserClaim, "sub"}, {&c.ID, idPlaceholder}, {&c.SessionClaim, "sid"}} {
		if *d.to == "" {
			*d.to = d.value
		}
	}
	if c.MaxLife == 0 {
		c.MaxLife = defaultMaxLife
	}
	if c.Leeway == 0 {
		c.Leeway = defaultLeeway
	}
}

// faults returns what is wrong with a configuration that has its defaults, each
// with the name of the setting.
func (c *ProviderConfig) faults() (faults []error) {
	add := func(setting, format string, args ...any) {
		faults = append(faults, fmt.Errorf(setting+": "+format, args...))
	}
	if len(c.Issuers) == 0 || slices.Contains(c.Issuers, "") {
		add("issuer", "it is missing: write the iss of the tokens, exactly")
	}
	sources := 0
	for _, there := range []bool{c.JWKS != "", c.Discover, len(c.Keys.Keys) > 0, !c.Secret.IsEmpty()} {
		if there {
			sources++
		}
	}
	if sources != 1 {
		add("jwks", "the keys have %d sources: give one of jwks, discovery, keys-file and secret-file", sources)
	}
	if !c.Secret.IsEmpty() && len(c.Secret.Reveal()) < minSecret {
		add("secret-file", "the secret is shorter than %d bytes: openssl rand -base64 32 makes one", minSecret)
	}
	known := jwk.Algorithms()
	if !c.Secret.IsEmpty() {
		known = []string{HS256}
	}
	for _, alg := range c.Algorithms {
		if !slices.Contains(known, alg) {
			add("alg", "%q is not one of %s, which these keys can verify", alg, strings.Join(known, ", "))
		}
	}
	if len(c.Audiences)+len(c.Parties) == 0 && !c.AnyAudience {
		add("aud", "neither aud nor azp is given, so that a token for any other application would do: list what is for usher, or say any-audience=yes")
	}
	if (len(c.Audiences)+len(c.Parties) > 0) && c.AnyAudience {
		add("any-audience", "aud or azp is given too: leave one of the two out")
	}
	if len(c.Types) == 0 {
		add("typ", "none is taken")
	}
	if prefix := c.prefix(); prefix+idPlaceholder != c.ID || strings.ContainsAny(prefix, "{}") || prefix != "" && !session.IsDirectoryID(prefix) {
		add("id", "%q is neither {sub} nor a prefix and {sub}, as clerk:{sub}", c.ID)
	}
	if c.MaxLife < 0 || c.MaxLife > longestLife {
		add("max-life", "%s is not from 0 to %s", c.MaxLife, longestLife)
	}
	if c.Leeway < 0 || c.Leeway > maxLeeway {
		add("leeway", "%s is not from 0 to %s", c.Leeway, maxLeeway)
	}
	return faults
}

// label puts the issuer's name, or its place, before each fault.
func (c *ProviderConfig) label(n int, faults []error) []error {
	label := fmt.Sprintf("issuer %d", n+1)
	if len(c.Issuers) > 0 {
		label = "issuer " + c.name()
	}
	for i, fault := range faults {
		faults[i] = fmt.Errorf("%s: %w", label, fault)
	}
	return faults
}

// conflicts returns what is wrong between issuers: one iss twice, or ids that
// two people could share.
func conflicts(issuers []ProviderConfig) (faults []error) {
	for i := range issuers {
		a := &issuers[i]
		for j := range issuers[:i] {
			b := &issuers[j]
			for _, iss := range a.Issuers {
				if slices.Contains(b.Issuers, iss) {
					faults = append(faults, fmt.Errorf("issuer %s: issuer: it is there twice", iss))
				}
			}
			overlap := strings.HasPrefix(a.prefix(), b.prefix()) || strings.HasPrefix(b.prefix(), a.prefix())
			if overlap && !(a.ShareIDs && b.ShareIDs) {
				faults = append(faults, fmt.Errorf(
					"issuer %s: id: %q gives the same ids as %q of %s: take different prefixes, or say share-ids=yes of both where their users are the same",
					a.name(), a.ID, b.ID, b.name()))
			}
		}
	}
	return faults
}

// ProvidersConfig is for [NewProviders].
type ProvidersConfig struct {
	Providers []ProviderConfig
	// Transport fetches keys where it is not nil, in place of usher's own,
	// which connects to public addresses alone.
	Transport http.RoundTripper
	// OnError is told of each fetch of an issuer's keys that failed, for a log
	// and a metric; it may be nil.
	OnError func(issuer string, err error)
	// Now is the clock, [time.Now] where nil.
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

// NewProviders begins to fetch the issuers' keys, or returns every fault of the
// configuration at once. A provider that is down stops nothing: its tokens are
// a [KeysUnavailableError] until its keys were fetched. Close it after use.
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

// plain takes the package's name off an error, for the middle of a sentence.
func plain(err error) string { return strings.TrimPrefix(err.Error(), "session: ") }

// complete sets the defaults of configurations that are in order.
func complete(issuers []ProviderConfig) ([]ProviderConfig, error) {
	issuers = slices.Clone(issuers)
	var faults []error
	for n := range issuers {
		c := &issuers[n]
		c.setDefaults()
		faults = append(faults, c.label(n, c.faults())...)
	}
	if len(faults) == 0 {
		faults = conflicts(issuers)
	}
	return issuers, errors.Join(faults...)
}

// keysOf returns where the keys of one issuer come from; no other's are in it.
func (p *Providers) keysOf(c *ProviderConfig, cfg *ProvidersConfig) (keySource, error) {
	switch {
	case !c.Secret.IsEmpty():
		return nil, nil //nolint:nilnil // see issuer
	case len(c.Keys.Keys) > 0:
		return c.Keys, nil
	}
	fetch := jwk.FetchConfig{Transport: cfg.Transport, MaxWaiting: maxWaiting}
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
	if err != nil {
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

// An ProviderTokenError is the refusal of a token. Its text is for the log: it says
// more than the bearer may know, and repeats nothing of the token.
type ProviderTokenError struct {
	Code   string // of package codes
	Issuer string // the name of the one that the token claims to be of; empty for nobody's
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

// A KeysUnavailableError says that a token's key could not be had: a fault,
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

// tolerated are headers that some providers add, and that change nothing.
var tolerated = []string{"x5t", "x5t#S256", "cat"}

// Verify returns what a token says, or an [*ProviderTokenError], or a
// [*KeysUnavailableError]. It waits for nothing but an unknown key's fetch, and
// that no longer than ctx. Which issuer's rules and keys hold, iss says; that a
// token has expired is said of one alone that is in order otherwise.
func (p *Providers) Verify(ctx context.Context, text secret.Text) (session.UpstreamClaims, error) {
	token := text.Reveal()
	if strings.Count(token, ".") == jweDots {
		return session.UpstreamClaims{}, &ProviderTokenError{Code: codes.TokenEncrypted}
	}
	var of *provider
	var payload strictjson.Members
	m, err := jws.Open(token, tolerated, func(m *jws.Message) (key jws.Key, err error) {
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
		return session.UpstreamClaims{}, err
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

// key returns the issuer's own key that the token names.
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
