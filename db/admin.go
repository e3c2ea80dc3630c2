package db

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/usher-auth/usher/internal/admin"
	"github.com/usher-auth/usher/internal/principal"
)

// adminTimeout bounds one administrator call. It is long: no user's request waits
// for it, and deleting an organization may end many grants.
const adminTimeout = 30 * time.Second

func refuse(kind error, format string, args ...any) error {
	return admin.Refuse(kind, format, args...)
}

func refuseMissing(s admin.Subject) error {
	return refuse(admin.ErrNotFound, "there is no %s: check the id, or add it first", s)
}

func refuseExisting(s admin.Subject) error {
	return refuse(admin.ErrExists, "%s already exists: choose another id", s)
}

// failed turns an operation's error, which may be nil, into the error that this
// package returns. Each operation maps the constraints that mean something to
// its caller.
func failed(operation string, err error) error {
	if _, ok := errors.AsType[*admin.Refusal](err); ok || err == nil {
		return err
	}
	if _, ok := errors.AsType[*PrivilegeError](err); ok {
		return err
	}
	switch {
	case hasCode(err, undefinedTable, undefinedSchema):
		return ErrNotMigrated
	case violates(err, checkViolation, "own_directory"):
		return refuse(admin.ErrInvalid, "%s", message(err))
	case isDataError(err):
		return refuse(admin.ErrInvalid, "%s: Postgres refuses the values: %s", operation, err)
	}
	return unavailable(operation, err)
}

// violates reports whether Postgres refused a row for one constraint.
func violates(err error, code, constraint string) bool {
	pgErr, ok := errors.AsType[*pgconn.PgError](err)
	return ok && pgErr.Code == code && pgErr.ConstraintName == constraint
}

// querier is a pool, a connection or a transaction.
type querier interface {
	Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error)
	QueryRow(ctx context.Context, sql string, args ...any) pgx.Row
}

// queryRow returns the only row of a query, or [pgx.ErrNoRows].
func queryRow[T any](ctx context.Context, q querier, sql string, args pgx.StrictNamedArgs) (T, error) {
	rows, err := q.Query(ctx, sql, args)
	if err != nil {
		return *new(T), err
	}
	return pgx.CollectExactlyOneRow(rows, pgx.RowToStructByName[T])
}

// read runs fn with a connection. Through a pooler, usher sends no cancel requests, so
// that a statement whose context has ended would go on in Postgres: fn is then run in a
// transaction in which Postgres ends it.
func (db *DB) read(ctx context.Context, fn func(querier) error) error {
	return db.pool.AcquireFunc(ctx, func(conn *pgxpool.Conn) error {
		if !db.pooled.Load() {
			return fn(conn)
		}
		return pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error {
			if err := endWith(ctx, tx); err != nil {
				return err
			}
			return fn(tx)
		})
	})
}

// endWith bounds each statement of a transaction, in Postgres, by the time that is left
// to ctx now.
func endWith(ctx context.Context, tx pgx.Tx) error {
	deadline, ok := ctx.Deadline()
	if !ok {
		return nil
	}
	left := max(time.Until(deadline), time.Millisecond) // 0 would mean no bound
	return setLocal(ctx, tx, "statement_timeout", strconv.FormatInt(left.Milliseconds(), 10))
}

// get returns the row of a subject of usher's own directory, or [admin.ErrNotFound].
func get[T any](ctx context.Context, db *DB, s admin.Subject, sql string) (found T, err error) {
	ctx, cancel := context.WithTimeout(ctx, adminTimeout)
	defer cancel()
	err = db.read(ctx, func(q querier) error {
		found, err = queryRow[T](ctx, q, sql, pgx.StrictNamedArgs{"id": s.ID})
		return err
	})
	if errors.Is(err, pgx.ErrNoRows) {
		return found, refuseMissing(s)
	}
	return found, failed("get "+s.Kind, err)
}

// list returns the rows of a query.
func list[T any](ctx context.Context, q querier, operation, sql string, args pgx.StrictNamedArgs) ([]T, error) {
	ctx, cancel := context.WithTimeout(ctx, adminTimeout)
	defer cancel()
	rows, err := q.Query(ctx, sql, args)
	if err != nil {
		return nil, failed(operation, err)
	}
	found, err := pgx.CollectRows(rows, pgx.RowToStructByName[T])
	return found, failed(operation, err)
}

