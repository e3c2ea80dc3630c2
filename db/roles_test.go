package db_test

import (
	"context"
	"fmt"
	"net/url"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/usher-auth/usher/db"
	"github.com/usher-auth/usher/db/dbtest"
	"github.com/usher-auth/usher/internal/admin"
	"github.com/usher-auth/usher/internal/secret"
)

// deployment is a database that shares no roles with others, as usher migrate up
// makes it. Those of dbtest are copies of one, and share theirs.
type deployment struct {
	*dbtest.DB
	name  string // of the database
	roles db.Roles
}

func newDeployment(t *testing.T) *deployment {
	t.Helper()
	d := &deployment{DB: dbtest.New(t)}
	d.name = d.Pool.Config().ConnConfig.Database
	exec(t, d.DB, "DROP SCHEMA usher, audit CASCADE")
	done, err := db.Migrate(t.Context(), secret.New(d.URL), db.MigrateConfig{Mode: db.Production})
	if err != nil {
		t.Fatal(err)
	}
	d.roles = done.Roles
	if want := (db.Roles{Service: "usher_service_" + d.name, Auditor: "usher_auditor_" + d.name}); d.roles != want || len(done.SharedWith) > 0 {
		t.Errorf("Migrate() = %+v, want %+v, shared with no database", done, want)
	}
	d.dropLater(t, d.roles.Service, d.roles.Auditor)
	return d
}

// dropLater drops roles with the test: they belong to the server.
func (d *deployment) dropLater(t *testing.T, roles ...string) {
	t.Cleanup(func() {
		ctx := context.WithoutCancel(t.Context())
		for _, role := range roles {
			if _, err := d.Pool.Exec(ctx, fmt.Sprintf("DROP SCHEMA IF EXISTS usher, audit CASCADE; DROP ROLE IF EXISTS %q", role)); err != nil {
				t.Errorf("drop role %s: %v", role, err)
			}
		}
	})
}

// login makes a login for usher serve, and returns its URL for a database.
func (d *deployment) login(t *testing.T, name string) (at func(*deployment) string) {
	t.Helper()
	d.dropLater(t, name)
	if err := db.MakeServiceLogin(t.Context(), secret.New(d.URL), name, secret.New("password")); err != nil {
		t.Fatal(err)
	}
	return func(d *deployment) string {
		u, err := url.Parse(d.URL)
		if err != nil {
			t.Fatal(err)
		}
		u.User = url.UserPassword(name, "password")
		return u.String()
	}
}

// Two deployments on one server: the login of one serves its own database, and reads
// and writes nothing in the other's.
func TestTwoDeploymentsOnOneServer(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	production, staging := newDeployment(t), newDeployment(t)
	if _, err := openURL(t, production.URL).EnsureSigningKey(ctx, "EdDSA", newKeyEncryption(t), actor); err != nil {
		t.Fatal(err)
	}
	login := staging.login(t, "login_"+staging.name)
	if d, err := openURL(t, login(staging)).Deployment(ctx); err != nil || d.MayRewriteAudit || d.Roles != staging.roles {
		t.Errorf("its own database: %+v, %v", d, err)
	}
	if _, err := openURL(t, login(staging)).AddUser(ctx, "ada", nil, actor); err != nil {
		t.Errorf("its own database: %v", err)
	}
	conn := connect(t, login(production))
	tables := texts(t, production.DB, "SELECT oid::regclass::text FROM pg_class WHERE relkind IN ('r', 'p', 'v', 'S') AND relnamespace IN ('usher'::regnamespace, 'audit'::regnamespace)")
	if len(tables) < 25 {
		t.Fatalf("tables: %v", tables)
	}
	for _, table := range tables {
		if _, err := conn.Exec(ctx, "SELECT FROM "+table); !isRefused(err) {
			t.Errorf("SELECT FROM %s of the other deployment: %v, want 42501", table, err)
		}
	}
	functions := texts(t, production.DB, `SELECT oid::regproc || '(' || array_to_string(array_fill('NULL'::text, ARRAY[pronargs::int]), ', ') || ')'
		FROM pg_proc WHERE pronamespace IN ('usher'::regnamespace, 'audit'::regnamespace) AND prorettype <> 'trigger'::regtype`)
	for _, call := range functions {
		if _, err := conn.Exec(ctx, "SELECT "+call); !isRefused(err) {
			t.Errorf("SELECT %s of the other deployment: %v, want 42501", call, err)
		}
	}
}

