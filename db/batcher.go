package db

import (
	"errors"
	"slices"
	"sync"

	"github.com/jackc/pgx/v5/pgconn"
)

// halve runs do for a batch and answers each item. A batch that Postgres refuses for
// its content is split in half, so that one item does not fail the others. The
// cause may be an item's data, or a directory function that raises an error for it.
func halve[T any](batch []T, do func([]T) error, answer func(T, error)) {
	err := do(batch)
	if err != nil && len(batch) > 1 && isStatementFault(err) {
		half := len(batch) / 2
		halve(batch[:half], do, answer)
		halve(batch[half:], do, answer)
		return
	}
	for _, item := range batch {
		answer(item, err)
	}
}

// isStatementFault reports whether the server refused a statement for its content or
// the data that it reads. If the cause is the connection, the server's resources, a
// lock, a timeout, a concurrent transaction or the system, the halves would fail
// too, each after its own delay.
func isStatementFault(err error) bool {
	pgErr, ok := errors.AsType[*pgconn.PgError](err)
	if !ok || len(pgErr.Code) != 5 {
		return false
	}
	switch pgErr.Code[:2] {
	case "01", "08", "40", "53", "57", "58": // 01: the statement was committed, see withoutWarning
		return false
	}
	return pgErr.Code != lockNotAvailable
}

// A batcher collects waiting items, so that one statement serves many callers: while
// its workers are busy, items queue up, and the next free worker takes all of them.
// It has no goroutine while nothing waits, and needs no Close. Its callers bound
// how many items may wait.
type batcher[T any] struct {
	do      func(batch []T)
	most    int // items in a batch
	workers int // batches at a time

	mu      sync.Mutex
	waiting []T
	running int
}

func (b *batcher[T]) add(item T) {
	b.mu.Lock()
	b.waiting = append(b.waiting, item)
	free := b.running < b.workers
	if free {
		b.running++
	}
	b.mu.Unlock()
	if free {
		go b.run()
	}
}

func (b *batcher[T]) run() {
	for {
		b.mu.Lock()
		n := min(len(b.waiting), b.most)
		if n == 0 {
			b.running--
			b.mu.Unlock()
			return
		}
		batch := slices.Clone(b.waiting[:n])
		b.waiting = slices.Delete(b.waiting, 0, n)
		b.mu.Unlock()
		b.do(batch)
	}
}
