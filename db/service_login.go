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
// and makes it a member of [Roles].Service, as `usher serve` needs it. The URL's role
// needs CREATEROLE. A role that is not this database's login is left as it is: the error
// is [admin.ErrExists]. So is one that could read another database, because both have
// the same [Roles]: [admin.ErrInUse].
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
	l := serviceLogin{name: name}
	err = pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error {
		// If two sessions change a role at the same time, Postgres fails one.
		if _, err := tx.Exec(ctx, statement("lock_migrations")); err != nil {
			return err
		}
		if err := l.check(ctx, tx); err != nil {
			return err
		}
		role := quote(name)
		if !l.exists {
			if _, err := tx.Exec(ctx, "CREATE ROLE "+role); err != nil {
				return err
			}
		}
		// Quotes in a database's name are doubled, as in the role's.
		comment := "COMMENT ON ROLE " + role + " IS '" + strings.ReplaceAll(serviceLoginMark+l.database, "'", "''") + "'"
		_, err := tx.Exec(ctx, "ALTER ROLE "+role+" LOGIN PASSWORD '"+verifier+"'; GRANT "+quote(l.service)+" TO "+role+"; "+comment, pgx.QueryExecModeSimpleProtocol)
		return err
	})
	switch _, refused := errors.AsType[*admin.Refusal](err); {
	case refused || err == nil:
		return err
	case hasCode(err, insufficientPrivilege):
		return refuse(admin.ErrInvalid, "this role may not make the login %q: have a role with CREATEROLE run %s", name, l.sql())
	}
	return fmt.Errorf("db: make service login: %w", err)
}

// serviceLogin is a role that MakeServiceLogin makes or changes.
type serviceLogin struct {
	name     string
	database string // this one
	service  string // the group that it joins
	exists   bool
}

// check refuses a role that is not this database's login.
func (l *serviceLogin) check(ctx context.Context, tx pgx.Tx) error {
	var d Deployment
	if err := tx.QueryRow(ctx, statement("deployment")).Scan(d.columns()...); err != nil {
		return err
	}
	l.service = d.Roles.Service
	shared, err := d.Roles.otherDatabases(ctx, tx)
	if err != nil {
		return err
	}
	if len(shared) > 0 {
		return refuse(admin.ErrInUse, "the role %s has privileges in other databases of this server too (%s), and usher's login would have them there: "+
			"give this database its own with usher migrate up --role-suffix NAME", l.service, strings.Join(shared, ", "))
	}
	var madeFor string
	var isMember bool
	err = tx.QueryRow(ctx, statement("service_login"), pgx.StrictNamedArgs{"name": l.name, "mark": serviceLoginMark, "service": l.service}).
		Scan(&l.exists, &l.database, &madeFor, &isMember)
	switch {
	case err != nil:
		return err
	case madeFor != "" && madeFor != l.database:
		return refuse(admin.ErrExists, "role %q is the login of usher on another database of this server (%s), and is left as it is: give this one a name of its own with --service-user",
			l.name, madeFor)
	case l.exists && madeFor == "" && !isMember:
		return refuse(admin.ErrExists, "role %q exists and was not made for this database, and is left as it is: give usher's login another name with --service-user, or run GRANT %s TO %s first",
			l.name, quote(l.service), quote(l.name))
	}
	return nil
}

// sql is what makes the login by hand.
func (l *serviceLogin) sql() string {
	if l.exists {
		return fmt.Sprintf("ALTER ROLE %s LOGIN PASSWORD '...'; GRANT %s TO %[1]s", quote(l.name), quote(l.service))
	}
	return fmt.Sprintf("CREATE ROLE %s LOGIN PASSWORD '...' IN ROLE %s", quote(l.name), quote(l.service))
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
