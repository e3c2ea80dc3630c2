package main

import (
	"context"

	"github.com/usher-auth/usher/db"
)

type auditForgetCmd struct {
	changeFlags
	User string `arg:"" help:"ID of the user whose IP addresses, user agents and origins to erase."`
}

// forgotten is the JSON of usher audit forget.
type forgotten struct {
	UserID string `json:"userId"`
	Rows   int64  `json:"rows"`
}

func (c *auditForgetCmd) Run(ctx context.Context, out *console, database *db.DB) error {
	rows, err := database.Forget(ctx, c.User, c.Actor)
	if err != nil {
		return err
	}
	return c.done(out, forgotten{c.User, rows}, "erased IP address, user agent and origin from %s of user %s", count(rows, "row"), c.User)
}
