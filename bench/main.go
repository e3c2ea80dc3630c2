// Command bench measures how many tokens per second usher issues. It compares usher with a
// server that an application's author would write in Node, and with usher's own limit: the
// same handler without a database. All three answer the same requests in the same run.
// README.md explains the output.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/usher-auth/usher/db/pglocal"
)

// The servers, in the order of their turns.
const (
	usherServer = "usher"
	limitServer = "usher-limit"
	nodeServer  = "node"
)

type config struct {
	connections, rounds int
	duration            time.Duration // of one round
	users, grants       int
	servers             []string
	usher               string // the binary; empty: built from this tree
	profile             string // folder; empty: none
	keep                bool
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	var err error
	switch {
	case len(os.Args) == 2 && os.Args[1] == limitCommand:
		err = serveLimit(ctx)
	case len(os.Args) > 1 && os.Args[1] == auditCommand:
		err = runAudit(ctx, os.Args[2:], os.Stdout)
	default:
		err = run(ctx, parseFlags(), os.Stdout)
	}
	if err != nil {
		fmt.Fprintf(os.Stderr, "bench: %s\n", err)
		os.Exit(1)
	}
}

func parseFlags() config {
	var cfg config
	flag.IntVar(&cfg.connections, "connections", 64, "keep-alive `connections`, each of which waits for its answer before it asks again")
	flag.IntVar(&cfg.rounds, "rounds", 3, "`rounds`; in each, every server has one turn")
	flag.DurationVar(&cfg.duration, "duration", 5*time.Second, "`time` of one turn")
	flag.IntVar(&cfg.users, "users", 10_000, "`number` of users")
	flag.IntVar(&cfg.grants, "grants", 100_000, "`number` of grants")
	servers := flag.String("servers", strings.Join([]string{usherServer, limitServer, nodeServer}, ","), "`names` of the servers to measure")
	flag.StringVar(&cfg.usher, "usher", "", "measure this `binary` instead of one built from this tree")
	flag.StringVar(&cfg.profile, "profile", "", "profile usher in one more turn, and write cpu.pprof and allocs.pprof into this `folder`")
	flag.BoolVar(&cfg.keep, "keep", false, "keep the database and the logs, and say where they are")
	flag.Parse()
	cfg.servers = strings.Split(*servers, ",")
	return cfg
}

// run measures and prints the results. It fails if an answer is not a good token, or if a
// token has no audit row.
func run(ctx context.Context, cfg config, out io.Writer) (err error) {
	if min(cfg.connections, cfg.rounds, cfg.users) < 1 || cfg.duration <= 0 || cfg.grants < 2*cfg.users {
		return errors.New("connections, rounds, duration and users must be positive, and there must be two grants a user or more")
	}
	dir, err := pglocal.TempDir("", "usher-bench-*")
	if err != nil {
		return err
	}
	if cfg.keep {
		fmt.Fprintf(out, "database and logs are kept in %s\n", dir)
	} else {
		defer os.RemoveAll(dir)
	}
	postgres, err := pglocal.Start(ctx, pglocal.Config{Dir: filepath.Join(dir, "postgres")})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, postgres.Stop()) }()

	b := &bench{config: cfg, out: out, dir: dir, postgres: postgres}
	defer b.stopServers()
	if err := b.setUp(ctx); err != nil {
		return err
	}
	if err := b.measure(ctx); err != nil {
		return err
	}
	b.report()
	if err := b.profileUsher(ctx); err != nil {
		return err
	}
	conn, err := pgx.Connect(ctx, postgres.URL(database))
	if err != nil {
		return err
	}
	defer conn.Close(ctx)
	return b.checkAudit(ctx, conn)
}

type bench struct {
	config
	out      io.Writer
	dir      string
	postgres *pglocal.Server
	people   []person
	servers  []*server
}

// setUp creates the data and starts the servers.
func (b *bench) setUp(ctx context.Context) error {
	binary := b.config.usher
	if binary == "" {
		binary = filepath.Join(b.dir, "usher")
		if err := buildUsher(ctx, binary); err != nil {
			return err
		}
	}
	if err := b.migrate(ctx, binary); err != nil {
		return err
	}
	if err := b.seed(ctx); err != nil {
		return err
	}
	for _, name := range b.config.servers {
		var s *server
		var err error
		switch name {
		case usherServer:
			s, err = b.startUsher(ctx, binary)
		case limitServer:
			s, err = b.startLimit(ctx)
		case nodeServer:
			s, err = b.startNode(ctx)
		default:
			err = fmt.Errorf("there is no server %q", name)
		}
		if err != nil {
			return err
		}
		b.servers = append(b.servers, s)
	}
	return nil
}

// measure runs the servers in turns, so that other programs on the machine slow down all of
// them.
func (b *bench) measure(ctx context.Context) error {
	for _, s := range b.servers { // warms up connections, plans and compilers
		if _, err := b.turn(ctx, s, min(b.duration, 3*time.Second)); err != nil {
			return err
		}
	}
	for range b.rounds {
		for _, s := range b.servers {
			t, err := b.turn(ctx, s, b.duration)
			if err != nil {
				return err
			}
			s.turns = append(s.turns, t)
		}
	}
	return nil
}
