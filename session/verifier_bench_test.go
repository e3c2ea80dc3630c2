package session_test

import (
	"crypto/ed25519"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/usher-auth/usher/permissions"
	"github.com/usher-auth/usher/session"
)

// token600 is a token of 600 characters, in usher's format.
func token600(f forger) string {
	for pad := 0; ; pad++ {
		token := f.token(claims("aud", `"liveblocks"`, "pid", `"usher"`, "uid", `"user_1"`, "org", `"acme"`,
			"perms", `{"acme:design:*":["room:write","comments:write"],"acme:*":["room:read","room:presence:write","comments:read"]}`,
			"ui", `{"name":"`+strings.Repeat("A", pad)+`"}`))
		if len(token) >= 600 {
			return token
		}
	}
}

func benchVerifier(b *testing.B, f forger, memo int) *session.Verifier {
	b.Helper()
	return newVerifier(b, session.VerifierConfig{Audience: "liveblocks", Keys: keySet(b, f), Memo: memo})
}

// BenchmarkVerify compares the complete check of a token with the check of its signature
// only, and with golang-jwt's strictest check, which checks less.
func BenchmarkVerify(b *testing.B) {
	f := edForger("kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k")
	token := token600(f)

	b.Run("ed25519", func(b *testing.B) {
		dot := strings.LastIndexByte(token, '.')
		public, message, signature := f.private.Public().(ed25519.PublicKey), []byte(token[:dot]), []byte(f.signature(token[:dot]))
		b.ReportAllocs()
		for b.Loop() {
			if !ed25519.Verify(public, message, signature) {
				b.Fatal("does not verify")
			}
		}
	})
	b.Run("usher", func(b *testing.B) {
		v := benchVerifier(b, f, 0)
		b.ReportAllocs()
		for b.Loop() {
			if _, err := v.Verify(b.Context(), token); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("usher-memo", func(b *testing.B) {
		v := benchVerifier(b, f, 1)
		b.ReportAllocs()
		for b.Loop() {
			if _, err := v.Verify(b.Context(), token); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("golang-jwt", func(b *testing.B) {
		public := f.private.Public()
		parser := jwt.NewParser(jwt.WithValidMethods([]string{"EdDSA"}), jwt.WithIssuer(testIssuer), jwt.WithAudience("liveblocks"),
			jwt.WithLeeway(30*time.Second), jwt.WithExpirationRequired(), jwt.WithIssuedAt(), jwt.WithStrictDecoding(),
			jwt.WithTimeFunc(func() time.Time { return testNow }))
		b.ReportAllocs()
		for b.Loop() {
			var c struct {
				jwt.RegisteredClaims
				Kind  string              `json:"k"`
				Perms map[string][]string `json:"perms"`
			}
			if _, err := parser.ParseWithClaims(token, &c, func(*jwt.Token) (any, error) { return public, nil }); err != nil {
				b.Fatal(err)
			}
		}
	})
}

func BenchmarkCan(b *testing.B) {
	f := edForger("ed")
	claims, err := benchVerifier(b, f, 0).Verify(b.Context(), token600(f))
	if err != nil {
		b.Fatal(err)
	}
	room := permissions.Room("acme:design:1")
	b.ReportAllocs()
	for b.Loop() {
		if !claims.Can(room, permissions.Full) {
			b.Fatal("cannot")
		}
	}
}

// The limits in docs/token.md that do not depend on the machine.
//
//nolint:paralleltest // AllocsPerRun counts those of other tests too
func TestVerifyAllocations(t *testing.T) {
	f := edForger("kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k")
	token := token600(f)
	if len(token) > 604 {
		t.Errorf("the token has %d characters", len(token))
	}
	for memo, most := range map[int]float64{0: 20, 1: 0} {
		v := newVerifier(t, session.VerifierConfig{Audience: "liveblocks", Keys: keySet(t, f), Memo: memo})
		got := testing.AllocsPerRun(100, func() {
			if _, err := v.Verify(t.Context(), token); err != nil {
				t.Fatal(err)
			}
		})
		if got > most {
			t.Errorf("memo of %d: got %g allocations, want at most %g", memo, got, most)
		}
	}
}
