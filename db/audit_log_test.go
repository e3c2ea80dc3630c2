package db_test

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/usher-auth/usher/audit"
	"github.com/usher-auth/usher/db"
	"github.com/usher-auth/usher/db/dbtest"
	"github.com/usher-auth/usher/internal/principal"
	"github.com/usher-auth/usher/permissions"
)

func newAuditLog(t testing.TB, pg *dbtest.DB) *db.AuditLog {
	t.Helper()
	a := open(t, pg).StartAuditLog(db.AuditLogConfig{Replica: "replica-1", Registry: prometheus.NewRegistry()})
	t.Cleanup(a.Close)
	return a
}

func issued(jti string) *audit.Decision {
	now := time.Now().Truncate(time.Microsecond)
	return &audit.Decision{
		Token: &audit.Token{
			ID: jti, KeyID: "kid-1", Audience: "liveblocks", ExpiresAt: now.Add(5 * time.Minute).Truncate(time.Second),
			Kind: audit.AccessToken, OrganizationID: "acme", Claims: `{"perms":{"a\"\\:*":["room:read","comments:read"]}}`,
			Patterns: audit.Patterns{Rooms: []permissions.Rule{{Pattern: permissions.MustPattern(permissions.RoomKind, `a"\:*`), Access: permissions.Read}}},
			Partial:  true,
		},
		At: now, CallerKind: audit.CallerSession, CallerID: "sid-1", UserID: "ada", OrganizationID: "acme", Warnings: []string{audit.WarnOpenPrefix},
		Request: audit.Request{Room: `a"\:1`, OrganizationID: "globex"}, SkippedGrants: []int64{3, 5},
		IP: netip.MustParseAddr("2001:db8::1"), UserAgent: "curl", Origin: "https://app.example.com", RequestID: "R1",
	}
}

func TestRecord(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	pg := dbtest.New(t)
	a := newAuditLog(t, pg)
	d := issued("jti-1")
	if err := a.Record(ctx, d); err != nil {
		t.Fatal(err)
	}
	denial := &audit.Decision{Reason: "no_credential", At: d.At, CallerKind: audit.CallerNone, Request: audit.Request{Store: "s"}, RequestID: "R2"}
	if err := a.Record(ctx, denial); err != nil {
		t.Fatal(err)
	}

	row := func(sql string) map[string]any {
		rows, err := pg.Pool.Query(ctx, sql)
		if err != nil {
			t.Fatal(err)
		}
		m, err := pgx.CollectExactlyOneRow(rows, pgx.RowToMap)
		if err != nil {
			t.Fatalf("%s: %v", sql, err)
		}
		for k, v := range m {
			if at, ok := v.(time.Time); ok {
				m[k] = at.UTC()
			}
		}
		return m
	}
	token := row("SELECT * FROM audit.tokens")
	if recorded := token["recorded_at"].(time.Time); recorded.Before(d.At) || time.Since(recorded) > time.Minute {
		t.Errorf("recorded_at = %s", recorded)
	}
	delete(token, "recorded_at")
	if diff := cmp.Diff(map[string]any{
		"jti": "jti-1", "issued_at": d.At.UTC(), "expires_at": d.Token.ExpiresAt.UTC(), "user_id": "ada", "organization_id": "acme", "requested_organization_id": "globex", "token_kind": "access",
		"claims": map[string]any{"perms": map[string]any{`a"\:*`: []any{"room:read", "comments:read"}}}, "warnings": []any{"open_prefix"},
		"audience": "liveblocks", "room": `a"\:1`, "store": nil,
		"patterns": map[string]any{"rooms": map[string]any{`a"\:*`: "read"}}, "partial": true, "skipped_grants": []any{int64(3), int64(5)},
		"caller_kind": "session", "caller_id": "sid-1", "kid": "kid-1", "ip": netip.MustParsePrefix("2001:db8::1/128"),
		"user_agent": "curl", "origin": "https://app.example.com", "request_id": "R1", "replica": "replica-1",
	}, token, cmp.Comparer(func(a, b netip.Prefix) bool { return a == b })); diff != "" {
		t.Errorf("audit.tokens (-want +got):\n%s", diff)
	}
	refusal := row("SELECT * FROM audit.denials")
	delete(refusal, "recorded_at")
	if diff := cmp.Diff(map[string]any{
		"denied_at": d.At.UTC(), "reason": "no_credential", "user_id": nil, "organization_id": nil, "requested_organization_id": nil, "audience": nil, "room": nil, "store": "s",
		"skipped_grants": nil, "caller_kind": "none", "caller_id": nil, "ip": nil, "user_agent": nil, "origin": nil, "request_id": "R2", "replica": "replica-1", "count": int64(1),
	}, refusal); diff != "" {
		t.Errorf("audit.denials (-want +got):\n%s", diff)
	}
}

