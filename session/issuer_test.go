package session_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/google/go-cmp/cmp"

	"github.com/usher-auth/usher/permissions"
	"github.com/usher-auth/usher/session"
)

// noon is the time of issue of the tests' tokens, with a fraction that iat drops.
var noon = time.Date(2026, 11, 22, 12, 0, 0, 987_654_321, time.UTC)

var always = session.KeyTimes{PublishedAt: noon.Add(-time.Hour), SignsFrom: noon.Add(-time.Hour)}

// fixedKey is an Ed25519 key from a fixed seed, for golden tokens.
func fixedKey(t testing.TB) *session.SigningKey {
	t.Helper()
	key, err := session.NewSigningKey(ed25519.NewKeyFromSeed([]byte(strings.Repeat("usher.test.", 3)[:32])), always)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func newIssuer(t testing.TB, change func(*session.IssuerConfig)) *session.Issuer {
	t.Helper()
	cfg := session.IssuerConfig{Issuer: "https://auth.example.com", Keys: session.NewKeyring(fixedKey(t))}
	if change != nil {
		change(&cfg)
	}
	issuer, err := session.NewIssuer(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return issuer
}

// claimsOf decodes a token without verifying it.
func claimsOf(t testing.TB, token session.Token) map[string]any {
	t.Helper()
	parts := strings.Split(token.Text.Reveal(), ".")
	if len(parts) != 3 {
		t.Fatalf("token has %d parts, want 3", len(parts))
	}
	payload, err := base64.RawURLEncoding.Strict().DecodeString(parts[1])
	if err != nil {
		t.Fatal(err)
	}
	var claims map[string]any
	if err := json.Unmarshal(payload, &claims); err != nil {
		t.Fatalf("%v in %s", err, payload)
	}
	return claims
}

// The format never changes: deployed verifiers read what is in the golden file. Only jti,
// and therefore the signature, differ from run to run.
func TestTokenIsGolden(t *testing.T) {
	t.Parallel()
	user := session.User{
		ID:           `us"er ü 😀`,
		Info:         json.RawMessage(`{"name": "Ada <3", "color": "#d583f0", "exp": 1}`),
		Organization: "acme",
		Session:      "c2lk",
	}
	tests := map[string]struct {
		request session.Request
		change  func(*session.IssuerConfig)
	}{
		"room":  {request: session.Request{Room: "acme:design:1"}},
		"store": {request: session.Request{Store: "acme_notes"}},
		"both": {change: func(cfg *session.IssuerConfig) {
			cfg.Audiences = []session.Audience{{Name: "sync", Rooms: true, Stores: true}}
			cfg.Project = "demo"
		}},
	}
	var golden map[string]json.RawMessage
	content, err := os.ReadFile("testdata/golden_tokens.json")
	if err == nil {
		err = json.Unmarshal(content, &golden)
	}
	if err != nil {
		t.Fatal(err)
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			token, err := newIssuer(t, test.change).Prepare(user).For(test.request).At(noon).
				Allow("acme:*", permissions.Read).
				Allow("acme:design:*", permissions.Full).
				Allow("acme:design:old", permissions.Read). // covered: not in the token
				AllowStore("acme_notes", permissions.Full).
				Authorize()
			if err != nil {
				t.Fatal(err)
			}
			header, rest, _ := strings.Cut(token.Text.Reveal(), ".")
			payload, _, _ := strings.Cut(rest, ".")
			rawHeader, _ := base64.RawURLEncoding.DecodeString(header)
			rawPayload, _ := base64.RawURLEncoding.DecodeString(payload)
			got := fmt.Sprintf(`{"header":%s,"payload":%s}`, rawHeader, strings.Replace(string(rawPayload), token.ID, "JTI", 1))
			var want bytes.Buffer
			if err := json.Compact(&want, golden[name]); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(want.String(), got); diff != "" {
				t.Errorf("token differs from the golden one (-want +got):\n%s", diff)
			}
		})
	}
}

