package session

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/usher-auth/usher/internal/jwk"
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
	// OnError is told of each fetch that failed, for a log and a metric; it
	// may be nil.
	OnError func(error)
}

// URLKeys is a [KeySource] that fetches a JWK Set again and again, in the
// background: a fetch never delays a key that is known. It is safe for
// concurrent use.
type URLKeys struct{ fetcher *jwk.Fetcher[KeySet] }

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
	if cfg.Transport == nil {
		cfg.Transport = &http.Transport{
			Proxy:                  http.ProxyFromEnvironment,
			DisableKeepAlives:      true, // by the next fetch it would be closed anyway
			ForceAttemptHTTP2:      true,
			MaxResponseHeaderBytes: 64 << 10,
		}
	}
	fetch := jwk.FetchConfig{
		Refresh: cfg.Refresh, MaxStale: cfg.MaxStale, Transport: cfg.Transport, AllowHTTP: cfg.AllowHTTP,
	}
	if cfg.OnError != nil {
		fetch.OnError = func(err error) { cfg.OnError(prefixed(err)) }
	}
	var initial *KeySet
	if cfg.Initial.Len() > 0 {
		initial = &cfg.Initial
	}
	fetcher, err := jwk.Fetch(address, fetch, initial, parseAnyKeys)
	if err != nil {
		return nil, fmt.Errorf("session: bad key URL: %w", err)
	}
	return &URLKeys{fetcher}, nil
}

// parseAnyKeys reads a JWK Set that must have a key.
func parseAnyKeys(data []byte, address string) (KeySet, error) {
	keys, err := parseJWKS(data)
	if err == nil && keys.Len() == 0 {
		err = fmt.Errorf("no usable key at %s", address)
	}
	return keys, err
}

// prefixed names the package in an error of a fetch.
func prefixed(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("session: %w", err)
}

// Close stops fetching. The keys at hand serve on, up to MaxStale.
func (u *URLKeys) Close() { u.fetcher.Close() }

// Err returns the error of the last fetch, nil where it was good or none has
// ended yet.
func (u *URLKeys) Err() error { return prefixed(u.fetcher.Err()) }

// Key implements [KeySource]. For a kid that it does not know it may wait for
// one fetch, together with all others that wait. Where that fails it returns
// [ErrKeysUnavailable]: the key may be a new one.
func (u *URLKeys) Key(ctx context.Context, kid string) (key JWK, err error) {
	err = u.fetcher.Find(ctx, func(keys KeySet) error {
		key, err = keys.Key(ctx, kid)
		return err
	})
	if errors.Is(err, jwk.ErrUnavailable) {
		err = fmt.Errorf("%w: %w", ErrKeysUnavailable, err)
	}
	return key, err
}
