package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/usher-auth/usher/db"
	"github.com/usher-auth/usher/internal/identity"
)

// issuerFlags name the identity providers whose tokens usher takes.
type issuerFlags struct {
	Issuers []string `name:"issuer" env:"USHER_ISSUERS" sep:"\n" placeholder:"\"PRESET NAME=VALUE ...\"" help:"An identity provider whose tokens callers may show, as in \"clerk issuer=https://clerk.example.com azp=https://app.example.com\"; see docs/identity.md. Repeat it for several; in the environment, one a line."`
}

// parse refuses, beside what is wrong with an issuer, one that is usher itself:
// with its tokens anybody could have new ones for ever.
func (f *issuerFlags) parse(ownURL string) ([]identity.ProviderConfig, error) {
	issuers, err := identity.ParseProviders(f.Issuers)
	for i := range issuers {
		if slices.Contains(issuers[i].Issuers, ownURL) {
			err = errors.Join(err, fmt.Errorf("issuer %s: issuer: this is usher's own --url: its tokens are for sync backends, not for usher", ownURL))
		}
	}
	return issuers, err
}

// recordKeyFailuresEvery bounds the audit rows of a provider that is down.
const recordKeyFailuresEvery = time.Hour

// newProviders begins to fetch the issuers' keys. A provider that is down is
// logged, counted, on record, and no reason not to start: nobody else waits for
// it.
func newProviders(ctx context.Context, issuers []identity.ProviderConfig, foreignDirectory bool, database *db.DB, registry prometheus.Registerer, logger *slog.Logger) (*identity.Providers, error) {
	for i := range issuers {
		if c := &issuers[i]; foreignDirectory && (c.OrganizationsClaim != "" || c.GroupsClaim != "") {
			return nil, fmt.Errorf("issuer %s: organizations and groups are for usher's own directory: here the application's says who is in what, leave them out", c.Issuers[0])
		}
	}
	failures := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "usher_upstream_key_failures_total",
		Help: "Fetches of an identity provider's keys that failed. Keys fetched before serve on for a day.",
	}, []string{"issuer"})
	registry.MustRegister(failures)
	for i := range issuers {
		failures.WithLabelValues(issuers[i].Issuers[0]) // 0 is there from the start
	}
	var mu sync.Mutex
	recorded := map[string]time.Time{}
	return identity.NewProviders(identity.ProvidersConfig{
		Providers: issuers,
		OnError: func(issuer string, err error) {
			failures.WithLabelValues(issuer).Inc()
			logger.WarnContext(ctx, "keys of an identity provider could not be fetched", "issuer", issuer, "error", err.Error())
			mu.Lock()
			defer mu.Unlock()
			if time.Since(recorded[issuer]) < recordKeyFailuresEvery {
				return
			}
			if err := database.RecordKeyFailure(ctx, issuer, err.Error()); err != nil {
				logger.WarnContext(ctx, "that is not on record", "issuer", issuer, "error", err.Error())
				return
			}
			recorded[issuer] = time.Now()
		},
	})
}
