package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"os"
	"runtime/debug"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"github.com/usher-auth/usher"
	"github.com/usher-auth/usher/api"
	"github.com/usher-auth/usher/db"
	"github.com/usher-auth/usher/internal/identity"
	"github.com/usher-auth/usher/internal/secret"
	"github.com/usher-auth/usher/session"
)

// tokenFlags say what is written into tokens.
type tokenFlags struct {
	Project    string        `env:"USHER_PROJECT" default:"usher" help:"The pid claim."`
	Audiences  string        `env:"USHER_AUDIENCES" default:"liveblocks=rooms,livestore=stores" help:"The sync backends and what each may get: rooms, stores or rooms+stores."`
	TokenTTL   time.Duration `name:"token-ttl" env:"USHER_TOKEN_TTL" default:"5m" help:"Life of a token, 1m to 1h."`
	SigningAlg string        `env:"USHER_SIGNING_ALG" default:"EdDSA" enum:"EdDSA,ES256" help:"EdDSA, or ES256 for verifiers without Ed25519."`
}

// issuer makes an issuer of what the flags say.
func (f *tokenFlags) issuer(url string, keys *session.Keyring) (*session.Issuer, error) {
	audiences, err := session.ParseAudiences(f.Audiences)
	if err != nil {
		return nil, err
	}
	return session.NewIssuer(session.IssuerConfig{
		Issuer: url, Keys: keys, Algorithm: f.SigningAlg, Project: f.Project, Audiences: audiences, TTL: f.TokenTTL,
	})
}

// webFlags say who may call.
type webFlags struct {
	SessionCookie string   `env:"USHER_SESSION_COOKIE" default:"usher_session" help:"Name of the session cookie; it may come with the prefix __Secure- or __Host-, too."`
	Origins       []string `env:"USHER_ORIGINS" help:"Other origins whose pages may call with the user's cookie, for example https://app.example.com."`

	cookieSecretFlags

	TokenCookieDomain string `env:"USHER_TOKEN_COOKIE_DOMAIN" placeholder:"DOMAIN" help:"Parent domain of usher's host and the sync backend's, for mode=cookie where they differ: example.com."`

	TrustedProxies          []string `env:"USHER_TRUSTED_PROXIES" placeholder:"CIDR,..." help:"Addresses and networks of the proxies in front: their headers are believed."`
	ProxyUserHeader         string   `env:"USHER_PROXY_USER_HEADER" placeholder:"NAME" help:"Header in which a trusted proxy names the user whom it signed in, such as X-Auth-Request-User."`
	ProxyOrganizationHeader string   `env:"USHER_PROXY_ORGANIZATION_HEADER" placeholder:"NAME" help:"Header in which it names the user's active organization."`
	ProxyAddressHeader      string   `env:"USHER_PROXY_ADDRESS_HEADER" default:"X-Forwarded-For" enum:"X-Forwarded-For,Forwarded" help:"Header to which the trusted proxies append their client's address, for the audit: X-Forwarded-For or Forwarded."`
}

func (f *webFlags) credentials(cookieSecrets []secret.Text) (*identity.Reader, error) {
	return identity.NewReader(identity.Config{
		Cookie:        f.SessionCookie,
		CookieSecrets: cookieSecrets,
		Proxy: identity.ProxyConfig{
			Trusted:            f.TrustedProxies,
			UserHeader:         f.ProxyUserHeader,
			OrganizationHeader: f.ProxyOrganizationHeader,
			AddressHeader:      f.ProxyAddressHeader,
		},
	})
}

