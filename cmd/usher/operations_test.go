package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/alecthomas/kong"
	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"
	"go.yaml.in/yaml/v4"

	"github.com/usher-auth/usher/db/dbtest"
	"github.com/usher-auth/usher/db/pglocal"
)

// These tests compare docs/operations.md and deploy with a running usher.

// shipped returns a file of the repository.
func shipped(t testing.TB, name string) string {
	t.Helper()
	content, err := os.ReadFile(filepath.Join(root(t), name))
	if err != nil {
		t.Fatal(err)
	}
	return string(content)
}

// section returns the text under a heading, up to the next one of its level.
func section(t testing.TB, document, heading string) string {
	t.Helper()
	_, text, found := strings.Cut(document, "\n"+heading+"\n")
	if !found {
		t.Fatalf("there is no %q", heading)
	}
	level, _, _ := strings.Cut(heading, " ")
	text, _, _ = strings.Cut(text, "\n"+level+" ")
	return text
}

// busy is an usher with all metrics: with TLS, an identity provider that is down, and a
// signing key that has an end.
type busy struct {
	url, ops, session string
	client            *http.Client
}

func newBusy(t testing.TB, prod *production) *busy {
	t.Helper()
	prod.exec(t, prod.owner, "UPDATE usher.signing_keys SET signs_until = '2100-01-01'")
	cert, key := selfSigned(t, 1)
	dir := t.TempDir()
	for name, content := range map[string][]byte{"cert.pem": cert, "key.pem": key} {
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(cert)
	port := freePort(t)
	u := startUsher(t, slices.Concat(prod.env, []string{
		"USHER_RATE_LIMIT=1", "USHER_TLS_CERT=" + dir + "/cert.pem", "USHER_TLS_KEY=" + dir + "/key.pem",
		"USHER_ISSUERS=oidc issuer=http://127.0.0.1:1 aud=usher",
	}), "serve", "--url", "https://auth.example.com", "--listen", "127.0.0.1:"+port, "--ops-listen", "127.0.0.1:0")
	b := &busy{url: "https://127.0.0.1:" + port, session: prod.session, client: &http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{
		TLSClientConfig: &tls.Config{RootCAs: roots, ServerName: "auth.example.com", MinVersion: tls.VersionTLS12},
	}}}
	until(t, "usher serves", func() bool {
		select {
		case <-u.ended:
			t.Fatalf("usher serve ended: %s", u.log)
		default:
		}
		b.ops = logged(u, "serving", "ops_listen")
		return b.ops != ""
	})
	return b
}

// ask makes a token, a refusal and a request over the rate limit.
func (b *busy) ask(t testing.TB) {
	t.Helper()
	statuses := map[int]bool{}
	for _, session := range []string{b.session, b.session, "unknown"} {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, b.url+"/api/auth", strings.NewReader(`{"room":"any:1"}`))
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Content-Type", "application/json")
		r.Header.Set("Origin", "https://auth.example.com")
		r.Header.Set("Cookie", "usher_session="+session)
		res, err := b.client.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		_ = res.Body.Close()
		statuses[res.StatusCode] = true
	}
	if !statuses[http.StatusTooManyRequests] || !statuses[http.StatusUnauthorized] {
		t.Fatalf("the answers were %v", statuses)
	}
}

// A metricFamily is a metric of a scrape.
type metricFamily struct {
	kind   string
	labels map[string]map[string]bool // their values
}

var (
	sample = regexp.MustCompile(`(?m)^(\w+)(?:\{(.*)\})? [^ ]+$`)
	label  = regexp.MustCompile(`(\w+)="((?:[^"\\]|\\.)*)"`)
)

// scrape reads the metrics, and the series that belong to each.
func scrape(t testing.TB, ops string) (metrics, series map[string]*metricFamily) {
	t.Helper()
	text := get(t, "http://"+ops+"/metrics")
	metrics, series = map[string]*metricFamily{}, map[string]*metricFamily{}
	for _, m := range regexp.MustCompile(`(?m)^# TYPE (\w+) (\w+)$`).FindAllStringSubmatch(text, -1) {
		metrics[m[1]] = &metricFamily{m[2], map[string]map[string]bool{}}
	}
	for _, m := range sample.FindAllStringSubmatch(text, -1) {
		of := metrics[m[1]]
		if of == nil {
			of = metrics[regexp.MustCompile(`_(bucket|sum|count)$`).ReplaceAllString(m[1], "")]
		}
		if of == nil {
			t.Fatalf("the sample %s has no type", m[1])
		}
		series[m[1]] = of
		for _, l := range label.FindAllStringSubmatch(m[2], -1) {
			if of.labels[l[1]] == nil {
				of.labels[l[1]] = map[string]bool{}
			}
			of.labels[l[1]][l[2]] = true
		}
	}
	return metrics, series
}

