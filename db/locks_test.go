package db_test

import (
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/usher-auth/usher/db"
)

// A role that can only connect cannot block usher, because it can take none of usher's
// locks.
func TestLocksAreUshers(t *testing.T) {
	t.Parallel()
	for _, pattern := range []string{"queries/*.sql", "schema/*.sql", "migrations/*.sql", "*.go"} {
		for _, file := range glob(t, pattern) {
			if file != "locks_test.go" && strings.Contains(read(t, file), "pg_advisory") || strings.Contains(read(t, file), "pg_try_"+"advisory") {
				t.Errorf("%s takes an advisory lock", file)
			}
		}
	}
	s := newSealed(t)
	for _, sql := range []string{
		"SELECT FROM usher.locks FOR UPDATE", "BEGIN; LOCK TABLE usher.locks", "BEGIN; LOCK TABLE usher.decisions IN SHARE MODE", "BEGIN; LOCK TABLE usher.migrations IN ACCESS SHARE MODE",
	} {
		auditor := connect(t, s.pg.AuditorURL)
		if _, err := auditor.Exec(t.Context(), sql); !isRefused(err) {
			t.Errorf("auditor: %s: error = %v, want 42501", sql, err)
		}
	}
}

func TestSealerSaysThatOthersHoldItsLock(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	s := newSealed(t)
	now := time.Now()
	sealer, err := s.service.NewSealer(ctx, db.SealerConfig{
		Encryption: s.encryption, Registry: prometheus.NewRegistry(), Now: func() time.Time { return now },
	})
	if err != nil {
		t.Fatal(err)
	}
	s.record(t, issued("jti"))
	other, err := s.pg.Pool.Begin(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := other.Exec(ctx, "SELECT FROM usher.locks WHERE name = 'seals' FOR UPDATE"); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		after time.Duration
		fails bool
	}{{0, false}, {9 * time.Second, false}, {time.Second, true}, {time.Minute, true}} {
		now = now.Add(c.after)
		if n, err := sealer.SealNow(ctx); n != 0 || (err != nil) != c.fails || c.fails && !strings.Contains(err.Error(), "usher.locks") {
			t.Errorf("after %s more: SealNow() = %d, %v; want an error: %t", c.after, n, err, c.fails)
		}
	}
	if err := other.Rollback(ctx); err != nil {
		t.Fatal(err)
	}
	if n, err := sealer.SealNow(ctx); n == 0 || err != nil {
		t.Errorf("SealNow() = %d, %v; want the rows", n, err)
	}
}

// The functions that usher's role calls with the owner's rights have limits, and leave
// no lock behind.
func TestDefinersAreBounded(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	s := newSealed(t)
	service := connect(t, s.pg.ServiceURL)
	for _, sql := range []string{
		"SELECT usher.make_decision_partitions(400)", "SELECT usher.make_decision_partitions(13)", "SELECT usher.make_decision_partitions(-1)",
		"SELECT usher.make_decision_partitions(3, 100001)", "SELECT usher.make_decision_partitions(NULL)", "SELECT usher.make_decision_partitions(3, NULL)",
		"SELECT usher.forget_decisions('ada', 100001)", "SELECT usher.forget_decisions('ada', NULL)",
	} {
		if _, err := service.Exec(ctx, sql); err == nil || !strings.Contains(err.Error(), "at most") {
			t.Errorf("%s: error = %v, want one with the limit", sql, err)
		}
	}
	tx, err := service.Begin(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tx.Exec(ctx, "SELECT usher.settled_decisions(), usher.settled_changes()"); err != nil {
		t.Fatal(err)
	}
	s.record(t, issued("jti")) // while that transaction is open
	if err := tx.Rollback(ctx); err != nil {
		t.Fatal(err)
	}
}
