package db

import (
	"context"
	"crypto/sha256"
	"errors"

	"github.com/jackc/pgx/v5"

	"github.com/usher-auth/usher/internal/admin"
)

// AddAdminKey adds a key of the admin API. A name may have two active keys, for
// rotation; a third is [admin.ErrExists]. The role must own the table: the role of
// usher serve may not add keys.
func (db *DB) AddAdminKey(ctx context.Context, k admin.NewKey, actor admin.Actor) (added admin.Key, err error) {
	err = db.transactAs(ctx, actor, "add admin key", func(ctx context.Context, tx pgx.Tx) (err error) {
		if _, err := tx.Exec(ctx, statement("lock_admin_keys")); err != nil {
			return err
		}
		added, err = queryRow[admin.Key](ctx, tx, statement("add_admin_key"), pgx.StrictNamedArgs{
			"id": k.ID, "name": k.Name, "role": k.Role, "secret_hash": k.SecretHash[:],
			"expires_at": nullableTime(k.ExpiresAt), "created_by": actor,
		})
		if errors.Is(err, pgx.ErrNoRows) {
			return refuse(admin.ErrExists, "two active admin keys are already named %q: revoke one of them first", k.Name)
		}
		if err != nil {
			return err
		}
		return record(ctx, tx, "admin_key.add", k.ID, added)
	})
	return added, err
}

// AdminKeys lists the keys by name. all includes the revoked ones.
func (db *DB) AdminKeys(ctx context.Context, all bool) ([]admin.Key, error) {
	return ask[admin.Key](ctx, db, "list admin keys", statement("list_admin_keys"), pgx.StrictNamedArgs{"all": all})
}

// RevokeAdminKey revokes a key, from the next request on. If the key does not
// exist or is already revoked, the error is [admin.ErrNotFound]. The role must own
// the table.
func (db *DB) RevokeAdminKey(ctx context.Context, id string, actor admin.Actor) (revoked admin.Key, err error) {
	err = db.transactAs(ctx, actor, "revoke admin key", func(ctx context.Context, tx pgx.Tx) (err error) {
		revoked, err = queryRow[admin.Key](ctx, tx, statement("revoke_admin_key"), pgx.StrictNamedArgs{"id": id, "actor": actor})
		if errors.Is(err, pgx.ErrNoRows) {
			return refuse(admin.ErrNotFound, "there is no active admin key %q: see usher adminkey list", id)
		}
		if err != nil {
			return err
		}
		return record(ctx, tx, "admin_key.revoke", id, revoked)
	})
	return revoked, err
}

// AdminKey returns the name and role of the key with that ID and secret. The
// errors are [admin.ErrKeyUnknown], also for a wrong secret, [admin.ErrKeyRevoked]
// and [admin.ErrKeyExpired].
func (db *DB) AdminKey(ctx context.Context, id string, secretHash [sha256.Size]byte) (admin.Key, error) {
	ctx, cancel := context.WithTimeout(ctx, queryTimeout)
	defer cancel()
	type adminKeyRow struct {
		ID, Name                  string
		Role                      admin.Role
		SecretHash                []byte
		Revoked, Expired, NoteUse bool
	}
	row, err := queryRow[adminKeyRow](ctx, db.pool, statement("admin_key"), pgx.StrictNamedArgs{"id": id})
	if err != nil && !errors.Is(err, pgx.ErrNoRows) {
		return admin.Key{}, unavailable("look up admin key", err)
	}
	switch {
	case !isSecret(row.SecretHash, secretHash):
		return admin.Key{}, admin.ErrKeyUnknown
	case row.Revoked:
		return admin.Key{}, admin.ErrKeyRevoked
	case row.Expired:
		return admin.Key{}, admin.ErrKeyExpired
	}
	if row.NoteUse {
		_, _ = db.pool.Exec(ctx, statement("note_admin_key_use"), pgx.StrictNamedArgs{"id": id}) // losing it loses nothing
	}
	return admin.Key{ID: row.ID, Name: row.Name, Role: row.Role}, nil
}
