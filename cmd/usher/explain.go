package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"github.com/usher-auth/usher/api"
	"github.com/usher-auth/usher/db"
	"github.com/usher-auth/usher/permissions"
	"github.com/usher-auth/usher/session"
)

type auditExplainCmd struct {
	adminFlags
	tokenFlags
	User     string `arg:""`
	Kind     string `arg:"" optional:"" help:"room or store; without it, the token is for all that the user has."`
	ID       string `arg:"" optional:"" help:"Of the room or the store."`
	Org      string `placeholder:"ID" help:"The active organization of the session."`
	Audience string `placeholder:"NAME" help:"The sync backend; where absent, the first that takes what is asked for."`
	URL      string `env:"USHER_URL" default:"https://auth.example.com" help:"The public address, whose length counts towards the token's."`
}

func (c *auditExplainCmd) Run(ctx context.Context, out *console, database *db.DB) error {
	request := session.Request{Audience: c.Audience}
	switch kind, err := permissions.ParseKind(c.Kind); {
	case c.Kind == "":
	case err != nil || c.ID == "":
		return errors.New("name a room or a store, for example: usher audit explain ada room acme:design:1")
	case kind == permissions.RoomKind:
		request.Room = c.ID
	default:
		request.Store = c.ID
	}
	// Nothing is signed: any key will do, and none has to be opened.
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
	e, err := api.Explain(ctx, directory, issuer, c.User, c.Org, request)
	if err != nil {
		return err
	}
	if c.JSON {
		return printJSON(out.out, e)
	}
	return printExplanation(out.out, e, c.Org)
}

func printExplanation(w io.Writer, e *session.Explanation, org string) error {
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
		fmt.Fprintf(w, "%s would be refused (%s): none of the grants opens %s.\n", user, e.Reason, asked)
	case e.Refusal != nil:
		fmt.Fprintf(w, "%s would be refused (%s): %s.\n", user, e.Reason, plain(e.Refusal))
	case asked != "":
		access := cmp.Or(e.RoomAccess, e.StoreAccess)
		fmt.Fprintf(w, "%s would get a token for %s, with %s access to %s.\n", user, e.Audience, *access, asked)
	default:
		fmt.Fprintf(w, "%s would get a token for %s.\n", user, e.Audience)
	}
	if errors.Is(e.Refusal, session.ErrUserUnknown) || errors.Is(e.Refusal, session.ErrUserDisabled) {
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
		fmt.Fprintln(w, "The token would be partial: the user has more than fits.")
	}
	if e.InfoOmitted {
		fmt.Fprintln(w, "The user's info would be left out: it is larger than a token takes.")
	}
	if e.Patterns != nil {
		fmt.Fprintln(w, "\nIn the token:")
		for _, r := range slices.Concat(e.Patterns.Rooms, e.Patterns.Stores) {
			fmt.Fprintf(w, "  %s %s  %s\n", r.Pattern.Kind(), cell(r.Pattern.String()), r.Access)
		}
	}
	if len(e.Grants) == 0 {
		fmt.Fprintln(w, "\nNo grant in force is for this user.")
		return nil
	}
	fmt.Fprintln(w, "\nGrants in force:")
	header := []string{"GRANT", "SUBJECT", "KIND", "PATTERN", "ACCESS", "GIVES", "MATCHES", "IN THE TOKEN"}
	var rows [][]string
	for n := range e.Grants {
		rows = append(rows, grantRows(e, &e.Grants[n])...)
	}
	return printList(w, false, rows, header, func(row []string) []string { return row })
}

// listed writes ids in a sentence.
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

// grantRows writes a grant: a row for each pattern that it gives, and one for a
// reason why it gives none, or not all.
func grantRows(e *session.Explanation, g *session.ExplainedGrant) (rows [][]string) {
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
		row(r.Pattern, matches, fate(e, g, r))
	}
	switch {
	case g.Skipped != "":
		row("", "", "skipped: "+g.Skipped)
	case len(g.Rules) == 0:
		row("", "", "no: there is no value to fill in")
	}
	return rows
}

// fate says whether a rule is in the token, and why not.
func fate(e *session.Explanation, g *session.ExplainedGrant, r *session.ExplainedRule) string {
	switch {
	case r.InToken:
		return "yes"
	case e.Refusal != nil:
		return "" // there is no token
	case !g.Carried:
		return fmt.Sprintf("no: it carries no %ss", g.Kind)
	case r.CoveredBy != nil && r.CoveredBy.Pattern == r.Pattern:
		return fmt.Sprintf("no: the same is granted %s", r.CoveredBy.Access)
	case r.CoveredBy != nil:
		return fmt.Sprintf("no: %s %s covers it", r.CoveredBy.Pattern, r.CoveredBy.Access)
	}
	why := "no: it would be one pattern too many"
	if r.LeftOut.Limit == "bytes" {
		why = "no: it would make the token too long"
	}
	if company := r.LeftOut.Company; len(company) > 0 {
		const shown = 3
		names := listed(company[:min(len(company), shown)])
		if more := len(company) - shown; more > 0 {
			names += fmt.Sprintf(" and %d more", more)
		}
		why = fmt.Sprintf("no: may not go without %s, and they are too many", names)
		if r.LeftOut.Limit == "bytes" {
			why = fmt.Sprintf("no: may not go without %s, and they are too long", names)
		}
	}
	if r.LeftOut.StandIn != "" {
		why += fmt.Sprintf("; %s is there instead", r.LeftOut.StandIn)
	}
	return why
}
