package db_test

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/jackc/pgx/v5"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/usher-auth/usher/audit"
	"github.com/usher-auth/usher/db"
	"github.com/usher-auth/usher/db/dbtest"
	"github.com/usher-auth/usher/internal/admin"
	"github.com/usher-auth/usher/internal/keyencryption"
)

// sealed is an audit with its sealer.
type sealed struct {
	encryption *keyencryption.Ring
	pg         *dbtest.DB
	service    *db.DB
	log        *db.AuditLog
	sealer     *db.Sealer
	registry   *prometheus.Registry
	kept       *strings.Builder // the checkpoints kept outside the database
}

func newSealed(t *testing.T) *sealed {
	t.Helper()
	s := &sealed{pg: dbtest.New(t), kept: new(strings.Builder)}
	s.service, s.log = open(t, s.pg), newAuditLog(t, s.pg)
	s.encryption = newKeyEncryption(t)
	if err := openURL(t, s.pg.URL).EnsureCheckpointKey(t.Context(), s.encryption, "test"); err != nil {
		t.Fatal(err)
	}
	s.restart(t)
	return s
}

// restart replaces the sealer by one that remembers nothing.
func (s *sealed) restart(t *testing.T) {
	t.Helper()
	s.registry = prometheus.NewRegistry()
	var err error
	if s.sealer, err = s.service.NewSealer(t.Context(), db.SealerConfig{Encryption: s.encryption, Out: s.kept, Registry: s.registry}); err != nil {
		t.Fatal(err)
	}
}

func (s *sealed) record(t *testing.T, decisions ...*audit.Decision) {
	t.Helper()
	for _, d := range decisions {
		at := d.At
		if old := time.Since(at).Abs() > time.Minute; old {
			d.At = time.Now()
			defer func() { d.At = at }()
			if err := s.log.Record(t.Context(), d); err != nil {
				t.Fatal(err)
			}
			s.backdate(t, at)
			continue
		}
		if err := s.log.Record(t.Context(), d); err != nil {
			t.Fatal(err)
		}
	}
}

