package client_test

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/usher-auth/usher"
	"github.com/usher-auth/usher/api"
	"github.com/usher-auth/usher/client"
	"github.com/usher-auth/usher/db"
	"github.com/usher-auth/usher/db/dbtest"
	"github.com/usher-auth/usher/internal/admin"
	"github.com/usher-auth/usher/internal/identity"
	"github.com/usher-auth/usher/internal/principal"
	"github.com/usher-auth/usher/internal/secret"
	"github.com/usher-auth/usher/permissions"
	"github.com/usher-auth/usher/session"
)

const (
	issuerURL = "https://auth.example.com"
	someKey   = "sk_test_canary" // of the form that New takes, and no more
)

// tenant is the data that the tokens of these tests are based on.
const tenant = `
	INSERT INTO usher.users (id, disabled_at, created_by) VALUES ('ada', NULL, 't'), ('grace', NULL, 't'), ('eve', now(), 't');
	INSERT INTO usher.organizations (id, created_by) VALUES ('acme', 't'), ('globex', 't');
	INSERT INTO usher.memberships (user_id, member_of_kind, member_of_id, created_by) VALUES
		('ada', 'organization', 'acme', 't'), ('ada', 'organization', 'globex', 't'), ('eve', 'organization', 'acme', 't');
	INSERT INTO usher.grants (subject_kind, subject_id, resource_kind, pattern, access, created_by) VALUES
		('everyone', '', 'room', '{organization}:*', 'read', 't'),
		('user', 'ada', 'room', 'acme:design:*', 'full', 't'),
		('user', 'ada', 'store', 'acme_notes', 'full', 't')`

// rig is usher's API on a real Postgres.
type rig struct {
	handler  http.Handler
	pg       *dbtest.DB
	database *db.DB
	keys     *session.Keyring
}

