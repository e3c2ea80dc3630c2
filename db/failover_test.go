package db_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/usher-auth/usher/db"
	"github.com/usher-auth/usher/db/dbtest"
	"github.com/usher-auth/usher/internal/principal"
)

// eventually waits until a condition holds.
func eventually(t testing.TB, what string, holds func() error) {
	t.Helper()
	deadline := time.Now().Add(time.Minute)
	for {
		err := holds()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s: %v", what, err)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// A pool follows a switchover, where the old primary takes no writes any more and
// keeps its connections, and a failover, where it is gone. No acknowledged row is
// lost.
func TestFollowsThePrimary(t *testing.T) {
	t.Parallel()
	for name, demote := range map[string]func(t *testing.T, primary *dbtest.Server){
		"switchover": func(t *testing.T, primary *dbtest.Server) {
			primary.Exec(t, "ALTER SYSTEM SET default_transaction_read_only = on")
			primary.Exec(t, "SELECT pg_reload_conf()")
		},
		"failover": func(t *testing.T, primary *dbtest.Server) {
			if err := primary.Stop(); err != nil {
				t.Fatal(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			primary, pg := dbtest.NewServer(t, nil)
			second := primary.Standby(t, "second")
			primary.Exec(t, "ALTER SYSTEM SET synchronous_standby_names = 'second'")
			primary.Exec(t, "SELECT pg_reload_conf()")
			d := openURL(t, dbtest.Both(t, pg.ServiceURL, primary, second))
			log := d.StartAuditLog(db.AuditLogConfig{Replica: "replica-1", Registry: prometheus.NewRegistry()})
			defer log.Close()
			directory, err := d.Directory(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			var acknowledged []string
			record := func() error {
				jti := fmt.Sprintf("jti-%s-%d", name, len(acknowledged))
				err := log.Record(t.Context(), issued(jti))
				if err == nil {
					acknowledged = append(acknowledged, jti)
				} else if !errors.Is(err, principal.ErrUnavailable) {
					t.Errorf("Record() = %v, want ErrUnavailable", err)
				}
				return err
			}
			eventually(t, "the standby acknowledges", record)
			for range 50 {
				if err := record(); err != nil {
					t.Fatal(err)
				}
			}
			demote(t, primary)
			second.Exec(t, "SELECT pg_promote()")
			eventually(t, "rows are recorded on the new primary", record)
			eventually(t, "usher is ready", func() error { return errors.Join(d.Ready(t.Context()), directory.Ready(t.Context())) })
			for range 50 {
				if err := record(); err != nil {
					t.Fatalf("after the first success: %v", err)
				}
			}
			pool, err := pgxpool.New(t.Context(), dbtest.Both(t, pg.URL, second))
			if err != nil {
				t.Fatal(err)
			}
			defer pool.Close()
			var found int
			if err := pool.QueryRow(t.Context(), "SELECT count(*) FROM audit.tokens WHERE jti = ANY ($1)", acknowledged).Scan(&found); err != nil || found != len(acknowledged) {
				t.Errorf("the new primary has %d of %d acknowledged rows, %v", found, len(acknowledged), err)
			}
		})
	}
}

// A commit that no synchronous standby has acknowledged is not one: not when the
// wait for it is canceled, and not when somebody turns synchronous_commit off.
func TestUnacknowledgedCommits(t *testing.T) {
	t.Parallel()
	server, pg := dbtest.NewServer(t, nil)
	d := openURL(t, pg.ServiceURL)
	log := d.StartAuditLog(db.AuditLogConfig{Replica: "replica-1", Registry: prometheus.NewRegistry()})
	defer log.Close()
	if err := log.Record(t.Context(), issued("before")); err != nil {
		t.Fatal(err)
	}
	if err := d.Ready(t.Context()); err != nil {
		t.Fatal(err)
	}
	server.Exec(t, "ALTER SYSTEM SET synchronous_standby_names = 'missing'")
	server.Exec(t, "ALTER ROLE usher_test_service SET synchronous_commit = off")
	server.Exec(t, "ALTER SYSTEM SET synchronous_commit = off")
	server.Exec(t, "ALTER ROLE usher_test_service SET client_min_messages = error")
	server.Exec(t, "SELECT pg_reload_conf()")

	const callers = 32 // so that a batch has several rows
	refused := make(chan error, callers)
	for caller := range callers {
		go func() {
			for n := 0; ; n++ { // Postgres reads its new settings some time later
				if err := log.Record(t.Context(), issued(fmt.Sprintf("jti-%d-%d", caller, n))); err != nil {
					refused <- err
					return
				}
			}
		}()
	}
	for range callers {
		var err error
		eventually(t, "a commit waits for the standby, and the wait is canceled", func() error {
			server.Exec(t, "SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE wait_event = 'SyncRep'")
			select {
			case err = <-refused:
				return nil
			default:
				return errors.New("not yet")
			}
		})
		if !errors.Is(err, principal.ErrUnavailable) || !strings.Contains(err.Error(), "failover may lose it") {
			t.Errorf("Record() of a commit that nobody acknowledged = %v, want ErrUnavailable", err)
		}
	}
	var twice int
	if err := pg.Pool.QueryRow(t.Context(), "SELECT count(*) FROM (SELECT FROM usher.decisions GROUP BY jti HAVING count(*) > 1) t").Scan(&twice); err != nil || twice != 0 {
		t.Errorf("%d tokens have several rows, %v", twice, err)
	}
	if err := d.Ready(t.Context()); err == nil {
		t.Error("Ready() = nil, although no commit is acknowledged")
	}
	server.Exec(t, "ALTER SYSTEM RESET synchronous_standby_names")
	server.Exec(t, "SELECT pg_reload_conf()")
	eventually(t, "usher is ready again", func() error { return d.Ready(t.Context()) })
}

// Ready says what keeps a decision from being committed, and recovers by itself.
func TestReadyToRecord(t *testing.T) {
	t.Parallel()
	server, pg := dbtest.NewServer(t, nil)
	d := openURL(t, pg.ServiceURL)
	if err := d.Ready(t.Context()); err != nil {
		t.Fatal(err)
	}
	for name, fault := range map[string]struct{ breaks, mends, says string }{
		"read-only": {
			"ALTER ROLE usher_test_service SET default_transaction_read_only = on; SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'usher_test_service'",
			"ALTER ROLE usher_test_service RESET default_transaction_read_only", "read-only",
		},
		"no privilege": {"REVOKE INSERT ON usher.decisions FROM usher_service_test", "GRANT INSERT ON usher.decisions TO usher_service_test", "permission denied"},
		"no partition": {
			"ALTER TABLE usher.decisions DETACH PARTITION usher.decisions_default; CREATE TABLE usher.kept AS SELECT relname FROM pg_class JOIN pg_inherits ON oid = inhrelid WHERE inhparent = 'usher.decisions'::regclass;" +
				"DO $$ DECLARE r text; BEGIN FOR r IN SELECT relname FROM usher.kept LOOP EXECUTE 'ALTER TABLE usher.decisions DETACH PARTITION usher.' || r; END LOOP; END $$",
			"ALTER TABLE usher.decisions ATTACH PARTITION usher.decisions_default DEFAULT; DROP TABLE usher.kept", "no partition",
		},
		"a constraint": {"ALTER TABLE usher.decisions ADD CONSTRAINT shut CHECK (false) NOT VALID", "ALTER TABLE usher.decisions DROP CONSTRAINT shut", "shut"},
	} {
		server.Exec(t, fault.breaks)
		eventually(t, name, func() error {
			if err := d.Ready(t.Context()); err == nil || !strings.Contains(err.Error(), fault.says) {
				return fmt.Errorf("Ready() = %w, want one that says %q", err, fault.says)
			}
			return nil
		})
		server.Exec(t, fault.mends)
		eventually(t, name+" is mended", func() error { return d.Ready(t.Context()) })
	}

	lock, err := pg.Pool.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := lock.Exec(t.Context(), "LOCK TABLE usher.decisions"); err != nil {
		t.Fatal(err)
	}
	if err := d.Ready(t.Context()); err == nil || !strings.Contains(err.Error(), "lock timeout") {
		t.Errorf("Ready() while the table is locked = %v", err)
	}
	if err := lock.Rollback(t.Context()); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the table is unlocked", func() error { return d.Ready(t.Context()) })
	var rows int
	if err := pg.Pool.QueryRow(t.Context(), "SELECT count(*) FROM usher.decisions").Scan(&rows); err != nil || rows != 0 {
		t.Errorf("%d rows are left, %v", rows, err)
	}
}