// backdate changes the time of the last row, as if it had been written then. It disables
// the triggers for that.
func (s *sealed) backdate(t *testing.T, at time.Time) {
	t.Helper()
	var id int64
	var personal []byte
	if err := s.pg.Pool.QueryRow(t.Context(), "SELECT id, personal_digest FROM usher.decisions ORDER BY id DESC LIMIT 1").Scan(&id, &personal); err != nil {
		t.Fatal(err)
	}
	records, err := s.service.Decisions(t.Context(), admin.DecisionFilter{}, admin.Page[admin.DecisionPlace]{})
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range records {
		if r.ID != id {
			continue
		}
		r.IssuedAt = at
		digest := r.Digest(personal)
		err := pgx.BeginFunc(t.Context(), s.pg.Pool, func(tx pgx.Tx) error {
			triggers := func(what string) string {
				var sql strings.Builder
				for _, table := range append(texts(t, s.pg, "SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhparent = 'usher.decisions'::regclass"), "usher.decisions") {
					fmt.Fprintf(&sql, "ALTER TABLE %s %s TRIGGER USER;", table, what)
				}
				return sql.String()
			}
			if _, err := tx.Exec(t.Context(), triggers("DISABLE")); err != nil {
				return err
			}
			if _, err := tx.Exec(t.Context(), "UPDATE usher.decisions SET issued_at = $1, recorded_at = $1, digest = $2 WHERE id = $3", at, digest[:], id); err != nil {
				return err
			}
			_, err := tx.Exec(t.Context(), triggers("ENABLE"))
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
}

// seal seals all rows.
func (s *sealed) seal(t *testing.T) {
	t.Helper()
	if _, err := s.sealer.SealNow(t.Context()); err != nil {
		t.Fatal(err)
	}
	if rows := s.metric(t, "usher_audit_unsealed_rows"); rows != 0 {
		t.Fatalf("%v rows stay unsealed", rows)
	}
}

func (s *sealed) metric(t *testing.T, name string) float64 {
	t.Helper()
	families, err := s.registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == name {
			if g := f.GetMetric()[0].GetGauge(); g != nil {
				return g.GetValue()
			}
			return f.GetMetric()[0].GetCounter().GetValue()
		}
	}
	t.Fatalf("no metric %s", name)
	return 0
}

// verify verifies as an auditor, who can read only schema audit.
func (s *sealed) verify(t *testing.T, checkpoints ...string) *audit.Report {
	t.Helper()
	report, err := openURL(t, s.pg.AuditorURL).VerifyAudit(t.Context(), nil, checkpoints)
	if err != nil {
		t.Fatal(err)
	}
	return report
}

// denied is a refusal with all optional fields null.
func denied(requestID string) *audit.Decision {
	return &audit.Decision{Reason: "no_credential", At: time.Now(), CallerKind: audit.CallerNone, RequestID: requestID}
}

// fill records decisions 1 to 6 and some changes, in two seals; user "ada" has
// the decisions 1, 3 and 5.
func (s *sealed) fill(t *testing.T) {
	t.Helper()
	s.record(t, issued("jti-1"), denied("R2"), issued("jti-3"))
	for _, user := range []string{"ada", "bob"} {
		if _, err := s.service.AddUser(t.Context(), user, []byte(`{"name": "Ada <\u2028>", "x": 1e2}`), "admin"); err != nil {
			t.Fatal(err)
		}
	}
	s.seal(t)
	s.record(t, denied("R4"), issued("jti-5"), denied("R6"))
	s.seal(t)
}

func TestSealAndVerify(t *testing.T) {
	t.Parallel()
	s := newSealed(t)
	if report := s.verify(t); report.Found != 0 || report.Leaves != 0 || report.Unsealed != 1 { // the change that created the key
		t.Errorf("before the first seal: %+v", report)
	}
	s.fill(t)
	kept := audit.SplitCheckpoints(s.kept.String())
	if len(kept) < 2 {
		t.Fatalf("%d checkpoints were written outside of the database: %s", len(kept), s.kept)
	}
	want := &audit.Report{Leaves: 9, Decisions: 6, Changes: 3, Checkpoints: len(kept)}
	if diff := cmp.Diff(want, s.verify(t, kept...), cmpopts.IgnoreUnexported(audit.Finding{})); diff != "" {
		t.Errorf("VerifyAudit() (-want +got):\n%s", diff)
	}
	s.record(t, denied("R7"))
	if report := s.verify(t, kept...); report.Unsealed != 1 || report.Found != 0 {
		t.Errorf("beside a row that is not sealed yet: %+v", report)
	}
	// It verifies with the public key that auditors keep, and with no other key.
	keys, err := s.service.CheckpointKeys(t.Context())
	if err != nil || len(keys) != 1 {
		t.Fatalf("CheckpointKeys() = %v, %v", keys, err)
	}
	if _, err := s.service.VerifyAudit(t.Context(), []string{keys[0].PublicKey}, kept); err != nil {
		t.Error(err)
	}
	other := newSealed(t)
	others, err := other.service.CheckpointKeys(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.service.VerifyAudit(t.Context(), []string{others[0].PublicKey}, kept); !errors.Is(err, admin.ErrInvalid) {
		t.Errorf("a kept checkpoint under another key: %v, want %v", err, admin.ErrInvalid)
	}
	if report, err := s.service.VerifyAudit(t.Context(), []string{others[0].PublicKey}, nil); err != nil || report.Found == 0 {
		t.Errorf("the tree under another key: %+v, %v; want a finding for each seal", report, err)
	}
}

// Verification finds every change that somebody with all rights makes while the triggers
// are disabled, and reports its row.
func TestVerifyFindsTampering(t *testing.T) {
	t.Parallel()
	const (
		notOfLeaf = "it was changed: its id, its time or its digest is not that of its leaf"
		missing   = "it is missing: it was deleted after it was sealed"
		inserted  = "it was inserted: rows up to and above its id were sealed without it"
	)
	for name, test := range map[string]struct {
		sql  string
		want []string
	}{
		"a user is changed":        {"UPDATE usher.decisions SET user_id = 'eve' WHERE id = 1", []string{"decision 1: it was changed: it does not fit its digest"}},
		"a time is changed":        {"UPDATE usher.decisions SET expires_at = expires_at + interval '1 microsecond' WHERE id = 3", []string{"decision 3: it was changed: it does not fit its digest"}},
		"a time has no end":        {"UPDATE usher.decisions SET expires_at = 'infinity' WHERE id = 3", []string{"decision 3: it was changed: it does not fit its digest"}},
		"null becomes empty":       {"UPDATE usher.decisions SET room = '' WHERE id = 2", []string{"decision 2: it was changed: it does not fit its digest"}},
		"an access is changed":     {`UPDATE usher.decisions SET patterns = '{"rooms": {"a\"\\:*": "full"}}' WHERE id = 1`, []string{"decision 1: it was changed: it does not fit its digest"}},
		"patterns of another form": {`UPDATE usher.decisions SET patterns = '[]' WHERE id = 1`, []string{"decision 1: it was changed: it holds patterns that usher does not write"}},
		"a pattern moves":          {`UPDATE usher.decisions SET patterns = '{"rooms": {}, "stores": {"a*": "read"}}' WHERE id = 1`, []string{"decision 1: it was changed: it does not fit its digest"}},
		"partial is changed":       {"UPDATE usher.decisions SET partial = false WHERE id = 1", []string{"decision 1: it was changed: it does not fit its digest"}},
		"skipped grants":           {"UPDATE usher.decisions SET skipped_grants = '{3}' WHERE id = 1", []string{"decision 1: it was changed: it does not fit its digest"}},
		"a count is changed":       {"UPDATE usher.decisions SET count = 2 WHERE id = 2", []string{"decision 2: it was changed: it does not fit its digest"}},
		"an ip is changed":         {"UPDATE usher.decisions SET ip = '2001:db8::2' WHERE id = 1", []string{"decision 1: it was changed: its ip, user agent and origin do not fit their digest"}},
		"a prefix of an ip":        {"UPDATE usher.decisions SET ip = '2001:db8::1/64' WHERE id = 1", []string{"decision 1: it was changed: its ip, user agent and origin do not fit their digest"}},
		"user agent and origin":    {"UPDATE usher.decisions SET user_agent = origin, origin = user_agent WHERE id = 1", []string{"decision 1: it was changed: its ip, user agent and origin do not fit their digest"}},
		"a salt is changed":        {"UPDATE usher.decisions SET salt = substring(sha256(salt) FOR 16) WHERE id = 1", []string{"decision 1: it was changed: its ip, user agent and origin do not fit their digest"}},
		"personal data are erased": {"UPDATE usher.decisions SET ip = NULL, user_agent = NULL, origin = NULL, salt = NULL WHERE id <= 3", []string{
			`decision 2: the personal data of user "" were erased, and no usher audit forget is recorded for that`,
			`decisions 1 to 3 (2 rows): the personal data of user "ada" were erased, and no usher audit forget is recorded for that`,
		}},
		"recorded_at is changed": {"UPDATE usher.decisions SET recorded_at = recorded_at - interval '1 second' WHERE id = 4", []string{"decision 4: " + notOfLeaf}},
		"an id is changed":       {"ALTER TABLE usher.decisions ALTER id SET GENERATED BY DEFAULT; UPDATE usher.MONTH SET id = 60 WHERE id = 6", []string{"decision 6: " + missing}},
		"two rows change places": {
			`
			ALTER TABLE usher.decisions ALTER id SET GENERATED BY DEFAULT;
			UPDATE usher.MONTH SET id = -1 WHERE id = 2;
			UPDATE usher.MONTH SET id = 2 WHERE id = 5;
			UPDATE usher.MONTH SET id = 5 WHERE id = -1`,
			[]string{"decision 2: " + notOfLeaf, "decision 5: " + notOfLeaf},
		},
		"a row is deleted":     {"DELETE FROM usher.decisions WHERE id = 2", []string{"decision 2: " + missing}},
		"a run is deleted":     {"DELETE FROM usher.decisions WHERE id BETWEEN 2 AND 5", []string{"decisions 2 to 5 (4 rows): " + missing}},
		"all are truncated":    {"TRUNCATE usher.decisions", []string{"decisions 1 to 6 (6 rows): " + missing}},
		"the first is deleted": {"DELETE FROM usher.decisions WHERE id = 1", []string{"decision 1: " + missing}},
		"the last is deleted":  {"DELETE FROM usher.decisions WHERE id = 6", []string{"decision 6: " + missing}},
		"a row is inserted":    {"CREATE TEMP TABLE r AS SELECT * FROM usher.decisions WHERE id = 3; UPDATE r SET id = 0; INSERT INTO usher.decisions OVERRIDING SYSTEM VALUE SELECT * FROM r", []string{"decision 0: " + inserted}},
		"a row is doubled": {`INSERT INTO usher.decisions OVERRIDING SYSTEM VALUE
			SELECT id, issued_at + interval '1 second', recorded_at, result, reason, caller_kind, caller_id, user_id, organization_id, requested_organization_id,
			       audience, room, store, token_kind, patterns, claims, partial, skipped_grants, warnings, jti, kid, expires_at, ip, user_agent, origin, request_id, replica, count, salt, personal_digest, digest
			  FROM usher.decisions WHERE id = 3`, []string{"decision 3: " + inserted}},
		"an actor is changed":   {"UPDATE usher.changes SET actor = 'eve' WHERE id = 2", []string{"change 2: it was changed: it does not fit its digest"}},
		"details are changed":   {`UPDATE usher.changes SET details = details::jsonb::json WHERE id = 2`, []string{"change 2: it was changed: it does not fit its digest"}},
		"changed_at is changed": {"UPDATE usher.changes SET changed_at = now() WHERE id = 2", []string{"change 2: " + notOfLeaf}},
		"a change is deleted":   {"DELETE FROM usher.changes WHERE id = 3", []string{"change 3: " + missing}},
		"a leaf is changed": {`UPDATE usher.seals SET hashes = set_byte(hashes, 0, 255 - get_byte(hashes, 0)) WHERE first_leaf = 0`, []string{
			"seal of the leaves 0 to 5: its leaves and those before it do not give the root that its checkpoint signs: the tree was changed",
			"decision 1: " + notOfLeaf,
		}},
		"a node is changed": {`UPDATE usher.seals SET hashes = set_byte(hashes, 32 * 2, 255 - get_byte(hashes, 32 * 2)) WHERE first_leaf = 0`, []string{
			"seal of the leaves 0 to 5: its hashes above the leaves were changed",
		}},
		"hashes are cut off": {`UPDATE usher.seals SET hashes = substring(hashes FROM 33) WHERE first_leaf = 6`, []string{
			"seal of the leaves 6 to 8: it was changed: usher does not write such a seal",
		}},
		"the ids of a seal": {`UPDATE usher.seals SET decision_ids = '{1,2,7}', decisions_through = 7 WHERE first_leaf = 0`, []string{
			"seal of the leaves 6 to 8: it was changed: usher does not write such a seal",
			"decision 3: " + inserted, "decision 4: " + inserted, "decision 5: " + inserted, "decision 6: " + inserted,
			"decision 7: " + missing,
		}},
		"a seal is deleted": {`DELETE FROM usher.seals WHERE first_leaf = 0`, []string{
			"seal of the leaves 0 to 5: missing; its rows match the next signed checkpoint",
		}},
		"a checkpoint is forged": {`UPDATE usher.seals SET checkpoint = replace(checkpoint, E'\n6\n', E'\n7\n') WHERE first_leaf = 0`, []string{
			"seal of the leaves 0 to 5: not a checkpoint signed by the audit's key: invalid signature for key KEY",
		}},
		"a checkpoint of another seal": {`UPDATE usher.seals SET checkpoint = (SELECT checkpoint FROM usher.seals WHERE first_leaf = 6)`, []string{
			"seal of the leaves 0 to 5: its leaves and those before it do not give the root that its checkpoint signs: the tree was changed",
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newSealed(t)
			s.fill(t)
			s.asMaster(t, test.sql)
			report := s.verify(t)
			var got []string
			for _, f := range report.Findings {
				got = append(got, keyName.ReplaceAllString(f.String(), "KEY"))
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("findings (-want +got):\n%s", diff)
			}
		})
	}
}

// Missing seals do not stop a verification: it says which are missing, and verifies
// what is there.
func TestVerifyGoesOnAfterMissingSeals(t *testing.T) {
	t.Parallel()
	const (
		bridged  = "missing; its rows match the next signed checkpoint"
		noRoot   = "no root covers its rows, because seals before it are missing: they were compared with stored hashes only"
		lostFour = "seal of the leaves 9 to 12: missing; its rows cannot be verified (4 of 4 are there)"
	)
	for name, test := range map[string]struct {
		sql      string
		keep     []int // which of the checkpoints are given
		want     []string
		verified int64 // decisions
		fit      int   // checkpoints
	}{
		"the first":      {"DELETE FROM usher.seals WHERE first_leaf = 0", []int{0, 1}, []string{"seal of the leaves 0 to 5: " + bridged}, 12, 2},
		"one in between": {"DELETE FROM usher.seals WHERE first_leaf = 9", nil, []string{"seal of the leaves 9 to 10: " + bridged}, 12, 0},
		"two apart": {
			"DELETE FROM usher.seals WHERE first_leaf IN (6, 11)", nil,
			[]string{"seal of the leaves 6 to 8: " + bridged, "seal of the leaves 11 to 12: " + bridged},
			12, 0,
		},
		"two together":                       {"DELETE FROM usher.seals WHERE first_leaf IN (9, 11)", nil, []string{lostFour, "seal of the leaves 13 to 15: " + noRoot}, 10, 0},
		"two together, a checkpoint between": {"DELETE FROM usher.seals WHERE first_leaf IN (9, 11)", []int{2, 4}, []string{"seal of the leaves 9 to 12: " + bridged}, 12, 2},
		"two together, a checkpoint after": {
			"DELETE FROM usher.seals WHERE first_leaf IN (9, 11)",
			[]int{4},
			[]string{lostFour, "seal of the leaves 13 to 15: " + noRoot},
			10, 1,
		},
		"two together, the next checkpoint forged": {
			"DELETE FROM usher.seals WHERE first_leaf IN (9, 11); UPDATE usher.seals SET checkpoint = 'x' WHERE first_leaf = 13",
			[]int{4},
			[]string{
				lostFour, "seal of the leaves 13 to 15: not a checkpoint signed by the audit's key: malformed note",
				"seal of the leaves 13 to 15: " + noRoot,
			},
			10, 1,
		},
		"with a row": {
			"DELETE FROM usher.seals WHERE first_leaf = 9; DELETE FROM usher.decisions WHERE id = 7", nil,
			[]string{
				"seal of the leaves 9 to 10: missing; its rows cannot be verified (1 of 2 are there)",
				"seal of the leaves 11 to 12: " + noRoot,
			},
			11, 0,
		},
		"and a row before it changed": {
			"DELETE FROM usher.seals WHERE first_leaf = 9; UPDATE usher.decisions SET user_id = 'eve' WHERE id IN (5, 7)", nil,
			[]string{
				"seal of the leaves 9 to 10: " + bridged,
				"decision 5: it was changed: it does not fit its digest", "decision 7: it was changed: it does not fit its digest",
			},
			10, 0,
		},
		"the last": {
			"DELETE FROM usher.seals WHERE first_leaf = 16",
			[]int{4, 5},
			[]string{"checkpoint of 17 leaves: the tree has only 16 leaves: its end was cut off"},
			11, 1,
		},
		"all but the last": {
			"DELETE FROM usher.seals WHERE first_leaf < 16", nil,
			[]string{
				"seal of the leaves 0 to 15: missing; its rows cannot be verified (16 of 16 are there)", "seal of the leaves 16 to 16: " + noRoot,
			},
			1, 0,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newSealed(t)
			s.fill(t)                                     // leaves 0 to 5 and 6 to 8
			for n, user := range []string{"cyd", "dan"} { // 9 to 10 and 11 to 12
				s.record(t, issued(fmt.Sprintf("jti-%d", 7+n)))
				if _, err := s.service.AddUser(t.Context(), user, nil, "admin"); err != nil {
					t.Fatal(err)
				}
				s.seal(t)
			}
			s.record(t, denied("R9"), denied("R10"), denied("R11"))
			s.seal(t)
			s.record(t, denied("R12"))
			s.seal(t)
			checkpoints := audit.SplitCheckpoints(s.kept.String())
			var kept []string
			for _, n := range test.keep {
				kept = append(kept, checkpoints[n])
			}
			s.asMaster(t, test.sql)
			report := s.verify(t, kept...)
			var got []string
			for _, f := range report.Findings {
				got = append(got, f.String())
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("findings (-want +got):\n%s", diff)
			}
			if report.Decisions != test.verified || report.Checkpoints != test.fit {
				t.Errorf("%d decisions and %d checkpoints are as they were, want %d and %d", report.Decisions, report.Checkpoints, test.verified, test.fit)
			}
		})
	}
}

// A row of another time than that of its writing is refused, and found where
// somebody took the rule away; its proof shows both times.
func TestVerifyFindsBackdatedRows(t *testing.T) {
	t.Parallel()
	s := newSealed(t)
	s.record(t, issued("jti-1"))
	d := issued("jti-2")
	d.At = time.Now().Add(-2 * time.Hour).Truncate(time.Microsecond)
	if err := s.log.Record(t.Context(), d); err == nil {
		t.Fatal("usher's own role back-dated a row")
	}
	exec(t, s.pg, "ALTER TABLE usher.decisions DROP CONSTRAINT decisions_times")
	if err := s.log.Record(t.Context(), d); err != nil {
		t.Fatal(err)
	}
	s.seal(t)
	var id int64
	var recorded time.Time
	if err := s.pg.Pool.QueryRow(t.Context(), "SELECT id, recorded_at FROM usher.decisions WHERE jti = 'jti-2'").Scan(&id, &recorded); err != nil {
		t.Fatal(err)
	}
	written, asOf := recorded.UTC().Format(time.RFC3339Nano), d.At.UTC().Format(time.RFC3339Nano)
	report := s.verify(t)
	want := fmt.Sprintf("decision %d: its two times differ: it was written at %s as of %s", id, written, asOf)
	if len(report.Findings) != 1 || report.Findings[0].String() != want {
		t.Errorf("findings %v, want %s", report.Findings, want)
	}
	proof, err := s.service.ProveToken(t.Context(), "jti-2")
	if err != nil {
		t.Fatal(err)
	}
	if text := proof.String(); !strings.Contains(text, "issued at "+asOf+", recorded at "+written) {
		t.Errorf("the proof says %s", text)
	}
}

// asMaster runs SQL as the owner, with the triggers disabled.
func (s *sealed) asMaster(t *testing.T, sql string) {
	t.Helper()
	for _, table := range []string{"decisions", "changes", "seals"} {
		exec(t, s.pg, "ALTER TABLE usher."+table+" DISABLE TRIGGER USER")
	}
	partitions, err := s.pg.Pool.Query(t.Context(), "SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhparent = 'usher.decisions'::regclass")
	if err != nil {
		t.Fatal(err)
	}
	tables, err := pgx.CollectRows(partitions, pgx.RowTo[string])
	if err != nil {
		t.Fatal(err)
	}
	for _, table := range tables {
		exec(t, s.pg, "ALTER TABLE "+table+" DISABLE TRIGGER USER")
	}
	exec(t, s.pg, strings.ReplaceAll(sql, "MONTH", "decisions_"+time.Now().UTC().Format("2006_01")))
}

var keyName = regexp.MustCompile(`usher-audit-\S+`)

// A rewrite of the whole audit, even with its own key, is found only with a checkpoint
// that was kept elsewhere.
func TestVerifyAgainstKeptCheckpoints(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		sql    string
		reseal bool
		want   []string
	}{
		"the end is cut off": {"DELETE FROM usher.seals WHERE first_leaf = 6; DELETE FROM usher.decisions WHERE id > 3", false, []string{
			"checkpoint of 9 leaves: the tree has only 6 leaves: its end was cut off",
		}},
		"all is cut off": {"TRUNCATE usher.seals, usher.changes; TRUNCATE usher.decisions", false, []string{
			"checkpoint of 6 leaves: the tree has only 0 leaves: its end was cut off",
			"checkpoint of 9 leaves: the tree has only 0 leaves: its end was cut off",
		}},
		"history is rewritten": {"DELETE FROM usher.seals; DELETE FROM usher.decisions WHERE id = 2", true, []string{
			"checkpoint of 6 leaves: the tree had another root then: its history was rewritten",
			"checkpoint of 9 leaves: the tree has only 8 leaves: its end was cut off",
		}},
		"seals are made again": {"DELETE FROM usher.seals WHERE first_leaf = 6", true, nil}, // from the same rows
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newSealed(t)
			s.fill(t)
			kept := audit.SplitCheckpoints(s.kept.String())
			s.asMaster(t, test.sql)
			if test.reseal {
				s.restart(t) // a sealer that remembers more would refuse
				s.seal(t)
			}
			if report := s.verify(t); report.Found != 0 {
				t.Errorf("without a kept checkpoint: %v", report.Findings)
			}
			var got []string
			for _, f := range s.verify(t, kept...).Findings {
				got = append(got, f.String())
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("findings (-want +got):\n%s", diff)
			}
		})
	}
}

