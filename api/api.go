// Package api is usher's HTTP side and nothing but HTTP: it decodes requests,
// asks who is calling and what was granted, and encodes answers. What it needs
// it declares as small interfaces; cmd/usher joins them to Postgres.
package api

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/go-chi/chi/v5"
	"github.com/go-playground/validator/v10"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/cors"

	"github.com/usher-auth/usher/identity"
	"github.com/usher-auth/usher/internal/secret"
	"github.com/usher-auth/usher/session"
)

// Directory says what a token for a caller rests on.
type Directory interface {
	// PrincipalBySession returns [session.ErrSessionUnknown] for a session
	// that is not there, and [session.ErrUnavailable] for a fault.
	PrincipalBySession(ctx context.Context, token secret.Text) (*session.Principal, error)
	// PrincipalByAPIKey returns the key, and the principal of the user that it
	// names in an organization or in none; no principal where user is empty.
	// It returns [session.ErrKeyUnknown], [session.ErrKeyRevoked] or
	// [session.ErrKeyExpired] for a key that is none.
	PrincipalByAPIKey(ctx context.Context, id string, secretHash [sha256.Size]byte, user, organization string) (*session.APIKey, *session.Principal, error)
	// PrincipalByClaims returns the principal of the user of an identity
	// provider's token, or one that is not Known.
	PrincipalByClaims(ctx context.Context, claims *session.UpstreamClaims) (*session.Principal, error)
}

// Audit keeps decisions.
type Audit interface {
	// Record returns nil once the decision is committed. After an error no
	// token may leave.
	Record(ctx context.Context, d *session.Decision) error
}

// Config joins the API to the rest. All fields are required but for those
// that say otherwise.
type Config struct {
	// URL is the public address of the service, whose origin is same-origin.
	URL string
	// Origins are the other origins whose pages may call with the user's
	// cookie, exactly as browsers send them: https://app.example.com. May be
	// empty.
	Origins []string

	Credentials *identity.Reader
	Upstream    *identity.Upstream // nil: no identity provider's token is taken
	Directory   Directory
	Issuer      *session.Issuer
	Keys        *session.Keyring
	Audit       Audit

	// Contract is openapi.yaml, served as it is.
	Contract []byte
	Logger   *slog.Logger
	Registry prometheus.Registerer
	// Now is the clock of what is refused before the database was asked, and
	// of the key set; [time.Now] where nil.
	Now func() time.Time
}

const (
	// answerWithin bounds the work of one request: the database hanging ends
	// in a 503 inside 2 s.
	answerWithin = 1_800 * time.Millisecond
	// maxInFlight bounds the requests that wait for the database. Beyond it,
	// requests are turned away at once instead of queueing up.
	maxInFlight = 1_024
)

// API is the public handler. It is safe for concurrent use.
type API struct {
	cfg      Config
	origins  map[string]bool // of pages that may use the user's cookie
	validate *validator.Validate
	inFlight chan struct{}
	metrics  *metrics
	router   chi.Router
}

// New returns the API, or every fault of the configuration at once.
func New(cfg Config) (*API, error) {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	a := &API{
		cfg:      cfg,
		origins:  map[string]bool{},
		validate: newValidator(),
		inFlight: make(chan struct{}, maxInFlight),
	}
	var faults []error
	own, err := originOf(cfg.URL)
	if err != nil {
		faults = append(faults, fmt.Errorf("URL: %w", err))
	}
	a.origins[own] = true
	for _, origin := range cfg.Origins {
		if exact, err := originOf(origin); err != nil || exact != origin {
			faults = append(faults, fmt.Errorf("origin %q is not scheme://host[:port] in lower case, as browsers send it", origin))
		}
		a.origins[origin] = true
	}
	if cfg.Credentials == nil || cfg.Directory == nil || cfg.Issuer == nil || cfg.Keys == nil || cfg.Audit == nil ||
		cfg.Logger == nil || cfg.Registry == nil || len(cfg.Contract) == 0 {
		faults = append(faults, errors.New("a required field is missing"))
	}
	if err := errors.Join(faults...); err != nil {
		return nil, fmt.Errorf("api: bad config: %w", err)
	}
	if a.cfg.Upstream == nil {
		if a.cfg.Upstream, err = identity.NewUpstream(identity.UpstreamConfig{}); err != nil {
			return nil, err
		}
	}
	a.metrics = newMetrics(cfg.Registry)
	a.router = a.routes()
	return a, nil
}

// originOf returns the origin of an http or https URL, as RFC 6454 section 6.2
// writes it.
func originOf(text string) (string, error) {
	u, err := url.Parse(text)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" || u.User != nil {
		return "", fmt.Errorf("%q is not an http or https URL", text)
	}
	host := strings.ToLower(u.Host)
	if u.Port() == "443" && u.Scheme == "https" || u.Port() == "80" && u.Scheme == "http" {
		host = strings.TrimSuffix(host, ":"+u.Port()) // browsers leave the default port out
	}
	return u.Scheme + "://" + host, nil
}

// ServeHTTP implements [http.Handler].
func (a *API) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if strings.HasPrefix(r.URL.Path, "/v2/") { // Liveblocks' own servers take a slash at the end
		r.URL.Path = strings.TrimSuffix(r.URL.Path, "/")
	}
	a.router.ServeHTTP(w, r)
}

func (a *API) routes() chi.Router {
	r := chi.NewRouter()
	r.NotFound(a.handle("none", func(http.ResponseWriter, *http.Request) error { return errNotFound }))
	r.MethodNotAllowed(a.handle("none", func(http.ResponseWriter, *http.Request) error { return errMethodNotAllowed }))

	r.Group(func(r chi.Router) {
		// Credentials for listed origins only; the preflight ends here.
		r.Use(cors.New(cors.Options{
			AllowOriginFunc:  func(origin string) bool { return a.origins[origin] },
			AllowedMethods:   []string{http.MethodPost},
			AllowedHeaders:   []string{"Content-Type", "Authorization"},
			ExposedHeaders:   []string{"Retry-After", "X-Request-Id"},
			AllowCredentials: true,
			MaxAge:           600,
		}).Handler)
		r.Post("/api/auth", a.handle("/api/auth", a.authorize))
		// For the preflight, which cors answers; other OPTIONS are a 405.
		r.Options("/api/auth", a.handle("/api/auth", func(http.ResponseWriter, *http.Request) error { return errMethodNotAllowed }))
	})
	r.Post("/v2/authorize-user", a.handleAs(writeLiveblocksProblem, "/v2/authorize-user", a.authorizeUser))
	r.Post("/v2/identify-user", a.handleAs(writeLiveblocksProblem, "/v2/identify-user", a.identifyUser))
	r.Get("/.well-known/jwks.json", a.handle("/.well-known/jwks.json", a.keySet))
	r.Get("/openapi.yaml", a.handle("/openapi.yaml", a.contract))
	return r
}

// Routes lists what the API serves, for the test that holds it against the
// contract.
func (a *API) Routes() chi.Routes { return a.router }
