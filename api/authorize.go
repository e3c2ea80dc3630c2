package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/netip"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/go-playground/validator/v10"

	"github.com/usher-auth/usher/internal/strictjson"
	"github.com/usher-auth/usher/permissions"
	"github.com/usher-auth/usher/session"
)

const (
	maxBody      = 64 << 10
	maxDepth     = 16
	maxUserAgent = 256 // bytes of it in the audit
	maxOrigin    = 256
)

// authRequest is the body of POST /api/auth. Names that are not listed are
// ignored: clients add some.
type authRequest struct {
	Room     *string `validate:"omitnil,room"`
	Store    *string `validate:"omitnil,store"`
	Audience *string `validate:"omitnil,min=1"`
}

func newValidator() *validator.Validate {
	v := validator.New(validator.WithRequiredStructEnabled())
	for tag, kind := range map[string]permissions.Kind{"room": permissions.RoomKind, "store": permissions.StoreKind} {
		err := v.RegisterValidation(tag, func(f validator.FieldLevel) bool {
			return permissions.CheckID(kind, f.Field().String()) == nil
		})
		if err != nil {
			panic(err) // the tag is a constant
		}
	}
	return v
}

// authorize serves POST /api/auth: it finds out who is calling, decides,
// records the decision, and only then answers.
func (a *API) authorize(w http.ResponseWriter, r *http.Request) error {
	select {
	case a.inFlight <- struct{}{}:
		defer func() { <-a.inFlight }()
	default:
		return errOverloaded
	}
	req, err := a.decode(w, r)
	if err != nil {
		return err
	}
	// Not the request's own cancellation: who hangs up must not be able to
	// tear down a database connection with each call.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(r.Context()), answerWithin)
	defer cancel()

	d := a.newDecision(r, req)
	token, err := a.decide(ctx, r, d)
	if err != nil {
		d.Reason = problemFor(err).refusal
		if d.Reason == "" {
			return err // a fault, or a request that cannot be understood
		}
	} else {
		d.Token = &token
	}
	if auditErr := a.cfg.Audit.Record(ctx, d); auditErr != nil {
		return auditErr
	}
	a.metrics.decided(d)
	if err != nil {
		return err
	}
	if token.InfoOmitted {
		a.metrics.infoOmitted.Inc()
		a.cfg.Logger.WarnContext(ctx, "info of user is too large for a token and was left out", "user_id", d.UserID, "request_id", d.RequestID)
	}
	body, err := json.Marshal(authResponse{token.Text.Reveal(), token.ExpiresAt.UTC(), token.Partial})
	if err != nil {
		return err
	}
	writeJSON(w, http.StatusOK, body)
	return nil
}

type authResponse struct {
	Token     string    `json:"token"`
	ExpiresAt time.Time `json:"expiresAt"`
	Partial   bool      `json:"partial,omitempty"`
}

// decide returns a token, or why there is none. It fills in d as far as it
// gets.
func (a *API) decide(ctx context.Context, r *http.Request, d *session.Decision) (session.Token, error) {
	credential, err := a.cfg.Credentials.Read(r)
	if err != nil {
		return session.Token{}, err
	}
	// The browser sends the cookie by itself: which page made it must be
	// known.
	if !a.sameOrigin(r) {
		return session.Token{}, errOrigin
	}
	p, err := a.cfg.Directory.PrincipalBySession(ctx, credential.Session)
	if err != nil {
		return session.Token{}, err
	}
	d.At = p.At
	d.CallerKind, d.CallerID = session.CallerSession, p.User.Session
	d.UserID, d.Organization = p.User.ID, p.User.Organization
	if err := p.Err(); err != nil {
		return session.Token{}, err
	}
	rules, skipped := p.Rules()
	d.Skipped = skipped
	return a.cfg.Issuer.Prepare(p.User).For(d.Request).At(p.At).AllowRules(rules...).Authorize()
}

// sameOrigin reports whether a page of this service or of a listed origin made
// the request. A request that does not say is refused (OWASP ASVS 3.5).
func (a *API) sameOrigin(r *http.Request) bool {
	origins := r.Header.Values("Origin")
	return len(origins) == 1 && a.origins[origins[0]] ||
		r.Header.Get("Sec-Fetch-Site") == "same-origin"
}

func (a *API) newDecision(r *http.Request, req session.Request) *session.Decision {
	d := &session.Decision{
		At:         a.cfg.Now(),
		CallerKind: session.CallerNone,
		Request:    req,
		UserAgent:  recordable(r.UserAgent(), maxUserAgent),
		Origin:     recordable(r.Header.Get("Origin"), maxOrigin),
		RequestID:  RequestID(r.Context()),
	}
	if peer, err := netip.ParseAddrPort(r.RemoteAddr); err == nil {
		d.IP = peer.Addr().Unmap()
	}
	return d
}

// recordable makes of a header what Postgres takes as text.
func recordable(s string, limit int) string {
	if len(s) > limit {
		s = s[:limit]
	}
	if utf8.ValidString(s) {
		return s // a header has no NUL
	}
	return strings.ToValidUTF8(s, "\uFFFD")
}

// decode reads the body of POST /api/auth.
func (a *API) decode(w http.ResponseWriter, r *http.Request) (session.Request, error) {
	if !isJSON(r.Header.Values("Content-Type")) {
		return session.Request{}, errNotJSON
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if _, tooLarge := errors.AsType[*http.MaxBytesError](err); tooLarge {
		return session.Request{}, errTooLarge
	}
	if err != nil {
		return session.Request{}, badRequest("The body ended early.")
	}
	members, err := strictjson.Object(body, maxDepth)
	if e, ok := errors.AsType[*strictjson.SyntaxError](err); ok {
		return session.Request{}, badRequest(fmt.Sprintf("The body is not a JSON object that usher takes: at byte %d: %s.", e.Offset, e.Reason))
	}
	if err != nil {
		return session.Request{}, err
	}
	var asked authRequest
	for name, field := range map[string]**string{"room": &asked.Room, "store": &asked.Store, "audience": &asked.Audience} {
		value, there := members.Get(name)
		if !there {
			continue
		}
		text, ok := value.Text()
		if !ok {
			return session.Request{}, badRequest(name + " must be a string.")
		}
		*field = &text
	}
	if err := a.validate.Struct(asked); err != nil {
		return session.Request{}, asked.fault(err)
	}
	req := session.Request{Room: deref(asked.Room), Store: deref(asked.Store), Audience: deref(asked.Audience)}
	return req, a.cfg.Issuer.Check(req)
}

// fault says what is wrong with the first field that did not validate.
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
	return badRequest("audience is empty: leave it out for the default.")
}

func deref(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}

// isJSON reports whether a Content-Type says application/json, in UTF-8 if it
// says any charset. What a form can send never does (OWASP ASVS 3.5.2).
func isJSON(contentTypes []string) bool {
	if len(contentTypes) != 1 {
		return false
	}
	if contentTypes[0] == "application/json" {
		return true
	}
	media, parameters, err := mime.ParseMediaType(contentTypes[0])
	if err != nil || media != "application/json" {
		return false
	}
	for name, value := range parameters {
		if name != "charset" || !strings.EqualFold(value, "utf-8") {
			return false
		}
	}
	return true
}
