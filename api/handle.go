package api

import (
	"context"
	"crypto/rand"
	"errors"
	"log/slog"
	"net/http"
	"net/netip"
	"runtime/debug"
	"strconv"
	"time"

	"github.com/usher-auth/usher/audit"
)

// A request is what usher knows about one request in addition to its bytes. It is in the
// request's context, for the audit row and for the logs.
type request struct {
	id     string     // made by usher: a client's own id is ignored
	client netip.Addr // from [identity.Reader.ClientAddr]
	origin string
	// decision is the audit row of an attempt, filled in as far as the attempt got.
	decision *audit.Decision
}

type requestKey struct{}

// requestOf returns the request that ctx belongs to, or a zero request.
func requestOf(ctx context.Context) *request {
	if r, ok := ctx.Value(requestKey{}).(*request); ok {
		return r
	}
	return &request{}
}

// logHandler adds the request's id to every line that is logged with its context.
type logHandler struct{ slog.Handler }

// Handle implements [slog.Handler].
func (h logHandler) Handle(ctx context.Context, record slog.Record) error {
	if r := requestOf(ctx); r.id != "" {
		record.AddAttrs(slog.String("request_id", r.id))
	}
	return h.Handler.Handle(ctx, record)
}

// WithAttrs implements [slog.Handler].
func (h logHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return logHandler{h.Handler.WithAttrs(attrs)}
}

// WithGroup implements [slog.Handler].
func (h logHandler) WithGroup(name string) slog.Handler { return logHandler{h.Handler.WithGroup(name)} }

// Headers of every response (OWASP ASVS 3.4 and 14.3). An answer with a token must never
// be stored. Routes whose answers may be stored set their own Cache-Control.
var commonHeaders = map[string][]string{
	"Cache-Control":                {"no-store"},
	"Content-Security-Policy":      {"default-src 'none'; frame-ancestors 'none'"},
	"Cross-Origin-Resource-Policy": {"same-site"},
	"Referrer-Policy":              {"no-referrer"},
	"X-Content-Type-Options":       {"nosniff"},
}

// handle is handleAs with the error shape of all routes except Liveblocks'.
func (a *API) handle(route string, serve func(http.ResponseWriter, *http.Request) error) http.HandlerFunc {
	return a.handleAs(writeProblem, route, serve)
}

// handleAs adapts a handler that either writes a response or returns an error, never
// both. It is the only place that logs a request, counts it, and turns an error into a
// response.
func (a *API) handleAs(write func(http.ResponseWriter, *problem, string), route string, serve func(http.ResponseWriter, *http.Request) error) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		began := time.Now()
		request := &request{id: rand.Text(), client: a.cfg.Credentials.ClientAddr(r), origin: recordable(r.Header.Get("Origin"), maxOrigin)}
		header := w.Header()
		for name, values := range a.headers {
			header[name] = values
		}
		header.Set("X-Request-Id", request.id)
		response := &statusWriter{ResponseWriter: w}
		r = r.WithContext(context.WithValue(r.Context(), requestKey{}, request))
		err := guard(serve, response, r)
		if err != nil && response.status == 0 {
			p := classify(err)
			if p.limited != nil {
				a.metrics.limited.WithLabelValues(p.limited.policy).Inc()
			}
			write(response, p, request.id)
		}
		took := time.Since(began)
		a.metrics.observe(route, response.status, took)
		a.log(r, route, request, response.status, took, err)
	}
}

// guard turns a panic into an error: the process continues, and the answer is a 500 that
// does not show the cause.
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

func (a *API) log(r *http.Request, route string, request *request, status int, took time.Duration, err error) {
	level := slog.LevelInfo
	if status >= http.StatusInternalServerError {
		level = slog.LevelError
	}
	if !a.logger.Enabled(r.Context(), level) {
		return
	}
	skipped := 0
	if d := request.decision; status >= http.StatusBadRequest && status < http.StatusInternalServerError && (d == nil || d.CallerUnknown || d.CallerID == "") {
		var sampled bool
		if sampled, skipped = a.refusals.sample(time.Now()); !sampled {
			return
		}
	}
	attrs := make([]slog.Attr, 0, 10)
	attrs = append(attrs,
		slog.String("method", r.Method), slog.String("route", route),
		slog.Int("status", status), slog.Float64("took_ms", float64(took.Microseconds())/1000))
	if request.client.IsValid() {
		attrs = append(attrs, slog.String("client", request.client.String()))
	}
	if request.origin != "" {
		attrs = append(attrs, slog.String("origin", request.origin))
	}
	if d := request.decision; d != nil {
		attrs = append(attrs, slog.String("caller_kind", d.CallerKind))
		if d.UserID != "" {
			attrs = append(attrs, slog.String("user_id", d.UserID))
		}
	}
	if skipped > 0 {
		attrs = append(attrs, slog.Int("refusals_not_logged", skipped))
	}
	if err != nil {
		attrs = append(attrs, slog.String("error", err.Error()))
	}
	if p, ok := errors.AsType[*panicError](err); ok {
		attrs = append(attrs, slog.Any("panic", p.value), slog.String("stack", string(p.stack)))
	}
	a.logger.LogAttrs(r.Context(), level, "request", attrs...)
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

// Unwrap lets [http.ResponseController] find the underlying writer.
func (w *statusWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

func writeJSON(w http.ResponseWriter, status int, body []byte) {
	header := w.Header()
	header["Content-Type"] = []string{"application/json; charset=utf-8"}
	header["Content-Length"] = []string{strconv.Itoa(len(body))}
	w.WriteHeader(status)
	_, _ = w.Write(body)
}
