package api

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/usher-auth/usher/internal/admin"
	"github.com/usher-auth/usher/internal/codes"
	"github.com/usher-auth/usher/internal/identity"
	"github.com/usher-auth/usher/internal/principal"
	"github.com/usher-auth/usher/permissions"
	"github.com/usher-auth/usher/session"
)

// A problem is an error with its answer. All routes use it. A refusal of access is a 403
// with the slug "forbidden" in lower case: the only shape that stops Liveblocks clients
// both with a URL and with a function as authEndpoint.
type problem struct {
	cause      error
	status     int
	slug       string
	reason     string // for the audit row: more exact than the answer to the caller; empty: no row
	caller     callerStatus
	sentence   string
	limited    *limitError   // set if the request is over a limit
	retryAfter time.Duration // when a 503 may be over, if known
}

// Error implements error.
func (p *problem) Error() string { return p.cause.Error() }

// Unwrap returns the cause.
func (p *problem) Unwrap() error { return p.cause }

// A callerStatus says what a refusal shows about the caller.
type callerStatus int

const (
	// identified: the credential is good. The caller stays known to the limiter.
	identified callerStatus = iota
	// unasked: no credential was checked.
	unasked
	// unknown: the credential is not good.
	unknown
	// former: the credential was good in the past, so its owner is known.
	former
)

// A requestError refuses a malformed request.
type requestError struct {
	status   int
	slug     string
	sentence string
}

func (e *requestError) Error() string { return "api: " + e.sentence }

func badRequest(sentence string) error {
	return &requestError{http.StatusBadRequest, codes.BadRequest, sentence}
}

var (
	errNotFound         = &requestError{http.StatusNotFound, codes.NotFound, "There is no such route. See /openapi.yaml."}
	errMethodNotAllowed = &requestError{http.StatusMethodNotAllowed, codes.MethodNotAllowed, "This route does not allow this method. See the Allow header."}
	errNotJSON          = &requestError{http.StatusUnsupportedMediaType, codes.UnsupportedMediaType, "Send the body as Content-Type: application/json."}
	errSlowBody         = &requestError{http.StatusRequestTimeout, codes.RequestTimeout, "The request body did not arrive in time. Send the request again."}

	errOrigin     = errors.New("api: origin is not allowed")
	errOverloaded = errors.New("api: too many requests in flight")
)

func tooLargeFor(limit int64) error {
	return &requestError{http.StatusRequestEntityTooLarge, codes.PayloadTooLarge, fmt.Sprintf("The request body is larger than %d KiB.", limit>>10)}
}

const (
	signedOut   = "Not signed in: no valid session."
	badKey      = "The Authorization header has no valid API key."
	badToken    = "The Authorization header has no valid token."
	badAdminKey = "The Authorization header has no valid admin key."

	// Only a caller with the key's secret gets these answers: a wrong secret counts as
	// an unknown key.
	expiredKey      = "This API key has expired. Create another one with usher apikey create."
	expiredAdminKey = "This admin key has expired. Create another one with usher adminkey create."
)

