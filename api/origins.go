package api

import (
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/go-chi/chi/v5"
	"github.com/rs/cors"
	"golang.org/x/net/idna"
)

// cors lets pages of listed origins call [authPath], and only this route, with the user's
// cookie, and read the answer, including refusals. Other origins get no CORS headers, so
// browsers do not let their pages read the answer.
func (a *API) cors() func(http.Handler) http.Handler {
	return cors.New(cors.Options{
		AllowOriginVaryRequestFunc: func(r *http.Request, _ string) (bool, []string) {
			if r.URL.Path != authPath || !a.fromListedOrigin(r) {
				return false, nil
			}
			return r.Method != http.MethodOptions || a.mayRequest(r.Header.Values("Access-Control-Request-Headers")), nil
		},
		AllowedMethods:   []string{http.MethodPost, http.MethodDelete},
		AllowedHeaders:   []string{"*"}, // mayRequest has checked them
		ExposedHeaders:   []string{"Retry-After", "RateLimit", "RateLimit-Policy", "X-Request-Id"},
		AllowCredentials: true,
		MaxAge:           600,
		// Preflights go through the router, so they get the common headers and are
		// counted and logged like all requests.
		OptionsPassthrough: true,
	}).Handler
}

// preflight answers a CORS preflight. Middleware cors has already set its headers.
func (a *API) preflight(w http.ResponseWriter, r *http.Request) error {
	if r.Header.Get("Access-Control-Request-Method") == "" {
		return a.methodNotAllowed(w, r)
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

// methodNotAllowed lists the methods that the route supports (RFC 9110, section 15.5.6).
func (a *API) methodNotAllowed(w http.ResponseWriter, r *http.Request) error {
	for _, method := range []string{http.MethodGet, http.MethodHead, http.MethodPost, http.MethodDelete, http.MethodOptions} {
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

// checkPage returns an [*originError] for a request that may not use credentials that a
// browser sends automatically. A request may use them if a page of a listed origin made
// it, or a page of the origin that it was sent to: behind a proxy that forwards
// /api/auth, that origin need not be listed. A request without this information is
// refused (OWASP ASVS 3.5).
func (a *API) checkPage(r *http.Request) error {
	sites := r.Header.Values("Sec-Fetch-Site")
	if a.fromListedOrigin(r) || len(sites) == 1 && sites[0] == "same-origin" {
		return nil
	}
	return &originError{r.Header.Values("Origin")}
}

// An originError refuses a request with a cookie that was not made by a page of a listed
// origin.
type originError struct{ origins []string }

func (e *originError) Error() string {
	switch len(e.origins) {
	case 0:
		return "The request has no Origin header. With a cookie, only pages of this service or of a listed origin may ask for tokens, and browsers send the header for them. " +
			"Servers and apps without a browser must send Authorization: Bearer, with an identity provider's token or an API key."
	case 1:
		return fmt.Sprintf("Pages of the origin %.128q may not ask for tokens with the user's cookie. To allow them, add the origin to --origins (USHER_ORIGINS).", e.origins[0])
	}
	return "The request has more than one Origin header."
}

// Unwrap returns the sentinel.
func (*originError) Unwrap() error { return errOrigin }

// originOf returns the origin of an http or https URL, in the form of RFC 6454 section
// 6.2, which browsers send: in lower case, without the default port, and with an
// international name in its ASCII form.
func originOf(text string) (string, error) {
	u, err := url.Parse(text)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" || u.User != nil {
		return "", fmt.Errorf("%q is not an http or https URL", text)
	}
	name, err := asciiHost(u.Hostname())
	if err != nil {
		return "", fmt.Errorf("%q: %w", text, err)
	}
	host := name
	if strings.Contains(name, ":") {
		host = "[" + name + "]"
	}
	if port := u.Port(); port != "" && !(port == "443" && u.Scheme == "https") && !(port == "80" && u.Scheme == "http") {
		host += ":" + port
	}
	return u.Scheme + "://" + host, nil
}

// asciiHost returns a host in the form that browsers write.
func asciiHost(host string) (string, error) {
	if strings.IndexFunc(host, func(r rune) bool { return r >= utf8.RuneSelf }) < 0 {
		return strings.ToLower(host), nil
	}
	ascii, err := idna.New(idna.MapForLookup(), idna.Transitional(false), idna.StrictDomainName(true)).ToASCII(host)
	if err != nil {
		return "", fmt.Errorf("host %q is not a domain name", host)
	}
	return ascii, nil
}

// appOrigin matches the origin of pages that are part of an app or a browser extension:
// capacitor://localhost, chrome-extension://<id>. Its host may be in any case.
var appOrigin = regexp.MustCompile(`^[a-z][a-z0-9+.-]*://[A-Za-z0-9._-]+(:[0-9]+)?$`)

// notOrigins are schemes whose pages have no origin of their own.
var notOrigins = []string{"about", "blob", "data", "file", "filesystem", "ftp", "javascript", "ws", "wss"}

// listedOrigin returns the text that browsers send for an origin in the configuration.
func listedOrigin(text string) (string, error) {
	scheme, _, found := strings.Cut(text, "://")
	switch {
	case strings.Contains(text, "*"):
		return "", fmt.Errorf("origin %q has a wildcard, which is not supported: list each origin", text)
	case found && scheme != "http" && scheme != "https" && !slices.Contains(notOrigins, scheme) && appOrigin.MatchString(text):
		return text, nil
	}
	exact, err := originOf(text)
	isASCII := strings.IndexFunc(text, func(r rune) bool { return r >= utf8.RuneSelf }) < 0
	if err != nil || isASCII && exact != text || strings.Count(text, "/") != 2 || strings.ContainsAny(text, "?#") {
		return "", fmt.Errorf("origin %q is not scheme://host[:port] in lower case, as browsers send it", text)
	}
	return exact, nil
}

// Limits on the headers that a preflight asks for.
const (
	maxRequestedHeaders     = 32
	maxRequestedHeaderBytes = 1024
)

// mayRequest reports whether the headers that a preflight asks for may be sent. All
// headers may, such as those of tracing, except those in which a proxy names the user or
// the client.
func (a *API) mayRequest(headers []string) bool {
	if len(headers) == 0 {
		return true
	}
	if len(headers) > 1 || len(headers[0]) > maxRequestedHeaderBytes || strings.Count(headers[0], ",") >= maxRequestedHeaders {
		return false
	}
	for name := range strings.SplitSeq(headers[0], ",") {
		name = strings.ToLower(strings.Trim(name, " \t"))
		switch {
		case name == "" || strings.Trim(name, "abcdefghijklmnopqrstuvwxyz0123456789-_") != "":
			return false
		case a.cfg.Credentials.IsProxyHeader(name):
			return false
		}
	}
	return true
}
