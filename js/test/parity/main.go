// Parity prints Go's verdicts on test vectors, for parity.test.mjs to compare with
// those of the npm package. It reads one JSON document from stdin and writes one
// to stdout.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/usher-auth/usher/internal/strictjson"
	"github.com/usher-auth/usher/permissions"
	"github.com/usher-auth/usher/session"
)

type questions struct {
	Suites    []suite
	KeySets   [][]byte
	Documents [][]byte
}

// suite holds tokens for one verifier, and resources to check with each.
type suite struct {
	Issuer, Audience string
	Now, Leeway      int64
	JWKS             json.RawMessage
	Tokens           []string
	Rooms, Stores    []string
}

type answers struct {
	Suites    [][]verdict // for each suite, one per token
	KeySets   [][]string  // the usable kids, null for a set that is refused
	Documents []bool      // whether it is strict JSON
}

type verdict struct {
	Code          string   // why it is refused; empty for a valid token
	Rooms, Stores []string // access
}

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "parity:", err)
		os.Exit(1)
	}
}

func run() error {
	var q questions
	if err := json.NewDecoder(os.Stdin).Decode(&q); err != nil {
		return err
	}
	var a answers
	for _, s := range q.Suites {
		verdicts, err := s.verdicts()
		if err != nil {
			return err
		}
		a.Suites = append(a.Suites, verdicts)
	}
	for _, data := range q.KeySets {
		a.KeySets = append(a.KeySets, usableKeys(data))
	}
	for _, data := range q.Documents {
		_, err := strictjson.Parse(data, 16)
		a.Documents = append(a.Documents, err == nil)
	}
	return json.NewEncoder(os.Stdout).Encode(a)
}

func (s suite) verdicts() ([]verdict, error) {
	keys, err := session.ParseJWKS(s.JWKS)
	if err != nil {
		return nil, err
	}
	verifier, err := session.NewVerifier(session.VerifierConfig{
		Issuer:   s.Issuer,
		Audience: s.Audience,
		Keys:     keys,
		Leeway:   time.Duration(s.Leeway) * time.Second,
		Now:      func() time.Time { return time.Unix(s.Now, 0) },
	})
	if err != nil {
		return nil, err
	}
	verdicts := make([]verdict, len(s.Tokens))
	for i, token := range s.Tokens {
		claims, err := verifier.Verify(context.Background(), token)
		if refusal, ok := errors.AsType[*session.TokenError](err); ok {
			verdicts[i].Code = refusal.Code
			continue
		}
		if err != nil {
			return nil, err
		}
		for _, id := range s.Rooms {
			verdicts[i].Rooms = append(verdicts[i].Rooms, claims.Access(permissions.Room(id)).String())
		}
		for _, id := range s.Stores {
			verdicts[i].Stores = append(verdicts[i].Stores, claims.Access(permissions.Store(id)).String())
		}
	}
	return verdicts, nil
}

// usableKeys returns nil for a set without a usable key, which both languages
// refuse when they fetch it.
func usableKeys(data []byte) []string {
	set, err := session.ParseJWKS(data)
	if err != nil || set.Len() == 0 {
		return nil
	}
	var kids []string
	for _, key := range set.Keys() {
		kids = append(kids, key.KeyID+" "+key.Algorithm)
	}
	return kids
}