// transact runs fn in a transaction, READ COMMITTED: each statement sees what
// was committed before it, so a statement that waited for a lock sees the other's
// changes. If ctx comes from [DB.Once], fn runs in the transaction of that call.
func (db *DB) transact(ctx context.Context, operation string, fn func(context.Context, pgx.Tx) error) error {
	ctx, cancel := context.WithTimeout(ctx, adminTimeout)
	defer cancel()
	if tx, ok := ctx.Value(txKey{db}).(pgx.Tx); ok {
		return failed(operation, fn(ctx, tx))
	}
	return failed(operation, db.begin(ctx, func(tx pgx.Tx) error { return fn(ctx, tx) }))
}

// transactAs is transact for what the tables and their triggers record under
// the actor's name.
func (db *DB) transactAs(ctx context.Context, actor admin.Actor, operation string, fn func(context.Context, pgx.Tx) error) error {
	if actor == "" {
		return refuse(admin.ErrInvalid, "%s: the actor is empty: say who does this", operation)
	}
	return db.transact(ctx, operation, func(ctx context.Context, tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, statement("act_as"), pgx.StrictNamedArgs{"actor": actor}); err != nil {
			return err
		}
		return fn(ctx, actingTx{tx, actor})
	})
}

// deleteSubject runs a DELETE by id and reports what its trigger ended with it.
func deleteSubject(ctx context.Context, tx pgx.Tx, s admin.Subject, sql string) (admin.Deletion, error) {
	deleted, err := tx.Exec(ctx, sql, pgx.StrictNamedArgs{"id": s.ID})
	if err != nil {
		return admin.Deletion{}, err
	}
	if deleted.RowsAffected() == 0 {
		return admin.Deletion{}, refuseMissing(s)
	}
	return queryRow[admin.Deletion](ctx, tx, statement("taken_along"), nil)
}

// lockSubject refuses a subject that does not exist, and keeps one that does from
// being deleted until the transaction ends. An application's directory is only
// asked: usher cannot stop its deletions. There, an organization or a group is
// known only by its members. One without members may be new, so it is accepted
// with a warning.
func lockSubject(ctx context.Context, tx pgx.Tx, s admin.Subject) (warning string, err error) {
	if s.Kind == admin.EveryoneKind {
		return "", nil
	}
	locked, err := tx.Exec(ctx, statement("lock_subject"), pgx.StrictNamedArgs{"kind": s.Kind, "id": s.ID})
	if err != nil || locked.RowsAffected() > 0 {
		return "", err
	}
	var foreign, listed bool
	if err := tx.QueryRow(ctx, statement("subject_is_listed"), pgx.StrictNamedArgs{"kind": s.Kind, "id": s.ID}).Scan(&foreign, &listed); err != nil {
		return "", err
	}
	switch {
	case foreign && listed:
		return "", nil
	case foreign && s.Kind != admin.UserKind:
		return fmt.Sprintf("the directory lists no member of %s: check the id", s), nil
	}
	return "", refuseMissing(s)
}

// checkOwnDirectory refuses to list what usher's own tables hold while the
// directory is an application's. Changes are refused by the tables' triggers.
func (db *DB) checkOwnDirectory(ctx context.Context, operation string) error {
	return db.transact(ctx, operation, func(ctx context.Context, tx pgx.Tx) error {
		var directory string
		err := tx.QueryRow(ctx, statement("directory_in_force")).Scan(&directory)
		if err == nil && directory != OwnDirectory {
			return refuse(admin.ErrInvalid, "the directory is %s: list users, organizations, groups, members and sessions there", directory)
		}
		return err
	})
}

// checkID refuses an id that usher could not put into a token, or that could be
// read as another id.
func checkID(kind, id string) error {
	if fault := principal.IDFault(id); fault != "" {
		return refuse(admin.ErrInvalid, "the %s id %.64q %s", kind, id, fault)
	}
	return nil
}

// nullableTime returns nil, which is NULL, for the zero time.
func nullableTime(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}