// problems lists the answers to errors: a row is for errors that are or wrap err. If its
// sentence is empty, the error's own text is used. The first row that matches counts.
var problems = []struct {
	err      error
	status   int
	slug     string
	reason   string
	caller   callerStatus
	sentence string
}{
	{identity.ErrKeyInBrowser, 400, codes.BadRequest, "", 0, "A browser sent an API key. Keep API keys on your server. In pages, use the session cookie."},
	{identity.ErrAdminKeyInBrowser, 400, codes.BadRequest, "", 0, "A browser sent this request. The admin API is not for browsers: keep admin keys out of pages."},
	{identity.ErrCredentialInURL, 400, codes.BadRequest, "", 0, "The URL contains a credential, which ends up in logs. Send it in a header."},

	{identity.ErrNoCredential, 401, codes.Unauthorized, codes.NoCredential, unasked, signedOut},
	{identity.ErrDuplicateCookie, 401, codes.Unauthorized, codes.DuplicateCookie, unknown, "The request has two session cookies. Sign out and in again."},
	{identity.ErrBadCookie, 401, codes.Unauthorized, codes.BadCookie, unknown, signedOut},
	{identity.ErrUnsignedCookie, 401, codes.Unauthorized, codes.BadCookieSignature, unknown, signedOut},
	{identity.ErrEncryptedCookie, 401, codes.Unauthorized, codes.EncryptedCookie, unknown, "The session cookie is an encrypted token, which only the application can read. " +
		"Keep sessions in the application's database (Auth.js: session.strategy \"database\"), or send a JWT that your application signs as a bearer token."},
	{identity.ErrBadBearer, 401, codes.Unauthorized, codes.BadBearer, unknown, "The Authorization header is not one that this route accepts."},
	{identity.ErrUntrustedProxy, 401, codes.Unauthorized, codes.UntrustedProxy, unknown, "The request has the header in which the proxy names users, but does not come from the proxy. If it does, add the proxy's address to --trusted-proxies."},
	{identity.ErrBadProxyUser, 401, codes.Unauthorized, codes.BadProxyUser, unknown, "The proxy's header for the user or the organization is repeated, empty, or not a valid id."},
	{identity.ErrPublicKey, 401, codes.Unauthorized, codes.PublicKeyUsed, unknown, "This is a public key. Use a secret key, which begins with sk_."},
	{identity.ErrAdminKey, 401, codes.Unauthorized, codes.AdminKeyUsed, unknown, "This is an admin key, which is for /v1/admin on the second listener. To issue tokens, use an API key, which begins with sk_."},
	{identity.ErrBadAPIKey, 401, codes.Unauthorized, codes.BadAPIKey, unknown, badKey},
	{principal.ErrAPIKeyUnknown, 401, codes.Unauthorized, codes.APIKeyUnknown, unknown, badKey},
	{principal.ErrAPIKeyRevoked, 401, codes.Unauthorized, codes.APIKeyRevoked, former, badKey},
	{principal.ErrAPIKeyExpired, 401, codes.Unauthorized, codes.APIKeyExpired, former, expiredKey},
	{principal.ErrSessionUnknown, 401, codes.Unauthorized, codes.SessionUnknown, unknown, signedOut},
	{session.ErrSessionExpired, 401, codes.Unauthorized, codes.SessionExpired, former, signedOut},

	{identity.ErrNoAdminKey, 401, codes.Unauthorized, codes.NoAdminKey, unasked, "No admin key. Send Authorization: Bearer with an admin key, which usher adminkey create makes."},
	{identity.ErrAPIKey, 401, codes.Unauthorized, codes.APIKeyUsed, unknown, "This is an API key, which is for issuing tokens. For the admin API, use an admin key, which begins with ak_."},
	{identity.ErrBadAdminKey, 401, codes.Unauthorized, codes.BadAdminKey, unknown, badAdminKey},
	{admin.ErrKeyUnknown, 401, codes.Unauthorized, codes.AdminKeyUnknown, unknown, badAdminKey},
	{admin.ErrKeyRevoked, 401, codes.Unauthorized, codes.AdminKeyRevoked, former, badAdminKey},
	{admin.ErrKeyExpired, 401, codes.Unauthorized, codes.AdminKeyExpired, former, expiredAdminKey},

	{errOrigin, 403, codes.Forbidden, codes.OriginNotAllowed, unasked, ""},
	{principal.ErrAPIKeyScope, 403, codes.Forbidden, codes.APIKeyScope, identified, ""},
	{principal.ErrUserUnknown, 403, codes.Forbidden, codes.UserUnknown, identified, "The directory does not list this user."},
	{principal.ErrUserDisabled, 403, codes.Forbidden, codes.UserDisabled, identified, "This user is disabled."},
	{session.ErrNoAccess, 403, codes.Forbidden, codes.NoGrant, identified, "No grant covers this request."},
	{admin.ErrRole, 403, codes.Forbidden, codes.AdminKeyRole, identified, "This admin key has the role auditor, which may read but not change anything. Use a key with the role admin."},

	{admin.ErrInvalid, 422, codes.UnprocessableEntity, "", 0, ""},
	{admin.ErrNoHistory, 422, codes.UnprocessableEntity, "", 0, ""},
	{admin.ErrNotFound, 404, codes.NotFound, "", 0, ""},
	{admin.ErrExists, 409, codes.AlreadyExists, "", 0, ""},
	{admin.ErrInUse, 409, codes.InUse, "", 0, ""},
	{admin.ErrKeyReused, 422, codes.IdempotencyKeyReused, "", 0, ""},

	{principal.ErrUnavailable, 503, codes.Unavailable, "", 0, unavailable},
	{session.ErrNoSigningKey, 503, codes.Unavailable, "", 0, unavailable},
	{errOverloaded, 503, codes.Unavailable, "", 0, unavailable},
}

const unavailable = "Temporarily unavailable. Try again."

// classify is the only place where an error becomes an answer. An unknown error is a 500
// that does not show its cause.
func classify(err error) *problem {
	if p, ok := errors.AsType[*problem](err); ok {
		return p // it is already classified
	}
	if p := classifyTyped(err); p != nil {
		p.cause = err
		return p
	}
	for i := range problems {
		if row := &problems[i]; errors.Is(err, row.err) {
			p := &problem{cause: err, status: row.status, slug: row.slug, reason: row.reason, caller: row.caller, sentence: row.sentence}
			if p.sentence == "" {
				p.sentence = asSentence(refusalSentence(err))
			}
			return p
		}
	}
	return &problem{cause: err, status: http.StatusInternalServerError, slug: codes.Internal, sentence: "Internal error. The log has the details under this request ID."}
}