// A few rows wait until the last seal is a second old, so that replicas do not seal each
// other's rows one by one. Many rows do not wait.
func TestFewRowsWaitForTheNextSeal(t *testing.T) {
	t.Parallel()
	s := newSealed(t)
	s.seal(t)
	s.record(t, denied("R1"))
	if n, err := s.sealer.Seal(t.Context()); err != nil || n != 0 {
		t.Errorf("Seal() right after a seal = %d, %v; want nothing", n, err)
	}
	if rows := s.metric(t, "usher_audit_unsealed_rows"); rows != 1 {
		t.Errorf("usher_audit_unsealed_rows = %v, want 1", rows)
	}
	exec(t, s.pg, `INSERT INTO usher.decisions (issued_at, result, reason, caller_kind, request_id, replica, personal_digest, digest)
		SELECT now(), 'denied', 'x', 'none', 'r', 'r', sha256(''), sha256('') FROM generate_series(1, 2500)`)
	if n, err := s.sealer.Seal(t.Context()); err != nil || n != 2501 {
		t.Errorf("Seal() of many rows = %d, %v; want 2,501", n, err)
	}
	var seals int
	if err := s.pg.Pool.QueryRow(t.Context(), "SELECT count(*) FROM audit.seals WHERE cardinality(decision_ids) > 0").Scan(&seals); err != nil || seals != 3 {
		t.Errorf("%d seals, %v; want 3 of at most 1,000 rows", seals, err)
	}
}

