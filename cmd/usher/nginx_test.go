package main

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/usher-auth/usher/db/dbtest"
)

const nginxURL = "https://auth.example.com" // of docs/nginx.md

// nginx is a running nginx in front of usher, both as docs/nginx.md configures
// them.
type nginx struct {
	address string
	tls     *tls.Config
	ops     string // URL of usher's second listener
}

// startNginx starts both. Only ports and files differ from the guide.
func startNginx(t *testing.T, prod *production, env ...string) *nginx {
	t.Helper()
	guide, err := os.ReadFile("../../docs/nginx.md")
	if err != nil {
		t.Fatal(err)
	}
	block := func(name string) string {
		found := regexp.MustCompile("(?s)```" + name + "\n(.*?)```").FindSubmatch(guide)
		if found == nil {
			t.Fatalf("docs/nginx.md has no %s", name)
		}
		return string(found[1])
	}
	dir := dbtest.Dir(t)
	front, behind := "127.0.0.1:"+freePort(t), "127.0.0.1:"+freePort(t)
	replace := func(text string, pairs ...string) string {
		for i := 0; i < len(pairs); i += 2 {
			if strings.Count(text, pairs[i]) != 1 {
				t.Fatalf("docs/nginx.md has %q %d times, want once", pairs[i], strings.Count(text, pairs[i]))
			}
			text = strings.Replace(text, pairs[i], pairs[i+1], 1)
		}
		return text
	}
	site := replace(block("nginx usher.conf"), "server 127.0.0.1:8080;", "server "+behind+";", "    listen 443 ", "    listen "+front+" ",
		"/etc/nginx/auth.example.com.crt", dir+"/cert.pem", "/etc/nginx/auth.example.com.key", dir+"/key.pem")
	settings := strings.Fields(replace(block("sh usher.env"), "127.0.0.1:8080", behind))

	usher := *prod
	usher.env = append(append(append([]string{}, prod.env...), settings...), env...)
	u := startUsher(t, usher.env, "serve", "--ops-listen", "127.0.0.1:0")
	n := &nginx{address: front}
	until(t, "usher serves", func() bool {
		select {
		case <-u.ended:
			t.Fatalf("usher serve ended: %s", u.log)
		default:
		}
		n.ops = logged(u, "serving", "ops_listen")
		return n.ops != ""
	})
	n.ops = "http://" + n.ops

	cert, key := selfSigned(t, 1)
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(cert)
	n.tls = &tls.Config{RootCAs: roots, ServerName: "auth.example.com", MinVersion: tls.VersionTLS12}
	main := "daemon off; worker_processes 1; pid " + dir + "/pid; error_log stderr;\nevents { worker_connections 1024; }\nhttp {\naccess_log off;\n"
	for _, kind := range []string{"client_body", "proxy", "fastcgi", "uwsgi", "scgi"} {
		main += kind + "_temp_path " + dir + "/" + kind + ";\n"
	}
	for name, content := range map[string]string{"cert.pem": string(cert), "key.pem": string(key), "nginx.conf": main + site + "}\n"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	program, err := exec.CommandContext(t.Context(), "../../scripts/nginx.sh").Output()
	if err != nil {
		t.Fatalf("scripts/nginx.sh: %v", err)
	}
	log := new(syncBuffer)
	cmd := exec.Command(strings.TrimSpace(string(program)), "-e", "stderr", "-c", dir+"/nginx.conf")
	cmd.Stderr = log
	if os.Getuid() == 0 {
		const nobody = 65534
		if err := os.Chown(dir, nobody, nobody); err != nil {
			t.Fatal(err)
		}
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		if err := <-ended; t.Failed() {
			t.Logf("nginx: %v\n%s\nusher: %s", err, log, u.log)
		}
	})
	until(t, "nginx listens", func() bool {
		select {
		case err := <-ended:
			ended <- err
			t.Fatalf("nginx ended: %v: %s", err, log)
		default:
		}
		conn, err := n.dial(t.Context())
		if err == nil {
			_ = conn.Close()
		}
		return err == nil
	})
	return n
}