// classifyTyped returns the answer to an error whose type has details, or nil.
func classifyTyped(err error) *problem {
	if e, ok := errors.AsType[*requestError](err); ok {
		return &problem{status: e.status, slug: e.slug, sentence: e.sentence}
	}
	if e, ok := errors.AsType[*limitError](err); ok {
		return &problem{status: http.StatusTooManyRequests, limited: e, slug: codes.RateLimited, sentence: "Too many requests. Wait as long as Retry-After says."}
	}
	if e, ok := errors.AsType[*admin.IndexError](err); ok {
		p := *classify(e.Err)
		if p.status < http.StatusInternalServerError {
			p.sentence = fmt.Sprintf("grants[%d]: %s", e.Index, p.sentence)
		}
		return &p
	}
	if e, ok := errors.AsType[*permissions.PatternError](err); ok {
		sentence := fmt.Sprintf("The pattern %.64q %s", e.Text, e.Reason)
		if errors.Is(err, admin.ErrOpenPrefix) {
			sentence += "; to grant it anyway, set openPrefix: true"
		}
		return &problem{status: http.StatusUnprocessableEntity, slug: codes.UnprocessableEntity, sentence: sentence + "."}
	}
	if e, ok := errors.AsType[*session.AudienceError](err); ok {
		return &problem{status: http.StatusBadRequest, slug: codes.BadRequest, sentence: e.Reason}
	}
	if e, ok := errors.AsType[*permissions.IDError](err); ok {
		return &problem{status: http.StatusBadRequest, slug: codes.BadRequest, sentence: "The " + e.Kind.String() + " id " + e.Reason + "."}
	}
	if e, ok := errors.AsType[*identity.ProviderTokenError](err); ok {
		return &problem{status: http.StatusUnauthorized, slug: codes.Unauthorized, reason: e.Code, caller: unknown, sentence: tokenRefused(e.Code)}
	}
	if e, ok := errors.AsType[*identity.KeysUnavailableError](err); ok {
		return &problem{
			status: http.StatusServiceUnavailable, retryAfter: e.RetryAfter,
			slug: codes.Unavailable, sentence: "The issuer's keys are temporarily unavailable. Try again.",
		}
	}
	if e, ok := errors.AsType[*notMemberError](err); ok {
		return &problem{status: http.StatusForbidden, slug: codes.Forbidden, reason: codes.NotAMember, sentence: asSentence(e.Error())}
	}
	if e, ok := errors.AsType[*unprocessable](err); ok {
		return &problem{status: http.StatusUnprocessableEntity, slug: codes.UnprocessableEntity, sentence: e.reason}
	}
	if e, ok := errors.AsType[*session.PermissionsError](err); ok {
		return &problem{status: http.StatusUnprocessableEntity, slug: codes.UnprocessableEntity, sentence: "Value at key 'permissions': " + e.Reason}
	}
	return nil
}

// refusalSentence returns the sentence for the caller.
func refusalSentence(err error) string {
	if e, ok := errors.AsType[*admin.Refusal](err); ok {
		return e.Sentence
	}
	if e, ok := errors.AsType[*scopeError](err); ok {
		return e.Error()
	}
	return err.Error()
}

// asSentence gives a refusal its capital letter and full stop.
func asSentence(s string) string {
	first, size := utf8.DecodeRuneInString(s)
	return string(unicode.ToUpper(first)) + strings.TrimSuffix(s[size:], ".") + "."
}

// tokenRefused returns the sentence for a refused token. It names only reasons that an
// honest owner can fix, and never what is wrong with a forged or stolen token.
func tokenRefused(reason string) string {
	switch reason {
	case codes.TokenExpired:
		return "The token has expired. Get a new one from the identity provider for each call."
	case codes.TokenEncrypted:
		return "This token is encrypted (JWE), like the tokens of Auth.js, and only its issuer can read it. Configure Auth.js to keep its sessions in the database, or sign a JWT for usher: see docs/identity.md."
	}
	return badToken
}

// problemBody is the JSON of a problem.
type problemBody struct {
	Error     string `json:"error"`
	Reason    string `json:"reason"`
	RequestID string `json:"requestId"`
}

func writeProblem(w http.ResponseWriter, p *problem, requestID string) {
	switch {
	case p.limited != nil:
		p.limited.writeHeaders(w.Header())
	case p.status == http.StatusServiceUnavailable:
		// Random, so that clients do not all retry at once.
		seconds := 1 + rand.IntN(3) //nolint:gosec // no secret
		if p.retryAfter > 0 {
			seconds = int(math.Ceil(p.retryAfter.Seconds()))
		}
		w.Header().Set("Retry-After", strconv.Itoa(seconds))
	case p.status == http.StatusUnauthorized:
		w.Header().Set("WWW-Authenticate", `Bearer realm="usher"`)
	}
	body, err := json.Marshal(problemBody{p.slug, p.sentence, requestID})
	if err != nil {
		panic(err) // three strings
	}
	writeJSON(w, p.status, body)
}