// A sealer does not append to a tree that was changed.
func TestSealerRefusesABrokenTree(t *testing.T) {
	t.Parallel()
	for name, sql := range map[string]string{
		"a hash":       "UPDATE usher.seals SET hashes = set_byte(hashes, octet_length(hashes) - 1, 255 - get_byte(hashes, octet_length(hashes) - 1)) WHERE first_leaf = 6",
		"a checkpoint": "UPDATE usher.seals SET checkpoint = (SELECT checkpoint FROM usher.seals WHERE first_leaf = 0)",
		"the keys":     "ALTER TABLE usher.checkpoint_keys DISABLE TRIGGER USER; TRUNCATE usher.checkpoint_keys",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newSealed(t)
			s.fill(t)
			s.asMaster(t, sql)
			s.record(t, denied("R7"))
			if n, err := s.sealer.SealNow(t.Context()); err == nil || n != 0 {
				t.Errorf("Seal() = %d, %v; want an error", n, err)
			}
			if failures := s.metric(t, "usher_audit_seal_failures_total"); failures != 1 {
				t.Errorf("usher_audit_seal_failures_total = %v, want 1", failures)
			}
		})
	}
}

// A row is sealed together with all earlier ones, even if a later one is committed
// first. A slow writer does not delay other writers for long.
func TestSealWaitsForWriters(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	s := newSealed(t)
	s.seal(t)
	slow, err := s.pg.Pool.Begin(ctx)
	if err != nil {
		t.Fatal(err)
	}
	defer slow.Rollback(context.WithoutCancel(ctx)) //nolint:errcheck // the test is over
	const insert = `INSERT INTO usher.decisions (issued_at, result, reason, caller_kind, request_id, replica, salt, personal_digest, digest)
		VALUES (now(), 'denied', 'slow', 'none', 'R', 'r', substring(sha256('') FOR 16), sha256(''), sha256(''))`
	if _, err := slow.Exec(ctx, insert); err != nil {
		t.Fatal(err)
	}
	s.record(t, denied("R2")) // committed before the first one
	patience, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	if n, err := s.sealer.SealNow(patience); err == nil || n != 0 || patience.Err() != nil {
		t.Errorf("Seal() beside a slow writer = %d, %v; want nothing and an error of its own", n, err)
	}
	// An administrator's transaction delays only the sealing of changes.
	if err := slow.Rollback(ctx); err != nil {
		t.Fatal(err)
	}
	admin, err := s.pg.Pool.Begin(ctx)
	if err != nil {
		t.Fatal(err)
	}
	defer admin.Rollback(context.WithoutCancel(ctx)) //nolint:errcheck // the test is over
	if _, err := admin.Exec(ctx, "INSERT INTO usher.changes (actor, action, target, digest) VALUES ('t', 't.t', 't', sha256(''))"); err != nil {
		t.Fatal(err)
	}
	if n, err := s.sealer.SealNow(ctx); err == nil || n != 1 {
		t.Errorf("Seal() beside a slow administrator = %d, %v; want the decision, and an error for the changes", n, err)
	}
	if report := s.verify(t); report.Found != 0 || report.Decisions != 1 || report.Unsealed != 0 {
		t.Errorf("VerifyAudit() = %+v", report)
	}
}

