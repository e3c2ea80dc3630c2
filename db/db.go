// Package db stores usher's state in Postgres: the directory, the grants, the keys
// and the audit. It returns no types of pgx. Database faults are
// [principal.ErrUnavailable], refusals of administrators' calls are those of
// package admin, and refusals of callers are sentinels of package principal.
package db

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgconn/ctxwatch"
	"github.com/jackc/pgx/v5/pgtype"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/usher-auth/usher/internal/principal"
	"github.com/usher-auth/usher/internal/secret"
)

// Deadlines of one database operation. A response must not take longer than 2 s.
// The look-up and the audit row each get at most one deadline of it.
const (
	connectTimeout = time.Second
	queryTimeout   = 900 * time.Millisecond
)

// DB is a pool of connections to one database. It is safe for concurrent use.
type DB struct {
	pool   *pgxpool.Pool
	pooled atomic.Bool // connections go through a pooler: see open

	now        func() time.Time // this machine's clock
	clockAhead atomic.Int64     // see ClockAhead
}

// Open returns a pool for a libpq URL. It connects lazily: if the database is down,
// the first call fails, not Open. The caller must call Close.
func Open(url secret.Text) (*DB, error) { return open(url, nil) }

// OpenServing is [Open] for what every request needs. Its plans use an index wherever
// there is one: Postgres keeps a plan that it made while a table was tiny, and would
// read the whole table for each group of a user until the next ANALYZE. A pooler
// accepts no such settings, but there each statement is planned again.
func OpenServing(url secret.Text) (*DB, error) {
	return open(url, func(cfg *pgxpool.Config) {
		cfg.ConnConfig.RuntimeParams["enable_seqscan"] = "off"
		cfg.ConnConfig.RuntimeParams["jit"] = "off" // which a plan without an index would start
	})
}

// OpenAdmin is [Open] for the admin API: the pool has at least 8 connections, and
// a statement whose context ends is canceled in Postgres too. Through a pooler,
// statement_timeout ends it instead.
func OpenAdmin(url secret.Text) (*DB, error) {
	return open(url, func(cfg *pgxpool.Config) {
		cfg.MaxConns = max(cfg.MaxConns, 8)
		cfg.ConnConfig.BuildContextWatcherHandler = func(conn *pgconn.PgConn) ctxwatch.Handler {
			return &pgconn.CancelRequestContextWatcherHandler{Conn: conn, DeadlineDelay: connectTimeout}
		}
	})
}

func open(url secret.Text, change func(*pgxpool.Config)) (*DB, error) {
	cfg, err := parseURL(url)
	if err != nil {
		return nil, err
	}
	if change != nil {
		change(cfg)
	}
	if cfg.ConnConfig.ConnectTimeout == 0 || cfg.ConnConfig.ConnectTimeout > connectTimeout {
		cfg.ConnConfig.ConnectTimeout = connectTimeout
	}
	db := &DB{now: time.Now}
	connecting := new(reconnector)
	connecting.install(cfg)
	var found sync.Mutex
	known := false
	cfg.BeforeConnect = func(ctx context.Context, conn *pgx.ConnConfig) error {
		if err := connecting.allow(); err != nil {
			return err
		}
		found.Lock()
		defer found.Unlock()
		if !known {
			pooled, err := isPooler(ctx, conn)
			if err != nil {
				return err
			}
			known = true
			db.pooled.Store(pooled)
		}
		if db.pooled.Load() {
			usePooler(conn)
		}
		return nil
	}
	cfg.AfterConnect = func(_ context.Context, conn *pgx.Conn) error {
		// Print all times in UTC.
		conn.TypeMap().RegisterType(&pgtype.Type{
			Name: "timestamptz", OID: pgtype.TimestamptzOID, Codec: &pgtype.TimestamptzCodec{ScanLocation: time.UTC},
		})
		return connected(conn)
	}
	db.pool, err = pgxpool.NewWithConfig(context.Background(), cfg)
	if err != nil {
		return nil, fmt.Errorf("db: open: %w", err)
	}
	connecting.use(db.pool)
	return db, nil
}

