package main

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/usher-auth/usher/db/dbtest"
)

func TestServe(t *testing.T) {
	t.Parallel()
	prod := newProductionServer(t)
	u, url, ops := prod.serve(t)
	status, header, answer, err := ask(t.Context(), url, prod.session, `{"room":"any:1"}`)
	if err != nil || status != 200 {
		t.Fatalf("POST /api/auth = %d %v, %v", status, answer, err)
	}
	if expires, err := time.Parse(time.RFC3339, answer["expiresAt"].(string)); err != nil || time.Until(expires) > 5*time.Minute {
		t.Errorf("expiresAt = %v, %v; want within 5 min", answer["expiresAt"], err)
	}
	for _, path := range []string{"/livez", "/readyz", "/metrics", "/debug/pprof/"} {
		checkStatus(t, ops+path, 200)
		checkStatus(t, url+path, 404)
	}
	checkStatus(t, ops+"/debug/pprof/cmdline", 404) // would show secrets given as flags
	if got := get(t, ops+"/metrics"); !strings.Contains(got, `usher_decisions_total{reason="",result="issued"} 1`) {
		t.Error("/metrics does not count the token")
	}
	if got := logged(u, "request", "request_id"); got != header.Get("X-Request-Id") {
		t.Errorf("the log names request %q, the answer %q", got, header.Get("X-Request-Id"))
	}
	for what, canary := range map[string]string{"the session": prod.session, "the token": answer["token"].(string), "the password": "hunter2"} {
		if strings.Contains(u.log.String()+u.out.String()+get(t, ops+"/metrics"), canary) {
			t.Errorf("%s is in a log or a metric", what)
		}
	}
	if status, _, _, err := ask(t.Context(), url, "unknown", `{}`); err != nil || status != 401 {
		t.Errorf("an unknown session: %d %v, want 401", status, err)
	}
	u.signal(syscall.SIGTERM)
	if code := u.exit(t); code != 0 {
		t.Errorf("after SIGTERM: exit code %d\n%s", code, u.log)
	}
}

func get(t testing.TB, url string) string {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	content, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(content)
}