// With concurrent writers, some of which fail, and two sealers, the tree has every row
// once.
func TestSealersTakeTurns(t *testing.T) {
	t.Parallel()
	s := newSealed(t)
	encryption := newKeyEncryption(t)
	s.asMaster(t, "ALTER TABLE usher.checkpoint_keys DISABLE TRIGGER USER; TRUNCATE usher.checkpoint_keys, usher.changes")
	if err := openURL(t, s.pg.URL).EnsureCheckpointKey(t.Context(), encryption, "test"); err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	var writers, sealers sync.WaitGroup
	for w := range 4 {
		log := newAuditLog(t, s.pg)
		writers.Go(func() {
			for i := range 150 {
				d := issued(fmt.Sprintf("jti-%d-%d", w, i))
				if i%7 == 0 {
					d.UserAgent = "a NUL \x00, which Postgres refuses: its id is drawn, and no row has it"
				}
				if err := log.Record(t.Context(), d); (err == nil) != (i%7 != 0) {
					t.Errorf("row %d: %v", i, err)
				}
			}
		})
	}
	for range 2 {
		sealer, err := open(t, s.pg).NewSealer(t.Context(), db.SealerConfig{Encryption: encryption, Registry: prometheus.NewRegistry()})
		if err != nil {
			t.Fatal(err)
		}
		sealers.Go(func() {
			for last := false; ; {
				if _, err := sealer.SealNow(t.Context()); err != nil && !strings.Contains(err.Error(), "barrier") {
					t.Errorf("Seal() = %v", err)
				}
				if last {
					return
				}
				select {
				case <-done:
					last = true
				default:
				}
			}
		})
	}
	writers.Wait()
	close(done)
	sealers.Wait()
	report := s.verify(t)
	if report.Found != 0 || report.Unsealed != 0 || report.Decisions != 4*128 || report.Changes != 1 {
		t.Errorf("VerifyAudit() = %+v", report)
	}
}

