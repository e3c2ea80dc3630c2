package main

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/usher-auth/usher/internal/codes"
	"github.com/usher-auth/usher/internal/liveblocks"
	"github.com/usher-auth/usher/session"
)

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

// An inspection has the contents of a token and what is wrong with it. Until the token
// is verified, anyone may have written the contents.
type inspection struct {
	// Valid is nil if there were no keys to verify with.
	Valid    *bool       `json:"valid"`
	Code     string      `json:"code,omitempty"` // of session.TokenError
	Problem  string      `json:"problem,omitempty"`
	KeysFrom string      `json:"keysFrom,omitempty"`
	Header   tokenHeader `json:"header"`
	Claims   tokenClaims `json:"claims"`

	at       time.Time
	detail   string // of session.TokenError
	unread   error  // why the header or the claims cannot be read
	compared session.VerifierConfig
	named    bool // the caller, not only the token, names the issuer
}

type tokenHeader struct {
	Algorithm string `json:"alg"`
	KeyID     string `json:"kid"`
	Type      string `json:"typ"`
}

type tokenClaims struct {
	Issuer       string              `json:"iss"`
	Subject      string              `json:"sub"`
	Audience     any                 `json:"aud"`
	IssuedAt     float64             `json:"iat"`
	ExpiresAt    float64             `json:"exp"`
	ID           string              `json:"jti"`
	Organization string              `json:"org,omitempty"`
	Session      string              `json:"sid,omitempty"`
	Kind         string              `json:"k,omitempty"`
	Project      string              `json:"pid,omitempty"`
	UserID       string              `json:"uid,omitempty"`
	Info         json.RawMessage     `json:"ui,omitempty"`
	Groups       []string            `json:"gids,omitempty"`
	Rooms        map[string][]string `json:"perms,omitempty"`
	Stores       map[string]string   `json:"stores,omitempty"`
}

// audience is the first that the token names.
func (c *tokenClaims) audience() string {
	switch aud := c.Audience.(type) {
	case string:
		return aud
	case []any:
		if len(aud) > 0 {
			first, _ := aud[0].(string)
			return first
		}
	}
	return ""
}

// inspect reads a token without verifying it.
func inspect(text string, at time.Time) *inspection {
	i := &inspection{at: at}
	parts := strings.Split(text, ".")
	if len(parts) != 3 {
		i.unread = errors.New("it does not have three parts separated by dots")
		return i
	}
	for n, into := range []any{&i.Header, &i.Claims} {
		content, err := base64.RawURLEncoding.DecodeString(parts[n])
		if err == nil {
			err = json.Unmarshal(content, into)
		}
		if err != nil && i.unread == nil {
			i.unread = fmt.Errorf("its %s cannot be read", [...]string{"header", "payload"}[n])
		}
	}
	return i
}

// judge adds the result of the verifier.
func (i *inspection) judge(err error, compared session.VerifierConfig) {
	valid := err == nil
	i.Valid, i.compared = &valid, compared
	if invalid, ok := errors.AsType[*session.TokenError](err); ok {
		i.Code, i.detail = invalid.Code, invalid.Detail
		i.Problem = i.problem()
	}
}

// isSigned reports whether one of the keys signed the contents.
func (i *inspection) isSigned() bool {
	switch i.Code {
	case codes.TokenMalformed, codes.HeaderInvalid, codes.TypeMismatch, codes.KeyUnknown, codes.AlgorithmMismatch, codes.SignatureInvalid:
		return false
	}
	return i.Valid != nil
}

// problem describes a verifier's code in words.
func (i *inspection) problem() string {
	switch i.Code {
	case codes.TokenMalformed:
		return "it is malformed: " + i.detail
	case codes.HeaderInvalid:
		return "its header must contain only alg, kid and typ: " + i.detail
	case codes.KeyUnknown:
		return fmt.Sprintf("its key %s is not among the keys from %s: another issuer signed it, or the key was withdrawn", cell(i.Header.KeyID), i.KeysFrom)
	case codes.AlgorithmMismatch:
		return fmt.Sprintf("its alg %s is not the algorithm of its key", cell(i.Header.Algorithm))
	case codes.SignatureInvalid:
		return "its signature is invalid: the token was changed or forged"
	case codes.TypeMismatch:
		return fmt.Sprintf("its typ %s is not at+jwt: it is not an access token", cell(i.Header.Type))
	case codes.IssuerMismatch:
		return fmt.Sprintf("its issuer is %s, not %s", cell(i.Claims.Issuer), i.compared.Issuer)
	case codes.AudienceMismatch:
		return fmt.Sprintf("it is for %s, not for %s", cell(i.Claims.audience()), cell(i.compared.Audience))
	case codes.ClaimsInvalid:
		return fmt.Sprintf("its claim %s is missing or malformed", i.detail)
	case codes.LifetimeTooLong:
		return "it is valid for longer than an hour"
	case codes.TokenNotYetValid:
		return fmt.Sprintf("its %s is in the future: a clock may be wrong", i.detail)
	case codes.TokenExpired:
		return fmt.Sprintf("it expired %s ago; everything else is valid", i.since(i.Claims.ExpiresAt))
	}
	return "it is refused: " + i.Code
}

