package api_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"hash/crc32"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-chi/chi/v5"
	"github.com/jackc/pgx/v5"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/usher-auth/usher/api"
	"github.com/usher-auth/usher/audit"
	"github.com/usher-auth/usher/db"
	"github.com/usher-auth/usher/internal/admin"
	"github.com/usher-auth/usher/internal/identity"
	"github.com/usher-auth/usher/internal/principal"
	"github.com/usher-auth/usher/internal/secret"
)

// fakeStore replaces the database in tests where it must fail.
type fakeStore struct{ api.AdminStore }

func newOps(t testing.TB, public *api.API, store api.AdminStore, users api.UserDirectory) *api.Ops {
	t.Helper()
	adminAPI, err := public.Admin(store, users, bytes.Repeat([]byte{7}, 32))
	if err != nil {
		t.Fatal(err)
	}
	return api.NewOps(prometheus.NewRegistry(), adminAPI, func(context.Context) (string, error) { return "", nil })
}

// adminRig is the second listener on a real Postgres with the demo data, and an admin
// key for each role.
type adminRig struct {
	*rig
	store          *db.DB
	admin, auditor string
}

func newAdminRig(t testing.TB) *adminRig {
	t.Helper()
	public := newRig(t)
	r := &adminRig{rig: &rig{pg: public.pg, registry: prometheus.NewRegistry(), log: public.log, keys: public.keys}}
	r.store = r.open(t, r.pg.ServiceURL)
	audit := r.store.StartAuditLog(db.AuditLogConfig{Replica: "test", Registry: r.registry})
	t.Cleanup(audit.Close)
	users, err := r.store.Directory(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	r.Server = httptest.NewServer(newOps(t, newAPI(t, new(fake), audit, r.rig), r.store, users))
	t.Cleanup(r.Close)
	r.admin, _ = r.addAdminKey(t, "ops", admin.RoleAdmin)
	r.auditor, _ = r.addAdminKey(t, "eve", admin.RoleAuditor)
	return r
}

func (r *adminRig) open(t testing.TB, url string) *db.DB {
	t.Helper()
	database, err := db.Open(secret.New(url))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(database.Close)
	return database
}

func (r *adminRig) addAdminKey(t testing.TB, name string, role admin.Role) (text, id string) {
	t.Helper()
	shown, key, err := identity.NewAdminKey("test")
	if err != nil {
		t.Fatal(err)
	}
	k := admin.NewKey{ID: key.ID, SecretHash: key.Hash, Name: name, Role: role}
	if _, err := r.open(t, r.pg.URL).AddAdminKey(t.Context(), k, "t"); err != nil {
		t.Fatal(err)
	}
	return shown.Reveal(), key.ID
}

// ask sends a request below /v1/admin, with the admin's key unless a header says
// otherwise.
func (r *adminRig) ask(t testing.TB, method, path, body string, headers ...string) answer {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, r.URL+"/v1/admin"+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+r.admin)
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	for i := 0; i < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	return send(t, r.Server, req)
}

// does is ask for a request that must succeed. It returns the answer's JSON.
func (r *adminRig) does(t testing.TB, method, path, body string, headers ...string) (out map[string]any) {
	t.Helper()
	a := r.ask(t, method, path, body, headers...)
	for tries := 0; a.status == http.StatusServiceUnavailable && tries < 10; tries++ { // this machine is busy
		a = r.ask(t, method, path, body, headers...)
	}
	if a.status != http.StatusOK && a.status != http.StatusCreated {
		t.Fatalf("%s %s %.300s: status %d: %s", method, path, body, a.status, a.body)
	}
	if err := json.Unmarshal(a.body, &out); err != nil {
		t.Fatal(err)
	}
	return out
}

// column returns one field of all items of a list.
func column(list map[string]any, name string) (values []string) {
	items, _ := list["items"].([]any)
	for _, item := range items {
		values = append(values, fmt.Sprint(item.(map[string]any)[name]))
	}
	return values
}

func (r *adminRig) count(t testing.TB, query string, args ...any) (n int) {
	t.Helper()
	if err := r.pg.Pool.QueryRow(t.Context(), query, args...).Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}

// Every change that the API offers, with its record in the audit under the key's name.
func TestAdminRoutes(t *testing.T) {
	t.Parallel()
	r := newAdminRig(t)
	for _, step := range []struct {
		method, path, body string
		want               string // part of the answer
		action             string // of the change on record; empty: none
	}{
		{"POST", "/users", `{"id":"zoe/1","info":{"name":"Zoë"}}`, `{"id":"zoe/1","info":{"name":"Zoë"},"createdAt":`, "user.add"},
		{"GET", "/users/zoe%2F1", "", `"createdBy":"admin-key:ops (`, ""},
		{"GET", "/users", "", `{"id":"zoe/1"`, ""},
		{"PATCH", "/users/zoe%2F1", `{"info":{"color":"red","name":null}}`, `"info":{"color":"red"}`, "user.update"},
		{"PATCH", "/users/zoe%2F1", `{"info":{"name":"Zoë"}}`, `"name":"Zoë"`, "user.update"},
		{"POST", "/users/zoe%2F1/disable", "", `"disabledAt":`, "user.disable"},
		{"POST", "/users/zoe%2F1/enable", "{}", `"id":"zoe/1"`, "user.enable"},
		{"POST", "/organizations", `{"id":"initech","name":"Initech"}`, `"name":"Initech"`, "organization.add"},
		{"GET", "/organizations/initech", "", `"name":"Initech"`, ""},
		{"PATCH", "/organizations/initech", `{"name":"Initech Inc."}`, `"name":"Initech Inc."`, "organization.update"},
		{"PATCH", "/organizations/initech", `{"name":""}`, `{"id":"initech","createdAt":`, "organization.update"},
		{"GET", "/organizations", "", `"id":"globex"`, ""},
		{"POST", "/groups", `{"id":"50%","organizationId":"initech"}`, `"organizationId":"initech"`, "group.add"},
		{"GET", "/groups/50%25", "", `"id":"50%"`, ""},
		{"PATCH", "/groups/50%25", `{"name":"Half"}`, `"name":"Half"`, "group.update"},
		{"GET", "/groups", "", `"id":"50%"`, ""},
		{"POST", "/organizations/initech/members", `{"userId":"zoe/1"}`, `"memberOfKind":"organization"`, "member.add"},
		{"POST", "/groups/50%25/members", `{"userId":"zoe/1"}`, `"memberOfKind":"group"`, "member.add"},
		{"GET", "/groups/50%25/members", "", `"userId":"zoe/1"`, ""},
		{"GET", "/organizations/initech/members", "", `"userId":"zoe/1"`, ""},
		{"POST", "/grants", `{"subjectKind":"user","subjectId":"zoe/1","organizationId":"initech","resourceKind":"store","pattern":"notes-a","access":"full",` +
			`"validFrom":"2030-01-01T00:00:00Z","validUntil":"2031-01-01T00:00:00Z","reason":"why not"}`, `"warnings":["`, "grant.add"},
		{"POST", "/grants", `{"subjectKind":"everyone","resourceKind":"room","pattern":"acme*","access":"read","openPrefix":true}`, `"pattern":"acme*"`, "grant.add"},
		{"POST", "/grants/batch", `{"grants":[{"subjectKind":"organization","subjectId":"initech","resourceKind":"room","pattern":"i:*","access":"read"}]}`, `{"grants":[{"id":`, "grant.add"},
		{"GET", "/grants?subjectKind=user&subjectId=zoe%2F1", "", `"pattern":"notes-a"`, ""},
		{"GET", "/grants/1", "", `"pattern":"{organization}:*"`, ""},
		{"POST", "/grants/1/revoke", `{"reason":"over"}`, `"revokeReason":"over"`, "grant.revoke"},
		{"POST", "/grants/2/revoke", "", `"revokedBy":"admin-key:ops (`, "grant.revoke"},
		{"GET", "/grants?ended=true&resourceKind=room&pattern=home:%7Buser%7D:*", "", `"id":2,`, ""},
		{"GET", "/users/ada/sessions", "", `"organizationId":"globex"`, ""},
		{"DELETE", "/users/ada/sessions", "", `{"ended":2}`, "session.end"},
		{"DELETE", "/organizations/initech/members/zoe%2F1", "", `{"groupsLeft":1}`, "member.remove"},
		{"POST", "/groups/50%25/members", `{"userId":"ada"}`, `"userId":"ada"`, "member.add"},
		{"DELETE", "/groups/50%25/members/ada", "", `{"groupsLeft":0}`, "member.remove"},
		{"DELETE", "/groups/50%25", "", `"grantsRevoked":0`, "group.delete"},
		{"DELETE", "/organizations/initech", "", `"grantsRevoked":2`, "organization.delete"},
		{"DELETE", "/users/zoe%2F1", "", `"grantsRevoked":0`, "user.delete"},
		{"POST", "/api-keys", `{"name":"jobs","environment":"test","routes":["auth"],"organizations":["acme"],"patterns":{"rooms":{"acme:*":"full"},"stores":{}},"expiresAt":"2099-01-01T00:00:00Z"}`, `{"key":"sk_test_`, "api_key.add"},
		{"GET", "/api-keys?revoked=true", "", `"name":"jobs"`, ""},
		{"GET", "/signing-keys", "", `{"items":[]}`, ""},
		{"GET", "/audit/changes?action=user.delete", "", `"target":"zoe/1"`, ""},
		{"GET", "/audit/tokens", "", `{"items":[]}`, ""},
		{"GET", "/audit/denials", "", `{"items":[]}`, ""},
	} {
		before := r.count(t, "SELECT count(*) FROM audit.changes")
		a := r.ask(t, step.method, step.path, step.body)
		want := http.StatusOK
		if strings.HasSuffix(step.action, ".add") {
			want = http.StatusCreated
		}
		if a.status != want || !strings.Contains(string(a.body), step.want) {
			t.Errorf("%s %s: status %d, %s; want %d and %s", step.method, step.path, a.status, a.body, want, step.want)
		}
		made := r.count(t, "SELECT count(*) FROM audit.changes") - before
		if step.action == "" {
			if made != 0 {
				t.Errorf("%s %s left %d changes on record", step.method, step.path, made)
			}
			continue
		}
		var action, actor string
		if err := r.pg.Pool.QueryRow(t.Context(), "SELECT action, actor FROM audit.changes ORDER BY id DESC LIMIT 1").Scan(&action, &actor); err != nil {
			t.Fatal(err)
		}
		if made != 1 || action != step.action || !strings.HasPrefix(actor, "admin-key:ops (") {
			t.Errorf("%s %s: %d changes on record, the last %s by %s; want one, %s", step.method, step.path, made, action, actor, step.action)
		}
	}
}

