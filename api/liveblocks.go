package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"

	"github.com/usher-auth/usher/internal/identity"
	"github.com/usher-auth/usher/internal/strictjson"
	"github.com/usher-auth/usher/permissions"
	"github.com/usher-auth/usher/session"
)

// The routes that Liveblocks' SDKs call with a secret key. Their answers go
// through the SDK to the caller as they are, and often on to a browser.

const docsURL = "https://liveblocks.io/docs/api-reference/rest-api-endpoints"

// liveblocksProblem is Liveblocks' error shape. A refusal of access has our
// members too, since it is what a callback's client gives up on.
type liveblocksProblem struct {
	Error      string `json:"error"`
	Message    string `json:"message"`
	Reason     string `json:"reason,omitempty"`
	Suggestion string `json:"suggestion,omitempty"`
	Docs       string `json:"docs,omitempty"`
}

// An unprocessable error is a body whose JSON says what cannot be.
type unprocessable struct{ key, reason string }

func (e *unprocessable) Error() string { return "api: " + e.key + ": " + e.reason }

func writeLiveblocksProblem(w http.ResponseWriter, p problem, requestID string) {
	if p.status == http.StatusTooManyRequests {
		p.status = http.StatusServiceUnavailable // of a 4xx, SDKs up to 3.0 make a 403, which stops clients for good
	}
	if p.status == http.StatusInternalServerError || p.status == http.StatusServiceUnavailable {
		writeProblem(w, p, requestID) // for operators; the SDK makes each a 503
		return
	}
	out := liveblocksProblem{Error: strings.ToUpper(p.Error), Message: p.Reason}
	switch {
	case p.status == http.StatusUnprocessableEntity:
		out.Suggestion, out.Docs = "Please ensure the data follows the correct format", docsURL
	case p.refusal == "no_credential" || p.refusal == "bad_bearer":
		p.status, out.Error, out.Message = http.StatusUnauthorized, "MISSING_SECRET_KEY", "Missing secret key in authentication header"
	case p.refusal == "public_key":
		p.status, out.Error, out.Message = http.StatusUnauthorized, "WRONG_KEY_USED", "Public key instead of the secret key."
	case p.refusal == "admin_key":
		p.status, out.Error, out.Message = http.StatusUnauthorized, "WRONG_KEY_USED", p.Reason
	case p.status == http.StatusUnauthorized:
		p.status, out.Error, out.Message = http.StatusForbidden, "INVALID_SECRET_KEY", "Invalid secret key."
	case p.status == http.StatusForbidden:
		out.Error, out.Reason = "forbidden", p.Reason
	}
	if p.status == http.StatusUnauthorized {
		w.Header().Set("WWW-Authenticate", `Bearer realm="usher"`)
	}
	body, err := json.Marshal(out)
	if err != nil {
		panic(err) // strings
	}
	writeJSON(w, p.status, body)
}

// authorizeUser serves POST /v2/authorize-user.
func (a *API) authorizeUser(w http.ResponseWriter, r *http.Request) error {
	return a.issueForBackend(w, r, session.RouteAuthorizeUser, func(body strictjson.Members) (issue, error) {
		given, err := readPermissions(body)
		if err != nil {
			return nil, err
		}
		return func(key *session.APIKey, user session.User, d *session.Decision) (session.Token, error) {
			for _, g := range given {
				if needs := g.Needs(); needs > 0 && !key.MayGrant(permissions.Rule{Pattern: g.Pattern, Access: needs}) {
					return session.Token{}, session.ErrKeyScope
				}
			}
			return a.cfg.Issuer.AuthorizeUser(user, given, d.At)
		}, nil
	})
}

// identifyUser serves POST /v2/identify-user.
func (a *API) identifyUser(w http.ResponseWriter, r *http.Request) error {
	return a.issueForBackend(w, r, session.RouteIdentifyUser, func(body strictjson.Members) (issue, error) {
		groups, err := readGroups(body)
		if err != nil {
			return nil, err
		}
		return func(_ *session.APIKey, user session.User, d *session.Decision) (session.Token, error) {
			return a.cfg.Issuer.IdentifyUser(user, groups, d.At)
		}, nil
	})
}

// issue makes a token for a key that may name the user.
type issue func(key *session.APIKey, user session.User, d *session.Decision) (session.Token, error)

