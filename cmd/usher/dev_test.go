package main

import (
	"bytes"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/usher-auth/usher/db/dbtest"
)

// The commands that usher dev prints work when pasted. usher dev keeps instances apart
// and cleans up.
func TestDev(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(dbtest.Dir(t), "my app", ".usher")
	p, dev := startDev(t, dir)

	info, err := os.Stat(filepath.Join(dir, "dev.json"))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("dev.json has mode %v, %v; want 0600", info.Mode(), err)
	}
	if ignored, err := os.ReadFile(filepath.Join(dir, ".gitignore")); err != nil || string(ignored) != "*\n" {
		t.Errorf(".gitignore = %q, %v", ignored, err)
	}
	commands := regexp.MustCompile(`(?m)^  ((?:curl|\S*psql) (?:.*\\\n)?.*)$`).FindAllStringSubmatch(p.out.String(), -1)
	if len(commands) != 5 {
		t.Fatalf("usher dev prints %d commands, want 5:\n%s", len(commands), p.out)
	}
	for i, want := range []string{`"token":"eyJ`, `"error":"forbidden"`, "acme:design:1", `{"token":"eyJ`, `"pattern":"acme:design:*"`} {
		out, err := exec.CommandContext(t.Context(), "bash", "-c", commands[i][1]).CombinedOutput()
		if err != nil || !bytes.Contains(out, []byte(want)) {
			t.Errorf("%s\nprinted %s, %v; want %s in it", commands[i][1], out, err, want)
		}
	}
	for user, rooms := range map[string]map[string]int{
		"ada":     {`{"room":"acme:1"}`: 200, `{"room":"globex:1"}`: 403, `{"store":"acme_notes"}`: 200},
		"grace":   {`{"room":"acme:review:1"}`: 200, `{"store":"acme_notes"}`: 200, `{}`: 200},
		"mallory": {`{"room":"globex:1"}`: 200, `{"room":"acme:1"}`: 403, `{"store":"acme_notes"}`: 403},
	} {
		for body, want := range rooms {
			if status, _, answer, err := ask(t.Context(), dev.URL, dev.Sessions[user], body); err != nil || status != want {
				t.Errorf("%s asks for %s: %d %v %v, want %d", user, body, status, answer, err, want)
			}
		}
	}
	if !strings.HasPrefix(dev.APIKey, "sk_dev_") || dev.Issuer != dev.URL || dev.Audience != "liveblocks" || dev.JWKSURL != dev.URL+"/.well-known/jwks.json" {
		t.Errorf("dev.json = %+v", dev)
	}
	checkStatus(t, dev.OpsURL+"/readyz", 200)
	checkStatus(t, dev.URL+"/metrics", 404) // never on the public port
	checkStatus(t, dev.URL+"/readyz", 404)
	checkStatus(t, dev.URL+"/v1/admin/users", 404)
	checkStatus(t, dev.AdminURL+"/users", 401)

	// A second one does not disturb it, even in the same folder.
	beside := startUsher(t, nil, "dev", "--dir", dir, "--listen", "127.0.0.1:0")
	if code := beside.exit(t); code != 1 || !strings.Contains(beside.log.String(), "another usher runs there") {
		t.Errorf("a second usher dev in the same folder: exit code %d, %s", code, beside.log)
	}
	_, other := startDev(t, filepath.Join(dbtest.Dir(t), ".usher"))
	if status, _, _, err := ask(t.Context(), other.URL, dev.Sessions["ada"], `{}`); err != nil || status != 401 {
		t.Errorf("the session of one checkout at another: %d %v, want 401", status, err)
	}

	// Ctrl-C stops everything; the next one reuses the data.
	postgres := postmaster(t, dir)
	p.signal(syscall.SIGINT)
	if code := p.exit(t); code != 0 {
		t.Errorf("after Ctrl-C: exit code %d\n%s", code, p.log)
	}
	if alive(postgres) {
		t.Error("postgres outlived usher dev")
	}
	p, again := startDev(t, dir)
	if again.Sessions["ada"] != dev.Sessions["ada"] || again.APIKey != dev.APIKey || again.AdminKey != dev.AdminKey {
		t.Error("the second usher dev has other sessions or other keys")
	}
	if status, _, _, err := ask(t.Context(), again.URL, dev.Sessions["ada"], `{}`); err != nil || status != 200 {
		t.Errorf("the old cookie at the second usher dev: %d %v", status, err)
	}

	// A killed Postgres is restarted. If usher is killed, its Postgres ends too, and
	// both start again.
	if err := syscall.Kill(postmaster(t, dir), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	until(t, "usher dev has its postgres back", func() bool {
		status, _, _, err := ask(t.Context(), again.URL, dev.Sessions["ada"], `{}`)
		if err == nil && status != 200 && status != 503 {
			t.Fatalf("while postgres is away: status %d, want 503", status)
		}
		return status == 200
	})
	postgres = postmaster(t, dir)
	p.signal(syscall.SIGKILL)
	p.exit(t)
	_, last := startDev(t, dir)
	until(t, "the postgres of the killed usher dev is gone", func() bool { return !alive(postgres) })
	if status, _, _, err := ask(t.Context(), last.URL, dev.Sessions["ada"], `{}`); err != nil || status != 200 {
		t.Errorf("after the kill: %d %v", status, err)
	}
}

