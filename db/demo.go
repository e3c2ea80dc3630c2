package db

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/usher-auth/usher/internal/secret"
)

// SeedDemo fills a new [Dev] database with the demo's users and grants, and signs
// the users in with the given session tokens for the next 30 days. Later changes to
// the demo's data are kept. It needs the owner's role.
func SeedDemo(ctx context.Context, url secret.Text, sessions map[string]secret.Text) error {
	conn, err := connect(ctx, url)
	if err != nil {
		return err
	}
	defer conn.Close(ctx)
	err = pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error {
		var seeded bool
		if err := tx.QueryRow(ctx, statement("demo_is_seeded")).Scan(&seeded); err != nil {
			return err
		}
		if !seeded {
			for _, sql := range []string{statement("seed_demo"), statement("seed_demo_members")} {
				if _, err := tx.Exec(ctx, sql); err != nil {
					return err
				}
			}
		}
		for user, token := range sessions {
			args := pgx.StrictNamedArgs{"token": token.Reveal(), "user_id": user}
			if _, err := tx.Exec(ctx, statement("seed_demo_session"), args); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("db: seed demo: %w", err)
	}
	return nil
}

// EnsureDatabase creates the database of that name on a private server if it is
// missing. url may name any database of the server.
func EnsureDatabase(ctx context.Context, url secret.Text, name string) error {
	conn, err := connect(ctx, url)
	if err != nil {
		return err
	}
	defer conn.Close(ctx)
	_, err = conn.Exec(ctx, "CREATE DATABASE "+pgx.Identifier{name}.Sanitize())
	if err != nil && !hasCode(err, "42P04") { // duplicate_database
		return fmt.Errorf("db: create database: %w", err)
	}
	return nil
}