// Which caller may use which route: all routes, with all kinds of callers.
func TestAdminRoles(t *testing.T) {
	t.Parallel()
	r := newAdminRig(t)
	apiKey, _ := r.addKey(t, "jobs", nil)
	revoked, revokedID := r.addAdminKey(t, "revoked", admin.RoleAdmin)
	expired, expiredID := r.addAdminKey(t, "expired", admin.RoleAdmin)
	unknown, _, err := identity.NewAdminKey("test")
	if err != nil {
		t.Fatal(err)
	}
	stolen := strings.Split(r.admin, "_") // a known id under another secret
	other, _, _ := identity.NewAdminKey("test")
	forged := strings.Join([]string{"ak", "test", stolen[2], strings.Split(other.Reveal(), "_")[3]}, "_")
	forged += "_" + checksum(forged)
	for _, sql := range []string{
		"UPDATE usher.admin_keys SET revoked_at = now(), revoked_by = 't' WHERE id = '" + revokedID + "'",
		"ALTER TABLE usher.admin_keys DISABLE TRIGGER ALL",
		"UPDATE usher.admin_keys SET created_at = now() - interval '2 days', expires_at = now() - interval '1 day' WHERE id = '" + expiredID + "'",
		"ALTER TABLE usher.admin_keys ENABLE TRIGGER ALL",
	} {
		if _, err := r.pg.Pool.Exec(t.Context(), sql); err != nil {
			t.Fatal(err)
		}
	}
	bearer := func(text string) http.Header { return http.Header{"Authorization": {"Bearer " + text}} }
	callers := []struct {
		name          string
		header        http.Header
		read, change  int // statuses; 0: neither 401 nor 403
		refusal, says string
	}{
		{"the admin", bearer(r.admin), 0, 0, "", ""},
		{"the auditor", bearer(r.auditor), 0, 403, "admin_key_role", "auditor"},
		{"nobody", nil, 401, 401, "no_admin_key", "usher adminkey create"},
		{"a session", http.Header{"Cookie": {cookie + "=" + sessionToken("ada", "")}}, 401, 401, "no_admin_key", "adminkey"},
		{"the admin key as a cookie", http.Header{"Cookie": {"Authorization=" + r.admin}}, 401, 401, "no_admin_key", "adminkey"},
		{"an API key", bearer(apiKey.Reveal()), 401, 401, "api_key_used", "begins with ak_"},
		{"a typo", bearer(r.admin[:len(r.admin)-1]), 401, 401, "bad_admin_key", "no valid admin key"},
		{"Basic", http.Header{"Authorization": {"Basic " + r.admin}}, 401, 401, "bad_admin_key", "no valid admin key"},
		{"two keys", http.Header{"Authorization": {"Bearer " + r.admin, "Bearer " + r.admin}}, 401, 401, "bad_admin_key", "no valid admin key"},
		{"an unknown key", bearer(unknown.Reveal()), 401, 401, "admin_key_unknown", "no valid admin key"},
		{"a wrong secret", bearer(forged), 401, 401, "admin_key_unknown", "no valid admin key"},
		{"a revoked key", bearer(revoked), 401, 401, "admin_key_revoked", "no valid admin key"},
		{"an expired key", bearer(expired), 401, 401, "admin_key_expired", "This admin key has expired."},
		{"a page", http.Header{"Authorization": {"Bearer " + r.admin}, "Origin": {"https://evil.example"}}, 400, 400, "", "is not for browsers"},
	}
	routes := 0
	public := newFake(t)
	err = chi.Walk(newOps(t, public, fakeStore{}, nil).Routes(), func(method, route string, _ http.Handler, _ ...func(http.Handler) http.Handler) error {
		if !strings.HasPrefix(route, "/v1/admin") {
			return nil
		}
		routes++
		path := strings.NewReplacer("{user}", "nobody-x", "{organization}", "nowhere", "{group}", "none", "{grant}", "999", "{key}", "000000000000").Replace(route)
		for _, c := range callers {
			req, err := http.NewRequestWithContext(t.Context(), method, r.URL+path, http.NoBody)
			if err != nil {
				return err
			}
			if c.header != nil {
				req.Header = c.header.Clone()
			}
			want := c.change
			if method == http.MethodGet || route == "/v1/admin/preview" {
				want = c.read
			}
			a := send(t, r.Server, req)
			if want == 0 {
				if a.status == 401 || a.status == 403 || a.status >= 500 {
					t.Errorf("%s %s as %s: status %d: %s", method, route, c.name, a.status, a.body)
				}
				continue
			}
			p := a.problem(t)
			if a.status != want || !strings.Contains(p.Reason, c.says) {
				t.Errorf("%s %s as %s: status %d, %q; want %d and %q", method, route, c.name, a.status, p.Reason, want, c.says)
			}
			if rows := r.count(t, "SELECT count(*) FROM audit.denials WHERE request_id = $1 AND reason = $2", p.RequestID, c.refusal); (rows == 1) != (c.refusal != "") {
				t.Errorf("%s %s as %s: %d rows with reason %q in the audit", method, route, c.name, rows, c.refusal)
			}
		}
		return nil
	})
	if err != nil || routes < 30 {
		t.Errorf("tried %d routes, %v", routes, err)
	}
	// The audit has the key's id, and the log has no key.
	if n := r.count(t, "SELECT count(*) FROM audit.denials WHERE caller_kind = 'admin_key' AND caller_id = $1", revokedID); n != routes {
		t.Errorf("%d denials name the revoked key, want %d", n, routes)
	}
	for _, key := range []string{r.admin, r.auditor, apiKey.Reveal(), revoked, unknown.Reveal()} {
		if part := strings.Split(key, "_")[3]; strings.Contains(r.log.String(), part) {
			t.Error("a key's secret is in the log")
		}
	}
	if n := r.count(t, "SELECT count(*) FROM usher.admin_keys WHERE last_used_at IS NOT NULL AND name IN ('ops', 'eve')"); n != 2 {
		t.Errorf("%d keys have a last use, want 2", n)
	}
}

