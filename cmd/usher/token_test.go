package main

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/usher-auth/usher/db"
	"github.com/usher-auth/usher/db/dbtest"
	"github.com/usher-auth/usher/internal/admin"
	"github.com/usher-auth/usher/internal/codes"
	"github.com/usher-auth/usher/internal/secret"
	"github.com/usher-auth/usher/permissions"
	"github.com/usher-auth/usher/session"
)

const testIssuer = "https://auth.example.com"

// newIssuing returns a database that can issue tokens. It has a signing key, ada, who may
// write acme:design:*, and eve, who is disabled. flags are the flags for issuing.
func newIssuing(t *testing.T) (pg *dbtest.DB, u terminal, flags string) {
	t.Helper()
	pg = dbtest.New(t)
	_, err := pg.Pool.Exec(t.Context(), `
		INSERT INTO usher.users (id, info, disabled_at, created_by) VALUES ('ada', '{"name": "Ada"}', NULL, 't'), ('eve', NULL, now(), 't');
		INSERT INTO usher.organizations (id, created_by) VALUES ('acme', 't');
		INSERT INTO usher.memberships (user_id, member_of_kind, member_of_id, created_by) VALUES ('ada', 'organization', 'acme', 't');
		INSERT INTO usher.grants (subject_kind, subject_id, resource_kind, pattern, access, created_by) VALUES
			('organization', 'acme', 'room', 'acme:*', 'read', 't'), ('user', 'ada', 'room', 'acme:design:*', 'full', 't'),
			('user', 'ada', 'store', 'acme_notes', 'full', 't')`)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "kek")
	if err := os.WriteFile(file, []byte("m3Qx0f9mV1vJc7tB0b5Zk2yqC4n8oXhWl6uR1sTzE9A="), 0o600); err != nil {
		t.Fatal(err)
	}
	key := " --key-encryption-key-file " + file
	decode[admin.SigningKeyTimes](terminal{t, pg.URL}, "key create --json"+key)
	return pg, terminal{t, pg.ServiceURL}, key + " --url " + testIssuer
}

func TestTokenIssueCommand(t *testing.T) {
	t.Parallel()
	pg, u, flags := newIssuing(t)
	code, stdout, stderr := u.run(strings.Fields("token issue ada --room acme:design:1 --org acme --actor me" + flags)...)
	if code != 0 || strings.Count(stdout, ".") != 2 || strings.Count(stdout, "\n") != 1 || !strings.HasPrefix(stderr, "issued a token of user ada for liveblocks until ") {
		t.Fatalf("exit %d, printed %q and %q", code, stdout, stderr)
	}
	database, err := db.Open(secret.New(pg.ServiceURL))
	if err != nil {
		t.Fatal(err)
	}
	defer database.Close()
	keys, err := database.PublishedKeys(t.Context())
	if err != nil || keys.Len() != 1 {
		t.Fatalf("PublishedKeys = %d keys, %v", keys.Len(), err)
	}
	verifier, err := session.NewVerifier(session.VerifierConfig{Issuer: testIssuer, Audience: "liveblocks", Keys: keys})
	if err != nil {
		t.Fatal(err)
	}
	claims, err := verifier.Verify(t.Context(), strings.TrimSpace(stdout))
	if err != nil || claims.Subject != "ada" || claims.Organization != "acme" || !claims.Can(permissions.Room("acme:design:1"), permissions.Full) {
		t.Fatalf("claims = %+v, %v", claims, err)
	}
	issued := decode[issuedToken](u, "token issue ada --store acme_notes --json --actor me"+flags)
	if issued.Audience != "livestore" || text(t, issued.Patterns) != `{"stores":{"acme_notes":"full"}}` {
		t.Errorf("issued %+v", issued)
	}

	u.refuses("token issue ada --room globex:1 --actor me"+flags, 1, "refused (no_grant)")
	u.refuses("token issue eve --actor me"+flags, 1, "refused (user_disabled)")
	u.refuses("token issue zoe --actor me"+flags, 1, "refused (user_unknown)")
	// Invalid requests leave no row.
	u.refuses("token issue ada --room acme:*"+flags, 1, "'*'")
	u.refuses("token issue ada --audience nobody"+flags, 1, "The audience must be one of")
	u.refuses("token issue ada --room acme:1 --store acme_notes"+flags, 1, "two requests")
	u.refuses("token issue"+flags, 2, "<user>")
	u.refuses("token issue ada", 2, "--url")
	u.refuses("token issue ada --url http://auth.example.com", 1, "must start with https")
	u.refuses("token issue ada --url "+testIssuer, 1, "--key-encryption-key is missing")

	var rows string
	err = pg.Pool.QueryRow(t.Context(), `SELECT string_agg(concat_ws(' ', result, reason, caller_kind, caller_id, user_id, organization_id, room, store), E'\n' ORDER BY id)
		FROM usher.decisions`).Scan(&rows)
	want := `issued operator me ada acme acme:design:1
issued operator me ada acme_notes
denied no_grant operator me ada globex:1
denied user_disabled operator me eve
denied user_unknown operator me zoe`
	if err != nil || rows != want {
		t.Errorf("audit rows, %v:\n%s\nwant\n%s", err, rows, want)
	}
	var jtis int
	if err := pg.Pool.QueryRow(t.Context(), `SELECT count(*) FROM audit.tokens WHERE jti IN ($1, $2)`, claims.ID, issued.JTI).Scan(&jtis); err != nil || jtis != 2 {
		t.Errorf("the audit has %d of the 2 tokens, %v", jtis, err)
	}
}

