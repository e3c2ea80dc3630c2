package main

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"os/exec"

	"github.com/jackc/pgx/v5"

	"github.com/usher-auth/usher/db"
	"github.com/usher-auth/usher/internal/secret"
)

const (
	database      = "usher"
	serviceUser   = "usher_bench"
	encryptionKey = "1VYQlvGsSsFLAcH3WRXEyTqd7Xa/kVxEZhFcVWEDQ+w=" // of a temporary database
)

var (
	//go:embed seed.sql
	seedSQL string
	//go:embed people.sql
	peopleSQL string
	//go:embed audited.sql
	auditedSQL string
)

// A person is a signed-in user and a room that they may write in.
type person struct {
	UserID string
	Cookie string
	Room   string
}

func buildUsher(ctx context.Context, binary string) error {
	cmd := exec.CommandContext(ctx, "go", "build", "-o", binary, "github.com/usher-auth/usher/cmd/usher")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("go build: %w\n%s", err, out)
	}
	return nil
}

// migrate prepares the database like an operator: with usher's own command, a role with
// fewer privileges to serve with, and a signing key.
func (b *bench) migrate(ctx context.Context, binary string) error {
	if err := db.EnsureDatabase(ctx, secret.New(b.postgres.URL("postgres")), database); err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, binary, "migrate", "up")
	cmd.Env = environment(
		"USHER_DATABASE_URL="+b.postgres.URL(database),
		"USHER_KEY_ENCRYPTION_KEY="+encryptionKey,
		"USHER_SERVICE_USER="+serviceUser,
		"USHER_SERVICE_PASSWORD=bench",
	)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("usher migrate up: %w\n%s", err, out)
	}
	return nil
}

// seed fills the tables and reads back the users to ask for.
func (b *bench) seed(ctx context.Context) error {
	conn, err := pgx.Connect(ctx, b.postgres.URL(database))
	if err != nil {
		return err
	}
	defer conn.Close(ctx)
	// The simple protocol accepts several statements at once.
	args := pgx.StrictNamedArgs{"users": b.users, "grants": b.grants}
	if _, err := conn.Exec(ctx, seedSQL, pgx.QueryExecModeSimpleProtocol, args); err != nil {
		return fmt.Errorf("seed: %w", err)
	}
	// Otherwise autovacuum would do this at some time, in the middle of a turn.
	if _, err := conn.Exec(ctx, "VACUUM (ANALYZE)"); err != nil {
		return fmt.Errorf("seed: %w", err)
	}
	if _, err := conn.Exec(ctx, "CHECKPOINT"); err != nil {
		return fmt.Errorf("seed: %w", err)
	}
	rows, err := conn.Query(ctx, peopleSQL)
	if err != nil {
		return fmt.Errorf("seed: %w", err)
	}
	b.people, err = pgx.CollectRows(rows, pgx.RowToStructByName[person])
	if err != nil {
		return fmt.Errorf("seed: %w", err)
	}
	if len(b.people) != b.users {
		return fmt.Errorf("seed: %d users can ask for a room, want %d", len(b.people), b.users)
	}
	return nil
}

// checkAudit compares the received tokens with the audit rows: every token must have its
// row.
func (b *bench) checkAudit(ctx context.Context, conn *pgx.Conn) error {
	var faults []error
	for _, s := range b.servers {
		if s.name == limitServer {
			continue // it has no audit
		}
		rows, err := conn.Query(ctx, auditedSQL, pgx.StrictNamedArgs{"jtis": s.sampled})
		if err != nil {
			return fmt.Errorf("audit: %w", err)
		}
		type audited struct {
			Server        string
			Tokens, Found int
		}
		all, err := pgx.CollectRows(rows, pgx.RowToStructByName[audited])
		if err != nil {
			return fmt.Errorf("audit: %w", err)
		}
		for _, a := range all {
			if a.Server == s.name && (a.Tokens < s.received || a.Found < len(s.sampled)) {
				faults = append(faults, fmt.Errorf("audit of %s: %d rows for %d tokens, %d of %d sampled tokens",
					s.name, a.Tokens, s.received, a.Found, len(s.sampled)))
			}
		}
	}
	return errors.Join(faults...)
}
