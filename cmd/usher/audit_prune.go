package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/usher-auth/usher/db"
)

type auditPruneCmd struct {
	changeFlags
	Keep time.Duration `required:"" placeholder:"DAYS" help:"Number of days to keep, for example 400d. Only whole months that ended before are dropped."`
}

const day = 24 * time.Hour

// Validate refuses durations that are not a whole number of days.
func (c *auditPruneCmd) Validate() error {
	if c.Keep < day || c.Keep%day != 0 {
		return errors.New("--keep: give a whole number of days, for example 400d")
	}
	return nil
}

func (c *auditPruneCmd) Run(ctx context.Context, out *console, database *db.DB) error {
	pruned, err := database.Prune(ctx, time.Now().Add(-c.Keep), c.Actor)
	for _, p := range pruned {
		if !c.JSON {
			fmt.Fprintf(out.out, "dropped %s: %s\n", p.Month, count(p.Rows, "decision"))
		}
	}
	if err != nil {
		return err
	}
	if c.JSON {
		if pruned == nil {
			pruned = []db.Pruning{} // an empty array, not null
		}
		return printJSON(out.out, pruned)
	}
	if len(pruned) == 0 {
		fmt.Fprintf(out.out, "no month ended more than %d days ago\n", c.Keep/day)
	}
	return nil
}
