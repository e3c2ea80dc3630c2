package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/usher-auth/usher/api"
	"github.com/usher-auth/usher/db"
	"github.com/usher-auth/usher/internal/preview"
	"github.com/usher-auth/usher/internal/principal"
	"github.com/usher-auth/usher/session"
)

type tokenPreviewCmd struct {
	listFlags
	tokenFlags
	requestFlags
	URL string `env:"USHER_URL" default:"https://auth.example.com" help:"Public address. Its length counts towards the size of the token."`
}

func (c *tokenPreviewCmd) Run(ctx context.Context, out *console, database *db.DB) error {
	// Nothing is signed, so any key will do.
	key, err := session.GenerateKey(c.SigningAlg, session.KeyTimes{})
	if err != nil {
		return err
	}
	issuer, err := c.issuer(c.URL, session.NewKeyring(key))
	if err != nil {
		return err
	}
	directory, err := database.Directory(ctx)
	if err != nil {
		return err
	}
	e, err := api.Preview(ctx, directory, issuer, c.User, c.Org, c.request())
	if err != nil {
		return err
	}
	if c.JSON {
		return printJSON(out.out, e)
	}
	return c.print(out, e)
}

func (c *tokenPreviewCmd) print(out *console, e *preview.Preview) error {
	w, org := out.out, c.Org
	user := cell(e.UserID)
	asked := ""
	switch {
	case e.Room != "":
		asked = "room " + cell(e.Room)
	case e.Store != "":
		asked = "store " + cell(e.Store)
	}
	switch {
	case e.Refusal != nil && asked != "" && len(e.Grants) > 0:
		fmt.Fprintf(w, "%s would be refused (%s): no grant opens %s.\n", user, e.Reason, asked)
	case e.Refusal != nil:
		fmt.Fprintf(w, "%s would be refused (%s): %s.\n", user, e.Reason, plain(e.Refusal))
	case asked != "":
		access := cmp.Or(e.RoomAccess, e.StoreAccess)
		fmt.Fprintf(w, "%s would get a token for %s, with %s access to %s.\n", user, e.Audience, *access, asked)
	default:
		fmt.Fprintf(w, "%s would get a token for %s.\n", user, e.Audience)
	}
	if errors.Is(e.Refusal, principal.ErrUserUnknown) || errors.Is(e.Refusal, principal.ErrUserDisabled) {
		return nil
	}
	switch {
	case org != "" && e.Organization == "":
		fmt.Fprintf(w, "The directory does not list %s as a member of organization %s: no organization, group or {organization} grant counts.\n", user, cell(org))
	case org != "":
		fmt.Fprintf(w, "The session is confined to organization %s; groups that count: %s.\n", cell(org), listed(e.Groups))
	default:
		fmt.Fprintf(w, "Organizations that count: %s; groups: %s.\n", listed(e.Organizations), listed(e.Groups))
	}
	if e.Partial {
		fmt.Fprintln(w, "The token would be partial: the user has more access than fits into a token.")
	}
	if e.InfoOmitted {
		fmt.Fprintln(w, "The user's info would be left out: it is too large for a token.")
	}
	if e.ExpiresAt != nil {
		fmt.Fprintf(w, "It would expire at %s, with %s.\n", timeCell(e.ExpiresAt), endsWith(e))
	}
	if e.Patterns != nil {
		fmt.Fprintln(w, "\nIn the token:")
		for _, r := range slices.Concat(e.Patterns.Rooms, e.Patterns.Stores) {
			fmt.Fprintf(w, "  %s %s  %s\n", r.Pattern.Kind(), cell(r.Pattern.String()), r.Access)
		}
	}
	if len(e.Grants) == 0 {
		fmt.Fprintln(w, "\nNo active grant applies to this user.")
		return nil
	}
	fmt.Fprintln(w, "\nActive grants:")
	header := []string{"GRANT", "SUBJECT", "KIND", "PATTERN", "ACCESS", "GIVES", "MATCHES", "IN THE TOKEN"}
	var rows [][]string
	for n := range e.Grants {
		rows = append(rows, grantRows(e, &e.Grants[n])...)
	}
	return printList(out, &c.listFlags, rows, header, func(row []string) []string { return row })
}

// endsWith says what bounds the token's life.
func endsWith(e *preview.Preview) string {
	if e.EndsWith != "grant" {
		return "the lifetime of tokens (--token-ttl)"
	}
	var ids []string
	for i := range e.Grants {
		if slices.ContainsFunc(e.Grants[i].Rules, func(r preview.Rule) bool { return r.EndsToken }) {
			ids = append(ids, strconv.FormatInt(e.Grants[i].ID, 10))
		}
	}
	if len(ids) == 1 {
		return "grant " + ids[0]
	}
	return "grants " + strings.Join(ids, ", ")
}

// listed joins ids for a sentence.
func listed(ids []string) string {
	if len(ids) == 0 {
		return "none"
	}
	cells := make([]string, len(ids))
	for i, id := range ids {
		cells[i] = cell(id)
	}
	return strings.Join(cells, ", ")
}

// grantRows returns the rows of a grant: one for each pattern that it gives, and one
// with the reason if it does not give all.
func grantRows(e *preview.Preview, g *preview.Grant) (rows [][]string) {
	row := func(gives, matches, inToken string) {
		cells := []string{strconv.FormatInt(g.ID, 10), strings.TrimSpace(g.SubjectKind + " " + g.SubjectID), g.Kind, g.Pattern, g.Access.String()}
		rows = append(rows, append(cells, gives, matches, inToken))
	}
	for i := range g.Rules {
		r := &g.Rules[i]
		matches := ""
		switch {
		case r.Matches == nil:
		case r.Decides:
			matches = "yes, decides"
		case *r.Matches:
			matches = "yes"
		default:
			matches = "no"
		}
		row(r.Pattern, matches, inToken(e, g, r))
	}
	switch {
	case g.Skipped != "":
		row("", "", "skipped: "+g.Skipped)
	case len(g.Rules) == 0:
		row("", "", "no: no value for the placeholder")
	}
	return rows
}

// inToken says whether a rule is in the token, and why not if it is not.
func inToken(e *preview.Preview, g *preview.Grant, r *preview.Rule) string {
	switch {
	case r.InToken:
		return "yes"
	case e.Refusal != nil:
		return "" // no token
	case !g.Carried:
		return fmt.Sprintf("no: it contains no %ss", g.Kind)
	case r.CoveredBy != nil && r.CoveredBy.Pattern == r.Pattern:
		return fmt.Sprintf("no: another grant gives %s on it", r.CoveredBy.Access)
	case r.CoveredBy != nil:
		return fmt.Sprintf("no: %s %s covers it", r.CoveredBy.Pattern, r.CoveredBy.Access)
	}
	if r.LeftOut.Limit == "time" {
		return "no: the grant ends within a second"
	}
	why := "no: over the limit of patterns"
	if r.LeftOut.Limit == "bytes" {
		why = "no: over the limit of bytes"
	}
	if dependents := r.LeftOut.Dependents; len(dependents) > 0 {
		const shown = 3
		names := listed(dependents[:min(len(dependents), shown)])
		if more := len(dependents) - shown; more > 0 {
			names += fmt.Sprintf(" and %d more", more)
		}
		why = fmt.Sprintf("no: needs %s in the token too, which are too many", names)
		if r.LeftOut.Limit == "bytes" {
			why = fmt.Sprintf("no: needs %s in the token too, which are too long", names)
		}
	}
	if r.LeftOut.ReplacedBy != "" {
		why += fmt.Sprintf("; %s is in it instead", r.LeftOut.ReplacedBy)
	}
	return why
}