// checksum returns the last part of a key: CRC-32 in base 62, as package identity writes it.
func checksum(body string) string {
	const digits = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
	sum := crc32.ChecksumIEEE([]byte(body))
	out := make([]byte, 6)
	for i := range out {
		out[5-i] = digits[sum%62]
		sum /= 62
	}
	return string(out)
}

// On the public listener, the answer to an admin key says that it belongs on the other
// listener.
func TestAdminKeyOnThePublicListener(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	text, _, err := identity.NewAdminKey("test")
	if err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{"/api/auth": "second listener", "/v2/authorize-user": "WRONG_KEY_USED"} {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, r.Server.URL+path, strings.NewReader(`{"userId":"ada","permissions":{}}`))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", "application/json")
		req.Header.Set("Authorization", "Bearer "+text.Reveal())
		a := send(t, r.Server, req)
		if a.status != http.StatusUnauthorized || !strings.Contains(string(a.body), want) {
			t.Errorf("%s: status %d, %s; want 401 and %q", path, a.status, a.body, want)
		}
	}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, r.Server.URL+"/v1/admin/users", http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	res, err := r.Client().Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusNotFound {
		t.Errorf("/v1/admin on the public listener: %d, want 404", res.StatusCode)
	}
}

func TestAdminBadInput(t *testing.T) {
	t.Parallel()
	r := newAdminRig(t)
	long := strings.Repeat("u", 129)
	grant := `"subjectKind":"user","subjectId":"ada","resourceKind":"room","pattern":"acme:x"`
	key := `"name":"k","patterns":{"rooms":{"*":"read"}}`
	changes := r.count(t, "SELECT count(*) FROM audit.changes")
	for _, c := range []struct {
		name, method, path, body string
		status                   int
		slug, says               string
	}{
		{"not JSON", "POST", "/users", `id=ada`, 400, "bad_request", "not a valid JSON object"},
		{"an array", "POST", "/users", `[]`, 400, "bad_request", "not a valid JSON object"},
		{"a name twice", "POST", "/users", `{"id":"x","id":"y"}`, 400, "bad_request", "not a valid JSON object"},
		{"a name in another case", "POST", "/users", `{"ID":"x"}`, 400, "bad_request", `Unknown field "ID". Did you mean id? Allowed fields: id, info.`},
		{"both cases", "POST", "/users", `{"id":"x","Id":"y"}`, 400, "bad_request", "not a valid JSON object"},
		{"an unknown name", "POST", "/users", `{"id":"x","admin":true}`, 400, "bad_request", `Unknown field "admin". Allowed fields: id, info.`},
		{"a query on a change", "POST", "/users?id=x", `{"id":"x"}`, 400, "bad_request", "no query parameters"},
		{"a query on one row", "GET", "/users/ada?x=1", ``, 400, "bad_request", "no query parameters"},
		{"a body where none is read", "DELETE", "/users/ada", `{"force":true}`, 400, "bad_request", "has no fields"},
		{"17 deep", "POST", "/users", `{"info":` + strings.Repeat(`{"a":`, 16) + `1` + strings.Repeat(`}`, 17), 400, "bad_request", "not a valid JSON object"},
		{"a NUL", "POST", "/users", `{"id":"a\u0000"}`, 400, "bad_request", "not a valid JSON object"},
		{"a number as id", "POST", "/users", `{"id":1}`, 400, "bad_request", "id must be a string"},
		{"null as info", "POST", "/users", `{"id":"x","info":null}`, 400, "bad_request", "info must be an object"},
		{"more than 64 KiB", "POST", "/users", `{"id":"` + strings.Repeat("x", 64<<10) + `"}`, 413, "payload_too_large", "64 KiB"},
		{"no id", "POST", "/users", ``, 422, "unprocessable_entity", `The user id "" is empty.`},
		{"a long id", "POST", "/users", `{"id":"` + long + `"}`, 422, "unprocessable_entity", "128 UTF-16 units"},
		{"a control character", "POST", "/users", `{"id":"a\u0007"}`, 422, "unprocessable_entity", "control character"},
		{"a user who is there", "POST", "/users", `{"id":"ada"}`, 409, "already_exists", `User "ada" already exists: choose another id.`},
		{"an unknown user", "GET", "/users/nobody-x", ``, 404, "not_found", `There is no user "nobody-x"`},
		{"an unknown user to update", "PATCH", "/users/nobody-x", `{"info":{}}`, 404, "not_found", "There is no user"},
		{"nothing to update", "PATCH", "/users/ada", `{}`, 400, "bad_request", "info is missing"},
		{"info that is not an object", "PATCH", "/users/ada", `{"info":[]}`, 400, "bad_request", "must be an object"},
		{"no organization to rename", "PATCH", "/organizations/nothing-x", `{"name":"x"}`, 404, "not_found", "There is no organization"},
		{"no name to give", "PATCH", "/groups/reviewers", `{}`, 400, "bad_request", "name is missing"},
		{"an unknown user to disable", "POST", "/users/nobody-x/disable", ``, 404, "not_found", "There is no user"},
		{"an unknown user to delete", "DELETE", "/users/nobody-x", ``, 404, "not_found", "There is no user"},
		{"sessions of an unknown user", "DELETE", "/users/nobody-x/sessions", ``, 404, "not_found", "There is no user"},
		{"an id of control characters", "GET", "/users/%00", ``, 400, "bad_request", "The user in the path"},
		{"an id of no UTF-8", "GET", "/users/%ff", ``, 400, "bad_request", "The user in the path"},
		{"a long id in the path", "GET", "/users/" + long, ``, 400, "bad_request", "The user in the path"},
		{"no id in the path", "GET", "/users//sessions", ``, 404, "not_found", "no such route"},
		{"an organization that is there", "POST", "/organizations", `{"id":"acme"}`, 409, "already_exists", "Organization"},
		{"a group of no organization", "POST", "/groups", `{"id":"g","organizationId":"nowhere"}`, 404, "not_found", "nowhere"},
		{"members of nowhere", "GET", "/organizations/nowhere/members", ``, 404, "not_found", "nowhere"},
		{"a member twice", "POST", "/organizations/acme/members", `{"userId":"ada"}`, 409, "already_exists", "member"},
		{"an unknown user as a member", "POST", "/organizations/acme/members", `{"userId":"nobody-x"}`, 404, "not_found", "nobody-x"},
		{"another tenant's user", "DELETE", "/organizations/acme/members/mallory", ``, 404, "not_found", `User "mallory" is not a member of organization "acme".`},

		{"no access", "POST", "/grants", `{` + grant + `}`, 422, "unprocessable_entity", "access is neither read nor full"},
		{"another access", "POST", "/grants", `{` + grant + `,"access":"FULL"}`, 400, "bad_request", "access must be read or full"},
		{"access none", "POST", "/grants", `{` + grant + `,"access":"none"}`, 400, "bad_request", "access must be read or full"},
		{"an unknown kind", "POST", "/grants", `{"resourceKind":"rooms"}`, 400, "bad_request", "resourceKind must be room or store"},
		{"no kind", "POST", "/grants", `{"subjectKind":"everyone","pattern":"*","access":"read"}`, 422, "unprocessable_entity", "pattern"},
		{"no subject", "POST", "/grants", `{"resourceKind":"room","pattern":"*","access":"read"}`, 422, "unprocessable_entity", "subject"},
		{"everyone with an id", "POST", "/grants", `{"subjectKind":"everyone","subjectId":"x","resourceKind":"room","pattern":"*","access":"read"}`, 422, "unprocessable_entity", "Everyone has no id."},
		{"an unknown subject", "POST", "/grants", `{"subjectKind":"user","subjectId":"nobody-x","resourceKind":"room","pattern":"*","access":"read"}`, 404, "not_found", "nobody-x"},
		{"two stars", "POST", "/grants", `{"subjectKind":"everyone","resourceKind":"room","pattern":"**","access":"read"}`, 422, "unprocessable_entity", `"**"`},
		{"an open prefix", "POST", "/grants", `{"subjectKind":"everyone","resourceKind":"room","pattern":"acme*","access":"read"}`, 422, "unprocessable_entity", "openPrefix: true"},
		{"openPrefix as text", "POST", "/grants", `{"openPrefix":"yes"}`, 400, "bad_request", "openPrefix must be true or false"},
		{"a date", "POST", "/grants", `{` + grant + `,"validUntil":"tomorrow"}`, 400, "bad_request", "validUntil must be a time like"},
		{"an end in the past", "POST", "/grants", `{` + grant + `,"access":"read","validUntil":"2001-01-01T00:00:00Z"}`, 422, "unprocessable_entity", "before it begins"},
		{"the same grant", "POST", "/grants", `{"subjectKind":"user","subjectId":"ada","resourceKind":"room","pattern":"acme:design:*","access":"full"}`, 409, "already_exists", "Grant 3 is the same"},
		{"a template in conflict", "POST", "/grants", `{"subjectKind":"everyone","resourceKind":"room","pattern":"{user}:*","access":"read"}`, 409, "already_exists", "conflicts: grant 1 has"},
		{"no grant", "GET", "/grants/999", ``, 404, "not_found", "There is no grant 999"},
		{"no number", "GET", "/grants/x", ``, 404, "not_found", "numbers"},
		{"no grant to revoke", "POST", "/grants/999/revoke", ``, 404, "not_found", "There is no grant 999"},
		{"a batch of nothing", "POST", "/grants/batch", `{}`, 400, "bad_request", "grants is missing"},
		{"an empty batch", "POST", "/grants/batch", `{"grants":[]}`, 400, "bad_request", "grants is"},
		{"a batch of a number", "POST", "/grants/batch", `{"grants":[1]}`, 400, "bad_request", "grants[0]"},
		{"a batch of 1,001", "POST", "/grants/batch", `{"grants":[` + strings.Repeat("{},", 1000) + `{}]}`, 400, "bad_request", "at most 1000"},
		{"an unknown name in a batch", "POST", "/grants/batch", `{"grants":[{},{"Pattern":"x"}]}`, 400, "bad_request", `Unknown field "grants[1].Pattern". Did you mean pattern?`},
		{"a batch of 4 MiB", "POST", "/grants/batch", `{"x":"` + strings.Repeat("x", 4<<20) + `"}`, 413, "payload_too_large", "4096 KiB"},

		{"no name", "POST", "/api-keys", `{"patterns":{"rooms":{"*":"read"}}}`, 422, "unprocessable_entity", "name must have 1 to 128 characters"},
		{"no scope", "POST", "/api-keys", `{"name":"k"}`, 422, "unprocessable_entity", "patterns is missing or empty"},
		{"an empty scope", "POST", "/api-keys", `{"name":"k","patterns":{"rooms":{}}}`, 422, "unprocessable_entity", "patterns is missing or empty"},
		{"a bad pattern", "POST", "/api-keys", `{"name":"k","patterns":{"rooms":{"a**":"read"}}}`, 400, "bad_request", "patterns is not"},
		{"a bad access", "POST", "/api-keys", `{"name":"k","patterns":{"rooms":{"a":"none"}}}`, 400, "bad_request", "neither read nor full"},
		{"a bad kind", "POST", "/api-keys", `{"name":"k","patterns":{"Rooms":{"a":"read"}}}`, 400, "bad_request", "rooms and stores only"},
		{"a bad route", "POST", "/api-keys", `{` + key + `,"routes":["admin"]}`, 422, "unprocessable_entity", "must be one of the routes auth, authorize-user, identify-user"},
		{"no routes", "POST", "/api-keys", `{` + key + `,"routes":[]}`, 400, "bad_request", "routes must be a list"},
		{"a bad environment", "POST", "/api-keys", `{` + key + `,"environment":"Live"}`, 422, "unprocessable_entity", "lower-case letters"},
		{"a bad organization", "POST", "/api-keys", `{` + key + `,"organizations":[""]}`, 422, "unprocessable_entity", "organizations[0] must be an id"},
		{"an end in the past", "POST", "/api-keys", `{` + key + `,"expiresAt":"2001-01-01T00:00:00Z"}`, 422, "unprocessable_entity", "in the future"},
		{"no key", "POST", "/api-keys/nonsense/revoke", ``, 404, "not_found", "There is no active API key"},

		{"limit 0", "GET", "/users?limit=0", ``, 400, "bad_request", "limit must be a number from 1 to 1000"},
		{"limit 1001", "GET", "/users?limit=1001", ``, 400, "bad_request", "limit must be a number from 1 to 1000"},
		{"limit twice", "GET", "/users?limit=1&limit=2", ``, 400, "bad_request", "twice"},
		{"an unknown filter", "GET", "/users?name=ada", ``, 400, "bad_request", "Allowed parameters: cursor, limit."},
		{"a filter in another case", "GET", "/grants?subjectid=ada", ``, 400, "bad_request", "Did you mean subjectId?"},
		{"an empty filter", "GET", "/audit/tokens?userId=", ``, 400, "bad_request", "userId is empty"},
		{"a filter with NUL", "GET", "/audit/tokens?userId=%00", ``, 400, "bad_request", "without NUL"},
		{"a query that cannot be read", "GET", "/users?limit=%zz", ``, 400, "bad_request", "percent-encode"},
		{"a kind without an id", "GET", "/grants?subjectKind=user", ``, 400, "bad_request", "go together"},
		{"an id without a kind", "GET", "/grants?subjectId=ada", ``, 400, "bad_request", "go together"},
		{"everyone's id", "GET", "/grants?subjectKind=everyone&subjectId=x", ``, 400, "bad_request", "go together"},
		{"an unknown kind", "GET", "/grants?subjectKind=users&subjectId=x", ``, 400, "bad_request", "must be one of user"},
		{"an invalid time", "GET", "/audit/changes?since=yesterday", ``, 400, "bad_request", "must be a time like"},
		{"neither true nor false", "GET", "/api-keys?revoked=yes", ``, 400, "bad_request", "true or false"},
		{"a reason of tokens", "GET", "/audit/tokens?reason=no_grant", ``, 400, "bad_request", "Unknown parameter"},
		{"a credential in the URL", "GET", "/users?token=" + r.admin, ``, 400, "bad_request", "URL contains a credential"},
		{"who can open nothing", "GET", "/audit/who-can", ``, 400, "bad_request", "one room or one store"},
		{"who can open both", "GET", "/audit/who-can?room=a&store=b", ``, 400, "bad_request", "one room or one store"},
		{"who can open a pattern", "GET", "/audit/who-can?room=acme:*", ``, 422, "unprocessable_entity", "not a pattern"},
		{"who could, without a time", "GET", "/audit/who-could?room=a", ``, 400, "bad_request", "at is missing"},
		{"who will", "GET", "/audit/who-could?room=a&at=2099-01-01T00:00:00Z", ``, 422, "unprocessable_entity", "in the future"},
		{"holders without a time", "GET", "/audit/holders?room=a", ``, 400, "bad_request", "at is missing"},
		{"a missing user in what-can", "GET", "/audit/what-can", ``, 400, "bad_request", "userId is missing"},
		{"a missing user in why", "GET", "/audit/why?room=a", ``, 400, "bad_request", "userId is missing"},
		{"explain with a limit", "GET", "/audit/why?userId=ada&room=a&limit=1", ``, 400, "bad_request", "Unknown parameter"},
		{"a missing user in preview", "POST", "/preview", `{"room":"a"}`, 400, "bad_request", "userId"},
		{"preview a token for a pattern", "POST", "/preview", `{"userId":"ada","room":"a*"}`, 400, "bad_request", "The room id"},
		{"preview a token for no backend", "POST", "/preview", `{"userId":"ada","room":"a","audience":"x"}`, 400, "bad_request", "audience"},
		{"preview a token for an unknown name", "POST", "/preview", `{"user":"ada"}`, 400, "bad_request", "Allowed fields: audience, organizationId, room, store, userId."},
		{"no such route", "GET", "/everything", ``, 404, "not_found", "no such route"},
		{"no such method", "PUT", "/users/ada", ``, 405, "method_not_allowed", "Allow header"},
	} {
		t.Run(c.name, func(t *testing.T) {
			a := r.ask(t, c.method, c.path, c.body)
			p := a.problem(t)
			if a.status != c.status || p.Error != c.slug || !strings.Contains(p.Reason, c.says) {
				t.Errorf("status %d, %s, %q; want %d, %s, %q", a.status, p.Error, p.Reason, c.status, c.slug, c.says)
			}
			if c.path == "/grants" && strings.HasPrefix(p.Reason, "grants[") {
				t.Errorf("%q has a number, of one grant", p.Reason)
			}
		})
	}
	if a := r.ask(t, "POST", "/users", `{"id":"x"}`, "Content-Type", "text/plain"); a.status != http.StatusUnsupportedMediaType {
		t.Errorf("a form's content type: %d, want 415", a.status)
	}
	for _, bad := range []string{"", "a\tb", "ü", strings.Repeat("k", 256)} {
		if a := r.ask(t, "POST", "/users", `{"id":"x"}`, "Idempotency-Key", bad); a.status != http.StatusBadRequest {
			t.Errorf("Idempotency-Key %.20q: %d, want 400", bad, a.status)
		}
	}
	if after := r.count(t, "SELECT count(*) FROM audit.changes"); after != changes {
		t.Errorf("what was refused left %d changes", after-changes)
	}
}

