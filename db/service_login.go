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

	"github.com/usher-auth/usher/internal/admin"
	"github.com/usher-auth/usher/internal/secret"
)

// serviceLoginMark begins the comment on a role that MakeServiceLogin created. Roles
// belong to the whole server, and each database needs its own.
const serviceLoginMark = "usher serve on database "

// MakeServiceLogin creates the role of that name if it is missing, sets its password
// and makes it a member of usher_service, as `usher serve` needs it. The URL's role
// needs CREATEROLE. If the role is the login of another database on the same server,
// the error is [admin.ErrExists].
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
		// If two sessions change a role at the same time, Postgres fails one.
		if _, err := tx.Exec(ctx, statement("lock_migrations")); err != nil {
			return err
		}
		var exists bool
		var database, madeFor string
		if err := tx.QueryRow(ctx, statement("service_login"), pgx.StrictNamedArgs{"name": name}).Scan(&exists, &madeFor, &database); err != nil {
			return err
		}
		mark := serviceLoginMark + database
		if strings.HasPrefix(madeFor, serviceLoginMark) && madeFor != mark {
			return refuse(admin.ErrExists, "role %q is the login of usher on another database of this server (%s), and is left as it is: give this one a name of its own with --service-user",
				name, strings.TrimPrefix(madeFor, serviceLoginMark))
		}
		if !exists {
			if _, err := tx.Exec(ctx, "CREATE ROLE "+role); err != nil {
				return err
			}
		}
		// Quotes in a database's name are doubled, as in the role's.
		comment := "COMMENT ON ROLE " + role + " IS '" + strings.ReplaceAll(mark, "'", "''") + "'"
		_, err := tx.Exec(ctx, "ALTER ROLE "+role+" LOGIN PASSWORD '"+verifier+"'; GRANT usher_service TO "+role+"; "+comment, pgx.QueryExecModeSimpleProtocol)
		return err
	})
	if _, refused := errors.AsType[*admin.Refusal](err); refused {
		return err
	}
	if err != nil {
		return fmt.Errorf("db: make service login: %w", err)
	}
	return nil
}

// scramVerifier computes the form in which Postgres stores a password (RFC 5803), so
// that no statement, and so no server log, contains the password itself.
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