// A sealer does not seal over a database that was set back: neither one whose
// process remembers more, nor one that finds a later checkpoint in its file.
func TestSealerOfADatabaseThatWasSetBack(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	s := newSealed(t)
	s.record(t, issued("kept"))
	s.seal(t)
	s.record(t, issued("lost-1"), issued("lost-2"))
	s.seal(t)
	checkpoints := audit.SplitCheckpoints(s.kept.String())
	last := checkpoints[len(checkpoints)-1]
	// What a restore leaves: neither the rows nor their seal.
	s.asMaster(t, "DELETE FROM usher.seals WHERE first_leaf > 0; DELETE FROM usher.decisions WHERE jti LIKE 'lost-%'")
	if _, err := s.sealer.Seal(ctx); !errors.Is(err, db.ErrRolledBack) || !strings.Contains(err.Error(), "--accept-rollback=") {
		t.Errorf("Seal() of a database that was set back = %v, want ErrRolledBack", err)
	}
	if err := s.sealer.Problem(); !errors.Is(err, db.ErrRolledBack) {
		t.Errorf("Problem() = %v", err)
	}
	// Not even when there are as many rows again.
	s.record(t, issued("other-1"), issued("other-2"), issued("other-3"))
	open := func(cfg db.SealerConfig) *db.Sealer {
		cfg.Encryption, cfg.Registry = s.encryption, prometheus.NewRegistry()
		sealer, err := s.service.NewSealer(ctx, cfg)
		if err != nil {
			t.Fatal(err)
		}
		return sealer
	}
	if _, err := open(db.SealerConfig{Last: last}).Seal(ctx); !errors.Is(err, db.ErrRolledBack) {
		t.Errorf("Seal() after a later checkpoint = %v, want ErrRolledBack", err)
	}
	// A replica that knows of nothing seals, and the others see another history.
	if n, err := open(db.SealerConfig{}).SealNow(ctx); err != nil || n == 0 {
		t.Errorf("Seal() = %d, %v", n, err)
	}
	for name, sealer := range map[string]*db.Sealer{"memory": s.sealer, "file": open(db.SealerConfig{Last: last})} {
		s.record(t, issued("more-"+name))
		if _, err := sealer.SealNow(ctx); !errors.Is(err, db.ErrRolledBack) {
			t.Errorf("%s: Seal() of another history = %v, want ErrRolledBack", name, err)
		}
	}
	if n, err := open(db.SealerConfig{Last: last, AcceptRollback: 1 << 30}).SealNow(ctx); err != nil || n == 0 {
		t.Errorf("Seal() of an accepted rollback = %d, %v", n, err)
	}
	if got := texts(t, s.pg, "SELECT action FROM audit.changes WHERE action = 'audit.accept_rollback'"); len(got) != 1 {
		t.Errorf("changes on record: %v", got)
	}
}