// ruleFile is deploy/prometheus/usher.rules.yml.
type ruleFile struct {
	Groups []struct {
		Rules []struct {
			Alert, Expr, For    string
			Labels, Annotations map[string]string
		}
	}
}

// ruleTests is deploy/prometheus/usher.test.yml.
type ruleTests struct {
	Tests []struct {
		InputSeries []struct{ Series string } `yaml:"input_series"`
		AlertRules  []struct {
			Name string           `yaml:"alertname"`
			Want []map[string]any `yaml:"exp_alerts"`
		} `yaml:"alert_rule_test"`
	}
}

func readYAML(t testing.TB, name string, into any) {
	t.Helper()
	if err := yaml.Unmarshal([]byte(shipped(t, name)), into); err != nil {
		t.Fatalf("%s: %v", name, err)
	}
}

func rules(t testing.TB) (alerts map[string]string, runbooks map[string]string) {
	t.Helper()
	var file ruleFile
	readYAML(t, "deploy/prometheus/usher.rules.yml", &file)
	alerts, runbooks = map[string]string{}, map[string]string{}
	for _, g := range file.Groups {
		for _, r := range g.Rules {
			alerts[r.Alert], runbooks[r.Alert] = r.Expr, r.Annotations["runbook_url"]
			if s := r.Labels["severity"]; s != "critical" && s != "warning" {
				t.Errorf("%s has the severity %q", r.Alert, s)
			}
		}
	}
	return alerts, runbooks
}

// panels returns the dashboard's queries by panel and letter.
func panels(t testing.TB) map[string]string {
	t.Helper()
	var dashboard struct {
		Panels []struct {
			Title   string
			Targets []struct{ RefID, Expr string }
		}
	}
	if err := json.Unmarshal([]byte(shipped(t, "deploy/grafana/usher.json")), &dashboard); err != nil {
		t.Fatal(err)
	}
	queries := map[string]string{}
	for _, p := range dashboard.Panels {
		for _, target := range p.Targets {
			queries[p.Title+" "+target.RefID] = target.Expr
		}
	}
	return queries
}

var (
	selector = regexp.MustCompile(`\b([a-z]+_[a-z_]+|up)\b(?:\{([^}]*)\})?`)
	grouping = regexp.MustCompile(`\b(?:by|on) \(([^)]*)\)`)
)

// checkQuery compares the series and labels of a query with those of a scrape.
// Prometheus itself adds up, instance and job.
func checkQuery(series map[string]*metricFamily, expr string) (faults []string) {
	names := map[string]bool{"instance": true, "job": true, "le": true}
	found := 0
	for _, m := range selector.FindAllStringSubmatch(grouping.ReplaceAllString(expr, ""), -1) {
		if m[1] == "histogram_quantile" || m[1] == "__rate_interval" {
			continue
		}
		found++
		of := series[m[1]]
		if of == nil {
			if m[1] != "up" {
				faults = append(faults, "no series "+m[1])
			}
			continue
		}
		for l := range of.labels {
			names[l] = true
		}
		for _, l := range regexp.MustCompile(`(\w+)(=~?)"([^"]*)"`).FindAllStringSubmatch(m[2], -1) {
			switch values := of.labels[l[1]]; {
			case l[1] == "instance" || l[1] == "job":
			case values == nil:
				faults = append(faults, m[1]+" has no label "+l[1])
			case l[1] != "status" && !values[l[3]]:
				faults = append(faults, fmt.Sprintf("%s has no %s=%q", m[1], l[1], l[3]))
			}
		}
	}
	for _, g := range grouping.FindAllStringSubmatch(expr, -1) {
		for l := range strings.SplitSeq(g[1], ",") {
			if !names[strings.TrimSpace(l)] {
				faults = append(faults, "no label "+strings.TrimSpace(l))
			}
		}
	}
	if found == 0 {
		faults = append(faults, "no series at all")
	}
	return faults
}