// dial connects as another machine would: not from the proxy's own address.
func (n *nginx) dial(ctx context.Context) (net.Conn, error) {
	from := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 2)}}
	return from.DialContext(ctx, "tcp", n.address)
}

// browser is a client that speaks HTTP/2.
func (n *nginx) browser() *http.Client {
	return &http.Client{Timeout: 20 * time.Second, Transport: &http.Transport{
		TLSClientConfig: n.tls.Clone(), ForceAttemptHTTP2: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) { return n.dial(ctx) },
	}}
}

type frontAnswer struct {
	*http.Response
	body string
}

func send(t testing.TB, client *http.Client, method, path, session, body string, header http.Header) frontAnswer {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, nginxURL+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	r.Header = header.Clone()
	if session != "" {
		r.Header.Set("Content-Type", "application/json")
		r.Header.Set("Cookie", "usher_session="+session)
	}
	res, err := client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	content, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return frontAnswer{res, string(content)}
}

// open returns how many connections to its public listener usher has.
func (n *nginx) open(t testing.TB) int {
	t.Helper()
	found := regexp.MustCompile(`(?m)^usher_http_connections\{listener="public"\} (\d+)$`).FindStringSubmatch(get(t, n.ops+"/metrics"))
	if found == nil {
		t.Fatal("/metrics has no usher_http_connections of the public listener")
	}
	count, _ := strconv.Atoi(found[1])
	return count
}