// An organization that still has groups cannot be deleted.
func TestAdminInUse(t *testing.T) {
	t.Parallel()
	r := newAdminRig(t)
	r.does(t, "POST", "/groups", `{"id":"reviewers","organizationId":"acme"}`)
	if a := r.ask(t, "DELETE", "/organizations/acme", ""); a.status != 409 || a.problem(t).Error != "in_use" {
		t.Errorf("status %d, %s; want 409 in_use", a.status, a.body)
	}
}

// Faults are answered with 503 and Retry-After, even if only a refusal's row fails.
func TestAdminFaults(t *testing.T) {
	t.Parallel()
	text, _, err := identity.NewAdminKey("test")
	if err != nil {
		t.Fatal(err)
	}
	down := fmt.Errorf("test: %w", principal.ErrUnavailable)
	for name, test := range map[string]struct {
		store  faultyStore
		record error
		header string
		status int
	}{
		"the key's look-up fails":    {faultyStore{key: down}, nil, "Bearer " + text.Reveal(), 503},
		"the list fails":             {faultyStore{users: down}, nil, "Bearer " + text.Reveal(), 503},
		"an unknown error":           {faultyStore{users: fmt.Errorf("canary")}, nil, "Bearer " + text.Reveal(), 500},
		"the row of a refusal fails": {faultyStore{}, down, "Bearer nonsense", 503},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := &fake{record: func(context.Context, *audit.Decision) error { return test.record }}
			public := newAPI(t, f, f, &rig{registry: prometheus.NewRegistry(), log: new(lockedBuffer), keys: newKeys(t)})
			server := httptest.NewServer(newOps(t, public, test.store, nil))
			t.Cleanup(server.Close)
			req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, server.URL+"/v1/admin/users", http.NoBody)
			if err != nil {
				t.Fatal(err)
			}
			req.Header.Set("Authorization", test.header)
			a := send(t, server, req)
			if a.status != test.status || (a.status == 503) != (a.header.Get("Retry-After") != "") || strings.Contains(string(a.body), "canary") {
				t.Errorf("status %d, Retry-After %q, %s; want %d", a.status, a.header.Get("Retry-After"), a.body, test.status)
			}
		})
	}
}

