package db

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/usher-auth/usher/session"
)

const (
	// maxBatch bounds the rows of one group commit: enough that the writers
	// keep up, few enough that a commit stays well below its deadline.
	maxBatch = 256
	// writers take turns: one gathers and encodes while Postgres works for the
	// other. More of them would only make the batches smaller.
	writers = 2
	// maxGathering bounds how long a batch waits for rows.
	maxGathering = 2 * time.Millisecond
	// maxWaiting bounds the rows in the queue. Beyond it, requests are turned
	// away at once.
	maxWaiting = 4 * 1024
)

// An AuditLog writes decisions by group commit: all requests that wait are
// written by one INSERT in one transaction, and the next batch goes out when a
// commit has returned; two are on their way at most. Safe for concurrent use.
type AuditLog struct {
	db      *DB
	replica string
	queue   chan *pendingRow
	stop    chan struct{} // closed by Close
	stopped chan struct{} // closed when nothing is written any more
	batches prometheus.Histogram
	failed  prometheus.Counter
}

type pendingRow struct {
	decision  *session.Decision
	patterns  string
	rules     rules
	count     int64
	prefix    netip.Prefix // of the caller's address
	committed chan error   // of capacity 1: the writer never waits for a reader
}

func newPendingRow(d *session.Decision) (*pendingRow, error) {
	row := &pendingRow{decision: d, count: 1, committed: make(chan error, 1)}
	if d.IP.IsValid() {
		row.prefix = netip.PrefixFrom(d.IP.WithZone(""), d.IP.BitLen())
	}
	if d.Token != nil {
		patterns, err := d.Token.Patterns.MarshalJSON()
		if err != nil {
			return nil, fmt.Errorf("db: record decision: %w", err)
		}
		row.patterns, row.rules = string(patterns), rulesOf(&d.Token.Patterns)
	}
	return row, nil
}

// AuditLog starts a log. replica names this process in its rows. The caller
// closes it, after the last Record.
func (db *DB) AuditLog(replica string, registry prometheus.Registerer) *AuditLog {
	a := &AuditLog{
		db:      db,
		replica: replica,
		queue:   make(chan *pendingRow, maxWaiting),
		stop:    make(chan struct{}),
		stopped: make(chan struct{}),
		batches: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name:    "usher_audit_batch_rows",
			Help:    "Rows of one group commit.",
			Buckets: prometheus.ExponentialBuckets(1, 2, 9),
		}),
		failed: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "usher_audit_failed_rows_total",
			Help: "Rows that could not be committed; each was a request answered with 503.",
		}),
	}
	registry.MustRegister(a.batches, a.failed)
	var writing sync.WaitGroup
	for range writers {
		writing.Go(a.run)
	}
	go func() {
		writing.Wait()
		close(a.stopped)
	}()
	return a
}

// Close writes what waits and stops. A Record that comes later is refused.
func (a *AuditLog) Close() {
	close(a.stop)
	<-a.stopped
}

// Record returns once the decision is committed. On any error, and in
// particular where ctx ends first, the row may or may not be there: then no
// token may leave, so that the audit stays a superset of the tokens. A fault
// of the database is [session.ErrUnavailable].
func (a *AuditLog) Record(ctx context.Context, d *session.Decision) error {
	row, err := newPendingRow(d)
	if err != nil {
		return err
	}
	select {
	case a.queue <- row:
	default:
		return fmt.Errorf("db: record decision: %w: %d rows wait already", session.ErrUnavailable, maxWaiting)
	}
	select {
	case err := <-row.committed:
		return err
	case <-ctx.Done():
		return unavailable("record decision", ctx.Err())
	case <-a.stopped:
		select {
		case err := <-row.committed: // it was among the last
			return err
		default:
			return unavailable("record decision", errLogClosed)
		}
	}
}

var errLogClosed = errors.New("the log is closed")

// run writes batch after batch. Who was just answered is about to come back:
// without a moment for them, the first one would be written alone, and all the
// others wait for that. So a batch waits until it is as large as the last one,
// for a part of the time that the last one took: never for a caller who is alone.
func (a *AuditLog) run() {
	batch := make([]*pendingRow, 0, maxBatch)
	var took time.Duration
	late := time.NewTimer(0)
	defer late.Stop()
	for {
		var first *pendingRow
		select {
		case first = <-a.queue:
		case <-a.stop:
			select {
			case first = <-a.queue:
			default:
				return
			}
		}
		last := len(batch)
		batch = append(batch[:0], first)
		late.Reset(min(took/2, maxGathering))
		for len(batch) < maxBatch {
			select {
			case row := <-a.queue:
				batch = append(batch, row)
				continue
			default:
			}
			if len(batch) >= last {
				break
			}
			select {
			case row := <-a.queue:
				batch = append(batch, row)
			case <-late.C:
				last = 0
			}
		}
		began := time.Now()
		a.write(batch)
		took = time.Since(began)
	}
}

