package session_test

import (
	"context"
	"crypto"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/usher-auth/usher/permissions"
	"github.com/usher-auth/usher/session"
)

// A backend that must not depend on the network can issue tokens itself, with a key from a
// file. It is a separate issuer with its own URL and key set, never usher's, and its tokens
// are not in usher's audit. Sync backends that accept its tokens have one verifier for each
// of the two issuers.
func ExampleIssuer_inProcess() {
	directory, err := os.MkdirTemp("", "issuer")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(directory)
	path := filepath.Join(directory, "key.pem")
	if err := writeKey(path); err != nil { // once, by who sets it up: openssl genpkey -algorithm ed25519
		fmt.Println(err)
		return
	}

	// In the backend, when it starts.
	private, err := readKey(path)
	if err != nil {
		fmt.Println(err)
		return
	}
	key, err := session.NewSigningKey(private, session.KeyTimes{})
	if err != nil {
		fmt.Println(err)
		return
	}
	issuer, err := session.NewIssuer(session.IssuerConfig{
		Issuer: "https://jobs.example.com",
		Keys:   session.NewKeyring(key),
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	keySet := session.MarshalJWKS([]session.JWK{key.PublicJWK()}) // for the sync backends: a file, or a URL

	// For each token.
	token, err := issuer.Prepare(session.User{ID: "importer"}).Allow("acme:*", permissions.Full).Authorize()
	if err != nil {
		fmt.Println(err)
		return
	}

	// In a sync backend.
	keys, err := session.ParseJWKS(keySet) // or session.KeysFromFile
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, name := range []string{"https://jobs.example.com", "https://auth.example.com"} {
		verifier, err := session.NewVerifier(session.VerifierConfig{Issuer: name, Audience: "liveblocks", Keys: keys})
		if err != nil {
			fmt.Println(err)
			return
		}
		claims, err := verifier.Verify(context.Background(), token.Text.Reveal())
		fmt.Println("as from", name+":", claims.Can(permissions.Room("acme:1"), permissions.Full), err)
	}
	// Output:
	// as from https://jobs.example.com: true <nil>
	// as from https://auth.example.com: false session: invalid token
}

// readKey reads a private key in PKCS #8. Only the file's owner may be able to read it.
func readKey(path string) (crypto.Signer, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if info.Mode().Perm()&0o077 != 0 {
		return nil, errors.New("others may read the key: chmod 600 it")
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	block, rest := pem.Decode(text)
	if block == nil || block.Type != "PRIVATE KEY" || len(rest) > 0 {
		return nil, errors.New("the file is not one PEM block of a private key in PKCS #8")
	}
	private, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, err
	}
	signer, ok := private.(crypto.Signer)
	if !ok {
		return nil, fmt.Errorf("a %T does not sign", private)
	}
	return signer, nil
}

// writeKey writes a new private key. It never overwrites a file.
func writeKey(path string) error {
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return err
	}
	der, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		return err
	}
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	return errors.Join(pem.Encode(file, &pem.Block{Type: "PRIVATE KEY", Bytes: der}), file.Close())
}