// limitFlags say how much is too much. Each usher process counts for itself.
type limitFlags struct {
	RateLimit         int            `env:"USHER_RATE_LIMIT" default:"600" placeholder:"N" help:"Requests a minute that one session may make, all at once or spread (${default}); 0 is no limit. Each usher process counts for itself: with N of them, a caller has up to N times as much."`
	RateLimitAPIKey   int            `name:"rate-limit-api-key" env:"USHER_RATE_LIMIT_API_KEY" default:"60000" placeholder:"N" help:"The same of one API key (${default})."`
	RateLimitFailures int            `env:"USHER_RATE_LIMIT_FAILURES" default:"120" placeholder:"N" help:"Requests a minute from one address, or one IPv6 /56, that are refused before it is known who calls (${default}). Beyond it, only credentials pass that were good when last seen."`
	RateLimitProxies  []netip.Prefix `env:"USHER_RATE_LIMIT_PROXIES" default:"${proxies}" placeholder:"CIDR" help:"Addresses that stand for many callers, which the limit of failures is not for, beside the trusted proxies: loopback and private ones unless given."`
}

// privateAddresses are where a proxy in front of usher stands.
const privateAddresses = "127.0.0.0/8,::1/128,10.0.0.0/8,172.16.0.0/12,192.168.0.0/16,fc00::/7"

func (f *limitFlags) limits() api.Limits {
	return api.Limits{Session: f.RateLimit, APIKey: f.RateLimitAPIKey, Failures: f.RateLimitFailures, Proxies: f.RateLimitProxies}
}

// serviceConfig is what serve and dev run alike.
type serviceConfig struct {
	databaseURL secret.Text
	mode        db.Mode
	encryption  *session.KeyEncryption
	url         string // public, and the iss claim
	tokens      tokenFlags
	web         webFlags
	limits      limitFlags
	issuers     issuerFlags
	checkpoints io.Writer // nil: in the database alone
	listen      net.Listener
	ops         net.Listener
	drain       time.Duration
	logger      *slog.Logger
}

// service is usher, running.
type service struct {
	db        *db.DB
	adminDB   *db.DB // a pool of its own: no auditor's query takes a connection that issuing waits for
	auditLog  *db.AuditLog
	providers *identity.Providers
	floods    *db.FloodLog
	sealer    *db.Sealer
	stray     prometheus.Gauge
	public    *http.Server
	ops       *http.Server
	opsAPI    *api.Ops
	cfg       serviceConfig
}

