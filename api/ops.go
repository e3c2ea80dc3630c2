package api

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/pprof"
	"sync/atomic"

	"github.com/go-chi/chi/v5"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/usher-auth/usher/internal/principal"
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

// NewOps returns the handler. ready returns an error if no token can be issued now, or
// says what is degraded although tokens are issued. Both texts are shown to the
// caller. admin is nil while there is no database.
func NewOps(registry *prometheus.Registry, admin *Admin, ready func(context.Context) (degraded string, err error)) *Ops {
	o := &Ops{router: chi.NewRouter()}
	r := o.router
	getOrHead(r, "/livez", func(w http.ResponseWriter, _ *http.Request) {
		writeJSON(w, http.StatusOK, []byte(`{"status":"ok"}`))
	})
	getOrHead(r, "/readyz", func(w http.ResponseWriter, r *http.Request) {
		degraded, err := ready(r.Context())
		if o.draining.Load() {
			err = errDraining
		}
		switch {
		case err != nil:
			w.Header().Set("Retry-After", "1")
			writeState(w, http.StatusServiceUnavailable, "unavailable", err.Error())
		case degraded != "":
			writeState(w, http.StatusOK, "degraded", degraded)
		default:
			writeState(w, http.StatusOK, "ok", "")
		}
	})
	if admin != nil {
		r.Mount(adminPrefix, admin.router)
	} else {
		r.Mount(adminPrefix, Waiting())
	}
	getOrHead(r, "/metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{Registry: registry}).ServeHTTP)
	// Without cmdline, which would show a database URL that is given as a flag.
	r.HandleFunc("/debug/pprof/*", pprof.Index)
	r.HandleFunc("/debug/pprof/profile", pprof.Profile)
	r.HandleFunc("/debug/pprof/symbol", pprof.Symbol)
	r.HandleFunc("/debug/pprof/trace", pprof.Trace)
	return o
}

func writeState(w http.ResponseWriter, code int, state, reason string) {
	body, err := json.Marshal(struct {
		Status string `json:"status"`
		Reason string `json:"reason,omitempty"`
	}{state, reason})
	if err != nil {
		panic(err) // two strings
	}
	writeJSON(w, code, body)
}

// Waiting answers every request with 503 until there is a database.
func Waiting() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		for name, values := range commonHeaders {
			w.Header()[name] = values
		}
		id := rand.Text()
		w.Header().Set("X-Request-Id", id)
		writeProblem(w, classify(principal.ErrUnavailable), id)
	})
}

// Drain makes /readyz fail, so that load balancers stop sending requests.
func (o *Ops) Drain() { o.draining.Store(true) }

// Routes lists the routes of the second listener, for the test that compares them with
// the contract.
func (o *Ops) Routes() chi.Routes { return o.router }

// ServeHTTP implements [http.Handler].
func (o *Ops) ServeHTTP(w http.ResponseWriter, r *http.Request) { o.router.ServeHTTP(w, r) }