// While sealing fails, the age of what is not sealed rises, whatever the cause.
func TestSealingFails(t *testing.T) {
	t.Parallel()
	s := newSealed(t)
	now := time.Now()
	s.registry = prometheus.NewRegistry()
	sealer, err := s.service.NewSealer(t.Context(), db.SealerConfig{
		Encryption: s.encryption, Registry: s.registry, Now: func() time.Time { return now },
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := sealer.SealNow(t.Context()); err != nil || sealer.Problem() != nil {
		t.Fatalf("Seal() = %v, Problem() = %v", err, sealer.Problem())
	}
	exec(t, s.pg, "REVOKE SELECT ON usher.seals FROM usher_service_test")
	for range 2 {
		if _, err := sealer.SealNow(t.Context()); err == nil {
			t.Fatal("Seal() succeeds without its privilege")
		}
		now = now.Add(time.Minute)
	}
	if err := sealer.Problem(); err == nil || !strings.Contains(err.Error(), "permission denied") {
		t.Errorf("Problem() after two minutes = %v", err)
	}
	if age := s.metric(t, "usher_audit_unsealed_seconds"); age < 60 {
		t.Errorf("usher_audit_unsealed_seconds = %v, want at least 60", age)
	}
	exec(t, s.pg, "GRANT SELECT ON usher.seals TO usher_service_test")
	if _, err := sealer.SealNow(t.Context()); err != nil || sealer.Problem() != nil {
		t.Errorf("mended: Seal() = %v, Problem() = %v", err, sealer.Problem())
	}
}
