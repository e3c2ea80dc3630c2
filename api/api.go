// Package api is usher's HTTP side, and only that: it decodes requests, asks who is
// calling and what was granted, and encodes answers. It declares what it needs as
// small interfaces; package service connects them to Postgres.
package api

import (
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"strings"
	"time"

	"github.com/go-chi/chi/v5"
	"github.com/go-playground/validator/v10"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/usher-auth/usher/audit"
	"github.com/usher-auth/usher/internal/identity"
	"github.com/usher-auth/usher/internal/principal"
	"github.com/usher-auth/usher/internal/secret"
	"github.com/usher-auth/usher/session"
)

// Directory looks up callers and what their tokens are based on.
type Directory interface {
	UserDirectory // for users that a proxy names
	// PrincipalBySession returns [principal.ErrSessionUnknown] if the session does
	// not exist, and [principal.ErrUnavailable] for a fault.
	PrincipalBySession(ctx context.Context, token secret.Text) (*principal.Principal, error)
	// PrincipalByAPIKey returns the key, and the principal of the user in the
	// organization. organization may be empty. If user is empty, the principal is
	// nil. The error is [principal.ErrAPIKeyUnknown], [principal.ErrAPIKeyRevoked]
	// or [principal.ErrAPIKeyExpired] if the key is not valid.
	PrincipalByAPIKey(ctx context.Context, id string, secretHash [sha256.Size]byte, user, organization string) (*principal.APIKey, *principal.Principal, error)
	// PrincipalByClaims returns the principal of the user that an identity provider's
	// token names. If the directory does not list the user, it is not Known.
	PrincipalByClaims(ctx context.Context, claims *principal.ProviderClaims) (*principal.Principal, error)
}

// Audit records decisions.
type Audit interface {
	// Record returns nil once the decision is committed. After an error, the token
	// must not be sent.
	Record(ctx context.Context, d *audit.Decision) error
}

// Config connects the API to the other parts. Every field is required unless its
// comment says otherwise.
type Config struct {
	// URL is the public address of the service. Pages of its origin may always call.
	URL string
	// Origins are the other origins whose pages may call with the user's cookie,
	// such as https://app.example.com, or capacitor://localhost for an app. May be
	// empty.
	Origins []string
	// TokenCookieDomain is the domain of the cookie of mode=cookie, such as
	// example.com: a parent domain of this service and of a sync backend on another
	// host. If it is empty, browsers send the cookie to this host only.
	TokenCookieDomain string

	Credentials *identity.Reader
	Providers   *identity.Providers // nil: no identity provider's token is accepted
	Directory   Directory
	Issuer      *session.Issuer
	Keys        *session.Keyring
	Audit       Audit
	// Limits are the rate limits (default: no limits).
	Limits Limits

	// Contract is openapi.yaml, served unchanged.
	Contract []byte
	Logger   *slog.Logger
	Registry prometheus.Registerer
	// Now is the clock for the key set and for requests that are refused before the
	// database is asked (default: [time.Now]).
	Now func() time.Time
}

const (
	// answerWithin bounds the work of one request: if the database hangs, the answer
	// is a 503 within 2 s.
	answerWithin = 1_800 * time.Millisecond
	// maxInFlight is the default of [Limits.InFlight].
	maxInFlight = 1_024
)

// The public paths.
const (
	authPath          = "/api/auth"
	liveblocksPrefix  = "/v2/"
	authorizeUserPath = liveblocksPrefix + "authorize-user"
	identifyUserPath  = liveblocksPrefix + "identify-user"
	keySetPath        = "/.well-known/jwks.json"
	contractPath      = "/openapi.yaml"
)

// API is the public handler. It is safe for concurrent use.
type API struct {
	cfg      Config
	origins  map[string]bool     // whose pages may use the user's cookie
	headers  map[string][]string // set on every response
	validate *validator.Validate
	slots    *slots
	limiter  *limiter
	refusals logSampler
	logger   *slog.Logger // adds the request's id to each line
	metrics  *metrics
	router   chi.Router
}