// A library that shares no code with ours verifies our tokens with the key set that we
// publish.
func TestOthersVerifyOurTokens(t *testing.T) {
	t.Parallel()
	p256, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	es256, err := session.NewSigningKey(p256, always)
	if err != nil {
		t.Fatal(err)
	}
	for _, key := range []*session.SigningKey{fixedKey(t), es256} {
		t.Run(key.Algorithm(), func(t *testing.T) {
			t.Parallel()
			ring := session.NewKeyring(key)
			issuer := newIssuer(t, func(cfg *session.IssuerConfig) { cfg.Keys, cfg.Algorithm = ring, key.Algorithm() })
			token, err := issuer.Prepare(session.User{ID: "ada"}).At(noon).Allow("*", permissions.Read).Authorize()
			if err != nil {
				t.Fatal(err)
			}
			var published jose.JSONWebKeySet
			if err := json.Unmarshal(ring.JWKS(noon), &published); err != nil {
				t.Fatal(err)
			}
			parsed, err := jose.ParseSignedCompact(token.Text.Reveal(), []jose.SignatureAlgorithm{jose.SignatureAlgorithm(key.Algorithm())})
			if err != nil {
				t.Fatal(err)
			}
			if _, err := parsed.Verify(published); err != nil {
				t.Errorf("go-jose refuses our token: %v", err)
			}
			thumbprint, err := published.Keys[0].Thumbprint(5) // crypto.SHA256
			if err != nil {
				t.Fatal(err)
			}
			if got, want := key.ID(), base64.RawURLEncoding.EncodeToString(thumbprint); got != want {
				t.Errorf("kid = %s, want the RFC 7638 thumbprint %s", got, want)
			}
		})
	}
}

func TestAudiences(t *testing.T) {
	t.Parallel()
	two := session.DefaultAudiences()
	one := []session.Audience{{Name: "sync", Rooms: true, Stores: true}, {Name: "backup", Rooms: true}}
	const none = ""
	tests := map[string]struct {
		audiences []session.Audience
		request   session.Request
		want      string // the aud claim, or none for an AudienceError
		claims    string // which of perms and stores the token carries
	}{
		"a room goes to the first that takes rooms":        {two, session.Request{Room: "a:1"}, "liveblocks", "perms"},
		"a store goes to the first that takes stores":      {two, session.Request{Store: "a_1"}, "livestore", "stores"},
		"nothing named goes to the first":                  {two, session.Request{}, "liveblocks", "perms"},
		"nothing named but the audience":                   {two, session.Request{Audience: "livestore"}, "livestore", "stores"},
		"room and store without one that takes both":       {two, session.Request{Room: "a:1", Store: "a_1"}, none, ""},
		"a room for a backend of stores":                   {two, session.Request{Room: "a:1", Audience: "livestore"}, none, ""},
		"an unlisted audience":                             {two, session.Request{Room: "a:1", Audience: "evil"}, none, ""},
		"an audience is not a prefix":                      {two, session.Request{Room: "a:1", Audience: "live"}, none, ""},
		"both for one that takes both":                     {one, session.Request{Room: "a:1", Store: "a_1"}, "sync", "perms stores"},
		"neither for one that takes both":                  {one, session.Request{}, "sync", "perms stores"},
		"a room for one that takes both carries rooms":     {one, session.Request{Room: "a:1"}, "sync", "perms"},
		"a store for one that takes both carries stores":   {one, session.Request{Store: "a_1"}, "sync", "stores"},
		"the second must be named":                         {one, session.Request{Room: "a:1", Audience: "backup"}, "backup", "perms"},
		"a store for the second, which takes none of them": {one, session.Request{Store: "a_1", Audience: "backup"}, none, ""},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			issuer := newIssuer(t, func(cfg *session.IssuerConfig) { cfg.Audiences = test.audiences })
			token, err := issuer.Prepare(session.User{ID: "ada"}).For(test.request).
				Allow("a:*", permissions.Read).AllowStore("a_*", permissions.Read).Authorize()
			if _, refused := errors.AsType[*session.AudienceError](err); refused != (test.want == none) {
				t.Fatalf("Authorize() error = %v, want an AudienceError: %t", err, test.want == none)
			}
			if checkErr := issuer.Check(test.request); (checkErr == nil) != (err == nil) {
				t.Errorf("Check() = %v, but Authorize() = %v", checkErr, err)
			}
			if test.want == none {
				return
			}
			claims := claimsOf(t, token)
			if claims["aud"] != test.want {
				t.Errorf("aud = %v, want %s", claims["aud"], test.want)
			}
			var carried []string
			for _, name := range []string{"perms", "stores"} {
				if _, ok := claims[name]; ok {
					carried = append(carried, name)
				}
			}
			if got := strings.Join(carried, " "); got != test.claims {
				t.Errorf("token carries %q, want %q", got, test.claims)
			}
			// Liveblocks' claims are in every token except one for stores only.
			if _, ok := claims["k"]; ok != strings.Contains(test.claims, "perms") {
				t.Errorf("claim k is there: %t", ok)
			}
		})
	}
}