// write commits the batch and tells its waiters. A batch that Postgres refuses
// for its data is halved, so that one bad row does not fail its neighbours.
func (a *AuditLog) write(batch []*pendingRow) {
	ctx, cancel := context.WithTimeout(context.Background(), queryTimeout)
	err := a.insert(ctx, a.db.pool, batch)
	cancel()
	if err != nil && len(batch) > 1 && isDataError(err) {
		half := len(batch) / 2
		a.write(batch[:half])
		a.write(batch[half:])
		return
	}
	a.batches.Observe(float64(len(batch)))
	if err != nil {
		a.failed.Add(float64(len(batch)))
		err = unavailable("record decision", err)
	}
	for _, row := range batch {
		row.committed <- err
	}
}

// isDataError reports whether Postgres refused the rows themselves (class 22,
// data exception; 23, constraint violation), and so has written none of them.
func isDataError(err error) bool {
	pgErr, ok := errors.AsType[*pgconn.PgError](err)
	return ok && (strings.HasPrefix(pgErr.Code, "22") || strings.HasPrefix(pgErr.Code, "23"))
}

// execer is a pool or a transaction.
type execer interface {
	Exec(ctx context.Context, sql string, args ...any) (pgconn.CommandTag, error)
}

// insert writes the rows by one statement.
func (a *AuditLog) insert(ctx context.Context, q execer, batch []*pendingRow) error {
	n := len(batch)
	// The columns of text share one allocation, those of hashes another.
	names := [...]string{
		"reason", "caller_kind", "caller_id", "user_id", "organization_id", "audience", "room", "store", "patterns",
		"skipped_grants", "jti", "kid", "ip", "user_agent", "origin", "request_id",
	}
	cells := make([]string, len(names)*n)
	issuedAt, expiresAt, partial, count := make([]time.Time, n), make([]*time.Time, n), make([]bool, n), make([]int64, n)
	salts, personal, digests := make([][]byte, n), make([][]byte, n), make([][]byte, n)
	salt := make([]byte, n*saltSize)
	_, _ = rand.Read(salt) // never fails: crypto/rand ends the process instead
	sums := make([][2][sha256.Size]byte, n)
	encoded := make([]byte, 0, 1024)
	for i, row := range batch {
		d := row.decision
		var jti, kid, audience string
		if t := d.Token; t != nil {
			expiresAt[i], partial[i] = &t.ExpiresAt, t.Partial
			jti, kid, audience = t.ID, t.KeyID, t.Audience
		} else {
			audience = d.Request.Audience
		}
		ip := ""
		if row.prefix.IsValid() {
			ip = row.prefix.String()
		}
		skipped := arrayLiteral(d.Skipped)
		issuedAt[i], count[i] = d.At, row.count

		facts := decisionFacts{
			IssuedAt: d.At.UnixMicro(), Result: "denied", Reason: some(&d.Reason), CallerKind: d.CallerKind, CallerID: some(&d.CallerID),
			UserID: some(&d.UserID), OrganizationID: some(&d.Organization), Audience: some(&audience),
			Room: some(&d.Request.Room), Store: some(&d.Request.Store), Patterns: row.rules, Partial: partial[i], SkippedGrants: some(&skipped),
			JTI: some(&jti), KID: some(&kid), RequestID: d.RequestID, Replica: a.replica, Count: row.count,
		}
		if d.Token != nil {
			until := d.Token.ExpiresAt.UnixMicro()
			facts.Result, facts.ExpiresAt = "issued", &until
		}
		salts[i], personal[i], digests[i] = salt[i*saltSize:(i+1)*saltSize], sums[i][0][:], sums[i][1][:]
		sums[i][0] = personalDigest(salts[i], row.prefix, some(&d.UserAgent), some(&d.Origin))
		facts.PersonalDigest = personal[i]
		sums[i][1] = facts.digest(encoded)

		for c, text := range [...]string{
			d.Reason, d.CallerKind, d.CallerID, d.UserID, d.Organization, audience, d.Request.Room, d.Request.Store, row.patterns,
			skipped, jti, kid, ip, d.UserAgent, d.Origin, d.RequestID,
		} {
			cells[c*n+i] = text
		}
	}
	args := pgx.StrictNamedArgs{
		"replica": a.replica, "issued_at": issuedAt, "expires_at": expiresAt, "partial": partial, "count": count,
		"salt": salts, "personal_digest": personal, "digest": digests,
	}
	for c, name := range names {
		args[name] = cells[c*n : (c+1)*n]
	}
	_, err := q.Exec(ctx, statement("insert_decisions"), args)
	return err
}

// arrayLiteral writes a Postgres array, empty for none: a column of arrays
// cannot pass through unnest.
func arrayLiteral(ids []int64) string {
	if len(ids) == 0 {
		return ""
	}
	b := []byte{'{'}
	for i, id := range ids {
		if i > 0 {
			b = append(b, ',')
		}
		b = strconv.AppendInt(b, id, 10)
	}
	return string(append(b, '}'))
}
