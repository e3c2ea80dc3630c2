// Command usher issues short-lived access tokens for realtime and sync
// backends. See README.md; `usher --help` lists the subcommands.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"reflect"
	"regexp"
	"strings"
	"syscall"
	"time"

	"github.com/alecthomas/kong"

	"github.com/usher-auth/usher/db"
)

// cli is the whole configuration: every flag of serve and dev has an
// environment variable, and there are no configuration files.
type cli struct {
	VersionFlag versionFlag `name:"version" help:"Print the version."`

	Dev    devCmd    `cmd:"" group:"run" help:"Run usher on this machine, with a private Postgres and demo data."`
	Serve  serveCmd  `cmd:"" group:"run" help:"Run usher in production."`
	Ready  readyCmd  `cmd:"" group:"run" help:"Ask a running usher whether it is ready. Exit code 1 if it is not."`
	Doctor doctorCmd `cmd:"" group:"run" help:"Check configuration, database and keys, and suggest fixes. Exit code 1 if there is a fault."`

	Migrate   migrateCmd   `cmd:"" group:"database" help:"Bring the database schema up to date."`
	Directory directoryCmd `cmd:"" group:"database" help:"Choose the tables for users and organizations: usher's own or the application's."`

	User    userCmd    `cmd:"" group:"directory" help:"Manage users of usher's own directory."`
	Org     orgCmd     `cmd:"" group:"directory" help:"Manage organizations and their members."`
	Group   groupCmd   `cmd:"" group:"directory" help:"Manage groups and their members."`
	Session sessionCmd `cmd:"" group:"directory" help:"Manage sign-in sessions of usher's own directory."`

	Grant grantCmd `cmd:"" group:"access" help:"Manage who can open which rooms and stores."`
	Token tokenCmd `cmd:"" group:"access" help:"Issue, preview, inspect and verify tokens."`
	Audit auditCmd `cmd:"" group:"audit" help:"Query and verify the audit."`

	Key      keyCmd      `cmd:"" group:"keys" help:"Manage signing keys."`
	APIKey   apiKeyCmd   `cmd:"" group:"keys" name:"apikey" help:"Manage credentials of other backends."`
	AdminKey adminKeyCmd `cmd:"" group:"keys" name:"adminkey" help:"Manage credentials of the admin API."`

	Help       helpCmd       `cmd:"" group:"other" help:"Show help for a command."`
	Completion completionCmd `cmd:"" group:"other" help:"Print a completion script for a shell."`
	Version    versionCmd    `cmd:"" group:"other" help:"Print the version."`
}

// console is the part of the process that a subcommand may use.
type console struct {
	in  io.Reader
	out io.Writer // results
	err io.Writer // logs and errors

	database *db.DB // that of adminFlags, if it was opened
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends the process at once
	code := newProgram().run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// program is the command line: the flags, and the parser that sets them. It runs
// one command at a time.
type program struct {
	cli    cli
	parser *kong.Kong
	out    console
	exited int // the code that --help ended with, or -1
}

func newProgram() *program {
	p := new(program)
	p.parser = newParser(&p.cli, kong.Exit(func(code int) { p.exited = code }), kong.Bind(&p.out))
	return p
}

// run is main without the process around it. It returns the exit code: 0; 1 if
// the command failed, 2 if the command line is wrong.
func (p *program) run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	unsetEmpty()
	p.exited, p.out = -1, console{in: os.Stdin, out: stdout, err: stderr}
	p.parser.Stdout, p.parser.Stderr = stdout, stderr
	if len(args) == 0 {
		args = []string{"--help"}
	}
	command, err := p.parser.Parse(args)
	if p.exited >= 0 {
		return p.exited
	}
	if err != nil {
		usage(stderr, err)
		fmt.Fprintf(stderr, "usher: %s\n", err)
		return 2
	}
	command.BindTo(ctx, (*context.Context)(nil))
	err = command.Run()
	if p.out.database != nil {
		err = p.out.database.NameRoles(ctx, err)
		p.out.database.Close()
	}
	if errors.Is(err, errSaid) {
		return 1
	} else if err != nil {
		fmt.Fprintf(stderr, "usher: %s\n", plain(err))
		return 1
	}
	return 0
}

// newParser returns the parser of the whole command line.
func newParser(c *cli, options ...kong.Option) *kong.Kong {
	parser, err := kong.New(c, append(options,
		kong.Name("usher"),
		kong.Description("Short-lived access tokens for realtime and sync backends.\n\nExit codes: 0 success (also if there was nothing to change), 1 the command failed or found a fault, 2 the command line is wrong."),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true, NoAppDescFormat: true}),
		kong.ValueFormatter(helpText),
		kong.TypeMapper(reflect.TypeFor[time.Duration](), kong.MapperFunc(decodeDuration)),
		kong.ExplicitGroups([]kong.Group{
			{Key: "run", Title: "Run:"},
			{Key: "database", Title: "Database:"},
			{Key: "directory", Title: "Users and organizations:"},
			{Key: "access", Title: "Access:"},
			{Key: "audit", Title: "Audit:"},
			{Key: "keys", Title: "Keys:"},
			{Key: "other", Title: "Other:"},
		}),
		kong.Vars{"user": string(actorName()), "proxies": privateAddresses},
	)...)
	if err != nil {
		panic(err) // the struct has invalid tags
	}
	return parser
}

// withoutAliases finds the aliases in the path of a command: "audit who-can (who-could)".
var withoutAliases = regexp.MustCompile(` \([^)]*\)`)

// usage prints the usage line of the command that could not be parsed.
func usage(w io.Writer, err error) {
	failed, ok := errors.AsType[*kong.ParseError](err)
	if !ok {
		return
	}
	name, summary := "usher", "<command> [flags]"
	if node := failed.Context.Selected(); node != nil {
		name, summary = withoutAliases.ReplaceAllString(node.FullPath(), ""), strings.TrimPrefix(node.Summary(), node.Path())
	}
	fmt.Fprintf(w, "Usage: %s %s\nRun \"%s --help\" for its flags.\n\n", name, strings.TrimSpace(summary), name)
}

// helpText adds the default and the environment variable to a flag's help.
func helpText(value *kong.Value) string {
	var notes []string
	if value.HasDefault && value.Default != "" && !value.IsBool() {
		notes = append(notes, "default: "+value.Default)
	}
	notes = append(notes, value.Tag.Envs...)
	if len(notes) == 0 {
		return value.Help
	}
	return fmt.Sprintf("%s (%s).", strings.TrimSuffix(value.Help, "."), strings.Join(notes, "; "))
}

// errSaid is the error of a command that has already printed what is wrong.
var errSaid = errors.New("already printed")

// plain removes package names from the start of an error's lines, because they are
// useless at a terminal.
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
