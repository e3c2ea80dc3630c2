package session

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"slices"
	"strings"

	"github.com/usher-auth/usher/internal/codes"
)

// MiddlewareConfig says where [Verifier.Middleware] finds tokens. The zero
// MiddlewareConfig reads only the Authorization header.
type MiddlewareConfig struct {
	// Cookie is the name of a cookie that holds the token if there is no Authorization
	// header: __Host-usher, or __Secure-usher if usher sets it for a domain. Browsers
	// send the cookie with requests of any page. So the page must be from this host
	// (Sec-Fetch-Site: same-origin) or from Origins; other requests get 403.
	Cookie string
	// Origins are the origins whose pages may use the cookie, exactly as browsers send
	// them: https://app.example.com. For WebSockets, list the origin of your own pages
	// too, because browsers send no Sec-Fetch-Site with an upgrade.
	Origins []string
	// Logger gets the reason of each refusal, and never the token. It may be nil.
	Logger *slog.Logger
}

// Middleware passes requests with a valid token to the next handler. The handler gets the
// claims with [ClaimsFromContext], and must still check what they open. Other requests get
// 401, 403 if a foreign page sent the cookie, or 503 with Retry-After if the keys are
// unavailable. The body has the error shape of usher's own API:
//
//	{"error": "unauthorized", "reason": "…", "requestId": "…"}
//
// The token is never read from the URL. A request with two Authorization headers, or with
// two cookies of this name, gets 401, because it is unclear who set which.
func (v *Verifier) Middleware(cfg MiddlewareConfig) func(http.Handler) http.Handler {
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			claims, err := v.verifyRequest(r, &cfg)
			if err != nil {
				refuse(w, r, cfg.Logger, err)
				return
			}
			next.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), claimsKey{}, claims)))
		})
	}
}

type claimsKey struct{}

// ClaimsFromContext returns the claims that [Verifier.Middleware] put into ctx, and
// whether there are any.
func ClaimsFromContext(ctx context.Context) (Claims, bool) {
	c, ok := ctx.Value(claimsKey{}).(Claims)
	return c, ok
}

var (
	errNoToken   = errors.New("session: request has no token")
	errAmbiguous = errors.New("session: request has two tokens")
	errOrigin    = errors.New("session: token in a cookie, with a page that may not use it")
)

func (v *Verifier) verifyRequest(r *http.Request, cfg *MiddlewareConfig) (Claims, error) {
	token, err := tokenOf(r, cfg)
	if err != nil {
		return Claims{}, err
	}
	return v.Verify(r.Context(), token)
}

// tokenOf returns the token from the header. It reads the cookie only if there is no
// header, so a bad header never falls back to the cookie.
func tokenOf(r *http.Request, cfg *MiddlewareConfig) (string, error) {
	switch headers := r.Header.Values("Authorization"); len(headers) {
	case 0:
	case 1:
		scheme, token, _ := strings.Cut(headers[0], " ")
		if !strings.EqualFold(scheme, "Bearer") { // RFC 9110, section 11.1
			return "", errNoToken
		}
		return token, nil
	default:
		return "", errAmbiguous
	}
	switch cookies := r.CookiesNamed(cfg.Cookie); {
	case len(cookies) == 0:
		return "", errNoToken
	case len(cookies) > 1:
		return "", errAmbiguous
	case !mayUseCookie(r, cfg.Origins):
		return "", errOrigin
	default:
		return cookies[0].Value, nil
	}
}

// mayUseCookie prevents a foreign page from opening a WebSocket with the user's cookie.
// CORS and [http.CrossOriginProtection] do not prevent this, because the upgrade is a GET.
func mayUseCookie(r *http.Request, origins []string) bool {
	from, sites := r.Header.Values("Origin"), r.Header.Values("Sec-Fetch-Site")
	return len(from) == 1 && slices.Contains(origins, from[0]) ||
		len(sites) == 1 && sites[0] == "same-origin"
}

// refuse answers in usher's error shape. The answer is the same for every fault of a token.
func refuse(w http.ResponseWriter, r *http.Request, logger *slog.Logger, err error) {
	status, code, reason := http.StatusUnauthorized, codes.Unauthorized, "The request has no valid token."
	switch {
	case errors.Is(err, ErrKeysUnavailable):
		status, code, reason = http.StatusServiceUnavailable, codes.Unavailable, "Tokens cannot be verified at the moment. Try again."
		w.Header().Set("Retry-After", "5")
	case errors.Is(err, errOrigin):
		status, code, reason = http.StatusForbidden, codes.Forbidden, "Pages of this origin may not use the user's cookie."
	case errors.Is(err, ErrInvalidToken):
		w.Header().Set("WWW-Authenticate", `Bearer error="invalid_token"`) // RFC 6750, section 3
	default:
		w.Header().Set("WWW-Authenticate", "Bearer")
	}
	id := rand.Text()
	if logger != nil {
		logger.WarnContext(r.Context(), "request refused", "status", status, "error", err, "request_id", id)
	}
	body, _ := json.Marshal(struct { // strings always marshal
		Error     string `json:"error"`
		Reason    string `json:"reason"`
		RequestID string `json:"requestId"`
	}{code, reason, id})
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_, _ = w.Write(body)
}