func TestAuthorizeRefuses(t *testing.T) {
	t.Parallel()
	issuer := newIssuer(t, nil)
	ada := session.User{ID: "ada"}
	tests := map[string]struct {
		session *session.Session
		want    error
	}{
		"nothing granted":              {issuer.Prepare(ada).At(noon), session.ErrNoAccess},
		"another room granted":         {issuer.Prepare(ada).At(noon).For(session.Request{Room: "acme:1"}).Allow("globex:*", permissions.Full), session.ErrNoAccess},
		"only stores granted":          {issuer.Prepare(ada).At(noon).For(session.Request{Room: "acme:1"}).AllowStore("acme_1", permissions.Full), session.ErrNoAccess},
		"access none":                  {issuer.Prepare(ada).At(noon).Allow("*", permissions.None), session.ErrNoAccess},
		"the caller's session is over": {issuer.Prepare(session.User{ID: "ada", Until: noon}).At(noon).Allow("*", permissions.Read), session.ErrSessionExpired},
		"no key signs yet":             {issuer.Prepare(ada).At(noon.Add(-2*time.Hour)).Allow("*", permissions.Read), session.ErrNoSigningKey},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			token, err := test.session.Authorize()
			if !errors.Is(err, test.want) {
				t.Errorf("Authorize() error = %v, want %v", err, test.want)
			}
			if !token.Text.IsEmpty() {
				t.Error("Authorize() returned a token with its error")
			}
		})
	}
	t.Run("a bad pattern", func(t *testing.T) {
		t.Parallel()
		_, err := issuer.Prepare(ada).Allow("a**", permissions.Read).Allow("b*c", permissions.Read).Authorize()
		bad, ok := errors.AsType[*permissions.PatternError](err)
		if !ok || bad.Text != "a**" {
			t.Errorf("Authorize() error = %v, want the PatternError of the first bad pattern", err)
		}
	})
	t.Run("a second time", func(t *testing.T) {
		t.Parallel()
		s := issuer.Prepare(ada).Allow("*", permissions.Read)
		if _, err := s.Authorize(); err != nil {
			t.Fatal(err)
		}
		if _, err := s.Authorize(); !errors.Is(err, session.ErrSessionReused) {
			t.Errorf("second Authorize() error = %v, want %v", err, session.ErrSessionReused)
		}
	})
}

func TestTokenLife(t *testing.T) {
	t.Parallel()
	issuer := newIssuer(t, func(cfg *session.IssuerConfig) { cfg.TTL = 10 * time.Minute })
	for name, test := range map[string]struct {
		until time.Time
		want  int64
	}{
		"the configured life":             {time.Time{}, 600},
		"a longer session does not add":   {noon.Add(time.Hour), 600},
		"never longer than the session":   {noon.Add(90 * time.Second), 90},
		"the session's last whole second": {noon.Truncate(time.Second).Add(1900 * time.Millisecond), 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			token, err := issuer.Prepare(session.User{ID: "ada", Until: test.until}).At(noon).Allow("*", permissions.Read).Authorize()
			if err != nil {
				t.Fatal(err)
			}
			claims := claimsOf(t, token)
			iat, exp := int64(claims["iat"].(float64)), int64(claims["exp"].(float64))
			if iat != noon.Unix() {
				t.Errorf("iat = %d, want the true second of issue %d", iat, noon.Unix())
			}
			if got := exp - iat; got != test.want {
				t.Errorf("exp - iat = %d s, want %d s", got, test.want)
			}
			if token.ExpiresAt.Unix() != exp || !token.IssuedAt.Equal(noon) {
				t.Errorf("Token says %s to %s, its claims %d to %d", token.IssuedAt, token.ExpiresAt, iat, exp)
			}
		})
	}
}