type faultyStore struct {
	api.AdminStore
	key, users error
}

func (f faultyStore) AdminKey(context.Context, string, [sha256.Size]byte) (admin.Key, error) {
	return admin.Key{Role: admin.RoleAdmin}, f.key
}

func (f faultyStore) Users(context.Context, admin.Page[string]) ([]admin.User, error) {
	return []admin.User{}, f.users
}

// A list of 2,500 rows is complete, with each row once and in order, even if rows are
// added or removed between the pages.
func TestAdminPagination(t *testing.T) {
	t.Parallel()
	r := newAdminRig(t)
	for _, sql := range []string{
		`INSERT INTO usher.users (id, created_by) SELECT 'user-' || lpad(i::text, 5, '0'), 't' FROM generate_series(1, 2500) i`,
		`INSERT INTO usher.grants (subject_kind, subject_id, resource_kind, pattern, access, created_by)
			SELECT 'user', 'grace', 'room', 'many:' || i, 'read', 't' FROM generate_series(1, 2500) i`,
		`INSERT INTO usher.sessions (token_hash, user_id, expires_at)
			SELECT sha256(i::text::bytea), 'grace', now() + interval '1 hour' FROM generate_series(1, 2500) i`, // all of one instant
		`INSERT INTO usher.memberships (user_id, member_of_kind, member_of_id, created_by)
			SELECT id, 'organization', 'globex', 't' FROM usher.users WHERE id LIKE 'user-%'`,
		`INSERT INTO usher.grants (subject_kind, subject_id, resource_kind, pattern, access, created_by)
			SELECT 'organization', 'globex', 'store', 'many_' || i, 'read', 't' FROM generate_series(1, 2500) i`,
		`INSERT INTO usher.decisions (issued_at, recorded_at, result, reason, caller_kind, user_id, request_id, replica, personal_digest, digest)
			SELECT now() - (i / 10) * interval '1 second', now() - (i / 10) * interval '1 second', 'denied', 'no_grant', 'session', 'grace', 'r' || i, 't', sha256(''), sha256('') FROM generate_series(1, 2500) i`,
		`INSERT INTO usher.api_keys (id, name, secret_hash, routes, patterns, created_by)
			SELECT 'key' || lpad(i::text, 9, '0'), 'name' || i % 7, sha256('x'), '{auth}', '{}', 't' FROM generate_series(1, 2500) i`,
	} {
		if _, err := r.pg.Pool.Exec(t.Context(), sql); err != nil {
			t.Fatal(err)
		}
	}
	for _, c := range []struct {
		path, id string
		during   string // what happens between two pages
		known    string // lists the rows that must come; empty: count rows must come
		count    int
		removes  bool // what happens takes rows away that are still to come
	}{
		{path: "/users?", id: "id", during: `INSERT INTO usher.users (id, created_by) VALUES ('a-%d', 't')`, known: `SELECT id::text FROM usher.users u ORDER BY u.id`},
		{
			path: "/grants?subjectKind=user&subjectId=grace&", id: "id", removes: true,
			during: `UPDATE usher.grants SET revoked_at = now(), revoked_by = 't' WHERE pattern = 'many:%d'`,
			known:  `SELECT id::text FROM usher.grants g WHERE subject_id = 'grace' ORDER BY g.id`,
		},
		{
			path: "/organizations/globex/members?", id: "userId", removes: true,
			during: `UPDATE usher.memberships SET ended_at = now(), ended_by = 't' WHERE user_id = 'user-0%d'`,
			known:  `SELECT user_id::text FROM usher.memberships WHERE member_of_id = 'globex' ORDER BY user_id COLLATE "C"`,
		},
		{
			path: "/audit/denials?userId=grace&", id: "requestId",
			during: `INSERT INTO usher.decisions (issued_at, result, reason, caller_kind, user_id, request_id, replica, personal_digest, digest) VALUES (now(), 'denied', 'no_grant', 'session', 'grace', 'new%d', 't', sha256(''), sha256(''))`,
			known:  `SELECT request_id FROM usher.decisions WHERE user_id = 'grace' ORDER BY issued_at DESC, id DESC`,
		},
		{
			path: "/api-keys?revoked=true&", id: "id",
			during: `UPDATE usher.api_keys SET revoked_at = now(), revoked_by = 't' WHERE id = 'key00000%d'`,
			known:  `SELECT id FROM usher.api_keys ORDER BY name, created_at, id`,
		},
		{
			path: "/audit/who-can?room=globex:1&", id: "principalId",
			during: `INSERT INTO usher.memberships (user_id, member_of_kind, member_of_id, created_by) SELECT min(id), 'organization', 'globex', 't%d' FROM usher.users WHERE id NOT IN (SELECT user_id FROM usher.memberships)`,
			known:  `SELECT user_id::text FROM usher.memberships WHERE member_of_id = 'globex' AND ended_at IS NULL ORDER BY user_id COLLATE "C"`,
		},
		{path: "/audit/what-can?userId=mallory&", id: "grantId", during: `SELECT %d`, count: 2502},
		{
			path: "/users/grace/sessions?", id: "createdAt", count: 2501, // of one instant, with nothing to tell one from another
			during: `INSERT INTO usher.sessions (token_hash, user_id, created_at, expires_at) VALUES (sha256('new%d'), 'grace', now(), now() + interval '1 hour')`,
		},
	} {
		t.Run(c.path, func(t *testing.T) {
			var want, got []string
			if c.known != "" {
				rows, err := r.pg.Pool.Query(t.Context(), c.known)
				if err != nil {
					t.Fatal(err)
				}
				if want, err = pgx.CollectRows(rows, pgx.RowTo[string]); err != nil {
					t.Fatal(err)
				}
			}
			next := ""
			for page := 0; page == 0 || next != ""; page++ {
				path := fmt.Sprintf("%slimit=%d", c.path, 600+page) // which may change on the way
				if next != "" {
					path += "&cursor=" + url.QueryEscape(next)
				}
				list := r.does(t, "GET", path, "")
				got = append(got, column(list, c.id)...)
				next, _ = list["nextCursor"].(string)
				if _, err := r.pg.Pool.Exec(t.Context(), fmt.Sprintf(c.during, 1000+page)); err != nil {
					t.Fatal(err)
				}
			}
			if c.known == "" {
				if len(got) != c.count {
					t.Errorf("got %d items, want %d", len(got), c.count)
				}
				return
			}
			if c.removes {
				total := len(want)
				want = slices.DeleteFunc(want, func(id string) bool { return !slices.Contains(got, id) })
				if len(want) == total || len(want) < total-10 {
					t.Errorf("got %d of %d items, of which a few were removed", len(want), total)
				}
			}
			if !slices.Equal(got, want) {
				t.Errorf("got %d items, want %d, or they are in another order", len(got), len(want))
			}
		})
	}
}

