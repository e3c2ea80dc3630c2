package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/usher-auth/usher/db"
)

// auditKeyFlags name the audit's public key.
type auditKeyFlags struct {
	PublicKey string `placeholder:"FILE" type:"existingfile" help:"The audit's public keys, one a line, as usher audit public-key printed them."`
}

func (f *auditKeyFlags) keys() ([]string, error) {
	text, err := os.ReadFile(f.PublicKey)
	if err != nil {
		return nil, fmt.Errorf("--public-key: %w", err)
	}
	keys := strings.Fields(string(text))
	if len(keys) == 0 {
		return nil, fmt.Errorf("--public-key: %s is empty", f.PublicKey)
	}
	return keys, nil
}

type auditPublicKeyCmd struct{ adminFlags }

func (c *auditPublicKeyCmd) Run(ctx context.Context, out *console, database *db.DB) error {
	keys, err := database.CheckpointKeys(ctx)
	if err != nil {
		return err
	}
	if c.JSON {
		return printJSON(out.out, keys)
	}
	if len(keys) == 0 {
		return db.ErrNoCheckpointKey
	}
	for _, key := range keys {
		fmt.Fprintln(out.out, key.PublicKey)
	}
	return nil
}

type auditVerifyCmd struct {
	adminFlags
	auditKeyFlags
	Checkpoint string `placeholder:"FILE" help:"Checkpoints that were kept outside of the database (usher serve --audit-checkpoints), all of which the tree must fit; - reads standard input."`
}

// errAuditChanged is the exit code of usher audit verify; the findings were
// printed.
var errAuditChanged = errors.New("the audit is not as it was sealed")

func (c *auditVerifyCmd) Run(ctx context.Context, out *console, database *db.DB) error {
	var keys, checkpoints []string
	var err error
	if c.PublicKey != "" {
		if keys, err = c.keys(); err != nil {
			return err
		}
	} else {
		out.warn("without --public-key the key in the database is taken, which whoever can change the audit can change too")
	}
	if c.Checkpoint != "" {
		if checkpoints, err = readCheckpoints(out.in, c.Checkpoint); err != nil {
			return err
		}
	} else {
		out.warn("without --checkpoint nobody can tell an audit that was cut off at its end from a whole one")
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
	checkpoints := db.SplitCheckpoints(string(text))
	if len(checkpoints) == 0 {
		return nil, fmt.Errorf("--checkpoint: %s holds none", file)
	}
	return checkpoints, nil
}

func printReport(w io.Writer, r *db.AuditReport, kept int) {
	for _, f := range r.Findings {
		fmt.Fprintln(w, f.String())
	}
	if more := r.Found - len(r.Findings); more > 0 {
		fmt.Fprintf(w, "and %d more\n", more)
	}
	fmt.Fprintf(w, "%s sealed: %s and %s are as they were\n", count(r.Leaves, "row"), count(r.Decisions, "decision"), count(r.Changes, "change"))
	for _, line := range []struct {
		n    int64
		text string
	}{
		{r.Forgotten, "of the decisions have no personal data any more (usher audit forget)"},
		{r.Pruned, "decisions went with their month (usher audit prune)"},
		{r.Unsealed, "rows are not sealed yet"},
	} {
		if line.n > 0 {
			fmt.Fprintf(w, "%d %s\n", line.n, line.text)
		}
	}
	if kept > 0 {
		fmt.Fprintf(w, "%d of %d kept checkpoints fit the tree\n", r.Checkpoints, kept)
	}
}

type auditProveCmd struct {
	databaseFlags
	JTI string `name:"jti" required:"" placeholder:"ID" help:"The jti claim of the token."`
}

// Run prints the proof, which is JSON for usher audit check-proof.
func (c *auditProveCmd) Run(ctx context.Context, out *console) error {
	url, err := c.url()
	if err != nil {
		return err
	}
	database, err := db.Open(url)
	if err != nil {
		return err
	}
	defer database.Close()
	proof, err := database.ProveToken(ctx, c.JTI)
	if err != nil {
		return err
	}
	return printJSON(out.out, proof)
}

type auditCheckProofCmd struct {
	auditKeyFlags
	Proof string `arg:"" type:"existingfile" help:"What usher audit prove printed."`
}

// Run asks neither the database nor the network.
func (c *auditCheckProofCmd) Run(out *console) error {
	if c.PublicKey == "" {
		return errors.New("--public-key is missing: a proof shows nothing without a key that you trust")
	}
	keys, err := c.keys()
	if err != nil {
		return err
	}
	text, err := os.ReadFile(c.Proof)
	if err != nil {
		return err
	}
	proof, err := db.ParseInclusionProof(text)
	if err != nil {
		return err
	}
	size, err := proof.Check(keys...)
	if err != nil {
		return err
	}
	fmt.Fprintf(out.out, "%s\nit is leaf %d of the %d under the signed checkpoint\n", proof, proof.Leaf, size)
	return nil
}
