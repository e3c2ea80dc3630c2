package db

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/usher-auth/usher/internal/admin"
	"github.com/usher-auth/usher/internal/keyencryption"
	"github.com/usher-auth/usher/session"
)

// clockSkew is the tolerated difference between the clocks of replicas.
const clockSkew = time.Minute

type signingKeyRow struct {
	KID           string `db:"kid"`
	Alg           string
	PublicKey     []byte
	EncryptedKey  []byte
	PublishedAt   time.Time
	SignsFrom     time.Time
	SignsUntil    *time.Time
	UnpublishedAt *time.Time
	CompromisedAt *time.Time
}

// SigningKeys loads the keys that are published now or will be. It leaves out keys
// that it cannot decrypt and reports them in unusable.
func (db *DB) SigningKeys(ctx context.Context, encryption *keyencryption.Ring) (keys []*session.SigningKey, unusable []error, err error) {
	rows, err := db.pool.Query(ctx, statement("signing_keys"))
	if err != nil {
		return nil, nil, unavailable("signing keys", err)
	}
	found, err := pgx.CollectRows(rows, pgx.RowToStructByName[signingKeyRow])
	if err != nil {
		return nil, nil, unavailable("signing keys", err)
	}
	for _, r := range found {
		times := session.KeyTimes{
			PublishedAt: r.PublishedAt, SignsFrom: r.SignsFrom,
			SignsUntil: deref(r.SignsUntil), UnpublishedAt: deref(r.UnpublishedAt), CompromisedAt: deref(r.CompromisedAt),
		}
		key, err := encryption.DecryptSigningKey(r.KID, r.Alg, r.EncryptedKey, times)
		if err != nil {
			unusable = append(unusable, err)
			continue
		}
		keys = append(keys, key)
	}
	return keys, unusable, nil
}

// EnsureSigningKey creates the first signing key of an algorithm, its private half
// encrypted, and returns its times: it signs at once. If the algorithm already has
// a key that signs or will sign, it creates none and returns nil. A concurrent call
// waits for this one. The role must own the table: the role of usher serve may not
// add keys.
func (db *DB) EnsureSigningKey(ctx context.Context, alg string, encryption *keyencryption.Ring, actor admin.Actor) (made *admin.SigningKeyTimes, err error) {
	// Nobody has cached a key set without the first key, so it signs at once, even on
	// a replica whose clock is behind.
	now := time.Now()
	key, err := session.GenerateKey(alg, session.KeyTimes{PublishedAt: now.Add(-clockSkew), SignsFrom: now.Add(-clockSkew)})
	if err != nil {
		return nil, err
	}
	encrypted, err := encryption.EncryptSigningKey(key)
	if err != nil {
		return nil, err
	}
	public, err := key.MarshalPublic()
	if err != nil {
		return nil, err
	}
	err = db.transactAs(ctx, actor, "ensure signing key", func(ctx context.Context, tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, statement("lock_signing_keys")); err != nil {
			return err
		}
		var exists bool
		if err := tx.QueryRow(ctx, statement("has_signing_key"), pgx.StrictNamedArgs{"alg": alg, "now": now}).Scan(&exists); err != nil || exists {
			return err
		}
		added, err := queryRow[admin.SigningKeyTimes](ctx, tx, statement("add_signing_key"), pgx.StrictNamedArgs{
			"kid": key.ID(), "alg": alg, "public_key": public, "encrypted_key": encrypted,
			"published_at": key.PublishedAt, "signs_from": key.SignsFrom,
		})
		if err != nil {
			return err
		}
		made = &added
		return record(ctx, tx, "signing_key.add", added.ID, added)
	})
	if err != nil {
		return nil, err
	}
	return made, nil
}

// ListSigningKeys lists all keys, past ones too, in the order in which they started
// to sign. It decrypts none of them.
func (db *DB) ListSigningKeys(ctx context.Context, page admin.Page[admin.SigningKeyPlace]) ([]admin.SigningKeyTimes, error) {
	return ask[admin.SigningKeyTimes](ctx, db, "list signing keys", statement("list_signing_keys"), pgx.StrictNamedArgs{
		"after": page.After.SignsFrom, "after_kid": page.After.ID, "limit": page.Limit,
	})
}
