package main

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"time"

	"github.com/usher-auth/usher/db"
)

type auditForgetCmd struct {
	changeFlags
	User string `required:"" placeholder:"ID" help:"Whose ip, user agent and origin to erase."`
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
	return c.done(out, forgotten{c.User, rows}, "erased ip, user agent and origin from %s of user %s", count(rows, "row"), c.User)
}

type auditPruneCmd struct {
	changeFlags
	Keep days `required:"" placeholder:"DAYS" help:"How many days to keep, such as 400d: months that were over before go as a whole."`
}

func (c *auditPruneCmd) Run(ctx context.Context, out *console, database *db.DB) error {
	pruned, err := database.Prune(ctx, time.Now().Add(-c.Keep.Duration), c.Actor)
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
			pruned = []db.Pruning{} // an array all the same
		}
		return printJSON(out.out, pruned)
	}
	if len(pruned) == 0 {
		fmt.Fprintf(out.out, "no month was over %d days ago\n", int(c.Keep.Hours()/24))
	}
	return nil
}

// days is a flag that holds a number of days.
type days struct{ time.Duration }

var daysForm = regexp.MustCompile(`^([1-9][0-9]{0,5})d$`)

// UnmarshalText reads 400d.
func (d *days) UnmarshalText(text []byte) error {
	match := daysForm.FindSubmatch(text)
	if match == nil {
		return errors.New("write a number of days as 400d")
	}
	n, err := strconv.Atoi(string(match[1]))
	d.Duration = time.Duration(n) * 24 * time.Hour
	return err
}
