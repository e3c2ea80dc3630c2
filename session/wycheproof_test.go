package session_test

import (
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/usher-auth/usher/session"
)

type wycheproofGroup struct {
	Comment string          `json:"comment"`
	Public  json.RawMessage `json:"public"`       // a JWK or a JWK Set, absent for symmetric keys
	Private json.RawMessage `json:"private"`      // the same
	Ed25519 json.RawMessage `json:"publicKeyJwk"` // of ed25519_test.json
	Tests   []struct {
		ID     int             `json:"tcId"`
		JWS    json.RawMessage `json:"jws"` // text, or a JWS in JSON serialization
		Msg    string          `json:"msg"`
		Sig    string          `json:"sig"`
		Result string          `json:"result"`
	} `json:"tests"`
}

func readWycheproof(t *testing.T, name string) []wycheproofGroup {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("testdata", "wycheproof", name))
	if err != nil {
		t.Fatal(err)
	}
	var f struct {
		TestGroups []wycheproofGroup `json:"testGroups"`
	}
	if err := json.Unmarshal(data, &f); err != nil {
		t.Fatal(err)
	}
	return f.TestGroups
}

// keys returns the public halves of a group's keys as a set. It is empty if the whole set
// is refused.
func (g wycheproofGroup) keys(t *testing.T) session.KeySet {
	t.Helper()
	raw := g.Public
	if raw == nil {
		raw = g.Private
	}
	var set struct{ Keys []json.RawMessage }
	if err := json.Unmarshal(raw, &set); err != nil {
		t.Fatal(err)
	}
	if set.Keys == nil {
		raw = fmt.Appendf(nil, `{"keys":[%s]}`, raw)
	}
	keys, err := session.ParseJWKS(raw)
	if err != nil && !errors.Is(err, session.ErrPrivateKey) {
		t.Fatalf("%s: %v", g.Comment, err)
	}
	return keys
}

// readExceptions returns the verdicts of testdata/wycheproof_exceptions.json
// by file and tcId.
func readExceptions(t *testing.T) map[string]map[int]string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("testdata", "wycheproof_exceptions.json"))
	if err != nil {
		t.Fatal(err)
	}
	var f struct {
		Exceptions []struct {
			File    string `json:"file"`
			IDs     []int  `json:"tcIds"`
			Verdict string `json:"verdict"`
			Reason  string `json:"reason"`
		} `json:"exceptions"`
	}
	if err := json.Unmarshal(data, &f); err != nil {
		t.Fatal(err)
	}
	exceptions := map[string]map[int]string{}
	for _, e := range f.Exceptions {
		if e.Reason == "" {
			t.Errorf("%s %v: no reason", e.File, e.IDs)
		}
		if exceptions[e.File] == nil {
			exceptions[e.File] = map[int]string{}
		}
		for _, id := range e.IDs {
			exceptions[e.File][id] = e.Verdict
		}
	}
	return exceptions
}

func TestWycheproofJWS(t *testing.T) {
	t.Parallel()
	type count struct{ Valid, Invalid, Exceptions int }
	for name, want := range map[string]count{
		"json_web_signature_test.json": {14, 387, 32},
		"json_web_key_test.json":       {2, 24, 5},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			exceptions := readExceptions(t)[name]
			got, wrong := count{Exceptions: len(exceptions)}, 0
			for _, g := range readWycheproof(t, name) {
				keys := g.keys(t)
				for _, v := range g.Tests {
					var token string
					if json.Unmarshal(v.JWS, &token) != nil {
						token = string(v.JWS)
					}
					verdict := "valid"
					if session.OpenJWS(t.Context(), token, keys) != nil {
						verdict = "invalid"
					}
					want := v.Result
					if e, ok := exceptions[v.ID]; ok {
						if e == v.Result {
							t.Errorf("tcId %d: the exception says %s as the file does", v.ID, e)
						}
						want = e
					}
					if verdict != want {
						wrong++
						t.Errorf("tcId %d (%s): got %s, want %s", v.ID, g.Comment, verdict, want)
					}
					if verdict == "valid" {
						got.Valid++
					} else {
						got.Invalid++
					}
				}
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("verdicts (-want +got):\n%s", diff)
			}
			t.Logf("%d vectors, %d wrong: %+v", got.Valid+got.Invalid, wrong, got)
		})
	}
}

func TestWycheproofEd25519(t *testing.T) {
	t.Parallel()
	right, vectors := 0, 0
	for _, g := range readWycheproof(t, "ed25519_test.json") {
		k, err := session.ParseJWK(g.Ed25519)
		if err != nil {
			t.Fatal(err)
		}
		for _, v := range g.Tests {
			message, err := hex.DecodeString(v.Msg)
			if err != nil {
				t.Fatal(err)
			}
			signature, err := hex.DecodeString(v.Sig)
			if err != nil {
				t.Fatal(err)
			}
			vectors++
			if got := k.Verify(string(message), signature); got == (v.Result == "valid") {
				right++
			} else {
				t.Errorf("tcId %d: verifies %t, want %s", v.ID, got, v.Result)
			}
		}
	}
	if vectors != 151 {
		t.Errorf("got %d vectors, want 151", vectors)
	}
	t.Logf("Ed25519: %d of %d", right, vectors)
}