func TestCheckQuery(t *testing.T) {
	t.Parallel()
	series := map[string]*metricFamily{"usher_x_total": {"counter", map[string]map[string]bool{"pool": {"issuing": true}, "status": {"200": true}}}}
	for expr, want := range map[string]string{
		`sum by (pool) (rate(usher_x_total{pool="issuing", status="503", instance=~"$instance"}[$__rate_interval]))`: "",
		`usher_y_total > 0`:              "no series usher_y_total",
		`usher_x_total{route="a"}`:       "usher_x_total has no label route",
		`usher_x_total{pool="admin"}`:    `usher_x_total has no pool="admin"`,
		`sum by (route) (usher_x_total)`: "no label route",
		`up{job="usher"} == 0`:           "",
		`time() > 1`:                     "no series at all",
	} {
		if got := strings.Join(checkQuery(series, expr), "; "); got != want {
			t.Errorf("checkQuery(%s) = %q, want %q", expr, got, want)
		}
	}
}

// docs/operations.md lists all metrics of a running usher with their types and
// labels, and the alerts and the dashboard use only what it has.
func TestOperationsMetrics(t *testing.T) {
	t.Parallel()
	b := newBusy(t, newProduction(t))
	b.ask(t)
	metrics, series := scrape(t, b.ops)
	want := map[string]string{}
	for name, m := range metrics {
		if strings.HasPrefix(name, "usher_") {
			delete(m.labels, "le")
			want[name] = m.kind + " " + strings.Join(slices.Sorted(maps.Keys(m.labels)), " ")
		}
	}
	got := map[string]string{}
	table := section(t, shipped(t, "docs/operations.md"), "## Metrics")
	for _, row := range regexp.MustCompile("(?m)^\\| `(usher_\\w+)` \\| (\\w+) \\|(.*?)\\| .+ \\|$").FindAllStringSubmatch(table, -1) {
		var labels []string
		for _, m := range regexp.MustCompile("`(\\w+)`").FindAllStringSubmatch(row[3], -1) {
			labels = append(labels, m[1])
		}
		slices.Sort(labels)
		got[row[1]] = row[2] + " " + strings.Join(labels, " ")
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("the table of metrics in docs/operations.md (-/metrics +table):\n%s", diff)
	}
	alerts, _ := rules(t)
	queries := panels(t)
	if len(alerts) < 10 || len(queries) < 10 {
		t.Fatalf("%d alerts and %d queries", len(alerts), len(queries))
	}
	maps.Copy(queries, alerts)
	for name, expr := range queries {
		for _, fault := range checkQuery(series, expr) {
			t.Errorf("%s: %s, in %s", name, fault, expr)
		}
	}
	var tests ruleTests
	readYAML(t, "deploy/prometheus/usher.test.yml", &tests)
	for _, test := range tests.Tests {
		for _, input := range test.InputSeries {
			name, _, _ := strings.Cut(input.Series, "{")
			if name != "up" && series[name] == nil {
				t.Errorf("usher.test.yml: no series %s", name)
			}
		}
	}
}

// Each alert links to its section in docs/operations.md, and has a test in which it
// fires and one in which it does not.
func TestOperationsAlerts(t *testing.T) {
	t.Parallel()
	alerts, runbooks := rules(t)
	guide := section(t, shipped(t, "docs/operations.md"), "## Alerts")
	var want, got []string
	for _, m := range regexp.MustCompile(`(?m)^### (\w+)$`).FindAllStringSubmatch(guide, -1) {
		want = append(want, m[1])
	}
	for alert, runbook := range runbooks {
		got = append(got, alert)
		if !strings.HasSuffix(runbook, "/docs/operations.md#"+strings.ToLower(alert)) {
			t.Errorf("%s links to %s", alert, runbook)
		}
	}
	slices.Sort(want)
	slices.Sort(got)
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("sections (-) and alerts (+):\n%s", diff)
	}
	var tests ruleTests
	readYAML(t, "deploy/prometheus/usher.test.yml", &tests)
	fires, quiet := map[string]bool{}, map[string]bool{}
	for _, test := range tests.Tests {
		for _, r := range test.AlertRules {
			if len(r.Want) > 0 {
				fires[r.Name] = true
			} else {
				quiet[r.Name] = true
			}
		}
	}
	for alert := range alerts {
		if !fires[alert] || !quiet[alert] {
			t.Errorf("%s has a test in which it fires: %t; in which it does not: %t", alert, fires[alert], quiet[alert])
		}
	}
}

