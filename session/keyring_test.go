package session_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/usher-auth/usher/session"
)

func TestKeyringFollowsTheTimes(t *testing.T) {
	t.Parallel()
	at := func(minutes int) time.Time { return noon.Add(time.Duration(minutes) * time.Minute) }
	generate := func(times session.KeyTimes) *session.SigningKey {
		key, err := session.GenerateKey(session.EdDSA, times)
		if err != nil {
			t.Fatal(err)
		}
		return key
	}
	first := generate(session.KeyTimes{PublishedAt: at(0), SignsFrom: at(0), SignsUntil: at(60), UnpublishedAt: at(70)})
	second := generate(session.KeyTimes{PublishedAt: at(30), SignsFrom: at(50), CompromisedAt: at(100)})
	other, err := session.GenerateKey(session.ES256, session.KeyTimes{PublishedAt: at(1000), SignsFrom: at(1000)})
	if err != nil {
		t.Fatal(err)
	}
	ring := session.NewKeyring(first, second, other)
	if _, err := ring.Signing(session.EdDSA, at(1000)); !errors.Is(err, session.ErrNoSigningKey) {
		t.Errorf("a key of another algorithm signs: %v", err)
	}
	for _, test := range []struct {
		minute    int
		signs     *session.SigningKey
		published []*session.SigningKey
	}{
		{-1, nil, nil},
		{0, first, []*session.SigningKey{first}},
		{29, first, []*session.SigningKey{first}},
		{30, first, []*session.SigningKey{first, second}}, // published before it signs
		{50, second, []*session.SigningKey{first, second}},
		{69, second, []*session.SigningKey{first, second}}, // published after its last signature
		{70, second, []*session.SigningKey{second}},
		{100, nil, nil}, // compromised: gone at once
	} {
		key, err := ring.Signing(session.EdDSA, at(test.minute))
		if key != test.signs || (err == nil) != (test.signs != nil) {
			t.Errorf("minute %d: Signing() = %v, %v; want %v", test.minute, key, err, test.signs)
		}
		var set struct{ Keys []struct{ Kid string } }
		if err := json.Unmarshal(ring.JWKS(at(test.minute)), &set); err != nil {
			t.Fatal(err)
		}
		var got, want []string
		for _, k := range set.Keys {
			got = append(got, k.Kid)
		}
		for _, k := range test.published {
			want = append(want, k.ID())
		}
		slices.Sort(got)
		slices.Sort(want)
		if !slices.Equal(got, want) {
			t.Errorf("minute %d: published = %v, want %v", test.minute, got, want)
		}
	}
}

// No part of a private key may be in text that is public or printed.
func TestJWKSIsPublic(t *testing.T) {
	t.Parallel()
	key, err := session.GenerateKey(session.ES256, always)
	if err != nil {
		t.Fatal(err)
	}
	var set struct{ Keys []map[string]any }
	if err := json.Unmarshal(session.NewKeyring(key, fixedKey(t)).JWKS(noon), &set); err != nil {
		t.Fatal(err)
	}
	if len(set.Keys) != 2 {
		t.Fatalf("%d keys, want 2", len(set.Keys))
	}
	for _, k := range set.Keys {
		for member := range k {
			if !slices.Contains([]string{"kty", "crv", "x", "y", "kid", "use", "alg"}, member) {
				t.Errorf("member %q is published", member)
			}
		}
	}
}

func TestNewSigningKeyRefusesOtherCurves(t *testing.T) {
	t.Parallel()
	p384, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := session.NewSigningKey(p384, always); err == nil {
		t.Error("a P-384 key was taken for ES256")
	}
	if _, err := session.GenerateKey("RS256", always); err == nil {
		t.Error("a key for RS256 was generated")
	}
}