// A cursor is valid only unchanged, and only for its own list.
func TestAdminCursors(t *testing.T) {
	t.Parallel()
	r := newAdminRig(t)
	cursor := r.does(t, "GET", "/users?limit=2", "")["nextCursor"].(string)
	if got := column(r.does(t, "GET", "/users?limit=1&cursor="+cursor, ""), "id"); !slices.Equal(got, []string{"eve"}) {
		t.Fatalf("the cursor leads to %q", got) // a:b, ada, eve
	}
	refused := func(what, path, cursor string) {
		t.Helper()
		a := r.ask(t, "GET", path+url.QueryEscape(cursor), "")
		if a.status != http.StatusBadRequest || !strings.Contains(a.problem(t).Reason, "Invalid cursor") {
			t.Errorf("%s: status %d, %s; want 400", what, a.status, a.body)
		}
	}
	for i := range len(cursor) {
		flipped := []byte(cursor)
		flipped[i]++
		refused(fmt.Sprintf("byte %d flipped", i), "/users?cursor=", string(flipped))
		// A cursor is random text, so its last character may be any character.
		end := "A"
		if cursor[i] == 'A' {
			end = "B"
		}
		refused(fmt.Sprintf("cut after %d", i), "/users?cursor=", cursor[:i]+end)
	}
	for _, bad := range []string{"x", "AAAA", cursor + "A", cursor + "=", cursor + "\n", cursor[:4] + "\r\n" + cursor[4:], " " + cursor, cursor + cursor} {
		refused(fmt.Sprintf("%.10q", bad), "/users?cursor=", bad)
	}
	grants := r.does(t, "GET", "/grants?limit=1", "")["nextCursor"].(string)
	refused("of another route", "/users?cursor=", grants)
	refused("of users", "/grants?cursor=", cursor)
	refused("with another filter", "/grants?ended=true&cursor=", grants)
	tenant := r.does(t, "GET", "/organizations/acme/members?limit=1", "")["nextCursor"].(string)
	refused("of another organization's members", "/organizations/globex/members?cursor=", tenant)

	// The order of the parameters does not matter.
	filtered := r.does(t, "GET", "/grants?limit=1&resourceKind=room&ended=true", "")["nextCursor"].(string)
	r.does(t, "GET", "/grants?ended=true&cursor="+filtered+"&resourceKind=room", "")
	if strings.Contains(cursor, base64.RawURLEncoding.EncodeToString([]byte("ada"))) {
		t.Error("the cursor can be read")
	}
}