// Liveblocks' client refuses a token that it has seen before, so each token must differ.
func TestTokensOfOneInstantDiffer(t *testing.T) {
	t.Parallel()
	issuer := newIssuer(t, nil)
	seen := map[string]bool{}
	for range 100 {
		token, err := issuer.Prepare(session.User{ID: "ada"}).At(noon).Allow("*", permissions.Read).Authorize()
		if err != nil {
			t.Fatal(err)
		}
		if len(token.ID) < 26 { // 128 bits in base32
			t.Fatalf("jti %q is shorter than 128 bits", token.ID)
		}
		seen[token.Text.Reveal()], seen[token.ID] = true, true
	}
	if len(seen) != 200 {
		t.Errorf("%d distinct tokens and ids, want 200", len(seen))
	}
}

func TestTokenSizes(t *testing.T) {
	t.Parallel()
	const longest = 128
	many := func(kind permissions.Kind, n int) (rules []permissions.Rule) {
		for i := range n {
			text := fmt.Sprintf("%03d%s", i, strings.Repeat("x", longest-3))
			rules = append(rules, permissions.Rule{Pattern: permissions.MustPattern(kind, text), Access: permissions.Read})
		}
		return rules
	}
	info := json.RawMessage(`{"name":"` + strings.Repeat("n", 1000) + `"}`)
	both := newIssuer(t, func(cfg *session.IssuerConfig) {
		cfg.Audiences = []session.Audience{{Name: "sync", Rooms: true, Stores: true}}
		cfg.MaxPatterns = 100
	})
	for name, test := range map[string]struct {
		request session.Request
		limit   int
		min     int // patterns that must have found room
	}{
		"rooms":  {session.Request{Room: "000" + strings.Repeat("x", longest-3)}, 4_096, 10},
		"stores": {session.Request{Store: "007" + strings.Repeat("x", longest-3)}, 1_400, 4},
		"both":   {session.Request{}, 4_096, 10},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			token, err := both.Prepare(session.User{ID: strings.Repeat("u", 128), Info: info, Organization: "acme"}).At(noon).For(test.request).
				AllowRules(many(permissions.RoomKind, 50)...).AllowRules(many(permissions.StoreKind, 50)...).Authorize()
			if err != nil {
				t.Fatal(err)
			}
			claims := claimsOf(t, token)
			ui := 0
			if _, ok := claims["ui"]; ok {
				ui = (len(info) + len(`,"ui":`)) * 4 / 3
			}
			if size := len(token.Text.Reveal()) - ui; size > test.limit+2 {
				t.Errorf("token has %d bytes beside ui, want at most %d", size, test.limit)
			}
			if !token.Partial {
				t.Error("token of 100 patterns is not partial")
			}
			if got := len(token.Patterns.Rooms) + len(token.Patterns.Stores); got < test.min {
				t.Errorf("token has %d patterns, want at least %d: room is wasted", got, test.min)
			}
		})
	}
	t.Run("one pattern always goes in", func(t *testing.T) {
		t.Parallel()
		id := strings.Repeat("語", longest)
		token, err := both.Prepare(session.User{ID: strings.Repeat("語", longest)}).For(session.Request{Room: id}).Allow(id, permissions.Full).Authorize()
		if err != nil || len(token.Patterns.Rooms) != 1 {
			t.Errorf("Authorize() = %d patterns, %v; want 1", len(token.Patterns.Rooms), err)
		}
	})
}

