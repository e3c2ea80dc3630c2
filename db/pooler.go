package db

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgconn/ctxwatch"
)

// A connection pooler in transaction mode may give each transaction a different
// server connection. Prepared statements, session locks and settings do not carry
// over to the next one.

// isPooler reports whether a URL leads to a pooler. A server accepts the search_path
// that usher requests at the start of each connection; poolers refuse or ignore it.
func isPooler(ctx context.Context, cfg *pgx.ConnConfig) (bool, error) {
	cfg = cfg.Copy()
	cfg.DefaultQueryExecMode = pgx.QueryExecModeSimpleProtocol
	conn, err := pgx.ConnectConfig(ctx, cfg)
	if pgErr, ok := errors.AsType[*pgconn.PgError](err); ok && strings.Contains(pgErr.Message, "unsupported startup parameter") {
		cfg.RuntimeParams = withoutSettings(cfg.RuntimeParams)
		conn, err = pgx.ConnectConfig(ctx, cfg)
	}
	if err != nil {
		return false, err
	}
	defer conn.Close(ctx)
	var path string
	var writable []string
	if err := conn.QueryRow(ctx, statement("search_path")).Scan(&path, &writable); err != nil {
		return false, err
	}
	if path == ownPath {
		return false, nil
	}
	// Through a pooler, the search_path is the role's default. Objects that others
	// plant in it would run with this role's privileges.
	if len(writable) > 0 {
		return false, fmt.Errorf("db: through this connection pooler the search_path is %q, and other roles may create objects in %s: "+
			"run REVOKE CREATE ON SCHEMA %[2]s FROM PUBLIC, or ALTER ROLE ... SET search_path = %s for the role in the database URL",
			path, strings.Join(writable, ", "), ownPath)
	}
	return true, nil
}

// usePooler sends each statement in one piece: the client caches the statement
// descriptions, and the server stores nothing.
func usePooler(cfg *pgx.ConnConfig) {
	cfg.RuntimeParams = withoutSettings(cfg.RuntimeParams)
	cfg.DefaultQueryExecMode = pgx.QueryExecModeCacheDescribe
	// A cancel request may end pgbouncer itself (its issues 801 and 904), so a
	// statement whose context ends loses its connection instead.
	cfg.BuildContextWatcherHandler = func(conn *pgconn.PgConn) ctxwatch.Handler {
		return &pgconn.DeadlineContextWatcherHandler{Conn: conn.Conn()}
	}
	// pgx also sends one when a connection is lost, by dialing once more.
	connected, dial := false, cfg.DialFunc
	cfg.AfterConnect = func(context.Context, *pgconn.PgConn) error { connected = true; return nil }
	cfg.DialFunc = func(ctx context.Context, network, address string) (net.Conn, error) {
		if connected {
			return nil, errNoCancel
		}
		return dial(ctx, network, address)
	}
}

var errNoCancel = errors.New("db: usher sends no cancel requests through a connection pooler")

// withoutSettings leaves out what a pooler refuses.
func withoutSettings(params map[string]string) map[string]string {
	without := map[string]string{}
	for name, value := range params {
		switch name {
		case "search_path", "enable_seqscan", "jit":
		default:
			without[name] = value
		}
	}
	return without
}

// errPooler is the error of operations that need a direct server connection.
var errPooler = errors.New("db: the database URL leads to a connection pooler, and migrations lock tables: " +
	"give usher migrate the URL of the server itself; usher serve and the other commands may use the pooler")