// The table of log messages lists every error and warning of the running service,
// with its level.
func TestOperationsLog(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("../../internal/service/*.go")
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{"ended with an error": "error"} // of cmd/usher/serve.go
	for _, file := range files {
		if strings.HasSuffix(file, "_test.go") {
			continue
		}
		content, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range regexp.MustCompile(`\.(Error|Warn)Context\(ctx, "([^"]+)"`).FindAllStringSubmatch(string(content), -1) {
			want[m[2]] = strings.ToLower(m[1])
		}
	}
	got := map[string]string{}
	for _, row := range regexp.MustCompile("(?m)^\\| (\\w+) \\| `([^`]+)` \\| .+ \\|$").FindAllStringSubmatch(section(t, shipped(t, "docs/operations.md"), "## Log"), -1) {
		got[row[2]] = row[1]
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("messages in the code (-) and in docs/operations.md (+):\n%s", diff)
	}
}

// After the steps for a leaked signing key, or for a lost key encryption key, another key
// signs, and the key set does not have the old one.
func TestReplaceSigningKey(t *testing.T) {
	t.Parallel()
	_, code := blocks(shipped(t, "docs/operations.md"), "sql")
	for name, lost := range map[string]bool{"leaked signing key": false, "lost key encryption key": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			prod := newProduction(t)
			old := signingKeys(t, prod)
			if len(old) != 1 {
				t.Fatalf("the signing keys are %v", old)
			}
			if lost {
				key := make([]byte, 32)
				_, _ = rand.Read(key)
				if err := os.WriteFile(prod.key, []byte(base64.StdEncoding.EncodeToString(key)), 0o600); err != nil {
					t.Fatal(err)
				}
				refused := startUsher(t, prod.env, "serve", "--url", "https://auth.example.com", "--listen", "127.0.0.1:0", "--ops-listen", "127.0.0.1:0")
				if refused.exit(t) != 1 || !strings.Contains(refused.log.String(), "none of the key encryption keys decrypts") {
					t.Errorf("usher serve without the key: %s", refused.log)
				}
			}
			prod.exec(t, prod.owner, strings.ReplaceAll(code["compromised"], ":'kid'", "'"+old[0]+"'"))
			status, stdout, stderr := terminal{t, prod.owner}.run("key", "create", "--key-encryption-key-file", prod.key)
			if status != 0 {
				t.Fatalf("usher key create: %s%s", stdout, stderr)
			}
			u, url, ops := prod.serve(t)
			keys := get(t, url+"/.well-known/jwks.json")
			all := signingKeys(t, prod)
			if len(all) != 2 {
				t.Fatalf("the signing keys are %v, want 2", all)
			}
			for _, kid := range all {
				if strings.Contains(keys, `"`+kid+`"`) == (kid == old[0]) {
					t.Errorf("the key set of %q without %q: %s", all, old[0], keys)
				}
			}
			got, _, answer, err := ask(t.Context(), url, prod.session, `{"room":"any:1"}`)
			if err != nil || got != http.StatusOK || answer["token"] == "" {
				t.Errorf("a token: %d %v, %v", got, answer, err)
			}
			if degraded := strings.Contains(get(t, ops+"/readyz"), `"degraded"`); degraded != lost || strings.Contains(u.log.String(), "kept but not sealed") != lost {
				t.Errorf("degraded: %t, want %t\n%s", degraded, lost, u.log)
			}
		})
	}
}

// A second login replaces the first one without an interruption.
func TestSecondServiceLogin(t *testing.T) {
	t.Parallel()
	prod := newProductionServer(t)
	added := startUsher(t, []string{"USHER_DATABASE_URL=" + prod.owner, "USHER_SERVICE_USER=usher2", "USHER_SERVICE_PASSWORD=hunter3"}, "migrate", "up")
	if code := added.exit(t); code != 0 {
		t.Fatalf("usher migrate up: %s%s", added.out, added.log)
	}
	prod.env = append(prod.env, "USHER_DATABASE_URL="+strings.Replace(prod.service, "usher:hunter2@", "usher2:hunter3@", 1))
	_, url, _ := prod.serve(t)
	prod.exec(t, prod.owner, "DROP ROLE usher")
	if status, _, answer, err := ask(t.Context(), url, prod.session, `{"room":"any:1"}`); err != nil || status != http.StatusOK {
		t.Errorf("a token: %d %v, %v", status, answer, err)
	}
}

