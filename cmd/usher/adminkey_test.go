package main

import (
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
	u.refuses("adminkey revoke "+id, 1, "there is no live admin key")
	u.refuses("adminkey create x", 2, "--role")
	u.refuses("adminkey create x --role root", 2, "--role")
	u.refuses("adminkey create x --role admin --env LIVE", 1, "lower-case letters")
	terminal{t, pg.ServiceURL}.refuses("adminkey create x --role admin", 1, "the role in the database URL may not do that")

	// The text of a key is nowhere in the database, its making is on record.
	for _, key := range []string{strings.TrimSpace(first), second.Text} {
		var rows int
		part := strings.Split(key, "_")[3]
		const everywhere = "SELECT (SELECT count(*) FROM usher.admin_keys k WHERE k::text LIKE '%' || $1 || '%') + (SELECT count(*) FROM audit.changes c WHERE c::text LIKE '%' || $1 || '%')"
		if err := pg.Pool.QueryRow(t.Context(), everywhere, part).Scan(&rows); err != nil || rows != 0 {
			t.Errorf("the secret stands in %d rows, %v", rows, err)
		}
	}
	var actions string
	if err := pg.Pool.QueryRow(t.Context(), "SELECT string_agg(action, ' ' ORDER BY id) FROM audit.changes").Scan(&actions); err != nil || actions != "admin_key.add admin_key.add admin_key.revoke" {
		t.Errorf("on record: %q, %v", actions, err)
	}
}