func postmaster(t testing.TB, dir string) int {
	t.Helper()
	var pid int
	until(t, "postgres runs", func() bool {
		content, err := os.ReadFile(filepath.Join(dir, "postgres", "data", "postmaster.pid"))
		if err != nil {
			return false
		}
		pid, err = strconv.Atoi(strings.SplitN(string(content), "\n", 2)[0])
		return err == nil && alive(pid)
	})
	return pid
}

func alive(pid int) bool { return syscall.Kill(pid, 0) == nil }

func checkStatus(t testing.TB, url string, want int) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Errorf("%s: %v", url, err)
		return
	}
	_ = res.Body.Close()
	if res.StatusCode != want {
		t.Errorf("%s = %d, want %d", url, res.StatusCode, want)
	}
}

// usher dev and usher serve keep their databases apart.
func TestDevAndServeRefuseEachOthersDatabase(t *testing.T) {
	t.Parallel()
	prod := newProductionServer(t)
	dev := startUsher(t, nil, "dev", "--dir", filepath.Join(dbtest.Dir(t), ".usher"), "--listen", "127.0.0.1:0", "--database-url", prod.owner)
	if code := dev.exit(t); code != 1 || !strings.Contains(dev.log.String(), "this is a production database") {
		t.Errorf("usher dev on a production database: exit code %d, %s", code, dev.log)
	}
	prod.exec(t, prod.pg.URL("postgres"), "CREATE DATABASE demo")
	running, file := startDev(t, filepath.Join(dbtest.Dir(t), ".usher"), "--database-url", prod.pg.URL("demo"))
	if status, _, _, err := ask(t.Context(), file.URL, file.Sessions["ada"], `{}`); err != nil || status != 200 {
		t.Errorf("usher dev on an empty database: %d %v", status, err)
	}
	running.signal(syscall.SIGINT)
	running.exit(t)
	serve := startUsher(t, append(prod.env, "USHER_DATABASE_URL="+prod.pg.URL("demo")),
		"serve", "--url", "http://127.0.0.1:1", "--listen", "127.0.0.1:0", "--ops-listen", "127.0.0.1:0")
	if code := serve.exit(t); code != 1 || !strings.Contains(serve.log.String(), "created by usher dev") {
		t.Errorf("usher serve on a demo database: exit code %d, %s", code, serve.log)
	}
}

func TestDevListensOnce(t *testing.T) {
	t.Parallel()
	port := freePort(t)
	l, err := listen(t.Context(), "listen", "127.0.0.1:"+port)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	p := startUsher(t, nil, "dev", "--dir", filepath.Join(dbtest.Dir(t), ".usher"), "--listen", "127.0.0.1:"+port)
	if code := p.exit(t); code != 1 || !strings.Contains(p.log.String(), "use a free port: usher dev --listen 127.0.0.1:0") {
		t.Errorf("usher dev on a taken port: exit code %d, %s", code, p.log)
	}
	p = startUsher(t, []string{"MAKELEVEL=1"}, "dev", "--dir", filepath.Join(dbtest.Dir(t), ".usher"), "--listen", "127.0.0.1:"+port)
	if code := p.exit(t); code != 1 || !strings.Contains(p.log.String(), "make dev ARGS='--listen 127.0.0.1:0'") {
		t.Errorf("make dev on a taken port: exit code %d, %s", code, p.log)
	}
}

