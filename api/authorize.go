package api

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/go-playground/validator/v10"

	"github.com/usher-auth/usher/audit"
	"github.com/usher-auth/usher/internal/identity"
	"github.com/usher-auth/usher/internal/principal"
	"github.com/usher-auth/usher/internal/strictjson"
	"github.com/usher-auth/usher/permissions"
	"github.com/usher-auth/usher/session"
)

const (
	maxUserAgent = 256 // bytes that the audit stores
	maxOrigin    = 256
)

// authRequest is the body of POST /api/auth. Other fields are ignored, because clients
// add some.
type authRequest struct {
	Room     *string `validate:"omitnil,room"`
	Store    *string `validate:"omitnil,store"`
	Audience *string `validate:"omitnil,min=1"`
}

// authorize serves POST /api/auth. It finds out who is calling, decides, records the
// decision, and only then answers.
func (a *API) authorize(w http.ResponseWriter, r *http.Request) error {
	asked, err := a.decode(w, r)
	if err != nil {
		return err
	}
	token, err := a.issue(r, &asked)
	if err != nil {
		if asked.inCookie && classify(err).status == http.StatusUnauthorized {
			http.SetCookie(w, a.tokenCookie(nil)) // delete the token of the previous user
		}
		return err
	}
	if asked.inCookie {
		http.SetCookie(w, a.tokenCookie(&token))
		return writeAnswer(w, http.StatusOK, cookieResponse{token.ExpiresAt.UTC(), token.Partial})
	}
	return writeAnswer(w, http.StatusOK, authResponse{token.Text.Reveal(), token.ExpiresAt.UTC(), token.Partial})
}

// issue returns a token whose audit row is committed.
func (a *API) issue(r *http.Request, asked *authorizeRequest) (session.Token, error) {
	credential, refusal := a.cfg.Credentials.Read(r)
	ctx, t, err := a.begin(r.Context(), a.slots, a.newDecision(r, asked.Request), credential, a.limitedPeer(r))
	if err != nil {
		return session.Token{}, err
	}
	defer t.release()
	var token session.Token
	if refusal == nil {
		token, refusal = a.decide(ctx, credential, asked, t)
	}
	return token, t.end(ctx, &token, refusal)
}

type authResponse struct {
	Token     string    `json:"token"`
	ExpiresAt time.Time `json:"expiresAt"`
	Partial   bool      `json:"partial,omitempty"`
}

// decide returns a token, or the reason for a refusal. It fills in the attempt's
// decision as far as it gets.
func (a *API) decide(ctx context.Context, credential identity.Credential, asked *authorizeRequest, t *attempt) (session.Token, error) {
	var p *principal.Principal
	var key *principal.APIKey
	var err error
	d := t.Decision
	if credential.APIKey == nil {
		if err := asked.checkSpelling(); err != nil {
			return session.Token{}, err
		}
	}
	switch {
	// A browser never adds a token to a request automatically, but it always keeps the
	// cookie of the answer. A foreign page could therefore send its own token, and the
	// cookie would sign the user in as someone else.
	case !credential.ProviderToken.IsEmpty() && asked.inCookie && asked.pageFault != nil:
		return session.Token{}, asked.pageFault
	case !credential.ProviderToken.IsEmpty():
		if p, err = a.principalByToken(ctx, credential.ProviderToken, t); err != nil {
			return session.Token{}, err
		}
	case credential.APIKey != nil && asked.inCookie:
		return session.Token{}, errKeyInCookieMode
	case credential.APIKey != nil:
		user, organization, err := asked.subject()
		if err != nil {
			return session.Token{}, err
		}
		if key, p, err = a.principalByKey(ctx, *credential.APIKey, principal.RouteAuth, user, organization, d); err != nil {
			return session.Token{}, err
		}
		if !p.Known {
			return session.Token{}, principal.ErrUserUnknown
		}
		if organization != p.User.Organization {
			return session.Token{}, &notMemberError{"organization", organization}
		}
	// The browser sends cookies automatically, also to a proxy, so the page that made
	// the request must be known.
	case asked.pageFault != nil:
		return session.Token{}, asked.pageFault
	case credential.Proxy != nil:
		named := credential.Proxy
		d.CallerKind, d.CallerID = audit.CallerProxy, named.Proxy.String()
		d.UserID, d.Request.OrganizationID = named.User, named.Organization
		if p, err = a.cfg.Directory.PrincipalByUser(ctx, named.User, named.Organization); err != nil {
			return session.Token{}, err
		}
		d.At, d.OrganizationID = p.At, p.User.Organization
		if !p.Known {
			return session.Token{}, principal.ErrUserUnknown
		}
	default:
		if p, err = a.cfg.Directory.PrincipalBySession(ctx, credential.Session); err != nil {
			return session.Token{}, err
		}
		d.At = p.At
		d.CallerKind, d.CallerID = audit.CallerSession, p.User.Session
		d.UserID, d.OrganizationID = p.User.ID, p.User.Organization
	}
	if err := p.Err(); err != nil {
		return session.Token{}, err
	}
	s, skipped := p.Prepare(a.cfg.Issuer, asked.Request)
	d.SkippedGrants = skipped
	token, err := s.Authorize()
	if err == nil && key != nil {
		for _, rule := range slices.Concat(token.Patterns.Rooms, token.Patterns.Stores) {
			if err := checkScope(key, rule); err != nil {
				return session.Token{}, err
			}
		}
	}
	return token, err
}

