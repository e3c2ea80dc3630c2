package keyencryption_test

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/usher-auth/usher/internal/keyencryption"
	"github.com/usher-auth/usher/internal/secret"
	"github.com/usher-auth/usher/session"
)

func newEncryption(t testing.TB, keys ...byte) *keyencryption.Ring {
	t.Helper()
	var ring []string
	for _, k := range keys {
		key := make([]byte, 32)
		for i := range key {
			key[i] = k + byte(i)*7
		}
		ring = append(ring, base64.StdEncoding.EncodeToString(key))
	}
	e, err := keyencryption.Parse(secret.New(strings.Join(ring, ",")))
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func TestKeysDecryptOnlyAsThemselves(t *testing.T) {
	t.Parallel()
	for _, alg := range []string{session.EdDSA, session.ES256} {
		t.Run(alg, func(t *testing.T) {
			t.Parallel()
			key, err := session.GenerateKey(alg, session.KeyTimes{})
			if err != nil {
				t.Fatal(err)
			}
			first, both, second := newEncryption(t, 1), newEncryption(t, 2, 1), newEncryption(t, 2)
			ciphertext, err := first.EncryptSigningKey(key)
			if err != nil {
				t.Fatal(err)
			}
			decrypt := func(e *keyencryption.Ring, kid, alg string, ciphertext []byte) error {
				_, err := e.DecryptSigningKey(kid, alg, ciphertext, session.KeyTimes{})
				return err
			}
			if err := decrypt(first, key.ID(), alg, ciphertext); err != nil {
				t.Errorf("the encrypting key does not decrypt it: %v", err)
			}
			if err := decrypt(both, key.ID(), alg, ciphertext); err != nil {
				t.Errorf("a ring that holds the encrypting key does not decrypt it: %v", err)
			}
			other, err := session.GenerateKey(alg, session.KeyTimes{})
			if err != nil {
				t.Fatal(err)
			}
			for what, err := range map[string]error{
				"another key encryption key": decrypt(second, key.ID(), alg, ciphertext),
				"another row's kid":          decrypt(first, other.ID(), alg, ciphertext),
				"another alg":                decrypt(first, key.ID(), "RS256", ciphertext),
				"a cut value":                decrypt(first, key.ID(), alg, ciphertext[:len(ciphertext)-1]),
				"an empty value":             decrypt(first, key.ID(), alg, nil),
			} {
				if !errors.Is(err, keyencryption.ErrUndecryptable) {
					t.Errorf("with %s: error = %v, want %v", what, err, keyencryption.ErrUndecryptable)
				}
			}
			for i := range ciphertext {
				changed := bytes.Clone(ciphertext)
				changed[i] ^= 1
				if err := decrypt(first, key.ID(), alg, changed); err == nil {
					t.Errorf("byte %d changed: it still decrypts", i)
				}
			}
			if again, _ := first.EncryptSigningKey(key); bytes.Equal(again, ciphertext) {
				t.Error("encrypted twice it is the same: the nonce repeats")
			}
			if printed := fmt.Sprintf("%v %+v %s", key, *key, key); strings.Contains(printed, "PRIVATE") || len(printed) > 2_000 {
				t.Errorf("a key prints more than its name: %s", printed)
			}
		})
	}
}

func TestParseRefusesWhatIsNotSecret(t *testing.T) {
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
		_, err := keyencryption.Parse(secret.New(text))
		if err == nil {
			t.Errorf("%s: accepted", name)
		} else if !strings.Contains(err.Error(), "openssl rand -base64 32") {
			t.Errorf("%s: error %q does not say what to do", name, err)
		}
	}
}
