package db_test

import (
	"context"
	"net"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/usher-auth/usher/db"
	"github.com/usher-auth/usher/db/dbtest"
)

// A statement whose context ends loses its connection, and no second one is made to
// cancel it.
func TestPoolersGetNoCancelRequests(t *testing.T) {
	t.Parallel()
	pg := dbtest.New(t)
	cfg, err := pgx.ParseConfig(dbtest.With(t, pg.URL, "sslmode", "disable"))
	if err != nil {
		t.Fatal(err)
	}
	var dials atomic.Int64
	dial := cfg.DialFunc
	cfg.DialFunc = func(ctx context.Context, network, address string) (net.Conn, error) {
		dials.Add(1)
		return dial(ctx, network, address)
	}
	db.UsePooler(cfg)
	conn, err := pgx.ConnectConfig(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	lock, err := pg.Pool.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = lock.Rollback(context.WithoutCancel(t.Context())) }()
	if _, err := lock.Exec(t.Context(), "LOCK TABLE usher.grants"); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	ended := make(chan error, 1)
	go func() {
		_, err := conn.Exec(ctx, "SELECT FROM usher.grants")
		ended <- err
	}()
	const waiting = `SELECT EXISTS (SELECT FROM pg_locks l JOIN pg_database d ON d.oid = l.database
		WHERE d.datname = current_database() AND NOT l.granted)`
	for waits, end := false, time.Now().Add(30*time.Second); !waits; time.Sleep(time.Millisecond) {
		if err := pg.Pool.QueryRow(t.Context(), waiting).Scan(&waits); err != nil || time.Now().After(end) {
			t.Fatalf("no statement waits: %v", err)
		}
	}
	cancel()
	if err := <-ended; err == nil || !conn.IsClosed() {
		t.Errorf("the statement ended with %v, and its connection is closed: %t; want an error and true", err, conn.IsClosed())
	}
	if err := lock.Rollback(t.Context()); err != nil {
		t.Fatal(err)
	}
	<-conn.PgConn().CleanupDone()
	if n := dials.Load(); n != 1 {
		t.Errorf("%d connections were made, want 1: the others are cancel requests", n)
	}
}
