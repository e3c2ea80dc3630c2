package api_test

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"hash/crc32"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/usher-auth/usher/db"
	"github.com/usher-auth/usher/internal/admin"
	"github.com/usher-auth/usher/internal/identity"
	"github.com/usher-auth/usher/internal/principal"
	"github.com/usher-auth/usher/internal/secret"
	"github.com/usher-auth/usher/permissions"
	"github.com/usher-auth/usher/session"
)

var everyRoute = []string{principal.RouteAuth, principal.RouteAuthorizeUser, principal.RouteIdentifyUser}

func scope(kind permissions.Kind, pattern string, access permissions.Access) []permissions.Rule {
	return []permissions.Rule{{Pattern: permissions.MustPattern(kind, pattern), Access: access}}
}

var everything = session.Patterns{
	Rooms:  scope(permissions.RoomKind, "*", permissions.Full),
	Stores: scope(permissions.StoreKind, "*", permissions.Full),
}

// addKey creates an API key and returns its text.
func (r *rig) addKey(t testing.TB, name string, change func(*admin.NewAPIKey)) (secret.Text, string) {
	t.Helper()
	text, key, err := identity.NewAPIKey("test")
	if err != nil {
		t.Fatal(err)
	}
	k := admin.NewAPIKey{ID: key.ID, SecretHash: key.Hash, Name: name, Routes: everyRoute, Patterns: everything}
	if change != nil {
		change(&k)
	}
	database, err := db.Open(secret.New(r.pg.ServiceURL))
	if err != nil {
		t.Fatal(err)
	}
	defer database.Close()
	if _, err := database.AddAPIKey(t.Context(), k, "t"); err != nil {
		t.Fatal(err)
	}
	return text, key.ID
}

// with returns a backend's request with a key.
func (r *rig) with(t testing.TB, key, path, body string) *http.Request {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, r.URL+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	if key != "" {
		req.Header.Set("Authorization", "Bearer "+key)
	}
	return req
}

func payload(t testing.TB, a answer) string {
	t.Helper()
	var response authResponse
	if err := json.Unmarshal(a.body, &response); err != nil || a.status != 200 {
		t.Fatalf("answer = %d %s", a.status, a.body)
	}
	raw, err := base64.RawURLEncoding.DecodeString(strings.Split(response.Token, ".")[1])
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}

// A backend's permissions go into the token verbatim and in their order. The audit stores
// them as they were signed, and as the strongest access that they can mean.
func TestAuthorizeUser(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	key, id := r.addKey(t, "jobs", nil)
	body := `{"userId":"someone <3 nobody knows","permissions":{"b:*":["comments:write","room:read","room:read"],"a":["*:write","storage:none"],"c":[]},` +
		`"userInfo":{"name":"José 🎉","exp":1},"tenantId":"old","organizationId":"acme","unknown":[1]}`
	req := r.with(t, key.Reveal(), "/v2/authorize-user/", body)
	req.Header.Set("Content-Type", "text/plain") // ignored
	a := send(t, r.Server, req)
	claims := payload(t, a)
	for _, verbatim := range []string{
		`"perms":{"b:*":["comments:write","room:read"],"a":["*:write","storage:none"],"c":[]}`,
		`"ui":{"name":"José 🎉","exp":1}`, `"k":"acc"`, `"org":"acme"`, `"aud":"liveblocks"`,
	} {
		if !strings.Contains(claims, verbatim) {
			t.Errorf("%s lacks %s", claims, verbatim)
		}
	}
	var kind, caller, user, patterns, tokenKind, chosen, organization string
	err := r.pg.Pool.QueryRow(t.Context(), `SELECT caller_kind, caller_id, user_id, patterns::text, token_kind, claims::text, organization_id
		FROM audit.tokens WHERE request_id = $1`, a.header.Get("X-Request-Id")).Scan(&kind, &caller, &user, &patterns, &tokenKind, &chosen, &organization)
	if want := `{"perms":{"b:*":["comments:write","room:read"],"a":["*:write","storage:none"],"c":[]}}`; tokenKind != "access" || chosen != want || organization != "acme" {
		t.Errorf("audit row: %s %s of %q; want access %s of acme", tokenKind, chosen, organization, want)
	}
	if err != nil || kind != "api_key" || caller != id || user != "someone <3 nobody knows" {
		t.Errorf("audit row: %s %s %s, %v", kind, caller, user, err)
	}
	if diff := cmp.Diff(canonical(t, `{"rooms":{"b:*":"full","a":"full","c":"none"}}`), canonical(t, patterns)); diff != "" {
		t.Errorf("patterns (-want +got):\n%s", diff)
	}
}

