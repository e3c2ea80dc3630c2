// Package keyencryption encrypts private keys at rest with a ring of key encryption keys.
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

// ErrUndecryptable is returned if no key of the ring decrypts a value: the right key is not
// in the ring, or the value was changed.
var ErrUndecryptable = errors.New("no key encryption key decrypts this private key")

// A Ring encrypts with its first key, with AES-256-GCM (SP 800-38D, random 96-bit nonces).
// It decrypts with any of its keys. It is safe for concurrent use.
type Ring struct{ keys []kek }

type kek struct {
	id   [kekIDSize]byte
	aead cipher.AEAD
}

// An encrypted value consists of version, id of the key encryption key, nonce, ciphertext.
const (
	version   = 1
	kekIDSize = 8
)

// Parse reads a ring: keys of 32 bytes in base64, separated by commas. The command
// `openssl rand -base64 32` prints one. It refuses keys that cannot be secret, such as
// examples from documentation.
func Parse(text secret.Text) (*Ring, error) {
	var r Ring
	for i, field := range strings.Split(text.Reveal(), ",") {
		raw, err := base64.StdEncoding.DecodeString(strings.TrimSpace(field))
		if err != nil || len(raw) != 32 {
			return nil, fmt.Errorf("key encryption key %d is not 32 bytes in base64; create one with: openssl rand -base64 32", i+1)
		}
		if !looksRandom(raw) {
			return nil, fmt.Errorf("key encryption key %d is an example or a pattern, not a secret; create one with: openssl rand -base64 32", i+1)
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

// looksRandom reports whether a key looks random and not typed by a person. Of 32 random
// bytes, about 30 are distinct. Fewer than 20, or only printable ASCII, practically never
// occur.
func looksRandom(key []byte) bool {
	distinct := map[byte]bool{}
	printable := true
	for _, b := range key {
		distinct[b] = true
		printable = printable && b >= ' ' && b <= '~'
	}
	return len(distinct) >= 20 && !printable
}

// Encrypt binds the plaintext to context: it can be decrypted only with the same context.
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

// Decrypt returns the plaintext that was given to Encrypt, or [ErrUndecryptable].
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

// EncryptSigningKey encrypts the private half, and binds it to the key's kid and alg.
func (r *Ring) EncryptSigningKey(key *session.SigningKey) ([]byte, error) {
	der, err := key.MarshalPrivate()
	if err != nil {
		return nil, fmt.Errorf("encrypt key: %w", err)
	}
	return r.Encrypt(der, signingKeyContext(key.ID(), key.Algorithm())), nil
}

// DecryptSigningKey returns the key with this kid and alg from the result of
// [Ring.EncryptSigningKey], or [ErrUndecryptable].
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
