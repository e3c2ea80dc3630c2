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
// MiddlewareConfig takes them from the Authorization header alone.
type MiddlewareConfig struct {
	// Cookie names a cookie that holds the token where there is no
	// Authorization header: __Host-usher, or __Secure-usher where usher's
	// cookie is of a domain. Browsers send it along with any page's request,
	// so the page must be of this host (Sec-Fetch-Site: same-origin) or of
	// Origins; others get 403.
	Cookie string
	// Origins are those whose pages may use the cookie, exactly as browsers
	// send them: https://app.example.com. For WebSockets the page's own must
	// be among them, since browsers send no Sec-Fetch-Site at an upgrade.
	Origins []string
	// Logger is told why a request was refused; it may be nil. It never sees
	// the token.
	Logger *slog.Logger
}

// Middleware passes requests with a token that is in order to the next
// handler, which finds the claims with [ClaimsFromContext] and has yet to ask
// them what they open. Others get 401, 403 for a cookie with a foreign page, or
// 503 with Retry-After where the keys cannot be had, and the error shape of
// usher's own API:
//
//	{"error": "unauthorized", "reason": "…", "requestId": "…"}
//
// The token is never taken from the URL. With two Authorization headers or two
// cookies of the name there is no telling who set which: 401.
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

// ClaimsFromContext returns the claims that [Verifier.Middleware] left, and
// whether it did.
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

// tokenOf finds the token: in the header, and only where there is none in the
// cookie, so that a bad header never falls through to the cookie.
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

// mayUseCookie is what keeps a foreign page from opening a WebSocket with the
// user's cookie. Neither CORS nor [http.CrossOriginProtection] does: the upgrade
// is a GET.
func mayUseCookie(r *http.Request, origins []string) bool {
	from, sites := r.Header.Values("Origin"), r.Header.Values("Sec-Fetch-Site")
	return len(from) == 1 && slices.Contains(origins, from[0]) ||
		len(sites) == 1 && sites[0] == "same-origin"
}

// refuse answers in the one error shape, the same for every fault of the token.
func refuse(w http.ResponseWriter, r *http.Request, logger *slog.Logger, err error) {
	status, code, reason := http.StatusUnauthorized, codes.Unauthorized, "The request has no valid token."
	switch {
	case errors.Is(err, ErrKeysUnavailable):
		status, code, reason = http.StatusServiceUnavailable, codes.Unavailable, "Tokens cannot be verified at the moment."
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
