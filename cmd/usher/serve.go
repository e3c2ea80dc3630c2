package main

import (
	"context"
	"crypto/tls"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/usher-auth/usher/db"
	"github.com/usher-auth/usher/internal/loopback"
	"github.com/usher-auth/usher/internal/service"
)

type serveCmd struct {
	serviceFlags
	keyEncryptionFlags
	tlsFlags
	URL            string        `required:"" env:"USHER_URL" placeholder:"URL" help:"Public address and iss claim, for example https://auth.example.com."`
	Listen         string        `env:"USHER_LISTEN" default:"127.0.0.1:8080" help:"Public listener. Give --tls-cert and --tls-key, or put a proxy with TLS in front."`
	OpsListen      string        `env:"USHER_OPS_LISTEN" default:"127.0.0.1:9090" help:"Listener for /livez, /readyz, /metrics, /debug/pprof and /v1/admin. Keep it private."`
	DrainDelay     time.Duration `env:"USHER_DRAIN_DELAY" default:"3s" help:"Time at shutdown in which /readyz already fails and usher still serves. Make it longer than the load balancer's interval of health checks."`
	Drain          time.Duration `env:"USHER_DRAIN" default:"10s" help:"Maximum time that shutdown then waits for requests in flight."`
	AcceptRollback int64         `env:"USHER_ACCEPT_ROLLBACK" placeholder:"ROWS" help:"Seal the audit again after the database lost sealed rows. Use the number in the log message."`
}

func (c *serveCmd) Run(ctx context.Context, out *console) error {
	// usher continues if the reader of the log stalls or goes away.
	signal.Ignore(syscall.SIGPIPE)
	log := service.NewLogWriter(out.err)
	defer log.Close(time.Second)
	logger := slog.New(slog.NewJSONHandler(log, nil))
	warnOfUnknownVariables(ctx, logger)
	if err := checkPublicURL(c.URL); err != nil {
		return err
	}
	cfg, err := c.serviceConfig(c.URL)
	if err != nil {
		return err
	}
	cfg.Mode, cfg.Drain, cfg.DrainDelay, cfg.Logger, cfg.Version = db.Production, c.Drain, c.DrainDelay, logger, readBuild().Version
	cfg.AcceptRollback = c.AcceptRollback
	cfg.Metrics = append(cfg.Metrics, log)
	if cfg.DatabaseURL, err = c.url(); err != nil {
		return err
	}
	if cfg.KeyEncryption, err = c.encryption(); err != nil {
		return err
	}
	stdout := service.NewLogWriter(out.out)
	defer stdout.Close(time.Second)
	if cfg.Checkpoints, cfg.LastCheckpoint, err = c.openCheckpoints(stdout); err != nil {
		return err
	}
	if cfg.Public, err = listen(ctx, "listen", c.Listen); err != nil {
		return err
	}
	secured, certificate, err := c.tlsFlags.config()
	if err != nil {
		return err
	}
	if secured != nil {
		cfg.Public = tls.NewListener(cfg.Public, secured)
		cfg.Metrics = append(cfg.Metrics, certificate.expiry())
	} else if address, ok := cfg.Public.Addr().(*net.TCPAddr); ok && !address.IP.IsLoopback() {
		logger.WarnContext(ctx, "serving without TLS: put a proxy with TLS in front, or give --tls-cert and --tls-key", "listen", address.String())
	}
	if cfg.Ops, err = listen(ctx, "ops-listen", c.OpsListen); err != nil {
		return err
	}
	if address, ok := cfg.Ops.Addr().(*net.TCPAddr); ok && !address.IP.IsLoopback() {
		logger.WarnContext(ctx, "the operators' listener has no TLS, and admin keys are sent to it: keep it on a private network", "ops_listen", address.String())
	}
	s, err := service.New(ctx, cfg)
	if err != nil && ctx.Err() != nil {
		return nil // a signal came while it waited for the database
	}
	if err != nil {
		return err
	}
	if !strings.HasPrefix(c.SessionCookie, "__Host-") && !strings.HasPrefix(c.SessionCookie, "__Secure-") {
		logger.WarnContext(ctx, "the session cookie's name has no __Host- or __Secure- prefix: sibling domains can set it", "cookie", c.SessionCookie)
	}
	for _, k := range c.sharedKinds() {
		logger.WarnContext(ctx, "several audiences take the same kind: a request that names no audience gets a token for the first", "kind", k.kind, "chosen", k.audiences[0], "others", k.audiences[1:])
	}
	logger.InfoContext(ctx, "serving", "url", c.URL, "listen", cfg.Public.Addr().String(), "ops_listen", cfg.Ops.Addr().String())
	if err := s.Run(ctx); err != nil {
		logger.ErrorContext(ctx, "ended with an error", "error", err.Error())
		return errSaid
	}
	return nil
}

// checkPublicURL refuses URLs that cannot be an issuer. Verifiers compare it byte by
// byte, and without TLS others could read the tokens.
func checkPublicURL(text string) error {
	u, err := url.Parse(text)
	switch {
	case err != nil || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "":
		return fmt.Errorf("--url %q is not a valid address: write it as https://auth.example.com", text)
	case strings.HasSuffix(text, "/"):
		return fmt.Errorf("--url %q: leave out the slash at the end, because verifiers compare the issuer byte by byte", text)
	case u.Scheme == "https":
		return nil
	case u.Scheme == "http" && loopback.IsHost(u.Hostname()):
		return nil
	}
	return fmt.Errorf("--url %q must start with https: others could read the tokens otherwise", text)
}

func listen(ctx context.Context, flag, address string) (net.Listener, error) {
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", address)
	if err != nil {
		return nil, fmt.Errorf("--%s %s: %w", flag, address, err)
	}
	return l, nil
}
