package main

import (
	"context"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/alecthomas/kong"

	"github.com/usher-auth/usher/db/dbtest"
)

// Rights that a command needs at least.
const (
	asAnybody = iota // who can connect
	asAuditor        // a member of usher_auditor_...
	asService        // a member of usher_service_...
	asOwner
)

// commandRights has a line for each command that opens a database.
var commandRights = map[string]struct {
	line  string
	needs int
}{
	"usher dev":                       {}, // makes its own roles
	"usher serve":                     {"serve --url http://127.0.0.1:1 --listen 127.0.0.1:0 --ops-listen 127.0.0.1:0 --key-encryption-key-file KEY", asService},
	"usher doctor":                    {"doctor", asService},
	"usher migrate up":                {"migrate up", asOwner},
	"usher migrate status":            {"migrate status", asService},
	"usher migrate roles":             {"migrate roles", asAnybody},
	"usher directory use":             {"directory use usher", asOwner},
	"usher directory show":            {"directory show", asService},
	"usher directory sweep":           {"directory sweep", asService},
	"usher user add":                  {"user add x", asService},
	"usher user update":               {"user update x --name X", asService},
	"usher user list":                 {"user list", asService},
	"usher user disable":              {"user disable x", asService},
	"usher user enable":               {"user enable x", asService},
	"usher user delete":               {"user delete x", asService},
	"usher org add":                   {"org add x", asService},
	"usher org rename":                {"org rename x X", asService},
	"usher org list":                  {"org list", asService},
	"usher org delete":                {"org delete x", asService},
	"usher org add-member":            {"org add-member x ada", asService},
	"usher org remove-member":         {"org remove-member x ada", asService},
	"usher org members":               {"org members x", asService},
	"usher group add":                 {"group add x", asService},
	"usher group rename":              {"group rename x X", asService},
	"usher group list":                {"group list", asService},
	"usher group delete":              {"group delete x", asService},
	"usher group add-member":          {"group add-member x ada", asService},
	"usher group remove-member":       {"group remove-member x ada", asService},
	"usher group members":             {"group members x", asService},
	"usher session add":               {"session add ada", asService},
	"usher session list":              {"session list", asService},
	"usher session revoke":            {"session revoke ada", asService},
	"usher grant add":                 {"grant add --user ada --room r --access read", asService},
	"usher grant list":                {"grant list", asService},
	"usher grant revoke":              {"grant revoke 99", asService},
	"usher token issue":               {"token issue ada --room r --url http://127.0.0.1:1 --key-encryption-key-file KEY", asService},
	"usher token preview":             {"token preview ada --room r", asService},
	"usher token inspect":             {"token inspect a.b.c", asService},
	"usher token verify":              {"token verify a.b.c", asService},
	"usher audit log":                 {"audit log", asAuditor},
	"usher audit who-can (who-could)": {"audit who-can --room r", asAuditor},
	"usher audit what-can":            {"audit what-can ada", asAuditor},
	"usher audit why":                 {"audit why ada --room r", asAuditor},
	"usher audit holders":             {"audit holders --room r", asAuditor},
	"usher audit tokens":              {"audit tokens ada", asAuditor},
	"usher audit members":             {"audit members --user ada", asAuditor},
	"usher audit unused-grants":       {"audit unused-grants --since 2026-01-01", asAuditor},
	"usher audit risky-grants":        {"audit risky-grants", asAuditor},
	"usher audit verify":              {"audit verify", asAuditor},
	"usher audit prove":               {"audit prove J", asAuditor},
	"usher audit public-key":          {"audit public-key", asAuditor},
	"usher audit forget":              {"audit forget ada", asService},
	"usher audit prune":               {"audit prune --keep 400d", asService}, // and to drop a month, the owner
	"usher key create":                {"key create --key-encryption-key-file KEY", asOwner},
	"usher key list":                  {"key list", asService},
	"usher apikey create":             {"apikey create x --room r=read", asService},
	"usher apikey list":               {"apikey list", asService},
	"usher apikey revoke":             {"apikey revoke x", asService},
	"usher adminkey create":           {"adminkey create x --role auditor", asOwner},
	"usher adminkey list":             {"adminkey list", asService},
	"usher adminkey revoke":           {"adminkey revoke x", asOwner},
}

// A role without the rights for a command is told which right is missing and which
// roles have it, never that the store is unavailable.
func TestCommandsSayWhichRightIsMissing(t *testing.T) {
	t.Parallel()
	for _, command := range leaves() {
		if _, ok := commandRights[command.FullPath()]; !ok && opensDatabase(command) {
			t.Errorf("%s has no line here", command.FullPath())
		}
	}
	pg := dbtest.New(t)
	name := "nobody_" + pg.Pool.Config().ConnConfig.Database
	if _, err := pg.Pool.Exec(t.Context(), fmt.Sprintf("CREATE ROLE %s LOGIN PASSWORD 'usher'", name)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if _, err := pg.Pool.Exec(context.WithoutCancel(t.Context()), "DROP ROLE "+name); err != nil {
			t.Error(err)
		}
	})
	nobody, err := url.Parse(pg.URL)
	if err != nil {
		t.Fatal(err)
	}
	nobody.User = url.UserPassword(name, "usher")
	key := filepath.Join(t.TempDir(), "key")
	if err := os.WriteFile(key, []byte("m3Qx0f9mV1vJc7tB0b5Zk2yqC4n8oXhWl6uR1sTzE9A="), 0o600); err != nil {
		t.Fatal(err)
	}
	for role, test := range map[string]struct {
		url  string
		has  int
		told map[int]string // by what the command needs
	}{
		"nobody": {nobody.String(), asAnybody, map[int]string{
			asAuditor: "as a member of usher_auditor_test for usher audit", asService: "as a member of usher_service_test for the other commands", asOwner: "usher_owner, the owner",
		}},
		"auditor": {pg.AuditorURL, asAuditor, map[int]string{asService: "Connect as a member of usher_service_test, or as usher_owner, the owner", asOwner: "usher_owner, the owner"}},
		"service": {pg.ServiceURL, asService, map[int]string{asOwner: "Connect as usher_owner, the owner"}},
	} {
		t.Run(role, func(t *testing.T) {
			t.Parallel()
			u := terminal{t, test.url}
			for name, command := range commandRights {
				if command.line == "" || name == "usher serve" && test.has >= command.needs {
					continue // it would run
				}
				code, stdout, stderr := u.run(strings.Fields(strings.ReplaceAll(command.line, "KEY", key))...)
				said := stdout + stderr
				refused := strings.Contains(said, "permission denied") || strings.Contains(said, "must be owner")
				switch {
				case strings.Contains(said, "unavailable"):
					t.Errorf("%s says that something is unavailable: %s", command.line, said)
				case test.has >= command.needs && refused:
					t.Errorf("%s: exit %d, %s", command.line, code, said)
				case test.has < command.needs && (code != 1 || !refused || !strings.Contains(said, test.told[command.needs])):
					t.Errorf("%s: exit %d, %s; want a refusal with %q", command.line, code, said, test.told[command.needs])
				}
			}
		})
	}
}

func opensDatabase(command *kong.Node) bool {
	for _, flag := range command.Flags {
		if flag.Name == "database-url" {
			return true
		}
	}
	return false
}
