package db_test

import (
	"bytes"
	"crypto/rand"
	"encoding/base64"
	"strings"
	"testing"
	"time"

	"github.com/usher-auth/usher/db/dbtest"
	"github.com/usher-auth/usher/internal/admin"
	"github.com/usher-auth/usher/internal/keyencryption"
	"github.com/usher-auth/usher/internal/secret"
	"github.com/usher-auth/usher/session"
)

func newKeyEncryption(t *testing.T) *keyencryption.Ring {
	t.Helper()
	key := make([]byte, 32)
	_, _ = rand.Read(key)
	encryption, err := keyencryption.Parse(secret.New(base64.StdEncoding.EncodeToString(key)))
	if err != nil {
		t.Fatal(err)
	}
	return encryption
}

func TestEnsureSigningKey(t *testing.T) {
	t.Parallel()
	pg := dbtest.New(t)
	owner, service, encryption := openURL(t, pg.URL), open(t, pg), newKeyEncryption(t)
	made, err := owner.EnsureSigningKey(t.Context(), session.EdDSA, encryption, "t")
	if err != nil || made == nil {
		t.Fatalf("made = %v, %v", made, err)
	}
	if again, err := owner.EnsureSigningKey(t.Context(), session.EdDSA, encryption, "t"); err != nil || again != nil {
		t.Errorf("a second one: %v, %v; want none", again, err)
	}
	if _, err := owner.EnsureSigningKey(t.Context(), session.ES256, encryption, "t"); err != nil {
		t.Fatal(err)
	}

	keys, unusable, err := service.SigningKeys(t.Context(), encryption)
	if err != nil || len(unusable) != 0 || len(keys) != 2 {
		t.Fatalf("SigningKeys = %v, %v, %v; want both", keys, unusable, err)
	}
	for _, key := range keys {
		if signing, err := session.NewKeyring(key).Signing(key.Algorithm(), time.Now()); err != nil || signing.ID() != key.ID() {
			t.Errorf("%s does not sign at once: %v", key, err)
		}
	}
	if _, unusable, err := service.SigningKeys(t.Context(), newKeyEncryption(t)); err != nil || len(unusable) != 2 {
		t.Errorf("under another key: %v unusable, %v; want both", unusable, err)
	}
	listed, err := service.ListSigningKeys(t.Context(), admin.Page[admin.SigningKeyPlace]{})
	if err != nil || len(listed) != 2 || listed[0] != *made || listed[1].Alg != session.ES256 || listed[0].SignsUntil != nil {
		t.Errorf("ListSigningKeys = %+v, %v", listed, err)
	}
}

func TestEnsureSigningKeyErrors(t *testing.T) {
	t.Parallel()
	pg := dbtest.New(t)
	encryption := newKeyEncryption(t)
	if _, err := openURL(t, pg.URL).EnsureSigningKey(t.Context(), "RS256", encryption, "t"); err == nil || !strings.Contains(err.Error(), "RS256") {
		t.Errorf("RS256: %v, want an error that names it", err)
	}
	_, err := open(t, pg).EnsureSigningKey(t.Context(), session.EdDSA, encryption, "t")
	if err == nil || !strings.Contains(err.Error(), "may not do that") {
		t.Errorf("as the service: %v, want that it may not", err)
	}
}

// If two replicas start at the same time, only one creates the key.
func TestEnsureSigningKeyAtTheSameTime(t *testing.T) {
	t.Parallel()
	pg := dbtest.New(t)
	database, encryption := openURL(t, pg.URL), newKeyEncryption(t)
	first, err := connect(t, pg.URL).Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	run(t, first, "SELECT FROM usher.locks WHERE name = 'signing_keys' FOR UPDATE")
	run(t, first, `INSERT INTO usher.signing_keys (kid, alg, public_key, encrypted_key, published_at, signs_from)
		VALUES ('first', 'EdDSA', '', '', now(), now())`)
	ended := make(chan error, 1)
	var made *admin.SigningKeyTimes
	go func() {
		var err error
		made, err = database.EnsureSigningKey(t.Context(), session.EdDSA, encryption, "t")
		ended <- err
	}()
	awaitBlocked(t, pg, ended)
	if err := first.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := <-ended; err != nil || made != nil {
		t.Errorf("made = %v, %v; want none beside the first", made, err)
	}
}

// The contents of the table are useless without the key encryption key.
func TestSigningKeyIsEncrypted(t *testing.T) {
	t.Parallel()
	pg := dbtest.New(t)
	if _, err := openURL(t, pg.URL).EnsureSigningKey(t.Context(), session.EdDSA, newKeyEncryption(t), "t"); err != nil {
		t.Fatal(err)
	}
	var sealed, public []byte
	if err := pg.Pool.QueryRow(t.Context(), "SELECT encrypted_key, public_key FROM usher.signing_keys").Scan(&sealed, &public); err != nil {
		t.Fatal(err)
	}
	ed25519OID := []byte{0x06, 0x03, 0x2b, 0x65, 0x70} // in every PKCS 8 and PKIX of an Ed25519 key
	if bytes.Contains(sealed, ed25519OID) || !bytes.Contains(public, ed25519OID) {
		t.Errorf("encrypted_key = %x, public_key = %x: want the first unreadable, the second not", sealed, public)
	}
}
