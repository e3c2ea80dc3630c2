package api

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/go-chi/chi/v5"
	"github.com/rs/cors"
)

// authPath is the one route that pages of other origins may call.
const authPath = "/api/auth"

// cors lets pages of listed origins call [authPath] with the user's cookie and
// read the answer, refusals included. Other origins get no header of it, so that
// their browsers keep the answer from them.
func (a *API) cors() func(http.Handler) http.Handler {
	return cors.New(cors.Options{
		AllowOriginVaryRequestFunc: func(r *http.Request, _ string) (bool, []string) {
			return r.URL.Path == authPath && a.fromListedOrigin(r), nil
		},
		AllowedMethods:   []string{http.MethodPost, http.MethodDelete},
		AllowedHeaders:   []string{"Content-Type", "Authorization"},
		ExposedHeaders:   []string{"Retry-After", "RateLimit", "RateLimit-Policy", "X-Request-Id"},
		AllowCredentials: true,
		MaxAge:           600,
		// So that preflights have the common headers, and are counted and
		// logged as all requests are.
		OptionsPassthrough: true,
	}).Handler
}

// preflight answers what cors has left its headers on. It asks nobody.
func (a *API) preflight(w http.ResponseWriter, r *http.Request) error {
	if r.Header.Get("Access-Control-Request-Method") == "" {
		return a.methodNotAllowed(w, r)
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

// methodNotAllowed says what the route does take (RFC 9110, section 15.5.6).
func (a *API) methodNotAllowed(w http.ResponseWriter, r *http.Request) error {
	for _, method := range []string{http.MethodGet, http.MethodPost, http.MethodDelete, http.MethodOptions} {
		if a.router.Match(chi.NewRouteContext(), method, r.URL.Path) {
			w.Header().Add("Allow", method)
		}
	}
	return errMethodNotAllowed
}

// fromListedOrigin reports whether a page of this service or of a listed origin
// made the request. The comparison is exact.
func (a *API) fromListedOrigin(r *http.Request) bool {
	origins := r.Header.Values("Origin")
	return len(origins) == 1 && a.origins[origins[0]]
}

// mayUseCookie reports whether the request may rest on what a browser sends by
// itself: a page of a listed origin made it, or one of the very origin that it
// went to, which need not be listed where a proxy passes /api/auth on. A request
// that does not say is refused (OWASP ASVS 3.5).
func (a *API) mayUseCookie(r *http.Request) bool {
	sites := r.Header.Values("Sec-Fetch-Site")
	return a.fromListedOrigin(r) || len(sites) == 1 && sites[0] == "same-origin"
}

// originOf returns the origin of an http or https URL, as RFC 6454 section 6.2
// writes it.
func originOf(text string) (string, error) {
	u, err := url.Parse(text)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" || u.User != nil {
		return "", fmt.Errorf("%q is not an http or https URL", text)
	}
	host := strings.ToLower(u.Host)
	if u.Port() == "443" && u.Scheme == "https" || u.Port() == "80" && u.Scheme == "http" {
		host = strings.TrimSuffix(host, ":"+u.Port()) // browsers leave the default port out
	}
	return u.Scheme + "://" + host, nil
}
