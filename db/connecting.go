package db

import (
	"context"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
)

// A reconnector keeps only usable connections in a pool: it follows a failover by itself, and it
// does not besiege a server that refuses it.
//
//   - After a broken connection, or an error which says that the server stops or
//     takes no writes any more, all connections are replaced.
//   - While connecting fails, there is one attempt per second.
//   - A connection that is given up leaves its place within [connectTimeout].
type reconnector struct {
	pool *pgxpool.Pool

	mu       sync.Mutex
	failed   error     // of the last attempt to connect
	tried    time.Time // when that attempt ended, or when the one after it began
	replaced time.Time
}

// retryEvery bounds attempts to connect while they fail, and replacements of all
// connections.
const retryEvery = time.Second

// Codes of a server that stops, or was demoted to a standby.
var leavingCodes = []string{"57P01", "57P02", readOnlyTransaction}

// install adds the reconnector to a pool's configuration.
func (r *reconnector) install(cfg *pgxpool.Config) {
	conn := cfg.ConnConfig
	conn.DialFunc = dial
	conn.Tracer = r
	conn.OnPgError = func(_ *pgconn.PgConn, err *pgconn.PgError) (keep bool) {
		if slices.Contains(leavingCodes, err.Code) {
			r.replace()
			return false
		}
		return !strings.EqualFold(err.SeverityUnlocalized, "FATAL")
	}
	conn.OnNotice = noteWarning
	if conn.ValidateConnect == nil && severalServers(conn) {
		// The first server of the URL may be a standby now.
		conn.ValidateConnect = pgconn.ValidateConnectTargetSessionAttrsReadWrite
	}
	cfg.BeforeClose = func(conn *pgx.Conn) {
		if conn.IsClosed() { // broken, not merely old
			r.replace()
		}
	}
}

// use names the pool whose connections are replaced.
func (r *reconnector) use(pool *pgxpool.Pool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.pool = pool
}

// severalServers reports whether a URL names more than one server. pgx also uses
// fallbacks for one server with and without TLS.
func severalServers(cfg *pgx.ConnConfig) bool {
	return slices.ContainsFunc(cfg.Fallbacks, func(f *pgconn.FallbackConfig) bool {
		return f.Host != cfg.Host || f.Port != cfg.Port
	})
}

// allow returns an error if an attempt to connect must wait.
func (r *reconnector) allow() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.failed == nil {
		return nil
	}
	if time.Since(r.tried) < retryEvery {
		return fmt.Errorf("no attempt to connect yet, because the last one failed: %w", r.failed)
	}
	r.tried = time.Now()
	return nil
}

// ended notes the result of an attempt to connect.
func (r *reconnector) ended(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.failed, r.tried = err, time.Now()
}

// replace drops all connections, those in use when they are returned.
func (r *reconnector) replace() {
	r.mu.Lock()
	pool := r.pool
	due := pool != nil && time.Since(r.replaced) >= retryEvery
	if due {
		r.replaced = time.Now()
	}
	r.mu.Unlock()
	if due {
		pool.Reset()
	}
}

// TraceConnectStart implements [pgx.ConnectTracer].
func (r *reconnector) TraceConnectStart(ctx context.Context, _ pgx.TraceConnectStartData) context.Context {
	return ctx
}

// TraceConnectEnd implements [pgx.ConnectTracer].
func (r *reconnector) TraceConnectEnd(_ context.Context, data pgx.TraceConnectEndData) {
	r.ended(data.Err)
}

// TraceQueryStart implements [pgx.QueryTracer], without which pgx takes no
// tracer.
func (r *reconnector) TraceQueryStart(ctx context.Context, _ *pgx.Conn, _ pgx.TraceQueryStartData) context.Context {
	return ctx
}

// TraceQueryEnd implements [pgx.QueryTracer].
func (r *reconnector) TraceQueryEnd(context.Context, *pgx.Conn, pgx.TraceQueryEndData) {}

// dial opens a connection to a server, or the one over which pgx asks it to cancel
// a statement. Its deadline bounds both; connected removes it.
func dial(ctx context.Context, network, address string) (net.Conn, error) {
	conn, err := (&net.Dialer{Timeout: connectTimeout}).DialContext(ctx, network, address)
	if err != nil {
		return nil, err
	}
	if err := conn.SetDeadline(time.Now().Add(connectTimeout)); err != nil {
		_ = conn.Close()
		return nil, err
	}
	return hastyConn{conn}, nil
}

func connected(conn *pgx.Conn) error { return conn.PgConn().Conn().SetDeadline(time.Time{}) }

// A hastyConn has no deadline later than [connectTimeout] from now. pgx waits for
// the end of a connection that it gives up, up to a deadline of 15 s, and its
// place in the pool is taken until then.
type hastyConn struct{ net.Conn }

func (c hastyConn) SetDeadline(t time.Time) error {
	if latest := time.Now().Add(connectTimeout); t.After(latest) {
		t = latest
	}
	return c.Conn.SetDeadline(t)
}