// usher serve does not start with a setting that would break its promises, and says what
// to do.
func TestServeRefuses(t *testing.T) {
	t.Parallel()
	prod := newProduction(t)
	empty, err := url.Parse(prod.service)
	if err != nil {
		t.Fatal(err)
	}
	password, _ := empty.User.Password()
	empty.Path = "/postgres"
	const good = "https://auth.example.com"
	inOrder := []string{
		"--url=" + good, "--listen=127.0.0.1:0", "--ops-listen=127.0.0.1:0",
		"--database-url=" + prod.service, "--key-encryption-key-file=" + prod.key,
	}
	for name, test := range map[string]struct {
		no   string   // flag to leave out
		args []string // in place of the same flags, or beside them
		code int
		want string
	}{
		"without a URL":              {"--url", nil, 2, "--url"},
		"without a database":         {"--database-url", nil, 1, "--database-url is missing"},
		"without a key":              {"--key-encryption-key-file", nil, 1, "--key-encryption-key is missing"},
		"with an example key":        {"--key-encryption-key-file", []string{"--key-encryption-key=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="}, 1, "openssl rand -base64 32"},
		"with another key":           {"--key-encryption-key-file", []string{"--key-encryption-key=DEb4AKStnkwgurArl0nb1jZcVB4cfPnsnabEr94EIzE="}, 1, "none of the key encryption keys decrypts the signing keys"},
		"as the owner":               {"", []string{"--database-url=" + prod.owner}, 1, "may change audit rows"},
		"on a database without it":   {"", []string{"--database-url=" + empty.String()}, 1, "usher migrate up"},
		"without TLS":                {"", []string{"--url=http://auth.example.com"}, 1, "must start with https"},
		"with a slash at the end":    {"", []string{"--url=" + good + "/"}, 1, "slash"},
		"with a life of a day":       {"", []string{"--token-ttl=24h"}, 1, "TTL"},
		"with audiences of no kind":  {"", []string{"--audiences=liveblocks"}, 1, "name=rooms"},
		"with an origin of anything": {"", []string{"--origins=*"}, 1, "origin"},
		"with everybody as a proxy":  {"", []string{"--trusted-proxies=10.0.0.7,::/0"}, 1, "is every address"},
		"with a proxy from anywhere": {"", []string{"--proxy-user-header=X-User"}, 1, "list the proxies"},
		"with another's domain":      {"", []string{"--token-cookie-domain=example.org"}, 1, "not a parent"},
		"with an issuer for anybody": {"", []string{"--issuer=oidc issuer=https://id.example.com"}, 1, "usher: issuer https://id.example.com: aud: neither aud nor azp is given"},
		"with two faulty issuers":    {"", []string{"--issuer=okta x=y", "--issuer=clerk issuer=https://id.example.com"}, 1, "issuer 1: preset: \"okta\" is not one of"},
		"with itself as an issuer":   {"", []string{"--issuer=oidc issuer=" + good + " aud=livestore"}, 1, "usher's own --url"},
		"with keys without TLS":      {"", []string{"--issuer=oidc issuer=https://id.example.com aud=a jwks=http://id.example.com"}, 1, "jwks: bad key URL: URL is http"},
		"with both key and file":     {"", []string{"--key-encryption-key=x"}, 1, "give one"},
		"where commits may be lost":  {"", []string{"--database-url=" + dbtest.With(t, prod.service, "options", "-csynchronous_commit=off")}, 1, "acknowledged commits"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			args := []string{"serve"}
			for _, arg := range inOrder {
				flag, _, _ := strings.Cut(arg, "=")
				if flag != test.no && !slices.ContainsFunc(test.args, func(a string) bool { return strings.HasPrefix(a, flag+"=") }) {
					args = append(args, arg)
				}
			}
			ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second) // in case it serves
			defer cancel()
			var out, errs bytes.Buffer
			if code := run(ctx, append(args, test.args...), &out, &errs); code != test.code || !strings.Contains(errs.String(), test.want) {
				t.Errorf("exit code %d and %q, want %d and %q", code, &errs, test.code, test.want)
			}
			if strings.Contains(out.String()+errs.String(), password) {
				t.Error("the error repeats the password")
			}
		})
	}
}

// After SIGTERM, requests in flight are answered, readiness fails first, and the audit
// is written.
func TestServeDrains(t *testing.T) {
	t.Parallel()
	prod := newProduction(t)
	u, url, _ := prod.serve(t)
	var asked sync.WaitGroup
	stop := make(chan struct{})
	tokens := make(chan string, 100_000)
	for range 8 {
		asked.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				status, _, answer, err := ask(context.Background(), url, prod.session, `{}`)
				if err != nil {
					return // the listener, or an idle connection, was closed
				}
				if status != 200 {
					t.Errorf("while draining: status %d, want 200", status)
					return
				}
				tokens <- jti(answer["token"].(string))
			}
		})
	}
	until(t, "requests are answered", func() bool { return len(tokens) > 20 })
	u.signal(syscall.SIGTERM)
	if code := u.exit(t); code != 0 {
		t.Errorf("exit code %d\n%s", code, u.log)
	}
	close(stop)
	asked.Wait()
	close(tokens)
	// Every accepted request was answered, and the answer arrived.
	if answered := strings.Count(u.log.String(), `"status":200`); answered != len(tokens) {
		t.Errorf("usher answered %d requests, but clients hold %d tokens", answered, len(tokens))
	}
	prod.checkRows(t, tokens)
}

