package jwk_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/usher-auth/usher/internal/jwk"
)

const (
	keyURL  = "https://id.test/jwks"
	goodSet = `{"keys":[{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo","kid":"a"}]}`
)

// documents answers by URL. A URL without a document is not found, and "hang" waits until its
// request ends.
type documents map[string]string

func (d documents) RoundTrip(r *http.Request) (*http.Response, error) {
	body, ok := d[r.URL.String()]
	if body == "hang" {
		<-r.Context().Done()
		return nil, r.Context().Err()
	}
	status := http.StatusOK
	if !ok {
		status = http.StatusNotFound
	}
	return &http.Response{StatusCode: status, Body: io.NopCloser(strings.NewReader(body)), Request: r}, nil
}

func parse(data []byte, _ string) (jwk.Set, error) {
	set, err := jwk.Own.ParseSet(data)
	if err == nil && len(set.Keys) == 0 {
		err = errors.New(set.Reasons())
	}
	return set, err
}

// look asks for a key by its kid.
func look(ctx context.Context, keys *jwk.Fetcher[jwk.Set], kid string) error {
	return keys.Find(ctx, func(set jwk.Set) error {
		for _, k := range set.Keys {
			if k.ID == kid {
				return nil
			}
		}
		return jwk.ErrUnknown
	})
}

// closing stops fetching at the end of a test in a synctest bubble.
func closing(t *testing.T, keys *jwk.Fetcher[jwk.Set], err error) *jwk.Fetcher[jwk.Set] {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		keys.Close()
		synctest.Wait()
	})
	return keys
}

// While no fetch may start, the error for an unknown key says when one may.
func TestFetcherRetry(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		served := documents{keyURL: goodSet}
		keys, err := jwk.Fetch(keyURL, jwk.FetchConfig{Transport: served}, nil, parse)
		keys = closing(t, keys, err)
		if err := look(t.Context(), keys, "a"); err != nil {
			t.Fatal(err)
		}
		retry := func(kind error, after time.Duration) {
			t.Helper()
			err := look(t.Context(), keys, "b")
			got, ok := errors.AsType[*jwk.RetryError](err)
			if !ok || !errors.Is(err, kind) || got.After != after {
				t.Errorf("got %#v, want %v after %s", err, kind, after)
			}
		}
		retry(jwk.ErrUnknown, 30*time.Second)
		time.Sleep(21 * time.Second)
		retry(jwk.ErrUnknown, 9*time.Second)
		time.Sleep(9 * time.Second)
		err = look(t.Context(), keys, "b") // a fetch of its own shows that there is no such key
		if _, ok := errors.AsType[*jwk.RetryError](err); ok || !errors.Is(err, jwk.ErrUnknown) {
			t.Errorf("after a fetch: got %#v, want %v", err, jwk.ErrUnknown)
		}
		delete(served, keyURL)
		time.Sleep(30 * time.Second)
		if err := look(t.Context(), keys, "b"); !errors.Is(err, jwk.ErrUnavailable) {
			t.Errorf("got %v, want %v", err, jwk.ErrUnavailable)
		}
		retry(jwk.ErrUnavailable, 30*time.Second)
	})
}

// Only a limited number of callers wait for a fetch that hangs.
func TestFetcherMaxWaiting(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		hanging := documents{keyURL: "hang"}
		keys, err := jwk.Fetch(keyURL, jwk.FetchConfig{Transport: hanging, MaxWaiting: 3}, nil, parse)
		keys = closing(t, keys, err)
		var wg sync.WaitGroup
		var atOnce atomic.Int32
		for range 10 {
			wg.Go(func() {
				start := time.Now()
				if err := look(context.Background(), keys, "a"); !errors.Is(err, jwk.ErrUnavailable) {
					t.Errorf("got %v, want %v", err, jwk.ErrUnavailable)
				} else if time.Since(start) == 0 {
					atOnce.Add(1)
				}
			})
		}
		wg.Wait()
		if got := atOnce.Load(); got != 7 {
			t.Errorf("%d of 10 were told at once, want 7", got)
		}
		if _, err := jwk.Fetch(keyURL, jwk.FetchConfig{Transport: hanging, MaxWaiting: -1}, nil, parse); err == nil {
			t.Error("MaxWaiting -1 was accepted")
		}
	})
}

func TestFetchFromIssuer(t *testing.T) {
	t.Parallel()
	const discovery = "https://id.test/.well-known/openid-configuration"
	for name, test := range map[string]struct {
		issuer, document string
		want             error
	}{
		"good":                    {"https://id.test", `{"issuer":"https://id.test","jwks_uri":"https://keys.test/jwks"}`, nil},
		"with a slash":            {"https://id.test/", `{"issuer":"https://id.test/","jwks_uri":"https://keys.test/jwks"}`, nil},
		"of one without a slash":  {"https://id.test/", `{"issuer":"https://id.test","jwks_uri":"https://keys.test/jwks"}`, jwk.ErrUnavailable},
		"of another":              {"https://id.test", `{"issuer":"https://evil.test","jwks_uri":"https://keys.test/jwks"}`, jwk.ErrUnavailable},
		"of nobody":               {"https://id.test", `{"jwks_uri":"https://keys.test/jwks"}`, jwk.ErrUnavailable},
		"with keys without TLS":   {"https://id.test", `{"issuer":"https://id.test","jwks_uri":"http://keys.test/jwks"}`, jwk.ErrUnavailable},
		"with keys in a file":     {"https://id.test", `{"issuer":"https://id.test","jwks_uri":"file:///etc/passwd"}`, jwk.ErrUnavailable},
		"without keys":            {"https://id.test", `{"issuer":"https://id.test"}`, jwk.ErrUnavailable},
		"with keys at no address": {"https://id.test", `{"issuer":"https://id.test","jwks_uri":"https://keys.test/none"}`, jwk.ErrUnavailable},
		"HTML":                    {"https://id.test", `<!doctype html>`, jwk.ErrUnavailable},
		"of two":                  {"https://id.test", `{"issuer":"https://evil.test","issuer":"https://id.test","jwks_uri":"https://keys.test/jwks"}`, jwk.ErrUnavailable},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				served := documents{discovery: test.document, "https://keys.test/jwks": goodSet, "http://keys.test/jwks": goodSet}
				keys, err := jwk.FetchFromIssuer(test.issuer, jwk.FetchConfig{Transport: served}, parse)
				keys = closing(t, keys, err)
				if err := look(t.Context(), keys, "a"); !errors.Is(err, test.want) {
					t.Errorf("got %v, want %v", err, test.want)
				}
			})
		})
	}
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// Some firewalls block Go's default name, so each request names usher, also the one for the
// discovery document.
func TestUserAgent(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		served := documents{
			"https://id.test/.well-known/openid-configuration": `{"issuer":"https://id.test","jwks_uri":"` + keyURL + `"}`,
			keyURL: goodSet,
		}
		agents := make(chan string, 2)
		keys, err := jwk.FetchFromIssuer("https://id.test", jwk.FetchConfig{Transport: roundTripper(func(r *http.Request) (*http.Response, error) {
			agents <- r.UserAgent()
			return served.RoundTrip(r)
		})}, parse)
		closing(t, keys, err)
		for range 2 {
			if got := <-agents; !regexp.MustCompile(`^usher/[0-9a-z.+-]+ \(\+https://github\.com/usher-auth/usher\)$`).MatchString(got) {
				t.Errorf("User-Agent = %q", got)
			}
		}
	})
}