// parseURL reads a libpq URL, including parameters of pgxpool. Every connection
// gets a fixed search_path, so that a statement cannot call an object that somebody
// has planted in schema public.
func parseURL(url secret.Text) (*pgxpool.Config, error) {
	cfg, err := pgxpool.ParseConfig(url.Reveal())
	if err != nil {
		return nil, errBadURL
	}
	if cfg.ConnConfig.RuntimeParams["application_name"] == "" {
		cfg.ConnConfig.RuntimeParams["application_name"] = "usher"
	}
	cfg.ConnConfig.RuntimeParams["search_path"] = ownPath
	return cfg, nil
}

// errBadURL leaves out the text of the parse error, which quotes the URL. pgx hides
// a password that it finds, but may not find it in a URL that it cannot parse.
var errBadURL = errors.New("db: the database URL is not one that libpq knows: write it as postgres://user@host:5432/database?sslmode=verify-full")

// Close waits for the queries in flight and closes the pool.
func (db *DB) Close() { db.pool.Close() }

// Connections are statistics of a pool's connections.
type Connections struct {
	InUse, Idle, Limit int32
	Waits              int64 // queries that had to wait for a connection
	Waited             time.Duration
}

// Connections returns the pool's statistics so far.
func (db *DB) Connections() Connections {
	s := db.pool.Stat()
	return Connections{
		InUse: s.AcquiredConns(), Idle: s.IdleConns(), Limit: s.MaxConns(),
		Waits: s.EmptyAcquireCount(), Waited: s.EmptyAcquireWaitTime(),
	}
}

// Ping checks that the database answers, and returns how far its clock is ahead of
// this machine's, corrected by half the round trip.
func (db *DB) Ping(ctx context.Context) (clockAhead time.Duration, err error) {
	ctx, cancel := context.WithTimeout(ctx, queryTimeout)
	defer cancel()
	var at time.Time
	sent := time.Now()
	if err := db.pool.QueryRow(ctx, "SELECT clock_timestamp()").Scan(&at); err != nil {
		return 0, unavailable("ping", err)
	}
	middle := sent.Add(time.Since(sent) / 2)
	return at.Sub(middle), nil
}

// unavailable wraps a database fault. On the issuing path, every database error is
// one: a missing column or a lost privilege is not the caller's fault either.
func unavailable(operation string, err error) error {
	if hasCode(err, insufficientPrivilege) {
		return &PrivilegeError{operation: operation, cause: err}
	}
	return fmt.Errorf("db: %s: %w: %w", operation, principal.ErrUnavailable, inFull(err))
}

// inFull adds DETAIL and HINT to the text of a Postgres error: they often say what
// to do. It leaves out the details of a refused row, because they contain its
// values, which must not be logged.
func inFull(err error) error {
	pgErr, ok := errors.AsType[*pgconn.PgError](err)
	if !ok || strings.HasPrefix(pgErr.Code, "23") || strings.HasPrefix(pgErr.Code, "22") {
		return err
	}
	var more []string
	if pgErr.Detail != "" {
		more = append(more, "DETAIL: "+pgErr.Detail)
	}
	if pgErr.Hint != "" {
		more = append(more, "HINT: "+pgErr.Hint)
	}
	if len(more) == 0 {
		return err
	}
	return fmt.Errorf("%w (%s)", err, strings.Join(more, "; "))
}

// Codes of PostgreSQL, appendix A.
const (
	uniqueViolation     = "23505"
	foreignKeyViolation = "23503"
	checkViolation      = "23514"
	lockNotAvailable    = "55P03"
	notInPrerequisite   = "55000"
	readOnlyTransaction = "25006"
	undefinedTable      = "42P01"
	undefinedSchema     = "3F000"
	undefinedColumn     = "42703"
	duplicateSchema     = "42P06"
	duplicateTable      = "42P07"
	duplicateObject     = "42710"
	invalidView         = "42P16"
	invalidFunction     = "42P13"
	internalError       = "XX000"
)

func hasCode(err error, codes ...string) bool {
	pgErr, ok := errors.AsType[*pgconn.PgError](err)
	return ok && slices.Contains(codes, pgErr.Code)
}