// What docs/nginx.md promises holds with the real nginx.
func TestBehindNginx(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("the test of nginx is a long one, and may download it")
	}
	prod := newProductionServer(t)
	prod.run(t, "grant", "add", "--user", "ada", "--store", "any_1", "--access", "read")
	const limit = 30
	n := startNginx(t, prod.production, fmt.Sprintf("USHER_RATE_LIMIT=%d", limit))
	browser := n.browser()
	const page = "https://app.example.com"
	from := http.Header{"Origin": {page}, "Sec-Fetch-Site": {"same-site"}}

	// HTTP/2 in front, the client's own address in the audit, and CORS once.
	forged := from.Clone()
	forged.Set("X-Forwarded-For", "198.51.100.9")
	a := send(t, browser, http.MethodPost, "/api/auth", prod.session, `{"room":"any:1"}`, forged)
	var answer struct{ Token string }
	if err := json.Unmarshal([]byte(a.body), &answer); err != nil || a.StatusCode != http.StatusOK || answer.Token == "" || a.ProtoMajor != 2 {
		t.Fatalf("POST /api/auth = %s %s %s, want a token over HTTP/2", a.Proto, a.Status, a.body)
	}
	if got := a.Header.Values("Access-Control-Allow-Origin"); len(got) != 1 || got[0] != page {
		t.Errorf("Access-Control-Allow-Origin = %q", got)
	}
	conn, err := pgx.Connect(t.Context(), prod.owner)
	if err != nil {
		t.Fatal(err)
	}
	var ip string
	err = conn.QueryRow(t.Context(), "SELECT host(ip) FROM audit.tokens WHERE jti = $1", jti(answer.Token)).Scan(&ip)
	_ = conn.Close(t.Context())
	if err != nil || ip != "127.0.0.2" {
		t.Errorf("the audit's ip = %q, %v; want the client's, 127.0.0.2", ip, err)
	}

	preflight := http.Header{"Origin": {page}, "Access-Control-Request-Method": {"POST"}, "Access-Control-Request-Headers": {"content-type"}}
	a = send(t, browser, http.MethodOptions, "/api/auth", "", "", preflight)
	if a.StatusCode != http.StatusNoContent || a.Header.Get("Access-Control-Allow-Origin") != page || a.Header.Get("Access-Control-Allow-Credentials") != "true" ||
		!strings.EqualFold(a.Header.Get("Access-Control-Allow-Headers"), "content-type") {
		t.Errorf("preflight = %s %v", a.Status, a.Header)
	}

	a = send(t, browser, http.MethodPost, "/api/auth?mode=cookie", prod.session, `{"store":"any_1"}`, from)
	cookie, err := http.ParseSetCookie(a.Header.Get("Set-Cookie"))
	if err != nil || a.StatusCode != http.StatusOK || cookie.Name != "__Host-usher" || !cookie.Secure || !cookie.HttpOnly {
		t.Errorf("mode=cookie = %s %s, cookie %+v, %v", a.Status, a.body, cookie, err)
	}

	// nginx keeps its connection to usher.
	for range 20 {
		if a := send(t, browser, http.MethodGet, "/.well-known/jwks.json", "", "", nil); a.StatusCode != http.StatusOK {
			t.Fatalf("GET /.well-known/jwks.json = %s", a.Status)
		}
	}
	until(t, "usher has one connection", func() bool { return n.open(t) == 1 })

	// Slow bodies wait at nginx, which has asked for them, and reach usher never.
	const slow = 200
	for i := range slow {
		raw, err := n.dial(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		defer raw.Close()
		_ = raw.SetDeadline(time.Now().Add(30 * time.Second))
		client := tls.Client(raw, n.tls)
		fmt.Fprintf(client, "POST /api/auth HTTP/1.1\r\nHost: auth.example.com\r\nOrigin: %s\r\nContent-Type: application/json\r\nContent-Length: 100\r\nExpect: 100-continue\r\n\r\n", page)
		if line, err := bufio.NewReader(client).ReadString('\n'); err != nil || !strings.Contains(line, " 100 ") {
			t.Fatalf("slow body %d: %q, %v; want 100 Continue", i, line, err)
		}
		if _, err := io.WriteString(client, "{"); err != nil {
			t.Fatal(err)
		}
	}
	if a := send(t, browser, http.MethodPost, "/api/auth", prod.session, `{"room":"any:1"}`, from); a.StatusCode != http.StatusOK {
		t.Errorf("beside slow bodies: %s %s", a.Status, a.body)
	}
	if open := n.open(t); open > 2 {
		t.Errorf("usher has %d connections beside %d slow bodies, want at most 2", open, slow)
	}

	// Limits and faults say when to try again.
	var mu sync.Mutex
	var asked sync.WaitGroup
	limited := 0
	for range 2 * limit {
		asked.Go(func() {
			a := send(t, browser, http.MethodPost, "/api/auth", prod.session, `{}`, from)
			mu.Lock()
			defer mu.Unlock()
			if a.StatusCode == http.StatusTooManyRequests {
				limited++
				checkRetryAfter(t, a)
			}
		})
	}
	asked.Wait()
	if limited == 0 {
		t.Errorf("none of %d requests was limited", 2*limit)
	}
	if err := prod.pg.Stop(); err != nil {
		t.Fatal(err)
	}
	a = send(t, browser, http.MethodPost, "/api/auth", "unknown", `{}`, from)
	if a.StatusCode != http.StatusServiceUnavailable {
		t.Errorf("without Postgres: %s %s, want 503", a.Status, a.body)
	}
	checkRetryAfter(t, a)
}

// checkRetryAfter checks that an answer of usher came through whole.
func checkRetryAfter(t testing.TB, a frontAnswer) {
	t.Helper()
	var problem struct{ Error string }
	err := json.Unmarshal([]byte(a.body), &problem)
	if seconds, notNumber := strconv.Atoi(a.Header.Get("Retry-After")); err != nil || notNumber != nil || seconds < 1 || problem.Error == "" {
		t.Errorf("%s %s with Retry-After %q", a.Status, a.body, a.Header.Get("Retry-After"))
	}
}
