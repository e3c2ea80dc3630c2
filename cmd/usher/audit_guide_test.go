package main

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"flag"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/usher-auth/usher"
	"github.com/usher-auth/usher/audit"
	"github.com/usher-auth/usher/db"
	"github.com/usher-auth/usher/db/dbtest"
	"github.com/usher-auth/usher/db/pglocal"
	"github.com/usher-auth/usher/internal/keyencryption"
	"github.com/usher-auth/usher/internal/secret"
	"github.com/usher-auth/usher/permissions"
)

// updateReference rewrites the reference of docs/audit.md from the comments of
// the database's objects: go test ./cmd/usher -run AuditGuideReference -update
var updateReference = flag.Bool("update", false, "rewrite the reference in docs/audit.md")

func auditGuide(t testing.TB) string {
	t.Helper()
	guide, err := os.ReadFile("../../docs/audit.md")
	if err != nil {
		t.Fatal(err)
	}
	return string(guide)
}

// blocks returns the named blocks of code of a language, in their order.
func blocks(guide, language string) (names []string, code map[string]string) {
	code = map[string]string{}
	for _, block := range regexp.MustCompile("(?ms)^```"+language+" ([a-z-]+)\n(.*?)^```$").FindAllStringSubmatch(guide, -1) {
		names = append(names, block[1])
		code[block[1]] = block[2]
	}
	return names, code
}

