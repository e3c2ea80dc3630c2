// Package service runs usher: it connects the parts, checks that usher's promises hold with
// the database, serves, watches the clock, the audit and the keys, and drains at shutdown.
package service

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"github.com/usher-auth/usher"
	"github.com/usher-auth/usher/api"
	"github.com/usher-auth/usher/db"
	"github.com/usher-auth/usher/internal/identity"
	"github.com/usher-auth/usher/internal/keyencryption"
	"github.com/usher-auth/usher/internal/principal"
	"github.com/usher-auth/usher/internal/secret"
	"github.com/usher-auth/usher/session"
)

// Config is the configuration of a [Service].
type Config struct {
	DatabaseURL   secret.Text
	Mode          db.Mode // the required mode of the database
	KeyEncryption *keyencryption.Ring

	// Issuer says how to issue tokens. Its Keys are replaced by those of the database.
	Issuer session.IssuerConfig

	Credentials       identity.Config
	Providers         []identity.ProviderConfig
	Origins           []string
	TokenCookieDomain string
	Limits            api.Limits

	Checkpoints    io.Writer // where checkpoints are written in addition to the database; nil: only the database
	LastCheckpoint string    // the last one that was written there; empty: none
	AcceptRollback int64     // see db.SealerConfig

	// Public and Ops are the listeners. Run closes them.
	Public, Ops net.Listener
	// DrainDelay is the time at shutdown in which /readyz already fails and usher still
	// serves, so that load balancers notice.
	DrainDelay time.Duration
	// Drain is the maximum time for requests in flight after that.
	Drain  time.Duration
	Logger *slog.Logger

	Version string                 // for the metrics
	Metrics []prometheus.Collector // of parts that the caller created
}

// Service is usher, ready to run.
type Service struct {
	cfg       Config
	db        *db.DB
	adminDB   *db.DB // a separate pool, so that an auditor's query never uses a connection that issuing needs
	auditLog  *db.AuditLog
	floods    *db.FloodLog
	providers *identity.Providers
	sealer    *db.Sealer
	stray     prometheus.Gauge
	public    *front
	ops       *front
	opsAPI    *api.Ops
	failed    chan error // why a server ended
}

