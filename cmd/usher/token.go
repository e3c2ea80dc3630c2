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
	Issue   tokenIssueCmd   `cmd:"" help:"Issue a token for a user and print it. The audit records it under your name."`
	Preview tokenPreviewCmd `cmd:"" help:"Show the token that a user would get, and why. It issues no token."`
	Inspect tokenInspectCmd `cmd:"" help:"Show a token's contents and whether it is valid. Exit code 1 if it is invalid."`
	Verify  tokenVerifyCmd  `cmd:"" help:"Check whether a token is valid. Exit code 1 if it is invalid."`
}

// requestFlags describe the token that a user requests.
type requestFlags struct {
	User     string `arg:"" help:"User ID (becomes sub)."`
	Org      string `placeholder:"ID" help:"Active organization of the session."`
	Room     string `placeholder:"ID" help:"Room that the token must open (default: everything the user has)."`
	Store    string `placeholder:"ID" help:"Store that the token must open (default: everything the user has)."`
	Audience string `placeholder:"NAME" help:"Sync backend (default: the first one for the requested kind)."`
}

func (f *requestFlags) request() session.Request {
	return session.Request{Room: f.Room, Store: f.Store, Audience: f.Audience}
}

// keySourceFlags name the keys for checking a token. The issuer that the token names is
// used only on request, because whoever made the token chose it.
type keySourceFlags struct {
	databaseFlags
	URL         string `env:"USHER_URL" placeholder:"URL" help:"Issuer that the token must name. Its key set is fetched from URL/.well-known/jwks.json."`
	JWKS        string `name:"jwks" type:"path" placeholder:"FILE" help:"File with the key set, which is then not fetched (default without --url: the database's keys)."`
	TrustIssuer bool   `help:"Fetch the key set from the issuer that the token names, with https or from this machine. This proves only that this issuer signed it, not who the issuer is."`
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

// keys returns the keys, and a description of their source, which is empty if no flag
// names one. The caller must call done after use.
func (f *keySourceFlags) keys(ctx context.Context, issuer string) (from string, keys session.KeySource, done func(), err error) {
	done = func() {}
	switch {
	case f.TrustIssuer && (f.URL != "" || f.JWKS != ""):
		return "", nil, done, errors.New("--trust-issuer cannot be used with --url, USHER_URL or --jwks: give only one of them")
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
			return "", nil, done, fmt.Errorf("the issuer %.200q is not a URL, so its keys cannot be fetched: give --url or --jwks", address)
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
		return "the database", keys, done, database.NameRoles(ctx, err)
	}
	return "", nil, done, nil
}

// check reads a token and returns what is wrong with it. It returns an error if the
// token could not be checked.
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
	// Without a flag, the verifier expects the token's own claim.
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