func newRig(t *testing.T) *rig {
	t.Helper()
	pg := dbtest.New(t)
	if _, err := pg.Pool.Exec(t.Context(), tenant); err != nil {
		t.Fatal(err)
	}
	database, err := db.Open(secret.New(pg.ServiceURL))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(database.Close)
	directory, err := database.Directory(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	key, err := session.GenerateKey(session.EdDSA, session.KeyTimes{})
	if err != nil {
		t.Fatal(err)
	}
	r := &rig{pg: pg, database: database, keys: session.NewKeyring(key)}
	issuer, err := session.NewIssuer(session.IssuerConfig{Issuer: issuerURL, Keys: r.keys})
	if err != nil {
		t.Fatal(err)
	}
	credentials, err := identity.NewReader(identity.Config{Cookie: "usher_session"})
	if err != nil {
		t.Fatal(err)
	}
	registry := prometheus.NewRegistry()
	audit := database.StartAuditLog(db.AuditLogConfig{Replica: "test", Registry: registry})
	t.Cleanup(audit.Close)
	r.handler, err = api.New(api.Config{
		URL: issuerURL, Credentials: credentials, Directory: directory, Issuer: issuer, Keys: r.keys, Audit: audit,
		Contract: usher.OpenAPI, Logger: slog.New(slog.DiscardHandler), Registry: registry,
	})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// addKey creates an API key that may grant rooms, and one store, with an access.
func (r *rig) addKey(t *testing.T, access permissions.Access, rooms string) (text, id string) {
	t.Helper()
	key, parsed, err := identity.NewAPIKey("test")
	if err != nil {
		t.Fatal(err)
	}
	_, err = r.database.AddAPIKey(t.Context(), admin.NewAPIKey{
		ID: parsed.ID, SecretHash: parsed.Hash, Name: parsed.ID, Routes: []string{principal.RouteAuth, principal.RouteAuthorizeUser},
		Patterns: session.Patterns{
			Rooms:  []permissions.Rule{{Pattern: permissions.MustPattern(permissions.RoomKind, rooms), Access: access}},
			Stores: []permissions.Rule{{Pattern: permissions.MustPattern(permissions.StoreKind, "acme_notes"), Access: access}},
		},
	}, "t")
	if err != nil {
		t.Fatal(err)
	}
	return key.Reveal(), parsed.ID
}

// verify returns the claims of a token, verified as by the sync backend.
func (r *rig) verify(t *testing.T, token client.Token, audience string) session.Claims {
	t.Helper()
	keys, err := session.ParseJWKS(r.keys.JWKS(time.Now()))
	if err != nil {
		t.Fatal(err)
	}
	verifier, err := session.NewVerifier(session.VerifierConfig{Issuer: issuerURL, Audience: audience, Keys: keys})
	if err != nil {
		t.Fatal(err)
	}
	claims, err := verifier.Verify(t.Context(), token.Text.Reveal())
	if err != nil {
		t.Fatal(err)
	}
	if !token.ExpiresAt.Equal(claims.ExpiresAt) {
		t.Errorf("ExpiresAt = %s, want the claim's %s", token.ExpiresAt, claims.ExpiresAt)
	}
	return claims
}

func (r *rig) tokens(t *testing.T) (n int) {
	t.Helper()
	if err := r.pg.Pool.QueryRow(t.Context(), `SELECT count(*) FROM audit.tokens`).Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}

func serve(t *testing.T, h http.Handler) string {
	t.Helper()
	server := httptest.NewServer(h)
	t.Cleanup(server.Close)
	return server.URL
}

func newClient(t *testing.T, url, key string) *client.Client {
	t.Helper()
	c, err := client.New(client.Config{URL: url, APIKey: key})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// The token is the same that the user would get themselves.
func TestToken(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	key, _ := r.addKey(t, permissions.Full, "*")
	c := newClient(t, serve(t, r.handler), key)
	for name, test := range map[string]struct {
		ask      func(context.Context) (client.Token, error)
		audience string
		org      string
		opens    map[permissions.Resource]permissions.Access
	}{
		"a room": {
			func(ctx context.Context) (client.Token, error) {
				return c.TokenFor(ctx, "ada", permissions.Room("acme:design:1"))
			},
			"liveblocks", "",
			map[permissions.Resource]permissions.Access{
				permissions.Room("acme:design:1"): permissions.Full, permissions.Room("acme:1"): permissions.Read,
				permissions.Room("globex:1"): permissions.Read, permissions.Store("acme_notes"): permissions.None,
			},
		},
		"a store": {
			func(ctx context.Context) (client.Token, error) {
				return c.TokenFor(ctx, "ada", permissions.Store("acme_notes"))
			},
			"livestore", "",
			map[permissions.Resource]permissions.Access{permissions.Store("acme_notes"): permissions.Full, permissions.Room("acme:1"): permissions.None},
		},
		"an organization": {
			func(ctx context.Context) (client.Token, error) {
				return c.Token(ctx, client.Request{UserID: "ada", Organization: "globex", Room: "globex:1"})
			},
			"liveblocks", "globex",
			map[permissions.Resource]permissions.Access{permissions.Room("globex:1"): permissions.Read, permissions.Room("acme:1"): permissions.None},
		},
		"all of one audience": {
			func(ctx context.Context) (client.Token, error) {
				return c.Token(ctx, client.Request{UserID: "ada", Audience: "livestore"})
			},
			"livestore", "",
			map[permissions.Resource]permissions.Access{permissions.Store("acme_notes"): permissions.Full},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			token, err := test.ask(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			claims := r.verify(t, token, test.audience)
			if claims.Subject != "ada" || claims.Organization != test.org {
				t.Errorf("the token is of %q in %q, want ada in %q", claims.Subject, claims.Organization, test.org)
			}
			for what, want := range test.opens {
				if got := claims.Access(what); got != want {
					t.Errorf("%s: access = %s, want %s", what.ID, got, want)
				}
			}
		})
	}
}

func TestPartialToken(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	_, err := r.pg.Pool.Exec(t.Context(), `INSERT INTO usher.grants (subject_kind, subject_id, resource_kind, pattern, access, created_by)
		SELECT 'user', 'grace', 'room', 'r' || n, 'full', 't' FROM generate_series(1, 11) n`)
	if err != nil {
		t.Fatal(err)
	}
	key, _ := r.addKey(t, permissions.Full, "*")
	token, err := newClient(t, serve(t, r.handler), key).TokenFor(t.Context(), "grace", permissions.Room("r11"))
	if err != nil {
		t.Fatal(err)
	}
	if !token.Partial || !r.verify(t, token, "liveblocks").Can(permissions.Room("r11"), permissions.Full) {
		t.Errorf("Partial = %t, want the room that was named, and not all", token.Partial)
	}
}

// The allowed patterns are in the token, without those that others cover, in an order in
// which every reader gets the same access.
func TestSession(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	key, _ := r.addKey(t, permissions.Full, "*")
	token, err := newClient(t, serve(t, r.handler)+"/", key).
		PrepareSession("somebody <3 & co").
		UserInfo(struct{ Name string }{"José <3"}).
		Organization("acme").
		Allow("acme:*", permissions.Read).
		Allow("acme:design:1", permissions.Full).
		Allow("acme:design:2", permissions.Read). // acme:* has it
		Allow("other \"*", permissions.Read).
		Allow("other \"*", permissions.Full).
		Allow("none", permissions.None).
		Authorize(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if claims := r.verify(t, token, "liveblocks"); claims.Subject != "somebody <3 & co" || claims.Organization != "acme" {
		t.Errorf("the token is of %q in %q", claims.Subject, claims.Organization)
	}
	payload, err := base64.RawURLEncoding.DecodeString(strings.Split(token.Text.Reveal(), ".")[1])
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		`"perms":{"acme:design:1":["room:write","comments:write"],"other \"*":["room:write","comments:write"],"acme:*":["room:read","room:presence:write","comments:read"]}`,
		`"ui":{"Name":"José <3"}`,
	} {
		if !strings.Contains(string(payload), want) {
			t.Errorf("payload = %s, want %s in it", payload, want)
		}
	}
}

// A session may be authorized again, after more calls too.
func TestSessionTwice(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	key, _ := r.addKey(t, permissions.Full, "*")
	s := newClient(t, serve(t, r.handler), key).PrepareSession("ada")
	if _, err := s.Authorize(t.Context()); !errors.Is(err, client.ErrInvalid) {
		t.Fatalf("error = %v, want ErrInvalid: nothing was allowed", err)
	}
	first, err := s.Allow("a", permissions.Read).Authorize(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	second, err := s.Allow("b", permissions.Full).Authorize(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if a, b := r.verify(t, first, "liveblocks"), r.verify(t, second, "liveblocks"); a.ID == b.ID ||
		a.Can(permissions.Room("b"), permissions.Read) || !b.Can(permissions.Room("a"), permissions.Read) || !b.Can(permissions.Room("b"), permissions.Full) {
		t.Errorf("tokens = %+v and %+v, want the second to open b too", a, b)
	}
}

// Each refusal has its kind and what the developer needs, and does not show the key.
func TestErrors(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	url := serve(t, r.handler)
	good, _ := r.addKey(t, permissions.Full, "*")
	narrow, _ := r.addKey(t, permissions.Read, "acme:*")
	revoked, revokedID := r.addKey(t, permissions.Full, "*")
	if _, err := r.pg.Pool.Exec(t.Context(), `UPDATE usher.api_keys SET revoked_at = now(), revoked_by = 't' WHERE id = $1`, revokedID); err != nil {
		t.Fatal(err)
	}
	unknown, _, err := identity.NewAPIKey("test")
	if err != nil {
		t.Fatal(err)
	}
	kinds := map[string]error{
		"ErrInvalid": client.ErrInvalid, "ErrUnauthorized": client.ErrUnauthorized, "ErrForbidden": client.ErrForbidden, "ErrUnavailable": client.ErrUnavailable,
	}
	token := func(q client.Request) func(*client.Client) error {
		return func(c *client.Client) error {
			_, err := c.Token(t.Context(), q)
			return err
		}
	}
	tokenFor := func(user string, what permissions.Resource) func(*client.Client) error {
		return func(c *client.Client) error {
			_, err := c.TokenFor(t.Context(), user, what)
			return err
		}
	}
	authorize := func(user string, change func(*client.Session)) func(*client.Client) error {
		return func(c *client.Client) error {
			s := c.PrepareSession(user)
			change(s)
			_, err := s.Authorize(t.Context())
			return err
		}
	}
	allow := func(pattern string, access permissions.Access) func(*client.Session) {
		return func(s *client.Session) { s.Allow(pattern, access) }
	}
	for _, test := range []struct {
		name, key string
		do        func(*client.Client) error
		kind      string
		status    int // 0: nothing was sent
		code      string
		text      string // a part of the message
	}{
		{"an unknown key", unknown.Reveal(), tokenFor("ada", permissions.Room("acme:1")), "ErrUnauthorized", 401, "unauthorized", "no valid API key"},
		{"a revoked key", revoked, tokenFor("ada", permissions.Room("acme:1")), "ErrUnauthorized", 401, "unauthorized", ""},
		{"an unknown key's session", unknown.Reveal(), authorize("ada", allow("a", permissions.Read)), "ErrUnauthorized", 403, "INVALID_SECRET_KEY", "Invalid secret key."},
		{"a revoked key's session", revoked, authorize("ada", allow("a", permissions.Read)), "ErrUnauthorized", 403, "INVALID_SECRET_KEY", ""},
		{"no grant", good, tokenFor("ada", permissions.Room("initech:1")), "ErrForbidden", 403, "forbidden", "No grant covers this request."},
		{"an unknown user", good, tokenFor("nobody", permissions.Room("acme:1")), "ErrForbidden", 403, "forbidden", "does not list"},
		{"a disabled user", good, tokenFor("eve", permissions.Room("acme:1")), "ErrForbidden", 403, "forbidden", "disabled"},
		{"a disabled user's session", good, authorize("eve", allow("a", permissions.Read)), "ErrForbidden", 403, "forbidden", "disabled"},
		{"beyond the scope", narrow, tokenFor("ada", permissions.Room("acme:design:1")), "ErrForbidden", 403, "forbidden", "scope"},
		{"a session beyond the scope", narrow, authorize("ada", allow("acme:1", permissions.Full)), "ErrForbidden", 403, "forbidden", "scope"},
		{"no user", good, token(client.Request{Room: "acme:1"}), "ErrInvalid", 400, "bad_request", "userId"},
		{"a bad room", good, token(client.Request{UserID: "ada", Room: "acme:*"}), "ErrInvalid", 400, "bad_request", "room id"},
		{"an unlisted audience", good, token(client.Request{UserID: "ada", Audience: "evil"}), "ErrInvalid", 400, "bad_request", "audience"},
		{"too large", good, token(client.Request{UserID: strings.Repeat("a", 65<<10)}), "ErrInvalid", 413, "payload_too_large", "64 KiB"},
		{"a session of no user", good, authorize("", allow("a", permissions.Read)), "ErrInvalid", 422, "UNPROCESSABLE_ENTITY", "userId"},
		{"11 patterns", good, authorize("ada", func(s *client.Session) {
			for i := range 11 {
				s.Allow(fmt.Sprintf("r%d", i), permissions.Read)
			}
		}), "ErrInvalid", 422, "UNPROCESSABLE_ENTITY", "10 permissions"},
		{"info of 1,025 characters", good, authorize("ada", func(s *client.Session) {
			s.Allow("a", permissions.Read).UserInfo(map[string]string{"n": strings.Repeat("n", 1017)})
		}), "ErrInvalid", 422, "UNPROCESSABLE_ENTITY", "1024"},

		{"an empty room", good, tokenFor("ada", permissions.Room("")), "ErrInvalid", 0, "", "is empty"},
		{"an empty store", good, tokenFor("ada", permissions.Store("")), "ErrInvalid", 0, "", "is empty"},
		{"neither room nor store", good, tokenFor("ada", permissions.Resource{ID: "acme:1"}), "ErrInvalid", 0, "", "kind"},
		{"a user who is not UTF-8", good, tokenFor("ada\xff", permissions.Room("acme:1")), "ErrInvalid", 0, "", "UTF-8"},
		{"a session's user who is not UTF-8", good, authorize("ada\xff", allow("a", permissions.Read)), "ErrInvalid", 0, "", "UTF-8"},
		{"a bad pattern", good, authorize("ada", allow("a**", permissions.Read)), "ErrInvalid", 0, "", `"a**"`},
		{"the first fault", good, authorize("ada", func(s *client.Session) {
			s.Allow("", permissions.Read).Allow("a**", permissions.Read)
		}), "ErrInvalid", 0, "", "is empty"},
		{"no access", good, authorize("ada", allow("a", permissions.Access(7))), "ErrInvalid", 0, "", "Access(7)"},
		{"nothing but none", good, authorize("ada", allow("a", permissions.None)), "ErrInvalid", 0, "", "allows nothing"},
		{"info in a list", good, authorize("ada", func(s *client.Session) {
			s.Allow("a", permissions.Read).UserInfo([]string{"Ada"})
		}), "ErrInvalid", 0, "", "JSON object"},
		{"info that is not JSON", good, authorize("ada", func(s *client.Session) {
			s.Allow("a", permissions.Read).UserInfo(func() {})
		}), "ErrInvalid", 0, "", "json"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			err := test.do(newClient(t, url, test.key))
			if err == nil || !strings.Contains(err.Error(), test.text) || strings.Contains(err.Error(), test.key) {
				t.Fatalf("error = %v, want %q in it, and no key", err, test.text)
			}
			for name, kind := range kinds {
				if got, want := errors.Is(err, kind), name == test.kind; got != want {
					t.Errorf("errors.Is(%v, %s) = %t, want %t", err, name, got, want)
				}
			}
			e, answered := errors.AsType[*client.Error](err)
			if answered != (test.status != 0) {
				t.Fatalf("error = %#v, want an answer of status %d", err, test.status)
			}
			if answered && (e.Status != test.status || e.Code != test.code || e.Reason == "" || len(e.RequestID) != 26) {
				t.Errorf("error = %+v, want status %d and code %s", *e, test.status, test.code)
			}
		})
	}
}

// front refuses the first n requests and passes on the rest.
type front struct {
	next     http.Handler
	requests atomic.Int32
	n        int32
	refuse   http.HandlerFunc
}

func (f *front) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if f.requests.Add(1) <= f.n {
		f.refuse(w, r)
		return
	}
	f.next.ServeHTTP(w, r)
}

func refuse(status int, retryAfter string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		if retryAfter != "" {
			w.Header().Set("Retry-After", retryAfter)
		}
		w.WriteHeader(status)
		_, _ = io.WriteString(w, "<html>a proxy's page</html>")
	}
}

// Only one token is issued, however often usher refuses before it answers.
func TestRetriesIssueOneToken(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	key, _ := r.addKey(t, permissions.Full, "*")
	f := &front{next: r.handler, n: 2, refuse: refuse(503, "")}
	token, err := newClient(t, serve(t, f), key).TokenFor(t.Context(), "ada", permissions.Room("acme:design:1"))
	if err != nil {
		t.Fatal(err)
	}
	r.verify(t, token, "liveblocks")
	if got, tokens := f.requests.Load(), r.tokens(t); got != 3 || tokens != 1 {
		t.Errorf("%d requests and %d tokens on record, want 3 and 1", got, tokens)
	}
}

// If a connection breaks, a token may have been issued. The request is not sent again, even
// if the connection was used before.
func TestNoRetryOnceSent(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	key, _ := r.addKey(t, permissions.Full, "*")
	var requests atomic.Int32
	c := newClient(t, serve(t, http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if requests.Add(1) == 1 {
			r.handler.ServeHTTP(w, req)
			return
		}
		r.handler.ServeHTTP(httptest.NewRecorder(), req) // issued, and lost
		panic(http.ErrAbortHandler)
	})), key)
	for n := range 2 {
		_, err := c.TokenFor(t.Context(), "ada", permissions.Room("acme:1"))
		if lost := n == 1; lost != errors.Is(err, client.ErrUnavailable) {
			t.Errorf("call %d: %v, want ErrUnavailable: %t", n+1, err, lost)
		}
	}
	if got, tokens := requests.Load(), r.tokens(t); got != 2 || tokens != 2 {
		t.Errorf("%d requests and %d tokens on record, want 2 and 2", got, tokens)
	}
}

