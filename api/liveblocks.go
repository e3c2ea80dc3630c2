package api

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/usher-auth/usher/audit"
	"github.com/usher-auth/usher/internal/codes"
	"github.com/usher-auth/usher/internal/identity"
	"github.com/usher-auth/usher/internal/principal"
	"github.com/usher-auth/usher/internal/strictjson"
	"github.com/usher-auth/usher/permissions"
	"github.com/usher-auth/usher/session"
)

// The routes that Liveblocks' SDKs call with a secret key. The SDK passes their answers
// to its caller unchanged, and the caller often passes them to a browser.

const docsURL = "https://liveblocks.io/docs/api-reference/rest-api-endpoints"

// liveblocksProblem is Liveblocks' error shape. A refusal of access has our fields too:
// a client whose authEndpoint is a function stops only on these.
type liveblocksProblem struct {
	Error      string `json:"error"`
	Message    string `json:"message"`
	Reason     string `json:"reason,omitempty"`
	Suggestion string `json:"suggestion,omitempty"`
	Docs       string `json:"docs,omitempty"`
}

// An unprocessable error refuses a body that is valid JSON with a value that is not
// valid.
type unprocessable struct{ key, reason string }

func (e *unprocessable) Error() string { return "api: " + e.key + ": " + e.reason }

