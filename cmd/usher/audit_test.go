package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/iotest"

	"github.com/jackc/pgx/v5"

	"github.com/usher-auth/usher/db/dbtest"
)

// metric returns a metric without labels.
func metric(t testing.TB, ops, name string) float64 {
	t.Helper()
	match := regexp.MustCompile(`(?m)^` + name + ` (\S+)$`).FindStringSubmatch(get(t, ops+"/metrics"))
	if match == nil {
		t.Fatalf("/metrics has no %s", name)
	}
	value, err := strconv.ParseFloat(match[1], 64)
	if err != nil {
		t.Fatal(err)
	}
	return value
}

func readFile(t testing.TB, name string) string {
	t.Helper()
	content, err := os.ReadFile(name)
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	return string(content)
}

// usher serve seals the tokens that it issues and writes the checkpoints elsewhere. The
// audit can then be verified, a token proved, and a changed row found.
func TestServeSeals(t *testing.T) {
	t.Parallel()
	prod := newProduction(t)
	dir := t.TempDir()
	checkpoints, publicKey, proofFile := filepath.Join(dir, "checkpoints"), filepath.Join(dir, "key"), filepath.Join(dir, "proof.json")
	prod.env = append(prod.env, "USHER_AUDIT_CHECKPOINTS="+checkpoints)
	u, url, ops := prod.serve(t)
	until(t, "what was there before is sealed", func() bool { return strings.Contains(readFile(t, checkpoints), "usher-audit-") })
	status, _, answer, err := ask(t.Context(), url, prod.session, `{"room":"any:1"}`)
	if err != nil || status != http.StatusOK {
		t.Fatalf("POST /api/auth = %d %v, %v", status, answer, err)
	}
	token := jti(answer["token"].(string))
	until(t, "it is sealed", func() bool {
		return metric(t, ops, "usher_audit_unsealed_seconds") == 0 && strings.Count(readFile(t, checkpoints), "usher-audit-") >= 4 // of two
	})
	if err := os.WriteFile(publicKey, []byte(prod.run(t, "audit", "public-key")), 0o600); err != nil {
		t.Fatal(err)
	}
	// The last token is sealed too.
	if status, _, _, err := ask(t.Context(), url, prod.session, `{}`); err != nil || status != http.StatusOK {
		t.Fatal(status, err)
	}
	u.signal(syscall.SIGTERM)
	if code := u.exit(t); code != 0 {
		t.Fatalf("exit code %d\n%s", code, u.log)
	}
	verify := []string{"audit", "verify", "--checkpoint", checkpoints, "--public-key", publicKey}
	report := prod.run(t, verify...)
	if !regexp.MustCompile(`^\d+ rows sealed: 2 decisions and \d+ changes are unchanged\n(\d+) of (\d+) kept checkpoints fit the tree\n$`).MatchString(report) {
		t.Errorf("usher audit verify printed %q", report)
	}
	proof := prod.run(t, "audit", "prove", token)
	if err := os.WriteFile(proofFile, []byte(proof), 0o600); err != nil {
		t.Fatal(err)
	}
	offline := startUsher(t, nil, "audit", "check-proof", proofFile, "--public-key", publicKey)
	if code := offline.exit(t); code != 0 || !strings.HasPrefix(offline.out.String(), fmt.Sprintf("token %s for user \"ada\": issued at ", token)) {
		t.Errorf("usher audit check-proof: exit code %d, %q %s", code, offline.out, offline.log)
	}
	if err := os.WriteFile(proofFile, []byte(strings.Replace(proof, `"ada"`, `"eve"`, 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	forged := startUsher(t, nil, "audit", "check-proof", proofFile, "--public-key", publicKey)
	if code := forged.exit(t); code != 1 || !strings.Contains(forged.log.String(), "was changed") {
		t.Errorf("usher audit check-proof of a forged one: exit code %d, %q %s", code, forged.out, forged.log)
	}

	prod.exec(t, prod.owner, "ALTER TABLE usher.decisions DISABLE TRIGGER USER; UPDATE usher.decisions SET user_id = 'eve' WHERE jti = '"+token+"'")
	changed := startUsher(t, prod.env, append(verify, "--json")...)
	code := changed.exit(t)
	var found struct {
		Found    int
		Findings []struct{ Kind, Problem string }
	}
	if err := json.Unmarshal([]byte(changed.out.String()), &found); err != nil || code != 1 || found.Found != 1 || found.Findings[0].Kind != "decision" {
		t.Errorf("usher audit verify after a change: exit code %d, %s %s", code, changed.out, changed.log)
	}
}

// If nothing seals the audit, tokens are still issued, usher logs it, and a metric shows
// it.
func TestServeWithoutACheckpointKey(t *testing.T) {
	t.Parallel()
	prod := newProduction(t)
	prod.exec(t, prod.owner, "ALTER TABLE usher.checkpoint_keys DISABLE TRIGGER USER; DELETE FROM usher.checkpoint_keys")
	u, url, ops := prod.serve(t)
	if logged(u, "the audit is kept but not sealed: changes to it would not be detected", "error") == "" {
		t.Errorf("usher serve says nothing of it: %s", u.log)
	}
	for range 5 {
		if status, _, answer, err := ask(t.Context(), url, prod.session, `{}`); err != nil || status != http.StatusOK {
			t.Fatalf("POST /api/auth = %d %v, %v", status, answer, err)
		}
	}
	until(t, "the gap shows", func() bool {
		return metric(t, ops, "usher_audit_unsealed_rows") >= 5 && metric(t, ops, "usher_audit_unsealed_seconds") > 0
	})
}

// Every refusal is in the audit, as a row or in a count, also of a flood, and also of one
// that SIGTERM ends.
func TestFloodsAreInTheAudit(t *testing.T) {
	t.Parallel()
	prod := newProduction(t)
	u, url, _ := prod.serve(t)
	var flood sync.WaitGroup
	refused := make(chan int, 8)
	for c := range 8 {
		flood.Go(func() {
			n := 0
			for range 150 {
				status, _, _, err := ask(t.Context(), url, fmt.Sprintf("unknown-%d", c), `{}`)
				if err != nil || status != http.StatusUnauthorized {
					t.Errorf("an unknown session: %d, %v; want 401", status, err)
					continue
				}
				n++
			}
			refused <- n
		})
	}
	flood.Wait()
	u.signal(syscall.SIGTERM) // before the next flush
	if code := u.exit(t); code != 0 {
		t.Errorf("exit code %d\n%s", code, u.log)
	}
	sent := 0
	for range 8 {
		sent += <-refused
	}
	conn, err := pgx.Connect(t.Context(), prod.owner)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(t.Context())
	var rows, counted int
	if err := conn.QueryRow(t.Context(), "SELECT count(*), sum(count) FROM audit.denials WHERE reason = 'session_unknown'").Scan(&rows, &counted); err != nil {
		t.Fatal(err)
	}
	if counted != sent || rows > 100 {
		t.Errorf("the audit has %d rows of %d refusals, want at most 100 of %d", rows, counted, sent)
	}
}

func TestAuditCommands(t *testing.T) {
	t.Parallel()
	pg := dbtest.New(t)
	u := terminal{t, pg.ServiceURL}
	exec := func(sql string) {
		t.Helper()
		if _, err := pg.Pool.Exec(t.Context(), sql); err != nil {
			t.Fatal(err)
		}
	}
	exec(`INSERT INTO usher.decisions (issued_at, result, reason, caller_kind, user_id, ip, request_id, replica, salt, personal_digest, digest)
		VALUES (now(), 'denied', 'no_grant', 'session', 'ada', '192.0.2.1', 'r', 'test', substring(sha256('') FOR 16), sha256(''), sha256(''))`)
	u.does("audit forget ada", "erased IP address, user agent and origin from 1 row of user ada\n")
	u.does("audit forget nobody", "erased IP address, user agent and origin from 0 rows of user nobody\n")
	u.refuses("audit prune --keep 400", 2, "write it as 90d")
	u.refuses("audit prune --keep 0d", 2, "for example 400d")
	owner := terminal{t, pg.URL}
	owner.does("audit prune --keep 400d", "no month ended more than 400 days ago\n")
	owner.does("audit prune --keep 400d --json", "[]\n")
	u.refuses("audit public-key", 1, "usher migrate up with the key encryption key")
	u.refuses("audit prove J", 1, `no token "J"`)
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, []byte("\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	u.refuses("audit verify --checkpoint "+file, 1, "contains no checkpoint")
	u.refuses("audit verify --public-key "+file, 1, "is empty")
	u.refuses("audit verify --public-key "+file+".none", 2, "--public-key")
	if err := os.WriteFile(file, []byte("garbage\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	u.refuses("audit verify --public-key "+file, 1, "is not a public key of the audit")
	u.refuses("audit verify --checkpoint "+file, 1, "kept checkpoint 1 of 1")
	for line, want := range map[string]string{
		"audit check-proof " + file:                           "--public-key is missing",
		"audit check-proof " + file + " --public-key " + file: "not a proof that usher audit prove printed",
	} {
		offline := startUsher(t, nil, strings.Fields(line)...)
		if code := offline.exit(t); code != 1 || !strings.Contains(offline.log.String(), want) {
			t.Errorf("usher %s: exit code %d, %s; want 1 and %q", line, code, offline.log, want)
		}
	}
}

// Standard input is read only on request, because it may be a terminal without input.
func TestReadCheckpoints(t *testing.T) {
	t.Parallel()
	const kept = "a checkpoint\n"
	file := filepath.Join(t.TempDir(), "checkpoints")
	if err := os.WriteFile(file, []byte(kept), 0o600); err != nil {
		t.Fatal(err)
	}
	if got, err := readCheckpoints(iotest.ErrReader(errors.New("was read")), file); err != nil || len(got) != 1 {
		t.Errorf("of a file: %d, %v; want 1", len(got), err)
	}
	if got, err := readCheckpoints(strings.NewReader(kept), "-"); err != nil || len(got) != 1 {
		t.Errorf("of standard input: %d, %v; want 1", len(got), err)
	}
}
