package main

import (
	"bytes"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"

	"github.com/usher-auth/usher/db/dbtest"
	"github.com/usher-auth/usher/db/pglocal"
)

// Where the database's owner may not make roles, somebody else does it with
// what usher prints. Each step that was done is said, before the one that fails.
func TestMigrateRoles(t *testing.T) {
	t.Parallel()
	server, err := pglocal.Start(t.Context(), pglocal.Config{Dir: dbtest.Dir(t)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = server.Stop() })
	admin, err := pgx.Connect(t.Context(), server.URL("postgres"))
	if err != nil {
		t.Fatal(err)
	}
	defer admin.Close(t.Context())
	asAdmin := func(sql string) {
		t.Helper()
		if _, err := admin.Exec(t.Context(), sql); err != nil {
			t.Fatalf("%s: %v", sql, err)
		}
	}
	asAdmin("CREATE ROLE app LOGIN")
	asAdmin("CREATE DATABASE app OWNER app")
	u := terminal{t, strings.Replace(server.URL("app"), "postgres@", "app@", 1)}
	key := filepath.Join(t.TempDir(), "key")
	if err := os.WriteFile(key, []byte("m3Qx0f9mV1vJc7tB0b5Zk2yqC4n8oXhWl6uR1sTzE9A="), 0o600); err != nil {
		t.Fatal(err)
	}
	withKey := "migrate up --key-encryption-key-file " + key
	withLogin := withKey + " --service-password hunter2"
	u.refuses(withLogin, 1, "the roles usher_service_app and usher_auditor_app are missing, and this role may not create them. No part of the schema was applied: "+
		"have a role with CREATEROLE run what usher migrate roles prints, then run usher migrate up again")

	var out, errs bytes.Buffer
	if code := run(t.Context(), []string{"migrate", "roles"}, &out, &errs); code != 1 || !strings.Contains(errs.String(), "give --role-suffix, or --database-url is missing") {
		t.Errorf("migrate roles without a name: exit %d, %s", code, &errs)
	}
	_, script, _ := u.run("migrate", "roles")
	for range 2 {
		asAdmin(script)
	}
	code, stdout, stderr := u.run(strings.Fields(withLogin)...)
	stdout = regexp.MustCompile(`key \S+\n`).ReplaceAllString(stdout, "key KID\n")
	const applied = `applied 0001_directory.sql
applied 0002_grants.sql
applied 0003_audit.sql
applied 0004_keys.sql
applied 0005_roles.sql
applied views and functions
`
	const found = `schema is at version 5
roles: usher_service_app for usher serve, usher_auditor_app for auditors
`
	if diff := cmp.Diff(applied+found+"made signing key KID\n", stdout); diff != "" {
		t.Errorf("migrate up (-want +got):\n%s", diff)
	}
	const byHand = `CREATE ROLE "usher" LOGIN PASSWORD '...' IN ROLE "usher_service_app"`
	if code != 1 || !strings.Contains(stderr, `this role may not make the login "usher": have a role with CREATEROLE run `+byHand) {
		t.Errorf("migrate up: exit %d, %s", code, stderr)
	}
	asAdmin(byHand)
	u.does(withKey, found+"signing key: there is one\n")
	code, stdout, stderr = u.run(strings.Fields(withLogin)...)
	if code != 1 || stdout != found+"signing key: there is one\n" || !strings.Contains(stderr, `have a role with CREATEROLE run ALTER ROLE "usher" LOGIN PASSWORD '...'; GRANT "usher_service_app" TO "usher"`) {
		t.Errorf("migrate up with a login: exit %d, %q, %s", code, stdout, stderr)
	}
	// With CREATEROLE, all of it is done.
	terminal{t, server.URL("app")}.does(withLogin, found+"signing key: there is one\nlogin usher: its password is set, and it is a member of usher_service_app\n")

	// The second deployment of the server has its own, and leaves the first one's alone.
	asAdmin("CREATE DATABASE staging")
	staging := terminal{t, server.URL("staging")}
	code, stdout, stderr = staging.run(strings.Fields(withLogin)...)
	if code != 1 || !strings.Contains(stdout, "roles: usher_service_staging for") || !strings.Contains(stderr, `role "usher" is the login of usher on another database of this server (app), and is left as it is`) {
		t.Errorf("the second deployment: exit %d, %q, %s", code, stdout, stderr)
	}
	staging.does(withLogin+" --service-user staging", strings.ReplaceAll(found, "_app", "_staging")+"signing key: there is one\nlogin staging: its password is set, and it is a member of usher_service_staging\n")

	// A copy shares the roles of the first, until it is given its own.
	asAdmin("CREATE DATABASE copy TEMPLATE app")
	copied := terminal{t, server.URL("copy")}
	if code, _, stderr := copied.run("migrate", "up"); code != 0 || !strings.Contains(stderr, "warning: these roles have privileges in other databases of this server too: app.") {
		t.Errorf("migrate up of a copy: exit %d, %s", code, stderr)
	}
	copied.does("migrate up --role-suffix copy", strings.ReplaceAll(found, "_app", "_copy"))
	_, findings := copied.examine([]string{"doctor", "--json"})
	if !slices.Contains(findings, finding{State: stateOK, Check: "roles", Says: "usher_service_copy and usher_auditor_copy have privileges only in this database"}) {
		t.Errorf("doctor found %+v", findings)
	}
}