// direct is a connection without a network, for synctest bubbles.
type direct struct{ http.Handler }

func (d direct) RoundTrip(r *http.Request) (*http.Response, error) {
	w := httptest.NewRecorder()
	d.ServeHTTP(w, r)
	return w.Result(), nil
}

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

var issued = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
	_, _ = io.WriteString(w, `{"token":"`+fakeToken+`","expiresAt":"2027-01-15T08:05:00Z"}`)
})

func TestRetries(t *testing.T) {
	t.Parallel()
	const pauses = 600 * time.Millisecond // at most, of two
	for _, test := range []struct {
		name     string
		refuse   http.HandlerFunc
		n        int32
		requests int32
		least    time.Duration // that the call takes
		most     time.Duration
		status   int // of the error; 0: there is a token
	}{
		{"once", refuse(503, ""), 1, 2, 100 * time.Millisecond, 200 * time.Millisecond, 0},
		{"twice", refuse(503, "0"), 2, 3, 300 * time.Millisecond, pauses, 0},
		{"three times", refuse(503, ""), 3, 3, 300 * time.Millisecond, pauses, 503},
		{"in seconds", refuse(503, "3"), 2, 3, 6 * time.Second, 6 * time.Second, 0},
		{"a limit", refuse(429, "2"), 1, 2, 2 * time.Second, 2 * time.Second, 0},
		{"a date", func(w http.ResponseWriter, r *http.Request) {
			refuse(503, time.Now().Add(4*time.Second).UTC().Format(http.TimeFormat))(w, r)
		}, 1, 2, 4 * time.Second, 4 * time.Second, 0},
		{"a date that is over", refuse(503, "Fri, 01 Jan 1999 00:00:00 GMT"), 1, 2, 100 * time.Millisecond, 200 * time.Millisecond, 0},
		{"no time", refuse(503, "soon"), 1, 2, 100 * time.Millisecond, 200 * time.Millisecond, 0},
		{"later than the call may last", refuse(503, "11"), 1, 1, 0, 0, 503},
		{"too many seconds", refuse(503, "18446744073709551615"), 1, 2, 100 * time.Millisecond, 200 * time.Millisecond, 0},
		{"a fault", refuse(500, "1"), 1, 1, 0, 0, 500},
		{"a bad gateway", refuse(502, "1"), 1, 1, 0, 0, 502},
		{"a slow gateway", refuse(504, "1"), 1, 1, 0, 0, 504},
		{"a proxy's refusal", refuse(403, "1"), 1, 1, 0, 0, 403},
		{"nothing here", refuse(404, "1"), 1, 1, 0, 0, 404},
		{"no token", refuse(200, "1"), 1, 1, 0, 0, 200},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				f := &front{next: issued, n: test.n, refuse: test.refuse}
				c, err := client.New(client.Config{URL: issuerURL, APIKey: someKey, Transport: direct{f}})
				if err != nil {
					t.Fatal(err)
				}
				began := time.Now()
				token, err := c.TokenFor(t.Context(), "ada", permissions.Room("acme:1"))
				if took := time.Since(began); took < test.least || took > test.most {
					t.Errorf("the call took %s, want %s to %s", took, test.least, test.most)
				}
				if got := f.requests.Load(); got != test.requests {
					t.Errorf("%d requests, want %d", got, test.requests)
				}
				if test.status == 0 {
					if err != nil || token.Text.Reveal() != fakeToken {
						t.Errorf("token = %q, %v", token.Text.Reveal(), err)
					}
					return
				}
				e, ok := errors.AsType[*client.Error](err)
				if !ok || e.Status != test.status || e.Code != "" || strings.Contains(err.Error(), "<") {
					t.Errorf("error = %v, want status %d without the page", err, test.status)
				}
				if got, want := errors.Is(err, client.ErrUnavailable), test.status >= 500; got != want || errors.Is(err, client.ErrForbidden) {
					t.Errorf("errors.Is(%v, ErrUnavailable) = %t, want %t; and never ErrForbidden", err, got, want)
				}
			})
		})
	}
}

