package api

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"net/http"
	"strconv"
	"time"

	"github.com/usher-auth/usher/internal/identity"
	"github.com/usher-auth/usher/permissions"
	"github.com/usher-auth/usher/session"
)

// A problem is the one error shape of every route. A refusal of access is a
// 403 whose error is "forbidden" in lower case: the only shape that stops both
// styles of Liveblocks client.
type problem struct {
	status int
	// refusal is the reason of the audit row of a 401 or a 403: finer than
	// what the caller is told.
	refusal string
	limited *limitError // of a request beyond a limit
	// retryAfter is when a 503 may be over, where that is known.
	retryAfter time.Duration

	Error     string `json:"error"`
	Reason    string `json:"reason"`
	RequestID string `json:"requestId"`
}

// A requestError is a request that cannot be understood.
type requestError struct {
	status int
	slug   string
	reason string
}

func (e *requestError) Error() string { return "api: " + e.reason }

func badRequest(reason string) error {
	return &requestError{http.StatusBadRequest, "bad_request", reason}
}

var (
	errNotFound         = &requestError{http.StatusNotFound, "not_found", "usher has no such route; see /openapi.yaml."}
	errMethodNotAllowed = &requestError{http.StatusMethodNotAllowed, "method_not_allowed", "This route does not take this method; see the Allow header."}
	errNotJSON          = &requestError{http.StatusUnsupportedMediaType, "unsupported_media_type", "Send the body as Content-Type: application/json."}

	errOrigin     = errors.New("api: origin is not allowed")
	errOverloaded = errors.New("api: too many requests in flight")
)

func tooLargeFor(limit int64) error {
	return &requestError{http.StatusRequestEntityTooLarge, "payload_too_large", fmt.Sprintf("The body is larger than %d KiB.", limit>>10)}
}

const (
	signedOut = "Nobody is signed in: the request bears no valid session."
	badKey    = "The Authorization header bears no valid API key."
	badToken  = "The Authorization header bears no valid token."
)

