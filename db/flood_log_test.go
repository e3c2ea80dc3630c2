package db_test

import (
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
)

func unknown(ip, reason string) *audit.Decision {
	d := denied("R-" + ip)
	d.Reason, d.CallerUnknown = reason, true
	if ip != "" {
		d.IP = netip.MustParseAddr(ip)
	}
	return d
}

// denials returns the numbers of rows and of requests in audit.denials, by prefix and
// reason.
func denials(t *testing.T, pg *dbtest.DB) map[string][2]int64 {
	t.Helper()
	rows, err := pg.Pool.Query(t.Context(), `SELECT coalesce(text(network(set_masklen(ip, CASE WHEN family(ip) = 4 THEN 32 ELSE 56 END))), '') || ' ' || reason,
		count(*), sum(count)::bigint FROM audit.denials GROUP BY 1`)
	if err != nil {
		t.Fatal(err)
	}
	found := map[string][2]int64{}
	var key string
	var n, sum int64
	if _, err := pgx.ForEachRow(rows, []any{&key, &n, &sum}, func() error { found[key] = [2]int64{n, sum}; return nil }); err != nil {
		t.Fatal(err)
	}
	return found
}

func TestFloodsAreCounted(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	s := newSealed(t)
	floods := db.StartFloodLog(db.FloodLogConfig{Log: s.log, Registry: prometheus.NewRegistry()})
	send := func(n int, d func() *audit.Decision) {
		t.Helper()
		var all sync.WaitGroup
		for range 4 {
			all.Go(func() {
				for range n / 4 {
					if err := floods.Record(ctx, d()); err != nil {
						t.Error(err)
					}
				}
			})
		}
		all.Wait()
	}
	send(200, func() *audit.Decision { return unknown("192.0.2.1", "no_credential") })
	send(100, func() *audit.Decision { return unknown("192.0.2.1", "bad_cookie") })
	send(40, func() *audit.Decision { return unknown("192.0.2.2", "no_credential") })
	// Addresses of the same /56 count together.
	send(80, func() *audit.Decision { return unknown("2001:db8:0:1::1", "no_credential") })
	send(80, func() *audit.Decision { return unknown("2001:db8:0:2::1", "no_credential") })
	send(80, func() *audit.Decision { return unknown("", "no_credential") }) // a Unix socket
	send(100, func() *audit.Decision {
		d := unknown("192.0.2.3", "no_grant") // of a known caller
		d.CallerUnknown = false
		return d
	})
	send(100, func() *audit.Decision { return issued("jti") })
	if err := floods.Close(); err != nil {
		t.Fatal(err)
	}
	got := denials(t, s.pg)
	for key, want := range map[string][2]int64{
		"192.0.2.1/32 no_credential":  {61, 200},
		"192.0.2.1/32 bad_cookie":     {61, 100},
		"192.0.2.2/32 no_credential":  {40, 40},
		"2001:db8::/56 no_credential": {61, 160},
		" no_credential":              {61, 80},
		"192.0.2.3/32 no_grant":       {100, 100},
	} {
		// A flush may come in between.
		if g := got[key]; g[1] != want[1] || g[0] < want[0] || g[0] > want[0]+10 {
			t.Errorf("%s: %d rows of %d requests, want %d of %d", key, g[0], g[1], want[0], want[1])
		}
	}
	s.seal(t)
	if report := s.verify(t); report.Found != 0 {
		t.Errorf("VerifyAudit() = %v", findings(report))
	}
}

// Counts that cannot be written are kept and written later.
func TestFloodCountsSurviveAFault(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	s := newSealed(t)
	registry := prometheus.NewRegistry()
	floods := db.StartFloodLog(db.FloodLogConfig{Log: s.log, Registry: registry})
	for range 60 {
		if err := floods.Record(ctx, unknown("192.0.2.1", "no_credential")); err != nil {
			t.Fatal(err)
		}
	}
	exec(t, s.pg, "REVOKE INSERT ON usher.decisions FROM usher_service_test")
	for i := range 100 {
		if err := floods.Record(ctx, unknown("192.0.2.1", "no_credential")); err != nil {
			t.Fatalf("refusal %d, while nothing can be written: %v", i, err)
		}
	}
	watch := &sealed{registry: registry}
	for deadline := time.Now().Add(10 * time.Second); watch.metric(t, "usher_audit_flush_failures_total") == 0; time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("no flush failed")
		}
	}
	if n := watch.metric(t, "usher_audit_unwritten_denials"); n != 100 {
		t.Errorf("usher_audit_unwritten_denials = %v, want 100", n)
	}
	exec(t, s.pg, "GRANT INSERT ON usher.decisions TO usher_service_test")
	if err := floods.Close(); err != nil {
		t.Error(err)
	}
	if diff := cmp.Diff(map[string][2]int64{"192.0.2.1/32 no_credential": {61, 160}}, denials(t, s.pg)); diff != "" {
		t.Errorf("audit.denials (-want +got):\n%s", diff)
	}
}

