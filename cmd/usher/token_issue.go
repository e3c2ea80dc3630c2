package main

import (
	"context"
	"crypto/rand"
	"fmt"
	"time"

	"github.com/usher-auth/usher/api"
	"github.com/usher-auth/usher/audit"
	"github.com/usher-auth/usher/db"
	"github.com/usher-auth/usher/internal/principal"
	"github.com/usher-auth/usher/internal/service"
	"github.com/usher-auth/usher/session"

	"github.com/prometheus/client_golang/prometheus"
)

type tokenIssueCmd struct {
	changeFlags
	keyEncryptionFlags
	tokenFlags
	URL string `required:"" env:"USHER_URL" placeholder:"URL" help:"Public address and iss claim."`
	requestFlags
}

// issuedToken is the JSON of usher token issue.
type issuedToken struct {
	Token     string           `json:"token"`
	JTI       string           `json:"jti"`
	UserID    string           `json:"userId"`
	Audience  string           `json:"audience"`
	ExpiresAt time.Time        `json:"expiresAt"`
	Patterns  session.Patterns `json:"patterns"`
	Partial   bool             `json:"partial,omitempty"`
}

// Run prints only the token on stdout, for scripts, and a sentence on stderr.
func (c *tokenIssueCmd) Run(ctx context.Context, out *console, database *db.DB) error {
	if err := checkPublicURL(c.URL); err != nil {
		return err
	}
	encryption, err := c.encryption()
	if err != nil {
		return err
	}
	d, err := database.Deployment(ctx)
	if err != nil {
		return err
	}
	if err := service.CheckDatabase(d); err != nil {
		return err
	}
	keys, _, err := database.SigningKeys(ctx, encryption)
	if err != nil {
		return err
	}
	issuer, err := c.issuer(c.URL, session.NewKeyring(keys...))
	if err != nil {
		return err
	}
	request := c.request()
	if err := issuer.Check(request); err != nil {
		return err
	}
	token, err := c.issue(ctx, database, issuer, request)
	if err != nil {
		return err
	}
	if !c.JSON {
		fmt.Fprintf(out.err, "issued a token of user %s for %s until %s, recorded as %s:\n", cell(c.User), token.Audience, timeCell(&token.ExpiresAt), token.ID)
	}
	text := token.Text.Reveal()
	return c.done(out, issuedToken{text, token.ID, c.User, token.Audience, token.ExpiresAt.UTC(), token.Patterns, token.Partial}, "%s", text)
}

// issue decides and records like the API: every token and every refusal has an audit
// row.
func (c *tokenIssueCmd) issue(ctx context.Context, database *db.DB, issuer *session.Issuer, request session.Request) (session.Token, error) {
	directory, err := database.Directory(ctx)
	if err != nil {
		return session.Token{}, err
	}
	p, err := directory.PrincipalByUser(ctx, c.User, c.Org)
	if err != nil {
		return session.Token{}, err
	}
	d := &audit.Decision{
		At: p.At, CallerKind: audit.CallerOperator, CallerID: string(c.Actor),
		UserID: c.User, OrganizationID: p.User.Organization, Request: audit.Request{Room: request.Room, Store: request.Store, Audience: request.Audience, OrganizationID: c.Org}, RequestID: rand.Text(),
	}
	token, err := decideFor(issuer, p, request, d)
	if err == nil {
		d.Token = api.AuditToken(&token)
	} else if d.Reason = api.Reason(err); d.Reason == "" {
		return session.Token{}, err // a fault
	}
	log := database.StartAuditLog(db.AuditLogConfig{Replica: service.ReplicaName(), Registry: prometheus.NewRegistry()})
	defer log.Close()
	if err := log.Record(ctx, d); err != nil {
		return session.Token{}, err
	}
	if err != nil {
		return session.Token{}, fmt.Errorf("refused (%s): %s; usher token preview says more", d.Reason, plain(err))
	}
	return token, nil
}

// decideFor returns a principal's token, or the refusal.
func decideFor(issuer *session.Issuer, p *principal.Principal, r session.Request, d *audit.Decision) (session.Token, error) {
	if !p.Known {
		return session.Token{}, principal.ErrUserUnknown
	}
	if err := p.Err(); err != nil {
		return session.Token{}, err
	}
	s, skipped := p.Prepare(issuer, r)
	d.SkippedGrants = skipped
	return s.Authorize()
}