// Postgres runs every query of the page.
func TestOperationsQueries(t *testing.T) {
	t.Parallel()
	pg := dbtest.New(t)
	guide := shipped(t, "docs/operations.md")
	_, code := blocks(guide, "sql")
	queries := []string{code["refusals"]}
	for _, m := range regexp.MustCompile("`(SELECT [^`]+ FROM [^`]+)`").FindAllStringSubmatch(guide, -1) {
		queries = append(queries, m[1])
	}
	if len(queries) < 6 {
		t.Fatalf("the page has only the queries %q", queries)
	}
	for _, query := range queries {
		if _, err := pg.Pool.Exec(t.Context(), query); err != nil {
			t.Errorf("%s: %v", query, err)
		}
	}
}

func signingKeys(t testing.TB, prod *production) (ids []string) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), prod.owner)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.WithoutCancel(t.Context()))
	rows, err := conn.Query(t.Context(), "SELECT kid FROM usher.signing_keys ORDER BY created_at, kid")
	if err != nil {
		t.Fatal(err)
	}
	ids, err = pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		t.Fatal(err)
	}
	return ids
}

// The call for more than 10,000 rows without a partition moves what usher leaves.
func TestMoveStrayRows(t *testing.T) {
	t.Parallel()
	pg := dbtest.New(t)
	_, code := blocks(shipped(t, "docs/operations.md"), "sql")
	const rows = 10_001
	for _, sql := range []string{
		// Rows of a month without a partition, as after a long absence.
		`INSERT INTO usher.decisions (issued_at, recorded_at, result, reason, caller_kind, request_id, replica, count, salt, personal_digest, digest)
		 SELECT '2020-01-15', '2020-01-15', 'denied', 'session_unknown', 'none', 'r', 'test', 1, '\x00000000000000000000000000000000', sha256('x'), sha256('x')
		   FROM generate_series(1, 10001)`,
		"SELECT usher.make_decision_partitions()",
	} {
		if _, err := pg.Pool.Exec(t.Context(), sql); err != nil {
			t.Fatal(err)
		}
	}
	stray := func() (n int) {
		t.Helper()
		if err := pg.Pool.QueryRow(t.Context(), "SELECT count(*) FROM usher.decisions_default").Scan(&n); err != nil {
			t.Fatal(err)
		}
		return n
	}
	if n := stray(); n != rows {
		t.Fatalf("usher left %d rows, want %d", n, rows)
	}
	var made, found int
	if err := pg.Pool.QueryRow(t.Context(), code["move-stray-rows"]).Scan(&made, &found); err != nil {
		t.Fatal(err)
	}
	if n := stray(); n != 0 || found != rows {
		t.Errorf("%d rows were found and %d stay, want %d and 0", found, n, rows)
	}
}

// systemd's own check accepts the unit, and its settings are those of usher.
func TestSystemdUnit(t *testing.T) {
	t.Parallel()
	unit := shipped(t, "deploy/systemd/usher.service")
	known := knownEnv(t)
	variables := regexp.MustCompile(`(?m)^Environment=(\w+)=(\S+)$`).FindAllStringSubmatch(unit, -1)
	if len(variables) != 3 {
		t.Fatalf("%d variables, want 3", len(variables))
	}
	for _, v := range variables {
		if !known[v[1]] {
			t.Errorf("usher reads no %s", v[1])
		}
		if name, ok := strings.CutPrefix(v[2], "%d/"); ok && !strings.Contains(unit, "\nLoadCredential="+name+":/etc/usher/"+name+"\n") {
			t.Errorf("%s has no credential", v[1])
		}
	}
	command := regexp.MustCompile(`(?m)^ExecStart=/usr/local/bin/usher (.*)$`).FindStringSubmatch(unit)
	if command == nil {
		t.Fatal("the unit does not start /usr/local/bin/usher")
	}
	var c cli
	parser, err := kong.New(&c, kong.Vars{"user": "x", "proxies": privateAddresses}, kong.Exit(func(int) {}))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := parser.Parse(append(strings.Fields(command[1]), "--url", "https://auth.example.com")); err != nil {
		t.Errorf("usher %s: %v", command[1], err)
	}
	analyze, err := exec.LookPath("systemd-analyze")
	if err != nil {
		return // nothing else can check the directives
	}
	file := filepath.Join(t.TempDir(), "usher.service")
	if err := os.WriteFile(file, []byte(strings.Replace(unit, "/usr/local/bin/usher", "/bin/true", 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.CommandContext(t.Context(), analyze, "verify", "--man=no", file).CombinedOutput(); err != nil || len(out) > 0 {
		t.Errorf("systemd-analyze verify: %v\n%s", err, out)
	}
}

// prometheusProgram returns the path of a program, which it downloads if necessary.
func prometheusProgram(t testing.TB, name string) string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), filepath.Join(root(t), "scripts/prometheus.sh"), name).Output()
	if err != nil {
		t.Fatalf("scripts/prometheus.sh %s: %v", name, err)
	}
	return strings.TrimSpace(string(out))
}

