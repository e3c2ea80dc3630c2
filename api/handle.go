package api

import (
	"context"
	"crypto/rand"
	"errors"
	"log/slog"
	"net/http"
	"runtime/debug"
	"strconv"
	"time"
)

type requestIDKey struct{}

// requestID returns the ID that the request's log lines, its answer and its
// audit row share. It is usher's own: a client's is not taken over.
func requestID(ctx context.Context) string {
	id, _ := ctx.Value(requestIDKey{}).(string)
	return id
}

// Headers of every response (OWASP ASVS 3.4 and 14.3). Token answers must
// never be stored; what may be, says so itself.
var commonHeaders = map[string][]string{
	"Cache-Control":                {"no-store"},
	"Content-Security-Policy":      {"default-src 'none'; frame-ancestors 'none'"},
	"Cross-Origin-Resource-Policy": {"same-site"},
	"Referrer-Policy":              {"no-referrer"},
	"X-Content-Type-Options":       {"nosniff"},
}

// handle is handleAs with the error shape of all routes but Liveblocks'.
func (a *API) handle(route string, serve func(http.ResponseWriter, *http.Request) error) http.HandlerFunc {
	return a.handleAs(writeProblem, route, serve)
}

// handleAs adapts a handler that writes a response or returns an error, never
// both. It is the one place that logs a request, counts it, and turns an error
// into a response.
func (a *API) handleAs(write func(http.ResponseWriter, problem, string), route string, serve func(http.ResponseWriter, *http.Request) error) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		began := time.Now()
		id := rand.Text()
		header := w.Header()
		for name, values := range a.headers {
			header[name] = values
		}
		header.Set("X-Request-Id", id)
		response := &statusWriter{ResponseWriter: w}
		err := guard(serve, response, r.WithContext(context.WithValue(r.Context(), requestIDKey{}, id)))
		if err != nil && response.status == 0 {
			p := problemFor(err)
			if p.limited != nil {
				a.metrics.limited.WithLabelValues(p.limited.policy).Inc()
			}
			write(response, p, id)
		}
		took := time.Since(began)
		a.metrics.observe(route, response.status, took)
		a.log(r, route, id, response.status, took, err)
	}
}

// guard turns a panic into an error: the process lives, and the request is a
// 500 that says nothing of its cause.
func guard(serve func(http.ResponseWriter, *http.Request) error, w http.ResponseWriter, r *http.Request) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = &panicError{p, debug.Stack()}
		}
	}()
	return serve(w, r)
}

type panicError struct {
	value any
	stack []byte
}

func (*panicError) Error() string { return "api: panic in a handler" }

func (a *API) log(r *http.Request, route, id string, status int, took time.Duration, err error) {
	level := slog.LevelInfo
	if status >= http.StatusInternalServerError {
		level = slog.LevelError
	}
	if !a.cfg.Logger.Enabled(r.Context(), level) {
		return
	}
	attrs := make([]slog.Attr, 0, 8)
	attrs = append(attrs,
		slog.String("request_id", id), slog.String("method", r.Method), slog.String("route", route),
		slog.Int("status", status), slog.Float64("took_ms", float64(took.Microseconds())/1000))
	if err != nil {
		attrs = append(attrs, slog.String("error", err.Error()))
	}
	if p, ok := errors.AsType[*panicError](err); ok {
		attrs = append(attrs, slog.Any("panic", p.value), slog.String("stack", string(p.stack)))
	}
	a.cfg.Logger.LogAttrs(r.Context(), level, "request", attrs...)
}

// statusWriter remembers the status of a response.
type statusWriter struct {
	http.ResponseWriter
	status int
}

func (w *statusWriter) WriteHeader(status int) {
	if w.status == 0 {
		w.status = status
	}
	w.ResponseWriter.WriteHeader(status)
}

func (w *statusWriter) Write(b []byte) (int, error) {
	if w.status == 0 {
		w.status = http.StatusOK
	}
	return w.ResponseWriter.Write(b)
}

// Unwrap serves [http.ResponseController].
func (w *statusWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

func writeJSON(w http.ResponseWriter, status int, body []byte) {
	header := w.Header()
	header["Content-Type"] = []string{"application/json; charset=utf-8"}
	header["Content-Length"] = []string{strconv.Itoa(len(body))}
	w.WriteHeader(status)
	_, _ = w.Write(body) //nolint:gosec // JSON is no page; and where the client is gone, there is nobody to tell
}
