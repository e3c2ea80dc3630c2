package main

import (
	"context"
	"crypto/rand"
	_ "embed"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"sync"
	"text/tabwriter"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/usher-auth/usher/audit"
	"github.com/usher-auth/usher/db"
	"github.com/usher-auth/usher/db/pglocal"
	"github.com/usher-auth/usher/internal/keyencryption"
	"github.com/usher-auth/usher/internal/secret"
	"github.com/usher-auth/usher/permissions"
)

const (
	// auditCommand makes this program measure only the audit's group commit.
	auditCommand = "audit"
	// With this many callers, the group commit must be this many times as fast as one
	// INSERT per request.
	auditCallers, auditRatio = 64, 3
)

//go:embed insert_decision.sql
var insertDecisionSQL string

// A writer commits one audit row and returns.
type writer struct {
	name  string
	write func(context.Context, *audit.Decision) error
}

type auditBench struct {
	rounds   int
	duration time.Duration
	callers  []int
	writers  [2]writer // the group commit, and one INSERT per request
	postgres *pglocal.Server
	turns    map[int][2][]auditTurn
}

// An auditTurn is the result of one writer in one turn.
type auditTurn struct {
	rate float64       // rows per second
	cpu  time.Duration // of this process and Postgres, per row
}

// runAudit measures how many rows per second are committed, by the group commit and by one
// INSERT per request, in turns on the same Postgres. It fails if the group commit is not
// fast enough.
func runAudit(ctx context.Context, args []string, out io.Writer) (err error) {
	b := &auditBench{callers: []int{1, 16, auditCallers}, turns: map[int][2][]auditTurn{}}
	flags := flag.NewFlagSet(auditCommand, flag.ExitOnError)
	flags.IntVar(&b.rounds, "rounds", 3, "`rounds`; in each, both have one turn with each number of callers")
	flags.DurationVar(&b.duration, "duration", 3*time.Second, "`time` of one turn")
	if err := flags.Parse(args); err != nil {
		return err
	}
	dir, err := pglocal.TempDir("", "usher-bench-*")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	postgres, err := pglocal.Start(ctx, pglocal.Config{Dir: filepath.Join(dir, "postgres")})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, postgres.Stop()) }()
	b.postgres = postgres
	stop, err := b.setUp(ctx)
	if err != nil {
		return err
	}
	defer stop()
	if err := b.measure(ctx); err != nil {
		return err
	}
	return b.report(out)
}

// setUp creates the database and both writers. A sealer seals the rows of both at the same
// time, as in usher serve.
func (b *auditBench) setUp(ctx context.Context) (stop func(), err error) {
	owner := secret.New(b.postgres.URL(database))
	if err := db.EnsureDatabase(ctx, secret.New(b.postgres.URL("postgres")), database); err != nil {
		return nil, err
	}
	if _, err := db.Migrate(ctx, owner, db.MigrateConfig{Mode: db.Production}); err != nil {
		return nil, err
	}
	if err := db.MakeServiceLogin(ctx, owner, serviceUser, secret.New("bench")); err != nil {
		return nil, err
	}
	encryption, err := keyencryption.Parse(secret.New(encryptionKey))
	if err != nil {
		return nil, err
	}
	asOwner, err := db.Open(owner)
	if err != nil {
		return nil, err
	}
	defer asOwner.Close()
	if err := asOwner.EnsureCheckpointKey(ctx, encryption, "bench"); err != nil {
		return nil, err
	}
	service, err := url.Parse(owner.Reveal())
	if err != nil {
		return nil, err
	}
	service.User = url.User(serviceUser)
	usher, err := db.Open(secret.New(service.String()))
	if err != nil {
		return nil, err
	}
	cfg, err := pgxpool.ParseConfig(service.String())
	if err != nil {
		return nil, err
	}
	cfg.MaxConns = auditCallers // one connection for each
	single, err := pgxpool.NewWithConfig(ctx, cfg)
	if err != nil {
		return nil, err
	}
	sealer, err := usher.NewSealer(ctx, db.SealerConfig{Encryption: encryption, Registry: prometheus.NewRegistry()})
	if err != nil {
		return nil, err
	}
	log := usher.StartAuditLog(db.AuditLogConfig{Replica: "bench", Registry: prometheus.NewRegistry()})
	b.writers = [2]writer{
		{"group commit", log.Record},
		{"one INSERT each", func(ctx context.Context, d *audit.Decision) error { return insertOne(ctx, single, d) }},
	}
	sealing, cancel := context.WithCancel(ctx)
	var sealed sync.WaitGroup
	sealed.Go(func() {
		for sealing.Err() == nil {
			_, _ = sealer.Seal(sealing) // if it fails because of the writers, the next one catches up
			select {
			case <-sealing.Done():
			case <-time.After(db.SealEvery):
			}
		}
	})
	return func() {
		cancel()
		sealed.Wait()
		log.Close()
		usher.Close()
		single.Close()
	}, nil
}

// measure runs the two in turns, so that other programs on the machine slow down both.
func (b *auditBench) measure(ctx context.Context) error {
	for round := range b.rounds + 1 { // the first warms up
		for _, callers := range b.callers {
			turns := b.turns[callers]
			for i, w := range b.writers {
				t, err := b.turn(ctx, w, callers)
				if err != nil {
					return fmt.Errorf("%s, %d callers: %w", w.name, callers, err)
				}
				if round > 0 {
					turns[i] = append(turns[i], t)
				}
			}
			b.turns[callers] = turns
		}
	}
	return nil
}

