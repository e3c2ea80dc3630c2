package session

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/usher-auth/usher/internal/jwk"
)

// URLKeysConfig is the configuration of [KeysFromURL]. The zero URLKeysConfig is usable.
type URLKeysConfig struct {
	// Refresh is the time between two fetches, from 30 s to 10 minutes (default: 5m). A
	// key that the issuer removes is no longer accepted after this time.
	Refresh time.Duration
	// MaxStale is how long the keys of the last successful fetch are used while fetches
	// fail (default: 24h). It must be at least Refresh.
	MaxStale time.Duration
	// Initial keys, for example from a file, are used until the first successful fetch.
	Initial KeySet
	// Transport makes the requests if it is not nil, for example with your own
	// certificate authority.
	Transport http.RoundTripper
	// AllowHTTP allows http to other hosts. Anyone who can change the traffic to them
	// can then forge tokens.
	AllowHTTP bool
	// OnError is called for each failed fetch, for a log and a metric. It may be nil.
	OnError func(error)
}

// URLKeys is a [KeySource] that fetches a JWK Set periodically, in the background. A fetch
// never delays a token whose key is known. It is safe for concurrent use.
type URLKeys struct{ fetcher *jwk.Fetcher[KeySet] }

// KeysFromURL returns the keys at an https URL, or every fault of the configuration at
// once. http is allowed only for this host. The first fetch starts immediately, and only
// the first tokens wait for it. Close the URLKeys after use.
//
// A fetch may take 5 s and return 256 KiB, and follows no redirects. It succeeds if the
// status is 200 and [ParseJWKS] finds a key. The next fetch starts after Refresh, or 30 s
// after a failure. An unknown kid can start it earlier, but not within 30 s of the last
// one. While fetches fail, the keys of the last successful one are used, up to MaxStale.
func KeysFromURL(address string, cfg URLKeysConfig) (*URLKeys, error) {
	if cfg.Transport == nil {
		cfg.Transport = &http.Transport{
			Proxy:                  http.ProxyFromEnvironment,
			DisableKeepAlives:      true, // the connection would be closed before the next fetch anyway
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

// parseAnyKeys reads a JWK Set, which must have a key.
func parseAnyKeys(data []byte, address string) (KeySet, error) {
	keys, err := parseJWKS(data)
	if err == nil && keys.Len() == 0 {
		err = fmt.Errorf("no usable key at %s", address)
	}
	return keys, err
}

// prefixed adds the package's name to an error of a fetch.
func prefixed(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("session: %w", err)
}

// Close stops fetching. The last keys are still used, up to MaxStale.
func (u *URLKeys) Close() { u.fetcher.Close() }

// Err returns the error of the last fetch. It is nil if that fetch succeeded, or if no
// fetch has ended yet.
func (u *URLKeys) Err() error { return prefixed(u.fetcher.Err()) }

// Key implements [KeySource]. For an unknown kid, it may wait for one fetch, which all
// waiting calls share. If that fetch fails, it returns [ErrKeysUnavailable], because the
// key may be new.
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
