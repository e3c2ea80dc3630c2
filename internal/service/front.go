package service

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/usher-auth/usher/api"
	"github.com/usher-auth/usher/db"
	"github.com/usher-auth/usher/internal/principal"
)

// A front is a server on a listener. What it answers may change while it serves:
// it serves before the database is there, and it closes its connections before it
// stops.
type front struct {
	server   *http.Server
	listener net.Listener
	handler  atomic.Pointer[http.Handler]
	closing  atomic.Bool // answers ask their client to open a new connection
	serving  sync.Once
}

func newFront(l net.Listener, logger *slog.Logger) *front {
	f := &front{listener: l}
	f.server = NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if f.closing.Load() {
			w.Header().Set("Connection", "close")
		}
		(*f.handler.Load()).ServeHTTP(w, r)
	}), logger)
	return f
}

func (f *front) answerWith(h http.Handler) { f.handler.Store(&h) }

// serve starts to serve once. failed receives why the server ended.
func (f *front) serve(failed chan<- error) {
	f.serving.Do(func() { go func() { failed <- f.server.Serve(f.listener) }() })
}

// retryDatabase is how often usher looks for a database that is away at the start;
// remindEvery is how often the log says so.
const (
	retryDatabase = time.Second
	remindEvery   = 30 * time.Second
)

// awaitDatabase returns the database's deployment. While the database is away, the
// listeners answer that usher is not ready.
func (s *Service) awaitDatabase(ctx context.Context, registry *prometheus.Registry) (db.Deployment, error) {
	var reminded time.Time
	for {
		d, err := s.db.Deployment(ctx)
		if !errors.Is(err, principal.ErrUnavailable) || isMisconfigured(err) || ctx.Err() != nil {
			return d, err
		}
		if time.Since(reminded) >= remindEvery {
			reminded = time.Now()
			s.cfg.Logger.ErrorContext(ctx, "waiting for the database", "error", err.Error())
		}
		s.public.answerWith(api.Waiting())
		s.ops.answerWith(api.NewOps(registry, nil, func(context.Context) (string, error) { return "", err }))
		s.public.serve(s.failed)
		s.ops.serve(s.failed)
		select {
		case <-ctx.Done():
			return d, ctx.Err()
		case err := <-s.failed:
			return d, err
		case <-time.After(retryDatabase):
		}
	}
}

// isMisconfigured reports whether the server refuses this user, password or
// database: waiting does not help.
func isMisconfigured(err error) bool {
	pgErr, ok := errors.AsType[*pgconn.PgError](err)
	return ok && slices.ContainsFunc([]string{"28", "3D", "42"}, func(class string) bool { return strings.HasPrefix(pgErr.Code, class) })
}
