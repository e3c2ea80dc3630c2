package main

import (
	"net"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/usher-auth/usher/db/dbtest"
)

// TestMain lets the test binary serve the limit, like the real program.
func TestMain(m *testing.M) {
	if len(os.Args) == 2 && os.Args[1] == limitCommand {
		main()
		return
	}
	os.Exit(m.Run())
}

// A short run of the whole benchmark, so that it keeps working. It fails if an answer is
// wrong, which run itself checks.
func TestRun(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("builds usher and starts three servers")
	}
	cfg := config{
		connections: 8, rounds: 1, duration: 500 * time.Millisecond, users: 100, grants: 1_000,
		servers: []string{usherServer, limitServer}, profile: t.TempDir(),
	}
	if _, err := nodeDir(); err != nil {
		t.Logf("without the Node endpoint: %v", err)
	} else {
		cfg.servers = append(cfg.servers, nodeServer)
	}
	var out strings.Builder
	if err := run(t.Context(), cfg, &out); err != nil {
		t.Fatalf("run: %v\n%s", err, out.String())
	}
	for _, want := range append(cfg.servers, "profile of ") {
		if !strings.Contains(out.String(), want) {
			t.Errorf("output has no %q:\n%s", want, out.String())
		}
	}
}

// A short run of make bench-audit. The speed is not checked, because it depends on what
// else runs.
func TestRunAudit(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("takes seconds")
	}
	line := regexp.MustCompile(`(?m)^ +64 +\d+ +\d+ +\d+\.\d\d `)
	var out strings.Builder
	// On a busy machine a short turn may end before anything was committed.
	for duration := 100 * time.Millisecond; !line.MatchString(out.String()); duration *= 4 {
		if duration > 10*time.Second {
			t.Fatalf("output has no line of 64 callers:\n%s", out.String())
		}
		out.Reset()
		err := runAudit(t.Context(), []string{"-rounds", "1", "-duration", duration.String()}, &out)
		if err != nil && !strings.Contains(err.Error(), "at 64 callers") {
			t.Fatalf("runAudit: %v", err)
		}
	}
}

// An answer that is not a token must not be counted as one.
func TestAsk(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ answer, fault string }{
		"token":          {"HTTP/1.1 200 OK\r\ncontent-length: 13\r\n\r\n{\"token\":\"ey\"", ""},
		"503":            {"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 13\r\n\r\n{\"token\":\"ey\"", `{"token":"ey"`},
		"no token":       {"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}", "{}"},
		"no length":      {"HTTP/1.1 200 OK\r\n\r\n{}", "without Content-Length"},
		"cut in headers": {"HTTP/1.1 200 OK\r\nContent-", "EOF"},
		"cut in body":    {"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{\"token\":\"ey\"", "EOF"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			client, server := net.Pipe()
			defer client.Close()
			request := newRequest("http://127.0.0.1:1", person{UserID: "ada", Cookie: "c", Room: "r"})
			go func() {
				defer server.Close()
				got := make([]byte, len(request))
				if n, err := server.Read(got); err != nil || n != len(request) {
					return
				}
				_, _ = server.Write([]byte(c.answer))
			}()
			err := newConnection(client).ask(request)
			switch {
			case c.fault == "" && err != nil:
				t.Errorf("ask: %v", err)
			case c.fault != "" && (err == nil || !strings.Contains(err.Error(), c.fault)):
				t.Errorf("ask: got error %v, want one with %q", err, c.fault)
			}
		})
	}
}

// A token without its audit row must fail the run.
func TestCheckAudit(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	conn, err := pgx.Connect(ctx, dbtest.New(t).URL)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(ctx)
	for _, sql := range []string{
		"CREATE SCHEMA app",
		"CREATE TABLE app.decisions (LIKE usher.decisions)",
		`INSERT INTO usher.decisions (issued_at, token_kind, result, caller_kind, user_id, audience, patterns, jti, kid, expires_at, request_id, replica, personal_digest, digest)
		 VALUES (now(), 'access', 'issued', 'session', 'ada', 'liveblocks', '{}', 'known', 'k', now(), 'r', 'test', sha256(''), sha256(''))`,
	} {
		if _, err := conn.Exec(ctx, sql); err != nil {
			t.Fatal(err)
		}
	}
	for name, c := range map[string]struct {
		server server
		want   bool
	}{
		"all there":        {server{name: usherServer, received: 1, sampled: []string{"known"}}, true},
		"a row missing":    {server{name: usherServer, received: 2, sampled: []string{"known"}}, false},
		"another token's":  {server{name: usherServer, received: 1, sampled: []string{"unknown"}}, false},
		"the other server": {server{name: nodeServer, received: 1}, false},
		"no audit":         {server{name: limitServer, received: 1}, true},
	} {
		b := &bench{servers: []*server{&c.server}}
		if err := b.checkAudit(ctx, conn); (err == nil) != c.want {
			t.Errorf("%s: got error %v, want none: %t", name, err, c.want)
		}
	}
}
