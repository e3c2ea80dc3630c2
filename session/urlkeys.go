package session

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/usher-auth/usher/internal/jws"
	"github.com/usher-auth/usher/internal/strictjson"
)

const (
	defaultRefresh  = 5 * time.Minute
	minRefresh      = 30 * time.Second
	maxRefresh      = 10 * time.Minute // the issuer publishes keys this long before they sign
	defaultMaxStale = 24 * time.Hour

	fetchTimeout = 5 * time.Second
	// fetchPause is the least time between two fetches, so that tokens with
	// made-up kids cannot make a verifier flood the issuer.
	fetchPause = 30 * time.Second
	// coldPause is the same while there are no keys at all, as when issuer and
	// verifier start together.
	coldPause = time.Second
)

// URLKeysConfig is for [KeysFromURL]. The zero URLKeysConfig serves.
type URLKeysConfig struct {
	// Refresh is how often the keys are fetched, 5 minutes where zero, from
	// 30 s to 10 minutes. A key that the issuer withdraws is gone after that.
	Refresh time.Duration
	// MaxStale is how long the keys of the last good fetch serve while no
	// fetch succeeds, 24 h where zero; at least Refresh.
	MaxStale time.Duration
	// Initial keys, as from a file, serve until the first good fetch.
	Initial KeySet
	// Transport makes the requests where it is not nil: for a certificate
	// authority of one's own.
	Transport http.RoundTripper
	// AllowHTTP allows http to other hosts than this one. Who can change what
	// passes between them can then forge tokens.
	AllowHTTP bool
	// MaxWaiting bounds the callers that wait for a fetch at one time; those
	// beyond get [ErrKeysUnavailable] at once. No bound where zero.
	MaxWaiting int
	// OnError is told of each fetch that failed, for a log and a metric; it
	// may be nil.
	OnError func(error)
}

func (cfg *URLKeysConfig) validate(address string) error {
	var faults []error
	if err := cfg.checkURL(address); err != nil {
		faults = append(faults, err)
	}
	if cfg.Refresh < minRefresh || cfg.Refresh > maxRefresh {
		faults = append(faults, fmt.Errorf("Refresh %s is not from %s to %s", cfg.Refresh, minRefresh, maxRefresh))
	}
	if cfg.MaxStale < cfg.Refresh {
		faults = append(faults, fmt.Errorf("MaxStale %s is less than Refresh %s", cfg.MaxStale, cfg.Refresh))
	}
	if cfg.MaxWaiting < 0 {
		faults = append(faults, fmt.Errorf("MaxWaiting %d is negative", cfg.MaxWaiting))
	}
	return errors.Join(faults...)
}

func (cfg *URLKeysConfig) checkURL(address string) error {
	u, err := url.Parse(address)
	switch {
	case err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http":
		return errors.New("URL is not an absolute https URL")
	case u.User != nil || u.Fragment != "":
		return errors.New("URL has a password or a fragment")
	case u.Scheme == "http" && !cfg.AllowHTTP && !isLoopback(u.Hostname()):
		return errors.New("URL is http to another host")
	}
	return nil
}

func isLoopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// URLKeys is a [KeySource] that fetches a JWK Set again and again, in the
// background: a fetch never delays a key that is known. It is safe for
// concurrent use.
type URLKeys struct {
	address string
	issuer  string // whose discovery document is at address; empty: the key set is
	cfg     URLKeysConfig
	client  http.Client

	mu      sync.RWMutex
	keys    KeySet
	good    time.Time     // when keys were fetched; zero while there are none
	tried   time.Time     // when the last fetch began
	err     error         // of the last fetch
	running chan struct{} // closed when the fetch that runs now ends; nil where none does
	waiting int           // callers, for the fetch that runs
	next    *time.Timer
	closed  bool
}

// A RetryError is an [ErrUnknownKey] or an [ErrKeysUnavailable] of [URLKeys]
// that stands until the next fetch, which cannot begin before After. Where keys
// may come into use as soon as they are published, take both as a fault.
type RetryError struct {
	After time.Duration
	Err   error
}

