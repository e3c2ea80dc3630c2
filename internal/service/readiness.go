package service

import (
	"context"
	"sync"
	"time"

	"github.com/usher-auth/usher/db"
	"github.com/usher-auth/usher/session"
)

// A readiness reports whether a token could be issued now. Several may ask at once,
// and often: the answer is at most a second old.
type readiness struct {
	keyring   *session.Keyring
	algorithm string
	directory *db.Directory
	db        *db.DB
	sealer    *db.Sealer

	mu  sync.Mutex
	at  time.Time
	err error
}

// freshReadiness is how old an answer may be.
const freshReadiness = time.Second

// check returns why no token can be issued, or what is degraded although tokens
// are issued.
func (r *readiness) check(ctx context.Context) (degraded string, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if time.Since(r.at) >= freshReadiness {
		r.err = r.probe(context.WithoutCancel(ctx)) // others wait for this answer, too
		r.at = time.Now()
	}
	if r.err != nil {
		return "", r.err
	}
	if err := r.sealer.Problem(); err != nil {
		return err.Error(), nil
	}
	return "", nil
}

// probe looks for a signing key, looks a caller up, and writes an audit row that it
// takes back.
func (r *readiness) probe(ctx context.Context) error {
	if _, err := r.keyring.Signing(r.algorithm, time.Now()); err != nil {
		return err
	}
	if err := r.directory.Ready(ctx); err != nil {
		return err
	}
	return r.db.Ready(ctx)
}
