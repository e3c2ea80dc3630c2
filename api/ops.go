package api

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/pprof"
	"sync/atomic"

	"github.com/go-chi/chi/v5"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// errDraining makes the service unready before it stops listening.
var errDraining = errors.New("api: shutting down")

// Ops is the handler of the second listener, for machines and operators:
// /livez, /readyz, /metrics, /debug/pprof and the admin API. It must never be
// public.
type Ops struct {
	router   chi.Router
	draining atomic.Bool
}

// NewOps returns the handler. ready returns an error if no token can be issued now. Its
// text is shown to the caller.
func NewOps(registry *prometheus.Registry, admin *Admin, ready func(context.Context) error) *Ops {
	o := &Ops{router: chi.NewRouter()}
	r := o.router
	getOrHead(r, "/livez", func(w http.ResponseWriter, _ *http.Request) {
		writeJSON(w, http.StatusOK, []byte(`{"status":"ok"}`))
	})
	getOrHead(r, "/readyz", func(w http.ResponseWriter, r *http.Request) {
		err := ready(r.Context())
		if o.draining.Load() {
			err = errDraining
		}
		if err == nil {
			writeJSON(w, http.StatusOK, []byte(`{"status":"ok"}`))
			return
		}
		body, _ := json.Marshal(map[string]string{"status": "unavailable", "reason": err.Error()})
		w.Header().Set("Retry-After", "1")
		writeJSON(w, http.StatusServiceUnavailable, body)
	})
	r.Mount(adminPrefix, admin.router)
	getOrHead(r, "/metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{Registry: registry}).ServeHTTP)
	// Without cmdline, which would show a database URL that is given as a flag.
	r.HandleFunc("/debug/pprof/*", pprof.Index)
	r.HandleFunc("/debug/pprof/profile", pprof.Profile)
	r.HandleFunc("/debug/pprof/symbol", pprof.Symbol)
	r.HandleFunc("/debug/pprof/trace", pprof.Trace)
	return o
}

// Drain makes /readyz fail, so that load balancers stop sending requests.
func (o *Ops) Drain() { o.draining.Store(true) }

// Routes lists the routes of the second listener, for the test that compares them with
// the contract.
func (o *Ops) Routes() chi.Routes { return o.router }

// ServeHTTP implements [http.Handler].
func (o *Ops) ServeHTTP(w http.ResponseWriter, r *http.Request) { o.router.ServeHTTP(w, r) }