// problemFor is the one place where an error becomes an HTTP status. What it
// does not know is a 500 that says nothing about its cause.
func problemFor(err error) problem {
	refuse := func(status int, slug, refusal, reason string) problem {
		return problem{status: status, refusal: refusal, Error: slug, Reason: reason}
	}
	if e, ok := errors.AsType[*requestError](err); ok {
		return problem{status: e.status, Error: e.slug, Reason: e.reason}
	}
	if e, ok := errors.AsType[*limitError](err); ok {
		return problem{status: http.StatusTooManyRequests, limited: e, Error: "rate_limited", Reason: "Too many requests: wait as long as Retry-After says."}
	}
	if p, ok := adminProblem(err); ok {
		return p
	}
	if e, ok := errors.AsType[*session.AudienceError](err); ok {
		return problem{status: http.StatusBadRequest, Error: "bad_request", Reason: e.Reason}
	}
	if e, ok := errors.AsType[*permissions.IDError](err); ok {
		return problem{status: http.StatusBadRequest, Error: "bad_request", Reason: "The " + e.Kind.String() + " id " + e.Reason + "."}
	}
	if e, ok := errors.AsType[*identity.ProviderTokenError](err); ok {
		return refuse(http.StatusUnauthorized, "unauthorized", e.Reason, tokenRefused(e.Reason))
	}
	if e, ok := errors.AsType[*identity.KeysUnavailableError](err); ok {
		return problem{
			status: http.StatusServiceUnavailable, retryAfter: e.RetryAfter,
			Error: "unavailable", Reason: "The keys of the token's issuer cannot be had now: try again.",
		}
	}
	if e, ok := errors.AsType[*unprocessable](err); ok {
		return problem{status: http.StatusUnprocessableEntity, Error: "unprocessable_entity", Reason: e.reason}
	}
	if e, ok := errors.AsType[*session.PermissionsError](err); ok {
		return problem{status: http.StatusUnprocessableEntity, Error: "unprocessable_entity", Reason: "Value at key 'permissions': " + e.Reason}
	}
	switch {
	case errors.Is(err, identity.ErrKeyInBrowser):
		return problem{status: http.StatusBadRequest, Error: "bad_request", Reason: "A browser sent an API key: keep it on your server, and let pages use the session cookie."}
	case errors.Is(err, identity.ErrCredentialInURL):
		return problem{status: http.StatusBadRequest, Error: "bad_request", Reason: "The URL bears a credential, which ends up in logs: send it in a header."}
	case errors.Is(err, identity.ErrNoCredential):
		return refuse(http.StatusUnauthorized, "unauthorized", "no_credential", signedOut)
	case errors.Is(err, identity.ErrDuplicateCookie):
		return refuse(http.StatusUnauthorized, "unauthorized", "duplicate_cookie", "The request bears two session cookies: sign out and in again.")
	case errors.Is(err, identity.ErrBadCookie):
		return refuse(http.StatusUnauthorized, "unauthorized", "bad_cookie", signedOut)
	case errors.Is(err, identity.ErrUnsignedCookie):
		return refuse(http.StatusUnauthorized, "unauthorized", "bad_signature", signedOut)
	case errors.Is(err, identity.ErrEncryptedCookie):
		return refuse(http.StatusUnauthorized, "unauthorized", "encrypted_cookie", "The session cookie is an encrypted token, which only the application can read: "+
			"let it keep sessions in the database (Auth.js: session.strategy \"database\"), or send a JWT of its own as a bearer.")
	case errors.Is(err, identity.ErrBadBearer):
		return refuse(http.StatusUnauthorized, "unauthorized", "bad_bearer", "The Authorization header is not one that usher takes here.")
	case errors.Is(err, identity.ErrUntrustedProxy):
		return refuse(http.StatusUnauthorized, "unauthorized", "untrusted_proxy", "The request bears the header in which the proxy names users, and does not come from the proxy; is its address missing in --trusted-proxies?")
	case errors.Is(err, identity.ErrBadProxyUser):
		return refuse(http.StatusUnauthorized, "unauthorized", "bad_proxy_user", "The proxy's header that names the user or the organization is there twice, is empty, or is no id.")
	case errors.Is(err, identity.ErrPublicKey):
		return refuse(http.StatusUnauthorized, "unauthorized", "public_key", "This is a public key: usher takes secret keys, which begin with sk_.")
	case errors.Is(err, identity.ErrAdminKey):
		return refuse(http.StatusUnauthorized, "unauthorized", "admin_key", "This is an admin key, which is for /v1/admin on the second listener: tokens are issued to API keys, which begin with sk_.")
	case errors.Is(err, identity.ErrBadAPIKey):
		return refuse(http.StatusUnauthorized, "unauthorized", "bad_api_key", badKey)
	case errors.Is(err, session.ErrKeyUnknown):
		return refuse(http.StatusUnauthorized, "unauthorized", "key_unknown", badKey)
	case errors.Is(err, session.ErrKeyRevoked):
		return refuse(http.StatusUnauthorized, "unauthorized", "key_revoked", badKey)
	case errors.Is(err, session.ErrKeyExpired):
		return refuse(http.StatusUnauthorized, "unauthorized", "key_expired", badKey)
	case errors.Is(err, session.ErrKeyScope):
		return refuse(http.StatusForbidden, "forbidden", "key_scope", "The request is outside of this API key's scope.")
	case errors.Is(err, session.ErrUserUnknown):
		return refuse(http.StatusForbidden, "forbidden", "user_unknown", "The directory does not list this user.")
	case errors.Is(err, session.ErrSessionUnknown):
		return refuse(http.StatusUnauthorized, "unauthorized", "session_unknown", signedOut)
	case errors.Is(err, session.ErrSessionExpired):
		return refuse(http.StatusUnauthorized, "unauthorized", "session_expired", signedOut)
	case errors.Is(err, errOrigin):
		return refuse(http.StatusForbidden, "forbidden", "origin_not_allowed", "Pages of this origin may not ask for tokens with the user's cookie.")
	case errors.Is(err, session.ErrUserDisabled):
		return refuse(http.StatusForbidden, "forbidden", "user_disabled", "This user is disabled.")
	case errors.Is(err, session.ErrNoAccess):
		return refuse(http.StatusForbidden, "forbidden", "no_grant", "No grant covers this request.")
	case errors.Is(err, session.ErrUnavailable), errors.Is(err, session.ErrNoSigningKey), errors.Is(err, errOverloaded):
		return problem{status: http.StatusServiceUnavailable, Error: "unavailable", Reason: "usher cannot answer now: try again."}
	}
	return problem{status: http.StatusInternalServerError, Error: "internal", Reason: "Something went wrong in usher; its log has the request ID."}
}

// tokenRefused tells the bearer of a token what its honest owner can do
// something about, and nothing of why another's is refused.
func tokenRefused(reason string) string {
	switch reason {
	case identity.ReasonExpired:
		return "The token has expired: get a fresh one of the identity provider for each call."
	case identity.ReasonEncrypted:
		return "This token is encrypted (JWE), as those of Auth.js are, and usher cannot read it: have Auth.js keep its sessions in the database, or sign a JWT for usher; see docs/identity.md."
	}
	return badToken
}

// callerUnknown reports whether a refusal, whose problem is p, says nothing of who
// was refused. Of a session or a key that is over it is known whose it was.
func callerUnknown(err error, p problem) bool {
	for _, known := range []error{session.ErrSessionExpired, session.ErrKeyRevoked, session.ErrKeyExpired} {
		if errors.Is(err, known) {
			return false
		}
	}
	return errors.Is(err, errOrigin) || p.status == http.StatusUnauthorized
}

func writeProblem(w http.ResponseWriter, p problem, requestID string) {
	p.RequestID = requestID
	switch {
	case p.limited != nil:
		p.limited.writeHeaders(w.Header())
	case p.status == http.StatusServiceUnavailable:
		// Spread out, so that clients do not come back all at once.
		seconds := 1 + rand.IntN(3) //nolint:gosec // no secret
		if p.retryAfter > 0 {
			seconds = int(math.Ceil(p.retryAfter.Seconds()))
		}
		w.Header().Set("Retry-After", strconv.Itoa(seconds))
	case p.status == http.StatusUnauthorized:
		w.Header().Set("WWW-Authenticate", `Bearer realm="usher"`)
	case p.status == http.StatusRequestEntityTooLarge:
		w.Header().Set("Connection", "close")
	}
	body, err := json.Marshal(p)
	if err != nil {
		panic(err) // three strings
	}
	writeJSON(w, p.status, body)
}