// Every caller gets the result of its own row, however the rows were batched. A row
// with data that Postgres refuses fails alone.
func TestRecordManyAtOnce(t *testing.T) {
	t.Parallel()
	pg := dbtest.New(t)
	a := newAuditLog(t, pg)
	const callers, bad = 300, 7 // every bad-th row cannot be stored
	errs := make([]error, callers)
	var all sync.WaitGroup
	for i := range callers {
		all.Go(func() {
			d := issued(fmt.Sprintf("jti-%d", i))
			if i%bad == 0 {
				d.UserAgent = "a NUL \x00, which Postgres refuses"
			}
			errs[i] = a.Record(t.Context(), d)
		})
	}
	all.Wait()
	for i, err := range errs {
		if refused := err != nil; refused != (i%bad == 0) {
			t.Errorf("row %d: %v", i, err)
		}
		if err != nil && !errors.Is(err, principal.ErrUnavailable) {
			t.Errorf("row %d: error = %v, want %v", i, err, principal.ErrUnavailable)
		}
		var there bool
		if err := pg.Pool.QueryRow(t.Context(), "SELECT EXISTS (SELECT FROM audit.tokens WHERE jti = $1)", fmt.Sprintf("jti-%d", i)).Scan(&there); err != nil {
			t.Fatal(err)
		}
		if there != (err == nil) {
			t.Errorf("row %d: Record() = %v, but in the table: %t", i, err, there)
		}
	}
}

// A late request may come while the log closes. Its row is written, or it gets an
// error.
func TestRecordWhileClosing(t *testing.T) {
	t.Parallel()
	pg := dbtest.New(t)
	a := open(t, pg).StartAuditLog(db.AuditLogConfig{Replica: "replica-1", Registry: prometheus.NewRegistry()})
	const callers = 200
	results := make(chan error, callers)
	closed := make(chan struct{})
	var written int
	for i := range callers {
		if i == callers/2 {
			go func() {
				a.Close()
				close(closed)
			}()
		}
		go func() { results <- a.Record(t.Context(), issued(fmt.Sprint("jti-", i))) }()
	}
	for range callers {
		switch err := <-results; {
		case err == nil:
			written++
		case !errors.Is(err, principal.ErrUnavailable):
			t.Errorf("Record() = %v, want nil or ErrUnavailable", err)
		}
	}
	<-closed
	if err := a.Record(t.Context(), issued("late")); !errors.Is(err, principal.ErrUnavailable) {
		t.Errorf("Record() after Close = %v, want ErrUnavailable", err)
	}
	var rows int
	if err := pg.Pool.QueryRow(t.Context(), "SELECT count(*) FROM audit.tokens").Scan(&rows); err != nil || rows < written {
		t.Errorf("%d rows, %v; want %d at least", rows, err, written)
	}
}

