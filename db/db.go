// Package db keeps usher's state in Postgres: the directory, the grants, the
// keys and the audit. No type of pgx leaves it: faults of the database come out
// as [principal.ErrUnavailable], refusals of administrators' calls as those of
// package admin, and those of callers as sentinels of package session.
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

// Deadlines of one database operation. An answer must not hang longer than
// 2 s, of which the look-up and the audit row have at most one such each.
const (
	connectTimeout = time.Second
	queryTimeout   = 900 * time.Millisecond
)

// DB is a pool of connections to one database. It is safe for concurrent use.
type DB struct {
	pool   *pgxpool.Pool
	pooled atomic.Bool // connections go through a pooler: see open
}

// Open returns a pool for a libpq URL. It connects lazily: a database that is
// down is an error of the first call, not of Open. The caller closes it.
func Open(url secret.Text) (*DB, error) { return open(url, nil) }

// OpenAdmin is [Open] for the admin API: the pool has at least 8 connections, and
// a statement whose context ends is canceled in Postgres too.
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
	db := new(DB)
	var found sync.Mutex
	known := false
	cfg.BeforeConnect = func(ctx context.Context, conn *pgx.ConnConfig) error {
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
		// Times are UTC wherever they are printed.
		conn.TypeMap().RegisterType(&pgtype.Type{
			Name: "timestamptz", OID: pgtype.TimestamptzOID, Codec: &pgtype.TimestamptzCodec{ScanLocation: time.UTC},
		})
		return nil
	}
	db.pool, err = pgxpool.NewWithConfig(context.Background(), cfg)
	if err != nil {
		return nil, fmt.Errorf("db: open: %w", err)
	}
	return db, nil
}

// parseURL reads a libpq URL, parameters of pgxpool included. On every
// connection the search_path is fixed, so that nothing that somebody has planted
// in schema public is called in place of what a statement means.
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

// errBadURL leaves out the text of the parse error, which quotes the URL: pgx
// hides the password where it finds one, and in a URL that it cannot parse it
// may not.
var errBadURL = errors.New("db: the database URL is not one that libpq knows: write it as postgres://user@host:5432/database?sslmode=verify-full")

// Close closes the pool, after the queries in flight.
func (db *DB) Close() { db.pool.Close() }

// Connections says how a pool's connections are used.
type Connections struct {
	InUse, Idle, Limit int32
	Waits              int64 // queries that had to wait for a connection
	Waited             time.Duration
}

// Connections returns the use of the pool's connections so far.
func (db *DB) Connections() Connections {
	s := db.pool.Stat()
	return Connections{
		InUse: s.AcquiredConns(), Idle: s.IdleConns(), Limit: s.MaxConns(),
		Waits: s.EmptyAcquireCount(), Waited: s.EmptyAcquireWaitTime(),
	}
}

// Ping reports whether the database answers, and how far its clock is ahead of
// this process's (half the round trip is taken off).
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

// unavailable wraps a fault of the database. On the issuing path everything
// that goes wrong in it is one: a missing column or a lost privilege is not
// the caller's doing either.
func unavailable(operation string, err error) error {
	return fmt.Errorf("db: %s: %w: %w", operation, principal.ErrUnavailable, inFull(err))
}

// inFull adds to an error of Postgres what its text leaves out, DETAIL and HINT:
// they often say what to do. Details of a refused row hold its values, which no
// log should have.
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
