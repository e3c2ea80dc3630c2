package db

import (
	"context"
	"crypto/x509"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/usher-auth/usher/session"
)

type publicKeyRow struct {
	Alg       string
	PublicKey []byte
}

// PublishedKeys returns the public keys that usher serves now. It does not decrypt
// private halves, so it needs no key ring.
func (db *DB) PublishedKeys(ctx context.Context) (session.KeySet, error) {
	rows, err := ask[publicKeyRow](ctx, db, "published keys", statement("published_keys"), pgx.StrictNamedArgs{})
	if err != nil {
		return session.KeySet{}, err
	}
	keys := make([]session.JWK, len(rows))
	for i, r := range rows {
		public, err := x509.ParsePKIXPublicKey(r.PublicKey)
		if err != nil {
			return session.KeySet{}, fmt.Errorf("db: published keys: %w", err)
		}
		if keys[i], err = session.NewJWK(r.Alg, public); err != nil {
			return session.KeySet{}, fmt.Errorf("db: published keys: %w", err)
		}
	}
	return session.NewKeySet(keys...)
}