// Prometheus itself accepts the rules, and their tests pass.
func TestPromtool(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("the test of the alerts may download Prometheus")
	}
	promtool := prometheusProgram(t, "promtool")
	for _, args := range [][]string{
		{"check", "rules", "usher.rules.yml"},
		{"check", "config", "--syntax-only", "prometheus.yml"},
		{"test", "rules", "usher.test.yml"},
	} {
		cmd := exec.CommandContext(t.Context(), promtool, args...)
		cmd.Dir = filepath.Join(root(t), "deploy/prometheus")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("promtool %s: %v\n%s", strings.Join(args, " "), err, out)
		}
	}
}

// A real Prometheus that scrapes usher answers every query of the dashboard, and
// evaluates every alert.
func TestPrometheus(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("the test of the dashboard may download Prometheus")
	}
	program := prometheusProgram(t, "prometheus")
	b := newBusy(t, newProduction(t))
	dir, port := t.TempDir(), freePort(t)
	config := shipped(t, "deploy/prometheus/prometheus.yml")
	for old, value := range map[string]string{
		"usher:9090": b.ops, "15s": "1s", "/etc/prometheus/": filepath.Join(root(t), "deploy/prometheus") + "/",
	} {
		if !strings.Contains(config, old) {
			t.Fatalf("prometheus.yml has no %s", old)
		}
		config = strings.ReplaceAll(config, old, value)
	}
	if err := os.WriteFile(filepath.Join(dir, "prometheus.yml"), []byte(config), 0o600); err != nil {
		t.Fatal(err)
	}
	waiting := panels(t)
	if len(waiting) < 10 {
		t.Fatalf("the dashboard has %d queries", len(waiting))
	}
	log := new(bytes.Buffer)
	cmd := exec.Command(program, "--config.file="+dir+"/prometheus.yml", "--storage.tsdb.path="+dir+"/data", "--web.listen-address=127.0.0.1:"+port)
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Signal(os.Interrupt)
		_ = cmd.Wait()
		if t.Failed() {
			t.Logf("queries without a result: %q\nprometheus: %s", waiting, log)
		}
	})
	// query returns false while there is no data.
	query := func(path string, into any) bool {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://127.0.0.1:"+port+path, http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		res, err := http.DefaultClient.Do(r)
		if err != nil {
			return false
		}
		defer res.Body.Close()
		body, err := io.ReadAll(res.Body)
		if err != nil || res.StatusCode == http.StatusServiceUnavailable {
			return false
		}
		if res.StatusCode != http.StatusOK {
			t.Fatalf("%s: %s %s", path, res.Status, body)
		}
		return json.Unmarshal(body, into) == nil
	}
	variables := strings.NewReplacer("$__rate_interval", "30s", "$instance", ".*")
	until(t, "every query of the dashboard has a result", func() bool {
		b.ask(t)
		for name, expr := range waiting {
			var answer struct {
				Data struct{ Result []any }
			}
			if query("/api/v1/query?query="+url.QueryEscape(variables.Replace(expr)), &answer) && len(answer.Data.Result) > 0 {
				delete(waiting, name)
			}
		}
		return len(waiting) == 0
	})
	alerts, _ := rules(t)
	until(t, "every alert is evaluated", func() bool {
		var answer struct {
			Data struct {
				Groups []struct {
					Rules []struct{ Name, Health, LastError string }
				}
			}
		}
		evaluated := 0
		if !query("/api/v1/rules", &answer) {
			return false
		}
		for _, g := range answer.Data.Groups {
			for _, r := range g.Rules {
				if r.LastError != "" {
					t.Fatalf("%s: %s", r.Name, r.LastError)
				}
				if r.Health == "ok" {
					evaluated++
				}
			}
		}
		return evaluated == len(alerts)
	})
}

