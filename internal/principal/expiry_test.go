package principal_test

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/usher-auth/usher/internal/principal"
	"github.com/usher-auth/usher/permissions"
	"github.com/usher-auth/usher/session"
)

// A token never gives a pattern for longer than a grant does. It expires at the earliest of
// these: the end of its lifetime, of the session, of the API key that it is made with, and of
// its grants.
func TestTokensEndWithTheirGrants(t *testing.T) {
	t.Parallel()
	key, err := session.GenerateKey(session.EdDSA, session.KeyTimes{})
	if err != nil {
		t.Fatal(err)
	}
	patterns := map[permissions.Kind][]string{
		permissions.RoomKind:  {"*", "a:*", "a:b:*", "a:b:c", "b", "{user}:*", "{organization}:*"},
		permissions.StoreKind: {"*", "a_*", "a_b", "b", "{organization}_*"},
	}
	now := time.Date(2030, 1, 1, 12, 0, 0, 400_000_000, time.UTC)
	ends := []time.Duration{0, 0, 0, time.Millisecond, 600 * time.Millisecond, time.Second, 20 * time.Second, 90*time.Second + time.Millisecond, 3 * time.Minute, time.Hour}
	rapid.Check(t, func(t *rapid.T) {
		issuer, err := session.NewIssuer(session.IssuerConfig{
			Issuer: "https://auth.example.com", Keys: session.NewKeyring(key), MaxPatterns: rapid.IntRange(1, 5).Draw(t, "max patterns"),
			Audiences: []session.Audience{{Name: "both", Rooms: true, Stores: true}},
		})
		if err != nil {
			t.Fatal(err)
		}
		end := func(label string) (at time.Time) {
			if d := rapid.SampledFrom(ends).Draw(t, label); d > 0 {
				at = now.Add(d)
			}
			return at
		}
		p := &principal.Principal{
			At: now, Known: true, User: session.User{ID: "a", Until: end("session ends")},
			MemberOf: principal.MemberOf{Organizations: []string{"a", "b"}},
		}
		key := &principal.APIKey{ExpiresAt: end("API key ends")}
		switch err := key.Bound(p); {
		case errors.Is(err, principal.ErrAPIKeyExpired):
			if key.ExpiresAt.IsZero() || key.ExpiresAt.Truncate(time.Second).After(now) {
				t.Fatalf("a key to %s is expired at %s", key.ExpiresAt, now)
			}
			return
		case err != nil:
			t.Fatal(err)
		}
		for n := range rapid.IntRange(1, 8).Draw(t, "grants") {
			kind := rapid.SampledFrom([]permissions.Kind{permissions.RoomKind, permissions.StoreKind}).Draw(t, "kind")
			template, err := permissions.ParseTemplate(kind, rapid.SampledFrom(patterns[kind]).Draw(t, "pattern"))
			if err != nil {
				t.Fatal(err)
			}
			p.Grants = append(p.Grants, principal.Grant{
				ID: int64(n), SubjectKind: "everyone", Template: template, Until: end("grant ends"),
				Access: rapid.SampledFrom([]permissions.Access{permissions.Read, permissions.Full}).Draw(t, "access"),
			})
		}
		s, _ := p.Prepare(issuer, session.Request{
			Room: rapid.SampledFrom([]string{"", "a:b:c", "a:b:d", "b"}).Draw(t, "room"), Store: rapid.SampledFrom([]string{"", "a_b"}).Draw(t, "store"),
		})
		token, err := s.Authorize()
		if errors.Is(err, session.ErrNoAccess) || errors.Is(err, session.ErrSessionExpired) {
			return
		}
		if err != nil {
			t.Fatal(err)
		}

		want := now.Truncate(time.Second).Add(session.DefaultTTL)
		if until := p.User.Until; !until.IsZero() && until.Before(want) {
			want = until.Truncate(time.Second)
		}
		if until := key.ExpiresAt; !until.IsZero() && until.Before(want) {
			want = until.Truncate(time.Second)
		}
		for _, r := range slices.Concat(token.Patterns.Rooms, token.Patterns.Stores) {
			last := time.Time{} // the last instant at which some grant gives all of r
			for i := range p.Grants {
				g := &p.Grants[i]
				rules, _ := p.Expand(nil, g)
				for _, given := range rules {
					if given.Access < r.Access || !given.Pattern.Covers(r.Pattern) {
						continue
					}
					until := g.Until
					if until.IsZero() {
						until = now.Add(24 * time.Hour)
					}
					if until.After(last) {
						last = until
					}
				}
			}
			if token.ExpiresAt.After(last) {
				t.Fatalf("the token expires at %s, and nothing gives %s %s after %s", token.ExpiresAt, r.Pattern, r.Access, last)
			}
			if last = last.Truncate(time.Second); last.Before(want) {
				want = last
			}
		}
		if !token.ExpiresAt.Equal(want) {
			t.Fatalf("the token expires at %s, want %s", token.ExpiresAt, want)
		}
		var claims struct{ Iat, Exp int64 }
		payload, err := base64.RawURLEncoding.DecodeString(strings.Split(token.Text.Reveal(), ".")[1])
		if err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(payload, &claims); err != nil {
			t.Fatal(err)
		}
		if claims.Exp != want.Unix() || claims.Exp <= claims.Iat {
			t.Fatalf("exp is %d and iat %d, want exp %d", claims.Exp, claims.Iat, want.Unix())
		}
	})
}
