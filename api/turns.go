package api

import (
	"context"
	"fmt"
	"sync"

	"github.com/usher-auth/usher/internal/principal"
)

// turns bound the admin requests that use the database at the same time, in total and
// with one key. Further requests wait for their turn; requests of the public API never
// do. They are safe for concurrent use.
type turns struct {
	all   chan struct{}
	share int // maximum for one key

	mu   sync.Mutex
	keys map[string]*keyTurns
}

type keyTurns struct {
	all   chan struct{}
	users int // requests that have a turn or wait for one
}

func newTurns(n, share int) *turns {
	return &turns{all: make(chan struct{}, n), share: share, keys: map[string]*keyTurns{}}
}

// take waits for a turn of the key. The caller calls release when it is done.
func (t *turns) take(ctx context.Context, key string) (release func(), err error) {
	t.mu.Lock()
	own := t.keys[key]
	if own == nil {
		own = &keyTurns{all: make(chan struct{}, t.share)}
		t.keys[key] = own
	}
	own.users++
	t.mu.Unlock()
	leave := func() {
		t.mu.Lock()
		defer t.mu.Unlock()
		if own.users--; own.users == 0 {
			delete(t.keys, key)
		}
	}
	for i, turn := range []chan struct{}{own.all, t.all} {
		select {
		case turn <- struct{}{}:
		case <-ctx.Done():
			if i == 1 {
				<-own.all
			}
			leave()
			return nil, fmt.Errorf("api: no turn for the admin key: %w", principal.ErrUnavailable)
		}
	}
	return func() {
		<-t.all
		<-own.all
		leave()
	}, nil
}
