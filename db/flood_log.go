package db

import (
	"cmp"
	"context"
	"fmt"
	"net/netip"
	"strconv"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/usher-auth/usher/audit"
	"github.com/usher-auth/usher/internal/network"
)

const (
	// keptPerMinute bounds the refusals of unknown callers that are kept in
	// full, for each address prefix and reason.
	keptPerMinute = 60
	// maxFloods bounds the prefixes and reasons that are told apart. What comes
	// beyond it is counted by its reason alone.
	maxFloods = 10_000
	// flushEvery is how long counts wait for their rows.
	flushEvery = time.Second
	// flushTimeout is long, as nobody waits: a flush that gives up may have been
	// committed, and is then written twice.
	flushTimeout = 30 * time.Second
	// maxNarrower bounds the networks of one reason that are told apart within a
	// wider one: an attacker may have all of a /48, or of a /32.
	maxNarrower = 32
	// keptPerSecond bounds the refusals that are kept in full in all: a flood
	// from everywhere must not fill the disk.
	keptPerSecond = 500
)

// A FloodLog records decisions as its [AuditLog] does, except floods: refusals
// of unknown callers and of credentials that were good once, of which anyone can
// send any number. Beyond 60 a minute of one network (IPv4 /32, IPv6 /56, above
// many of these /48 and /32) or one credential, and one reason, they are counted,
// and each second of them is one row with the count; likewise beyond 500 a
// second in all. So the audit's counts sum up to all refusals, and a flood
// neither fills the disk nor keeps others waiting. Safe for concurrent use.
type FloodLog struct {
	log      *AuditLog
	stop     chan struct{}
	stopped  chan struct{}
	failures prometheus.Counter

	mu     sync.Mutex
	floods map[floodKey]*flood
	// narrower is how many floods there are within a wider network.
	narrower map[floodKey]int
	second   time.Time // when the current second began
	kept     int       // in that second
}

type floodKey struct {
	prefix netip.Prefix
	reason string
	// callerKind and callerID name a credential that was good once, wherever it
	// is used from.
	callerKind, callerID string

	shared bool // of all prefixes that are too many to tell apart
}

type flood struct {
	minute  time.Time // when it began
	kept    int       // in that minute
	counted tally     // since the last flush
	flushed tally     // by the flush that is under way, or that failed
}

// A tally is a number of refusals, and when and as what the first came.
type tally struct {
	n         int64
	at        time.Time
	requestID string
}

// A FloodLogConfig says what a [FloodLog] needs. All fields are required.
type FloodLogConfig struct {
	Log      *AuditLog // which the caller closes after the FloodLog
	Registry prometheus.Registerer
}

// StartFloodLog starts a FloodLog in front of a log. The caller closes it, after
// the last Record.
func StartFloodLog(cfg FloodLogConfig) *FloodLog {
	f := &FloodLog{
		log: cfg.Log, stop: make(chan struct{}), stopped: make(chan struct{}), floods: map[floodKey]*flood{}, narrower: map[floodKey]int{},
		failures: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "usher_audit_flush_failures_total",
			Help: "Attempts to write the counts of floods that failed and will be made again.",
		}),
	}
	cfg.Registry.MustRegister(f.failures, prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "usher_audit_unwritten_denials",
		Help: "Refused requests of floods that were counted and have no row yet.",
	}, func() float64 { return float64(f.unwritten()) }))
	go f.run()
	return f
}

// Record is [AuditLog.Record], but a refusal that is counted returns at once:
// nothing leaves with it that the audit would have to prove.
func (f *FloodLog) Record(ctx context.Context, d *audit.Decision) error {
	if (d.CallerUnknown || d.CallerFormer) && d.Token == nil && f.count(d, time.Now()) {
		return nil
	}
	return f.log.Record(ctx, d)
}

