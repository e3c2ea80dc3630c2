// Package keyencryption encrypts private keys at rest under a ring of key
// encryption keys.
package keyencryption

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"

	"github.com/usher-auth/usher/internal/secret"
	"github.com/usher-auth/usher/session"
)

// ErrUndecryptable says that no key of the ring decrypts a value: the key was lost,
// or the value was changed.
var ErrUndecryptable = errors.New("no key encryption key decrypts this private key")

// A Ring encrypts with AES-256-GCM (SP 800-38D, random 96-bit nonces): with its
// first key. It decrypts with any of its keys. It is safe for concurrent use.
type Ring struct{ keys []kek }

type kek struct {
	id   [kekIDSize]byte
	aead cipher.AEAD
}

// An encrypted value is: version, the key encryption key's id, nonce, ciphertext.
const (
	version   = 1
	kekIDSize = 8
)

// Parse reads a ring: keys of 32 bytes in base64, separated by
// commas, such as `openssl rand -base64 32` prints. Keys that cannot be
// secret, such as those of documentation, are refused.
func Parse(text secret.Text) (*Ring, error) {
	var r Ring
	for i, field := range strings.Split(text.Reveal(), ",") {
		raw, err := base64.StdEncoding.DecodeString(strings.TrimSpace(field))
		if err != nil || len(raw) != 32 {
			return nil, fmt.Errorf("key encryption key %d is not 32 bytes of base64; make one with: openssl rand -base64 32", i+1)
		}
		if !looksRandom(raw) {
			return nil, fmt.Errorf("key encryption key %d is an example or a pattern, not a secret; make one with: openssl rand -base64 32", i+1)
		}
		block, err := aes.NewCipher(raw)
		if err != nil {
			return nil, fmt.Errorf("key encryption key %d: %w", i+1, err)
		}
		aead, err := cipher.NewGCM(block)
		if err != nil {
			return nil, fmt.Errorf("key encryption key %d: %w", i+1, err)
		}
		id := sha256.Sum256(append([]byte("usher key encryption key id\x00"), raw...))
		r.keys = append(r.keys, kek{[kekIDSize]byte(id[:]), aead})
	}
	return &r, nil
}

// looksRandom refuses what people type. Of 32 random bytes some 30 are distinct;
// fewer than 20, or printable ASCII alone, practically never come up.
func looksRandom(key []byte) bool {
	distinct := map[byte]bool{}
	printable := true
	for _, b := range key {
		distinct[b] = true
		printable = printable && b >= ' ' && b <= '~'
	}
	return len(distinct) >= 20 && !printable
}

// Encrypt binds the plaintext to context: it decrypts with the same context only.
func (r *Ring) Encrypt(plaintext []byte, context string) []byte {
	first := &r.keys[0]
	ciphertext := make([]byte, 0, 1+kekIDSize+first.aead.NonceSize()+len(plaintext)+first.aead.Overhead())
	ciphertext = append(ciphertext, version)
	ciphertext = append(ciphertext, first.id[:]...)
	nonce := make([]byte, first.aead.NonceSize())
	_, _ = rand.Read(nonce) // never fails: crypto/rand ends the process instead
	ciphertext = append(ciphertext, nonce...)
	return first.aead.Seal(ciphertext, nonce, plaintext, []byte(context))
}

// Decrypt returns what Encrypt was given, or [ErrUndecryptable].
func (r *Ring) Decrypt(ciphertext []byte, context string) ([]byte, error) {
	for i := range r.keys {
		key := &r.keys[i]
		head := 1 + kekIDSize
		if len(ciphertext) < head+key.aead.NonceSize() || ciphertext[0] != version || [kekIDSize]byte(ciphertext[1:head]) != key.id {
			continue
		}
		nonce := ciphertext[head : head+key.aead.NonceSize()]
		if plaintext, err := key.aead.Open(nil, nonce, ciphertext[head+len(nonce):], []byte(context)); err == nil {
			return plaintext, nil
		}
	}
	return nil, ErrUndecryptable
}

// EncryptSigningKey encrypts the private half, bound to the key's kid and alg.
func (r *Ring) EncryptSigningKey(key *session.SigningKey) ([]byte, error) {
	der, err := key.MarshalPrivate()
	if err != nil {
		return nil, fmt.Errorf("encrypt key: %w", err)
	}
	return r.Encrypt(der, signingKeyContext(key.ID(), key.Algorithm())), nil
}

// DecryptSigningKey returns the key of this kid and alg from what
// [Ring.EncryptSigningKey] made, or [ErrUndecryptable].
func (r *Ring) DecryptSigningKey(kid, alg string, ciphertext []byte, times session.KeyTimes) (*session.SigningKey, error) {
	der, err := r.Decrypt(ciphertext, signingKeyContext(kid, alg))
	if err != nil {
		return nil, fmt.Errorf("key %s: %w", kid, err)
	}
	key, err := session.ParseSigningKey(der, times)
	if err != nil {
		return nil, fmt.Errorf("key %s: %w", kid, err)
	}
	if key.ID() != kid || key.Algorithm() != alg {
		return nil, fmt.Errorf("key %s (%s) is stored as %s (%s)", key.ID(), key.Algorithm(), kid, alg)
	}
	return key, nil
}

func signingKeyContext(kid, alg string) string { return "usher.signing_keys\x00" + kid + "\x00" + alg }
