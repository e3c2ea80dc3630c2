package db_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/usher-auth/usher/audit"
	"github.com/usher-auth/usher/db"
	"github.com/usher-auth/usher/internal/admin"
	"github.com/usher-auth/usher/internal/principal"
)

// at returns a decision with another time: the first of the month monthsAgo months ago.
func at(d *audit.Decision, monthsAgo int) *audit.Decision {
	now := time.Now().UTC()
	d.At = time.Date(now.Year(), now.Month()-time.Month(monthsAgo), 1, 12, 0, 0, 0, time.UTC)
	return d
}

func findings(report *audit.Report) (got []string) {
	for _, f := range report.Findings {
		got = append(got, f.String())
	}
	return got
}

// Personal data are erased, the tree stays valid, and the erasure is recorded.
func TestForget(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	s := newSealed(t)
	s.fill(t)
	bobs := issued("jti-bob")
	bobs.UserID = "bob"
	s.record(t, bobs)
	if rows, err := s.service.Forget(ctx, "ada", "admin"); err != nil || rows != 3 {
		t.Fatalf("Forget(ada) = %d, %v; want 3", rows, err)
	}
	if rows, err := s.service.Forget(ctx, "ada", "admin"); err != nil || rows != 0 {
		t.Errorf("Forget(ada) again = %d, %v; want 0", rows, err)
	}
	var left, untouched int
	err := s.pg.Pool.QueryRow(ctx, `SELECT count(*) FILTER (WHERE user_id = 'ada' AND num_nonnulls(ip, user_agent, origin, salt) > 0),
		count(*) FILTER (WHERE user_id IS DISTINCT FROM 'ada' AND salt IS NOT NULL) FROM usher.decisions`).Scan(&left, &untouched)
	if err != nil || left != 0 || untouched != 4 {
		t.Errorf("%d rows of ada have personal data, %d of others a salt, %v; want 0 and 4", left, untouched, err)
	}
	var actor, details string
	err = s.pg.Pool.QueryRow(ctx, "SELECT actor, details FROM audit.changes WHERE action = 'audit.forget' AND target = 'ada'").Scan(&actor, &details)
	if err != nil || actor != "admin" || details != `{"rows": 3}` {
		t.Errorf("recorded: %s %s, %v", actor, details, err)
	}
	s.seal(t)
	report := s.verify(t, audit.SplitCheckpoints(s.kept.String())...)
	if report.Found != 0 || report.Forgotten != 3 || report.Decisions != 7 {
		t.Errorf("VerifyAudit() = %+v", report)
	}

	// Nobody can change anything else.
	month := "usher.decisions_" + time.Now().UTC().Format("2006_01")
	for _, set := range []string{
		"ip = NULL", "ip = NULL, user_agent = NULL, origin = NULL", "salt = NULL",
		"ip = NULL, user_agent = NULL, origin = NULL, salt = NULL, user_id = NULL",
		"ip = NULL, user_agent = NULL, origin = NULL, salt = NULL, recorded_at = now()",
		"ip = '10.0.0.1'", "count = 2", "digest = personal_digest",
	} {
		for _, table := range []string{"usher.decisions", month} {
			_, err := s.pg.Pool.Exec(ctx, "UPDATE "+table+" SET "+set+" WHERE user_id = 'bob'")
			if pgErr, ok := errors.AsType[*pgconn.PgError](err); !ok || pgErr.Code != "42501" {
				t.Errorf("UPDATE %s SET %s by the owner: %v, want 42501", table, set, err)
			}
		}
	}
}

// A sealed month is dropped whole. Verification reports other missing rows.
func TestPrune(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	s := newSealed(t)
	owner := openURL(t, s.pg.URL)
	// Ids 1, 2, 4 and 6 are of the old month, 3 of a later one, 5 of the present one.
	s.record(t, at(denied("1"), 14), at(denied("2"), 14), at(denied("3"), 2), at(issued("4"), 14), denied("5"), at(denied("6"), 14))
	if got, err := s.service.MakePartitions(ctx); err != nil || got != (db.Partitions{Made: 2, InDefault: 5}) {
		t.Fatalf("MakePartitions() = %+v, %v", got, err)
	}
	cutoff := time.Now().AddDate(0, 0, -400)
	if _, err := owner.Prune(ctx, cutoff, "t"); !errors.Is(err, admin.ErrInUse) {
		t.Errorf("Prune() of rows that are not sealed = %v, want %v", err, admin.ErrInUse)
	}
	s.seal(t)
	if _, err := s.service.Prune(ctx, cutoff, "t"); err == nil {
		t.Error("usher's own role pruned the audit")
	}
	month := time.Date(time.Now().UTC().Year(), time.Now().UTC().Month()-14, 1, 0, 0, 0, 0, time.UTC).Format("2006-01")
	want := []db.Pruning{{Month: month, Rows: 4, FirstID: 1, LastID: 6, Staying: []int64{3, 5}}}
	if pruned, err := owner.Prune(ctx, cutoff, "admin"); err != nil || !cmp.Equal(want, pruned) {
		t.Fatalf("Prune() = %+v, %v; want %+v", pruned, err, want)
	}
	if pruned, err := owner.Prune(ctx, cutoff, "admin"); err != nil || len(pruned) != 0 {
		t.Errorf("Prune() again = %+v, %v; want nothing", pruned, err)
	}
	for range 2 { // before its record is sealed, and after
		report := s.verify(t, audit.SplitCheckpoints(s.kept.String())...)
		if report.Found != 0 || report.Pruned != 4 || report.Decisions != 2 {
			t.Errorf("VerifyAudit() = %+v", report)
		}
		s.seal(t)
	}
	s.asMaster(t, "DELETE FROM usher.decisions WHERE id = 3")
	if diff := cmp.Diff([]string{"decision 3: it is missing: it was deleted after it was sealed"}, findings(s.verify(t))); diff != "" {
		t.Errorf("beside what was pruned (-want +got):\n%s", diff)
	}
}

