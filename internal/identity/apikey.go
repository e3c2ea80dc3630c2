package identity

import (
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash/crc32"
	"math/big"
	"strings"

	"github.com/usher-auth/usher/internal/secret"
)

// An API key is sk_<environment>_<id>_<secret>_<checksum>, in letters and
// digits: what Liveblocks' SDK accepts as a secret, and what scanners of source
// code recognize. Its regular expression:
//
//	sk_[a-z]{2,12}_[0-9A-Za-z]{12}_[0-9A-Za-z]{43}_[0-9A-Za-z]{6}
//
// An admin key is the same with ak_ in front.
const (
	keyPrefix     = "sk_"
	adminPrefix   = "ak_"
	keyIDLength   = 12
	secretLength  = 43 // 256 bits
	sumLength     = 6
	base62Digits  = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
	maxEnvLength  = 12
	publicKeyLike = "pk_"
)

// Why a text is not an API key.
var (
	ErrPublicKey = errors.New("identity: a public key instead of a secret key")
	ErrBadAPIKey = errors.New("identity: not an API key: its form or its checksum is wrong")
	ErrAdminKey  = errors.New("identity: an admin key instead of an API key")
)

// An APIKey is a credential as its caller shows it. Whether there is a key with
// this ID and this secret, the database says.
type APIKey struct {
	ID   string
	Hash [sha256.Size]byte // of the secret, which itself is never stored
}

// NewAPIKey makes a key of an environment, such as "live" or "dev". The text
// is shown to its owner once, and never kept.
func NewAPIKey(environment string) (text secret.Text, key APIKey, err error) {
	return newKey(keyPrefix, environment)
}

func newKey(prefix, environment string) (text secret.Text, key APIKey, err error) {
	if len(environment) < 2 || len(environment) > maxEnvLength || strings.Trim(environment, "abcdefghijklmnopqrstuvwxyz") != "" {
		return secret.Text{}, APIKey{}, fmt.Errorf("identity: environment %q is not 2 to %d lower-case letters", environment, maxEnvLength)
	}
	body := prefix + environment + "_" + randomBase62(keyIDLength) + "_" + randomBase62(secretLength)
	text = secret.New(body + "_" + checksum(body))
	key, ok := parseKey(prefix, text.Reveal())
	if !ok {
		panic("identity: a new key cannot be parsed") // or every key would be refused
	}
	return text, key, nil
}

// ParseAPIKey reads a key. It returns [ErrPublicKey] and [ErrAdminKey] for texts
// that begin like those, and [ErrBadAPIKey] for any other that is not an API key:
// a typo costs no query.
func ParseAPIKey(text secret.Text) (APIKey, error) {
	s := text.Reveal()
	key, ok := parseKey(keyPrefix, s)
	switch {
	case ok:
		return key, nil
	case strings.HasPrefix(s, publicKeyLike):
		return APIKey{}, ErrPublicKey
	case strings.HasPrefix(s, adminPrefix):
		return APIKey{}, ErrAdminKey
	}
	return APIKey{}, ErrBadAPIKey
}

func parseKey(prefix, s string) (APIKey, bool) {
	parts := strings.Split(s, "_")
	if len(parts) != 5 || parts[0]+"_" != prefix || len(s) > len(prefix)+maxEnvLength+keyIDLength+secretLength+sumLength+3 {
		return APIKey{}, false
	}
	id, random, sum := parts[2], parts[3], parts[4]
	if len(id) != keyIDLength || len(random) != secretLength || checksum(s[:len(s)-sumLength-1]) != sum ||
		strings.Trim(id+random, base62Digits) != "" {
		return APIKey{}, false
	}
	return APIKey{ID: id, Hash: sha256.Sum256([]byte(random))}, true
}

// randomBase62 returns n digits from crypto/rand, all equally likely.
func randomBase62(n int) string {
	digits := make([]byte, n)
	for i := range digits {
		d, err := rand.Int(rand.Reader, big.NewInt(int64(len(base62Digits))))
		if err != nil {
			panic(err) // crypto/rand never fails
		}
		digits[i] = base62Digits[d.Int64()]
	}
	return string(digits)
}

// checksum is CRC-32 (IEEE) in six digits of base 62.
func checksum(body string) string {
	sum := crc32.ChecksumIEEE([]byte(body))
	digits := make([]byte, sumLength)
	for i := sumLength - 1; i >= 0; i-- {
		digits[i] = base62Digits[sum%uint32(len(base62Digits))]
		sum /= uint32(len(base62Digits))
	}
	return string(digits)
}