func (e *RetryError) Error() string { return e.Err.Error() }
func (e *RetryError) Unwrap() error { return e.Err }

// KeysFromURL returns the keys at an https URL, or every fault of the
// configuration at once; http is for this host alone. The first fetch begins at
// once; nothing waits for it but the first tokens. Close it after use.
//
// A fetch takes at most 5 s and 256 KiB, follows no redirect, and is good only
// with status 200 and a [ParseJWKS] that finds a key. The next is due after
// Refresh, or after 30 s where it failed; an unknown kid may bring it forward,
// to 30 s after the last at the soonest. While fetches fail, the keys of the
// last good one stay, up to MaxStale.
func KeysFromURL(address string, cfg URLKeysConfig) (*URLKeys, error) {
	return newURLKeys(address, "", cfg)
}

// KeysFromIssuer is [KeysFromURL] for an OpenID provider, whose discovery
// document (OpenID Connect Discovery 1.0, section 4) says where its keys are.
// A document that names another issuer, in one byte, is a failed fetch.
func KeysFromIssuer(issuer string, cfg URLKeysConfig) (*URLKeys, error) {
	return newURLKeys(strings.TrimSuffix(issuer, "/")+"/.well-known/openid-configuration", issuer, cfg)
}

func newURLKeys(address, issuer string, cfg URLKeysConfig) (*URLKeys, error) {
	if cfg.Refresh == 0 {
		cfg.Refresh = defaultRefresh
	}
	if cfg.MaxStale == 0 {
		cfg.MaxStale = defaultMaxStale
	}
	if err := cfg.validate(address); err != nil {
		return nil, fmt.Errorf("session: bad key URL: %w", err)
	}
	if cfg.Transport == nil {
		cfg.Transport = &http.Transport{
			Proxy:                  http.ProxyFromEnvironment,
			DisableKeepAlives:      true, // by the next fetch it would be closed anyway
			ForceAttemptHTTP2:      true,
			MaxResponseHeaderBytes: 64 << 10,
		}
	}
	u := &URLKeys{
		address: address,
		issuer:  issuer,
		cfg:     cfg,
		client: http.Client{
			Transport:     cfg.Transport,
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
		keys: cfg.Initial,
	}
	if u.keys.Len() > 0 {
		u.good = time.Now()
	}
	u.refresh()
	return u, nil
}

// Close stops fetching. The keys at hand serve on, up to MaxStale.
func (u *URLKeys) Close() {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.closed = true
	if u.next != nil {
		u.next.Stop()
	}
}

// Err returns the error of the last fetch, nil where it was good or none has
// ended yet.
func (u *URLKeys) Err() error {
	u.mu.RLock()
	defer u.mu.RUnlock()
	return u.err
}

// Key implements [KeySource]. For a kid that it does not know it may wait for
// one fetch, together with all others that wait. Where that fails it returns
// [ErrKeysUnavailable]: the key may be a new one. While it may not fetch, the
// error is a [*RetryError].
func (u *URLKeys) Key(ctx context.Context, kid string) (JWK, error) {
	k, err := u.lookUp(kid)
	if err == nil {
		return k, nil
	}
	done, pause := u.refresh()
	if done == nil { // too soon after the last, which may have ended just now
		if k, err = u.lookUp(kid); err != nil {
			err = &RetryError{pause, err}
		}
		return k, err
	}
	if !u.wait(1) {
		return JWK{}, fmt.Errorf("%w: too many wait for them", ErrKeysUnavailable)
	}
	defer u.wait(-1)
	select {
	case <-done:
		return u.lookUp(kid)
	case <-ctx.Done():
		return JWK{}, fmt.Errorf("%w: %w", ErrKeysUnavailable, ctx.Err())
	}
}

// wait counts one caller who waits, or who waits no longer, unless there is no
// room for one more.
func (u *URLKeys) wait(callers int) bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	if callers > 0 && u.cfg.MaxWaiting > 0 && u.waiting >= u.cfg.MaxWaiting {
		return false
	}
	u.waiting += callers
	return true
}

