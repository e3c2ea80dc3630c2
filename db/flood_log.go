package db

import (
	"cmp"
	"context"
	"errors"
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
	// keptPerMinute bounds the refusals of unknown callers that are stored one
	// by one, per address prefix and reason.
	keptPerMinute = 60
	// maxFloods bounds the pairs of prefix and reason that are counted
	// separately. Further ones are counted by reason only.
	maxFloods = 10_000
	// flushEvery is the interval at which counts are written as rows.
	flushEvery = time.Second
	// flushTimeout is long, because no caller waits. A flush that times out may
	// have been committed, and is then written twice.
	flushTimeout = 30 * time.Second
	// maxNarrower bounds the networks of one reason that are counted separately
	// within a wider one: an attacker may own a whole /48, or a whole /32.
	maxNarrower = 32
	// keptPerSecond bounds the refusals stored one by one in total: a flood from
	// many networks must not fill the disk.
	keptPerSecond = 500
)

// A FloodLog records decisions as its [AuditLog] does, except floods: refusals of
// unknown callers and of credentials that are no longer valid. Anyone can cause any
// number of these. The first 60 per minute, network (IPv4 /32, IPv6 /56; /48 and
// /32 above many of these) or credential, and reason are stored one by one. After
// that, one row per second holds their count. The same applies after 500 per second
// in total. So the audit's counts add up to all refusals, and a flood neither fills
// the disk nor delays others. Safe for concurrent use.
type FloodLog struct {
	log      *AuditLog
	stop     chan struct{}
	stopped  chan struct{}
	failures prometheus.Counter

	mu     sync.Mutex
	floods map[floodKey]*flood
	// narrower is the number of floods within a wider network.
	narrower map[floodKey]int
	second   time.Time // when the current second began
	kept     int       // in that second

	flushing time.Time // when the flush under way began; zero: none is
	failed   error     // of the last flush
}

type floodKey struct {
	prefix netip.Prefix
	reason string
	// callerKind and callerID name a credential that is no longer valid, from any
	// network.
	callerKind, callerID string

	shared bool // by the networks beyond maxFloods
}

type flood struct {
	minute  time.Time // when it began
	kept    int       // in that minute
	counted tally     // since the last flush
	flushed tally     // by the present flush, or by one that failed
}

// A tally is a count of refusals, with the time and request id of the first.
type tally struct {
	n         int64
	at        time.Time
	requestID string
}

// A FloodLogConfig configures a [FloodLog]. All fields are required.
type FloodLogConfig struct {
	Log      *AuditLog // which the caller closes after the FloodLog
	Registry prometheus.Registerer
}

// StartFloodLog starts a FloodLog in front of a log. The caller must call Close
// after the last Record.
func StartFloodLog(cfg FloodLogConfig) *FloodLog {
	f := &FloodLog{
		log: cfg.Log, stop: make(chan struct{}), stopped: make(chan struct{}), floods: map[floodKey]*flood{}, narrower: map[floodKey]int{},
		failures: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "usher_audit_flush_failures_total",
			Help: "Failed attempts to write the counts of floods. They will be repeated.",
		}),
	}
	cfg.Registry.MustRegister(f.failures, prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "usher_audit_unwritten_denials",
		Help: "Refused requests of floods that are counted and have no row yet.",
	}, func() float64 { return float64(f.unwritten()) }))
	go f.run()
	return f
}

// Record is [AuditLog.Record], but returns at once for a refusal that is only
// counted: no token depends on its row. While counts cannot be written, it returns
// [principal.ErrUnavailable]: the count would be lost with this process.
func (f *FloodLog) Record(ctx context.Context, d *audit.Decision) error {
	if (d.CallerUnknown || d.CallerFormer) && d.Token == nil {
		if counted, err := f.count(d, time.Now()); counted {
			return err
		}
	}
	return f.log.Record(ctx, d)
}

// count counts a refusal that is beyond the limits, and reports whether it did.
func (f *FloodLog) count(d *audit.Decision, now time.Time) (counted bool, err error) {
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
		return false, nil
	}
	if of.counted.n == 0 {
		of.counted = tally{at: d.At, requestID: d.RequestID}
	}
	of.counted.n++
	return true, f.failure(now)
}

// failure reports why the counts cannot be written now.
func (f *FloodLog) failure(now time.Time) error {
	if f.failed == nil && !f.flushing.IsZero() && now.Sub(f.flushing) > 2*queryTimeout {
		return unavailable("record floods", errors.New("the database does not answer"))
	}
	return f.failed
}

// flood returns the flood that a refusal belongs to: by its own key, or by a shared
// one.
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

// nest counts a flood in the wider networks that contain its own.
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
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		<-f.stop
		cancel()
	}()
	tick := time.NewTicker(flushEvery)
	defer tick.Stop()
	for {
		select {
		case <-f.stop:
			return
		case now := <-tick.C:
			_ = f.flush(ctx, now, flushTimeout) // counted as a failure; the next flush tries again
		}
	}
}

// Close writes the remaining counts. It gives up after 5 s of failures, and the
// error then says how many refusals have no row.
func (f *FloodLog) Close() error {
	close(f.stop)
	<-f.stopped
	for deadline := time.Now().Add(5 * time.Second); ; time.Sleep(100 * time.Millisecond) {
		err := f.flush(context.Background(), time.Now(), 2*queryTimeout)
		if err == nil {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("db: %d refused requests were counted and could not be written to the audit: %w", f.unwritten(), err)
		}
	}
}

// flush writes a row for each flood. The next flush retries rows that failed. If
// only the answer to a commit was lost, they are written twice, which is better
// than not at all.
func (f *FloodLog) flush(ctx context.Context, now time.Time, timeout time.Duration) (err error) {
	f.mu.Lock()
	f.flushing = now
	f.mu.Unlock()
	defer func() {
		f.mu.Lock()
		f.flushing, f.failed = time.Time{}, err
		f.mu.Unlock()
	}()
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
			if err != nil { // impossible without a token
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
		err := f.write(ctx, rows[:n], timeout)
		if err != nil && !hasCode(err, warningCode) {
			f.failures.Inc()
			return unavailable("record floods", err)
		}
		f.mu.Lock()
		for _, of := range floods[:n] {
			of.flushed = tally{}
		}
		f.mu.Unlock()
		if err != nil { // committed with a warning: another attempt would count twice
			f.failures.Inc()
			return unavailable("record floods", err)
		}
		rows, floods = rows[n:], floods[n:]
	}
	return nil
}

// write sets a shorter timeout in Postgres than here: a statement whose client has
// given up could still be committed, and would then be repeated.
func (f *FloodLog) write(ctx context.Context, rows []*pendingRow, timeout time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	err := f.insert(ctx, rows, timeout)
	if f.log.restamp(ctx, rows, err) {
		err = f.insert(ctx, rows, timeout)
	}
	return err
}

func (f *FloodLog) insert(ctx context.Context, rows []*pendingRow, timeout time.Duration) error {
	return f.log.db.begin(ctx, func(tx pgx.Tx) error {
		if err := setLocal(ctx, tx, "statement_timeout", strconv.FormatInt((timeout/2).Milliseconds(), 10)); err != nil {
			return err
		}
		return f.log.insert(ctx, func(ctx context.Context, sql string, args ...any) error {
			_, err := tx.Exec(ctx, sql, args...)
			return err
		}, rows)
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
