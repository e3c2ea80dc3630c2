// Package client asks usher for tokens, from another backend with an API key:
//
//	c, err := client.New(client.Config{URL: "https://auth.example.com", APIKey: os.Getenv("USHER_API_KEY")})
//	...
//	token, err := c.TokenFor(ctx, "ada", permissions.Room("acme:design:1"))
//
// That is the token which this user would get: usher knows the grants. Where
// the backend itself knows what a user may open, it says so, as with
// Liveblocks' SDK:
//
//	token, err := c.PrepareSession("ada").Allow("acme:*", permissions.Full).Authorize(ctx)
//
// The package keeps no token: each is short-lived and to be asked for anew. A
// backend that must issue without a network hop uses the issuer of package
// session, with a key of its own.
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

// Config is for [New].
type Config struct {
	// URL is the public address of usher, over https; http is for this host
	// alone. Required.
	URL string
	// APIKey is the secret that `usher apikey create` showed: sk_… . Required.
	// The client keeps it where it does not print; a Config does print it.
	APIKey string
	// Transport makes the requests where it is not nil: for a certificate
	// authority of one's own.
	Transport http.RoundTripper
	// AllowHTTP allows http to other hosts than this one. Who can listen
	// between them then has the key.
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
		faults = append(faults, errors.New("APIKey is not a secret key, which begins with sk_ and has letters, digits, _ and - alone"))
	}
	return u, errors.Join(faults...)
}

// A Client asks one usher with one key. It is safe for concurrent use, and
// meant to live as long as the process: it keeps connections open.
//
// Each call takes as long as its context lets it, and 10 s where the context
// has no deadline. A call tries up to three times, and only while no token can
// have been issued: where no connection came about, and after a 429 or a 503,
// as late as Retry-After says. It follows no redirect.
//
// Errors are of four kinds: [ErrInvalid], [ErrUnauthorized], [ErrForbidden] and
// [ErrUnavailable]. They are of none where the context was canceled, and where
// what answered is not usher, as with a redirect or a 404. All answers that are
// no token are [*Error].
type Client struct {
	base *url.URL
	key  secret.Text
	http http.Client
}

// New returns a client, or every fault of the configuration at once. It makes
// no request: whether the key is good, the first call says.
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
			MaxIdleConnsPerHost:    64, // there is but one host
			MaxResponseHeaderBytes: 64 << 10,
		}
	}
	return &Client{
		base: base,
		key:  secret.New(cfg.APIKey),
		http: http.Client{
			Transport: cfg.Transport,
			// A redirect would take the key along.
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
	}, nil
}

// A Token is what usher issued.
type Token struct {
	// Text is the token, JWS compact. It prints as "[redacted]", also in JSON:
	// call Reveal where it goes to its user.
	Text secret.Text
	// ExpiresAt is the token's exp claim.
	ExpiresAt time.Time
	// Partial says that the user has more than the token holds. Asked again
	// with an id named, usher puts that first.
	Partial bool
}

// TokenFor asks for the token that a user would get for a room or a store. It
// is [Client.Token] for the usual case.
func (c *Client) TokenFor(ctx context.Context, userID string, what permissions.Resource) (Token, error) {
	// Here, because an empty id would ask for all that the user has.
	if err := permissions.CheckID(what.Kind, what.ID); err != nil {
		return Token{}, invalid(err)
	}
	r := Request{UserID: userID, Room: what.ID}
	if what.Kind == permissions.StoreKind {
		r.Room, r.Store = "", what.ID
	}
	return c.Token(ctx, r)
}

// A Request says whose token is asked for, and for what. Only UserID is
// required; without room and store it is for all that the user has.
type Request struct {
	UserID       string `json:"userId"`
	Organization string `json:"organizationId,omitempty"` // the user must be a member; confines the token to what the user has as one
	Room         string `json:"room,omitempty"`
	Store        string `json:"store,omitempty"`
	Audience     string `json:"audience,omitempty"` // the sync backend; empty, the first that takes what is asked for
}

// Token asks for the token that a user would get, computed from the grants that
// usher has. It returns [ErrForbidden] where no grant covers the request, for a
// user who is unknown or disabled, and for what is outside of the key's scope.
func (c *Client) Token(ctx context.Context, r Request) (Token, error) {
	if err := checkTexts(r.UserID, r.Organization, r.Room, r.Store, r.Audience); err != nil {
		return Token{}, invalid(err)
	}
	return c.post(ctx, "api/auth", r)
}

// checkTexts keeps JSON from replacing what is not UTF-8: that would name
// somebody else.
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
	e.SetEscapeHTML(false) // usher counts what info takes
	err := e.Encode(v)
	return []byte(b.String()), err
}