// An attacker with many addresses cannot fill the memory, and all requests count.
func TestFloodsFromManyAddresses(t *testing.T) {
	t.Parallel()
	const toldApart, beyond = 10_000, 500
	s := newSealed(t)
	floods := db.StartFloodLog(db.FloodLogConfig{Log: s.log, Registry: prometheus.NewRegistry()})
	var all sync.WaitGroup
	next := make(chan int)
	for range 128 {
		all.Go(func() {
			for i := range next {
				d := unknown(fmt.Sprintf("10.%d.%d.%d", i>>16, i>>8&255, i&255), "no_credential")
				if err := floods.Record(t.Context(), d); err != nil {
					t.Error(err)
				}
			}
		})
	}
	for i := range toldApart + beyond {
		next <- i
	}
	close(next)
	all.Wait()
	if err := floods.Close(); err != nil {
		t.Fatal(err)
	}
	var rows, requests, shared int64
	err := s.pg.Pool.QueryRow(t.Context(), "SELECT count(*), sum(count)::bigint, sum(count) FILTER (WHERE ip IS NULL)::bigint FROM audit.denials").Scan(&rows, &requests, &shared)
	if err != nil || requests != toldApart+beyond || shared != beyond || rows > toldApart+20 {
		t.Errorf("%d rows of %d requests, %d of them without an address, %v; want %d requests and %d", rows, requests, shared, err, toldApart+beyond, beyond)
	}
}

// Requests that anyone can repeat leave few rows, whatever their source is: networks
// within networks, or credentials that are no longer valid, from anywhere.
func TestFloodsOfEveryKindLeaveFewRows(t *testing.T) {
	t.Parallel()
	const requests = 5_000
	for name, test := range map[string]struct {
		denial func(i int) *audit.Decision
		most   int64
		kind   string // of the caller in rows with a count
	}{
		"one /48": {func(i int) *audit.Decision {
			return unknown(fmt.Sprintf("2001:db8:0:%x00::1", i%256), "session_unknown")
		}, 32*60 + 60, "none"},
		"one /32": {func(i int) *audit.Decision {
			return unknown(fmt.Sprintf("2001:db8:%x:%x00::1", i, i%256), "session_unknown")
		}, 32 + 60, "none"},
		"an expired session": {func(i int) *audit.Decision {
			d := unknown(fmt.Sprintf("10.0.%d.%d", i>>8, i&255), "session_expired")
			d.CallerUnknown, d.CallerFormer, d.CallerKind, d.CallerID = false, true, audit.CallerSession, "sid"
			return d
		}, 60, "session"},
		"a revoked API key": {func(i int) *audit.Decision {
			d := unknown(fmt.Sprintf("10.0.%d.%d", i>>8, i&255), "api_key_revoked")
			d.CallerUnknown, d.CallerFormer, d.CallerKind, d.CallerID = false, true, audit.CallerAPIKey, "k"
			return d
		}, 60, "api_key"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newSealed(t)
			floods := db.StartFloodLog(db.FloodLogConfig{Log: s.log, Registry: prometheus.NewRegistry()})
			var all sync.WaitGroup
			next := make(chan int)
			for range 64 {
				all.Go(func() {
					for i := range next {
						if err := floods.Record(t.Context(), test.denial(i)); err != nil {
							t.Error(err)
						}
					}
				})
			}
			for i := range requests {
				next <- i
			}
			close(next)
			all.Wait()
			if err := floods.Close(); err != nil {
				t.Fatal(err)
			}
			var rows, sum, counts int64
			var kind string
			err := s.pg.Pool.QueryRow(t.Context(), `SELECT count(*), sum(count)::bigint, count(*) FILTER (WHERE count > 1), coalesce(min(caller_kind) FILTER (WHERE count > 1), '') FROM audit.denials`).Scan(&rows, &sum, &counts, &kind)
			// Each second of a flood adds a row for each network.
			if err != nil || sum != requests || rows-counts > test.most || counts == 0 || counts > 400 || kind != test.kind {
				t.Errorf("%d rows of %d requests, %d of them counts by %q, %v; want at most %d in full, and counts by %q", rows, sum, counts, kind, err, test.most, test.kind)
			}
		})
	}
}