// If no server listens, nothing was sent, and the client tries again.
func TestRetriesConnecting(t *testing.T) {
	t.Parallel()
	listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := listener.Addr().String()
	if err := listener.Close(); err != nil {
		t.Fatal(err)
	}
	var dials int
	transport := &http.Transport{DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
		dials++
		return new(net.Dialer).DialContext(ctx, network, address)
	}}
	c, err := client.New(client.Config{URL: "http://" + address, APIKey: someKey, Transport: transport})
	if err != nil {
		t.Fatal(err)
	}
	if _, err = c.PrepareSession("ada").Allow("a", permissions.Read).Authorize(t.Context()); !errors.Is(err, client.ErrUnavailable) || dials != 3 {
		t.Errorf("%v after %d connections, want ErrUnavailable after 3", err, dials)
	}
}

func TestDeadlines(t *testing.T) {
	t.Parallel()
	hangs := roundTrip(func(r *http.Request) (*http.Response, error) {
		<-r.Context().Done()
		return nil, r.Context().Err()
	})
	for _, test := range []struct {
		name      string
		transport http.RoundTripper
		within    time.Duration // the context's; 0: none
		cancel    time.Duration // 0: never
		took      time.Duration
		want      error
		available bool // the fault is not usher's
	}{
		{"none", hangs, 0, 0, 10 * time.Second, context.DeadlineExceeded, false},
		{"a shorter one", hangs, time.Second, 0, time.Second, context.DeadlineExceeded, false},
		{"a longer one", hangs, time.Minute, 0, time.Minute, context.DeadlineExceeded, false},
		{"canceled", hangs, 0, time.Second, time.Second, context.Canceled, true},
		{"canceled between two tries", direct{refuse(503, "5")}, 0, time.Second, time.Second, context.Canceled, false},
		{"too short for another try", direct{refuse(503, "5")}, 4 * time.Second, 0, 0, client.ErrUnavailable, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				c, err := client.New(client.Config{URL: issuerURL, APIKey: someKey, Transport: test.transport})
				if err != nil {
					t.Fatal(err)
				}
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				if test.within > 0 {
					ctx, cancel = context.WithTimeout(ctx, test.within)
					defer cancel()
				}
				if test.cancel > 0 {
					time.AfterFunc(test.cancel, cancel)
				}
				began := time.Now()
				_, err = c.TokenFor(ctx, "ada", permissions.Room("acme:1"))
				if took := time.Since(began); took != test.took || !errors.Is(err, test.want) {
					t.Errorf("%v after %s, want %v after %s", err, took, test.want, test.took)
				}
				if got := errors.Is(err, client.ErrUnavailable); got == test.available {
					t.Errorf("errors.Is(%v, ErrUnavailable) = %t", err, got)
				}
			})
		})
	}
}