// usher dev writes only into its own folder, and exposes nothing to the network without
// a flag.
func TestDevRefuses(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		prepare func(dir string) error
		args    []string
		want    string
	}{
		"a folder that others can write": {func(dir string) error { return os.Chmod(dir, 0o777) }, nil, "can be written by others"},
		"a key that others can read": {func(dir string) error {
			return os.WriteFile(filepath.Join(dir, "key-encryption-key"), []byte("m3Qx0f9mV1vJc7tB0b5Zk2yqC4n8oXhWl6uR1sTzE9A="), 0o644)
		}, nil, "can be read by others: run chmod 600 "},
		"a file that is not its own":   {func(dir string) error { return os.WriteFile(filepath.Join(dir, "dev.json"), []byte("x"), 0o600) }, nil, "Remove it"},
		"operators on every interface": {nil, []string{"--ops-listen", "0.0.0.0:0"}, "not a loopback address"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := filepath.Join(dbtest.Dir(t), ".usher")
			if err := os.Mkdir(dir, 0o755); err != nil {
				t.Fatal(err)
			}
			if test.prepare != nil {
				if err := test.prepare(dir); err != nil {
					t.Fatal(err)
				}
			}
			p := startUsher(t, nil, append([]string{"dev", "--dir", dir, "--listen", "127.0.0.1:0"}, test.args...)...)
			if code := p.exit(t); code != 1 || !strings.Contains(p.log.String(), test.want) {
				t.Errorf("exit code %d, %s; want 1 and %q", code, p.log, test.want)
			}
		})
	}
}

// If a variable points to the database of one usher dev, another one, in its folder or
// elsewhere, must not take that over. Other commands find the running one.
func TestDevBesideItself(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(dbtest.Dir(t), ".usher")
	victim := filepath.Join(dbtest.Dir(t), "victim")
	if err := os.WriteFile(victim, []byte("kept"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(victim, filepath.Join(dir, "dev.json.new")); err != nil {
		t.Fatal(err)
	}
	_, dev := startDev(t, dir)
	if content, err := os.ReadFile(victim); err != nil || string(content) != "kept" {
		t.Errorf("usher dev wrote through a planted link: %q, %v", content, err)
	}
	for other, want := range map[string]string{
		dir:                                    "the private Postgres of usher dev itself: unset it",
		filepath.Join(dbtest.Dir(t), ".usher"): "belongs to a usher dev in another folder",
	} {
		p := startUsher(t, []string{"USHER_DATABASE_URL=" + dev.DatabaseURL}, "dev", "--dir", other, "--listen", "127.0.0.1:0")
		if code := p.exit(t); code != 1 || !strings.Contains(p.log.String(), want) {
			t.Errorf("usher dev --dir %s on another's database: exit code %d, %s; want %q", other, code, p.log, want)
		}
	}
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, dev.AdminURL+"/users", http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+dev.AdminKey)
	if res, err := http.DefaultClient.Do(r); err != nil || res.StatusCode != http.StatusOK {
		t.Errorf("the admin key of the running one: %v, %v", res, err)
	} else {
		_ = res.Body.Close()
	}

	below := filepath.Join(filepath.Dir(dir), "src", "deep")
	if err := os.MkdirAll(below, 0o755); err != nil {
		t.Fatal(err)
	}
	for from, found := range map[string]bool{filepath.Dir(dir): true, below: true, dbtest.Dir(t): false} {
		cmd := exec.CommandContext(t.Context(), os.Args[0], "user", "list")
		cmd.Dir = from
		cmd.Env = append(cleanEnv(), beUsher+"=1", "USHER_DATABASE_URL=")
		var out, errs bytes.Buffer
		cmd.Stdout, cmd.Stderr = &out, &errs
		err := cmd.Run()
		if found && (err != nil || !strings.Contains(out.String(), "mallory") || !strings.Contains(errs.String(), "using the database of usher dev in "+dir)) {
			t.Errorf("usher user list in %s: %v, %s%s", from, err, &out, &errs)
		}
		if !found && (err == nil || !strings.Contains(errs.String(), "--database-url is missing")) {
			t.Errorf("usher user list elsewhere: %v, %s%s", err, &out, &errs)
		}
	}
}

func TestShellQuote(t *testing.T) {
	t.Parallel()
	for _, word := range []string{"", "plain", "/a/b.c", "my app", "it's", `a"b`, "$HOME", "`id`", "a&b", "a;b", "*", "ü", "postgres://x@/u?host=%2Ftmp%2Fmy app"} {
		out, err := exec.CommandContext(t.Context(), "bash", "-c", "printf %s "+shellQuote(word)).CombinedOutput()
		if err != nil || string(out) != word {
			t.Errorf("bash reads %s as %q, %v; want %q", shellQuote(word), out, err, word)
		}
	}
}