// The audit stores the permissions as they were signed, and the strongest access that
// they can mean: full for any permission to write, except presence.
func TestAuditOfChosenPermissions(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	key, _ := r.addKey(t, "jobs", nil)
	for names, want := range map[string]string{
		`"room:write","comments:read"`: "full", `"comments:read"`: "read", `"room:presence:write"`: "read", `"feeds:write"`: "full",
		`"*:write","storage:none"`: "full", `"storage:none"`: "none", ``: "none", `"*:read"`: "read", `"room:read","comments:private:write"`: "full",
	} {
		a := send(t, r.Server, r.with(t, key.Reveal(), "/v2/authorize-user", `{"userId":"ada","permissions":{"acme:1":[`+names+`]}}`))
		payload(t, a)
		var access, chosen string
		if err := r.pg.Pool.QueryRow(t.Context(), `SELECT patterns #>> '{rooms,acme:1}', claims::text FROM audit.tokens WHERE request_id = $1`,
			a.header.Get("X-Request-Id")).Scan(&access, &chosen); err != nil || access != want || chosen != `{"perms":{"acme:1":[`+names+`]}}` {
			t.Errorf("[%s]: %s and %s, %v; want %s", names, access, chosen, err, want)
		}
	}
}

// A wildcard within a segment is allowed, because Liveblocks allows it. The audit has a
// warning.
func TestAuthorizeUserWarnsOfOpenPrefixes(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	key, _ := r.addKey(t, "jobs", nil)
	for patterns, want := range map[string]string{
		`"acme*":["room:read"]`: "{open_prefix}", `"acme:1":["room:read"],"a*":["room:read"]`: "{open_prefix}",
		`"acme:*":["room:read"]`: "", `"*":["room:read"]`: "", `"acme":["room:read"]`: "", `"a/*":[],"b.*":[]`: "",
	} {
		a := send(t, r.Server, r.with(t, key.Reveal(), "/v2/authorize-user", `{"userId":"ada","permissions":{`+patterns+`}}`))
		payload(t, a)
		var warnings string
		if err := r.pg.Pool.QueryRow(t.Context(), `SELECT coalesce(warnings::text, '') FROM audit.tokens WHERE request_id = $1`,
			a.header.Get("X-Request-Id")).Scan(&warnings); err != nil || warnings != want {
			t.Errorf("%s: warnings %q, %v; want %q", patterns, warnings, err, want)
		}
		if logged := strings.Contains(r.log.String(), a.header.Get("X-Request-Id")) && strings.Contains(r.log.String(), "does not end a segment"); want != "" && !logged {
			t.Errorf("%s: the log has no warning: %s", patterns, r.log)
		}
	}
}

// The audit stores both the token's organization and the one that was asked for.
func TestAuditOfAnotherOrganization(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	key, _ := r.addKey(t, "jobs", nil)
	row := func(a answer, view string) string {
		t.Helper()
		var text string
		if err := r.pg.Pool.QueryRow(t.Context(), `SELECT coalesce(organization_id, '-') || ' ' || coalesce(requested_organization_id, '-') FROM audit.`+view+` WHERE request_id = $1`,
			a.header.Get("X-Request-Id")).Scan(&text); err != nil {
			t.Fatal(err)
		}
		return text
	}
	member := send(t, r.Server, r.with(t, key.Reveal(), "/api/auth", `{"userId":"ada","room":"acme:design:1","organizationId":"acme"}`))
	if got := row(member, "tokens"); got != "acme acme" {
		t.Errorf("of a member: %s", got)
	}
	other := send(t, r.Server, r.with(t, key.Reveal(), "/api/auth", `{"userId":"ada","organizationId":"globex"}`))
	if other.status != http.StatusForbidden {
		t.Fatalf("an organization of which the user is not a member: %d %s", other.status, other.body)
	}
	if got := row(other, "denials"); got != "- globex" {
		t.Errorf("of an organization of which the user is not a member: %s", got)
	}
	none := send(t, r.Server, r.with(t, key.Reveal(), "/api/auth", `{"userId":"ada"}`))
	if got := row(none, "tokens"); got != "- -" {
		t.Errorf("of none: %s", got)
	}
}

