package db

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
)

// A commit is acknowledged when it survives the loss of the server, and of the
// primary where there is a synchronous standby. So usher sets synchronous_commit
// in each transaction that it relies on: the setting of the server, the database
// or the role may change while usher runs, and a pooler passes no settings on.

// beginDurable starts a transaction. One whose client is lost must not hold its
// locks for long.
const beginDurable = `BEGIN; SELECT set_config('synchronous_commit', CASE current_setting('synchronous_commit')
	WHEN 'remote_apply' THEN 'remote_apply' ELSE 'on' END, true), set_config('idle_in_transaction_session_timeout', '10s', true),
	set_config('client_min_messages', 'warning', true)`

// begin runs fn in a transaction on a connection of the pool.
func (db *DB) begin(ctx context.Context, fn func(pgx.Tx) error) error {
	return db.pool.AcquireFunc(ctx, func(conn *pgxpool.Conn) error {
		tx, err := conn.BeginTx(ctx, pgx.TxOptions{BeginQuery: beginDurable})
		if err != nil {
			return err
		}
		defer func() { _ = tx.Rollback(ctx) }() // does nothing after a commit
		if err := fn(tx); err != nil {
			return err
		}
		return withoutWarning(conn.Conn(), func() error { return tx.Commit(ctx) })
	})
}

// execDurable runs one statement, which sets synchronous_commit itself, in a
// transaction of its own.
func (db *DB) execDurable(ctx context.Context, sql string, args ...any) error {
	return db.pool.AcquireFunc(ctx, func(conn *pgxpool.Conn) error {
		return withoutWarning(conn.Conn(), func() error {
			_, err := conn.Exec(ctx, sql, args...)
			return err
		})
	})
}

// warningCode is the SQLSTATE of warnings without one of their own.
const warningCode = "01000"

// warning is the key of a connection's last warning.
const warning = "usher.warning"

func noteWarning(conn *pgconn.PgConn, notice *pgconn.Notice) {
	if notice.SeverityUnlocalized == "WARNING" {
		conn.CustomData()[warning] = notice
	}
}

// withoutWarning runs commit and fails if the server warns about it: a commit whose
// wait for the synchronous standby is canceled succeeds with a warning, and a
// failover would lose it.
func withoutWarning(conn *pgx.Conn, commit func() error) error {
	data := conn.PgConn().CustomData()
	delete(data, warning)
	if err := commit(); err != nil {
		return err
	}
	if notice, ok := data[warning].(*pgconn.Notice); ok {
		return fmt.Errorf("committed, but a failover may lose it: %w", (*pgconn.PgError)(notice))
	}
	return nil
}
