package service

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/usher-auth/usher/db"
	"github.com/usher-auth/usher/internal/identity"
)

// recordKeyFailuresEvery limits the audit rows for a provider that is down.
const recordKeyFailuresEvery = time.Hour

// newProviders starts fetching the providers' keys. A provider that is down is logged,
// counted and recorded. usher starts anyway, because nothing else waits for the provider.
func newProviders(ctx context.Context, issuers []identity.ProviderConfig, foreignDirectory bool, database *db.DB, registry prometheus.Registerer, logger *slog.Logger) (*identity.Providers, error) {
	for i := range issuers {
		if c := &issuers[i]; foreignDirectory && (c.OrganizationsClaim != "" || c.GroupsClaim != "") {
			return nil, fmt.Errorf("issuer %s: organizations and groups are for usher's own directory, but an application's directory is in use: leave them out", c.Issuers[0])
		}
	}
	failures := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "usher_provider_key_failures_total",
		Help: "Failed fetches of an identity provider's keys. Keys that were fetched before are used for one more day.",
	}, []string{"issuer"})
	registry.MustRegister(failures)
	for i := range issuers {
		failures.WithLabelValues(issuers[i].Issuers[0]) // so that the metric exists with 0 from the start
		for _, warning := range issuers[i].Warnings() {
			logger.WarnContext(ctx, "an identity provider's configuration has a risk", "issuer", issuers[i].Issuers[0], "risk", warning)
		}
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
				logger.WarnContext(ctx, "a failed fetch of keys could not be recorded", "issuer", issuer, "error", err.Error())
				return
			}
			recorded[issuer] = time.Now()
		},
	})
}