// newService joins the parts. It refuses what is unsafe, with a sentence.
func newService(ctx context.Context, cfg serviceConfig) (*service, error) {
	cookieSecrets, err := cfg.web.cookieSecrets()
	if err != nil {
		return nil, err
	}
	credentials, err := cfg.web.credentials(cookieSecrets)
	if err != nil {
		return nil, err
	}
	issuers, err := cfg.issuers.parse(cfg.url)
	if err != nil {
		return nil, err
	}
	database, err := db.Open(cfg.databaseURL)
	if err != nil {
		return nil, err
	}
	adminDB, err := db.Open(cfg.databaseURL)
	if err != nil {
		database.Close()
		return nil, err
	}
	s := &service{db: database, adminDB: adminDB, cfg: cfg}
	started := false
	defer func() {
		if !started {
			_ = s.close(ctx) // err says why
		}
	}()
	if err := checkDeployment(ctx, database, cfg.mode); err != nil {
		return nil, err
	}
	if err := checkDirectory(ctx, database, cookieSecrets); err != nil {
		return nil, err
	}
	directory, err := database.Directory(ctx)
	if err != nil {
		return nil, err
	}
	keys, unusable, err := database.SigningKeys(ctx, cfg.encryption)
	if err != nil {
		return nil, err
	}
	for _, err := range unusable {
		cfg.logger.ErrorContext(ctx, "signing key cannot be used", "error", err.Error())
	}
	keyring := session.NewKeyring(keys...)
	if _, err := keyring.Signing(cfg.tokens.SigningAlg, time.Now()); err != nil {
		return nil, fmt.Errorf("%w for %s: make one with usher key create --alg %[2]s", err, cfg.tokens.SigningAlg)
	}
	issuer, err := cfg.tokens.issuer(cfg.url, keyring)
	if err != nil {
		return nil, err
	}
	registry := prometheus.NewRegistry()
	registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	if s.sealer, err = database.Sealer(ctx, cfg.encryption, cfg.checkpoints, registry); errors.Is(err, session.ErrUnavailable) {
		return nil, err
	} else if err != nil {
		cfg.logger.ErrorContext(ctx, "the audit is kept but not sealed: a change to it would leave no trace", "error", err.Error())
	}
	if s.providers, err = newProviders(ctx, issuers, directory.Foreign(), adminDB, registry, cfg.logger); err != nil {
		return nil, err
	}
	s.stray = prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "usher_audit_default_partition_rows",
		Help: "Rows of the audit, up to 10,001, whose month had no partition. Above 0, partitions were not made or a clock is wrong.",
	})
	registry.MustRegister(s.stray)
	s.auditLog = database.AuditLog(replicaName(), registry)
	s.floods = s.auditLog.Floods(registry)
	public, err := api.New(api.Config{
		URL:               cfg.url,
		Origins:           cfg.web.Origins,
		TokenCookieDomain: cfg.web.TokenCookieDomain,
		Credentials:       credentials,
		Providers:         s.providers,
		Directory:         directory,
		Issuer:            issuer,
		Keys:              keyring,
		Audit:             s.floods,
		Limits:            cfg.limits.limits(),
		Contract:          usher.OpenAPI,
		Logger:            cfg.logger,
		Registry:          registry,
	})
	if err != nil {
		return nil, err
	}
	adminAPI, err := newAdmin(ctx, public, adminDB)
	if err != nil {
		return nil, err
	}
	s.opsAPI = api.NewOps(registry, adminAPI, func(ctx context.Context) error {
		if _, err := keyring.Signing(cfg.tokens.SigningAlg, time.Now()); err != nil {
			return err
		}
		_, err := database.Ping(ctx)
		return err
	})
	s.public, s.ops = httpServer(public, cfg.logger), httpServer(s.opsAPI, cfg.logger)
	started = true
	return s, nil
}

// close ends what there is: what waits for the audit is written, then sealed.
func (s *service) close(ctx context.Context) (err error) {
	if s.providers != nil {
		s.providers.Close()
	}
	if s.floods != nil {
		err = s.floods.Close()
	}
	if s.auditLog != nil {
		s.auditLog.Close()
	}
	if s.sealer != nil {
		s.sealLast(ctx)
	}
	s.adminDB.Close()
	s.db.Close()
	return err
}

// newAdmin joins the admin API to its own pool.
func newAdmin(ctx context.Context, public *api.API, store *db.DB) (*api.Admin, error) {
	deployment, err := store.Deployment(ctx)
	if err != nil {
		return nil, err
	}
	cursorKey, err := deployment.Key("cursors of the admin API")
	if err != nil {
		return nil, err
	}
	users, err := store.Directory(ctx)
	if err != nil {
		return nil, err
	}
	return public.Admin(store, users, cursorKey)
}

// checkDeployment refuses a database that is not this program's, or on which
// usher's promises would not hold.
func checkDeployment(ctx context.Context, database *db.DB, mode db.Mode) error {
	d, err := database.Deployment(ctx)
	if err != nil {
		return err
	}
	if d.Mode != mode {
		return &db.WrongModeError{Got: d.Mode, Want: mode}
	}
	if err := checkDatabase(d); err != nil {
		return err
	}
	if d.MayRewriteAudit {
		return errors.New("the database role may change audit rows: serve with a role that is a member of usher_service alone, not with the owner")
	}
	return nil
}

// checkDatabase refuses a database to which nobody should issue.
func checkDatabase(d db.Deployment) error {
	switch {
	case d.SchemaVersion < db.SchemaVersion():
		return fmt.Errorf("the database has schema version %d and this usher needs %d: run usher migrate up", d.SchemaVersion, db.SchemaVersion())
	case d.LosesCommits:
		return errors.New("the database may lose acknowledged commits (synchronous_commit or fsync is off), and a token would then have no audit row: turn them on")
	}
	return nil
}

