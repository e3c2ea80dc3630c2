package jwk

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"runtime/debug"
	"strings"
	"sync"
	"time"

	"github.com/usher-auth/usher/internal/jws"
	"github.com/usher-auth/usher/internal/loopback"
	"github.com/usher-auth/usher/internal/strictjson"
)

const (
	// DefaultRefresh, MinRefresh and MaxRefresh are for [FetchConfig]. An issuer publishes
	// a key MaxRefresh before it signs.
	DefaultRefresh  = 5 * time.Minute
	MinRefresh      = 30 * time.Second
	MaxRefresh      = 10 * time.Minute
	DefaultMaxStale = 24 * time.Hour

	fetchTimeout = 5 * time.Second
	// fetchPause is the minimum time between two fetches, so that tokens with invented
	// kids cannot make a verifier flood the issuer.
	fetchPause = 30 * time.Second
	// coldPause is used instead while there are no keys at all, for example when issuer
	// and verifier start at the same time.
	coldPause = time.Second
)

var (
	// ErrUnknown is returned if a token's key is not in the set.
	ErrUnknown = errors.New("unknown key")
	// ErrUnavailable is returned if a [Fetcher] could not get the keys. It says nothing
	// about the token: try again later.
	ErrUnavailable = errors.New("keys are unavailable")
)

// A FetchConfig is the configuration of [Fetch].
type FetchConfig struct {
	// Refresh is the time between two fetches, from 30 s to 10 minutes (default: 5m). A
	// key that the issuer removes is no longer accepted after this time.
	Refresh time.Duration
	// MaxStale is how long the keys of the last successful fetch are used while fetches
	// fail (default: 24h). It must be at least Refresh.
	MaxStale time.Duration
	// Transport makes the requests.
	Transport http.RoundTripper
	// AllowHTTP allows http to other hosts than this one.
	AllowHTTP bool
	// MaxWaiting is the maximum number of callers that wait for a fetch at the same time.
	// Further callers get [ErrUnavailable] at once. Zero means no limit.
	MaxWaiting int
	// OnError is called for each failed fetch. It may be nil.
	OnError func(error)
}

func (cfg *FetchConfig) validate(address string) error {
	var faults []error
	if err := cfg.checkURL(address); err != nil {
		faults = append(faults, err)
	}
	if cfg.Refresh < MinRefresh || cfg.Refresh > MaxRefresh {
		faults = append(faults, fmt.Errorf("Refresh %s is not from %s to %s", cfg.Refresh, MinRefresh, MaxRefresh))
	}
	if cfg.MaxStale < cfg.Refresh {
		faults = append(faults, fmt.Errorf("MaxStale %s is less than Refresh %s", cfg.MaxStale, cfg.Refresh))
	}
	if cfg.MaxWaiting < 0 {
		faults = append(faults, fmt.Errorf("MaxWaiting %d is negative", cfg.MaxWaiting))
	}
	return errors.Join(faults...)
}

func (cfg *FetchConfig) checkURL(address string) error {
	u, err := url.Parse(address)
	switch {
	case err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http":
		return errors.New("URL is not an absolute https URL")
	case u.User != nil || u.Fragment != "":
		return errors.New("URL has a password or a fragment")
	case u.Scheme == "http" && !cfg.AllowHTTP && !loopback.IsHost(u.Hostname()):
		return errors.New("URL is http to another host")
	}
	return nil
}

// A Fetcher fetches a set of keys periodically, in the background. A fetch never delays a
// token whose key is known. S is the type of a parsed set. It is safe for concurrent use.
type Fetcher[S any] struct {
	address string
	issuer  string // whose discovery document is at address; empty: the key set is
	cfg     FetchConfig
	parse   func(data []byte, address string) (S, error)
	client  http.Client

	mu      sync.RWMutex
	keys    S
	good    time.Time     // when keys were fetched; zero while there are none
	tried   time.Time     // when the last fetch began
	err     error         // of the last fetch
	running chan struct{} // closed when the fetch that runs now ends; nil where none does
	waiting int           // callers, for the fetch that runs
	next    *time.Timer
	closed  bool
}