// principalByKey looks up an API key and the user that the request names. It refuses a
// request outside of the key's scope; it does not check the patterns.
func (a *API) principalByKey(ctx context.Context, shown identity.APIKey, route, user, organization string, d *audit.Decision) (*principal.APIKey, *principal.Principal, error) {
	d.CallerKind, d.CallerID = audit.CallerAPIKey, shown.ID
	d.UserID, d.Request.OrganizationID = user, organization
	key, p, err := a.cfg.Directory.PrincipalByAPIKey(ctx, shown.ID, shown.Hash, user, organization)
	if err != nil {
		return nil, nil, err
	}
	d.At, d.OrganizationID = p.At, p.User.Organization
	if err := key.Bound(p); err != nil {
		return nil, nil, err
	}
	// With a key for some organizations, the request must name one of them, and the
	// user must be its member.
	switch {
	case !key.Serves(route):
		return nil, nil, &scopeError{fmt.Sprintf("it is not for the route %s", route)}
	case !key.SpeaksFor(organization) && organization == "":
		return nil, nil, &scopeError{"it is for some organizations only: name one as organizationId"}
	case !key.SpeaksFor(organization):
		return nil, nil, &scopeError{fmt.Sprintf("it is not for the organization %.64q", organization)}
	case key.Organizations != nil && p.User.Organization != organization:
		return nil, nil, &scopeError{fmt.Sprintf("the user is not a member of the organization %.64q", organization)}
	}
	return key, p, nil
}

// A scopeError says which part of a request an API key's scope does not allow.
type scopeError struct{ cause string }

func (e *scopeError) Error() string {
	return "the request is outside of this API key's scope: " + e.cause
}

// Unwrap returns the sentinel.
func (*scopeError) Unwrap() error { return principal.ErrAPIKeyScope }

// checkScope returns a [*scopeError] if the key may not grant the rule.
func checkScope(key *principal.APIKey, rule permissions.Rule) error {
	if key.MayGrant(rule) {
		return nil
	}
	kind := rule.Pattern.Kind()
	if rule.Access == permissions.Full && key.MayGrant(permissions.Rule{Pattern: rule.Pattern, Access: permissions.Read}) {
		return &scopeError{fmt.Sprintf("it allows read access to the %s pattern %q, not full", kind, rule.Pattern)}
	}
	return &scopeError{fmt.Sprintf("it does not cover the %s pattern %q", kind, rule.Pattern)}
}

// A notMemberError is the refusal of a request that names an organization or a group, if
// the directory does not list the user as its member.
type notMemberError struct{ kind, id string }

func (e *notMemberError) Error() string {
	return fmt.Sprintf("the user is not a member of the %s %.64q", e.kind, e.id)
}

func (a *API) newDecision(r *http.Request, req session.Request) *audit.Decision {
	request := requestOf(r.Context())
	request.decision = &audit.Decision{
		At:         a.cfg.Now(),
		CallerKind: audit.CallerNone,
		Request:    audit.Request{Room: req.Room, Store: req.Store, Audience: req.Audience},
		UserAgent:  recordable(r.UserAgent(), maxUserAgent),
		Origin:     request.origin,
		IP:         request.client,
		RequestID:  request.id,
	}
	return request.decision
}

// AuditToken returns the parts of a token that the audit stores.
func AuditToken(t *session.Token) *audit.Token {
	kind := audit.AccessToken
	if t.Identity {
		kind = audit.IdentityToken
	}
	return &audit.Token{
		ID: t.ID, KeyID: t.KeyID, Audience: t.Audience, ExpiresAt: t.ExpiresAt, OrganizationID: t.Organization, Kind: kind,
		Patterns: audit.Patterns(t.Patterns), Claims: t.Chosen, Partial: t.Partial,
	}
}

// limitedPeer returns the address whose refusals are limited. It is never taken from a
// header. For a trusted proxy it is the zero Addr, because the proxy's address does not
// show who was refused.
func (a *API) limitedPeer(r *http.Request) netip.Addr {
	if a.cfg.Credentials.FromProxy(r) {
		return netip.Addr{}
	}
	return identity.PeerAddr(r)
}

// recordable turns a header into text that Postgres accepts, of at most limit bytes
// before it replaces bytes that are not UTF-8.
func recordable(s string, limit int) string {
	if len(s) > limit {
		s = s[:limit]
	}
	if utf8.ValidString(s) {
		return s // a header cannot contain NUL
	}
	return strings.ToValidUTF8(s, "\uFFFD")
}

// authorizeRequest is a POST /api/auth with a valid body.
type authorizeRequest struct {
	session.Request
	inCookie bool // the token goes into the cookie
	// pageFault is set if the request's page may not use credentials that a browser
	// sends automatically.
	pageFault error
	body      strictjson.Members
}