// If the database hangs, the answer is 503 with Retry-After within 2 s, and usher
// recovers by itself.
func TestPostgresHangs(t *testing.T) {
	t.Parallel()
	prod := newProductionServer(t)
	_, url, ops := prod.serve(t)
	if status, _, _, err := ask(t.Context(), url, prod.session, `{}`); err != nil || status != 200 {
		t.Fatalf("before: %d %v", status, err)
	}
	stopped := family(t, prod.pg.PID())
	for _, pid := range stopped {
		if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
			t.Fatal(err)
		}
	}
	resume := func() {
		for _, pid := range stopped {
			_ = syscall.Kill(pid, syscall.SIGCONT)
		}
	}
	defer resume()
	for range 5 {
		began := time.Now()
		status, header, answer, err := ask(t.Context(), url, prod.session, `{}`)
		took := time.Since(began)
		if err != nil || status != 503 || answer["error"] != "unavailable" {
			t.Fatalf("while postgres hangs: %d %v, %v", status, answer, err)
		}
		if seconds, err := strconv.Atoi(header.Get("Retry-After")); err != nil || seconds < 1 {
			t.Errorf("Retry-After = %q", header.Get("Retry-After"))
		}
		// usher's own deadline is 2 s; the rest is for a busy machine.
		if took > 4*time.Second {
			t.Errorf("answered after %s, want about 2 s", took)
		}
	}
	checkStatus(t, ops+"/readyz", 503)
	checkStatus(t, ops+"/livez", 200)
	checkStatus(t, url+"/.well-known/jwks.json", 200) // P3
	resume()
	until(t, "usher is back", func() bool {
		status, _, _, err := ask(t.Context(), url, prod.session, `{}`)
		return err == nil && status == 200
	})
}

// family returns a process and its children.
func family(t testing.TB, pid int) []int {
	t.Helper()
	out, err := exec.Command("ps", "-A", "-o", "pid=,ppid=").Output()
	if err != nil {
		t.Fatal(err)
	}
	pids := []int{pid}
	for line := range strings.Lines(string(out)) {
		var child, parent int
		if _, err := fmt.Sscan(line, &child, &parent); err == nil && parent == pid {
			pids = append(pids, child)
		}
	}
	return pids
}

// usher and Postgres are killed with -9 in turn, at random times, while clients send
// requests. No client ever has a token without its row.
func TestNoTokenWithoutItsRow(t *testing.T) {
	t.Parallel()
	kills := 50
	if testing.Short() {
		kills = 6
	}
	prod := newProductionServer(t)
	var mu sync.Mutex
	u, url, _ := prod.serve(t)
	target := func() string {
		mu.Lock()
		defer mu.Unlock()
		return url
	}
	tokens := make(chan string, 1_000_000)
	stop := make(chan struct{})
	var clients sync.WaitGroup
	for range 8 {
		clients.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				status, _, answer, err := ask(context.Background(), target(), prod.session, `{}`)
				switch {
				case err != nil: // usher does not answer
					time.Sleep(5 * time.Millisecond)
				case status == 200:
					tokens <- jti(answer["token"].(string))
				case status != 503:
					t.Errorf("a fault was answered with %d %v", status, answer)
				default:
					time.Sleep(5 * time.Millisecond)
				}
			}
		})
	}
	for kill := range kills {
		before := len(tokens)
		until(t, "tokens are issued", func() bool { return len(tokens) > before+3 })
		time.Sleep(time.Duration(rand.IntN(20)) * time.Millisecond) // at a random time
		if kill%2 == 0 {
			u.signal(syscall.SIGKILL)
			<-u.ended
			again, newURL, _ := prod.serve(t)
			mu.Lock()
			u, url = again, newURL
			mu.Unlock()
			continue
		}
		if err := syscall.Kill(prod.pg.PID(), syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		<-prod.pg.Done()
		prod.startPostgres(t)
	}
	close(stop)
	clients.Wait()
	close(tokens)
	if n := len(tokens); n < 3*kills {
		t.Errorf("only %d tokens were issued beside %d kills", n, kills)
	}
	prod.checkRows(t, tokens)
}

