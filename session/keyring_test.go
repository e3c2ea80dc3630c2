package session_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/usher-auth/usher/internal/secret"
	"github.com/usher-auth/usher/session"
)

func newEncryption(t testing.TB, keys ...byte) *session.KeyEncryption {
	t.Helper()
	var ring []string
	for _, k := range keys {
		key := make([]byte, 32)
		for i := range key {
			key[i] = k + byte(i)*7
		}
		ring = append(ring, base64.StdEncoding.EncodeToString(key))
	}
	e, err := session.ParseKeyEncryption(secret.New(strings.Join(ring, ",")))
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func TestSealedKeysOpenOnlyAsThemselves(t *testing.T) {
	t.Parallel()
	for _, alg := range []string{session.EdDSA, session.ES256} {
		t.Run(alg, func(t *testing.T) {
			t.Parallel()
			key, err := session.GenerateKey(alg, always)
			if err != nil {
				t.Fatal(err)
			}
			first, both, second := newEncryption(t, 1), newEncryption(t, 2, 1), newEncryption(t, 2)
			sealed, err := key.Seal(first)
			if err != nil {
				t.Fatal(err)
			}
			open := func(e *session.KeyEncryption, kid, alg string, sealed []byte) error {
				_, err := session.OpenSigningKey(e, kid, alg, sealed, always)
				return err
			}
			if err := open(first, key.ID(), alg, sealed); err != nil {
				t.Errorf("the sealing key does not open it: %v", err)
			}
			if err := open(both, key.ID(), alg, sealed); err != nil {
				t.Errorf("a ring that holds the sealing key does not open it: %v", err)
			}
			other, err := session.GenerateKey(alg, always)
			if err != nil {
				t.Fatal(err)
			}
			for what, err := range map[string]error{
				"another key encryption key": open(second, key.ID(), alg, sealed),
				"another row's kid":          open(first, other.ID(), alg, sealed),
				"another alg":                open(first, key.ID(), "RS256", sealed),
				"a cut value":                open(first, key.ID(), alg, sealed[:len(sealed)-1]),
				"an empty value":             open(first, key.ID(), alg, nil),
			} {
				if !errors.Is(err, session.ErrUnsealable) {
					t.Errorf("with %s: error = %v, want %v", what, err, session.ErrUnsealable)
				}
			}
			for i := range sealed {
				changed := bytes.Clone(sealed)
				changed[i] ^= 1
				if err := open(first, key.ID(), alg, changed); err == nil {
					t.Errorf("byte %d changed: it still opens", i)
				}
			}
			if again, _ := key.Seal(first); bytes.Equal(again, sealed) {
				t.Error("sealed twice it is the same: the nonce repeats")
			}
			if printed := fmt.Sprintf("%v %+v %s", key, *key, key); strings.Contains(printed, "PRIVATE") || len(printed) > 2_000 {
				t.Errorf("a key prints more than its name: %s", printed)
			}
		})
	}
}

func TestParseKeyEncryptionRefusesWhatIsNoSecret(t *testing.T) {
	t.Parallel()
	b64 := base64.StdEncoding.EncodeToString
	for name, text := range map[string]string{
		"empty":              "",
		"not base64":         "no base64 at all",
		"31 bytes":           b64(make([]byte, 31)),
		"zeros":              b64(make([]byte, 32)),
		"typed text":         b64([]byte("change-me-please-0123456789abcde")),
		"a pattern":          b64(bytes.Repeat([]byte{1, 2, 3, 250}, 8)),
		"the second is bad":  b64([]byte("\x00\x11\x22\x33\x44\x55\x66\x77\x88\x99\xaa\xbb\xcc\xdd\xee\xff\x01\x12\x23\x34\x45\x56\x67\x78\x89\x9a\xab\xbc\xcd\xde\xef\xf0")) + ",x",
		"an example of docs": "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=",
	} {
		_, err := session.ParseKeyEncryption(secret.New(text))
		if err == nil {
			t.Errorf("%s: accepted", name)
		} else if !strings.Contains(err.Error(), "openssl rand -base64 32") {
			t.Errorf("%s: error %q does not say what to do", name, err)
		}
	}
}

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

// No byte of a private key may stand in what everybody reads.
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
