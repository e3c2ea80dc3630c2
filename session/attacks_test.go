package session_test

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/usher-auth/usher/session"
)

// attackVectors is the form of testdata/jwt_attacks*.json, which verifiers in other
// languages use too.
type attackVectors struct {
	Note     string          `json:"note"`
	Issuer   string          `json:"iss"`
	Audience string          `json:"aud"`
	Now      int64           `json:"now"`
	Leeway   int             `json:"leeway"`
	JWKS     json.RawMessage `json:"jwks"`
	Vectors  []attackVector  `json:"vectors"`
}

type attackVector struct {
	ID     string `json:"id"`
	Note   string `json:"note"`
	Token  string `json:"token"`
	Result string `json:"result"` // "valid" or "invalid"
}

var attackFiles = []string{"jwt_attacks.json", "jwt_attacks_more.json"}

func readAttacks(t testing.TB, name string) attackVectors {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	var f attackVectors
	if err := json.Unmarshal(data, &f); err != nil {
		t.Fatal(err)
	}
	return f
}

func (f attackVectors) keys(t testing.TB) session.KeySet {
	t.Helper()
	keys, err := session.ParseJWKS(f.JWKS)
	if err != nil {
		t.Fatal(err)
	}
	return keys
}

func (f attackVectors) verifier(t testing.TB, keys session.KeySource) *session.Verifier {
	t.Helper()
	v, err := session.NewVerifier(session.VerifierConfig{
		Issuer: f.Issuer, Audience: f.Audience, Keys: keys,
		Leeway: time.Duration(f.Leeway) * time.Second,
		Now:    func() time.Time { return time.Unix(f.Now, 0) },
	})
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// TestAttackVectors fails if a check is missing. TestMutants shows that it does.
func TestAttackVectors(t *testing.T) {
	t.Parallel()
	for _, name := range attackFiles {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := readAttacks(t, name)
			v := f.verifier(t, f.keys(t))
			wrong, codes := 0, map[string]int{}
			for _, a := range f.Vectors {
				_, err := v.Verify(t.Context(), a.Token)
				if (err == nil) != (a.Result == "valid") {
					wrong++
					t.Errorf("%s (%s): got %v, want %s", a.ID, a.Note, err, a.Result)
				}
				if e, ok := errors.AsType[*session.TokenError](err); ok {
					codes[e.Code]++
				} else if err != nil {
					t.Errorf("%s: got %T %v, want a *TokenError", a.ID, err, err)
				}
			}
			if len(f.Vectors) == 0 {
				t.Error("no vectors")
			}
			t.Logf("%d tokens, %d wrong; refused for %v", len(f.Vectors), wrong, codes)
		})
	}
}