// The steps of docs/operations.md after a restore: usher says that the database was set
// back and does not seal over it, usher audit verify names what was lost, and after
// --accept-rollback the audit is sealed again.
func TestRestoreDrill(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("the drill needs two servers, pg_dump and five starts of usher")
	}
	prod := newProductionServer(t)
	dir := t.TempDir()
	checkpoints, publicKey, dump := filepath.Join(dir, "checkpoints"), filepath.Join(dir, "audit.pub"), filepath.Join(dir, "dump")
	prod.env = append(prod.env, "USHER_AUDIT_CHECKPOINTS="+checkpoints)
	programs, err := pglocal.FindPrograms()
	if err != nil {
		t.Fatal(err)
	}
	server, err := filepath.EvalSymlinks(filepath.Join(programs, "postgres")) // pg_dump is beside it
	if err != nil {
		t.Fatal(err)
	}
	postgres := func(program string, args ...string) {
		t.Helper()
		if out, err := exec.CommandContext(t.Context(), filepath.Join(filepath.Dir(server), program), args...).CombinedOutput(); err != nil {
			t.Fatalf("%s: %v\n%s", program, err, out)
		}
	}
	stop := func(u *process) {
		t.Helper()
		u.signal(syscall.SIGTERM)
		if code := u.exit(t); code != 0 {
			t.Fatalf("exit code %d\n%s", code, u.log)
		}
	}
	issue := func(url string) {
		t.Helper()
		for range 5 {
			if status, _, answer, err := ask(t.Context(), url, prod.session, `{"room":"any:1"}`); err != nil || status != http.StatusOK {
				t.Fatalf("POST /api/auth = %d %v, %v", status, answer, err)
			}
		}
	}
	verify := func(file string) (code int, printed string) {
		t.Helper()
		u := startUsher(t, []string{"USHER_DATABASE_URL=" + prod.service}, "audit", "verify", "--public-key", publicKey, "--checkpoint", file)
		code = u.exit(t)
		return code, u.out.String() + u.log.String()
	}
	readiness := func(ops string) (state struct{ Status, Reason string }) {
		t.Helper()
		if err := json.Unmarshal([]byte(get(t, ops+"/readyz")), &state); err != nil {
			t.Fatal(err)
		}
		return state
	}
	number := func(sql string) (n int64) {
		t.Helper()
		conn, err := pgx.Connect(t.Context(), prod.owner)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close(context.WithoutCancel(t.Context()))
		if err := conn.QueryRow(t.Context(), sql).Scan(&n); err != nil {
			t.Fatal(err)
		}
		return n
	}
	const sealed, active = "SELECT coalesce(max(tree_size), 0) FROM usher.seals", "SELECT count(*) FROM audit.grants WHERE subject_kind = 'everyone' AND revoked_at IS NULL"

	u, url, _ := prod.serve(t)
	issue(url)
	stop(u)
	if err := os.WriteFile(publicKey, []byte(prod.run(t, "audit", "public-key")), 0o600); err != nil {
		t.Fatal(err)
	}
	backedUp := number(sealed)
	postgres("pg_dump", "-Fc", "-f", dump, prod.owner)
	u, url, _ = prod.serve(t)
	issue(url)
	stop(u)
	lost := number(sealed)
	if backedUp == 0 || lost <= backedUp {
		t.Fatalf("%d rows were sealed before the backup, and %d after it", backedUp, lost)
	}
	if code, printed := verify(checkpoints); code != 0 {
		t.Fatalf("usher audit verify before the disaster: %s", printed)
	}
	revoked := startUsher(t, []string{"USHER_DATABASE_URL=" + prod.owner}, "grant", "revoke", "1")
	if code := revoked.exit(t); code != 0 || number(active) != 0 {
		t.Fatalf("usher grant revoke: %s%s", revoked.out, revoked.log)
	}

	// The server is lost, and another one takes its place.
	if err := prod.pg.Stop(); err != nil {
		t.Fatal(err)
	}
	replacement, err := pglocal.Start(context.WithoutCancel(t.Context()), pglocal.Config{Dir: dbtest.Dir(t)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = replacement.Stop() })
	prod.owner = replacement.URL("prod")
	prod.service = strings.Replace(prod.owner, "postgres@", "usher:hunter2@", 1)
	prod.env = append(prod.env, "USHER_DATABASE_URL="+prod.service)
	roles := startUsher(t, []string{"USHER_DATABASE_URL=" + prod.owner}, "migrate", "roles")
	if code := roles.exit(t); code != 0 {
		t.Fatalf("usher migrate roles: %s", roles.log)
	}
	prod.exec(t, replacement.URL("postgres"), roles.out.String())
	prod.exec(t, replacement.URL("postgres"), "CREATE DATABASE prod")
	postgres("pg_restore", "--exit-on-error", "-d", prod.owner, dump)
	prod.exec(t, prod.owner, "ANALYZE")
	migrated := startUsher(t, []string{"USHER_DATABASE_URL=" + prod.owner, "USHER_SERVICE_PASSWORD=hunter2"}, "migrate", "up")
	if code := migrated.exit(t); code != 0 {
		t.Fatalf("usher migrate up: %s%s", migrated.out, migrated.log)
	}
	if number(active) != 1 {
		t.Error("the grant that was revoked after the backup is still revoked: docs/operations.md says otherwise")
	}
	code, printed := verify(checkpoints)
	if want := fmt.Sprintf("checkpoint of %d leaves: the tree has only %d leaves: its end was cut off", lost, backedUp); code != 1 || !strings.Contains(printed, want) {
		t.Errorf("usher audit verify of the restored database: exit code %d, %s; want %q", code, printed, want)
	}

	kept := readFile(t, checkpoints)
	u, url, ops := prod.serve(t)
	issue(url)
	until(t, "usher has tried to seal", func() bool { return metric(t, ops, "usher_audit_seal_failures_total") >= 2 })
	state := readiness(ops)
	option := regexp.MustCompile(`--accept-rollback=(\d+)`).FindStringSubmatch(state.Reason)
	if state.Status != "degraded" || !strings.Contains(state.Reason, "was set back") || option == nil || option[1] != fmt.Sprint(lost) {
		t.Fatalf("/readyz of a database that was set back: %+v; want degraded, with --accept-rollback=%d", state, lost)
	}
	if !strings.Contains(u.log.String(), "was set back") {
		t.Errorf("the log does not say that the database was set back:\n%s", u.log)
	}
	if metric(t, ops, "usher_audit_unsealed_seconds") == 0 {
		t.Error("usher_audit_unsealed_seconds is 0 while nothing is sealed")
	}
	stop(u)
	if n := number(sealed); n != backedUp || readFile(t, checkpoints) != kept {
		t.Errorf("usher has sealed %d rows over a database that was set back, which had %d", n, backedUp)
	}

	usual := prod.env
	prod.env = append(slices.Clone(usual), "USHER_ACCEPT_ROLLBACK="+option[1])
	u, _, ops = prod.serve(t)
	until(t, "the audit is sealed again", func() bool {
		return readiness(ops).Status == "ok" && metric(t, ops, "usher_audit_unsealed_seconds") == 0 && number(sealed) > backedUp
	})
	stop(u)
	prod.env = usual
	if n := number("SELECT count(*) FROM audit.changes WHERE action = 'audit.accept_rollback'"); n != 1 {
		t.Errorf("audit.changes has %d rows of the acceptance, want 1", n)
	}
	if code, printed := verify(checkpoints); code != 1 || !strings.Contains(printed, fmt.Sprintf("checkpoint of %d leaves: ", lost)) {
		t.Errorf("usher audit verify with the lost checkpoints: exit code %d, %s", code, printed)
	}
	if err := os.Rename(checkpoints, checkpoints+".lost"); err != nil {
		t.Fatal(err)
	}
	u, url, _ = prod.serve(t)
	issue(url)
	stop(u)
	if code, printed := verify(checkpoints); code != 0 || !strings.Contains(printed, "kept checkpoints fit the tree") {
		t.Errorf("usher audit verify with the checkpoints since then: exit code %d, %s", code, printed)
	}
}
