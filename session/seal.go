package session

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
)

// ErrUnsealable says that none of the ring's keys opens a sealed value: the
// key was lost or the value was changed.
var ErrUnsealable = errors.New("session: no key encryption key opens this signing key")

// KeyEncryption seals private signing keys at rest with AES-256-GCM (SP
// 800-38D, random 96-bit nonces). It holds a ring of keys: the first seals,
// all open. Safe for concurrent use.
type KeyEncryption struct{ ring []kek }

type kek struct {
	id   [kekIDSize]byte
	aead cipher.AEAD
}

// A sealed value is: version, the key encryption key's id, nonce, ciphertext.
const (
	sealVersion = 1
	kekIDSize   = 8
)

// ParseKeyEncryption reads a ring: keys of 32 bytes in base64, separated by
// commas, such as `openssl rand -base64 32` prints. Keys that cannot be
// secret, such as those of documentation, are refused.
func ParseKeyEncryption(text secret.Text) (*KeyEncryption, error) {
	var k KeyEncryption
	for i, field := range strings.Split(text.Reveal(), ",") {
		raw, err := base64.StdEncoding.DecodeString(strings.TrimSpace(field))
		if err != nil || len(raw) != 32 {
			return nil, fmt.Errorf("session: key encryption key %d is not 32 bytes of base64; make one with: openssl rand -base64 32", i+1)
		}
		if !looksRandom(raw) {
			return nil, fmt.Errorf("session: key encryption key %d is an example or a pattern, not a secret; make one with: openssl rand -base64 32", i+1)
		}
		block, err := aes.NewCipher(raw)
		if err != nil {
			return nil, fmt.Errorf("session: key encryption key %d: %w", i+1, err)
		}
		aead, err := cipher.NewGCM(block)
		if err != nil {
			return nil, fmt.Errorf("session: key encryption key %d: %w", i+1, err)
		}
		id := sha256.Sum256(append([]byte("usher key encryption key id\x00"), raw...))
		k.ring = append(k.ring, kek{[kekIDSize]byte(id[:]), aead})
	}
	return &k, nil
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

// Seal encrypts plaintext and binds it to context: it opens with the same
// context only.
func (k *KeyEncryption) Seal(plaintext []byte, context string) []byte {
	first := &k.ring[0]
	sealed := make([]byte, 0, 1+kekIDSize+first.aead.NonceSize()+len(plaintext)+first.aead.Overhead())
	sealed = append(sealed, sealVersion)
	sealed = append(sealed, first.id[:]...)
	nonce := make([]byte, first.aead.NonceSize())
	_, _ = rand.Read(nonce) // never fails: crypto/rand ends the process instead
	sealed = append(sealed, nonce...)
	return first.aead.Seal(sealed, nonce, plaintext, []byte(context))
}

// Open decrypts what Seal made, or returns [ErrUnsealable].
func (k *KeyEncryption) Open(sealed []byte, context string) ([]byte, error) {
	for i := range k.ring {
		key := &k.ring[i]
		head := 1 + kekIDSize
		if len(sealed) < head+key.aead.NonceSize() || sealed[0] != sealVersion || [kekIDSize]byte(sealed[1:head]) != key.id {
			continue
		}
		nonce := sealed[head : head+key.aead.NonceSize()]
		if plaintext, err := key.aead.Open(nil, nonce, sealed[head+len(nonce):], []byte(context)); err == nil {
			return plaintext, nil
		}
	}
	return nil, ErrUnsealable
}