func TestIdentifyUser(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	key, _ := r.addKey(t, "jobs", nil)
	const group = `INSERT INTO usher.groups (id, created_by) VALUES ('acme-design', 't'); INSERT INTO usher.memberships (user_id, member_of_kind, member_of_id, created_by) VALUES ('ada', 'group', 'acme-design', 't')`
	if _, err := r.pg.Pool.Exec(t.Context(), group); err != nil {
		t.Fatal(err)
	}
	claims := payload(t, send(t, r.Server, r.with(t, key.Reveal(), "/v2/identify-user", `{"userId":"ada","groupIds":["acme-design"],"userInfo":{"name":"Ada"}}`)))
	for _, want := range []string{`"k":"id"`, `"uid":"ada"`, `"gids":["acme-design"]`, `"ui":{"name":"Ada"}`} {
		if !strings.Contains(claims, want) {
			t.Errorf("%s lacks %s", claims, want)
		}
	}
	var tokenKind, chosen, patterns string
	if err := r.pg.Pool.QueryRow(t.Context(), "SELECT token_kind, claims::text, patterns::text FROM audit.tokens").Scan(&tokenKind, &chosen, &patterns); err != nil ||
		tokenKind != "identity" || chosen != `{"gids":["acme-design"]}` || patterns != "{}" {
		t.Errorf("audit row: %s %s %s, %v; want the groups of an identity token", tokenKind, chosen, patterns, err)
	}
	if strings.Contains(claims, "perms") || strings.Contains(claims, "stores") {
		t.Errorf("an identity token carries permissions: %s", claims)
	}
}

// With an API key and a user, /api/auth returns the token that this user would get.
func TestAuthorizeWithAPIKey(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	key, id := r.addKey(t, "jobs", nil)
	a := send(t, r.Server, r.with(t, key.Reveal(), "/api/auth", `{"userId":"ada","room":"acme:design:1","organizationId":"acme"}`))
	claims := payload(t, a)
	for _, want := range []string{`"sub":"ada"`, `"acme:design:*":["room:write","comments:write"]`, `"org":"acme"`} {
		if !strings.Contains(claims, want) {
			t.Errorf("%s lacks %s", claims, want)
		}
	}
	if strings.Contains(claims, `"sid"`) {
		t.Errorf("a key's token names a session: %s", claims)
	}
	// In a browser's request, the same fields are not read.
	own := payload(t, send(t, r.Server, r.as(t, "grace", `{"userId":"ada","organization":7}`)))
	if !strings.Contains(own, `"sub":"grace"`) {
		t.Errorf("a browser chose who it is: %s", own)
	}
	until(t, func() bool {
		var used *time.Time
		err := r.pg.Pool.QueryRow(t.Context(), `SELECT last_used_at FROM usher.api_keys WHERE id = $1`, id).Scan(&used)
		return err == nil && used != nil
	})
}