// Without a row, there is no token.
func TestTokenIssueWithoutAudit(t *testing.T) {
	t.Parallel()
	pg, u, flags := newIssuing(t)
	for _, sql := range []string{
		"REVOKE INSERT (issued_at) ON usher.decisions FROM usher_service_test",
		"ALTER DATABASE " + pg.Pool.Config().ConnConfig.Database + " SET synchronous_commit = off",
	} {
		if _, err := pg.Pool.Exec(t.Context(), sql); err != nil {
			t.Fatal(err)
		}
		u.refuses("token issue ada"+flags, 1, "usher: ")
	}
}

func text(t *testing.T, p session.Patterns) string {
	t.Helper()
	b, err := p.MarshalJSON()
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestTokenInspectCommand(t *testing.T) {
	t.Parallel()
	now := time.Now().Truncate(time.Second)
	key, err := session.GenerateKey(session.EdDSA, session.KeyTimes{})
	if err != nil {
		t.Fatal(err)
	}
	keySet := session.MarshalJWKS([]session.JWK{key.PublicJWK()})
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/.well-known/jwks.json" {
			http.NotFound(w, r)
			return
		}
		_, _ = w.Write(keySet)
	}))
	t.Cleanup(server.Close)
	file := filepath.Join(t.TempDir(), "jwks.json")
	if err := os.WriteFile(file, keySet, 0o600); err != nil {
		t.Fatal(err)
	}
	issuer, err := session.NewIssuer(session.IssuerConfig{Issuer: server.URL, Keys: session.NewKeyring(key), TTL: session.MaxTTL})
	if err != nil {
		t.Fatal(err)
	}
	issue := func(at time.Time) string {
		token, err := issuer.Prepare(session.User{ID: "ada", Organization: "acme", Info: []byte(`{"name":"Ada \u001b[31m"}`)}).
			Allow("acme:*", permissions.Read).Allow("acme:design:*", permissions.Full).At(at).Authorize()
		if err != nil {
			t.Fatal(err)
		}
		return token.Text.Reveal()
	}
	good, expired := issue(now), issue(now.Add(-2*time.Hour))
	parts := strings.Split(good, ".")
	forged := parts[0] + "." + base64.RawURLEncoding.EncodeToString([]byte(`{"iss":"`+server.URL+`","sub":"ro\u001b[31mot","aud":"liveblocks","exp":1}`)) + "." + parts[2]
	otherKey, err := session.GenerateKey(session.EdDSA, session.KeyTimes{})
	if err != nil {
		t.Fatal(err)
	}
	otherFile := filepath.Join(t.TempDir(), "other.json")
	if err := os.WriteFile(otherFile, session.MarshalJWKS([]session.JWK{otherKey.PublicJWK()}), 0o600); err != nil {
		t.Fatal(err)
	}

	const unverified = "Contents, not verified:"
	for name, test := range map[string]struct {
		args   string
		code   int
		parts  []string // parts of stdout, then of stderr
		absent string
	}{
		"valid": {"--url " + server.URL + " " + good, 0, []string{
			"Valid: signed by a key from " + server.URL + "/.well-known/jwks.json; expires in ", "user          ada\n", "organization  acme\n", "backend       liveblocks\n",
			"issuer        " + server.URL + "\n", ", in ", `{"name":"Ada \u001b[31m"}`, "room          acme:*         read\n", "room          acme:design:*  full\n",
		}, unverified},
		"by a file":             {"--jwks " + file + " " + good, 0, []string{"Valid: signed by a key from " + file, "(as the token says: no --url was given)"}, unverified},
		"by its own issuer":     {"--trust-issuer " + good, 0, []string{"Valid: signed by a key from " + server.URL, "(as the token says: no --url was given)"}, unverified},
		"without keys":          {good, 0, []string{"Not verified, because no keys were given.", unverified, "ada"}, "Valid"},
		"expired":               {"--url " + server.URL + " " + expired, 1, []string{"Invalid: it expired ", "everything else is valid", "user          ada\n"}, unverified},
		"for somebody else":     {"--audience livestore --url " + server.URL + " " + good, 1, []string{"Invalid: it is for liveblocks, not for livestore."}, unverified},
		"of somebody else":      {"--jwks " + file + " --url https://other.example " + good, 1, []string{"Invalid: its issuer is " + server.URL + ", not https://other.example."}, unverified},
		"forged":                {"--url " + server.URL + " " + forged, 1, []string{"Invalid: its signature is invalid: the token was changed or forged.", unverified, `"ro\x1b[31mot"`}, "Valid"},
		"an unknown key":        {"--jwks " + otherFile + " " + good, 1, []string{"Invalid: its key " + key.ID() + " is not among the keys from " + otherFile, unverified}, "Valid"},
		"cut off":               {"--url " + server.URL + " " + parts[0] + "." + parts[1], 1, []string{"Invalid: it is malformed: not three parts separated by dots."}, "user"},
		"a word":                {"hello", 1, []string{"usher: this is not an usher token"}, "user"},
		"no key set":            {"--url " + server.URL + "/nowhere " + good, 1, []string{"usher: the token could not be checked: ", "answered 404"}, "alid:"},
		"no such file":          {"--jwks /nowhere " + good, 1, []string{"usher: "}, "alid:"},
		"two sources":           {"--trust-issuer --url " + server.URL + " " + good, 1, []string{"--trust-issuer cannot be used with --url, USHER_URL or --jwks"}, "alid:"},
		"without TLS":           {"--url http://auth.example.com " + good, 1, []string{"URL is http to another host"}, "alid:"},
		"nobody to trust":       {"--trust-issuer a.b.c", 1, []string{"is not a URL, so its keys cannot be fetched"}, "alid:"},
		"an empty file of keys": {"--jwks " + os.DevNull + " " + good, 1, []string{"usher: "}, "alid:"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var out, errs bytes.Buffer
			code := run(t.Context(), strings.Fields("token inspect "+test.args), &out, &errs)
			printed := out.String() + errs.String()
			if code != test.code {
				t.Errorf("exit code %d, want %d", code, test.code)
			}
			for _, part := range test.parts {
				if !strings.Contains(printed, part) {
					t.Errorf("lacks %q", part)
				}
			}
			if strings.Contains(printed, test.absent) || strings.ContainsRune(printed, '\x1b') {
				t.Errorf("holds %q, or an escape", test.absent)
			}
			if t.Failed() {
				t.Log(printed)
			}

			// If there are keys, verify agrees.
			if strings.HasPrefix(test.args, "--") {
				if verified := run(t.Context(), strings.Fields("token verify "+test.args), &out, &errs); verified != code {
					t.Errorf("usher token verify: exit code %d, inspect %d", verified, code)
				}
			}
		})
	}

	t.Run("JSON", func(t *testing.T) {
		t.Parallel()
		var out, errs bytes.Buffer
		code := run(t.Context(), []string{"token", "inspect", "--json", "--url", server.URL, expired}, &out, &errs)
		var got inspection
		if err := json.Unmarshal(out.Bytes(), &got); err != nil || code != 1 || errs.Len() > 0 {
			t.Fatalf("exit %d, %v, %s%s", code, err, &out, &errs)
		}
		if got.Valid == nil || *got.Valid || got.Code != "token_expired" || got.Claims.Subject != "ada" || got.Header.KeyID != key.ID() {
			t.Errorf("inspected %+v", got)
		}
	})
	t.Run("stdin", func(t *testing.T) {
		t.Parallel()
		var out bytes.Buffer
		c := tokenInspectCmd{keySourceFlags: keySourceFlags{JWKS: file}}
		if err := c.Run(t.Context(), &console{in: strings.NewReader(good + "\n"), out: &out}); err != nil || !strings.HasPrefix(out.String(), "Valid: ") {
			t.Errorf("%v: %s", err, &out)
		}
		for _, in := range []string{"", "\n", strings.Repeat("x", 100_000)} {
			if err := c.Run(t.Context(), &console{in: strings.NewReader(in), out: &out}); err == nil {
				t.Errorf("took %d bytes as a token", len(in))
			}
		}
	})
	t.Run("verify without keys", func(t *testing.T) {
		t.Parallel()
		var out, errs bytes.Buffer
		if code := run(t.Context(), []string{"token", "verify", good}, &out, &errs); code != 1 || !strings.Contains(errs.String(), "no keys to verify the token with") {
			t.Errorf("exit %d: %s%s", code, &out, &errs)
		}
	})
}

// Every code of a verifier has its own text.
func TestTokenProblems(t *testing.T) {
	t.Parallel()
	said := map[string]string{}
	for _, code := range codes.All() {
		if code.Where&codes.Token == 0 || code.Text == codes.KeysUnavailable || code.Text == codes.Forbidden {
			continue // not a refusal of [session.Verifier.Verify]
		}
		problem := (&inspection{Code: code.Text}).problem()
		if other, twice := said[problem]; twice || strings.Contains(problem, code.Text) {
			t.Errorf("%s and %s both read %q", code.Text, other, problem)
		}
		said[problem] = code.Text
	}
}