// httpServer bounds what a client can hold open.
func httpServer(h http.Handler, logger *slog.Logger) *http.Server {
	return &http.Server{
		Handler:           h,
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       10 * time.Second,
		WriteTimeout:      15 * time.Second,
		IdleTimeout:       time.Minute,
		MaxHeaderBytes:    32 << 10,
		ErrorLog:          slog.NewLogLogger(logger.Handler(), slog.LevelWarn),
	}
}

// relaxGC trades memory for time: usher's live heap is some 10 MB, so that
// collecting it at five times its size, rather than at twice, costs 30 MB and
// saves a tenth of the CPU. Who sets GOGC or GOMEMLIMIT knows better.
func relaxGC() {
	if os.Getenv("GOGC") == "" && os.Getenv("GOMEMLIMIT") == "" {
		debug.SetGCPercent(400)
	}
}

// run serves until ctx ends, then drains: readiness fails first, requests in
// flight are answered, and what the audit waits for is written.
func (s *service) run(ctx context.Context) error {
	relaxGC()
	failed := make(chan error, 2)
	go func() { failed <- s.public.Serve(s.cfg.listen) }()
	go func() { failed <- s.ops.Serve(s.cfg.ops) }()
	background, stop := context.WithCancel(ctx)
	defer stop()
	go s.watch(background)
	var sealing sync.WaitGroup
	sealing.Go(func() { s.seal(background) })

	var err error
	select {
	case <-ctx.Done():
	case err = <-failed:
	}
	s.cfg.logger.InfoContext(ctx, "draining", "at_most", s.cfg.drain.String())
	s.opsAPI.Drain()
	ending, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.cfg.drain)
	defer cancel()
	if shutdownErr := s.public.Shutdown(ending); shutdownErr != nil {
		err = errors.Join(err, fmt.Errorf("requests were cut off after %s: %w", s.cfg.drain, shutdownErr))
		_ = s.public.Close()
	}
	if s.ops.Shutdown(ending) != nil { // a profile that is being taken
		_ = s.ops.Close()
	}
	stop()
	sealing.Wait()
	return errors.Join(err, s.close(ctx))
}

// watch looks after what time breaks: the clock, the audit's partitions, the
// grants of users whom the application has deleted, and answers that were kept
// long enough.
func (s *service) watch(ctx context.Context) {
	const every, toleratedSkew = time.Minute, 5 * time.Second
	for tick := time.NewTicker(every); ; {
		if ahead, err := s.db.Ping(ctx); err == nil && ahead.Abs() > toleratedSkew {
			s.cfg.logger.WarnContext(ctx, "this machine's clock and the database's differ", "database_ahead", ahead.String())
		}
		if p, err := s.db.MakePartitions(ctx); err != nil && ctx.Err() == nil {
			s.cfg.logger.ErrorContext(ctx, "audit partitions could not be made", "error", err.Error())
		} else {
			s.stray.Set(float64(p.InDefault))
			if p.InDefault > 0 {
				s.cfg.logger.ErrorContext(ctx, "audit rows came whose month had no partition", "rows", p.InDefault)
			}
			if p.Made > 0 {
				s.cfg.logger.InfoContext(ctx, "audit partitions made", "count", p.Made)
			}
		}
		s.sweep(ctx)
		if err := s.adminDB.ForgetAnswers(ctx); err != nil && ctx.Err() == nil {
			s.cfg.logger.ErrorContext(ctx, "old answers could not be forgotten", "error", err.Error())
		}
		select {
		case <-ctx.Done():
			tick.Stop()
			return
		case <-tick.C:
		}
	}
}

// replicaName names this process in its audit rows.
func replicaName() string {
	host, err := os.Hostname()
	if err != nil {
		host = "unknown"
	}
	return fmt.Sprintf("%s/%d", host, os.Getpid())
}
