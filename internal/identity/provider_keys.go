package identity

import (
	"bytes"
	"cmp"
	"context"
	"crypto"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"os"

	"github.com/usher-auth/usher/internal/jwk"
)

// A KeySet holds the public keys of one provider. It is immutable. The zero
// KeySet is empty.
type KeySet struct{ jwk.Set }

// NewKeySet returns the set of these keys.
func NewKeySet(keys ...jwk.Key) KeySet { return newKeySet(jwk.Set{Keys: keys}) }

// newKeySet keeps one of keys that are equal. Of different keys that share a kid
// and an algorithm it keeps none: nothing says which of them a token means.
func newKeySet(set jwk.Set) KeySet {
	kept := jwk.Set{Unusable: set.Unusable}
	for n, k := range set.Keys {
		equal, different := false, false
		for m, other := range set.Keys {
			if n == m || k.ID != other.ID || k.Algorithm != other.Algorithm {
				continue
			}
			equal = equal || m < n && k.Equal(other)
			different = different || k.ID != "" && !k.Equal(other)
		}
		switch {
		case different:
			kept.Unusable = append(kept.Unusable, jwk.Unusable{Position: n + 1, ID: k.ID, Err: errors.New("another " + k.Algorithm + " key has the same kid")})
		case !equal:
			kept.Keys = append(kept.Keys, k)
		}
	}
	return KeySet{kept}
}

// A keyName is what a token's header says of its key.
type keyName struct {
	kid       string
	named     bool // whether there is a kid
	algorithm string
}

// unknownKeyError says why no key is the token's. It quotes nothing of the token.
type unknownKeyError struct {
	reason string
	final  bool // fetching the keys again would not help
}

func (e *unknownKeyError) Error() string { return e.reason }

// find returns the key that a token names by its kid and alg. Where the token has
// no kid, or no key has this one, it is the only key that fits: of the token's
// algorithm, and without a kid of its own that says otherwise. A key of the
// token's kid that is for another algorithm is returned too, to be refused.
func (s KeySet) find(name keyName) (jwk.Key, error) {
	var fitting []jwk.Key
	var otherAlgorithm *jwk.Key
	for _, k := range s.Keys {
		sameKey := name.named && k.ID == name.kid
		switch {
		case sameKey && k.Algorithm == name.algorithm:
			return k, nil
		case sameKey:
			otherAlgorithm = &k
		case k.Algorithm == name.algorithm && (k.ID == "" || !name.named):
			fitting = append(fitting, k)
		}
	}
	switch {
	case otherAlgorithm != nil:
		return *otherAlgorithm, nil
	case len(fitting) == 1:
		return fitting[0], nil
	case len(fitting) > 1:
		return jwk.Key{}, &unknownKeyError{fmt.Sprintf("%d keys fit: the token must name one by its kid", len(fitting)), true}
	case !name.named:
		return jwk.Key{}, &unknownKeyError{"the token has no kid, and no key is for " + name.algorithm, false}
	}
	for _, u := range s.Unusable {
		if u.ID == name.kid {
			return jwk.Key{}, &unknownKeyError{fmt.Sprintf("key %d of the set has this kid and is not used: %v", u.Position, u.Err), true}
		}
	}
	return jwk.Key{}, &unknownKeyError{"no key of the provider has this kid", false}
}

// keySource finds the key that a token names.
type keySource interface {
	key(ctx context.Context, name keyName) (jwk.Key, error)
}

func (s KeySet) key(_ context.Context, name keyName) (jwk.Key, error) { return s.find(name) }

// fetchedKeys are a provider's keys at a URL.
type fetchedKeys struct{ *jwk.Fetcher[KeySet] }

func (f fetchedKeys) key(ctx context.Context, name keyName) (key jwk.Key, err error) {
	unavailable := f.Find(ctx, func(keys KeySet) error {
		key, err = keys.find(name)
		if unknown, ok := errors.AsType[*unknownKeyError](err); ok && unknown.final {
			return nil
		}
		return err
	})
	return key, cmp.Or(unavailable, err)
}

// profile says which keys of the provider are used.
func (c *ProviderConfig) profile() jwk.Profile {
	algorithms := c.Algorithms
	if algorithms == nil {
		algorithms = jwk.Algorithms()
	}
	return jwk.Profile{Algorithms: algorithms, Lenient: true}
}

// parseSet reads a JWK Set in which one key at least can be used.
func (c *ProviderConfig) parseSet(data []byte, address string) (KeySet, error) {
	set, err := c.profile().ParseSet(data)
	if err != nil {
		return KeySet{}, err
	}
	keys := newKeySet(set)
	if len(keys.Keys) == 0 {
		return KeySet{}, fmt.Errorf("no usable key at %s: %s", address, keys.Reasons())
	}
	return keys, nil
}

// readKeys reads the keys in a file: a JWK Set, one JWK, or PEM.
func (c *ProviderConfig) readKeys(path string) (KeySet, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return KeySet{}, err
	}
	if bytes.Contains(data, []byte("-----BEGIN ")) {
		return c.parsePEM(data, path)
	}
	if jwk.IsSet(data) {
		return c.parseSet(data, path)
	}
	key, err := c.profile().Parse(data)
	if err != nil {
		return KeySet{}, fmt.Errorf("%s is not a JWK Set, a JWK or PEM that usher can use: %w", path, err)
	}
	return NewKeySet(key), nil
}

// parsePEM reads public keys (SubjectPublicKeyInfo, PKCS #1) and those in
// certificates, of which it reads nothing else.
func (c *ProviderConfig) parsePEM(data []byte, path string) (KeySet, error) {
	var set jwk.Set
	for n := 1; ; n++ {
		block, rest := pem.Decode(data)
		if block == nil {
			if len(bytes.TrimSpace(data)) > 0 {
				return KeySet{}, fmt.Errorf("%s: text after %d PEM blocks that is not PEM", path, n-1)
			}
			break
		}
		data = rest
		public, err := parsePEMBlock(block)
		if errors.Is(err, jwk.ErrPrivateKey) {
			return KeySet{}, fmt.Errorf("%s: %w: give usher only the public half", path, err)
		}
		var key jwk.Key
		if err == nil {
			key, err = c.profile().Unnamed(public)
		}
		if err != nil {
			set.Unusable = append(set.Unusable, jwk.Unusable{Position: n, Err: err})
			continue
		}
		set.Keys = append(set.Keys, key)
	}
	keys := newKeySet(set)
	if len(keys.Keys) == 0 {
		return KeySet{}, fmt.Errorf("no usable key in %s: %s", path, keys.Reasons())
	}
	return keys, nil
}

func parsePEMBlock(block *pem.Block) (crypto.PublicKey, error) {
	switch block.Type {
	case "PUBLIC KEY":
		return x509.ParsePKIXPublicKey(block.Bytes)
	case "RSA PUBLIC KEY":
		return x509.ParsePKCS1PublicKey(block.Bytes)
	case "CERTIFICATE":
		certificate, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, err
		}
		return certificate.PublicKey, nil
	case "PRIVATE KEY", "RSA PRIVATE KEY", "EC PRIVATE KEY", "ENCRYPTED PRIVATE KEY":
		return nil, jwk.ErrPrivateKey
	}
	return nil, fmt.Errorf("PEM of type %.64q is not a public key", block.Type)
}
