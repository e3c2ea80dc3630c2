package session

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/usher-auth/usher/internal/jwk"
)

var (
	// ErrSigningKeyUnknown is returned by a [KeySource] that has no key with this kid. A
	// token that names it is not valid.
	ErrSigningKeyUnknown = errors.New("session: unknown key")
	// ErrKeysUnavailable is returned by a [KeySource] that could not get the keys. It
	// says nothing about the token: try again later.
	ErrKeysUnavailable = errors.New("session: keys are unavailable")
)

// A KeySource finds the key that a token names. It is safe for concurrent use.
type KeySource interface {
	// Key returns the key with this kid, [ErrSigningKeyUnknown], or an error that wraps
	// [ErrKeysUnavailable]. It returns at the latest when ctx ends.
	Key(ctx context.Context, kid string) (JWK, error)
}

// A KeySet is a [KeySource] with a fixed set of keys. It is immutable. The zero KeySet is
// empty.
type KeySet struct{ keys map[string]JWK }

// NewKeySet returns a set with these keys. Each kid may be used only once.
func NewKeySet(keys ...JWK) (KeySet, error) {
	byID := make(map[string]JWK, len(keys))
	for _, k := range keys {
		if _, twice := byID[k.KeyID]; twice || k.Public() == nil {
			return KeySet{}, fmt.Errorf("session: key %q is repeated, or empty", k.KeyID)
		}
		byID[k.KeyID] = k
	}
	return KeySet{byID}, nil
}

// ParseJWKS reads a JWK Set (RFC 7517, section 5) of at most 256 KiB and 64 keys. It leaves
// out keys that [ParseJWK] refuses, and keys with the same kid, because a kid must select
// one key. The result may be empty. If the set contains a private key, it returns
// [ErrPrivateKey].
func ParseJWKS(data []byte) (KeySet, error) {
	set, err := parseJWKS(data)
	if err != nil {
		return KeySet{}, fmt.Errorf("session: JWK Set: %w", err)
	}
	return set, nil
}

func parseJWKS(data []byte) (KeySet, error) {
	set, err := jwk.Own.ParseSet(data)
	if err != nil {
		return KeySet{}, err
	}
	keys := make(map[string]JWK, len(set.Keys))
	twice := map[string]bool{}
	for _, k := range set.Keys {
		_, seen := keys[k.ID]
		twice[k.ID] = seen
		keys[k.ID] = JWK{k.ID, k.Algorithm, k}
	}
	for kid, is := range twice {
		if is {
			delete(keys, kid)
		}
	}
	return KeySet{keys}, nil
}

// KeysFromFile reads a JWK Set from a file, once. It is an error if the file has no usable
// key.
func KeysFromFile(path string) (KeySet, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return KeySet{}, fmt.Errorf("session: JWK Set: %w", err)
	}
	set, err := ParseJWKS(data)
	if err == nil && set.Len() == 0 {
		err = fmt.Errorf("session: JWK Set: no usable key in %s", path)
	}
	return set, err
}

// Key implements [KeySource].
func (s KeySet) Key(_ context.Context, kid string) (JWK, error) {
	k, ok := s.keys[kid]
	if !ok {
		return JWK{}, ErrSigningKeyUnknown
	}
	return k, nil
}

// Len returns the number of keys.
func (s KeySet) Len() int { return len(s.keys) }

// Keys returns the keys, ordered by kid.
func (s KeySet) Keys() []JWK {
	keys := make([]JWK, 0, len(s.keys))
	for _, k := range s.keys {
		keys = append(keys, k)
	}
	slices.SortFunc(keys, func(a, b JWK) int { return strings.Compare(a.KeyID, b.KeyID) })
	return keys
}

// MarshalJWKS writes a JWK Set with the public members of these keys, in their order.
func MarshalJWKS(keys []JWK) []byte {
	data, err := json.Marshal(struct {
		Keys []JWK `json:"keys"`
	}{append([]JWK{}, keys...)})
	if err != nil {
		panic(err) // strings always marshal
	}
	return data
}
