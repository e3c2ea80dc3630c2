package db

import "github.com/jackc/pgx/v5"

// UsePooler is usePooler.
func UsePooler(cfg *pgx.ConnConfig) { usePooler(cfg) }