// decode reads the body of POST /api/auth.
func (a *API) decode(w http.ResponseWriter, r *http.Request) (authorizeRequest, error) {
	if !isJSON(r.Header.Values("Content-Type")) {
		return authorizeRequest{}, errNotJSON
	}
	members, err := readObject(w, r)
	if err != nil {
		return authorizeRequest{}, err
	}
	var asked authRequest
	for name, field := range map[string]**string{"room": &asked.Room, "store": &asked.Store, "audience": &asked.Audience} {
		value, there := members.Get(name)
		if !there || value.IsNull() {
			continue
		}
		text, ok := value.Text()
		if !ok {
			return authorizeRequest{}, badRequest(name + " must be a string.")
		}
		*field = &text
	}
	if err := a.validate.Struct(asked); err != nil {
		return authorizeRequest{}, asked.fault(err)
	}
	req := session.Request{Room: deref(asked.Room), Store: deref(asked.Store), Audience: deref(asked.Audience)}
	if err := a.cfg.Issuer.Check(req); err != nil {
		return authorizeRequest{}, err
	}
	inCookie, err := a.cookieMode(r, req)
	return authorizeRequest{req, inCookie, a.checkPage(r), members}, err
}

// Fields of the body of POST /api/auth. With an API key, they also say whose token is
// requested. Other requests cannot choose the user, so those fields are not read there.
var (
	authFields    = []string{"audience", "room", "store"}
	authKeyFields = []string{"audience", "organization", "organizationId", "room", "store", "userId"}
)

// subject reads which user's token is requested with an API key. It refuses unknown
// fields: ignoring a misspelled one would give a token for more than was requested.
func (q *authorizeRequest) subject() (user, organization string, err error) {
	for _, m := range q.body {
		if !slices.Contains(authKeyFields, m.Name) {
			return "", "", unknownField(m.Name, m.Name, authKeyFields)
		}
	}
	if user, err = q.id("userId"); err != nil {
		return "", "", err
	}
	if user == "" {
		return "", "", badRequest("userId is missing. An API key asks for a user's token.")
	}
	if organization, err = q.id("organizationId"); err != nil {
		return "", "", err
	}
	older, err := q.id("organization")
	if err != nil {
		return "", "", err
	}
	if organization != "" && older != "" && organization != older {
		return "", "", badRequest("organizationId and organization differ. Send only organizationId.")
	}
	return user, cmp.Or(organization, older), nil
}

// id reads an optional field that is an id of the directory.
func (q *authorizeRequest) id(name string) (string, error) {
	value, there := q.body.Get(name)
	if !there || value.IsNull() {
		return "", nil
	}
	text, ok := value.Text()
	if !ok || !principal.IsID(text) {
		return "", badRequest(name + " must be a string of 1 to 128 characters without control characters.")
	}
	return text, nil
}

// checkSpelling refuses a misspelling of one of our fields: ignoring it would give a
// token for more than was requested. Other unknown fields are ignored, because clients
// add some.
func (q *authorizeRequest) checkSpelling() error {
	for _, m := range q.body {
		if slices.Contains(authKeyFields, m.Name) {
			continue
		}
		stem := stemOf(m.Name)
		for _, meant := range []string{"room", "store", "audience", "organization", "org"} {
			if stem == meant || len(meant) > 3 && oneEditApart(stem, meant) {
				return unknownField(m.Name, m.Name, authFields)
			}
		}
	}
	return nil
}

// stemOf returns a name in lower case, without separators, plural s, and the ending Id
// or Name: the stem of Room_IDs is room.
func stemOf(name string) string {
	stem := strings.ToLower(strings.Map(func(r rune) rune {
		if r == '_' || r == '-' || r == ' ' || r == '.' {
			return -1
		}
		return r
	}, name))
	stem = strings.TrimSuffix(stem, "s")
	for _, ending := range []string{"id", "name"} {
		stem = strings.TrimSuffix(stem, ending)
	}
	return strings.TrimSuffix(stem, "s")
}

// oneEditApart reports whether a becomes b by at most one edit: one character added,
// removed or replaced, or two neighbors swapped.
func oneEditApart(a, b string) bool {
	if len(a) > len(b) {
		a, b = b, a
	}
	if len(b)-len(a) > 1 {
		return false
	}
	i := 0
	for i < len(a) && a[i] == b[i] {
		i++
	}
	if len(a) < len(b) {
		return a[i:] == b[i+1:]
	}
	return i == len(a) || a[i+1:] == b[i+1:] ||
		i+1 < len(a) && a[i] == b[i+1] && a[i+1] == b[i] && a[i+2:] == b[i+2:]
}

// fault returns an error for the first field that is not valid.
func (q *authRequest) fault(err error) error {
	fields, ok := errors.AsType[validator.ValidationErrors](err)
	if !ok {
		return err
	}
	switch fields[0].Tag() {
	case "room":
		return permissions.CheckID(permissions.RoomKind, *q.Room)
	case "store":
		return permissions.CheckID(permissions.StoreKind, *q.Store)
	}
	return badRequest("audience is empty. Leave it out for the default.")
}

func deref(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}
