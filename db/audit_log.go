package db

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/usher-auth/usher/audit"
	"github.com/usher-auth/usher/internal/principal"
)

const (
	// maxBatch limits the rows of one group commit. It is large enough for the
	// writers to keep up, and small enough for a commit to stay well below its
	// deadline.
	maxBatch = 256
	// writers take turns: one collects rows while Postgres works for the other. More
	// writers would only make the batches smaller.
	writers = 2
	// maxGathering bounds how long a batch waits for rows.
	maxGathering = 2 * time.Millisecond
	// maxClockSkew is how far the time of a denial may be from the database's
	// clock. It is well within what the table's constraint accepts.
	maxClockSkew = 30 * time.Second
	// maxWaiting bounds the rows in the queue. Beyond it, requests fail at once.
	maxWaiting = 4 * 1024
)

// An AuditLog writes decisions by group commit: one INSERT in one transaction
// writes the rows of all waiting requests, and the next batch is sent when a
// commit returns. At most two batches are in flight. Safe for concurrent use.
type AuditLog struct {
	db      *DB
	replica string
	queue   chan *pendingRow
	stop    chan struct{} // closed by Close
	stopped chan struct{} // closed after the last write
	batches prometheus.Histogram
	failed  prometheus.Counter
}

// A pendingRow is one row as it will be written. Its caller encodes it, so that the
// writers only collect rows.
type pendingRow struct {
	record   audit.Record
	patterns string       // JSON, empty for null
	ip       netip.Prefix // zero for null
	salt     [audit.SaltSize]byte
	personal [sha256.Size]byte
	digest   [sha256.Size]byte

	committed chan error // of capacity 1: the writer never waits for a reader
}

// newPendingRow encodes a decision. count is 1, or the number of denials that
// the row stands for.
func newPendingRow(d *audit.Decision, ip netip.Prefix, replica string, count int64) (*pendingRow, error) {
	row := &pendingRow{record: audit.NewRecord(d, replica), ip: ip, committed: make(chan error, 1)}
	row.record.UserAgent, row.record.Origin = nonEmpty(&d.UserAgent), nonEmpty(&d.Origin)
	if count != 1 {
		row.record.Count = &count
	}
	if row.record.Patterns != nil {
		patterns, err := row.record.Patterns.MarshalJSON()
		if err != nil {
			return nil, fmt.Errorf("db: record decision: %w", err)
		}
		row.patterns = string(patterns)
	}
	_, _ = rand.Read(row.salt[:]) // never fails: crypto/rand ends the process instead
	row.personal = audit.PersonalDigest(row.salt[:], ip, row.record.UserAgent, row.record.Origin)
	row.digest = row.record.Digest(row.personal[:])
	return row, nil
}

// nonEmpty returns text, or nil if it is empty.
func nonEmpty(text *string) *string {
	if *text == "" {
		return nil
	}
	return text
}

// An AuditLogConfig configures an [AuditLog]. All fields are required.
type AuditLogConfig struct {
	Replica  string // names this process in its rows
	Registry prometheus.Registerer
}

