package db

import (
	"context"
	"crypto/hmac"
	"crypto/pbkdf2"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/usher-auth/usher/internal/secret"
)

// MakeServiceLogin lets the role of that name log in with the password and do
// what `usher serve` does: it becomes a member of usher_service, and is made
// where it is missing. The URL's role needs CREATEROLE.
func MakeServiceLogin(ctx context.Context, url secret.Text, name string, password secret.Text) error {
	verifier, err := scramVerifier(password)
	if err != nil {
		return err
	}
	conn, err := connect(ctx, url)
	if err != nil {
		return err
	}
	defer conn.Close(ctx)
	role := pgx.Identifier{name}.Sanitize()
	err = pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error {
		// Of two who change a role at the same time, Postgres fails one.
		if _, err := tx.Exec(ctx, statement("lock_migrations")); err != nil {
			return err
		}
		var exists bool
		if err := tx.QueryRow(ctx, "SELECT EXISTS (SELECT FROM pg_roles WHERE rolname = $1)", name).Scan(&exists); err != nil {
			return err
		}
		if !exists {
			if _, err := tx.Exec(ctx, "CREATE ROLE "+role); err != nil {
				return err
			}
		}
		_, err := tx.Exec(ctx, "ALTER ROLE "+role+" LOGIN PASSWORD '"+verifier+"'; GRANT usher_service TO "+role, pgx.QueryExecModeSimpleProtocol)
		return err
	})
	if err != nil {
		return fmt.Errorf("db: make service login: %w", err)
	}
	return nil
}

// scramVerifier computes what Postgres keeps of a password (RFC 5803), so that
// the password itself is in no statement and so in no log of the server.
func scramVerifier(password secret.Text) (string, error) {
	text := password.Reveal()
	if text == "" || strings.IndexFunc(text, func(r rune) bool { return r < ' ' || r > '~' }) >= 0 {
		return "", errors.New("db: a service password must be printable ASCII") // beyond it RFC 4013 would apply
	}
	const iterations = 4096
	salt := make([]byte, 16)
	_, _ = rand.Read(salt) // never fails
	salted, err := pbkdf2.Key(sha256.New, text, salt, iterations, sha256.Size)
	if err != nil {
		return "", fmt.Errorf("db: service password: %w", err)
	}
	mac := func(message string) []byte {
		h := hmac.New(sha256.New, salted)
		h.Write([]byte(message))
		return h.Sum(nil)
	}
	stored := sha256.Sum256(mac("Client Key"))
	b64 := base64.StdEncoding.EncodeToString
	return fmt.Sprintf("SCRAM-SHA-256$%d:%s$%s:%s", iterations, b64(salt), b64(stored[:]), b64(mac("Server Key"))), nil
}