func TestVerifyFindsRowsMissingBeforePruning(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	s := newSealed(t)
	s.record(t, at(denied("1"), 14), at(denied("2"), 14), at(denied("3"), 14))
	if _, err := s.service.MakePartitions(ctx); err != nil {
		t.Fatal(err)
	}
	s.seal(t)
	s.asMaster(t, "DELETE FROM usher.decisions WHERE id = 2")
	pruned, err := openURL(t, s.pg.URL).Prune(ctx, time.Now().AddDate(0, 0, -400), "admin")
	if err != nil || len(pruned) != 1 {
		t.Fatalf("Prune() = %v, %v", pruned, err)
	}
	want := []string{fmt.Sprintf("decisions 1 to 3 (3 rows): of %s, 3 sealed rows are missing, but usher audit prune dropped 2", pruned[0].Month)}
	if diff := cmp.Diff(want, findings(s.verify(t))); diff != "" {
		t.Errorf("findings (-want +got):\n%s", diff)
	}
}

// While an auditor's query is open, partitions can be neither created nor dropped, and
// issuing continues.
func TestIssuingContinuesDuringMaintenance(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	s := newSealed(t)
	s.record(t, at(denied("1"), 14))
	query, err := s.pg.Pool.Begin(ctx)
	if err != nil {
		t.Fatal(err)
	}
	defer query.Rollback(context.WithoutCancel(ctx)) //nolint:errcheck // the test is over
	if _, err := query.Exec(ctx, "SELECT FROM audit.denials"); err != nil {
		t.Fatal(err)
	}
	beside := func(what string, do func() error) error {
		t.Helper()
		done := make(chan error)
		go func() { done <- do() }()
		for slowest := time.Duration(0); ; {
			select {
			case err := <-done:
				t.Logf("beside %s a row took %s at most", what, slowest)
				return err
			default:
				began := time.Now()
				if err := s.log.Record(ctx, issued("jti")); err != nil {
					t.Errorf("issuing beside %s: %v", what, err)
				}
				slowest = max(slowest, time.Since(began))
			}
		}
	}
	if err := beside("making", func() error { _, err := s.service.MakePartitions(ctx); return err }); !errors.Is(err, principal.ErrUnavailable) {
		t.Errorf("MakePartitions() beside an open query = %v, want %v", err, principal.ErrUnavailable)
	}
	if err := query.Rollback(ctx); err != nil {
		t.Fatal(err)
	}
	if p, err := s.service.MakePartitions(ctx); err != nil || p.Made != 1 {
		t.Fatalf("MakePartitions() = %+v, %v", p, err)
	}
	s.seal(t)
	if query, err = s.pg.Pool.Begin(ctx); err != nil {
		t.Fatal(err)
	}
	if _, err := query.Exec(ctx, "SELECT FROM audit.denials"); err != nil {
		t.Fatal(err)
	}
	released := time.AfterFunc(1500*time.Millisecond, func() { _ = query.Rollback(ctx) }) // after the first tries
	defer released.Stop()
	owner := openURL(t, s.pg.URL)
	if err := beside("dropping", func() error { _, err := owner.Prune(ctx, time.Now().AddDate(0, 0, -400), "t"); return err }); err != nil {
		t.Errorf("Prune() once the query was over = %v", err)
	}
}

