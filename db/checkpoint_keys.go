package db

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"golang.org/x/mod/sumdb/note"

	"github.com/usher-auth/usher/audit"
	"github.com/usher-auth/usher/internal/admin"
	"github.com/usher-auth/usher/internal/keyencryption"
)

// ErrNoCheckpointKey says that the database has no key to sign the audit's
// checkpoints. The audit's rows are stored, but not sealed.
var ErrNoCheckpointKey = errors.New("db: no key signs the audit's checkpoints: run usher migrate up with the key encryption key")

// A CheckpointKey is the public half of a key that signs the audit's
// checkpoints.
type CheckpointKey struct {
	Name      string    `json:"name"`
	PublicKey string    `json:"publicKey"` // as [note.NewVerifier] reads it
	CreatedAt time.Time `json:"createdAt"`
}

// CheckpointKeys lists the keys, newest first. The newest one signs.
func (db *DB) CheckpointKeys(ctx context.Context) ([]CheckpointKey, error) {
	return ask[CheckpointKey](ctx, db, "list checkpoint keys", statement("list_checkpoint_keys"), nil)
}

// EnsureCheckpointKey creates the key that signs the audit's checkpoints if there
// is no key yet. Its private half is stored encrypted. The role must own the table.
func (db *DB) EnsureCheckpointKey(ctx context.Context, encryption *keyencryption.Ring, actor admin.Actor) error {
	// The name says whose tree it is: no two databases have the same.
	name := "usher-audit-" + strings.ToLower(rand.Text()[:13])
	private, public, err := note.GenerateKey(rand.Reader, name)
	if err != nil {
		return fmt.Errorf("db: make checkpoint key: %w", err)
	}
	return db.transactAs(ctx, actor, "make checkpoint key", func(ctx context.Context, tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, statement("lock_signing_keys")); err != nil {
			return err
		}
		added, err := tx.Exec(ctx, statement("add_checkpoint_key"), pgx.StrictNamedArgs{
			"name": name, "public_key": public, "encrypted_key": encryption.Encrypt([]byte(private), checkpointKeyContext(name)),
		})
		if err != nil || added.RowsAffected() == 0 {
			return err
		}
		return record(ctx, tx, "checkpoint_key.add", name, map[string]string{"publicKey": public})
	})
}

func checkpointKeyContext(name string) string { return "usher.checkpoint_keys\x00" + name }

// checkpointSigner decrypts the signing key, or returns [ErrNoCheckpointKey].
func (db *DB) checkpointSigner(ctx context.Context, encryption *keyencryption.Ring) (note.Signer, error) {
	ctx, cancel := context.WithTimeout(ctx, queryTimeout)
	defer cancel()
	var name string
	var sealed []byte
	err := db.pool.QueryRow(ctx, statement("checkpoint_key")).Scan(&name, &sealed)
	if errors.Is(err, pgx.ErrNoRows) {
		return nil, ErrNoCheckpointKey
	}
	if err != nil {
		return nil, unavailable("checkpoint key", err)
	}
	private, err := encryption.Decrypt(sealed, checkpointKeyContext(name))
	if err != nil {
		return nil, fmt.Errorf("db: checkpoint key %s: %w", name, err)
	}
	signer, err := note.NewSigner(string(private))
	if err != nil {
		return nil, fmt.Errorf("db: checkpoint key %s is not one", name) // without the text of it
	}
	return signer, nil
}

// verifiers are the public keys in the database.
func (db *DB) verifiers(ctx context.Context, q querier) (note.Verifiers, error) {
	keys, err := list[CheckpointKey](ctx, q, "list checkpoint keys", statement("list_checkpoint_keys"), nil)
	if err != nil {
		return nil, err
	}
	texts := make([]string, len(keys))
	for i, key := range keys {
		texts[i] = key.PublicKey
	}
	verifiers, err := audit.ParseKeys(texts...)
	if err != nil {
		return nil, refuse(admin.ErrInvalid, "%s", err)
	}
	return verifiers, nil
}
