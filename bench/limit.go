package main

import (
	"context"
	"log/slog"
	"net/url"
	"os"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/usher-auth/usher"
	"github.com/usher-auth/usher/api"
	"github.com/usher-auth/usher/audit"
	"github.com/usher-auth/usher/db"
	"github.com/usher-auth/usher/internal/identity"
	"github.com/usher-auth/usher/internal/principal"
	"github.com/usher-auth/usher/internal/secret"
	"github.com/usher-auth/usher/internal/service"
	"github.com/usher-auth/usher/session"
)

// limitCommand makes this program serve the limit instead of measuring.
const limitCommand = "limit"

// rememberedUser is a directory with one user, who was read from the database once. It is
// used only for sessions.
type rememberedUser struct {
	api.Directory
	principal *principal.Principal
}

func (u rememberedUser) PrincipalBySession(context.Context, secret.Text) (*principal.Principal, error) {
	p := *u.principal
	p.At = time.Now()
	return &p, nil
}

type noAudit struct{}

func (noAudit) Record(context.Context, *audit.Decision) error { return nil }

// serveLimit serves usher as if Postgres took no time: the same handler, with one user in
// memory and no audit.
func serveLimit(ctx context.Context) error {
	address, err := url.Parse(os.Getenv("BENCH_URL"))
	if err != nil {
		return err
	}
	user, err := rememberUser(ctx, os.Getenv("BENCH_DATABASE_URL"), os.Getenv("BENCH_COOKIE"))
	if err != nil {
		return err
	}
	key, err := session.GenerateKey(session.EdDSA, session.KeyTimes{})
	if err != nil {
		return err
	}
	keys := session.NewKeyring(key)
	issuer, err := session.NewIssuer(session.IssuerConfig{Issuer: address.String(), Keys: keys})
	if err != nil {
		return err
	}
	credentials, err := identity.NewReader(identity.Config{Cookie: "usher_session"})
	if err != nil {
		return err
	}
	logger := slog.New(slog.NewJSONHandler(os.Stderr, nil))
	handler, err := api.New(api.Config{
		URL:         address.String(),
		Credentials: credentials,
		Directory:   user,
		Issuer:      issuer,
		Keys:        keys,
		Audit:       noAudit{},
		Contract:    usher.OpenAPI,
		Logger:      logger,
		Registry:    prometheus.NewRegistry(),
	})
	if err != nil {
		return err
	}
	// Like usher serve.
	service.RelaxGC()
	s := service.NewServer(handler, logger)
	s.Addr = address.Host
	go func() {
		<-ctx.Done()
		_ = s.Close()
	}()
	return s.ListenAndServe()
}

func rememberUser(ctx context.Context, databaseURL, cookie string) (rememberedUser, error) {
	database, err := db.Open(secret.New(databaseURL))
	if err != nil {
		return rememberedUser{}, err
	}
	defer database.Close()
	directory, err := database.Directory(ctx)
	if err != nil {
		return rememberedUser{}, err
	}
	principal, err := directory.PrincipalBySession(ctx, secret.New(cookie))
	return rememberedUser{principal: principal}, err
}