// Rows written while their month had no partition are moved to a new one, and do not
// prevent it.
func TestRowsInTheDefaultPartition(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	s := newSealed(t)
	s.fill(t)
	last := time.Now().UTC().AddDate(0, 0, 1-time.Now().UTC().Day()).AddDate(0, 3, 0)
	exec(t, s.pg, "DROP TABLE usher.decisions_"+last.Format("2006_01"))
	for i := range 3 {
		d := denied(fmt.Sprint(i))
		d.At = last.AddDate(0, 0, i)
		s.record(t, d)
	}
	s.seal(t)
	// Too many rows to move: the month gets no partition, and nothing fails.
	var made int
	var inDefault int64
	const atMost2 = "SELECT made, in_default FROM usher.make_decision_partitions(move_at_most => 2)"
	if err := s.pg.Pool.QueryRow(ctx, atMost2).Scan(&made, &inDefault); err != nil || made != 0 || inDefault != 3 {
		t.Errorf("with at most 2 to move: made %d, found %d, %v; want 0 and 3", made, inDefault, err)
	}
	if got, err := s.service.MakePartitions(ctx); err != nil || got != (db.Partitions{Made: 1, InDefault: 3}) {
		t.Errorf("MakePartitions() = %+v, %v", got, err)
	}
	if got, err := s.service.MakePartitions(ctx); err != nil || got != (db.Partitions{}) {
		t.Errorf("MakePartitions() again = %+v, %v; want nothing", got, err)
	}
	var rows int
	if err := s.pg.Pool.QueryRow(ctx, "SELECT count(*) FROM usher.decisions_"+last.Format("2006_01")).Scan(&rows); err != nil || rows != 3 {
		t.Errorf("the month's partition has %d rows, %v; want 3", rows, err)
	}
	if report := s.verify(t); report.Found != 0 || report.Decisions != 9 {
		t.Errorf("VerifyAudit() = %+v", report)
	}
	s.record(t, denied("after"))
	if _, err := s.pg.Pool.Exec(ctx, "TRUNCATE usher.decisions_default"); err == nil {
		t.Error("the new default partition can be truncated")
	}
}

func TestProveToken(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	s := newSealed(t)
	identity := issued("jti-identity")
	identity.Token.Patterns = audit.Patterns{}
	s.record(t, identity)
	s.fill(t)
	held, err := s.service.CheckpointKeys(ctx)
	if err != nil {
		t.Fatal(err)
	}
	keys, err := audit.ParseKeys(held[0].PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	auditor := openURL(t, s.pg.AuditorURL)
	for _, jti := range []string{"jti-identity", "jti-1", "jti-3", "jti-5"} {
		proof, err := auditor.ProveToken(ctx, jti)
		if err != nil {
			t.Errorf("ProveToken(%s): %v", jti, err)
			continue
		}
		text, err := json.MarshalIndent(proof, "", "  ")
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(text), "2001:db8") || strings.Contains(string(text), "curl") {
			t.Errorf("the proof holds personal data: %s", text)
		}
		read, err := audit.ParseInclusionProof(text)
		if err != nil {
			t.Fatal(err)
		}
		if c, err := read.Check(keys); err != nil || c.Size != 10 {
			t.Errorf("Check() of %s = %d, %v; want 10 leaves", jti, c.Size, err)
		}
		// A change of any byte is found.
		for _, change := range [][2]string{
			{`"id": `, `"id": 1`},
			{`"recordedAt": "2`, `"recordedAt": "1`},
			{`"issuedAt": "2`, `"issuedAt": "1`},
			{`"expiresAt": "2`, `"expiresAt": "1`},
			{`"userId": "ada"`, `"userId": "eve"`},
			{`"leaf": `, `"leaf": 1`},
			{`"audience": "liveblocks"`, `"audience": "livestore"`},
			{`"replica": "replica-1"`, `"replica": "replica-1", "count": 2`},
			{`"replica": "replica-1"`, `"replica": "replica-1", "ip": "192.0.2.1"`},
			{`"personalDigest": "`, `"personalDigest": "AAAA`},
			{`"proof": [`, `"proof": ["AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=",`},
			{`"checkpoint": "usher`, `"checkpoint": "user`},
			{`\n10\n`, `\n11\n`},
		} {
			other := strings.Replace(string(text), change[0], change[1], 1)
			if other == string(text) {
				t.Errorf("%s is not in the proof: %s", change[0], text)
			}
			changed, err := audit.ParseInclusionProof([]byte(other))
			if err != nil {
				t.Errorf("%s: %v", change[1], err)
				continue
			}
			if c, err := changed.Check(keys); err == nil {
				t.Errorf("with %s: Check() = %+v, want an error", change[1], c)
			}
		}
	}
	s.record(t, issued("jti-7"))
	for jti, want := range map[string]error{"jti-7": admin.ErrInUse, "nobody's": admin.ErrNotFound} {
		if _, err := auditor.ProveToken(ctx, jti); !errors.Is(err, want) {
			t.Errorf("ProveToken(%s) = %v, want %v", jti, err, want)
		}
	}
	s.asMaster(t, "UPDATE usher.decisions SET user_id = 'eve' WHERE jti = 'jti-3'")
	if _, err := auditor.ProveToken(ctx, "jti-3"); !errors.Is(err, admin.ErrInvalid) {
		t.Errorf("ProveToken() of a row that was changed = %v, want %v", err, admin.ErrInvalid)
	}
	for _, text := range []string{"", "{", "[]", `{"decision": {"userid": "ada", "desk": 1}}`, `{"id": 1} {}`} {
		if _, err := audit.ParseInclusionProof([]byte(text)); err == nil {
			t.Errorf("ParseInclusionProof(%s) succeeds", text)
		}
	}
}
