// Package client requests tokens from usher. It is for other backends, which have an API
// key:
//
//	c, err := client.New(client.Config{URL: "https://auth.example.com", APIKey: os.Getenv("USHER_API_KEY")})
//	...
//	token, err := c.TokenFor(ctx, "ada", permissions.Room("acme:design:1"))
//
// This is the token that the user would get themselves, based on usher's grants. A backend
// that decides itself what its user may open says so in the request, as with Liveblocks'
// SDK:
//
//	token, err := c.PrepareSession("ada").Allow("acme:*", permissions.Full).Authorize(ctx)
//
// The package does not store tokens: they are short-lived, so request a new one each time.
// A backend that must issue tokens without the network uses the issuer of package session,
// with its own key.
package client

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/usher-auth/usher/internal/loopback"
	"github.com/usher-auth/usher/internal/secret"
	"github.com/usher-auth/usher/permissions"
)

// Config is the configuration of a [Client].
type Config struct {
	// URL is the public address of usher. It must use https, unless it is on this host.
	// Required.
	URL string
	// APIKey is the secret that `usher apikey create` printed: sk_… . Required. A Client
	// never prints it, but printing a Config shows it.
	APIKey string
	// Transport makes the requests if it is not nil, for example with your own
	// certificate authority.
	Transport http.RoundTripper
	// AllowHTTP allows http to other hosts. Anyone who can read the traffic to them then
	// has the key.
	AllowHTTP bool
}

// validate returns the parsed URL, or every fault at once.
func (cfg *Config) validate() (*url.URL, error) {
	var faults []error
	u, err := url.Parse(cfg.URL)
	switch {
	case err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http":
		faults = append(faults, errors.New("URL is not an absolute https URL"))
	case u.User != nil || u.RawQuery != "" || u.Fragment != "":
		faults = append(faults, errors.New("URL has a password, a query or a fragment"))
	case u.Scheme == "http" && !cfg.AllowHTTP && !loopback.IsHost(u.Hostname()):
		faults = append(faults, errors.New("URL is http to another host"))
	}
	const letters = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz_-"
	if !strings.HasPrefix(cfg.APIKey, "sk_") || strings.Trim(cfg.APIKey, letters) != "" {
		faults = append(faults, errors.New("APIKey is not a secret key, which begins with sk_ and has only letters, digits, _ and -"))
	}
	return u, errors.Join(faults...)
}

// A Client requests tokens from one usher with one key. It is safe for concurrent use. It
// keeps connections open, so create one and use it as long as the process runs.
//
// A call ends when its context ends, or after 10 s if the context has no deadline. It tries
// up to three times, but only if no token can have been issued: if it could not connect,
// and after a 429 or a 503, when Retry-After allows it. It follows no redirects.
//
// There are four kinds of errors: [ErrInvalid], [ErrUnauthorized], [ErrForbidden] and
// [ErrUnavailable]. An error has no kind if the context was canceled, or if the answer is
// not from usher, for example a redirect or a 404. Every answer without a token is an
// [*Error].
type Client struct {
	base *url.URL
	key  secret.Text
	http http.Client
}

// New returns a client, or every fault of the configuration at once. It makes no request:
// the first call shows whether the key is good.
func New(cfg Config) (*Client, error) {
	base, err := cfg.validate()
	if err != nil {
		return nil, fmt.Errorf("client: bad config: %w", err)
	}
	if cfg.Transport == nil {
		cfg.Transport = &http.Transport{
			Proxy:                  http.ProxyFromEnvironment,
			ForceAttemptHTTP2:      true,
			IdleConnTimeout:        90 * time.Second,
			MaxIdleConnsPerHost:    64, // there is only one host
			MaxResponseHeaderBytes: 64 << 10,
		}
	}
	return &Client{
		base: base,
		key:  secret.New(cfg.APIKey),
		http: http.Client{
			Transport: cfg.Transport,
			// A redirect would send the key to another address.
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
	}, nil
}

// A Token is a token that usher issued.
type Token struct {
	// Text is the token, JWS compact. It prints as "[redacted]", also in JSON. Call
	// Reveal to send it to its user.
	Text secret.Text
	// ExpiresAt is the token's exp claim.
	ExpiresAt time.Time
	// Partial reports that the user may open more than the token holds. A request that
	// names an id gets a token that includes this id.
	Partial bool
}

// TokenFor requests the token that a user would get for a room or a store. It is
// [Client.Token] for the usual case.
func (c *Client) TokenFor(ctx context.Context, userID string, what permissions.Resource) (Token, error) {
	// Checked here, because an empty id would request everything that the user may open.
	if err := permissions.CheckID(what.Kind, what.ID); err != nil {
		return Token{}, invalid(err)
	}
	r := Request{UserID: userID, Room: what.ID}
	if what.Kind == permissions.StoreKind {
		r.Room, r.Store = "", what.ID
	}
	return c.Token(ctx, r)
}

// A Request says which user's token is requested, and for what. Only UserID is required.
// Without a room and a store, the token is for everything that the user may open.
type Request struct {
	UserID       string `json:"userId"`
	Organization string `json:"organizationId,omitempty"` // the user must be a member; limits the token to what they may open as one
	Room         string `json:"room,omitempty"`
	Store        string `json:"store,omitempty"`
	Audience     string `json:"audience,omitempty"` // the sync backend (default: the first that accepts the room or store)
}

// Token requests the token that a user would get, based on usher's grants. It returns
// [ErrForbidden] if no grant covers the request, if the user is unknown or disabled, or if
// the token would be outside of the key's scope.
func (c *Client) Token(ctx context.Context, r Request) (Token, error) {
	if err := checkTexts(r.UserID, r.Organization, r.Room, r.Store, r.Audience); err != nil {
		return Token{}, invalid(err)
	}
	return c.post(ctx, "api/auth", r)
}

// checkTexts refuses text that is not UTF-8. encoding/json would replace parts of it, and
// it would then name someone else.
func checkTexts(texts ...string) error {
	for _, text := range texts {
		if !utf8.ValidString(text) {
			return fmt.Errorf("%.64q is not valid UTF-8", text)
		}
	}
	return nil
}

func encode(v any) ([]byte, error) {
	var b strings.Builder
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false) // escapes would make the info longer, and usher limits its length
	err := e.Encode(v)
	return []byte(b.String()), err
}
