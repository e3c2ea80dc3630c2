package api

import (
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/usher-auth/usher/audit"
)

// metrics are the API's metrics. Their labels come from fixed sets: routes, statuses,
// reasons. A label is never a user, a room or a path.
type metrics struct {
	requests    *prometheus.CounterVec
	seconds     *prometheus.HistogramVec
	decisions   *prometheus.CounterVec
	tokens      *prometheus.CounterVec
	infoOmitted prometheus.Counter
	limited     *prometheus.CounterVec
}

func newMetrics(registry prometheus.Registerer) *metrics {
	m := &metrics{
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "usher_http_requests_total",
			Help: "Answers by route and status. Malformed requests (400, 405, 413, 415), which leave no audit row, are counted here.",
		}, []string{"route", "status"}),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "usher_http_request_seconds",
			Help:    "Time from the request's headers to its answer.",
			Buckets: []float64{.001, .002, .005, .01, .02, .05, .1, .2, .5, 1, 2},
		}, []string{"route"}),
		decisions: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "usher_decisions_total",
			Help: "Tokens issued, and denials by reason. The audit has all of them; many denials within a minute are stored as counts.",
		}, []string{"result", "reason"}),
		tokens: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "usher_tokens_total",
			Help: "Tokens issued by audience.",
		}, []string{"audience"}),
		infoOmitted: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "usher_info_omitted_total",
			Help: "Tokens without the user's info, which was larger than 1,024 characters.",
		}),
		limited: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "usher_rate_limited_total",
			Help: "Requests over a rate limit, which have no audit row, by limit: session, api_key or failures.",
		}, []string{"limit"}),
	}
	registry.MustRegister(m.requests, m.seconds, m.decisions, m.tokens, m.infoOmitted, m.limited)
	return m
}

func (m *metrics) observe(route string, status int, took time.Duration) {
	m.requests.WithLabelValues(route, strconv.Itoa(status)).Inc()
	m.seconds.WithLabelValues(route).Observe(took.Seconds())
}

func (m *metrics) decided(d *audit.Decision) {
	result := "issued"
	if d.Token == nil {
		result = "denied"
	} else {
		m.tokens.WithLabelValues(d.Token.Audience).Inc()
	}
	m.decisions.WithLabelValues(result, d.Reason).Inc()
}