func TestInfo(t *testing.T) {
	t.Parallel()
	issuer := newIssuer(t, nil)
	fits := func(units int) json.RawMessage { // serialized to that many UTF-16 units
		return json.RawMessage(`{"n": "` + strings.Repeat("😀", (units-8)/2) + strings.Repeat("x", units%2) + `"}`)
	}
	for name, test := range map[string]struct {
		info    json.RawMessage
		omitted bool
	}{
		"1,024 units fit, whatever their bytes": {fits(1024), false},
		"1,025 do not":                          {fits(1025), true},
		"none":                                  {nil, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			token, err := issuer.Prepare(session.User{ID: "ada", Info: test.info}).Allow("*", permissions.Read).Authorize()
			if err != nil {
				t.Fatal(err)
			}
			_, there := claimsOf(t, token)["ui"]
			if token.InfoOmitted != test.omitted || there != (test.info != nil && !test.omitted) {
				t.Errorf("InfoOmitted = %t and ui there: %t; want omitted: %t", token.InfoOmitted, there, test.omitted)
			}
		})
	}
}

func TestNewIssuerReportsEveryFault(t *testing.T) {
	t.Parallel()
	_, err := session.NewIssuer(session.IssuerConfig{
		Algorithm:   "HS256",
		TTL:         2 * time.Hour,
		MaxPatterns: -1,
		Audiences:   []session.Audience{{Name: "a", Rooms: true}, {Name: "a", Rooms: true}, {Name: "b"}},
	})
	if err == nil {
		t.Fatal("NewIssuer accepted a bad config")
	}
	for _, fault := range []string{"Issuer is empty", "Keys is nil", `Algorithm "HS256"`, "TTL 2h0m0s", "MaxPatterns -1", `audience "a"`, `audience "b"`} {
		if !strings.Contains(err.Error(), fault) {
			t.Errorf("error %q does not say %q", err, fault)
		}
	}
}

func TestParseAudiences(t *testing.T) {
	t.Parallel()
	got, err := session.ParseAudiences("liveblocks=rooms, livestore=stores,all=rooms+stores")
	want := []session.Audience{{"liveblocks", true, false}, {"livestore", false, true}, {"all", true, true}}
	if err != nil || !cmp.Equal(want, got) {
		t.Errorf("ParseAudiences() = %v, %v; want %v", got, err, want)
	}
	for _, bad := range []string{"", "liveblocks", "liveblocks=", "a=room", "a=rooms,"} {
		if _, err := session.ParseAudiences(bad); err == nil {
			t.Errorf("ParseAudiences(%q) accepted it", bad)
		}
	}
}

func ExampleIssuer() {
	key, err := session.GenerateKey(session.EdDSA, session.KeyTimes{})
	if err != nil {
		panic(err)
	}
	issuer, err := session.NewIssuer(session.IssuerConfig{
		Issuer: "https://auth.example.com",
		Keys:   session.NewKeyring(key),
	})
	if err != nil {
		panic(err)
	}
	token, err := issuer.Prepare(session.User{ID: "ada"}).
		Allow("acme:*", permissions.Read).
		Allow("acme:design:*", permissions.Full).
		Authorize()
	if err != nil {
		panic(err)
	}
	patterns, _ := json.Marshal(token.Patterns)
	fmt.Println(token.Audience, string(patterns))
	fmt.Println(token.Text) // a secret: it prints as one
	// Output:
	// liveblocks {"rooms":{"acme:design:*":"full","acme:*":"read"}}
	// [redacted]
}

func BenchmarkAuthorize(b *testing.B) {
	issuer := newIssuer(b, nil)
	user := session.User{ID: "user-4711", Info: json.RawMessage(`{"name": "Ada", "color": "#d583f0"}`), Organization: "acme", Session: "c2lkc2lkc2lkc2lk"}
	rules := make([]permissions.Rule, 10)
	for i := range rules {
		rules[i] = permissions.Rule{Pattern: permissions.MustPattern(permissions.RoomKind, fmt.Sprintf("acme:project-%d:*", i)), Access: permissions.Read}
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := issuer.Prepare(user).At(noon).For(session.Request{Room: "acme:project-3:1"}).AllowRules(rules...).Authorize(); err != nil {
			b.Fatal(err)
		}
	}
}
