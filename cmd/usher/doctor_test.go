package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/usher-auth/usher/db"
	"github.com/usher-auth/usher/db/dbtest"
	"github.com/usher-auth/usher/db/pglocal"
	"github.com/usher-auth/usher/internal/secret"
	"github.com/usher-auth/usher/session"
)

// serveKeys serves the key set of a database, as usher serve does.
func serveKeys(t *testing.T, pg *dbtest.DB) *httptest.Server {
	t.Helper()
	database, err := db.Open(secret.New(pg.ServiceURL))
	if err != nil {
		t.Fatal(err)
	}
	defer database.Close()
	keys, err := database.PublishedKeys(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write(session.MarshalJWKS(keys.Keys()))
	}))
	t.Cleanup(server.Close)
	return server
}

func TestDoctorCommand(t *testing.T) {
	t.Parallel()
	const hostCookie = " --session-cookie __Host-session"
	month := func(n int) string { return time.Now().UTC().AddDate(0, n, 1-time.Now().UTC().Day()).Format("2006_01") }
	for name, test := range map[string]struct {
		sql    string // run first, as the owner
		owner  bool   // run usher doctor as the owner too
		flags  string
		no     string // flag to leave out
		also   string // a warning that comes with it
		check  string // the check that is not ok; empty: none
		state  string
		saying string
	}{
		"all is well":         {},
		"the owner serves":    {owner: true, check: "role", state: "fault", saying: "may change audit rows"},
		"commits are lost":    {sql: "ALTER DATABASE %s SET synchronous_commit = off", check: "commits", state: "fault", saying: "may lose acknowledged commits"},
		"no insert":           {sql: "REVOKE INSERT (issued_at) ON usher.decisions FROM usher_service_test", check: "audit", state: "fault", saying: "permission denied"},
		"a partition missing": {sql: "DROP TABLE usher.decisions_" + month(2), check: "partitions", state: "warning", saying: strings.ReplaceAll(month(2), "_", "-")},
		"an old schema":       {sql: "DELETE FROM usher.migrations WHERE version > 1", check: "schema", state: "fault", saying: "this usher needs"},
		"a database of dev":   {sql: "UPDATE usher.deployment SET mode = 'dev'", check: "mode", state: "warning", saying: "usher dev"},
		"no key of its kind":  {flags: " --signing-alg ES256", check: "signing key", state: "fault", saying: "no key signs now with ES256"},
		"its end is near": {
			sql:   "UPDATE usher.signing_keys SET signs_until = now() + interval '1 hour'",
			check: "signing key", state: "warning", saying: "there is no next one",
		},
		"a long life":              {flags: " --token-ttl 2h", check: "configuration", state: "fault", saying: "TTL 2h0m0s"},
		"a plain cookie":           {flags: " --session-cookie sid", check: "configuration", state: "warning", saying: "__Host-"},
		"audiences of one kind":    {flags: " --audiences both=rooms+stores,livestore=stores", check: "configuration", state: "warning", saying: "several audiences take stores (both, livestore): a request that names no audience gets a token for both"},
		"an invalid cookie name":   {flags: " --session-cookie a=b", check: "configuration", state: "fault", saying: "is not a cookie name"},
		"no key ring":              {no: "--key-encryption-key-file", check: "signing key", state: "fault", saying: "--key-encryption-key is missing"},
		"no URL":                   {no: "--url", check: "configuration", state: "fault", saying: "the public address is missing"},
		"a URL with a path":        {flags: " --url http://127.0.0.1:1/", check: "configuration", state: "fault", saying: "slash at the end"},
		"a proxy of every address": {flags: " --trusted-proxies ::/0", check: "configuration", state: "fault", saying: "is every address"},
		"half of TLS":              {flags: " --tls-cert nothing.pem", check: "configuration", state: "fault", saying: "belong together"},
		"seals are late": {
			sql: `INSERT INTO usher.decisions (issued_at, recorded_at, result, reason, caller_kind, user_id, ip, request_id, replica, salt, personal_digest, digest)
				VALUES (now() - interval '5 minutes', now() - interval '5 minutes', 'denied', 'no_grant', 'session', 'ada', '192.0.2.1', 'r', 'test', substring(sha256('') FOR 16), sha256(''), sha256(''))`,
			check: "seals", state: "warning", saying: "has waited 5m",
		},
		"a provider's keys": {
			flags: " --issuer oidc·issuer=http://127.0.0.1:1·aud=usher",
			check: "identity providers", state: "fault", saying: "connection refused",
		},
		"a provider for anybody": {flags: " --issuer oidc·issuer=https://id.example.com", check: "identity providers", state: "fault", saying: "neither aud nor azp"},
		"no cookie secret":       {sql: "UPDATE usher.deployment SET directory = 'better-auth'", also: "secondary storage", check: "cookie secret", state: "fault", saying: "Better Auth"},
		"nobody serves":          {flags: " --url http://127.0.0.1:1", check: "key set", state: "fault", saying: "connection refused"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			pg, u, flags := newIssuing(t)
			server := serveKeys(t, pg)
			if test.sql != "" {
				if strings.Contains(test.sql, "%s") {
					test.sql = fmt.Sprintf(test.sql, pg.Pool.Config().ConnConfig.Database)
				}
				if _, err := pg.Pool.Exec(t.Context(), test.sql); err != nil {
					t.Fatal(err)
				}
			}
			if test.owner {
				u.url = pg.URL
			}
			args := []string{"doctor", "--json"}
			flags = strings.Replace(flags, testIssuer, server.URL, 1) + hostCookie + test.flags
			for given := strings.Fields(flags); len(given) > 0; given = given[2:] {
				if given[0] != test.no {
					args = append(args, given[0], strings.ReplaceAll(given[1], "·", " "))
				}
			}
			code, findings := u.examine(args)
			if want := map[bool]int{true: 1}[test.state == stateFault]; code != want {
				t.Errorf("exit code %d, want %d", code, want)
			}
			found, also := test.check == "", test.also == ""
			for _, f := range findings {
				switch {
				case f.Check == test.check && f.State == test.state && strings.Contains(f.Says, test.saying) && f.Do != "":
					found = true
				case f.State == stateWarning && f.Check == "roles" && strings.Contains(f.Says, "usher_service_test and usher_auditor_test have privileges in other databases"):
					// The databases of dbtest share theirs.
				case f.State == stateWarning && f.Check == test.also:
					also = true
				case f.State != stateOK:
					t.Errorf("found %+v", f)
				}
			}
			if !found || !also {
				t.Errorf("did not find a %s of %s that says %q: %+v", test.state, test.check, test.saying, findings)
			}
		})
	}
}

