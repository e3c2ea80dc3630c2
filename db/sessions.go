package db

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/usher-auth/usher/internal/admin"
	"github.com/usher-auth/usher/internal/secret"
)

// AddSession signs a user in for ttl. If an organization is named, it is the active
// one. The token is the value of the session cookie. Only its SHA-256 is stored, so
// it cannot be shown again. A user who does not exist, or is not a member of the
// organization, is [admin.ErrNotFound].
func (db *DB) AddSession(ctx context.Context, user, organization string, ttl time.Duration, actor admin.Actor) (secret.Text, admin.Session, error) {
	if ttl <= 0 {
		return secret.Text{}, admin.Session{}, refuse(admin.ErrInvalid, "a session of %s would expire at once: give a positive lifetime", ttl)
	}
	raw := make([]byte, 32)
	_, _ = rand.Read(raw) // never fails: crypto/rand ends the process instead
	token := base64.RawURLEncoding.EncodeToString(raw)
	hash := sha256.Sum256([]byte(token))
	var added admin.Session
	err := db.transactAs(ctx, actor, "add session", func(ctx context.Context, tx pgx.Tx) (err error) {
		if _, err := lockSubject(ctx, tx, admin.Subject{Kind: admin.UserKind, ID: user}); err != nil {
			return err
		}
		added, err = queryRow[admin.Session](ctx, tx, statement("add_session"), pgx.StrictNamedArgs{
			"token_hash": hash[:], "user_id": user, "organization_id": organization, "ttl": ttl,
		})
		if errors.Is(err, pgx.ErrNoRows) {
			return refuse(admin.ErrNotFound, "user %q is not a member of organization %q: add the user first, or name another organization", user, organization)
		}
		if err != nil {
			return err
		}
		return record(ctx, tx, "session.add", user, added)
	})
	if err != nil {
		return secret.Text{}, admin.Session{}, err
	}
	return secret.New(token), added, nil
}

// Sessions lists the sessions that have not expired, newest first: all, or those of
// one user.
func (db *DB) Sessions(ctx context.Context, user string, page admin.Page[admin.SessionPlace]) ([]admin.Session, error) {
	if err := db.checkOwnDirectory(ctx, "list sessions"); err != nil {
		return nil, err
	}
	return ask[admin.Session](ctx, db, "list sessions", statement("list_sessions"), pgx.StrictNamedArgs{
		"user_id": user, "after": nullableTime(page.After.CreatedAt), "after_hash": page.After.Hash, "limit": page.Limit,
	})
}

// EndSessions ends all sessions of a user and returns how many had not expired. A
// missing user is [admin.ErrNotFound].
func (db *DB) EndSessions(ctx context.Context, user string, actor admin.Actor) (ended int64, err error) {
	err = db.transactAs(ctx, actor, "end sessions", func(ctx context.Context, tx pgx.Tx) (err error) {
		if _, err := lockSubject(ctx, tx, admin.Subject{Kind: admin.UserKind, ID: user}); err != nil {
			return err
		}
		if ended, err = endSessions(ctx, tx, user); err != nil {
			return err
		}
		return record(ctx, tx, "session.end", user, map[string]int64{"ended": ended})
	})
	return ended, err
}

func endSessions(ctx context.Context, tx pgx.Tx, user string) (ended int64, err error) {
	err = tx.QueryRow(ctx, statement("end_sessions"), pgx.StrictNamedArgs{"user_id": user}).Scan(&ended)
	return ended, err
}