// New connects the parts. If a setting or the database is unsafe, it returns an error that
// says what to change.
// While the database is away, New waits, and the listeners answer that
// usher is not ready.
func New(ctx context.Context, cfg Config) (*Service, error) {
	credentials, err := identity.NewReader(cfg.Credentials)
	if err != nil {
		return nil, err
	}
	database, err := db.OpenServing(cfg.DatabaseURL)
	if err != nil {
		return nil, err
	}
	adminDB, err := db.OpenAdmin(cfg.DatabaseURL)
	if err != nil {
		database.Close()
		return nil, err
	}
	s := &Service{db: database, adminDB: adminDB, cfg: cfg, failed: make(chan error, 2)}
	s.public, s.ops = newFront(cfg.Public, cfg.Logger), newFront(cfg.Ops, cfg.Logger)
	started := false
	defer func() {
		if !started {
			_ = s.public.server.Close()
			_ = s.ops.server.Close()
			_ = s.close(ctx) // err has the reason
		}
	}()
	registry := prometheus.NewRegistry()
	publicLimit, opsLimit := connectionLimits(maxFiles())
	shared := slices.Concat(credentials.TrustedProxies(), cfg.Limits.Proxies)
	s.public.server.ConnState = newConnections("public", publicLimit, shared, registry).track
	s.ops.server.ConnState = newConnections("ops", opsLimit, shared, registry).track
	deployment, err := s.awaitDatabase(ctx, registry)
	if err != nil {
		return nil, err
	}
	if err := checkDeployment(&deployment, cfg.Mode, len(cfg.Credentials.CookieSecrets) > 0); err != nil {
		return nil, err
	}
	directory, err := database.Directory(ctx)
	if err != nil {
		return nil, err
	}
	keys, unusable, err := database.SigningKeys(ctx, cfg.KeyEncryption)
	if err != nil {
		return nil, err
	}
	for _, err := range unusable {
		cfg.Logger.ErrorContext(ctx, "signing key cannot be used", "error", err.Error())
	}
	keyring := session.NewKeyring(keys...)
	cfg.Issuer.Keys, cfg.Issuer.Algorithm = keyring, cmp.Or(cfg.Issuer.Algorithm, session.EdDSA)
	issuer, err := session.NewIssuer(cfg.Issuer)
	if err != nil {
		return nil, err
	}
	if _, err := keyring.Signing(cfg.Issuer.Algorithm, time.Now()); err != nil {
		if len(unusable) > 0 {
			return nil, fmt.Errorf("none of the key encryption keys decrypts the signing keys (%w): set the one that encrypted them with --key-encryption-key, in addition to the new one if there is one", unusable[0])
		}
		return nil, fmt.Errorf("%w for %s: create one with usher key create --alg %[2]s", err, cfg.Issuer.Algorithm)
	}
	registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
		&state{cfg.Version, cfg.Issuer.Algorithm, keyring, map[string]*db.DB{"issuing": database, "admin": adminDB}})
	registry.MustRegister(cfg.Metrics...)
	if s.sealer, err = database.NewSealer(ctx, db.SealerConfig{
		Encryption: cfg.KeyEncryption, Out: cfg.Checkpoints, Last: cfg.LastCheckpoint, AcceptRollback: cfg.AcceptRollback, Registry: registry,
	}); errors.Is(err, principal.ErrUnavailable) {
		return nil, err
	} else if err != nil {
		cfg.Logger.ErrorContext(ctx, "the audit is kept but not sealed: changes to it would not be detected", "error", err.Error())
	}
	if s.providers, err = newProviders(ctx, cfg.Providers, directory.Foreign(), adminDB, registry, cfg.Logger); err != nil {
		return nil, err
	}
	s.stray = prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "usher_audit_default_partition_rows",
		Help: "Audit rows, up to 10,001, whose month had no partition. Above 0, partitions were not created or a clock is wrong.",
	})
	registry.MustRegister(s.stray)
	s.auditLog = database.StartAuditLog(db.AuditLogConfig{Replica: ReplicaName(), Registry: registry})
	s.floods = db.StartFloodLog(db.FloodLogConfig{Log: s.auditLog, Registry: registry})
	public, err := api.New(api.Config{
		URL:               cfg.Issuer.Issuer,
		Origins:           cfg.Origins,
		TokenCookieDomain: cfg.TokenCookieDomain,
		Credentials:       credentials,
		Providers:         s.providers,
		Directory:         directory,
		Issuer:            issuer,
		Keys:              keyring,
		Audit:             s.floods,
		Limits:            cfg.Limits,
		Contract:          usher.OpenAPI,
		Logger:            cfg.Logger,
		Registry:          registry,
	})
	if err != nil {
		return nil, err
	}
	adminAPI, err := newAdmin(ctx, public, adminDB)
	if err != nil {
		return nil, err
	}
	ready := &readiness{keyring: keyring, algorithm: cfg.Issuer.Algorithm, directory: directory, db: database, sealer: s.sealer}
	s.opsAPI = api.NewOps(registry, adminAPI, ready.check)
	s.public.answerWith(public)
	s.ops.answerWith(s.opsAPI)
	started = true
	return s, nil
}

// close stops the parts that were started. Waiting audit rows are written and then sealed.
func (s *Service) close(ctx context.Context) (err error) {
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

// newAdmin connects the admin API to its own pool.
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

// Run serves until ctx ends, and then drains: readiness fails first, requests are accepted
// until load balancers have noticed, requests in flight are answered, and waiting audit
// rows are written.
func (s *Service) Run(ctx context.Context) error {
	RelaxGC()
	s.public.serve(s.failed)
	s.ops.serve(s.failed)
	background, stop := context.WithCancel(ctx)
	defer stop()
	go s.watch(background)
	var sealing sync.WaitGroup
	sealing.Go(func() { s.seal(background) })

	var err error
	select {
	case <-ctx.Done():
	case err = <-s.failed:
	}
	s.cfg.Logger.InfoContext(ctx, "draining", "at_most", (s.cfg.DrainDelay + s.cfg.Drain).String())
	s.opsAPI.Drain()
	s.public.closing.Store(true)
	if err == nil {
		select {
		case <-time.After(s.cfg.DrainDelay):
		case err = <-s.failed:
		}
	}
	ending, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.cfg.Drain)
	defer cancel()
	if shutdownErr := s.public.server.Shutdown(ending); shutdownErr != nil {
		err = errors.Join(err, fmt.Errorf("requests were cut off after %s: %w", s.cfg.Drain, shutdownErr))
		_ = s.public.server.Close()
	}
	if s.ops.server.Shutdown(ending) != nil { // for example, a profile is still running
		_ = s.ops.server.Close()
	}
	stop()
	sealing.Wait()
	return errors.Join(err, s.close(ctx))
}

// ReplicaName returns the name of this process in audit rows.
func ReplicaName() string {
	host, err := os.Hostname()
	if err != nil {
		host = "unknown"
	}
	return fmt.Sprintf("%s/%d", host, os.Getpid())
}
