// Command usher issues short-lived access tokens for realtime and sync
// backends. See README.md; `usher --help` lists the subcommands.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/alecthomas/kong"
)

// cli is the whole configuration: every flag of serve and dev has an
// environment variable, and there are no configuration files.
type cli struct {
	Dev      devCmd      `cmd:"" help:"Run usher on this machine with a private Postgres and demo data."`
	Serve    serveCmd    `cmd:"" help:"Run usher in production."`
	Migrate  migrateCmd  `cmd:"" help:"Bring the database schema up to date."`
	User     userCmd     `cmd:"" help:"Users of usher's own directory."`
	Org      orgCmd      `cmd:"" help:"Organizations and their members."`
	Group    groupCmd    `cmd:"" help:"Groups and their members."`
	Grant    grantCmd    `cmd:"" help:"Who may open which rooms and stores."`
	Session  sessionCmd  `cmd:"" help:"Sign-in sessions of usher's own directory."`
	APIKey   apiKeyCmd   `cmd:"" name:"apikey" help:"Credentials of other backends."`
	AdminKey adminKeyCmd `cmd:"" name:"adminkey" help:"Credentials of the admin API."`
	Audit    auditCmd    `cmd:"" help:"What was decided."`
	Token    tokenCmd    `cmd:"" help:"Tokens, by hand."`
	Key      keyCmd      `cmd:"" help:"Signing keys."`
	Doctor   doctorCmd   `cmd:"" help:"Look whether all is in order, and say what to do where it is not; exit code 1 on a fault."`
	Ready    readyCmd    `cmd:"" help:"Ask a running usher whether it is ready; exit code 1 where it is not."`
	Version  versionCmd  `cmd:"" help:"Print the version."`

	Directory directoryCmd `cmd:"" help:"Whose tables say who exists: usher's own, or the application's."`
}

// console is what a subcommand may touch of the process.
type console struct {
	in     io.Reader
	out    io.Writer // answers
	err    io.Writer // logs and what went wrong
	logger *slog.Logger
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// run is main without the process around it. It returns the exit code: 0, 1
// for what went wrong, 2 for a command line that cannot be understood.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	var c cli
	exited := -1
	parser, err := kong.New(&c,
		kong.Name("usher"),
		kong.Description("Short-lived access tokens for realtime and sync backends."),
		kong.Writers(stdout, stderr),
		kong.Exit(func(code int) { exited = code }), // after --help
		kong.UsageOnError(),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true}),
		kong.Vars{"user": actorName(), "proxies": privateAddresses},
		kong.BindTo(ctx, (*context.Context)(nil)),
		kong.Bind(&console{in: os.Stdin, out: stdout, err: stderr, logger: slog.New(slog.NewJSONHandler(stderr, nil))}),
	)
	if err != nil {
		panic(err) // the struct above is wrong
	}
	command, err := parser.Parse(args)
	if exited >= 0 {
		return exited
	}
	if err != nil {
		parser.Errorf("%s", err)
		return 2
	}
	if err := command.Run(); errors.Is(err, errSaid) {
		return 1
	} else if err != nil {
		fmt.Fprintf(stderr, "usher: %s\n", plain(err))
		return 1
	}
	return 0
}

// errSaid is the error of a command that has said what is wrong.
var errSaid = errors.New("said already")

// plain takes the package names off an error's front: they help who reads the
// code, not who typed the command.
func plain(err error) string {
	var lines []string
	for line := range strings.Lines(err.Error()) {
		for _, prefix := range []string{"db: ", "session: ", "permissions: ", "identity: ", "pglocal: "} {
			line = strings.TrimPrefix(line, prefix)
		}
		lines = append(lines, line)
	}
	return strings.TrimSpace(strings.Join(lines, ""))
}