// The key is sent only to the configured address.
func TestRedirectIsNotFollowed(t *testing.T) {
	t.Parallel()
	var followed atomic.Int32
	elsewhere := serve(t, http.HandlerFunc(func(http.ResponseWriter, *http.Request) { followed.Add(1) }))
	for _, status := range []int{301, 302, 303, 307, 308} {
		c := newClient(t, serve(t, http.RedirectHandler(elsewhere, status)), someKey)
		_, err := c.TokenFor(t.Context(), "ada", permissions.Room("acme:1"))
		if e, ok := errors.AsType[*client.Error](err); !ok || e.Status != status {
			t.Errorf("error = %v, want status %d", err, status)
		}
	}
	if got := followed.Load(); got != 0 {
		t.Errorf("%d redirects were followed", got)
	}
}

// An answer of 200 that is not from usher gives no token, and does not fill the memory.
func TestAnswersThatAreNone(t *testing.T) {
	t.Parallel()
	claims := func(text string) string {
		return `{"token":"e30.` + base64.RawURLEncoding.EncodeToString([]byte(text)) + `.c2ln"}`
	}
	for name, body := range map[string]string{
		"empty": ``, "a page": `<html>`, "no token": `{}`, "a number": `{"token":7}`, "no parts": `{"token":"abc"}`,
		"two parts": `{"token":"e30.e30"}`, "no base64": `{"token":"e30.!.c2ln"}`, "no claims": claims(`[]`), "no exp": claims(`{"sub":"ada"}`),
		"cut off": `{"token":"` + fakeToken + `"`, "two values": `{"token":"` + fakeToken + `"}{}`,
		"a huge token": `{"token":"` + strings.Repeat("a", 1<<20) + `"}`, "a huge rest": `{"token":"` + fakeToken + `"}` + strings.Repeat(" ", 1<<20),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			read := &counter{Reader: strings.NewReader(body)}
			c, err := client.New(client.Config{URL: issuerURL, APIKey: someKey, Transport: roundTrip(func(*http.Request) (*http.Response, error) {
				return &http.Response{StatusCode: http.StatusOK, Header: http.Header{}, Body: io.NopCloser(read)}, nil
			})})
			if err != nil {
				t.Fatal(err)
			}
			token, err := c.TokenFor(t.Context(), "ada", permissions.Room("acme:1"))
			if e, ok := errors.AsType[*client.Error](err); !ok || e.Status != http.StatusOK || !token.Text.IsEmpty() {
				t.Errorf("token = %q, %v; want an *Error of status 200", token.Text.Reveal(), err)
			}
			if read.n > 64<<10+1 {
				t.Errorf("%d bytes were read", read.n)
			}
		})
	}
}

