package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/usher-auth/usher/db/dbtest"
)

func TestAdminKeyCommands(t *testing.T) {
	t.Parallel()
	pg := dbtest.New(t)
	u := terminal{t, pg.URL}
	code, first, stderr := u.run("adminkey", "create", "ada", "--role", "admin", "--actor", "me")
	if code != 0 || !strings.HasPrefix(first, "ak_live_") || strings.Count(first, "\n") != 1 || !strings.Contains(stderr, "it is not shown again") {
		t.Fatalf("exit %d, printed %q and %q", code, first, stderr)
	}
	id := strings.Split(first, "_")[2]
	second := decode[createdAdminKey](u, "adminkey create eve --role auditor --env test --ttl 24h --actor me --json")
	if !strings.HasPrefix(second.Text, "ak_test_") || second.ExpiresAt == nil {
		t.Errorf("created %+v", second.Key)
	}
	u.shows("adminkey list", `
ID  NAME  ROLE  CREATED  BY  EXPIRES  LAST USED  REVOKED
`+id+`  ada  admin  TIME  me  -  -  -
`+second.ID+`  eve  auditor  TIME  me  TIME  -  -
`)
	u.does("adminkey revoke "+id, "revoked admin key "+id+" (ada)\n")
	if code, stdout, _ := u.run("adminkey", "revoke", id); code != 0 || !strings.Contains(stdout, "was already revoked at ") {
		t.Errorf("adminkey revoke again: exit %d: %s", code, stdout)
	}
	u.refuses("adminkey create x", 2, "--role")
	u.refuses("adminkey create x --role root", 2, "--role")
	u.refuses("adminkey create x --role admin --env LIVE", 1, "lower-case letters")
	terminal{t, pg.ServiceURL}.refuses("adminkey create x --role admin", 1, "the role in the database URL may not do that")

	// The text of a key is nowhere in the database. Its creation is recorded.
	for _, key := range []string{strings.TrimSpace(first), second.Text} {
		var rows int
		part := strings.Split(key, "_")[3]
		const everywhere = "SELECT (SELECT count(*) FROM usher.admin_keys k WHERE k::text LIKE '%' || $1 || '%') + (SELECT count(*) FROM audit.changes c WHERE c::text LIKE '%' || $1 || '%')"
		if err := pg.Pool.QueryRow(t.Context(), everywhere, part).Scan(&rows); err != nil || rows != 0 {
			t.Errorf("the secret is in %d rows, %v", rows, err)
		}
	}
	var actions string
	if err := pg.Pool.QueryRow(t.Context(), "SELECT string_agg(action, ' ' ORDER BY id) FROM audit.changes").Scan(&actions); err != nil || actions != "admin_key.add admin_key.add admin_key.revoke" {
		t.Errorf("on record: %q, %v", actions, err)
	}
}

// The commands of docs/admin.md are run in their order, against usher dev.
func TestAdminGuide(t *testing.T) {
	t.Parallel()
	guide, err := os.ReadFile("../../docs/admin.md")
	if err != nil {
		t.Fatal(err)
	}
	_, dev := startDev(t, filepath.Join(dbtest.Dir(t), ".usher"))
	want := map[string][]string{
		"keys":      {"ak_live_", "console", "auditor"},
		"function":  {},
		"grant":     {`"id":"lin"`, `"memberOfId":"acme"`, `"reason":"ticket 4711"`},
		"update":    {`"info":{"name":"Lin Chen","color":"teal"}`, `"info":{"name":"Lin Chen"}`, `"name":"Acme Inc."`, `"name":"Design reviewers"`},
		"batch":     {`{"grants":[{"id":`, `"pattern":"acme_wiki"`},
		"pages":     {`"nextCursor":`, `"action":"grant.add"`},
		"revoke":    {`"revokeReason":"left the project"`},
		"questions": {`"principalId":"grace"`, `"granted":"acme:review:*"`, `"access":"none"`, `{"items":[]}`, `"roomAccess":"full"`},
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
	script := "set -e\n"
	for _, block := range regexp.MustCompile("(?ms)^```sh (\\w+)\n(.*?)^```$").FindAllStringSubmatch(string(guide), -1) {
		name, code := block[1], block[2]
		parts, known := want[name]
		if !known {
			t.Errorf("block %s has nothing to be held against", name)
		}
		delete(want, name)
		if name == "function" {
			script += code
			continue
		}
		cmd := exec.CommandContext(t.Context(), "bash", "-c", script+code)
		cmd.Env = append(cleanEnv(), beUsher+"=1", "PATH="+bin+":"+os.Getenv("PATH"), "USHER_DATABASE_URL="+dev.DatabaseURL,
			"USHER_ADMIN_URL="+dev.AdminURL, "USHER_ADMIN_KEY="+dev.AdminKey)
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Errorf("%s: %v\n%s", name, err, out)
		}
		for _, part := range parts {
			if !strings.Contains(string(out), part) {
				t.Errorf("%s printed %s; want %s in it", name, out, part)
			}
		}
	}
	if len(want) != 0 {
		t.Errorf("the guide lacks %v", want)
	}
}