// count reports whether the refusal is one too many to be kept, and was counted.
func (f *FloodLog) count(d *audit.Decision, now time.Time) bool {
	key := floodKey{prefix: network.Of(d.IP), reason: d.Reason}
	if d.CallerFormer && d.CallerID != "" {
		key = floodKey{reason: d.Reason, callerKind: d.CallerKind, callerID: d.CallerID}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	key, of := f.flood(key)
	if now.Sub(of.minute) >= time.Minute {
		of.minute, of.kept = now, 0
	}
	if now.Sub(f.second) >= time.Second {
		f.second, f.kept = now, 0
	}
	if !key.shared && of.kept < keptPerMinute && f.kept < keptPerSecond {
		of.kept++
		f.kept++
		return false
	}
	if of.counted.n == 0 {
		of.counted = tally{at: d.At, requestID: d.RequestID}
	}
	of.counted.n++
	return true
}

// flood returns the flood that a refusal belongs to, by its own key or by one
// that stands for many.
func (f *FloodLog) flood(key floodKey) (floodKey, *flood) {
	if of := f.floods[key]; of != nil {
		return key, of
	}
	for wider := key; ; {
		if wider.prefix = network.Wider(wider.prefix); !wider.prefix.IsValid() {
			break
		}
		if f.narrower[wider] >= maxNarrower {
			key = wider
		}
	}
	if of := f.floods[key]; of != nil {
		return key, of
	}
	if len(f.floods) >= maxFloods {
		key = floodKey{reason: key.reason, shared: true}
		if of := f.floods[key]; of != nil {
			return key, of
		}
	}
	of := new(flood)
	f.floods[key] = of
	f.nest(key, 1)
	return key, of
}

// nest counts a flood within the networks around its own.
func (f *FloodLog) nest(key floodKey, n int) {
	for {
		if key.prefix = network.Wider(key.prefix); !key.prefix.IsValid() {
			return
		}
		if f.narrower[key] += n; f.narrower[key] == 0 {
			delete(f.narrower, key)
		}
	}
}

func (f *FloodLog) run() {
	defer close(f.stopped)
	tick := time.NewTicker(flushEvery)
	defer tick.Stop()
	for {
		select {
		case <-f.stop:
			return
		case now := <-tick.C:
			_ = f.flush(now, flushTimeout) // counted as failed, and made again
		}
	}
}

// Close writes what was counted. Where that fails for 5 s it gives up, and the
// error says how many refusals have no row.
func (f *FloodLog) Close() error {
	close(f.stop)
	<-f.stopped
	for deadline := time.Now().Add(5 * time.Second); ; time.Sleep(100 * time.Millisecond) {
		err := f.flush(time.Now(), 2*queryTimeout)
		if err == nil {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("db: %d refused requests were counted and could not be written to the audit: %w", f.unwritten(), err)
		}
	}
}

// flush writes a row for each flood. What fails is kept and written by the next
// flush: where a commit's answer was lost, twice, rather than not at all.
func (f *FloodLog) flush(now time.Time, timeout time.Duration) error {
	var rows []*pendingRow
	var floods []*flood
	f.mu.Lock()
	for key, of := range f.floods {
		if of.flushed.n == 0 {
			of.flushed = of.counted
		} else {
			of.flushed.n += of.counted.n
		}
		of.counted = tally{}
		if of.flushed.n > 0 {
			row, err := newPendingRow(&audit.Decision{
				Reason: key.reason, At: of.flushed.at, CallerKind: cmp.Or(key.callerKind, audit.CallerNone), CallerID: key.callerID, RequestID: of.flushed.requestID,
			}, key.prefix, f.log.replica, of.flushed.n)
			if err != nil { // only of a token
				f.mu.Unlock()
				return err
			}
			rows, floods = append(rows, row), append(floods, of)
		} else if now.Sub(of.minute) >= time.Minute {
			delete(f.floods, key)
			f.nest(key, -1)
		}
	}
	f.mu.Unlock()
	for len(rows) > 0 {
		n := min(len(rows), maxBatch)
		if err := f.write(rows[:n], timeout); err != nil {
			f.failures.Inc()
			return unavailable("record floods", err)
		}
		f.mu.Lock()
		for _, of := range floods[:n] {
			of.flushed = tally{}
		}
		f.mu.Unlock()
		rows, floods = rows[n:], floods[n:]
	}
	return nil
}

// write gives up in Postgres before it gives up here: a statement that its
// client has left could still be committed, and then be made again.
func (f *FloodLog) write(rows []*pendingRow, timeout time.Duration) error {
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	err := f.insert(ctx, rows, timeout)
	if f.log.restamp(ctx, rows, err) {
		err = f.insert(ctx, rows, timeout)
	}
	return err
}

func (f *FloodLog) insert(ctx context.Context, rows []*pendingRow, timeout time.Duration) error {
	return pgx.BeginFunc(ctx, f.log.db.pool, func(tx pgx.Tx) error {
		if err := setLocal(ctx, tx, "statement_timeout", strconv.FormatInt((timeout/2).Milliseconds(), 10)); err != nil {
			return err
		}
		return f.log.insert(ctx, tx, rows)
	})
}

func (f *FloodLog) unwritten() (n int64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, of := range f.floods {
		n += of.counted.n + of.flushed.n
	}
	return n
}