// A token expires with the API key that it was made with, on every route, and is then in no
// list of holders. It also expires with the grant that it is based on.
func TestTokensEndWithTheirKey(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	end := time.Now().Add(2 * time.Minute).Truncate(time.Second)
	key, _ := r.addKey(t, "until", func(k *admin.NewAPIKey) { k.ExpiresAt = end.Add(700 * time.Millisecond) })
	other, _ := r.addKey(t, "forever", nil)
	grantEnd := end.Add(-time.Minute)
	_, err := r.pg.Pool.Exec(t.Context(), `INSERT INTO usher.grants (subject_kind, subject_id, resource_kind, pattern, access, created_by, valid_until)
		VALUES ('user', 'grace', 'room', 'brief', 'read', 't', $1)`, grantEnd)
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		key        secret.Text
		path, body string
		room       string // that it opens
		end        time.Time
	}{
		"a session's endpoint":  {key, "/api/auth", `{"userId":"ada","room":"acme:design:1"}`, "acme:design:1", end},
		"permissions":           {key, "/v2/authorize-user", `{"userId":"ada","permissions":{"chosen":["room:write"]}}`, "chosen", end},
		"an identity":           {key, "/v2/identify-user", `{"userId":"ada"}`, "", end},
		"a grant that is older": {key, "/api/auth", `{"userId":"grace","room":"brief"}`, "brief", grantEnd},
		"a grant, another key":  {other, "/api/auth", `{"userId":"grace","room":"brief"}`, "brief", grantEnd},
	} {
		t.Run(name, func(t *testing.T) {
			var claims struct {
				Exp int64
				Jti string
			}
			if err := json.Unmarshal([]byte(payload(t, send(t, r.Server, r.with(t, c.key.Reveal(), c.path, c.body)))), &claims); err != nil {
				t.Fatal(err)
			}
			if claims.Exp != c.end.Unix() {
				t.Errorf("exp is %s, want %s", time.Unix(claims.Exp, 0).UTC(), c.end.UTC())
			}
			for at, want := range map[time.Time]int{c.end: 0, c.end.Add(-time.Second): min(len(c.room), 1)} {
				var holders int
				err := r.pg.Pool.QueryRow(t.Context(), "SELECT count(*) FROM audit.holders('room', coalesce(nullif($1, ''), 'x'), $2) WHERE jti = $3", c.room, at, claims.Jti).Scan(&holders)
				if err != nil || holders != want {
					t.Errorf("%d holders at %s, %v; want %d", holders, at.UTC(), err, want)
				}
			}
		})
	}
}

