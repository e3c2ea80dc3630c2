// Command auditdata measures how fast the audit answers. It starts a private Postgres, fills
// it with the data of some months, asks each function about random ids and users, and prints
// the times. It fails if a function is slower than its goal.
//
//	go run ./bench/auditdata -grants 1000000 -users 100000 -tokens 10000000 -months 6
package main

import (
	"context"
	_ "embed"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"slices"
	"syscall"
	"text/tabwriter"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/usher-auth/usher/db"
	"github.com/usher-auth/usher/db/pglocal"
	"github.com/usher-auth/usher/internal/secret"
)

//go:embed data.sql
var dataSQL string

const database = "usher"

// size is the amount of data in the database.
type size struct {
	users, grants, tokens int
	months                int // whole months before the current one
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	var s size
	flag.IntVar(&s.users, "users", 100_000, "`number` of users")
	flag.IntVar(&s.grants, "grants", 1_000_000, "`number` of grants")
	flag.IntVar(&s.tokens, "tokens", 10_000_000, "`number` of tokens")
	flag.IntVar(&s.months, "months", 6, "`number` of months that they are spread over, in addition to the current one")
	samples := flag.Int("samples", 500, "`number` of times to ask each question")
	flag.Parse()
	if err := run(ctx, s, *samples, os.Stdout); err != nil {
		fmt.Fprintf(os.Stderr, "auditdata: %s\n", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, s size, samples int, out io.Writer) (err error) {
	if s.users < 100 || s.grants < 5*s.users || s.tokens < 1 || s.months < 0 || samples < 20 {
		return errors.New("there must be 100 users, 5 grants a user, a token and 20 samples, or more")
	}
	postgres, stop, err := startPostgres(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, stop()) }()
	started := time.Now()
	conn, err := fill(ctx, postgres, s)
	if err != nil {
		return err
	}
	defer conn.Close(ctx)
	fmt.Fprintf(out, "%d users, %d grants, %d tokens in %d months and the present one, made in %s; %s/%s, %d CPUs\n\n",
		s.users, s.grants, s.tokens, s.months, time.Since(started).Round(time.Second), runtime.GOOS, runtime.GOARCH, runtime.NumCPU())
	if _, err := conn.Exec(ctx, "SET ROLE usher_auditor_"+database); err != nil {
		return err
	}
	return measure(ctx, conn, s, samples, out)
}

// startPostgres starts a temporary server. It need not be durable.
func startPostgres(ctx context.Context) (_ *pglocal.Server, stop func() error, err error) {
	dir, err := pglocal.TempDir("", "usher-auditdata-*")
	if err != nil {
		return nil, nil, err
	}
	server, err := pglocal.Start(ctx, pglocal.Config{Dir: filepath.Join(dir, "postgres"), Settings: map[string]string{
		"fsync": "off", "max_wal_size": "4GB", "shared_buffers": "1GB", "maintenance_work_mem": "256MB",
	}})
	if err != nil {
		return nil, nil, errors.Join(err, os.RemoveAll(dir))
	}
	return server, func() error { return errors.Join(server.Stop(), os.RemoveAll(dir)) }, nil
}

// fill migrates and fills a database, and returns a connection as superuser.
func fill(ctx context.Context, postgres *pglocal.Server, s size) (*pgx.Conn, error) {
	if err := db.EnsureDatabase(ctx, secret.New(postgres.URL("postgres")), database); err != nil {
		return nil, err
	}
	if _, err := db.Migrate(ctx, secret.New(postgres.URL(database)), db.MigrateConfig{Mode: db.Production}); err != nil {
		return nil, err
	}
	conn, err := pgx.Connect(ctx, postgres.URL(database))
	if err != nil {
		return nil, err
	}
	args := pgx.StrictNamedArgs{"users": s.users, "grants": s.grants, "tokens": s.tokens, "months": s.months}
	for _, step := range []struct {
		sql  string
		args []any
	}{
		{"SET session_replication_role = replica", nil},
		{dataSQL, []any{pgx.QueryExecModeSimpleProtocol, args}}, // this protocol accepts several statements at once
		{"SET session_replication_role = DEFAULT", nil},
		{"VACUUM (ANALYZE)", nil}, // autovacuum would do this at some time anyway
		{"CHECKPOINT", nil},
	} {
		if _, err := conn.Exec(ctx, step.sql, step.args...); err != nil {
			return nil, errors.Join(fmt.Errorf("fill: %w", err), conn.Close(ctx))
		}
	}
	return conn, nil
}

// A question is a query that an auditor runs.
type question struct {
	name string
	sql  string
	args func(s size) []any // random arguments
	aim  time.Duration      // goal for the 95th percentile; zero: none
}

// Most rooms and users have few grants. Those of a large organization have answers with
// thousands of rows.
func document(s size) string {
	doc := rand.IntN(s.grants / 3)
	doc -= doc % 4 // a room
	return fmt.Sprintf("org-%d:document-%d", doc*7%s.users%max(s.users/20, 1), doc+1)
}

func bigRoom(size) string { return fmt.Sprintf("big-%d:document-%d", 1+rand.IntN(3), rand.IntN(1000)) }

func user(s size) string { return fmt.Sprintf("user-%d", rand.IntN(s.users)) }

func past(s size) time.Time {
	return time.Now().Add(-time.Duration(rand.Int64N(int64(time.Duration(s.months) * 30 * 24 * time.Hour))))
}

const largeOrganization = ", large organization"

var questions = []question{
	{"who_can", "SELECT count(*) FROM audit.who_can('room', $1)", func(s size) []any { return []any{document(s)} }, 20 * time.Millisecond},
	{"who_can" + largeOrganization, "SELECT count(*) FROM audit.who_can('room', $1)", func(s size) []any { return []any{bigRoom(s)} }, 0},
	{"who_could", "SELECT count(*) FROM audit.who_could('room', $1, $2)", func(s size) []any { return []any{document(s), past(s)} }, 0},
	{"who_could" + largeOrganization, "SELECT count(*) FROM audit.who_could('room', $1, $2)", func(s size) []any { return []any{bigRoom(s), past(s)} }, 0},
	{"explain", "SELECT count(*) FROM audit.why($1, 'room', $2)", func(s size) []any { return []any{user(s), document(s)} }, 20 * time.Millisecond},
	{"explain" + largeOrganization, "SELECT count(*) FROM audit.why($1, 'room', $2)", func(s size) []any { return []any{user(s), bigRoom(s)} }, 20 * time.Millisecond},
	{"what_can", "SELECT count(*) FROM audit.what_can($1)", func(s size) []any { return []any{user(s)} }, 10 * time.Millisecond},
	{"tokens_of, 30 days", "SELECT count(*) FROM audit.tokens_of($1, $2)", func(s size) []any {
		return []any{user(s), time.Now().Add(-30 * 24 * time.Hour)}
	}, 50 * time.Millisecond},
	{"tokens_of, all", "SELECT count(*) FROM audit.tokens_of($1, '-infinity')", func(s size) []any { return []any{user(s)} }, 50 * time.Millisecond},
	{"holders", "SELECT count(*) FROM audit.holders('room', $1, $2)", func(s size) []any { return []any{document(s), past(s)} }, 50 * time.Millisecond},
}

// reports read much data, and run once. Their aims are for a million tokens, and grow
// with the number of tokens.
var reports = []question{
	{"risky_grants", "SELECT count(*) FROM audit.risky_grants", func(size) []any { return nil }, 0},
	{"matches_nothing", "SELECT count(*) FROM audit.risky_grants WHERE reason = 'matches_nothing'", func(size) []any { return nil }, 0},
	{"unused_grants, 30 days", "SELECT count(*) FROM audit.unused_grants($1)", func(size) []any {
		return []any{time.Now().Add(-30 * 24 * time.Hour)}
	}, 20 * time.Second},
	{"access, one user", "SELECT count(*) FROM audit.access WHERE principal_id = $1", func(s size) []any { return []any{user(s)} }, 0},
	{"access, all", "SELECT count(*) FROM audit.access", func(size) []any { return nil }, 0},
}

// measure prints a line for each question, and returns those that miss their goal.
func measure(ctx context.Context, conn *pgx.Conn, s size, samples int, out io.Writer) error {
	var missed []error
	table := tabwriter.NewWriter(out, 0, 0, 3, ' ', tabwriter.AlignRight)
	fmt.Fprintln(table, "\trows\tp50 ms\tp95 ms\taim ms\t")
	ask := func(q question, samples int) error {
		times := make([]time.Duration, 0, samples)
		rows := make([]int64, 0, samples)
		for i := range samples + samples/10 { // the first tenth warms up
			var n int64
			asked := time.Now()
			if err := conn.QueryRow(ctx, q.sql, q.args(s)...).Scan(&n); err != nil {
				return fmt.Errorf("%s: %w", q.name, err)
			}
			if i >= samples/10 {
				times, rows = append(times, time.Since(asked)), append(rows, n)
			}
		}
		slices.Sort(times)
		slices.Sort(rows)
		p95 := times[len(times)*95/100]
		aim := ""
		if q.aim > 0 {
			aim = fmt.Sprint(q.aim.Milliseconds())
			if p95 > q.aim {
				missed = append(missed, fmt.Errorf("%s: %s at the 95th percentile, the aim is %s", q.name, p95, q.aim))
			}
		}
		fmt.Fprintf(table, "%s\t%d\t%.1f\t%.1f\t%s\t\n", q.name, rows[len(rows)/2], milliseconds(times[len(times)/2]), milliseconds(p95), aim)
		return nil
	}
	for _, q := range questions {
		if err := ask(q, samples); err != nil {
			return err
		}
	}
	for _, q := range reports {
		q.aim = time.Duration(float64(q.aim) * max(1, float64(s.tokens)/1e6))
		if err := ask(q, 1); err != nil {
			return err
		}
	}
	return errors.Join(table.Flush(), errors.Join(missed...))
}

func milliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