type counter struct {
	io.Reader
	n int
}

func (c *counter) Read(p []byte) (int, error) {
	n, err := c.Reader.Read(p)
	c.n += n
	return n, err
}

func TestNewReportsEveryFault(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name string
		cfg  client.Config
		want []string // the lines of the error
	}{
		{"https", client.Config{URL: "https://auth.example.com/usher/", APIKey: someKey}, nil},
		{"loopback", client.Config{URL: "http://localhost:8080", APIKey: someKey}, nil},
		{"loopback of IPv6", client.Config{URL: "http://[::1]:8080", APIKey: someKey}, nil},
		{"http by name", client.Config{URL: "http://usher:8080", APIKey: someKey, AllowHTTP: true}, nil},
		{"nothing", client.Config{}, []string{"URL is not an absolute https URL", "APIKey is not a secret key, which begins with sk_ and has only letters, digits, _ and -"}},
		{"http to another host", client.Config{URL: "http://auth.example.com", APIKey: someKey}, []string{"URL is http to another host"}},
		{"a password", client.Config{URL: "https://a:canary@auth.example.com", APIKey: someKey}, []string{"URL has a password, a query or a fragment"}},
		{"a query", client.Config{URL: "https://auth.example.com?key=canary", APIKey: someKey}, []string{"URL has a password, a query or a fragment"}},
		{"no URL", client.Config{URL: "https://canary:x", APIKey: someKey}, []string{"URL is not an absolute https URL"}},
		{"another scheme", client.Config{URL: "ftp://auth.example.com", APIKey: someKey}, []string{"URL is not an absolute https URL"}},
		{"a public key", client.Config{URL: issuerURL, APIKey: "pk_canary"}, []string{"APIKey is not a secret key, which begins with sk_ and has only letters, digits, _ and -"}},
		{"a key with its newline", client.Config{URL: issuerURL, APIKey: "sk_canary\n"}, []string{"APIKey is not a secret key, which begins with sk_ and has only letters, digits, _ and -"}},
	} {
		_, err := client.New(test.cfg)
		var got []string
		if err != nil {
			text, found := strings.CutPrefix(err.Error(), "client: bad config: ")
			if !found || strings.Contains(text, "canary") {
				t.Errorf("%s: error = %v", test.name, err)
			}
			got = strings.Split(text, "\n")
		}
		if diff := cmp.Diff(test.want, got); diff != "" {
			t.Errorf("%s: faults (-want +got):\n%s", test.name, diff)
		}
	}
}

