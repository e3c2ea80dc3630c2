package service

import (
	"runtime"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/usher-auth/usher/db"
	"github.com/usher-auth/usher/session"
)

var (
	buildInfo = prometheus.NewDesc("usher_build_info", "Always 1, with the version as a label.",
		[]string{"version", "go_version"}, nil)
	poolConnections = prometheus.NewDesc("usher_db_connections", "Connections to Postgres by pool (issuing, admin) and state.",
		[]string{"pool", "state"}, nil)
	poolLimit = prometheus.NewDesc("usher_db_connections_limit", "Maximum number of connections to Postgres by pool.",
		[]string{"pool"}, nil)
	poolWaits = prometheus.NewDesc("usher_db_connection_waits_total", "Times that a query had to wait for a connection, by pool.",
		[]string{"pool"}, nil)
	poolWaited = prometheus.NewDesc("usher_db_connection_wait_seconds_total", "Time that queries waited for a connection, by pool.",
		[]string{"pool"}, nil)
	keyExpiry = prometheus.NewDesc("usher_signing_key_expiry_timestamp_seconds", "When the current signing key stops signing. Absent if it has no end, or if no key signs.",
		[]string{"alg"}, nil)
	clockAhead = prometheus.NewDesc("usher_db_clock_ahead_seconds", "How far the database's clock is ahead of this machine's, less what the network may explain. Beyond 5 either way no token is issued.", nil, nil)
	keyActive  = prometheus.NewDesc("usher_signing_key_active", "1 if a key can sign now, else 0.", []string{"alg"}, nil)
)

// state is a collector of values that are read at each scrape.
type state struct {
	version   string
	algorithm string
	keys      *session.Keyring
	pools     map[string]*db.DB
}

// Describe implements [prometheus.Collector].
func (s *state) Describe(d chan<- *prometheus.Desc) { prometheus.DescribeByCollect(s, d) }

// Collect implements [prometheus.Collector].
func (s *state) Collect(metrics chan<- prometheus.Metric) {
	gauge := func(d *prometheus.Desc, value float64, labels ...string) {
		metrics <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, value, labels...)
	}
	counter := func(d *prometheus.Desc, value float64, labels ...string) {
		metrics <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, value, labels...)
	}
	gauge(buildInfo, 1, s.version, runtime.Version())
	for name, pool := range s.pools {
		c := pool.Connections()
		gauge(poolConnections, float64(c.InUse), name, "in_use")
		gauge(poolConnections, float64(c.Idle), name, "idle")
		gauge(poolLimit, float64(c.Limit), name)
		counter(poolWaits, float64(c.Waits), name)
		counter(poolWaited, c.Waited.Seconds(), name)
	}
	gauge(clockAhead, s.pools["issuing"].ClockAhead().Seconds())
	key, err := s.keys.Signing(s.algorithm, time.Now())
	if err != nil {
		gauge(keyActive, 0, s.algorithm)
		return
	}
	gauge(keyActive, 1, s.algorithm)
	if !key.SignsUntil.IsZero() {
		gauge(keyExpiry, float64(key.SignsUntil.Unix()), s.algorithm)
	}
}