// A refusal that is only counted is one that has a row soon. While counts cannot be
// written, the caller hears that usher is unavailable, and nothing is lost of what
// was counted before.
func TestFloodWhileTheDatabaseIsAway(t *testing.T) {
	t.Parallel()
	server, pg := dbtest.NewServer(t, nil)
	log := openURL(t, pg.ServiceURL).StartAuditLog(db.AuditLogConfig{Replica: "replica-1", Registry: prometheus.NewRegistry()})
	defer log.Close()
	floods := db.StartFloodLog(db.FloodLogConfig{Log: log, Registry: prometheus.NewRegistry()})
	var refused int64
	send := func() error {
		err := floods.Record(t.Context(), unknown("192.0.2.1", "no_credential"))
		if err == nil {
			refused++
		} else if !errors.Is(err, principal.ErrUnavailable) {
			t.Errorf("Record() = %v, want ErrUnavailable", err)
		}
		return err
	}
	for range 100 {
		if err := send(); err != nil {
			t.Fatal(err)
		}
	}
	if err := server.Stop(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "refusals are unavailable", func() error {
		if send() == nil {
			return errors.New("Record() = nil")
		}
		return nil
	})
	server.Start(t)
	eventually(t, "refusals are counted again", send)
	if err := floods.Close(); err != nil {
		t.Fatal(err)
	}
	var sum int64
	if err := pg.Pool.QueryRow(t.Context(), "SELECT sum(count)::bigint FROM audit.denials").Scan(&sum); err != nil || sum < refused {
		t.Errorf("%d refusals are on record, %v; want at least %d", sum, err, refused)
	}
}

// However many networks and former credentials refusals come from, at most 500 are stored
// one by one in a second. The others are counted, and none is lost.
func TestFloodsFromManyNetworksAreCounted(t *testing.T) {
	t.Parallel()
	pg := dbtest.New(t)
	log := newAuditLog(t, pg)
	floods := db.StartFloodLog(db.FloodLogConfig{Log: log, Registry: prometheus.NewRegistry()})
	began := time.Now().Add(-3 * time.Second) // no time below is in the future
	n, counted := 0, int64(0)
	for _, c := range []struct {
		after        time.Duration
		sent, stored int
	}{
		{0, 499, 499},
		{500 * time.Millisecond, 101, 1},
		{time.Second - 1, 50, 0},
		{time.Second, 600, 500},
		{2 * time.Second, 10, 10},
		{2500 * time.Millisecond, 600, 490},
	} {
		stored := 0
		for range c.sent {
			n++
			d := unknown(fmt.Sprintf("10.0.%d.%d", n/256, n%256), "no_credential")
			if n%2 == 0 { // a credential that is no longer valid, from anywhere
				d.CallerUnknown, d.CallerFormer, d.CallerKind, d.CallerID = false, true, audit.CallerAPIKey, fmt.Sprint("key-", n)
			}
			switch only, err := floods.CountAt(d, began.Add(c.after)); {
			case err != nil:
				t.Fatal(err)
			case only:
				counted++
			default:
				stored++
			}
		}
		if stored != c.stored {
			t.Errorf("after %s: %d of %d are stored one by one, want %d", c.after, stored, c.sent, c.stored)
		}
	}
	if err := floods.Close(); err != nil {
		t.Fatal(err)
	}
	var rows int64
	if err := pg.Pool.QueryRow(t.Context(), "SELECT coalesce(sum(count), 0) FROM audit.denials").Scan(&rows); err != nil || rows != counted {
		t.Errorf("the audit counts %d refusals, %v; want %d", rows, err, counted)
	}
}