// The reference in docs/audit.md is the same as the catalog: every view, function and
// type of schema audit, with its columns and their comments, and no other.
func TestAuditGuideReference(t *testing.T) {
	t.Parallel()
	rows, err := dbtest.New(t).Pool.Query(t.Context(), `
		SELECT 'audit.' || c.relname AS name, coalesce(obj_description(c.oid, 'pg_class'), obj_description(c.reltype, 'pg_type')) AS comment, '' AS result,
		       ARRAY(SELECT ARRAY[a.attname::text, format_type(a.atttypid, a.atttypmod), col_description(c.oid, a.attnum)]
		               FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attnum > 0 ORDER BY a.attnum) AS columns
		  FROM pg_class c
		 WHERE c.relnamespace = 'audit'::regnamespace AND (c.relkind = 'c' OR has_table_privilege('usher_auditor_test', c.oid, 'SELECT'))
		UNION ALL
		SELECT format('audit.%s(%s)', p.proname, pg_get_function_arguments(p.oid)), obj_description(p.oid, 'pg_proc'), pg_get_function_result(p.oid), '{}'
		  FROM pg_proc p
		 WHERE p.pronamespace = 'audit'::regnamespace AND has_function_privilege('usher_auditor_test', p.oid, 'EXECUTE')`)
	if err != nil {
		t.Fatal(err)
	}
	type object struct {
		Name, Comment, Result string
		Columns               [][]string
	}
	objects, err := pgx.CollectRows(rows, pgx.RowToStructByName[object])
	if err != nil {
		t.Fatal(err)
	}
	types := strings.NewReplacer("timestamp with time zone", "timestamptz", "::text", "", "SETOF ", "rows of ")
	markdown := strings.NewReplacer("*", `\*`, "|", `\|`)
	want := map[string]string{}
	for _, o := range objects {
		body := markdown.Replace(o.Comment) + "\n"
		if o.Result != "" {
			body += "\nReturns " + types.Replace(o.Result) + ".\n"
		} else {
			body += "\n| column | type | |\n|---|---|---|\n"
		}
		for _, c := range o.Columns {
			body += fmt.Sprintf("| `%s` | %s | %s |\n", c[0], types.Replace(c[1]), markdown.Replace(c[2]))
		}
		want[types.Replace(o.Name)] = body
	}
	if *updateReference {
		guide := auditGuide(t)
		for name, body := range want {
			section := regexp.MustCompile("(?ms)^(### `" + regexp.QuoteMeta(name) + "`\n\n).*?(\n##|\\z)")
			guide = section.ReplaceAllString(guide, "${1}"+strings.ReplaceAll(body, "$", "$$")+"${2}")
		}
		if err := os.WriteFile("../../docs/audit.md", []byte(guide), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	got := map[string]string{}
	for _, section := range strings.Split(auditGuide(t), "\n##") {
		name, body, _ := strings.Cut(section, "\n")
		if name, ok := strings.CutPrefix(name, "# `audit."); ok {
			got["audit."+strings.TrimSuffix(name, "`")] = strings.Trim(body, "\n") + "\n"
		}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("the reference (-want +got):\n%s", diff)
	}
}

// asked is the database of the guide's story, with the values of its variables and
// names, and a folder with the audit's files.
type asked struct {
	pg    *dbtest.DB
	dir   string
	times map[string]string // psql's variables
	names *strings.Replacer // from real values to those in the guide
}

func newAsked(t *testing.T) *asked {
	t.Helper()
	ctx := t.Context()
	a := &asked{pg: dbtest.New(t), dir: t.TempDir(), times: map[string]string{"last": "0"}}
	if err := db.SeedDemo(ctx, secret.New(a.pg.URL), nil); err != nil {
		t.Fatal(err)
	}
	key := make([]byte, 32)
	_, _ = rand.Read(key)
	encryption, err := keyencryption.Parse(secret.New(base64.StdEncoding.EncodeToString(key)))
	if err != nil {
		t.Fatal(err)
	}
	owner, service := openAs(t, a.pg.URL), openAs(t, a.pg.ServiceURL)
	if err := owner.EnsureCheckpointKey(ctx, encryption, "cli:lin@ops"); err != nil {
		t.Fatal(err)
	}
	checkpoints, _, err := (&checkpointFlags{filepath.Join(a.dir, "checkpoints")}).openCheckpoints(nil)
	if err != nil {
		t.Fatal(err)
	}
	sealer, err := service.NewSealer(ctx, db.SealerConfig{Encryption: encryption, Out: checkpoints, Registry: prometheus.NewRegistry()})
	if err != nil {
		t.Fatal(err)
	}
	seal := func() {
		if _, err := sealer.SealNow(ctx); err != nil {
			t.Fatal(err)
		}
	}
	does := func(actor string, line ...string) string {
		code, stdout, stderr := terminal{t, a.pg.URL}.run(append(line, "--actor", actor)...)
		if code != 0 {
			t.Fatalf("usher %s: exit %d: %s", line, code, stderr)
		}
		return stdout
	}
	now := func(name string) {
		var at time.Time
		if err := a.pg.Pool.QueryRow(ctx, "SELECT clock_timestamp()").Scan(&at); err != nil {
			t.Fatal(err)
		}
		a.times[name] = at.Format(time.RFC3339Nano)
	}

	// The questions are about times before this run.
	if _, err := a.pg.Pool.Exec(ctx, "UPDATE usher.deployment SET created_at = '2026-10-01'"); err != nil {
		t.Fatal(err)
	}

	// lin's changes in October.
	now("from")
	apiKey := strings.Split(does("cli:lin@ops", "apikey", "create", "chat-server", "--room", "acme:*=full", "--routes", "authorize-user", "--org", "acme"), "_")[2]
	does("cli:lin@ops", "grant", "add", "--user", "grace", "--room", "acme:design:*", "--access", "full", "--reason", "covers for ada")
	does("cli:lin@ops", "grant", "add", "--everyone", "--room", "lobby", "--access", "full", "--reason", "a place to meet")
	does("cli:lin@ops", "grant", "add", "--group", "reviewers", "--room", "acme:archive:*", "--access", "read", "--reason", "old reviews")
	now("until")
	seal()

	// Requests in the first week of November.
	now("monday")
	log := service.StartAuditLog(db.AuditLogConfig{Replica: "usher-1", Registry: prometheus.NewRegistry()})
	defer log.Close()
	floods := db.StartFloodLog(db.FloodLogConfig{Log: log, Registry: prometheus.NewRegistry()})
	record := func(d audit.Decision) {
		d.At = time.Now().Truncate(time.Microsecond)
		if d.Token != nil {
			d.Token.KeyID, d.Token.ExpiresAt = "key-1", d.At.Add(5*time.Minute).Truncate(time.Second)
		}
		if err := floods.Record(ctx, &d); err != nil {
			t.Fatal(err)
		}
	}
	rule := func(kind permissions.Kind, pattern string, access permissions.Access) permissions.Rule {
		return permissions.Rule{Pattern: permissions.MustPattern(kind, pattern), Access: access}
	}
	const room, store = permissions.RoomKind, permissions.StoreKind
	own, lobby := rule(room, "acme:*", permissions.Read), rule(room, "lobby", permissions.Full)
	record(audit.Decision{
		UserID: "ada", CallerKind: audit.CallerSession, CallerID: "9vJ0wq", Request: audit.Request{Room: "acme:design:1"}, RequestID: "R1",
		IP: netip.MustParseAddr("198.51.100.20"), UserAgent: "Firefox", Origin: "https://app.example.com",
		Token: &audit.Token{ID: "Yb1q", Kind: audit.AccessToken, Audience: "liveblocks", Patterns: audit.Patterns{
			Rooms: []permissions.Rule{lobby, rule(room, "acme:design:*", permissions.Full), own},
		}},
	})
	record(audit.Decision{
		UserID: "ada", CallerKind: audit.CallerSession, CallerID: "9vJ0wq", Request: audit.Request{Store: "acme_notes"}, RequestID: "R2",
		IP: netip.MustParseAddr("198.51.100.20"), UserAgent: "Firefox", Origin: "https://app.example.com",
		Token: &audit.Token{ID: "c8Zt", Kind: audit.AccessToken, Audience: "livestore", Patterns: audit.Patterns{
			Stores: []permissions.Rule{rule(store, "acme_notes", permissions.Full)},
		}},
	})
	record(audit.Decision{
		UserID: "grace", CallerKind: audit.CallerSession, CallerID: "Qf2mXe", Request: audit.Request{Room: "acme:design:1"}, RequestID: "R3",
		IP: netip.MustParseAddr("198.51.100.31"), UserAgent: "Safari", Origin: "https://app.example.com",
		Token: &audit.Token{ID: "M4dk", Kind: audit.AccessToken, Audience: "liveblocks", Patterns: audit.Patterns{
			Rooms: []permissions.Rule{lobby, rule(room, "acme:design:*", permissions.Full), rule(room, "acme:review:*", permissions.Full), own},
		}},
	})
	record(audit.Decision{
		UserID: "grace", OrganizationID: "acme", CallerKind: audit.CallerAPIKey, CallerID: apiKey, RequestID: "R4",
		IP: netip.MustParseAddr("10.0.0.8"), UserAgent: "node",
		Token: &audit.Token{ID: "p0Ws", Kind: audit.AccessToken, OrganizationID: "acme", Audience: "liveblocks", Patterns: audit.Patterns{Rooms: []permissions.Rule{rule(room, "acme:chat:7", permissions.Full)}}},
	})
	record(audit.Decision{
		Reason: "no_grant", UserID: "mallory", CallerKind: audit.CallerSession, CallerID: "t5Hc1o", Request: audit.Request{Room: "acme:design:1"}, RequestID: "R5",
		IP: netip.MustParseAddr("192.0.2.66"), UserAgent: "curl", Origin: "https://app.example.com",
	})
	for range 498 { // 60 are stored one by one
		record(audit.Decision{
			Reason: "session_unknown", CallerUnknown: true, CallerKind: audit.CallerNone, RequestID: "R6",
			IP: netip.MustParseAddr("203.0.113.7"), UserAgent: "bot",
		})
	}
	if err := floods.Close(); err != nil {
		t.Fatal(err)
	}
	now("incident")

	// mia's changes after it.
	does("cli:mia@ops", "grant", "revoke", "6", "--reason", "ada is back")
	does("cli:mia@ops", "user", "disable", "mallory")
	seal()
	a.names = strings.NewReplacer(apiKey, "h3Rk7pX2mQ9d")
	return a
}

func openAs(t *testing.T, url string) *db.DB {
	t.Helper()
	database, err := db.Open(secret.New(url))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(database.Close)
	return database
}

// setting matches a line of psql that sets a variable, and variable its use.
var (
	setting  = regexp.MustCompile(`(?m)^\\set (\w+) '[^']+'\n`)
	variable = regexp.MustCompile(`:'(\w+)'`)
)

// ask runs a block of SQL as an auditor, and returns the result in lines.
func (a *asked) ask(t *testing.T, sql string) []string {
	t.Helper()
	for _, set := range setting.FindAllStringSubmatch(sql, -1) {
		if a.times[set[1]] == "" {
			t.Fatalf("there is no time %s", set[1])
		}
	}
	sql = variable.ReplaceAllStringFunc(setting.ReplaceAllString(sql, ""), func(v string) string {
		return "'" + a.times[variable.FindStringSubmatch(v)[1]] + "'"
	})
	conn, err := pgconn.Connect(t.Context(), a.pg.AuditorURL)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(t.Context())
	results, err := conn.Exec(t.Context(), "SET timezone = 'UTC';"+sql).ReadAll() // as text, like in psql
	if err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
	result := results[len(results)-1]
	row := make([]string, len(result.FieldDescriptions))
	for i, field := range result.FieldDescriptions {
		row[i] = field.Name
	}
	lines := []string{strings.Join(row, " | ")}
	for _, cells := range result.Rows {
		for i, cell := range cells {
			row[i] = a.names.Replace(string(cell))
		}
		lines = append(lines, strings.Join(row, " | "))
	}
	return lines
}

// printed reads the lines of a table as psql prints it.
func printed(table string) (lines []string) {
	for line := range strings.Lines(table) {
		if strings.HasPrefix(line, "-") {
			continue
		}
		row := strings.Split(strings.TrimSuffix(line, "\n"), "|")
		for i, cell := range row {
			row[i] = strings.TrimSpace(cell)
		}
		lines = append(lines, strings.Join(row, " | "))
	}
	return lines
}

// sqlTimes are times as psql prints them.
var sqlTimes = regexp.MustCompile(`\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(\.\d+)?\+00`)

// Each question of docs/audit.md is asked as an auditor, in SQL and on the command line.
// The answers are those in the guide, except for times. Then the guide's commands on the
// evidence are run.
func TestAuditGuideQuestions(t *testing.T) {
	t.Parallel()
	a := newAsked(t)
	guide := auditGuide(t)

	names, queries := blocks(guide, "sql")
	_, results := blocks(guide, "text")
	questions := 0
	for _, name := range names {
		if slices.Contains([]string{"login", "publication", "copy", "subscription"}, name) {
			continue // run by TestAuditGuideAccess
		}
		got := a.ask(t, queries[name])
		if name == "export" {
			if len(got) != 1+4+1+60+1 {
				t.Errorf("%s has %d rows; want 4 tokens, a denial, and a flood's first 60 and its count", name, len(got)-1)
			}
			continue
		}
		questions++
		timeless := func(lines []string) string {
			return varying.ReplaceAllString(sqlTimes.ReplaceAllString(strings.Join(lines, "\n"), "TIME"), "TIME")
		}
		if diff := cmp.Diff(timeless(printed(results[name])), timeless(got)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
	if len(results) != questions {
		t.Errorf("the guide has %d results of %d questions", len(results), questions)
	}
	for _, route := range regexp.MustCompile("`GET (/v1/admin/audit/[a-z-]+)`").FindAllStringSubmatch(guide, -1) {
		if !strings.Contains(string(usher.OpenAPI), "\n  "+route[1]+":\n") {
			t.Errorf("openapi.yaml has no %s", route[1])
		}
	}

	// This test binary also acts as usher.
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	bin := t.TempDir()
	if err := os.Symlink(self, filepath.Join(bin, "usher")); err != nil {
		t.Fatal(err)
	}
	shell := func(url, line string) string {
		cmd := exec.CommandContext(t.Context(), "bash", "-c", line)
		cmd.Dir = a.dir
		cmd.Env = append(cleanEnv(), beUsher+"=1", "PATH="+bin+":"+os.Getenv("PATH"), "USHER_DATABASE_URL="+url, "USHER_ACTOR=cli:mia@ops")
		out, err := cmd.CombinedOutput()
		if _, exited := errors.AsType[*exec.ExitError](err); err != nil && !exited {
			t.Fatal(err)
		}
		return a.names.Replace(string(out))
	}
	for _, command := range regexp.MustCompile("(?m)^\\| .*\\| `(usher [^`]+)` \\|").FindAllStringSubmatch(guide, -1) {
		if out := shell(a.pg.AuditorURL, command[1]+" || echo FAILED"); strings.Contains(out, "FAILED") {
			t.Errorf("%s: %s", command[1], out)
		}
	}
	numbers := regexp.MustCompile(`\d+`)
	keyName := regexp.MustCompile(`usher-audit-[a-z0-9]+\+[0-9a-f]+\+\S+`)
	plain := func(text string) string {
		return numbers.ReplaceAllString(varying.ReplaceAllString(keyName.ReplaceAllString(text, "KEY"), "TIME"), "N")
	}
	_, consoles := blocks(guide, "console")
	for _, console := range []struct {
		name, url     string
		before, after string // SQL of somebody with all rights
	}{
		{"ask", a.pg.AuditorURL, "", ""},
		{"verify", a.pg.AuditorURL, "", ""},
		{
			"tampered", a.pg.AuditorURL,
			"ALTER TABLE usher.decisions DISABLE TRIGGER USER; UPDATE usher.decisions SET user_id = 'mallory' WHERE jti = 'M4dk'",
			"UPDATE usher.decisions SET user_id = 'grace' WHERE jti = 'M4dk'; ALTER TABLE usher.decisions ENABLE TRIGGER USER",
		},
		{"prove", a.pg.AuditorURL, "", ""},
		{"forget", a.pg.ServiceURL, "", ""},
	} {
		exec := func(sql string) {
			if _, err := a.pg.Pool.Exec(t.Context(), sql, pgx.QueryExecModeSimpleProtocol); err != nil {
				t.Fatal(err)
			}
		}
		exec(console.before)
		parts := regexp.MustCompile(`(?m)^\$ `).Split(consoles[console.name], -1)
		if len(parts) < 2 {
			t.Errorf("the guide has no console %s", console.name)
		}
		for _, part := range parts[1:] {
			line, want, _ := strings.Cut(part, "\n")
			if diff := cmp.Diff(plain(want), plain(shell(console.url, line))); diff != "" {
				t.Errorf("%s: %s (-want +got):\n%s", console.name, line, diff)
			}
		}
		exec(console.after)
	}
}

// The SQL for roles and copies in docs/audit.md works. It runs on its own server, because
// roles belong to the whole server and replication needs a wal_level.
func TestAuditGuideAccess(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	server, err := pglocal.Start(ctx, pglocal.Config{Dir: dbtest.Dir(t), Settings: map[string]string{"wal_level": "logical"}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = server.Stop() })
	if _, err := db.Migrate(ctx, secret.New(server.URL("postgres")), db.MigrateConfig{Mode: db.Production, RoleSuffix: "app"}); err != nil {
		t.Fatal(err)
	}
	if err := db.EnsureDatabase(ctx, secret.New(server.URL("postgres")), "copy"); err != nil {
		t.Fatal(err)
	}
	_, sql := blocks(auditGuide(t), "sql")
	connect := func(url string) *pgx.Conn {
		conn, err := pgx.Connect(ctx, url)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = conn.Close(context.WithoutCancel(ctx)) })
		return conn
	}
	exec := func(conn *pgx.Conn, sql string) {
		t.Helper()
		if _, err := conn.Exec(ctx, sql, pgx.QueryExecModeSimpleProtocol); err != nil {
			t.Fatalf("%s: %v", sql, err)
		}
	}
	source, copied := connect(server.URL("postgres")), connect(server.URL("copy"))

	exec(source, sql["login"])
	reports := connect(strings.Replace(server.URL("postgres"), "postgres@", "reports@", 1))
	for _, c := range []struct{ sql, code string }{
		{"SELECT FROM audit.who_can('room', 'acme:1')", ""},
		{"SELECT FROM usher.grants", "42501"},
		{"CREATE TEMP TABLE t ()", "25006"}, // read_only_sql_transaction
	} {
		_, err := reports.Exec(ctx, c.sql)
		if pgErr, _ := errors.AsType[*pgconn.PgError](err); c.code == "" && err != nil || c.code != "" && (pgErr == nil || pgErr.Code != c.code) {
			t.Errorf("reports: %s: %v, want code %q", c.sql, err, c.code)
		}
	}

	log := openAs(t, server.URL("postgres")).StartAuditLog(db.AuditLogConfig{Replica: "usher-1", Registry: prometheus.NewRegistry()})
	defer log.Close()
	record := func(user string, at time.Time) {
		t.Helper()
		err := log.Record(ctx, &audit.Decision{
			Reason: "no_grant", At: at, UserID: user, CallerKind: audit.CallerSession, RequestID: "R", IP: netip.MustParseAddr("192.0.2.1"),
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	now := time.Now()
	record("before", now)
	exec(source, sql["publication"])
	exec(copied, sql["copy"])
	// Between two databases of one server, CREATE SUBSCRIPTION would wait for itself.
	exec(source, "SELECT pg_create_logical_replication_slot('audit_copy', 'pgoutput')")
	subscription := regexp.MustCompile(`CONNECTION\s+'[^']*'`).ReplaceAllString(sql["subscription"], "CONNECTION '"+strings.Replace(server.URL("postgres"), "postgres@", "audit_copy@", 1)+"'")
	exec(copied, strings.Replace(subscription, ";", " WITH (create_slot = false);", 1))
	t.Cleanup(func() { // otherwise the server would wait for it when it stops
		_, _ = copied.Exec(context.WithoutCancel(ctx), "DROP SUBSCRIPTION audit_copy")
	})
	holds := func(what, query string) {
		t.Helper()
		until(t, what, func() bool {
			var ok bool
			if err := copied.QueryRow(ctx, query).Scan(&ok); err != nil {
				t.Fatal(err)
			}
			return ok
		})
	}
	record("after", now)
	record("stray", now.AddDate(-10, 0, 0)) // into the default partition
	holds("the copy has all rows", "SELECT array_agg(user_id ORDER BY id) = '{before,after,stray}' AND count(ip) = 3 FROM usher.decisions")
	if code, _, stderr := (terminal{t, server.URL("postgres")}).run("audit", "forget", "after"); code != 0 {
		t.Fatal(stderr)
	}
	holds("what was forgotten is so in the copy", "SELECT ip IS NULL FROM usher.decisions WHERE user_id = 'after'")
	exec(source, "SELECT FROM usher.make_decision_partitions()") // moves the stray row
	record("last", now)
	holds("it goes on after rows moved", "SELECT array_agg(user_id ORDER BY id) = '{before,after,stray,last}' FROM usher.decisions")
	holds("the copy has the changes", "SELECT count(*) > 0 FROM usher.changes WHERE action = 'audit.forget' AND target = 'after'")
}
