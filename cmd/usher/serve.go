package main

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/url"
	"strings"
	"time"

	"github.com/usher-auth/usher/db"
	"github.com/usher-auth/usher/internal/secret"
	"github.com/usher-auth/usher/session"
)

type serveCmd struct {
	databaseFlags
	keyEncryptionFlags
	tokenFlags
	webFlags
	limitFlags
	issuerFlags
	sealFlags
	tlsFlags
	URL       string        `required:"" env:"USHER_URL" placeholder:"URL" help:"The public address, and the iss claim: https://auth.example.com."`
	Listen    string        `env:"USHER_LISTEN" default:"127.0.0.1:8080" help:"Public listener. Give --tls-cert and --tls-key, or put a proxy with TLS in front of it."`
	OpsListen string        `env:"USHER_OPS_LISTEN" default:"127.0.0.1:9090" help:"Listener for /livez, /readyz, /metrics, /debug/pprof and /v1/admin. Never public."`
	Drain     time.Duration `env:"USHER_DRAIN" default:"10s" help:"How long to wait for requests in flight at shutdown."`
}

// keyEncryptionFlags name the key ring that seals private signing keys.
type keyEncryptionFlags struct {
	KeyEncryptionKey     secret.Text `env:"USHER_KEY_ENCRYPTION_KEY" placeholder:"KEYS" help:"Seals the signing keys: openssl rand -base64 32. Several, separated by commas: the first seals, all open."`
	KeyEncryptionKeyFile string      `env:"USHER_KEY_ENCRYPTION_KEY_FILE" placeholder:"FILE" help:"A file that holds it."`
}

func (f *keyEncryptionFlags) encryption() (*session.KeyEncryption, error) {
	text, err := oneSecret("key-encryption-key", f.KeyEncryptionKey, f.KeyEncryptionKeyFile)
	if err != nil {
		return nil, err
	}
	return session.ParseKeyEncryption(text)
}

func (c *serveCmd) Run(ctx context.Context, out *console) error {
	databaseURL, err := c.url()
	if err != nil {
		return err
	}
	encryption, err := c.encryption()
	if err != nil {
		return err
	}
	if err := checkPublicURL(c.URL); err != nil {
		return err
	}
	checkpoints, err := c.openCheckpoints(out.out)
	if err != nil {
		return err
	}
	cfg := serviceConfig{
		databaseURL: databaseURL,
		mode:        db.Production,
		encryption:  encryption,
		url:         c.URL,
		tokens:      c.tokenFlags,
		web:         c.webFlags,
		limits:      c.limitFlags,
		issuers:     c.issuerFlags,
		checkpoints: checkpoints,
		drain:       c.Drain,
		logger:      out.logger,
	}
	if cfg.listen, err = listen(ctx, "listen", c.Listen); err != nil {
		return err
	}
	secured, err := c.tlsFlags.config()
	if err != nil {
		return err
	}
	if secured != nil {
		cfg.listen = tls.NewListener(cfg.listen, secured)
	} else if address, ok := cfg.listen.Addr().(*net.TCPAddr); ok && !address.IP.IsLoopback() {
		out.logger.WarnContext(ctx, "serving in the clear: put a proxy with TLS in front, or give --tls-cert and --tls-key", "listen", address.String())
	}
	if cfg.ops, err = listen(ctx, "ops-listen", c.OpsListen); err != nil {
		return err
	}
	if address, ok := cfg.ops.Addr().(*net.TCPAddr); ok && !address.IP.IsLoopback() {
		out.logger.WarnContext(ctx, "operators are served in the clear, and admin keys pass there: keep this listener to a network that is yours alone", "ops_listen", address.String())
	}
	s, err := newService(ctx, cfg)
	if err != nil {
		return err
	}
	if !strings.HasPrefix(c.SessionCookie, "__Host-") && !strings.HasPrefix(c.SessionCookie, "__Secure-") {
		out.logger.WarnContext(ctx, "the session cookie's name has no __Host- or __Secure- prefix: sibling domains can toss one in", "cookie", c.SessionCookie)
	}
	out.logger.InfoContext(ctx, "serving", "url", c.URL, "listen", cfg.listen.Addr().String(), "ops_listen", cfg.ops.Addr().String())
	return s.run(ctx)
}

// checkPublicURL refuses what cannot be an issuer: it is compared byte by
// byte, and read in the clear it would show tokens on the way.
func checkPublicURL(text string) error {
	u, err := url.Parse(text)
	switch {
	case err != nil || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "":
		return fmt.Errorf("--url %q is not an address like https://auth.example.com", text)
	case strings.HasSuffix(text, "/"):
		return fmt.Errorf("--url %q: leave out the slash at the end, verifiers compare the issuer byte by byte", text)
	case u.Scheme == "https":
		return nil
	case u.Scheme == "http" && isLoopback(u.Hostname()):
		return nil
	}
	return fmt.Errorf("--url %q must be https: tokens would travel in the clear", text)
}

func isLoopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || strings.HasSuffix(host, ".localhost") || ip != nil && ip.IsLoopback()
}

func listen(ctx context.Context, flag, address string) (net.Listener, error) {
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", address)
	if err != nil {
		return nil, fmt.Errorf("--%s %s: %w", flag, address, err)
	}
	return l, nil
}