const modulePath = "github.com/usher-auth/usher"

// userAgent names usher, because some firewalls block Go's default.
var userAgent = sync.OnceValue(func() string {
	version := "devel"
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, m := range append(info.Deps, &info.Main) {
			if m.Path == modulePath && strings.HasPrefix(m.Version, "v") {
				version = strings.TrimPrefix(m.Version, "v")
			}
		}
	}
	return "usher/" + version + " (+https://" + modulePath + ")"
})

// A RetryError is an [ErrUnknown] or an [ErrUnavailable] that stays until the next fetch, which
// cannot start before After. If an issuer may use keys as soon as it publishes them, treat both
// as a fault.
type RetryError struct {
	After time.Duration
	Err   error
}

func (e *RetryError) Error() string { return e.Err.Error() }
func (e *RetryError) Unwrap() error { return e.Err }

// Fetch returns the keys at an https URL, or every fault of the configuration at once. http is
// allowed only for this host. The first fetch starts immediately, and only the first tokens
// wait for it. Until it succeeds, initial is used if it is not nil. Close the Fetcher after use.
//
// A fetch may take 5 s and return 256 KiB, and follows no redirects. It succeeds if the status
// is 200 and parse returns no error. The next fetch starts after Refresh, or 30 s after a
// failure. An unknown key can start it earlier, but not within 30 s of the last one. While
// fetches fail, the keys of the last successful one are used, up to MaxStale.
func Fetch[S any](address string, cfg FetchConfig, initial *S, parse func(data []byte, address string) (S, error)) (*Fetcher[S], error) {
	return fetch(address, "", cfg, initial, parse)
}

// FetchFromIssuer is [Fetch] for an OpenID provider. The provider's discovery document (OpenID
// Connect Discovery 1.0, section 4) says where its keys are. The fetch fails if the document
// does not name exactly this issuer.
func FetchFromIssuer[S any](issuer string, cfg FetchConfig, parse func(data []byte, address string) (S, error)) (*Fetcher[S], error) {
	return fetch(strings.TrimSuffix(issuer, "/")+"/.well-known/openid-configuration", issuer, cfg, nil, parse)
}

func fetch[S any](address, issuer string, cfg FetchConfig, initial *S, parse func([]byte, string) (S, error)) (*Fetcher[S], error) {
	if cfg.Refresh == 0 {
		cfg.Refresh = DefaultRefresh
	}
	if cfg.MaxStale == 0 {
		cfg.MaxStale = DefaultMaxStale
	}
	if err := cfg.validate(address); err != nil {
		return nil, err
	}
	f := &Fetcher[S]{
		address: address,
		issuer:  issuer,
		cfg:     cfg,
		parse:   parse,
		client: http.Client{
			Transport:     cfg.Transport,
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
	}
	if initial != nil {
		f.keys, f.good = *initial, time.Now()
	}
	f.refresh()
	return f, nil
}

// Close stops fetching. The last keys are still used, up to MaxStale.
func (f *Fetcher[S]) Close() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.closed = true
	if f.next != nil {
		f.next.Stop()
	}
}

// Err returns the error of the last fetch. It is nil if that fetch succeeded, or if no fetch
// has ended yet.
func (f *Fetcher[S]) Err() error {
	f.mu.RLock()
	defer f.mu.RUnlock()
	return f.err
}

// Find calls look with the current keys. If look returns an error, the key may be new: Find
// then may wait for one fetch, which all waiting calls share, and calls look again. If that
// fetch fails, the error is an [ErrUnavailable]. While a fetch is not allowed, the error is a
// [*RetryError].
func (f *Fetcher[S]) Find(ctx context.Context, look func(keys S) error) error {
	err := f.look(look)
	if err == nil {
		return nil
	}
	done, pause := f.refresh()
	if done == nil { // too soon after the last, which may have ended just now
		if err = f.look(look); err != nil {
			err = &RetryError{pause, err}
		}
		return err
	}
	if !f.wait(1) {
		return fmt.Errorf("%w: too many wait for them", ErrUnavailable)
	}
	defer f.wait(-1)
	select {
	case <-done:
		return f.look(look)
	case <-ctx.Done():
		return fmt.Errorf("%w: %w", ErrUnavailable, ctx.Err())
	}
}