func writeLiveblocksProblem(w http.ResponseWriter, of *problem, requestID string) {
	p := *of
	if p.status == http.StatusTooManyRequests || p.status == http.StatusRequestTimeout {
		p.status = http.StatusServiceUnavailable // SDKs up to 3.0 turn every 4xx into a 403, which stops clients permanently
	}
	if p.status == http.StatusInternalServerError || p.status == http.StatusServiceUnavailable {
		writeProblem(w, &p, requestID) // for operators; the SDK turns both into a 503
		return
	}
	out := liveblocksProblem{Error: strings.ToUpper(p.slug), Message: p.sentence}
	switch {
	case p.status == http.StatusNotFound:
		out.Message = "There is no such route. usher supports two routes of Liveblocks' API: POST " + authorizeUserPath + " and POST " + identifyUserPath + "."
	case p.status == http.StatusUnprocessableEntity:
		out.Suggestion, out.Docs = "Please ensure the data follows the correct format", docsURL
	case p.reason == codes.NoCredential || p.reason == codes.BadBearer:
		p.status, out.Error, out.Message = http.StatusUnauthorized, "MISSING_SECRET_KEY", "Missing secret key in authentication header"
	case p.reason == codes.PublicKeyUsed:
		p.status, out.Error, out.Message = http.StatusUnauthorized, "WRONG_KEY_USED", "Public key instead of the secret key."
	case p.reason == codes.AdminKeyUsed:
		p.status, out.Error, out.Message = http.StatusUnauthorized, "WRONG_KEY_USED", p.sentence
	case p.reason == codes.APIKeyExpired:
		p.status, out.Error = http.StatusForbidden, "INVALID_SECRET_KEY"
	case p.status == http.StatusUnauthorized:
		p.status, out.Error, out.Message = http.StatusForbidden, "INVALID_SECRET_KEY", "Invalid secret key."
	case p.status == http.StatusForbidden:
		out.Error, out.Reason = codes.Forbidden, p.sentence
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

// A backendRequest is a valid body of one of the two routes.
type backendRequest struct {
	route       string
	user        session.User
	permissions []session.RoomPermissions // for authorize-user
	groups      []string                  // for identify-user
}

// authorizeUser serves POST /v2/authorize-user.
func (a *API) authorizeUser(w http.ResponseWriter, r *http.Request) error {
	return a.serveBackend(w, r, principal.RouteAuthorizeUser)
}

// identifyUser serves POST /v2/identify-user.
func (a *API) identifyUser(w http.ResponseWriter, r *http.Request) error {
	return a.serveBackend(w, r, principal.RouteIdentifyUser)
}

func (a *API) serveBackend(w http.ResponseWriter, r *http.Request, route string) error {
	token, err := a.issueForBackend(w, r, route)
	if err != nil {
		return err
	}
	return writeAnswer(w, http.StatusOK, struct {
		Token string `json:"token"`
	}{token.Text.Reveal()})
}

// issueForBackend returns a token whose audit row is committed. The form of the key is
// checked before the body is read, and the key itself when the user is looked up.
func (a *API) issueForBackend(w http.ResponseWriter, r *http.Request, route string) (session.Token, error) {
	credential, refusal := a.cfg.Credentials.Read(r)
	switch {
	case refusal != nil:
	case !credential.ProviderToken.IsEmpty():
		refusal = identity.ErrBadAPIKey
	case credential.APIKey == nil:
		refusal = identity.ErrNoCredential // cookies do not count here
	}
	var asked backendRequest
	if refusal == nil {
		body, err := readObject(w, r)
		if err != nil {
			return session.Token{}, err
		}
		if asked, err = readBackendRequest(route, body); err != nil {
			return session.Token{}, err
		}
	}
	ctx, t, err := a.begin(r.Context(), a.slots, a.newDecision(r, session.Request{}), credential, a.limitedPeer(r))
	if err != nil {
		return session.Token{}, err
	}
	defer t.release()
	var token session.Token
	if refusal == nil {
		token, refusal = a.decideForBackend(ctx, *credential.APIKey, &asked, t.Decision)
	}
	return token, t.end(ctx, &token, refusal)
}

// decideForBackend is decide for a backend that chooses its user's permissions itself,
// within the key's scope.
func (a *API) decideForBackend(ctx context.Context, shown identity.APIKey, asked *backendRequest, d *audit.Decision) (session.Token, error) {
	key, p, err := a.principalByKey(ctx, shown, asked.route, asked.user.ID, asked.user.Organization, d)
	if err != nil {
		return session.Token{}, err
	}
	if p.Disabled {
		return session.Token{}, principal.ErrUserDisabled
	}
	asked.user.Until = p.User.Until
	if asked.route == principal.RouteIdentifyUser {
		if asked.user.Organization != p.User.Organization {
			return session.Token{}, &notMemberError{"organization", asked.user.Organization}
		}
		for _, group := range asked.groups {
			if !slices.Contains(p.MemberOf.Groups, group) {
				return session.Token{}, &notMemberError{"group", group}
			}
		}
		return a.cfg.Issuer.IdentifyUser(asked.user, asked.groups, d.At)
	}
	for _, g := range asked.permissions {
		if needs := g.Needs(); needs > 0 {
			if err := checkScope(key, permissions.Rule{Pattern: g.Pattern, Access: needs}); err != nil {
				return session.Token{}, err
			}
		}
	}
	token, err := a.cfg.Issuer.AuthorizeUser(asked.user, asked.permissions, d.At)
	if err == nil {
		a.warnOfOpenPrefixes(ctx, asked.permissions, d)
	}
	return token, err
}

// warnOfOpenPrefixes records that a backend chose a wildcard that does not end a
// segment. It is allowed, because Liveblocks allows it.
func (a *API) warnOfOpenPrefixes(ctx context.Context, given []session.RoomPermissions, d *audit.Decision) {
	for _, g := range given {
		if g.Pattern.IsOpenPrefix() {
			d.Warnings = []string{audit.WarnOpenPrefix}
			a.logger.WarnContext(ctx, "a backend asked for a wildcard that does not end a segment", "pattern", g.Pattern.String(), "api_key", d.CallerID)
			return
		}
	}
}

func readBackendRequest(route string, body strictjson.Members) (asked backendRequest, err error) {
	asked.route = route
	if asked.user, err = readUser(body); err != nil {
		return asked, err
	}
	if route == principal.RouteIdentifyUser {
		asked.groups, err = readGroups(body)
	} else {
		asked.permissions, err = readPermissions(body)
	}
	return asked, err
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
	if user.ID, ok = value.Text(); !ok || !principal.IsID(user.ID) {
		return user, &unprocessable{"userId", "Value at key 'userId': must be a string of 1 to 128 characters without control characters."}
	}
	for _, name := range []string{"tenantId", "organizationId"} { // the newer name wins
		if value, there := body.Get(name); there {
			if user.Organization, ok = value.Text(); !ok || !principal.IsID(user.Organization) {
				return user, &unprocessable{name, "Value at key '" + name + "': must be a string of 1 to 128 characters without control characters."}
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

// readPermissions reads {pattern: [name, ...]} and keeps the order.
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
