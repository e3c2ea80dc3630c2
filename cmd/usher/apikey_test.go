package main

import (
	"strings"
	"testing"

	"github.com/usher-auth/usher/db/dbtest"
	"github.com/usher-auth/usher/internal/admin"
)

func TestAPIKeyCommands(t *testing.T) {
	t.Parallel()
	pg := dbtest.New(t)
	u := terminal{t, pg.ServiceURL}
	code, first, stderr := u.run("apikey", "create", "jobs", "--room", "acme:*=full", "--room", "*=read", "--store", "acme_notes=read", "--org", "acme,globex", "--routes", "auth", "--actor", "me")
	if code != 0 || !strings.HasPrefix(first, "sk_live_") || strings.Count(first, "\n") != 1 || !strings.Contains(stderr, "it is not shown again") {
		t.Fatalf("exit %d, printed %q and %q", code, first, stderr)
	}
	id := strings.Split(first, "_")[2]
	second := decode[admin.CreatedAPIKey](u, "apikey create jobs --room *=full --env test --ttl 24h --json")
	if !strings.HasPrefix(second.Key, "sk_test_") || second.ExpiresAt == nil {
		t.Errorf("created %+v", second.APIKey)
	}
	u.refuses("apikey create jobs --room *=full", 1, `two active keys are already named "jobs"`)
	u.shows("apikey list", `
ID  NAME  ROUTES  MAY GRANT  ORGS  CREATED  EXPIRES  LAST USED  REVOKED
`+id+`  jobs  auth  {"rooms":{"acme:*":"full","*":"read"},"stores":{"acme_notes":"read"}}  acme,globex  TIME  -  -  -
`+second.ID+`  jobs  auth,authorize-user  {"rooms":{"*":"full"}}  -  TIME  TIME  -  -
`)
	u.does("apikey revoke "+id, "revoked API key "+id+" (jobs)\n")
	if code, stdout, _ := u.run("apikey", "revoke", id); code != 0 || !strings.Contains(stdout, "was already revoked at ") {
		t.Errorf("apikey revoke again: exit %d: %s", code, stdout)
	}
	u.refuses("apikey revoke nonsense", 1, "there is no active API key")
	for _, line := range []string{"apikey create x", "apikey create x --room acme:*", "apikey create x --room a**=read", "apikey create x --room a=none", "apikey create x --room a=read --env LIVE"} {
		u.refuses(line, 1, "usher: ")
	}
	u.refuses("apikey create x --room a=read --routes admin", 2, "--routes")

	// The text of a key is nowhere in the database.
	for _, key := range []string{strings.TrimSpace(first), second.Key} {
		var rows int
		part := strings.Split(key, "_")[3]
		if err := pg.Pool.QueryRow(t.Context(), "SELECT count(*) FROM usher.api_keys k WHERE k::text LIKE '%' || $1 || '%'", part).Scan(&rows); err != nil || rows != 0 {
			t.Errorf("the secret is in %d rows, %v", rows, err)
		}
	}
}

func TestAuditLogCommand(t *testing.T) {
	t.Parallel()
	pg := dbtest.New(t)
	u := terminal{t, pg.ServiceURL}
	_, err := pg.Pool.Exec(t.Context(), `INSERT INTO usher.decisions (issued_at, recorded_at, token_kind, result, reason, caller_kind, user_id, room, audience, patterns, jti, kid, expires_at, request_id, replica, count, personal_digest, digest) VALUES
		(now() - interval '2 min', now() - interval '2 min', NULL, 'denied', 'no_credential', 'none', NULL, NULL, NULL, NULL, NULL, NULL, NULL, 'r0', 'test', 4711, sha256(''), sha256('')),
		(now() - interval '1 min', now() - interval '1 min', 'access', 'issued', NULL, 'session', 'ada', 'a:1', 'x', '{"rooms":{"a:*":"full"}}', 'J1', 'k', now(), 'r1', 'test', 1, sha256(''), sha256('')),
		(now(), now(), NULL, 'denied', 'no_grant', 'session', 'bob', 'b:1', NULL, NULL, NULL, NULL, NULL, 'r2', 'test', 1, sha256(''), sha256(''))`)
	if err != nil {
		t.Fatal(err)
	}
	u.shows("audit log", `
AT  RESULT  COUNT  REASON  USER  ROOM  STORE  PATTERNS  JTI
TIME  denied  1  no_grant  bob  b:1  -  -  -
TIME  issued  1  -  ada  a:1  -  {"rooms":{"a:*":"full"}}  J1
TIME  denied  4711  no_credential  -  -  -  -  -
`)
	u.shows("audit log --user ada --limit 1", `
AT  RESULT  COUNT  REASON  USER  ROOM  STORE  PATTERNS  JTI
TIME  issued  1  -  ada  a:1  -  {"rooms":{"a:*":"full"}}  J1
`)
}
