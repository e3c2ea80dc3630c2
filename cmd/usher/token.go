package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net/url"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/usher-auth/usher/api"
	"github.com/usher-auth/usher/db"
	"github.com/usher-auth/usher/internal/service"
	"github.com/usher-auth/usher/session"
)

type tokenCmd struct {
	Issue   tokenIssueCmd   `cmd:"" help:"Issue a token for a user, on record under your name, and print it."`
	Inspect tokenInspectCmd `cmd:"" help:"Say what a token holds and whether it is valid; exit code 1 where it is not."`
	Verify  tokenVerifyCmd  `cmd:"" help:"Say whether a token is valid, by exit code 0 or 1."`
}

type tokenIssueCmd struct {
	changeFlags
	keyEncryptionFlags
	tokenFlags
	URL      string `required:"" env:"USHER_URL" placeholder:"URL" help:"The public address, and the iss claim."`
	User     string `required:"" placeholder:"ID" help:"Whose token it is."`
	Org      string `placeholder:"ID" help:"The active organization of the session."`
	Room     string `placeholder:"ID" help:"A room that it must open."`
	Store    string `placeholder:"ID" help:"A store that it must open."`
	Audience string `placeholder:"NAME" help:"The sync backend; where absent, the first that takes what is asked for."`
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

// Run prints the token alone on stdout, for scripts, and the sentence beside it.
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
	request := session.Request{Room: c.Room, Store: c.Store, Audience: c.Audience}
	if err := issuer.Check(request); err != nil {
		return err
	}
	token, err := c.issue(ctx, database, issuer, request)
	if err != nil {
		return err
	}
	if !c.JSON {
		fmt.Fprintf(out.err, "issued a token of user %s for %s until %s, on record as %s:\n", cell(c.User), token.Audience, timeCell(&token.ExpiresAt), token.ID)
	}
	text := token.Text.Reveal()
	return c.done(out, issuedToken{text, token.ID, c.User, token.Audience, token.ExpiresAt.UTC(), token.Patterns, token.Partial}, "%s", text)
}

// issue decides and records as the API does: no token without its row, and a
// refusal has one too.
func (c *tokenIssueCmd) issue(ctx context.Context, database *db.DB, issuer *session.Issuer, request session.Request) (session.Token, error) {
	directory, err := database.Directory(ctx)
	if err != nil {
		return session.Token{}, err
	}
	p, err := directory.PrincipalByUser(ctx, c.User, c.Org)
	if err != nil {
		return session.Token{}, err
	}
	d := &session.Decision{
		At: p.At, CallerKind: session.CallerOperator, CallerID: c.Actor,
		UserID: c.User, Organization: c.Org, Request: request, RequestID: rand.Text(),
	}
	token, err := decideFor(issuer, p, d)
	if err == nil {
		d.Token = &token
	} else if d.Reason = api.Reason(err); d.Reason == "" {
		return session.Token{}, err // a fault
	}
	audit := database.AuditLog(service.ReplicaName(), prometheus.NewRegistry())
	defer audit.Close()
	if err := audit.Record(ctx, d); err != nil {
		return session.Token{}, err
	}
	if err != nil {
		return session.Token{}, fmt.Errorf("refused (%s): %s; usher audit explain says more", d.Reason, plain(err))
	}
	return token, nil
}

// decideFor returns a principal's token, or the refusal.
func decideFor(issuer *session.Issuer, p *session.Principal, d *session.Decision) (session.Token, error) {
	if !p.Known {
		return session.Token{}, session.ErrUserUnknown
	}
	if err := p.Err(); err != nil {
		return session.Token{}, err
	}
	s, skipped := issuer.PrepareFor(p, d.Request)
	d.Skipped = skipped
	return s.Authorize()
}

// keySourceFlags say where the keys come from that a token is checked with.
// Never the token itself, unless asked: whoever made it chose what it says.
type keySourceFlags struct {
	databaseFlags
	URL         string `env:"USHER_URL" placeholder:"URL" help:"The issuer: the token must name it, and its key set is fetched from URL/.well-known/jwks.json."`
	JWKS        string `name:"jwks" type:"path" placeholder:"FILE" help:"A file with the key set, instead of fetching it. Without it and --url, the keys are those of the database."`
	TrustIssuer bool   `help:"Fetch the key set from the issuer that the token names, over https or from this machine. It proves that this issuer signed it, whoever that is."`
	Audience    string `placeholder:"NAME" help:"The sync backend that the token must be for."`
	Token       string `arg:"" optional:"" help:"The token; read from stdin where absent, since arguments show in the list of processes."`
}

const (
	jwksPath      = "/.well-known/jwks.json"
	maxTokenInput = 64 << 10
	fetchWithin   = 10 * time.Second
)