// New returns the API, or every fault of the configuration at once.
func New(cfg Config) (*API, error) {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	inFlight := cmp.Or(cfg.Limits.InFlight, maxInFlight)
	a := &API{
		cfg:      cfg,
		origins:  map[string]bool{},
		headers:  maps.Clone(commonHeaders),
		validate: newValidator(),
		slots:    newSlots(inFlight, max(inFlight/4, 1)),
		limiter:  newLimiter(cfg.Limits),
	}
	var faults []error
	own, err := originOf(cfg.URL)
	if err != nil {
		faults = append(faults, fmt.Errorf("URL: %w", err))
	}
	a.origins[own] = true
	if strings.HasPrefix(own, "https:") {
		a.headers["Strict-Transport-Security"] = []string{"max-age=31536000"}
	}
	if cfg.TokenCookieDomain != "" {
		if err := checkCookieDomain(cfg.TokenCookieDomain, cfg.URL); err != nil {
			faults = append(faults, err)
		}
	}
	for _, origin := range cfg.Origins {
		exact, err := listedOrigin(origin)
		if err != nil {
			faults = append(faults, err)
			continue
		}
		a.origins[exact] = true
	}
	for _, field := range []struct {
		name  string
		there bool
	}{
		{"Credentials", cfg.Credentials != nil},
		{"Directory", cfg.Directory != nil},
		{"Issuer", cfg.Issuer != nil},
		{"Keys", cfg.Keys != nil},
		{"Audit", cfg.Audit != nil},
		{"Contract", len(cfg.Contract) > 0},
		{"Logger", cfg.Logger != nil},
		{"Registry", cfg.Registry != nil},
	} {
		if !field.there {
			faults = append(faults, fmt.Errorf("required field %s is missing", field.name))
		}
	}
	if min(cfg.Limits.Session, cfg.Limits.APIKey, cfg.Limits.Failures, cfg.Limits.InFlight) < 0 {
		faults = append(faults, errors.New("a limit is negative; 0 means no limit"))
	}
	if err := errors.Join(faults...); err != nil {
		return nil, fmt.Errorf("api: bad config: %w", err)
	}
	if a.cfg.Providers == nil {
		if a.cfg.Providers, err = identity.NewProviders(identity.ProvidersConfig{}); err != nil {
			return nil, err
		}
	}
	a.logger = slog.New(logHandler{cfg.Logger.Handler()})
	a.metrics = newMetrics(cfg.Registry)
	a.router = a.routes()
	return a, nil
}

// ServeHTTP implements [http.Handler].
func (a *API) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	// Liveblocks' own servers accept a trailing slash, and some frontends send one.
	if strings.HasPrefix(r.URL.Path, liveblocksPrefix) || r.URL.Path == authPath+"/" {
		r.URL.Path = strings.TrimSuffix(r.URL.Path, "/")
	}
	a.router.ServeHTTP(w, r)
}

func (a *API) routes() chi.Router {
	r := chi.NewRouter()
	r.Use(a.cors())
	r.NotFound(a.inShapeOfPath(func(http.ResponseWriter, *http.Request) error { return errNotFound }))
	r.MethodNotAllowed(a.inShapeOfPath(a.methodNotAllowed))

	r.Post(authPath, a.handle(authPath, a.authorize))
	r.Delete(authPath, a.handle(authPath, a.forget))
	r.Options(authPath, a.handle(authPath, a.preflight))
	r.Post(authorizeUserPath, a.handleAs(writeLiveblocksProblem, authorizeUserPath, a.authorizeUser))
	r.Post(identifyUserPath, a.handleAs(writeLiveblocksProblem, identifyUserPath, a.identifyUser))
	getOrHead(r, keySetPath, a.handle(keySetPath, a.keySet))
	getOrHead(r, contractPath, a.handle(contractPath, a.contract))
	return r
}

// getOrHead serves GET and HEAD. For HEAD, net/http sends the answer without its body.
func getOrHead(r chi.Router, path string, serve http.HandlerFunc) {
	r.Get(path, serve)
	r.Head(path, serve)
}

// inShapeOfPath answers with an error in the shape that callers of the path expect:
// Liveblocks' shape below /v2, usher's elsewhere.
func (a *API) inShapeOfPath(serve func(http.ResponseWriter, *http.Request) error) http.HandlerFunc {
	ours, liveblocks := a.handle("none", serve), a.handleAs(writeLiveblocksProblem, "none", serve)
	return func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.URL.Path, liveblocksPrefix) {
			liveblocks(w, r)
			return
		}
		ours(w, r)
	}
}

// Routes lists the routes of the API, for the test that compares them with the
// contract.
func (a *API) Routes() chi.Routes { return a.router }
