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

// cors lets pages of listed origins call [authPath], and no other route, with
// the user's cookie and read the answer, refusals included. Other origins get no header of it, so that
// their browsers keep the answer from them.
func (a *API) cors() func(http.Handler) http.Handler {
	return cors.New(cors.Options{
		AllowOriginVaryRequestFunc: func(r *http.Request, _ string) (bool, []string) {
			if r.URL.Path != authPath || !a.fromListedOrigin(r) {
				return false, nil
			}
			return r.Method != http.MethodOptions || a.mayRequest(r.Header.Values("Access-Control-Request-Headers")), nil
		},
		AllowedMethods:   []string{http.MethodPost, http.MethodDelete},
		AllowedHeaders:   []string{"*"}, // that mayRequest has let through
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

// checkPage returns an [*originError] for a request that may not use what a
// browser sends by itself. It may where a page of a listed origin made it, or
// one of the very origin that it went to, which need not be listed where a proxy
// passes /api/auth on. A request that does not say is refused (OWASP ASVS 3.5).
func (a *API) checkPage(r *http.Request) error {
	sites := r.Header.Values("Sec-Fetch-Site")
	if a.fromListedOrigin(r) || len(sites) == 1 && sites[0] == "same-origin" {
		return nil
	}
	return &originError{r.Header.Values("Origin")}
}

// An originError is a request by cookie that no page of a listed origin made.
type originError struct{ origins []string }

func (e *originError) Error() string {
	switch len(e.origins) {
	case 0:
		return "The request has no Origin header. With a cookie, only pages of this service or of a listed origin may ask, and their browsers send it. " +
			"Servers and apps without a browser send Authorization: Bearer, with an identity provider's token or an API key."
	case 1:
		return fmt.Sprintf("Pages of the origin %.128q may not ask for tokens with the user's cookie. Add it to --origins (USHER_ORIGINS) if they should.", e.origins[0])
	}
	return "The request has more than one Origin header."
}

// Unwrap returns the sentinel.
func (*originError) Unwrap() error { return errOrigin }

// originOf returns the origin of an http or https URL, as RFC 6454 section 6.2
// writes it and browsers send it: in lower case, without the default port, and
// with an international name in its ASCII form.
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

// asciiHost returns a host as browsers write it.
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

// appOrigin is the origin of pages that an app or a browser's extension brings
// along: capacitor://localhost, chrome-extension://<id>. Its host may be in any
// case.
var appOrigin = regexp.MustCompile(`^[a-z][a-z0-9+.-]*://[A-Za-z0-9._-]+(:[0-9]+)?$`)

// notOrigins are schemes whose pages have no origin of their own.
var notOrigins = []string{"about", "blob", "data", "file", "filesystem", "ftp", "javascript", "ws", "wss"}

// listedOrigin returns what browsers send for an origin of the configuration.
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

// Bounds on the headers that a preflight asks for.
const (
	maxRequestedHeaders     = 32
	maxRequestedHeaderBytes = 1024
)

// mayRequest reports whether the headers that a preflight asks for may be sent:
// any, such as those of tracing, but for those in which proxies name their
// users and clients.
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