// checkRows fails for each token that has no audit row, or more than one.
func (p *production) checkRows(t testing.TB, tokens <-chan string) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), p.owner)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(t.Context())
	rows, err := conn.Query(t.Context(), "SELECT jti, count(*) FROM audit.tokens GROUP BY jti")
	if err != nil {
		t.Fatal(err)
	}
	recorded := map[string]int{}
	var id string
	var n int
	if _, err := pgx.ForEachRow(rows, []any{&id, &n}, func() error { recorded[id] = n; return nil }); err != nil {
		t.Fatal(err)
	}
	checked := 0
	for jti := range tokens {
		checked++
		if recorded[jti] != 1 {
			t.Errorf("token %s has %d audit rows, want 1", jti, recorded[jti])
		}
	}
	t.Logf("%d tokens at clients, %d audit rows", checked, len(recorded))
}

func jti(token string) string {
	payload, err := base64.RawURLEncoding.DecodeString(strings.Split(token, ".")[1])
	if err != nil {
		return err.Error()
	}
	var claims struct{ Jti string }
	if err := json.Unmarshal(payload, &claims); err != nil {
		return err.Error()
	}
	return claims.Jti
}

// A log that nobody reads stops neither requests nor the shutdown.
// usher serve warns where the order of the audiences decides which is chosen.
func TestServeWarnsOfAudiencesOfOneKind(t *testing.T) {
	t.Parallel()
	prod := newProduction(t)
	prod.env = append(prod.env, "USHER_AUDIENCES=both=rooms+stores,livestore=stores")
	u, _, _ := prod.serve(t)
	const warning = "several audiences take the same kind: a request that names no audience gets a token for the first"
	if kind, chosen := logged(u, warning, "kind"), logged(u, warning, "chosen"); kind != "stores" || chosen != "both" {
		t.Errorf("warns of kind %q and audience %q, want stores and both: %s", kind, chosen, u.log)
	}
	if n := strings.Count(u.log.String(), warning); n != 1 {
		t.Errorf("warns %d times, want once: one audience takes rooms", n)
	}
}

func TestSharedKinds(t *testing.T) {
	t.Parallel()
	for audiences, want := range map[string]string{
		"liveblocks=rooms,livestore=stores":  "[]",
		"all=rooms+stores":                   "[]",
		"a=rooms,b=rooms,c=stores":           "[{rooms [a b]}]",
		"livestore=stores,both=rooms+stores": "[{stores [livestore both]}]",
		"a=rooms+stores,b=stores+rooms":      "[{rooms [a b]} {stores [a b]}]",
		"none":                               "[]",
	} {
		if got := fmt.Sprint((&tokenFlags{Audiences: audiences}).sharedKinds()); got != want {
			t.Errorf("%s: %s, want %s", audiences, got, want)
		}
	}
}

func TestServeWithAStalledLog(t *testing.T) {
	t.Parallel()
	prod := newProduction(t)
	reader, writer, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer reader.Close()
	port, self := freePort(t), os.Args[0]
	url := "http://127.0.0.1:" + port
	cmd := exec.Command(self, "serve", "--url", url, "--listen", "127.0.0.1:"+port, "--ops-listen", "127.0.0.1:0")
	cmd.Env = append(append(cleanEnv(), beUsher+"=1"), prod.env...)
	cmd.Stderr = writer
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	_ = writer.Close()
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	t.Cleanup(func() { _ = cmd.Process.Kill() })
	until(t, "usher serves", func() bool {
		status, _, _, err := ask(t.Context(), url, prod.session, `{}`)
		return err == nil && status == 200
	})
	// The pipe holds 64 KiB, which are about 350 lines.
	for range 600 {
		if status, _, _, err := ask(t.Context(), url, prod.session, `{}`); err != nil || status != 200 {
			t.Fatalf("with a log that nobody reads: %d, %v", status, err)
		}
	}
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-ended:
		if err != nil {
			t.Errorf("after SIGTERM: %v", err)
		}
	case <-time.After(30 * time.Second):
		t.Error("SIGTERM does not end it")
	}
}