// StartAuditLog starts the log's writers. The caller must call Close after the
// last Record.
func (db *DB) StartAuditLog(cfg AuditLogConfig) *AuditLog {
	a := &AuditLog{
		db:      db,
		replica: cfg.Replica,
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
	cfg.Registry.MustRegister(a.batches, a.failed)
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

// Close writes the waiting rows and stops the writers. A later Record fails.
func (a *AuditLog) Close() {
	close(a.stop)
	<-a.stopped
}

// Record returns once the decision is committed. On any error, also if ctx ends
// first, the row may or may not exist. The caller must then not send the token, so
// that the audit has a row for every token. A database fault is
// [principal.ErrUnavailable].
func (a *AuditLog) Record(ctx context.Context, d *audit.Decision) error {
	var ip netip.Prefix
	if d.IP.IsValid() {
		ip = netip.PrefixFrom(d.IP.WithZone(""), d.IP.BitLen())
	}
	row, err := newPendingRow(d, ip, a.replica, 1)
	if err != nil {
		return err
	}
	select {
	case a.queue <- row:
	default:
		return fmt.Errorf("db: record decision: %w: %d rows are already waiting", principal.ErrUnavailable, maxWaiting)
	}
	select {
	case err := <-row.committed:
		return err
	case <-ctx.Done():
		return unavailable("record decision", ctx.Err())
	case <-a.stopped:
		select {
		case err := <-row.committed: // it was written before the log closed
			return err
		default:
			return unavailable("record decision", errLogClosed)
		}
	}
}

var errLogClosed = errors.New("the log is closed")

// run writes batch after batch. Callers that were just answered soon send their next
// row. Without a short wait, the first of them would be written alone, and the
// others would wait for that commit. So a batch waits until it is as large as the
// last one, for at most a part of the time that the last one took. A single caller
// never waits.
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

// write commits the batch and tells its waiters.
func (a *AuditLog) write(batch []*pendingRow) {
	halve(batch, func(rows []*pendingRow) error {
		ctx, cancel := context.WithTimeout(context.Background(), queryTimeout)
		defer cancel()
		err := a.insert(ctx, a.db.execDurable, rows)
		if a.restamp(ctx, rows, err) {
			err = a.insert(ctx, a.db.execDurable, rows)
		}
		if err == nil || len(rows) == 1 || !isStatementFault(err) {
			a.batches.Observe(float64(len(rows)))
		}
		return err
	}, func(row *pendingRow, err error) {
		if err != nil {
			a.failed.Inc()
			err = unavailable("record decision", err)
		}
		row.committed <- err
	})
}

// restamp gives denials the database's time if it refused the rows for their times,
// and reports whether it changed any. A denial before the look-up has the
// replica's time, whose clock may be wrong, and a flood's row may have waited for
// the database. A token always has the database's time.
func (a *AuditLog) restamp(ctx context.Context, rows []*pendingRow, refused error) (restamped bool) {
	if !violates(refused, checkViolation, "decisions_times") {
		return false
	}
	var now time.Time
	if err := a.db.pool.QueryRow(ctx, statement("clock")).Scan(&now); err != nil {
		return false
	}
	for _, row := range rows {
		if row.record.Result == audit.ResultDenied && now.Sub(row.record.IssuedAt).Abs() > maxClockSkew {
			row.record.IssuedAt = now
			row.digest = row.record.Digest(row.personal[:])
			restamped = true
		}
	}
	return restamped
}

// isDataError reports whether Postgres refused the rows themselves (class 22,
// data exception; 23, constraint violation), and so has written none of them.
func isDataError(err error) bool {
	pgErr, ok := errors.AsType[*pgconn.PgError](err)
	return ok && (strings.HasPrefix(pgErr.Code, "22") || strings.HasPrefix(pgErr.Code, "23"))
}

// textColumns are the columns of text that insertDecisionsSQL takes, in the
// order of (*pendingRow).texts. Empty strings stand for null.
var textColumns = [...]string{
	"reason", "caller_kind", "caller_id", "user_id", "organization_id", "requested_organization_id", "audience", "room", "store",
	"token_kind", "patterns", "claims", "skipped_grants", "warnings", "jti", "kid", "ip", "user_agent", "origin", "request_id",
}

func (row *pendingRow) texts() [len(textColumns)]string {
	r := &row.record
	ip := ""
	if row.ip.IsValid() {
		ip = row.ip.String()
	}
	return [...]string{
		deref(r.Reason), r.CallerKind, deref(r.CallerID), deref(r.UserID), deref(r.OrganizationID), deref(r.RequestedOrganizationID),
		deref(r.Audience), deref(r.Room), deref(r.Store), deref(r.TokenKind), row.patterns, deref(r.Claims), arrayLiteral(r.SkippedGrants),
		codesLiteral(r.Warnings), deref(r.JTI), deref(r.KID), ip, deref(r.UserAgent), deref(r.Origin),
		r.RequestID,
	}
}

// insert writes the rows by one statement.
func (a *AuditLog) insert(ctx context.Context, exec func(ctx context.Context, sql string, args ...any) error, batch []*pendingRow) error {
	n := len(batch)
	cells := make([]string, len(textColumns)*n) // one allocation for all columns of text
	issuedAt, expiresAt, partial, count := make([]time.Time, n), make([]*time.Time, n), make([]bool, n), make([]int64, n)
	salts, personal, digests := make([][]byte, n), make([][]byte, n), make([][]byte, n)
	for i, row := range batch {
		issuedAt[i], expiresAt[i], partial[i], count[i] = row.record.IssuedAt, row.record.ExpiresAt, row.record.Partial, 1
		if row.record.Count != nil {
			count[i] = *row.record.Count
		}
		salts[i], personal[i], digests[i] = row.salt[:], row.personal[:], row.digest[:]
		for c, text := range row.texts() {
			cells[c*n+i] = text
		}
	}
	args := pgx.StrictNamedArgs{
		"replica": a.replica, "issued_at": issuedAt, "expires_at": expiresAt, "partial": partial, "count": count,
		"salt": salts, "personal_digest": personal, "digest": digests,
	}
	for c, name := range textColumns {
		args[name] = cells[c*n : (c+1)*n]
	}
	return exec(ctx, statement("insert_decisions"), args)
}