// lookUp returns a key that is at hand.
func (u *URLKeys) lookUp(kid string) (JWK, error) {
	u.mu.RLock()
	defer u.mu.RUnlock()
	fresh := !u.good.IsZero() && time.Since(u.good) <= u.cfg.MaxStale
	k, ok := u.keys.keys[kid]
	switch {
	case fresh && ok:
		return k, nil
	case u.err != nil:
		return JWK{}, fmt.Errorf("%w: %w", ErrKeysUnavailable, u.err)
	case !fresh:
		return JWK{}, ErrKeysUnavailable
	}
	return JWK{}, ErrUnknownKey
}

// refresh starts a fetch, unless one is running or the last is too recent. It
// returns the end of the one that is running; nil where none is, and how long
// none may begin.
func (u *URLKeys) refresh() (done <-chan struct{}, pause time.Duration) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.running != nil {
		return u.running, 0
	}
	pause = fetchPause
	if u.good.IsZero() {
		pause = coldPause
	}
	if pause -= time.Since(u.tried); u.closed || pause > 0 {
		return nil, pause
	}
	u.tried = time.Now()
	u.running = make(chan struct{})
	go u.run(u.running)
	return u.running, 0
}

func (u *URLKeys) run(done chan struct{}) {
	// Of no caller's context: others wait for the same fetch.
	ctx, cancel := context.WithTimeout(context.Background(), fetchTimeout)
	defer cancel()
	keys, err := u.fetch(ctx)

	u.mu.Lock()
	u.err = err
	due := fetchPause
	if err == nil {
		u.keys, u.good, due = keys, time.Now(), u.cfg.Refresh
	}
	u.running = nil
	if u.next != nil {
		u.next.Stop()
	}
	if !u.closed {
		u.next = time.AfterFunc(due, func() { u.refresh() })
	}
	u.mu.Unlock()
	close(done)

	if err != nil && u.cfg.OnError != nil {
		u.cfg.OnError(err)
	}
}

func (u *URLKeys) fetch(ctx context.Context) (KeySet, error) {
	address := u.address
	if u.issuer != "" {
		var err error
		if address, err = u.discover(ctx); err != nil {
			return KeySet{}, fmt.Errorf("session: discover keys: %w", err)
		}
	}
	data, err := u.get(ctx, address)
	if err != nil {
		return KeySet{}, fmt.Errorf("session: fetch keys: %w", err)
	}
	keys, err := ParseJWKS(data)
	if err != nil {
		return KeySet{}, fmt.Errorf("session: fetch keys: %w", err)
	}
	if keys.Len() == 0 {
		return KeySet{}, fmt.Errorf("session: fetch keys: no usable key at %s", address)
	}
	return keys, nil
}

// discover returns the address of the issuer's keys.
func (u *URLKeys) discover(ctx context.Context) (string, error) {
	data, err := u.get(ctx, u.address)
	if err != nil {
		return "", err
	}
	document, err := strictjson.Object(data, jwksDepth)
	if err != nil {
		return "", err
	}
	if issuer, _ := jws.Text(document, "issuer"); issuer != u.issuer {
		return "", fmt.Errorf("%s is about the issuer %.256q", u.address, issuer)
	}
	address, _ := jws.Text(document, "jwks_uri")
	if err := u.cfg.checkURL(address); err != nil {
		return "", fmt.Errorf("jwks_uri of %s: %w", u.address, err)
	}
	return address, nil
}

func (u *URLKeys) get(ctx context.Context, address string) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Accept", "application/jwk-set+json, application/json")
	res, err := u.client.Do(req)
	if err != nil {
		return nil, err
	}
	defer func() { _ = res.Body.Close() }()
	if res.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s answered %d", address, res.StatusCode)
	}
	return io.ReadAll(io.LimitReader(res.Body, maxJWKSBytes+1))
}
