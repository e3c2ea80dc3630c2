package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"strings"
	"time"

	"github.com/usher-auth/usher/db"
	"github.com/usher-auth/usher/session"
)

type tokenCmd struct {
	Issue   tokenIssueCmd   `cmd:"" help:"Issue a token for a user, recorded in the audit under your name, and print it."`
	Preview tokenPreviewCmd `cmd:"" help:"Show the token that a user would get, and why. Issues no token."`
	Inspect tokenInspectCmd `cmd:"" help:"Show a token's contents and whether it is valid. Exit code 1 if it is invalid."`
	Verify  tokenVerifyCmd  `cmd:"" help:"Check whether a token is valid. Exit code 1 if it is invalid."`
}

// requestFlags say what token a user asks for.
type requestFlags struct {
	User     string `arg:"" help:"User ID (becomes sub)."`
	Org      string `placeholder:"ID" help:"Active organization of the session."`
	Room     string `placeholder:"ID" help:"Room that the token must open (default: everything the user has)."`
	Store    string `placeholder:"ID" help:"Store that the token must open (default: everything the user has)."`
	Audience string `placeholder:"NAME" help:"Sync backend (default: the first that takes what is asked for)."`
}

func (f *requestFlags) request() session.Request {
	return session.Request{Room: f.Room, Store: f.Store, Audience: f.Audience}
}

// keySourceFlags name the keys that a token is checked with. The token's own
// issuer is used only on request: the token's maker chose what it says.
type keySourceFlags struct {
	databaseFlags
	URL         string `env:"USHER_URL" placeholder:"URL" help:"The issuer that the token must name. Its key set is fetched from URL/.well-known/jwks.json."`
	JWKS        string `name:"jwks" type:"path" placeholder:"FILE" help:"File with the key set, instead of fetching it. Without it and --url, the database's keys are used."`
	TrustIssuer bool   `help:"Fetch the key set from the issuer that the token names, over https or from this machine. This proves that the named issuer signed it, whoever that is."`
	Audience    string `placeholder:"NAME" help:"Sync backend that the token must be for."`
	Token       string `arg:"" optional:"" help:"The token (default: standard input, because arguments show in the process list)."`
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
		return "", errors.New("no token: give it as an argument or on standard input")
	}
	return text, nil
}

// keys returns the keys, and in words where they come from: "" if no flag says
// so. The caller calls done after use.
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
			return "", nil, done, fmt.Errorf("the issuer %.200q is not a URL to fetch keys from", address)
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

// check reads a token and says what is wrong with it. It returns an error if
// that could not be found out.
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
		return nil, fmt.Errorf("this is not an usher token: %w", i.unread)
	}
	if keys == nil {
		return i, nil
	}
	// Without a flag, the token's own claim is compared with itself.
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
		return nil, fmt.Errorf("the token could not be checked: %w", err)
	}
	i.named = f.URL != ""
	i.judge(err, config)
	return i, nil
}

// orUnnamed returns a name that no token has if a token names none: the verifier
// then reports the missing claim.
func orUnnamed(name string) string {
	if name == "" {
		return "\x00"
	}
	return name
}