// verdict is the result as a sentence.
func (i *inspection) verdict() string {
	switch {
	case i.Valid == nil:
		return "not verified, because no keys were given. To verify it, give --url, --jwks or --database-url"
	case !*i.Valid:
		return "invalid: " + i.Problem
	}
	left := "expires in " + i.since(2*unixSeconds(i.at)-i.Claims.ExpiresAt)
	if unixSeconds(i.at) >= i.Claims.ExpiresAt {
		left = fmt.Sprintf("expired %s ago, which verifiers still accept: clocks differ", i.since(i.Claims.ExpiresAt))
	}
	return fmt.Sprintf("valid: signed by a key from %s; %s", i.KeysFrom, left)
}

func unixSeconds(t time.Time) float64 { return float64(t.UnixMilli()) / 1000 }

// since returns how long ago a NumericDate is, to the second.
func (i *inspection) since(date float64) string {
	const century = 100 * 365 * 24 * 60 * 60
	seconds := min(max(unixSeconds(i.at)-date, -century), century)
	return (time.Duration(seconds) * time.Second).String()
}

// print writes the inspection for people.
func (i *inspection) print(w io.Writer) {
	fmt.Fprintln(w, upperFirst(i.verdict())+".")
	if i.unread != nil {
		return
	}
	c := &i.Claims
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	line := func(name, text string) {
		if text != "" {
			fmt.Fprintf(table, "  %s\t%s\n", name, text)
		}
	}
	if !i.isSigned() {
		fmt.Fprintln(table, "\nContents, not verified:")
	}
	user := cell(c.Subject)
	if c.UserID != "" && c.UserID != c.Subject {
		user += ", who is user " + cell(c.UserID)
	}
	line("user", user)
	line("organization", cellOf(c.Organization))
	line("backend", cell(c.audience()))
	issuer := cell(c.Issuer)
	if i.isSigned() && !i.named {
		issuer += " (as the token says: no --url was given)"
	}
	line("issuer", issuer)
	line("issued", i.dateCell(c.IssuedAt))
	line("expires", i.dateCell(c.ExpiresAt))
	line("jti", cell(c.ID))
	line("key", cell(i.Header.KeyID)+", "+cell(i.Header.Algorithm))
	line("session", cellOf(c.Session))
	if c.Info != nil {
		line("info", cell(string(c.Info)))
	}
	switch {
	case c.Kind == "id":
		line("kind", "identity: it grants no access")
		line("groups", listed(c.Groups))
	case len(c.Rooms)+len(c.Stores) == 0:
		line("opens", "nothing")
	}
	for _, pattern := range slices.Sorted(maps.Keys(c.Rooms)) {
		line("room", cell(pattern)+"\t"+roomAccess(pattern, c.Rooms[pattern]))
	}
	for _, pattern := range slices.Sorted(maps.Keys(c.Stores)) {
		line("store", cell(pattern)+"\t"+cell(c.Stores[pattern]))
	}
	_ = table.Flush() // for example because the terminal is gone
}

// roomAccess reads Liveblocks' permission names like a verifier, and prints the names
// that another backend chose.
func roomAccess(pattern string, names []string) string {
	written := cell(strings.Join(names, " "))
	list, _ := json.Marshal(names) // strings can always be encoded
	r, err := session.ParseRoomPermissions(pattern, names)
	switch {
	case err != nil:
		return "not understood: " + written
	case bytes.Equal(list, liveblocks.AppendNames(nil, r.Access())):
		return r.Access().String()
	}
	return fmt.Sprintf("%s\t%s", r.Access(), written)
}

// cellOf is cell for a value that is left out if it is empty.
func cellOf(text string) string {
	if text == "" {
		return ""
	}
	return cell(text)
}

func upperFirst(sentence string) string { return strings.ToUpper(sentence[:1]) + sentence[1:] }

func (i *inspection) dateCell(date float64) string {
	const lastYear = 253402300799 // 9999
	if date <= 0 || date > lastYear {
		return "never"
	}
	t := time.Unix(int64(date), 0)
	if ago := unixSeconds(i.at) - date; ago >= 0 {
		return fmt.Sprintf("%s, %s ago", timeCell(&t), i.since(date))
	}
	return fmt.Sprintf("%s, in %s", timeCell(&t), i.since(2*unixSeconds(i.at)-date))
}
