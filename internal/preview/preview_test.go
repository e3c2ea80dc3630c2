package preview_test

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/usher-auth/usher/internal/preview"
	"github.com/usher-auth/usher/internal/principal"
	"github.com/usher-auth/usher/permissions"
	"github.com/usher-auth/usher/session"
)

func drawPrincipal(t *rapid.T) *principal.Principal {
	id := rapid.SampledFrom([]string{"a", "b", "ab", "a:b", "*"})
	p := &principal.Principal{
		At:       time.Date(2030, 1, 1, 12, 0, 0, 0, time.UTC),
		Known:    rapid.IntRange(0, 19).Draw(t, "known") < 19,
		Disabled: rapid.IntRange(0, 19).Draw(t, "disabled") == 19,
		User:     session.User{ID: id.Draw(t, "user")},
		MemberOf: principal.MemberOf{
			Organizations: rapid.SliceOfNDistinct(id, 0, 3, rapid.ID).Draw(t, "organizations"),
			Groups:        rapid.SliceOfNDistinct(id, 0, 3, rapid.ID).Draw(t, "groups"),
		},
	}
	rooms := []string{"*", "a:*", "b:*", "a:b:*", "a:b:c", "a:b:d", "a:c", "b", "{user}:*", "{organization}:*", "{organization}:{group}:*", "a:{user}", "a**"}
	stores := []string{"*", "a*", "a_*", "a_b", "b", "{organization}_*", "a_{user}"}
	for n := range rapid.IntRange(0, 14).Draw(t, "grants") {
		g := principal.Grant{ID: int64(n), SubjectKind: "everyone"}
		kind, patterns := permissions.RoomKind, rooms
		if rapid.IntRange(0, 2).Draw(t, "store") == 2 {
			kind, patterns = permissions.StoreKind, stores
		}
		g.Template, _ = permissions.ParseTemplate(kind, rapid.SampledFrom(patterns).Draw(t, "pattern")) // the zero one gives nothing
		if d := rapid.SampledFrom([]time.Duration{0, 0, time.Millisecond, 20 * time.Second, 20*time.Second + time.Millisecond, time.Minute, time.Hour}).Draw(t, "ends"); d > 0 {
			g.Until = p.At.Add(d)
		}
		g.Access = rapid.SampledFrom([]permissions.Access{permissions.Read, permissions.Full}).Draw(t, "access")
		if len(p.MemberOf.Groups) > 0 && rapid.Bool().Draw(t, "of a group") {
			g.SubjectKind, g.SubjectID = "group", rapid.SampledFrom(p.MemberOf.Groups).Draw(t, "group")
		}
		p.Grants = append(p.Grants, g)
	}
	return p
}

