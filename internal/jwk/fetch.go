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
	// DefaultRefresh, MinRefresh and MaxRefresh are for [FetchConfig]; an issuer
	// publishes keys MaxRefresh before they sign.
	DefaultRefresh  = 5 * time.Minute
	MinRefresh      = 30 * time.Second
	MaxRefresh      = 10 * time.Minute
	DefaultMaxStale = 24 * time.Hour

	fetchTimeout = 5 * time.Second
	// fetchPause is the least time between two fetches, so that tokens with
	// made-up kids cannot make a verifier flood the issuer.
	fetchPause = 30 * time.Second
	// coldPause is the same while there are no keys at all, as when issuer and
	// verifier start together.
	coldPause = time.Second
)

var (
	// ErrUnknown is the answer to a token whose key is not in the set.
	ErrUnknown = errors.New("unknown key")
	// ErrUnavailable says that a [Fetcher] cannot tell: a fault to try again
	// later, which says nothing about the token.
	ErrUnavailable = errors.New("keys are unavailable")
)

// A FetchConfig is for [Fetch].
type FetchConfig struct {
	// Refresh is how often the keys are fetched (default: 5m), from 30 s to 10
	// minutes. A key that the issuer withdraws is gone after that.
	Refresh time.Duration
	// MaxStale is how long the keys of the last good fetch serve while no fetch
	// succeeds (default: 24h); at least Refresh.
	MaxStale time.Duration
	// Transport makes the requests.
	Transport http.RoundTripper
	// AllowHTTP allows http to other hosts than this one.
	AllowHTTP bool
	// MaxWaiting bounds the callers that wait for a fetch at one time; those
	// beyond get [ErrUnavailable] at once. No bound where zero.
	MaxWaiting int
	// OnError is told of each fetch that failed; it may be nil.
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

// A Fetcher fetches a set of keys again and again, in the background: a fetch
// never delays a key that is known. S is what a set is parsed to. It is safe for
// concurrent use.
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

// userAgent says who fetches: some firewalls block Go's default.
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

// A RetryError is an [ErrUnknown] or an [ErrUnavailable] that stands until the
// next fetch, which cannot begin before After. Where keys may come into use as
// soon as they are published, take both as a fault.
type RetryError struct {
	After time.Duration
	Err   error
}

func (e *RetryError) Error() string { return e.Err.Error() }
func (e *RetryError) Unwrap() error { return e.Err }

// Fetch returns the keys at an https URL, or every fault of the configuration
// at once; http is for this host alone. The first fetch begins at once; nothing
// waits for it but the first tokens. Until it is good, initial serves where it is
// not nil. Close it after use.
//
// A fetch takes at most 5 s and 256 KiB, follows no redirect, and is good only
// with status 200 and where parse returns no error. The next is due after
// Refresh, or after 30 s where it failed; an unknown key may bring it forward,
// to 30 s after the last at the soonest. While fetches fail, the keys of the
// last good one stay, up to MaxStale.
func Fetch[S any](address string, cfg FetchConfig, initial *S, parse func(data []byte, address string) (S, error)) (*Fetcher[S], error) {
	return fetch(address, "", cfg, initial, parse)
}

// FetchFromIssuer is [Fetch] for an OpenID provider, whose discovery document
// (OpenID Connect Discovery 1.0, section 4) says where its keys are. A document
// that names another issuer, in one byte, is a failed fetch.
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

// Close stops fetching. The keys at hand serve on, up to MaxStale.
func (f *Fetcher[S]) Close() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.closed = true
	if f.next != nil {
		f.next.Stop()
	}
}

// Err returns the error of the last fetch, nil where it was good or none has
// ended yet.
func (f *Fetcher[S]) Err() error {
	f.mu.RLock()
	defer f.mu.RUnlock()
	return f.err
}

// Find calls look with the keys at hand. Where look returns an error, the key
// may be a new one: Find may wait for one fetch, together with all others that
// wait, and calls look again. Where that fetch fails the error is an
// [ErrUnavailable]. While it may not fetch, the error is a [*RetryError].
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

// wait counts one caller who waits, or who waits no longer, unless there is no
// room for one more.
func (f *Fetcher[S]) wait(callers int) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if callers > 0 && f.cfg.MaxWaiting > 0 && f.waiting >= f.cfg.MaxWaiting {
		return false
	}
	f.waiting += callers
	return true
}

// look looks at the keys at hand.
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

// refresh starts a fetch, unless one is running or the last is too recent. It
// returns the end of the one that is running; nil where none is, and how long
// none may begin.
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
	// Of no caller's context: others wait for the same fetch.
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