func TestMakeServiceLogin(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	d, other := newDeployment(t), newDeployment(t)
	name := "login_" + d.name
	makes := func(d *deployment, name, password string) error {
		return db.MakeServiceLogin(ctx, secret.New(d.URL), name, secret.New(password))
	}
	comment := func() string {
		return strings.Join(texts(t, d.DB, "SELECT coalesce(shobj_description(oid, 'pg_authid'), '') FROM pg_roles WHERE rolname = '"+name+"'"), ",")
	}
	d.login(t, name)
	if err := makes(d, name, "second"); err != nil {
		t.Errorf("another password: %v", err)
	}
	if got := texts(t, d.DB, fmt.Sprintf("SELECT pg_has_role('%s', '%s', 'member')::text", name, d.roles.Service)); got[0] != "true" {
		t.Errorf("the login is not a member of %s", d.roles.Service)
	}
	before := comment()
	wantError(t, makes(other, name, "x"), admin.ErrExists, "is the login of usher on another database of this server ("+d.name+")")
	if after := comment(); after != before {
		t.Errorf("the comment is %q, was %q", after, before)
	}
	// Somebody else's role.
	exec(t, d.DB, fmt.Sprintf("COMMENT ON ROLE %s IS NULL; REVOKE %s FROM %[1]s", name, d.roles.Service))
	wantError(t, makes(d, name, "x"), admin.ErrExists, "exists and was not made for this database")
	wantError(t, makes(d, "usher_owner", "x"), admin.ErrExists, "exists and was not made for this database")
	// One that somebody made by hand, as usher migrate roles says.
	exec(t, d.DB, fmt.Sprintf("GRANT %s TO %s", d.roles.Service, name))
	if err := makes(d, name, "third"); err != nil {
		t.Errorf("a role made by hand: %v", err)
	}
	// One of a database that is gone.
	exec(t, d.DB, fmt.Sprintf("COMMENT ON ROLE %s IS 'usher serve on database gone'", name))
	if err := makes(d, name, "fourth"); err != nil {
		t.Errorf("a login of a database that is gone: %v", err)
	}
	for _, bad := range []string{"", "pässwörd", "with\nnewline"} {
		if err := makes(d, "usher_login_bad", bad); err == nil {
			t.Errorf("password %q was taken", bad)
		}
	}
}

// A copy of a database has the other's roles. It can be given its own.
func TestCopiedDatabase(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	d := &deployment{DB: dbtest.New(t)}
	d.name = d.Pool.Config().ConnConfig.Database
	copied, err := db.Migrate(ctx, secret.New(d.URL), db.MigrateConfig{Mode: db.Production})
	if err != nil || len(copied.SharedWith) == 0 || copied.Roles.Service != "usher_service_"+dbtest.RoleSuffix {
		t.Errorf("Migrate() of a copy = %+v, %v; want that its roles are shared", copied, err)
	}
	wantError(t, db.MakeServiceLogin(ctx, secret.New(d.URL), "login_"+d.name, secret.New("x")), admin.ErrInUse, "usher migrate up --role-suffix NAME")
	d.dropLater(t, "usher_service_own_"+d.name, "usher_auditor_own_"+d.name)
	moved, err := db.Migrate(ctx, secret.New(d.URL), db.MigrateConfig{Mode: db.Production, RoleSuffix: "own_" + d.name})
	if err != nil || len(moved.SharedWith) > 0 || moved.Roles.Service != "usher_service_own_"+d.name {
		t.Fatalf("Migrate() with another suffix = %+v, %v", moved, err)
	}
	const acl = `
		SELECT o || ' ' || privilege_type || ' ' || CASE grantee::regrole::text WHEN '%[1]s' THEN 'service' WHEN '%[2]s' THEN 'auditor' ELSE grantee::regrole::text END AS line
		  FROM (SELECT oid::regclass::text, relacl FROM pg_class WHERE relnamespace IN ('usher'::regnamespace, 'audit'::regnamespace)
		        UNION ALL SELECT attrelid::regclass || '.' || attname, attacl FROM pg_attribute JOIN pg_class c ON c.oid = attrelid WHERE relnamespace IN ('usher'::regnamespace, 'audit'::regnamespace)
		        UNION ALL SELECT oid::regprocedure::text, proacl FROM pg_proc WHERE pronamespace IN ('usher'::regnamespace, 'audit'::regnamespace)
		        UNION ALL SELECT nspname, nspacl FROM pg_namespace WHERE nspname IN ('usher', 'audit')) a (o, acl)
		 CROSS JOIN LATERAL aclexplode(acl)
		 ORDER BY 1`
	want := texts(t, dbtest.New(t), fmt.Sprintf(acl, "usher_service_test", "usher_auditor_test"))
	got := texts(t, d.DB, fmt.Sprintf(acl, moved.Roles.Service, moved.Roles.Auditor))
	if diff := cmp.Diff(want, got); diff != "" || len(want) < 100 {
		t.Errorf("%d privileges (-want +got):\n%s", len(want), diff)
	}
	login := d.login(t, "login_"+d.name)
	if got, err := openURL(t, login(d)).Deployment(ctx); err != nil || got.Roles != moved.Roles {
		t.Errorf("Deployment() by the new login = %+v, %v", got, err)
	}
	if _, err := connect(t, d.ServiceURL).Exec(ctx, "SELECT FROM usher.users"); !isRefused(err) {
		t.Errorf("the copied database's login: %v, want 42501", err)
	}
}

func TestRoleNames(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ url, suffix, want, refused string }{
		{"postgres://app@host/app", "", "usher_service_app", ""},
		{"postgres://app@host", "", "usher_service_app", ""},
		{"postgres://app@host/app", "blue-1", "usher_service_blue-1", ""},
		{"", "blue", "usher_service_blue", ""},
		{"postgres://app@host/" + strings.Repeat("a", 49), "", "usher_service_" + strings.Repeat("a", 49), ""},
		{"postgres://app@host/" + strings.Repeat("a", 50), "", "", "--role-suffix"},
		{"postgres://app@host/my%20app", "", "", "--role-suffix"},
		{"postgres://app@host/app", "it's", "", "--role-suffix"},
	} {
		roles, err := db.RolesFor(secret.New(test.url), test.suffix)
		if test.refused != "" {
			wantError(t, err, admin.ErrInvalid, test.refused)
		} else if err != nil || roles.Service != test.want {
			t.Errorf("RolesFor(%q, %q) = %+v, %v, want %s", test.url, test.suffix, roles, err, test.want)
		}
	}
}