// A row whose caller has gone may still be written: the audit is a superset of the
// tokens. A caller never hangs, even if the database does.
func TestRecordGivesUpWithItsContext(t *testing.T) {
	t.Parallel()
	pg := dbtest.New(t)
	a := newAuditLog(t, pg)
	lock, err := pg.Pool.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer lock.Rollback(context.WithoutCancel(t.Context())) //nolint:errcheck // the test is over
	if _, err := lock.Exec(t.Context(), "LOCK usher.decisions IN ACCESS EXCLUSIVE MODE"); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := a.Record(ctx, issued("jti-1")); !errors.Is(err, principal.ErrUnavailable) || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Record() = %v, want %v", err, principal.ErrUnavailable)
	}
	// The writer gives up at its own deadline, and the next row is written.
	if err := lock.Rollback(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := recordAgain(t, a, issued("jti-2")); err != nil {
		t.Errorf("after the lock: %v", err)
	}
}

// recordAgain records until it succeeds, as clients do.
func recordAgain(t testing.TB, a *db.AuditLog, d *audit.Decision) (err error) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); time.Now().Before(deadline); {
		if err = a.Record(t.Context(), d); err == nil {
			return nil
		}
	}
	return err
}

// If a connection is lost, the rows sent on it fail, and the next ones do not.
func TestRecordSurvivesALostConnection(t *testing.T) {
	t.Parallel()
	pg := dbtest.New(t)
	a := newAuditLog(t, pg)
	service, err := pgx.Connect(t.Context(), pg.ServiceURL)
	if err != nil {
		t.Fatal(err)
	}
	defer service.Close(context.WithoutCancel(t.Context()))
	for i := range 5 {
		if err := recordAgain(t, a, issued(fmt.Sprintf("jti-%d", i))); err != nil {
			t.Fatalf("row %d: %v", i, err)
		}
		const terminate = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid() AND usename = current_user"
		if _, err := service.Exec(t.Context(), terminate); err != nil {
			t.Fatal(err)
		}
	}
}

func TestMakePartitions(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	pg := dbtest.New(t)
	d := open(t, pg)
	if got, err := d.MakePartitions(ctx); err != nil || got != (db.Partitions{}) {
		t.Fatalf("MakePartitions() after the migration = %+v, %v; want nothing", got, err)
	}
	last := time.Now().UTC().AddDate(0, 0, 1-time.Now().UTC().Day()).AddDate(0, 3, 0).Format("2006_01")
	exec(t, pg, "DROP TABLE usher.decisions_"+last)
	// While an auditor's query is open, it gives up, to be tried again. It must not
	// block others, and never stop issuing.
	query, err := pg.Pool.Begin(ctx)
	if err != nil {
		t.Fatal(err)
	}
	defer query.Rollback(context.WithoutCancel(ctx)) //nolint:errcheck // the test is over
	if _, err := query.Exec(ctx, "SELECT FROM audit.tokens"); err != nil {
		t.Fatal(err)
	}
	a := newAuditLog(t, pg)
	gaveUp := make(chan error)
	go func() {
		_, err := d.MakePartitions(ctx)
		gaveUp <- err
	}()
	for waiting := true; waiting; {
		select {
		case err := <-gaveUp:
			waiting = false
			if !errors.Is(err, principal.ErrUnavailable) {
				t.Errorf("MakePartitions() beside an open query = %v, want %v", err, principal.ErrUnavailable)
			}
		default:
			if err := a.Record(ctx, issued("jti")); err != nil {
				t.Errorf("issuing beside MakePartitions: %v", err)
			}
		}
	}
	if err := query.Rollback(ctx); err != nil {
		t.Fatal(err)
	}
	if got, err := d.MakePartitions(ctx); err != nil || got != (db.Partitions{Made: 1}) {
		t.Errorf("MakePartitions() = %+v, %v; want 1 made", got, err)
	}
}

func BenchmarkRecord(b *testing.B) {
	pg := dbtest.New(b)
	a := newAuditLog(b, pg)
	for _, callers := range []int{1, 16, 64} {
		b.Run(fmt.Sprintf("callers=%d", callers), func(b *testing.B) {
			b.SetParallelism(callers)
			b.ReportAllocs()
			b.RunParallel(func(p *testing.PB) {
				for p.Next() {
					if err := a.Record(b.Context(), issued("jti")); err != nil {
						b.Error(err)
					}
				}
			})
		})
	}
}