// wait adds callers to the number of waiting callers. It reports false if there is no room for one
// more.
func (f *Fetcher[S]) wait(callers int) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if callers > 0 && f.cfg.MaxWaiting > 0 && f.waiting >= f.cfg.MaxWaiting {
		return false
	}
	f.waiting += callers
	return true
}

// look looks for a key in the current keys.
func (f *Fetcher[S]) look(look func(keys S) error) error {
	f.mu.RLock()
	defer f.mu.RUnlock()
	fresh := !f.good.IsZero() && time.Since(f.good) <= f.cfg.MaxStale
	err := ErrUnavailable
	if fresh {
		if err = look(f.keys); err == nil {
			return nil
		}
	}
	if f.err != nil {
		return fmt.Errorf("%w: %w", ErrUnavailable, f.err)
	}
	return err
}

// refresh starts a fetch, unless one is running or the last is too recent. It returns a channel
// that is closed when the running fetch ends. If no fetch is running, it returns nil and how
// long none may start.
func (f *Fetcher[S]) refresh() (done <-chan struct{}, pause time.Duration) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.running != nil {
		return f.running, 0
	}
	pause = fetchPause
	if f.good.IsZero() {
		pause = coldPause
	}
	if pause -= time.Since(f.tried); f.closed || pause > 0 {
		return nil, pause
	}
	f.tried = time.Now()
	f.running = make(chan struct{})
	go f.run(f.running)
	return f.running, 0
}

func (f *Fetcher[S]) run(done chan struct{}) {
	// Without a caller's context, because others wait for the same fetch.
	ctx, cancel := context.WithTimeout(context.Background(), fetchTimeout)
	defer cancel()
	keys, err := f.fetch(ctx)

	f.mu.Lock()
	f.err = err
	due := fetchPause
	if err == nil {
		f.keys, f.good, due = keys, time.Now(), f.cfg.Refresh
	}
	f.running = nil
	if f.next != nil {
		f.next.Stop()
	}
	if !f.closed {
		f.next = time.AfterFunc(due, func() { f.refresh() })
	}
	f.mu.Unlock()
	close(done)

	if err != nil && f.cfg.OnError != nil {
		f.cfg.OnError(err)
	}
}

func (f *Fetcher[S]) fetch(ctx context.Context) (keys S, err error) {
	address := f.address
	if f.issuer != "" {
		if address, err = f.discover(ctx); err != nil {
			return keys, fmt.Errorf("discover keys: %w", err)
		}
	}
	data, err := f.get(ctx, address)
	if err == nil {
		keys, err = f.parse(data, address)
	}
	if err != nil {
		return keys, fmt.Errorf("fetch keys: %w", err)
	}
	return keys, nil
}

// discover returns the address of the issuer's keys.
func (f *Fetcher[S]) discover(ctx context.Context) (string, error) {
	data, err := f.get(ctx, f.address)
	if err != nil {
		return "", err
	}
	document, err := strictjson.Object(data, maxDepth)
	if err != nil {
		return "", err
	}
	if issuer, _ := jws.Text(document, "issuer"); issuer != f.issuer {
		return "", fmt.Errorf("%s is about the issuer %.256q", f.address, issuer)
	}
	address, _ := jws.Text(document, "jwks_uri")
	if err := f.cfg.checkURL(address); err != nil {
		return "", fmt.Errorf("jwks_uri of %s: %w", f.address, err)
	}
	return address, nil
}

func (f *Fetcher[S]) get(ctx context.Context, address string) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Accept", "application/jwk-set+json, application/json")
	req.Header.Set("User-Agent", userAgent())
	res, err := f.client.Do(req)
	if err != nil {
		return nil, err
	}
	defer func() { _ = res.Body.Close() }()
	if res.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s answered %d", address, res.StatusCode)
	}
	return io.ReadAll(io.LimitReader(res.Body, MaxSetBytes+1))
}