func TestAPIKeysBadInput(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	all, allID := r.addKey(t, "all", nil)
	authOnly, _ := r.addKey(t, "auth only", func(k *admin.NewAPIKey) { k.Routes = []string{principal.RouteAuth} })
	acmeOnly, _ := r.addKey(t, "acme only", func(k *admin.NewAPIKey) { k.Organizations = []string{"acme"} })
	readOnly, _ := r.addKey(t, "read only", func(k *admin.NewAPIKey) {
		k.Patterns = session.Patterns{Rooms: scope(permissions.RoomKind, "acme:*", permissions.Read)}
	})
	expired, expiredID := r.addKey(t, "expired", nil)
	revoked, revokedID := r.addKey(t, "revoked", nil)
	for sql, id := range map[string]string{
		// A key can be changed only after its triggers are turned off.
		`ALTER TABLE usher.api_keys DISABLE TRIGGER revoke_once; UPDATE usher.api_keys SET created_at = now() - interval '2 hours', expires_at = now() - interval '1 hour' WHERE id = '%s'; ALTER TABLE usher.api_keys ENABLE TRIGGER revoke_once`: expiredID,
		`UPDATE usher.api_keys SET revoked_at = now(), revoked_by = 't' WHERE id = '%s'`: revokedID,
	} {
		if _, err := r.pg.Pool.Exec(t.Context(), fmt.Sprintf(sql, id)); err != nil {
			t.Fatal(err)
		}
	}
	unknown, _, err := identity.NewAPIKey("test")
	if err != nil {
		t.Fatal(err)
	}
	// The right id with another key's secret, and a matching checksum.
	stolen, _, _ := identity.NewAPIKey("test")
	parts := strings.Split(stolen.Reveal(), "_")
	wrongSecret := withChecksum(strings.Join([]string{"sk", "test", allID, parts[3]}, "_"))

	expiredWrongSecret := withChecksum(strings.Join([]string{"sk", "test", expiredID, parts[3]}, "_"))

	const av2, good = "/v2/authorize-user", `{"userId":"ada","permissions":{"acme:1":["room:read"]}}`
	many := make([]string, 11)
	for i := range many {
		many[i] = fmt.Sprintf(`"r%d":["room:read"]`, i)
	}
	perms := func(p string) string { return `{"userId":"ada","permissions":` + p + `}` }
	for _, test := range []struct {
		name, key, path, body string
		status                int
		slug                  string
		message               string // a part of it
		reason                string // of the audit row; empty: no row
	}{
		{"no key", "", av2, good, 401, "MISSING_SECRET_KEY", "Missing secret key in authentication header", "no_credential"},
		{"a public key", "pk_live_x", av2, good, 401, "WRONG_KEY_USED", "Public key instead of the secret key.", "public_key_used"},
		{"not a key", "sk_x", av2, good, 403, "INVALID_SECRET_KEY", "Invalid secret key.", "bad_api_key"},
		{"a foreign checksum", all.Reveal()[:len(all.Reveal())-1] + "-", av2, good, 403, "INVALID_SECRET_KEY", "", "bad_api_key"},
		{"an unknown key", unknown.Reveal(), av2, good, 403, "INVALID_SECRET_KEY", "", "api_key_unknown"},
		{"a wrong secret", wrongSecret, av2, good, 403, "INVALID_SECRET_KEY", "", "api_key_unknown"},
		{"an expired key", expired.Reveal(), av2, good, 403, "INVALID_SECRET_KEY", `"message":"This API key has expired. Create another one with usher apikey create."`, "api_key_expired"},
		{"an expired key's wrong secret", expiredWrongSecret, av2, good, 403, "INVALID_SECRET_KEY", `"message":"Invalid secret key."`, "api_key_unknown"},
		{"a revoked key", revoked.Reveal(), av2, good, 403, "INVALID_SECRET_KEY", "", "api_key_revoked"},
		{"another route", authOnly.Reveal(), av2, good, 403, "forbidden", "scope: it is not for the route authorize-user", "api_key_scope"},
		{"another route of identities", authOnly.Reveal(), "/v2/identify-user", `{"userId":"ada"}`, 403, "forbidden", "scope", "api_key_scope"},
		{"no organization", acmeOnly.Reveal(), av2, good, 403, "forbidden", "scope: it is for some organizations only", "api_key_scope"},
		{"another organization", acmeOnly.Reveal(), av2, `{"userId":"mallory","organizationId":"globex","permissions":{}}`, 403, "forbidden", `scope: it is not for the organization \"globex\"`, "api_key_scope"},
		{"another tenant's user", acmeOnly.Reveal(), av2, `{"userId":"mallory","organizationId":"acme","permissions":{}}`, 403, "forbidden", "scope: the user is not a member of the organization", "api_key_scope"},
		{"more access than the scope", readOnly.Reveal(), av2, perms(`{"acme:1":["room:write"]}`), 403, "forbidden", `scope: it allows read access to the room pattern \"acme:1\", not full`, "api_key_scope"},
		{"a feature's write beyond the scope", readOnly.Reveal(), av2, perms(`{"acme:1":["room:read","comments:write"]}`), 403, "forbidden", "scope", "api_key_scope"},
		{"a broader pattern than the scope", readOnly.Reveal(), av2, perms(`{"acme*":["room:read"]}`), 403, "forbidden", `scope: it does not cover the room pattern \"acme*\"`, "api_key_scope"},
		{"an organization of which the user is not a member", all.Reveal(), "/v2/identify-user", `{"userId":"ada","organizationId":"nope"}`, 403, "forbidden", `not a member of the organization \"nope\"`, "not_a_member"},
		{"a group of which the user is not a member", all.Reveal(), "/v2/identify-user", `{"userId":"ada","groupIds":["nope"]}`, 403, "forbidden", `not a member of the group \"nope\"`, "not_a_member"},
		{"groups of a user that the directory does not list", all.Reveal(), "/v2/identify-user", `{"userId":"no one","groupIds":["acme-design"]}`, 403, "forbidden", "not a member", "not_a_member"},
		{"a disabled user", all.Reveal(), av2, `{"userId":"eve","permissions":{}}`, 403, "forbidden", "disabled", "user_disabled"},
		{"a disabled user's identity", all.Reveal(), "/v2/identify-user", `{"userId":"eve"}`, 403, "forbidden", "disabled", "user_disabled"},
		{"not JSON", all.Reveal(), av2, `userId=ada`, 400, "BAD_REQUEST", "", ""},
		{"a name twice", all.Reveal(), av2, `{"userId":"ada","userId":"eve","permissions":{}}`, 400, "BAD_REQUEST", "", ""},
		{"no userId", all.Reveal(), av2, `{"permissions":{}}`, 422, "UNPROCESSABLE_ENTITY", "Missing key: 'userId'.", ""},
		{"an empty userId", all.Reveal(), av2, `{"userId":"","permissions":{}}`, 422, "UNPROCESSABLE_ENTITY", "userId", ""},
		{"a userId of 129 units", all.Reveal(), av2, `{"userId":"` + strings.Repeat("😀", 64) + `x","permissions":{}}`, 422, "UNPROCESSABLE_ENTITY", "userId", ""},
		{"a userId that is a number", all.Reveal(), av2, `{"userId":7,"permissions":{}}`, 422, "UNPROCESSABLE_ENTITY", "userId", ""},
		{"no permissions", all.Reveal(), av2, `{"userId":"ada"}`, 422, "UNPROCESSABLE_ENTITY", "Missing key: 'permissions'.", ""},
		{"permissions in a list", all.Reveal(), av2, perms(`[]`), 422, "UNPROCESSABLE_ENTITY", "permissions", ""},
		{"a permission in a string", all.Reveal(), av2, perms(`{"a":"room:write"}`), 422, "UNPROCESSABLE_ENTITY", "permissions", ""},
		{"an unknown permission", all.Reveal(), av2, perms(`{"a":["room:admin"]}`), 422, "UNPROCESSABLE_ENTITY", `Not a valid permission: \"room:admin\"`, ""},
		{"two wildcards", all.Reveal(), av2, perms(`{"a**":["room:read"]}`), 422, "UNPROCESSABLE_ENTITY", "permissions", ""},
		{"11 patterns", all.Reveal(), av2, perms("{" + strings.Join(many, ",") + "}"), 422, "UNPROCESSABLE_ENTITY", "A token cannot have more more than 10 permissions.", ""},
		{"userInfo in a list", all.Reveal(), av2, `{"userId":"ada","permissions":{},"userInfo":[]}`, 422, "UNPROCESSABLE_ENTITY", "userInfo", ""},
		{"userInfo of 1,025 characters", all.Reveal(), av2, `{"userId":"ada","permissions":{},"userInfo":{"n":"` + strings.Repeat("n", 1017) + `"}}`, 422, "UNPROCESSABLE_ENTITY", "1024", ""},
		{"groups in a string", all.Reveal(), "/v2/identify-user", `{"userId":"ada","groupIds":"g"}`, 422, "UNPROCESSABLE_ENTITY", "groupIds", ""},

		{"a session's endpoint, unknown key", unknown.Reveal(), "/api/auth", `{"userId":"ada"}`, 401, "unauthorized", "", "api_key_unknown"},
		{"a session's endpoint, an expired key", expired.Reveal(), "/api/auth", `{"userId":"ada"}`, 401, "unauthorized", "This API key has expired.", "api_key_expired"},
		{"a session's endpoint, an expired key's wrong secret", expiredWrongSecret, "/api/auth", `{"userId":"ada"}`, 401, "unauthorized", "no valid API key", "api_key_unknown"},
		{"a session's endpoint, without a user", all.Reveal(), "/api/auth", `{}`, 400, "bad_request", "userId is missing", ""},
		{"a session's endpoint, a bad user", all.Reveal(), "/api/auth", `{"userId":7}`, 400, "bad_request", "userId", ""},
		{"a session's endpoint, an unknown user", all.Reveal(), "/api/auth", `{"userId":"no one"}`, 403, "forbidden", "", "user_unknown"},
		{"a session's endpoint, a foreign organization", all.Reveal(), "/api/auth", `{"userId":"ada","organizationId":"globex"}`, 403, "forbidden", `not a member of the organization \"globex\"`, "not_a_member"},
		{"a session's endpoint, no such organization by the older name", all.Reveal(), "/api/auth", `{"userId":"ada","organization":"nope"}`, 403, "forbidden", "not a member", "not_a_member"},
		{"a session's endpoint, two organizations", all.Reveal(), "/api/auth", `{"userId":"ada","organization":"acme","organizationId":"globex"}`, 400, "bad_request", "differ", ""},
		{"a session's endpoint, an organization that is a number", all.Reveal(), "/api/auth", `{"userId":"ada","organizationId":7}`, 400, "bad_request", "organizationId must be", ""},
		{"a session's endpoint, an unknown field", all.Reveal(), "/api/auth", `{"userId":"ada","rooms":["acme:1"]}`, 400, "bad_request", `Unknown field \"rooms\". Allowed fields: audience, organization, organizationId, room, store, userId.`, ""},
		{"a session's endpoint, a field in another case", all.Reveal(), "/api/auth", `{"userId":"ada","Room":"acme:1"}`, 400, "bad_request", `Unknown field \"Room\"`, ""},
		{"a session's endpoint, a disabled user", all.Reveal(), "/api/auth", `{"userId":"eve"}`, 403, "forbidden", "", "user_disabled"},
		{"a session's endpoint, a room without a grant", all.Reveal(), "/api/auth", `{"userId":"ada","room":"globex:1"}`, 403, "forbidden", "", "no_grant"},
		{"a session's endpoint, more than the scope", readOnly.Reveal(), "/api/auth", `{"userId":"ada","room":"acme:design:1"}`, 403, "forbidden", "", "api_key_scope"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			a := send(t, r.Server, r.with(t, test.key, test.path, test.body))
			var got struct{ Error string }
			if err := json.Unmarshal(a.body, &got); err != nil || a.status != test.status || got.Error != test.slug || !strings.Contains(string(a.body), test.message) {
				t.Fatalf("answer = %d %s, want %d %s with %q", a.status, a.body, test.status, test.slug, test.message)
			}
			if a.status == 403 && got.Error == "forbidden" && !strings.Contains(string(a.body), `"reason":"`) {
				t.Errorf("a callback's client would not give up on %s", a.body)
			}
			var reasons []string
			if err := r.pg.Pool.QueryRow(t.Context(), `SELECT coalesce(array_agg(reason), '{}') FROM audit.denials WHERE request_id = $1`, a.header.Get("X-Request-Id")).Scan(&reasons); err != nil {
				t.Fatal(err)
			}
			if got := strings.Join(reasons, ","); got != test.reason {
				t.Errorf("audit rows = %q, want %q", got, test.reason)
			}
			for _, s := range []string{all.Reveal(), unknown.Reveal()} {
				if strings.Contains(r.log.String(), s) {
					t.Error("the log repeats a key")
				}
			}
		})
	}
	t.Run("from a page", func(t *testing.T) {
		t.Parallel()
		for _, path := range []string{av2, "/api/auth"} {
			req := r.with(t, all.Reveal(), path, good)
			req.Header.Set("Origin", allowedOrigin)
			if a := send(t, r.Server, req); a.status != 400 || !strings.Contains(string(a.body), "A browser sent an API key") {
				t.Errorf("%s: answer = %d %s", path, a.status, a.body)
			}
		}
	})
	t.Run("revoked between two requests", func(t *testing.T) {
		t.Parallel()
		key, id := r.addKey(t, "short-lived", nil)
		statuses := []int{send(t, r.Server, r.with(t, key.Reveal(), av2, good)).status}
		if _, err := r.pg.Pool.Exec(t.Context(), `UPDATE usher.api_keys SET revoked_at = now(), revoked_by = 't' WHERE id = $1`, id); err != nil {
			t.Fatal(err)
		}
		statuses = append(statuses, send(t, r.Server, r.with(t, key.Reveal(), av2, good)).status)
		if want := []int{200, 403}; !slices.Equal(statuses, want) {
			t.Errorf("statuses = %v, want %v", statuses, want)
		}
	})
}

// withChecksum adds the checksum to a key's text, as package identity does: CRC-32 in
// base 62.
func withChecksum(body string) string {
	const digits = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
	sum, text := crc32.ChecksumIEEE([]byte(body)), ""
	for range 6 {
		text = string(digits[sum%62]) + text
		sum /= 62
	}
	return body + "_" + text
}