// read returns the token.
func (f *keySourceFlags) read(in io.Reader) (string, error) {
	text := f.Token
	if text == "" || text == "-" {
		content, err := io.ReadAll(io.LimitReader(in, maxTokenInput))
		if err != nil {
			return "", fmt.Errorf("stdin: %w", err)
		}
		text = string(content)
	}
	if text = strings.TrimSpace(text); text == "" {
		return "", errors.New("there is no token: give it as an argument or on stdin")
	}
	return text, nil
}

// keys returns where the keys come from, in words, and the keys; "" where
// nobody said. The caller calls done after use.
func (f *keySourceFlags) keys(ctx context.Context, issuer string) (from string, keys session.KeySource, done func(), err error) {
	done = func() {}
	switch {
	case f.TrustIssuer && (f.URL != "" || f.JWKS != ""):
		return "", nil, done, errors.New("--trust-issuer and --url, USHER_URL or --jwks: give one")
	case f.JWKS != "":
		keys, err := session.KeysFromFile(f.JWKS)
		return f.JWKS, keys, done, err
	case f.URL != "" || f.TrustIssuer:
		address := f.URL
		if f.TrustIssuer {
			address = issuer
		}
		u, err := url.Parse(address)
		if err != nil || u.Host == "" {
			return "", nil, done, fmt.Errorf("the issuer %.200q is no URL to fetch keys from", address)
		}
		keys, err := session.KeysFromURL(address+jwksPath, session.URLKeysConfig{})
		if err != nil {
			return "", nil, done, err
		}
		return address + jwksPath, keys, keys.Close, nil
	case !f.DatabaseURL.IsEmpty() || f.DatabaseURLFile != "":
		url, err := f.url()
		if err != nil {
			return "", nil, done, err
		}
		database, err := db.Open(url)
		if err != nil {
			return "", nil, done, err
		}
		defer database.Close()
		keys, err := database.PublishedKeys(ctx)
		return "the database", keys, done, err
	}
	return "", nil, done, nil
}

// check reads a token and says what is wrong with it. A fault, after which
// nothing is known of the token, is an error.
func (f *keySourceFlags) check(ctx context.Context, in io.Reader) (*inspection, error) {
	ctx, cancel := context.WithTimeout(ctx, fetchWithin)
	defer cancel()
	text, err := f.read(in)
	if err != nil {
		return nil, err
	}
	i := inspect(text, time.Now())
	from, keys, done, err := f.keys(ctx, i.Claims.Issuer)
	if err != nil {
		return nil, err
	}
	defer done()
	i.KeysFrom = from
	if keys == nil && i.unread != nil {
		return nil, fmt.Errorf("this is no token of usher's: %w", i.unread)
	}
	if keys == nil {
		return i, nil
	}
	// What nobody named is not compared.
	config := session.VerifierConfig{Keys: keys, Issuer: f.URL, Audience: f.Audience}
	if config.Issuer == "" {
		config.Issuer = orUnnamed(i.Claims.Issuer)
	}
	if config.Audience == "" {
		config.Audience = orUnnamed(i.Claims.audience())
	}
	verifier, err := session.NewVerifier(config)
	if err != nil {
		return nil, err
	}
	_, err = verifier.Verify(ctx, text)
	if err != nil && !errors.Is(err, session.ErrInvalidToken) {
		return nil, fmt.Errorf("whether the token is valid is not known: %w", err)
	}
	i.named = f.URL != ""
	i.judge(err, config)
	return i, nil
}

// orUnnamed is a name that no token has, where a token names none: the verifier
// refuses it by the claim that is missing.
func orUnnamed(name string) string {
	if name == "" {
		return "\x00"
	}
	return name
}

type tokenInspectCmd struct {
	keySourceFlags
	JSON bool `help:"Print JSON."`
}

func (c *tokenInspectCmd) Run(ctx context.Context, out *console) error {
	i, err := c.check(ctx, out.in)
	if err != nil {
		return err
	}
	if c.JSON {
		err = printJSON(out.out, i)
	} else {
		i.print(out.out)
	}
	if err == nil && i.Valid != nil && !*i.Valid {
		err = errSaid
	}
	return err
}

type tokenVerifyCmd struct{ keySourceFlags }

func (c *tokenVerifyCmd) Run(ctx context.Context, out *console) error {
	i, err := c.check(ctx, out.in)
	if err != nil {
		return err
	}
	switch {
	case i.KeysFrom == "":
		return errors.New("without keys nothing can be verified: give --url, --jwks or --database-url")
	case !*i.Valid:
		return errors.New(i.verdict())
	}
	fmt.Fprintln(out.out, i.verdict())
	return nil
}
