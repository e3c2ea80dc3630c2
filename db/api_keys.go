package db

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/usher-auth/usher/internal/admin"
	"github.com/usher-auth/usher/internal/principal"
	"github.com/usher-auth/usher/session"
)

// AddAPIKey adds a key. A name may have two active keys, for rotation; a third is
// [admin.ErrExists].
func (db *DB) AddAPIKey(ctx context.Context, k admin.NewAPIKey, actor admin.Actor) (added admin.APIKey, err error) {
	err = db.transactAs(ctx, actor, "add API key", func(ctx context.Context, tx pgx.Tx) (err error) {
		if _, err := tx.Exec(ctx, statement("lock_api_keys")); err != nil {
			return err
		}
		added, err = queryRow[admin.APIKey](ctx, tx, statement("add_api_key"), pgx.StrictNamedArgs{
			"id": k.ID, "name": k.Name, "secret_hash": k.SecretHash[:], "routes": k.Routes, "organizations": k.Organizations,
			"patterns": k.Patterns, "expires_at": nullableTime(k.ExpiresAt), "created_by": actor,
		})
		if errors.Is(err, pgx.ErrNoRows) {
			return refuse(admin.ErrExists, "two active keys are already named %q: revoke one of them first", k.Name)
		}
		if err != nil {
			return err
		}
		return record(ctx, tx, "api_key.add", k.ID, added)
	})
	return added, err
}

// APIKeys lists the keys by name. all includes the revoked ones.
func (db *DB) APIKeys(ctx context.Context, all bool, page admin.Page[admin.KeyPlace]) ([]admin.APIKey, error) {
	return ask[admin.APIKey](ctx, db, "list API keys", statement("list_api_keys"), pgx.StrictNamedArgs{
		"all": all, "after_name": page.After.Name, "after": page.After.CreatedAt, "after_id": page.After.ID, "limit": page.Limit,
	})
}

// RevokeAPIKey revokes a key, from the next request on. If the key does not exist
// or is already revoked, the error is [admin.ErrNotFound].
func (db *DB) RevokeAPIKey(ctx context.Context, id string, actor admin.Actor) (revoked admin.APIKey, err error) {
	err = db.transactAs(ctx, actor, "revoke API key", func(ctx context.Context, tx pgx.Tx) (err error) {
		revoked, err = queryRow[admin.APIKey](ctx, tx, statement("revoke_api_key"), pgx.StrictNamedArgs{"id": id, "actor": actor})
		if errors.Is(err, pgx.ErrNoRows) {
			return refuse(admin.ErrNotFound, "there is no active API key %q: see usher apikey list", id)
		}
		if err != nil {
			return err
		}
		return record(ctx, tx, "api_key.revoke", id, revoked)
	})
	return revoked, err
}

type apiKeyRow struct {
	ID            string
	Name          string
	SecretHash    []byte
	Routes        []string
	Organizations []string
	Patterns      session.Patterns
	ExpiresAt     *time.Time
	Revoked       bool
	Expired       bool
	NoteUse       bool
	At            time.Time
}

// PrincipalByAPIKey returns the key with that ID and secret, and the principal for
// the named user, in one round trip. A named organization counts like a session's
// active one. Without a user there is no principal.
//
// The errors are [principal.ErrAPIKeyUnknown], also for a wrong secret,
// [principal.ErrAPIKeyRevoked] and [principal.ErrAPIKeyExpired].
func (d *Directory) PrincipalByAPIKey(ctx context.Context, id string, secretHash [sha256.Size]byte, user, organization string) (*principal.APIKey, *principal.Principal, error) {
	ctx, cancel := context.WithTimeout(ctx, queryTimeout)
	defer cancel()
	batch := new(pgx.Batch)
	batch.Queue(statement("api_key"), id)
	if user != "" {
		batch.Queue(statement("look_up_principals"), []*string{nil}, []*string{&user}, []*string{nullable(organization)})
	}
	sent := d.db.now()
	results := d.db.pool.SendBatch(ctx, batch)
	defer results.Close()

	rows, err := results.Query()
	if err != nil {
		return nil, nil, unavailable("look up API key", err)
	}
	row, err := pgx.CollectExactlyOneRow(rows, pgx.RowToStructByName[apiKeyRow])
	if err != nil && !errors.Is(err, pgx.ErrNoRows) {
		return nil, nil, unavailable("look up API key", err)
	}
	if err == nil {
		if err := d.db.checkClock(row.At, sent, d.db.now()); err != nil {
			return nil, nil, unavailable("look up API key", err)
		}
	}
	switch {
	case !isSecret(row.SecretHash, secretHash):
		return nil, nil, principal.ErrAPIKeyUnknown
	case row.Revoked:
		return nil, nil, principal.ErrAPIKeyRevoked
	case row.Expired:
		return nil, nil, principal.ErrAPIKeyExpired
	}
	key := &principal.APIKey{ID: row.ID, Name: row.Name, Routes: row.Routes, Organizations: row.Organizations, Scope: row.Patterns, ExpiresAt: deref(row.ExpiresAt)}
	var p *principal.Principal
	if user != "" {
		rows, err := results.Query()
		if err != nil {
			return nil, nil, unavailable("look up user", err)
		}
		row, err := pgx.CollectExactlyOneRow(rows, pgx.RowToStructByPos[principalRow])
		if err != nil {
			return nil, nil, unavailable("look up user", err)
		}
		if p, err = row.principal(); err != nil {
			return nil, nil, unavailable("look up user", err)
		}
	}
	if row.NoteUse {
		d.noteUse(ctx, results, id)
	}
	return key, p, nil
}

// isSecret reports whether the secret that a caller sent matches the stored hash.
// kept is empty for an unknown key, for which the comparison takes as long.
func isSecret(kept []byte, shown [sha256.Size]byte) bool {
	var dummy [sha256.Size]byte
	if len(kept) != len(dummy) {
		subtle.ConstantTimeCompare(dummy[:], shown[:])
		return false
	}
	return subtle.ConstantTimeCompare(kept, shown[:]) == 1
}

// noteUse records when a key was last used, at most once a minute. The caller does
// not wait for it, and a lost update does no harm.
func (d *Directory) noteUse(ctx context.Context, results pgx.BatchResults, id string) {
	_ = results.Close()
	ctx = context.WithoutCancel(ctx)
	go func() {
		ctx, cancel := context.WithTimeout(ctx, queryTimeout)
		defer cancel()
		_, _ = d.db.pool.Exec(ctx, statement("note_api_key_use"), pgx.StrictNamedArgs{"id": id})
	}()
}