// A preview says what Authorize does, and each of its reasons is true.
func TestPreviewIsWhatAuthorizeDoes(t *testing.T) {
	t.Parallel()
	key, err := session.GenerateKey(session.EdDSA, session.KeyTimes{})
	if err != nil {
		t.Fatal(err)
	}
	audiences := []session.Audience{{Name: "rooms", Rooms: true}, {Name: "stores", Stores: true}, {Name: "both", Rooms: true, Stores: true}}
	rapid.Check(t, func(t *rapid.T) {
		issuer, err := session.NewIssuer(session.IssuerConfig{
			Issuer: "https://auth.example.com", Keys: session.NewKeyring(key), Audiences: audiences,
			MaxPatterns: rapid.IntRange(1, 5).Draw(t, "max patterns"),
		})
		if err != nil {
			t.Fatal(err)
		}
		p := drawPrincipal(t)
		request := session.Request{
			Room:     rapid.SampledFrom([]string{"", "a:b:c", "a:c", "b:x", "z"}).Draw(t, "room"),
			Store:    rapid.SampledFrom([]string{"", "", "a_b", "z"}).Draw(t, "store"),
			Audience: rapid.SampledFrom([]string{"", "both"}).Draw(t, "audience"),
		}

		e, err := preview.Of(issuer, p, request)
		if err != nil {
			t.Fatal(err)
		}
		if err := p.Err(); err != nil {
			if e.Refusal == nil || e.Patterns != nil || len(e.Grants) != 0 || p.Known && !errors.Is(e.Refusal, err) {
				t.Fatalf("of a principal with %v: %+v", err, e)
			}
			return
		}
		s, skipped := p.Prepare(issuer, request)
		token, err := s.Authorize()
		if !errors.Is(err, e.Refusal) || (err == nil) != (e.Refusal == nil) {
			t.Fatalf("refused for %v, explained by %v", err, e.Refusal)
		}
		inToken := map[string]bool{}
		if err == nil {
			if diff := cmp.Diff(text(t, token.Patterns), text(t, *e.Patterns)); diff != "" || token.Partial != e.Partial || token.Audience != e.Audience {
				t.Fatalf("partial %t and %t, for %s and %s; patterns (-issued +explained):\n%s", token.Partial, e.Partial, token.Audience, e.Audience, diff)
			}
			checkEnd(t, issuer, p, request, e, token.ExpiresAt)
			for _, r := range slices.Concat(token.Patterns.Rooms, token.Patterns.Stores) {
				inToken[fmt.Sprintf("%s %s %s", r.Pattern.Kind(), r.Pattern, r.Access)] = true
			}
		}
		if len(e.Grants) != len(p.Grants) {
			t.Fatalf("%d of %d grants are explained", len(e.Grants), len(p.Grants))
		}
		explained := map[string]bool{}
		access := map[string]permissions.Access{}
		decided := map[string]permissions.Access{}
		leftOut := 0
		for n, g := range e.Grants {
			if g.ID != p.Grants[n].ID || (g.Skipped != "") != slices.Contains(skipped, g.ID) {
				t.Fatalf("grants skipped: %v; explained: %+v", skipped, g)
			}
			for _, r := range g.Rules {
				rule := fmt.Sprintf("%s %s %s", g.Kind, r.Pattern, g.Access)
				if r.InToken != (inToken[rule] && r.CoveredBy == nil) {
					t.Fatalf("%s is in the token %t: %+v", rule, inToken[rule], r)
				}
				explained[rule] = explained[rule] || r.InToken
				if !g.Carried && (r.Matches != nil || r.CoveredBy != nil || r.LeftOut != nil) {
					t.Fatalf("of a kind not carried: %+v", r)
				}
				ended := g.Until != nil && g.Until.Before(p.At.Add(time.Second))
				if r.LeftOut != nil && r.LeftOut.Limit == "time" && !ended {
					t.Fatalf("left out for time: %+v", g)
				}
				if r.Matches != nil && *r.Matches && !ended {
					access[g.Kind] = max(access[g.Kind], g.Access)
				}
				if r.Decides {
					decided[g.Kind] = g.Access
				}
				if issued := e.Refusal == nil && g.Carried && r.CoveredBy == nil; (r.LeftOut != nil) != (issued && !r.InToken) {
					t.Fatalf("left out for %+v: %+v", r.LeftOut, r)
				}
				if r.LeftOut != nil && r.LeftOut.Limit != "time" {
					leftOut++
					if id := r.LeftOut.ReplacedBy; id != "" {
						explained[fmt.Sprintf("%s %s %s", g.Kind, id, g.Access)] = true
					}
				}
				if c := r.CoveredBy; c != nil {
					kind, _ := permissions.ParseKind(g.Kind)
					if c.Access < g.Access || c.Pattern == r.Pattern && c.Access == g.Access ||
						!permissions.MustPattern(kind, c.Pattern).Covers(permissions.MustPattern(kind, r.Pattern)) {
						t.Fatalf("%s is no cover of %s", c.Pattern, rule)
					}
				}
			}
		}
		for rule := range inToken {
			if !explained[rule] {
				t.Fatalf("%s is in the token, from no grant: %+v", rule, e.Grants)
			}
		}
		if (leftOut > 0) != e.Partial {
			t.Fatalf("partial is %t, with %d rules left out", e.Partial, leftOut)
		}
		for kind, got := range map[string]*permissions.Access{"room": e.RoomAccess, "store": e.StoreAccess} {
			if got != nil && (*got != access[kind] || *got != decided[kind]) {
				t.Fatalf("access to the %s is %s, matched %s, decided %s", kind, *got, access[kind], decided[kind])
			}
		}
	})
}

// checkEnd checks when a token ends, and that it would end later without the ends
// that the preview names.
func checkEnd(t *rapid.T, issuer *session.Issuer, p *principal.Principal, r session.Request, e *preview.Preview, expires time.Time) {
	if e.ExpiresAt == nil || !e.ExpiresAt.Equal(expires) {
		t.Fatalf("expires at %s, explained as %v", expires, e.ExpiresAt)
	}
	later := *p
	later.Grants = slices.Clone(p.Grants)
	ends := false
	for n, g := range e.Grants {
		if slices.ContainsFunc(g.Rules, func(r preview.Rule) bool { return r.EndsToken }) {
			ends, later.Grants[n].Until = true, time.Time{}
		}
	}
	switch full := expires.Equal(p.At.Add(session.DefaultTTL)); {
	case ends != (e.EndsWith == "grant"), ends == full:
		t.Fatalf("expires at %s with %s: %+v", expires, e.EndsWith, e.Grants)
	case ends:
		s, _ := later.Prepare(issuer, r)
		if token, err := s.Authorize(); err != nil || !token.ExpiresAt.After(expires) {
			t.Fatalf("without the ends of %+v it expires at %s, %v", e.Grants, token.ExpiresAt, err)
		}
	}
}

func text(t *rapid.T, p session.Patterns) string {
	b, err := p.MarshalJSON()
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestBadRequests(t *testing.T) {
	t.Parallel()
	key, err := session.GenerateKey(session.EdDSA, session.KeyTimes{})
	if err != nil {
		t.Fatal(err)
	}
	issuer, err := session.NewIssuer(session.IssuerConfig{Issuer: "https://auth.example.com", Keys: session.NewKeyring(key)})
	if err != nil {
		t.Fatal(err)
	}
	p := &principal.Principal{Known: true, User: session.User{ID: "ada"}}
	for _, r := range []session.Request{{Room: "a*"}, {Store: "a:b"}, {Audience: "nobody"}} {
		if e, err := preview.Of(issuer, p, r); err == nil {
			t.Errorf("Of(%+v) = %+v, want an error", r, e)
		}
	}
}