// Paths are below the path of the URL, for a proxy that serves usher there.
func TestPathOfURL(t *testing.T) {
	t.Parallel()
	r := newRig(t)
	key, _ := r.addKey(t, permissions.Full, "*")
	c := newClient(t, serve(t, http.StripPrefix("/usher", r.handler))+"/usher", key)
	if _, err := c.TokenFor(t.Context(), "ada", permissions.Room("acme:1")); err != nil {
		t.Error(err)
	}
	if _, err := c.PrepareSession("ada").Allow("a", permissions.Read).Authorize(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestSecretsAreNotPrinted(t *testing.T) {
	t.Parallel()
	c, err := client.New(client.Config{URL: issuerURL, APIKey: someKey, Transport: direct{issued}})
	if err != nil {
		t.Fatal(err)
	}
	token, err := c.TokenFor(t.Context(), "ada", permissions.Room("acme:1"))
	if err != nil {
		t.Fatal(err)
	}
	encoded, err := json.Marshal(token)
	if err != nil {
		t.Fatal(err)
	}
	printed := string(encoded)
	for _, v := range []any{c, *c, token, &token, c.PrepareSession("ada")} {
		printed += fmt.Sprintf("%v %+v %#v", v, v, v)
	}
	if strings.Contains(printed, someKey) || strings.Contains(printed, fakeToken) {
		t.Errorf("a secret is in %s", printed)
	}
}