// examine runs usher doctor --json.
func (u terminal) examine(args []string) (code int, findings []finding) {
	u.t.Helper()
	code, stdout, stderr := u.run(args...)
	if stderr != "" {
		u.t.Errorf("stderr: %s", stderr)
	}
	if err := json.Unmarshal([]byte(stdout), &findings); err != nil {
		u.t.Fatalf("%v in %q", err, stdout)
	}
	return code, findings
}

// The findings for a database that does not answer, and for a key set of other keys.
func TestDoctorPrints(t *testing.T) {
	t.Parallel()
	pg, u, flags := newIssuing(t)
	other, _, _ := newIssuing(t)
	_, stdout, _ := u.run(strings.Fields("doctor" + strings.Replace(flags, testIssuer, serveKeys(t, other).URL, 1))...)
	for _, part := range []string{
		"ok       database       it answers in ", "\nok       schema         it has version ", " signs with no end",
		"\nfault    key set        http://127.0.0.1:", " lacks the key that signs: verifiers refuse its tokens\n                        -> check that the usher at this address",
	} {
		if !strings.Contains(stdout, part) {
			t.Errorf("lacks %q:\n%s", part, stdout)
		}
	}
	var rows int
	if err := pg.Pool.QueryRow(t.Context(), "SELECT count(*) FROM usher.decisions").Scan(&rows); err != nil || rows != 0 {
		t.Errorf("the doctor left %d audit rows, %v", rows, err)
	}

	var out, errs bytes.Buffer
	code := run(t.Context(), []string{"doctor", "--database-url", "postgres://usher:hunter2@127.0.0.1:1/usher", "--url", "http://127.0.0.1:1"}, &out, &errs)
	if code != 1 || !strings.Contains(out.String(), "fault    database") || !strings.Contains(out.String(), "connection refused") || strings.Contains(out.String()+errs.String(), "hunter2") {
		t.Errorf("exit %d: %s%s", code, &out, &errs)
	}
}

func TestDoctorClock(t *testing.T) {
	t.Parallel()
	for ahead, want := range map[time.Duration]string{
		0: stateOK, -time.Second: stateOK, 1500 * time.Millisecond: stateWarning, -5 * time.Second: stateWarning, 6 * time.Second: stateFault, -time.Hour: stateFault,
	} {
		var e examination
		e.clock(ahead)
		if got := e.findings[0].State; got != want {
			t.Errorf("a clock that is %s ahead is %s, want %s", ahead, got, want)
		}
	}
}