// turn commits rows with this many callers. Each waits for its row before it writes the
// next one.
func (b *auditBench) turn(ctx context.Context, w writer, callers int) (auditTurn, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var all sync.WaitGroup
	rows := make([]int, callers)
	began, computed := time.Now(), b.cpu()
	for c := range callers {
		all.Go(func() {
			for time.Since(began) < b.duration && ctx.Err() == nil {
				if err := w.write(ctx, newDecision()); err != nil {
					cancel(err)
					return
				}
				rows[c]++
			}
		})
	}
	all.Wait()
	sum := 0
	for _, n := range rows {
		sum += n
	}
	return auditTurn{float64(sum) / time.Since(began).Seconds(), (b.cpu() - computed) / time.Duration(max(sum, 1))}, context.Cause(ctx)
}

// cpu returns the CPU time of this process and Postgres so far. It is 0 if the system does
// not report it.
func (b *auditBench) cpu() time.Duration {
	postgres, _ := cpuOf(b.postgres.PID())
	self, _ := cpuOf(os.Getpid()) // includes the postmaster, which uses almost none
	return self + postgres
}

var patterns = audit.Patterns{Rooms: []permissions.Rule{
	{Pattern: permissions.MustPattern(permissions.RoomKind, "acme:*"), Access: permissions.Read},
	{Pattern: permissions.MustPattern(permissions.RoomKind, "acme:design:*"), Access: permissions.Full},
}}

func newDecision() *audit.Decision {
	now := time.Now()
	return &audit.Decision{
		Token: &audit.Token{ID: rand.Text(), KeyID: "kid", Audience: "liveblocks", Kind: audit.AccessToken, OrganizationID: "acme", ExpiresAt: now.Add(5 * time.Minute), Patterns: patterns},
		At:    now, CallerKind: audit.CallerSession, CallerID: "sid", UserID: "ada", OrganizationID: "acme", Request: audit.Request{Room: "acme:design:1"},
		IP: netip.MustParseAddr("192.0.2.1"), UserAgent: "Mozilla/5.0 (X11; Linux x86_64)", Origin: "https://app.example.com", RequestID: rand.Text(),
	}
}

// insertOne commits the same row in its own transaction, like a server without a group
// commit.
func insertOne(ctx context.Context, pool *pgxpool.Pool, d *audit.Decision) error {
	text, err := d.Token.Patterns.MarshalJSON()
	if err != nil {
		return err
	}
	hashes := make([]byte, 16+32+32)
	_, _ = rand.Read(hashes) // never fails
	_, err = pool.Exec(ctx, insertDecisionSQL, pgx.StrictNamedArgs{
		"issued_at": d.At, "caller_kind": d.CallerKind, "caller_id": d.CallerID, "user_id": d.UserID, "organization_id": d.OrganizationID,
		"audience": d.Token.Audience, "room": d.Request.Room, "patterns": text, "jti": d.Token.ID, "kid": d.Token.KeyID,
		"expires_at": d.Token.ExpiresAt, "ip": d.IP, "user_agent": d.UserAgent, "origin": d.Origin, "request_id": d.RequestID,
		"replica": "bench", "salt": hashes[:16], "personal_digest": hashes[16:48], "digest": hashes[48:],
	})
	return err
}

// report prints the medians, and the ratios, which are computed within each round.
func (b *auditBench) report(out io.Writer) error {
	fmt.Fprintf(out, "committed audit rows a second; %d rounds of %s each; %s/%s, %d CPUs for the writers and Postgres\n\n",
		b.rounds, b.duration, runtime.GOOS, runtime.GOARCH, runtime.NumCPU())
	table := tabwriter.NewWriter(out, 0, 0, 3, ' ', tabwriter.AlignRight)
	fmt.Fprintf(table, "callers\t%s\t%s\tratio\tCPU µs a row\tand\t\n", b.writers[0].name, b.writers[1].name)
	var reached float64
	for _, callers := range b.callers {
		turns := b.turns[callers]
		ratios := make([]float64, b.rounds)
		for i := range ratios {
			ratios[i] = turns[0][i].rate / turns[1][i].rate
		}
		slices.Sort(ratios)
		rate := func(t auditTurn) float64 { return t.rate }
		cpu := func(t auditTurn) float64 { return float64(t.cpu.Microseconds()) }
		fmt.Fprintf(table, "%d\t%.0f\t%.0f\t%.2f (%.2f to %.2f)\t%.0f\t%.0f\t\n", callers, median(turns[0], rate), median(turns[1], rate),
			middle(ratios), ratios[0], ratios[len(ratios)-1], median(turns[0], cpu), median(turns[1], cpu))
		if callers == auditCallers {
			reached = middle(ratios)
		}
	}
	_ = table.Flush() // errors of writing to out are ignored everywhere
	if reached < auditRatio {
		return fmt.Errorf("the group commit writes %.2f times as many rows as one INSERT each at %d callers, want %d times", reached, auditCallers, auditRatio)
	}
	return nil
}