// issueForBackend is what the two routes have in common. The key's form is
// checked before the body is read, and the key itself with the user's look-up.
func (a *API) issueForBackend(w http.ResponseWriter, r *http.Request, route string, read func(strictjson.Members) (issue, error)) error {
	return a.decideAndRecord(w, r, session.Request{}, a.cfg.Credentials.Read, func(ctx context.Context, credential identity.Credential, d *session.Decision) (session.Token, error) {
		if !credential.ProviderToken.IsEmpty() {
			return session.Token{}, identity.ErrBadAPIKey
		}
		if credential.APIKey == nil {
			return session.Token{}, identity.ErrNoCredential // a cookie is no secret key
		}
		body, err := readObject(w, r)
		if err != nil {
			return session.Token{}, err
		}
		user, err := readUser(body)
		if err != nil {
			return session.Token{}, err
		}
		issue, err := read(body)
		if err != nil {
			return session.Token{}, err
		}
		key, p, err := a.principalByKey(ctx, *credential.APIKey, route, user.ID, user.Organization, d)
		if err != nil {
			return session.Token{}, err
		}
		if p.Disabled {
			return session.Token{}, session.ErrUserDisabled
		}
		return issue(key, user, d)
	}, func(token session.Token) ([]byte, error) {
		return json.Marshal(struct {
			Token string `json:"token"`
		}{token.Text.Reveal()})
	})
}

// readObject reads a JSON object as Liveblocks does, whatever the content type
// says.
func readObject(w http.ResponseWriter, r *http.Request) (strictjson.Members, error) {
	body, err := readBody(w, r, maxBody)
	if err != nil {
		return nil, err
	}
	return parseObject(body)
}

// readBody reads a body of at most so many bytes.
func readBody(w http.ResponseWriter, r *http.Request, limit int64) ([]byte, error) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, limit))
	if _, tooLarge := errors.AsType[*http.MaxBytesError](err); tooLarge {
		return nil, tooLargeFor(limit)
	}
	if err != nil {
		return nil, badRequest("The body ended early.")
	}
	return body, nil
}

func parseObject(body []byte) (strictjson.Members, error) {
	members, err := strictjson.Object(body, maxDepth)
	if e, ok := errors.AsType[*strictjson.SyntaxError](err); ok {
		return nil, badRequest(fmt.Sprintf("The body is not a JSON object that usher takes: at byte %d: %s.", e.Offset, e.Reason))
	}
	return members, err
}

// readUser reads userId, userInfo, and organizationId or its older name
// tenantId.
func readUser(body strictjson.Members) (session.User, error) {
	var user session.User
	value, there := body.Get("userId")
	if !there {
		return user, &unprocessable{"userId", "Missing key: 'userId'."}
	}
	var ok bool
	if user.ID, ok = value.Text(); !ok || !session.IsDirectoryID(user.ID) {
		return user, &unprocessable{"userId", "Value at key 'userId': must be a string of 1 to 128 characters, none of them a control character."}
	}
	for _, name := range []string{"tenantId", "organizationId"} { // the newer name wins
		if value, there := body.Get(name); there {
			if user.Organization, ok = value.Text(); !ok || !session.IsDirectoryID(user.Organization) {
				return user, &unprocessable{name, "Value at key '" + name + "': must be a string of 1 to 128 characters, none of them a control character."}
			}
		}
	}
	if value, there := body.Get("userInfo"); there {
		if _, ok := value.Members(); !ok {
			return user, &unprocessable{"userInfo", "Value at key 'userInfo': must be an object."}
		}
		user.Info = json.RawMessage(value.Raw())
		if !session.InfoFits(user.Info) {
			return user, &unprocessable{"userInfo", fmt.Sprintf("Value at key 'userInfo': must be at most %d characters once serialized.", session.MaxInfoUnits)}
		}
	}
	return user, nil
}

// readPermissions reads {pattern: [name, ...]}, in its order.
func readPermissions(body strictjson.Members) ([]session.RoomPermissions, error) {
	value, there := body.Get("permissions")
	if !there {
		return nil, &unprocessable{"permissions", "Missing key: 'permissions'."}
	}
	members, ok := value.Members()
	if !ok {
		return nil, &unprocessable{"permissions", "Value at key 'permissions': must be an object."}
	}
	given := make([]session.RoomPermissions, 0, len(members))
	for _, m := range members {
		names, ok := readStrings(m.Value)
		if !ok {
			return nil, &unprocessable{"permissions", "Value at key 'permissions': each pattern needs a list of permission names."}
		}
		g, err := session.ParseRoomPermissions(m.Name, names)
		if err != nil {
			return nil, err
		}
		given = append(given, g)
	}
	return given, nil
}

func readGroups(body strictjson.Members) ([]string, error) {
	value, there := body.Get("groupIds")
	if !there {
		return nil, nil
	}
	groups, ok := readStrings(value)
	if !ok || len(groups) > 100 {
		return nil, &unprocessable{"groupIds", "Value at key 'groupIds': must be a list of at most 100 strings."}
	}
	return groups, nil
}

func readStrings(value strictjson.Value) ([]string, bool) {
	elements, ok := value.Elements()
	if !ok {
		return nil, false
	}
	list := make([]string, len(elements))
	for i, e := range elements {
		if list[i], ok = e.Text(); !ok {
			return nil, false
		}
	}
	return list, true
}