// The finding for a failed connection contains its last cause, and what to do about it.
func TestDoctorSaysWhyItCannotConnect(t *testing.T) {
	t.Parallel()
	dir := dbtest.Dir(t)
	server, err := pglocal.Start(t.Context(), pglocal.Config{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = server.Stop() })
	admin, err := pgx.Connect(t.Context(), server.URL("postgres"))
	if err != nil {
		t.Fatal(err)
	}
	defer admin.Close(t.Context())
	rules := "local all postgres trust\nlocal all all scram-sha-256\n"
	if err := os.WriteFile(filepath.Join(dir, "data", "pg_hba.conf"), []byte(rules), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, sql := range []string{"CREATE ROLE ada LOGIN PASSWORD 'hunter2'", "CREATE ROLE bob LOGIN", "SELECT pg_reload_conf()"} {
		if _, err := admin.Exec(t.Context(), sql); err != nil {
			t.Fatal(err)
		}
	}
	as := func(user *url.Userinfo, database string) string {
		u, err := url.Parse(server.URL(database))
		if err != nil {
			t.Fatal(err)
		}
		u.User = user
		return u.String()
	}
	ada := url.UserPassword("ada", "hunter2")
	until(t, "the server asks for passwords", func() bool {
		conn, err := pgx.Connect(t.Context(), as(url.User("bob"), "postgres"))
		if err == nil {
			conn.Close(t.Context())
		}
		return err != nil
	})
	const role, database, place = "correct the role and the password", "correct the database's name", "correct the host and the port"
	for name, test := range map[string]struct{ url, says, do string }{
		"a wrong password": {as(url.UserPassword("ada", "hunter3"), "postgres"), `password authentication failed for user "ada"`, role},
		"a wrong role":     {as(url.UserPassword("stranger", "hunter3"), "postgres"), `password authentication failed for user "stranger"`, role},
		"a wrong database": {as(ada, "nothing"), `database "nothing" does not exist`, database},
		"a wrong port":     {"postgres://ada:hunter3@127.0.0.1:1/postgres", "connection refused", place},
		"a wrong host":     {"postgres://ada:hunter3@db.invalid/postgres", "db.invalid", place},
	} {
		code, findings := terminal{t, test.url}.examine([]string{"doctor", "--json"})
		var got finding
		for _, f := range findings {
			if f.Check == "database" {
				got = f
			}
		}
		if code != 1 || got.State != stateFault || !strings.Contains(got.Says, test.says) || !strings.Contains(got.Do, test.do) || strings.Contains(got.Says, "hunter") {
			t.Errorf("%s: exit %d, %+v; want %q and %q", name, code, got, test.says, test.do)
		}
	}
}

func TestDoctorListsUnknownVariables(t *testing.T) {
	t.Parallel()
	var e examination
	e.environment([]string{"USHER_ORIGIN=x", "USHER_URL=x", "HOME=/"})
	if len(e.findings) != 1 || e.findings[0].State != stateWarning || e.findings[0].Do != "set USHER_ORIGINS if that was meant" {
		t.Errorf("found %+v", e.findings)
	}
}

func TestDoctorOnHealth(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		health db.Health
		want   []string // state and check, in order
	}{
		"all is well":     {want: []string{"ok statistics", "ok disk"}},
		"never analyzed":  {health: db.Health{NeverAnalyzed: []string{"grants"}, NoAutovacuum: true}, want: []string{"warning statistics", "ok disk"}},
		"no autovacuum":   {health: db.Health{NoAutovacuum: true}, want: []string{"warning statistics", "ok disk"}},
		"logs parameters": {health: db.Health{LogsParameters: true}, want: []string{"ok statistics", "ok disk", "warning statement log"}},
	} {
		var e examination
		e.kept(test.health)
		var got []string
		for _, f := range e.findings {
			got = append(got, f.State+" "+f.Check)
		}
		if !slices.Equal(got, test.want) {
			t.Errorf("%s: %q, want %q", name, got, test.want)
		}
	}
}

// The size of the database and of a month of the audit are as Postgres says.
func TestDoctorOnDisk(t *testing.T) {
	t.Parallel()
	pg, u, flags := newIssuing(t)
	_, findings := u.examine(strings.Fields("doctor --json" + strings.Replace(flags, testIssuer, serveKeys(t, pg).URL, 1)))
	for _, f := range findings {
		if f.Check == "disk" {
			if ok, err := regexp.MatchString(`^the database has \d+ [kMG]B, the audit's largest month \d+ [kMG]B; usher cannot see the free space`, f.Says); err != nil || !ok {
				t.Errorf("found %+v", f)
			}
			return
		}
	}
	t.Errorf("found %+v, want the disk", findings)
}

func TestDoctorWarnsOfTheCertificatesEnd(t *testing.T) {
	t.Parallel()
	cert, key := selfSigned(t, 1)
	dir := t.TempDir()
	for name, content := range map[string][]byte{"cert.pem": cert, "key.pem": key} {
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	_, findings := terminal{t, "postgres://127.0.0.1:1/nothing"}.examine([]string{
		"doctor", "--json", "--url", "http://127.0.0.1:1", "--session-cookie", "__Host-session",
		"--tls-cert", filepath.Join(dir, "cert.pem"), "--tls-key", filepath.Join(dir, "key.pem"),
	})
	if f := findings[0]; f.State != stateWarning || f.Check != "configuration" || !strings.Contains(f.Says, "the TLS certificate expires at ") {
		t.Errorf("found %+v", findings)
	}
}
