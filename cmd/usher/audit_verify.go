package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/usher-auth/usher/audit"
	"github.com/usher-auth/usher/db"
)

type auditVerifyCmd struct {
	adminFlags
	auditKeyFlags
	Checkpoint string `placeholder:"FILE" help:"Checkpoints kept outside the database (usher serve --audit-checkpoints); - reads standard input. All of them must fit the tree."`
}

// errAuditChanged is what usher audit verify returns after it printed findings.
var errAuditChanged = errors.New("the audit was changed after it was sealed")

func (c *auditVerifyCmd) Run(ctx context.Context, out *console, database *db.DB) error {
	var keys, checkpoints []string
	var err error
	if c.PublicKey != "" {
		if keys, err = c.keys(); err != nil {
			return err
		}
	} else {
		out.warn("without --public-key, the key in the database is used, and whoever can change the audit can also change that key: give --public-key")
	}
	if c.Checkpoint != "" {
		if checkpoints, err = readCheckpoints(out.in, c.Checkpoint); err != nil {
			return err
		}
	} else {
		out.warn("without --checkpoint, an audit whose end was cut off looks complete: give --checkpoint")
	}
	report, err := database.VerifyAudit(ctx, keys, checkpoints)
	if err != nil {
		return err
	}
	if c.JSON {
		err = printJSON(out.out, report)
	} else {
		printReport(out.out, report, len(checkpoints))
	}
	if err == nil && report.Found > 0 {
		err = errAuditChanged
	}
	return err
}

func readCheckpoints(in io.Reader, file string) ([]string, error) {
	var text []byte
	var err error
	if file == "-" {
		text, err = io.ReadAll(in)
	} else {
		text, err = os.ReadFile(file)
	}
	if err != nil {
		return nil, fmt.Errorf("--checkpoint: %w", err)
	}
	checkpoints := audit.SplitCheckpoints(string(text))
	if len(checkpoints) == 0 {
		return nil, fmt.Errorf("--checkpoint: %s contains no checkpoint", file)
	}
	return checkpoints, nil
}

func printReport(w io.Writer, r *audit.Report, kept int) {
	for _, f := range r.Findings {
		fmt.Fprintln(w, f.String())
	}
	if more := r.Found - len(r.Findings); more > 0 {
		fmt.Fprintf(w, "and %d more\n", more)
	}
	fmt.Fprintf(w, "%s sealed: %s and %s are unchanged\n", count(r.Leaves, "row"), count(r.Decisions, "decision"), count(r.Changes, "change"))
	for _, line := range []struct {
		n    int64
		text string
	}{
		{r.Forgotten, "decisions had their personal data erased (usher audit forget)"},
		{r.Pruned, "decisions were dropped with their month (usher audit prune)"},
		{r.Unsealed, "rows are not sealed"},
	} {
		if line.n > 0 {
			fmt.Fprintf(w, "%d %s\n", line.n, line.text)
		}
	}
	if kept > 0 {
		fmt.Fprintf(w, "%d of %d kept checkpoints fit the tree\n", r.Checkpoints, kept)
	}
}