func TestAdminIdempotency(t *testing.T) {
	t.Parallel()
	r := newAdminRig(t)
	const body = `{"id":"once"}`
	first := r.ask(t, "POST", "/users", body, "Idempotency-Key", "k1")
	again := r.ask(t, "POST", "/users", body, "Idempotency-Key", "k1")
	if first.status != 201 || again.status != 201 || !bytes.Equal(first.body, again.body) || first.header.Get("Idempotent-Replay") != "" || again.header.Get("Idempotent-Replay") != "true" {
		t.Errorf("first %d %s, again %d %s", first.status, first.body, again.status, again.body)
	}
	if n := r.count(t, "SELECT count(*) FROM audit.changes WHERE action = 'user.add' AND target = 'once'"); n != 1 {
		t.Errorf("%d changes on record, want 1", n)
	}
	for name, a := range map[string]answer{
		"another body":  r.ask(t, "POST", "/users", `{"id":"twice"}`, "Idempotency-Key", "k1"),
		"another route": r.ask(t, "POST", "/organizations", body, "Idempotency-Key", "k1"),
	} {
		if a.status != 422 || a.problem(t).Error != "idempotency_key_reused" {
			t.Errorf("%s: %d %s, want 422", name, a.status, a.body)
		}
	}
	// The same idempotency key from another admin key is a different one.
	other, _ := r.addAdminKey(t, "other", admin.RoleAdmin)
	if a := r.ask(t, "POST", "/users", `{"id":"other"}`, "Idempotency-Key", "k1", "Authorization", "Bearer "+other); a.status != 201 {
		t.Errorf("another admin: %d %s", a.status, a.body)
	}
	// A refused request changed nothing. The same request may be repeated later.
	for _, want := range []int{404, 201, 201} {
		a := r.ask(t, "POST", "/organizations/acme/members", `{"userId":"late"}`, "Idempotency-Key", "k2")
		if a.status != want {
			t.Errorf("status %d, want %d", a.status, want)
		}
		if want == 404 {
			r.does(t, "POST", "/users", `{"id":"late"}`)
		}
	}
	// An auditor does not get the stored answer to an admin's request.
	if a := r.ask(t, "POST", "/users", body, "Idempotency-Key", "k1", "Authorization", "Bearer "+r.auditor); a.status != 403 {
		t.Errorf("an auditor: %d", a.status)
	}
}

// If many arrive at the same time, one makes the change and all get its answer.
func TestAdminIdempotencyAtTheSameTime(t *testing.T) {
	t.Parallel()
	r := newAdminRig(t)
	answers := make([]answer, 16)
	var all sync.WaitGroup
	for i := range answers {
		all.Go(func() {
			answers[i] = r.ask(t, "POST", "/api-keys", `{"name":"jobs","patterns":{"rooms":{"*":"read"}}}`, "Idempotency-Key", "same")
		})
	}
	all.Wait()
	shown := 0
	for _, a := range answers {
		var got struct{ ID, Key, Note string }
		if err := json.Unmarshal(a.body, &got); err != nil || a.status != 201 || got.ID == "" || (got.Key == "") == (got.Note == "") {
			t.Fatalf("status %d, %s, %v", a.status, a.body, err)
		}
		if replay := a.header.Get("Idempotent-Replay") == "true"; replay != (got.Key == "") {
			t.Errorf("replay %t shows the key: %t", replay, got.Key != "")
		}
		if got.Key == "" {
			continue
		}
		shown++
		part := strings.Split(got.Key, "_")[3]
		if n := r.count(t, "SELECT count(*) FROM usher.idempotency_keys k WHERE k::text LIKE '%' || $1 || '%'", part); n != 0 {
			t.Error("the secret is kept")
		}
	}
	if n := r.count(t, "SELECT count(*) FROM usher.api_keys"); shown != 1 || n != 1 {
		t.Errorf("%d keys made, %d shown, want one", n, shown)
	}
}

// A batch is added completely or not at all, and the error names the wrong element.
func TestAdminBatch(t *testing.T) {
	t.Parallel()
	r := newAdminRig(t)
	batch := func(last string) string {
		var b strings.Builder
		b.WriteString(`{"grants":[`)
		for i := range 999 {
			fmt.Fprintf(&b, `{"subjectKind":"user","subjectId":"ada","organizationId":"acme","resourceKind":"room","pattern":"batch:%d:%s","access":"read","reason":"many"},`, i, strings.Repeat("é", 110))
		}
		return b.String() + last + `]}`
	}
	for name, c := range map[string]struct {
		last   string
		status int
		says   string
	}{
		"an unknown user": {`{"subjectKind":"user","subjectId":"nobody-x","resourceKind":"room","pattern":"x","access":"read"}`, 404, `grants[999]: There is no user "nobody-x"`},
		"an open prefix":  {`{"subjectKind":"everyone","resourceKind":"room","pattern":"x*","access":"read"}`, 422, `grants[999]: The pattern "x*"`},
		"a twin":          {`{"subjectKind":"user","subjectId":"ada","resourceKind":"room","pattern":"acme:design:*","access":"full"}`, 409, `grants[999]: Grant 3 is the same`},
		"a conflict":      {`{"subjectKind":"everyone","resourceKind":"room","pattern":"{user}:*","access":"read"}`, 409, `grants[999]: Pattern "{user}:*" conflicts: grant`},
		"an unknown name": {`{"subject":"user:ada"}`, 400, `grants[999].subject`},
		"a wrong type":    {`{"pattern":1}`, 400, `grants[999].pattern must be a string`},
	} {
		a := r.ask(t, "POST", "/grants/batch", batch(c.last))
		for tries := 0; a.status == http.StatusServiceUnavailable && tries < 10; tries++ { // this machine is busy
			a = r.ask(t, "POST", "/grants/batch", batch(c.last))
		}
		if a.status != c.status || !strings.Contains(a.problem(t).Reason, c.says) {
			t.Errorf("%s: %d %s; want %d, %q", name, a.status, a.body, c.status, c.says)
		}
	}
	const made = "SELECT count(*) FROM usher.grants WHERE pattern LIKE 'batch:%'"
	if n := r.count(t, made); n != 0 {
		t.Fatalf("refused batches left %d grants", n)
	}
	body := batch(`{"subjectKind":"everyone","resourceKind":"room","pattern":"last","access":"full"}`)
	out := r.does(t, "POST", "/grants/batch", body, "Idempotency-Key", "batch")
	if grants, _ := out["grants"].([]any); len(grants) != 1000 || grants[999].(map[string]any)["pattern"] != "last" {
		t.Errorf("answered with %d grants, or in another order", len(grants))
	}
	r.does(t, "POST", "/grants/batch", body, "Idempotency-Key", "batch")
	if n := r.count(t, made); n != 999 {
		t.Errorf("%d grants, want 999", n)
	}
	if n := r.count(t, "SELECT count(*) FROM audit.changes WHERE action = 'grant.add'"); n != 1000 {
		t.Errorf("%d changes on record, want 1,000", n)
	}
}

// The filters of the audit's lists work, also across tenants.
func TestAdminAudit(t *testing.T) {
	t.Parallel()
	r := newAdminRig(t)
	_, err := r.pg.Pool.Exec(t.Context(), `INSERT INTO usher.decisions (issued_at, recorded_at, token_kind, result, reason, caller_kind, caller_id, user_id, organization_id, room, store, audience, patterns, jti, kid, expires_at, ip, request_id, replica, salt, personal_digest, digest) VALUES
		('2030-01-01', '2030-01-01', 'access', 'issued', NULL, 'session', 'sid1', 'ada', 'acme', 'acme:1', NULL, 'liveblocks', '{"rooms":{"acme:*":"full"}}', 'J1', 'k', '2030-01-02', '10.0.0.1', 'r1', 't', substring(sha256('') FOR 16), sha256(''), sha256('')),
		('2030-01-02', '2030-01-02', 'access', 'issued', NULL, 'api_key', 'key1', 'mallory', 'globex', NULL, 'notes', 'livestore', '{"stores":{"notes":"read"}}', 'J2', 'k', '2030-01-03', NULL, 'r2', 't', substring(sha256('') FOR 16), sha256(''), sha256('')),
		('2030-01-03', '2030-01-03', NULL, 'denied', 'no_grant', 'session', 'sid1', 'ada', 'acme', 'acme:1', NULL, NULL, NULL, NULL, NULL, NULL, NULL, 'r3', 't', substring(sha256('') FOR 16), sha256(''), sha256('')),
		('2030-01-04', '2030-01-04', NULL, 'denied', 'session_unknown', 'none', NULL, NULL, NULL, 'acme:2', NULL, NULL, NULL, NULL, NULL, NULL, NULL, 'r4', 't', substring(sha256('') FOR 16), sha256(''), sha256(''))`)
	if err != nil {
		t.Fatal(err)
	}
	r.does(t, "POST", "/users", `{"id":"new"}`)
	for path, want := range map[string][]string{
		"/audit/tokens":                            {"r2", "r1"},
		"/audit/tokens?userId=ada":                 {"r1"},
		"/audit/tokens?room=acme:1":                {"r1"},
		"/audit/tokens?store=notes":                {"r2"},
		"/audit/tokens?callerId=key1":              {"r2"},
		"/audit/tokens?since=2030-01-02T00:00:00Z": {"r2"},
		"/audit/tokens?until=2030-01-02T00:00:00Z": {"r1"},
		"/audit/tokens?userId=ada&store=notes":     nil,
		"/audit/denials":                           {"r4", "r3"},
		"/audit/denials?reason=no_grant":           {"r3"},
		"/audit/denials?callerId=sid1&limit=1":     {"r3"},
		"/audit/denials?userId=mallory":            nil,
	} {
		if got := column(r.does(t, "GET", path, "", "Authorization", "Bearer "+r.auditor), "requestId"); !slices.Equal(got, want) {
			t.Errorf("%s: %q, want %q", path, got, want)
		}
	}
	for path, want := range map[string][]string{
		"/audit/who-can?room=acme:design:1":             {"ada", "ada", "grace"},
		"/audit/who-can?room=acme:design:1&access=full": {"ada"},
		"/audit/who-can?store=acme_notes":               {"ada"},
		"/audit/who-can?room=globex:1":                  {"mallory"},
		"/audit/who-could?room=globex:1&at=" + url.QueryEscape(time.Now().UTC().Format(time.RFC3339Nano)): {"mallory"},
	} {
		if got := column(r.does(t, "GET", path, "", "Authorization", "Bearer "+r.auditor), "principalId"); !slices.Equal(got, want) {
			t.Errorf("%s: %q, want %q", path, got, want)
		}
	}
	if got := column(r.does(t, "GET", "/audit/what-can?userId=ada", ""), "pattern"); !slices.Equal(got, []string{"acme:*", "acme:design:*", "home:ada:*", "acme_notes"}) {
		t.Errorf("ada can open %q", got)
	}
	if got := column(r.does(t, "GET", "/audit/holders?room=acme:7&at=2030-01-01T00:00:00Z", ""), "jti"); !slices.Equal(got, []string{"J1"}) {
		t.Errorf("acme:7 was held by %q", got)
	}
	if got := r.does(t, "GET", "/audit/why?userId=mallory&room=acme:1", ""); got["access"] != "none" || got["why"] == "" || len(got["grants"].([]any)) == 0 {
		t.Errorf("mallory and acme:1: %v", got)
	}
	for body, want := range map[string][2]any{
		`{"userId":"ada","room":"acme:design:1"}`:                      {nil, "full"},
		`{"userId":"ada","organizationId":"globex","room":"globex:1"}`: {"no_grant", "none"},
		`{"userId":"nobody-x","room":"acme:1"}`:                        {"user_unknown", nil},
	} {
		got := r.does(t, "POST", "/preview", body, "Authorization", "Bearer "+r.auditor)
		if got["reason"] != want[0] || got["roomAccess"] != want[1] {
			t.Errorf("preview %s: %v, want %v", body, got, want)
		}
	}
	actor := r.does(t, "GET", "/users/new", "")["createdBy"].(string)
	for path, want := range map[string]int{
		"/audit/changes?actor=" + url.QueryEscape(actor): 1,
		"/audit/changes?target=new&action=user.add":      1,
		"/audit/changes?target=new&action=user.delete":   0,
		"/audit/changes?since=2099-01-01T00:00:00Z":      0,
		"/audit/changes?until=2099-01-01T00:00:00Z":      3, // and the two admin keys
	} {
		if got := len(column(r.does(t, "GET", path, ""), "id")); got != want {
			t.Errorf("%s: %d changes, want %d", path, got, want)
		}
	}
}

// Wrong admin keys are counted for their address. They lock out neither a key that was
// good when it was last seen nor callers at other addresses.
func TestAdminFailureLimit(t *testing.T) {
	t.Parallel()
	g := newGated(t, api.Limits{Failures: 3})
	text, _, err := identity.NewAdminKey("test")
	if err != nil {
		t.Fatal(err)
	}
	good := "Bearer " + text.Reveal()
	ops := newOps(t, g.API, faultyStore{}, nil)
	wants := func(status int, peer, authorization string) {
		t.Helper()
		r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/v1/admin/users", http.NoBody)
		r.RemoteAddr, r.Header = peer+":1234", http.Header{"Authorization": {authorization}}
		w := httptest.NewRecorder()
		ops.ServeHTTP(w, r)
		a := answer{status: w.Code, header: w.Header(), body: w.Body.Bytes()}
		checkAnswer(t, r, nil, a)
		if a.status != status || (status == 429) != (a.header.Get("Retry-After") != "") {
			t.Errorf("%s from %s: status %d, want %d: %s", authorization[:9], peer, a.status, status, a.body)
		}
	}
	wants(200, somewhere, good)
	for range 3 {
		wants(401, somewhere, "Bearer sk_typo")
	}
	wants(429, somewhere, "Bearer ak_typo")
	wants(200, somewhere, good)
	wants(401, "198.51.100.1", "Bearer ak_typo")
}

// Slow questions with one key delay neither changes nor another key's questions. They
// are canceled in Postgres when their time is over.
func TestSlowQuestionsKeepNothingWaiting(t *testing.T) {
	t.Parallel()
	r := newAdminRig(t)
	store, err := db.OpenAdmin(secret.New(r.pg.ServiceURL))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(store.Close)
	users, err := store.Directory(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	f := &fake{record: func(context.Context, *audit.Decision) error { return nil }}
	r.Server = httptest.NewServer(newOps(t, newAPI(t, f, f, &rig{registry: prometheus.NewRegistry(), log: new(lockedBuffer), keys: r.keys}), store, users))
	t.Cleanup(r.Close)

	lock, err := r.pg.Pool.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = lock.Rollback(context.Background()) })
	if _, err := lock.Exec(t.Context(), "LOCK TABLE usher.grants IN ACCESS EXCLUSIVE MODE"); err != nil {
		t.Fatal(err)
	}
	const waiting = `SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = 'usher.grants'::regclass`
	const slow = 12
	statuses := make(chan int, slow)
	for range slow {
		go func() { statuses <- r.ask(t, "GET", "/grants", "", "Authorization", "Bearer "+r.auditor).status }()
	}
	until(t, func() bool { return r.count(t, waiting) == 2 }) // a key's share
	for path, want := range map[string]string{"/users/ada/disable": "disabledAt", "/users/ada/enable": "createdAt"} {
		if _, there := r.does(t, "POST", path, "")[want]; !there {
			t.Errorf("POST %s did not answer with %s", path, want)
		}
	}
	r.does(t, "GET", "/users", "")
	for range slow {
		if got := <-statuses; got != http.StatusServiceUnavailable {
			t.Errorf("a question that took too long = %d, want 503", got)
		}
	}
	until(t, func() bool { return r.count(t, waiting) == 0 })
	if err := lock.Rollback(t.Context()); err != nil {
		t.Fatal(err)
	}
	r.does(t, "GET", "/grants", "", "Authorization", "Bearer "+r.auditor)
}
