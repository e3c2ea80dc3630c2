package api

import (
	"fmt"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"golang.org/x/net/publicsuffix"

	"github.com/usher-auth/usher/internal/identity"
	"github.com/usher-auth/usher/session"
)

// Cookie mode: the token is in a cookie for the sync backend. The page's JavaScript
// never sees it, and it is never in a URL.

// Names of the token's cookie. For the first name, browsers accept the cookie only from
// its own host and send it only there, so a sibling domain cannot set one.
const (
	hostCookie   = "__Host-usher"
	domainCookie = "__Secure-usher"
)

var errKeyInCookieMode = badRequest("mode=cookie is for browsers. With an API key, the token is in the answer: leave out mode=cookie.")

// checkCookieDomain refuses a cookie domain that browsers do not accept from the host
// of publicURL.
func checkCookieDomain(domain, publicURL string) error {
	u, err := url.Parse(publicURL)
	if err != nil {
		return err
	}
	host := strings.ToLower(u.Hostname())
	switch suffix, _ := publicsuffix.PublicSuffix(domain); {
	case domain != strings.ToLower(strings.Trim(domain, ".")):
		return fmt.Errorf("token cookie domain %q: write it in lower case, without a dot at either end", domain)
	case net.ParseIP(host) != nil:
		return fmt.Errorf("token cookie domain %q: the address of this service, %s, is an IP address, which has no parent domain", domain, host)
	case host != domain && !strings.HasSuffix(host, "."+domain):
		return fmt.Errorf("token cookie domain %q is not a parent of %s: browsers would refuse the cookie", domain, host)
	case suffix == domain:
		return fmt.Errorf("token cookie domain %q is a public suffix, under which anyone can have a host", domain)
	}
	return nil
}

// cookieMode reads the query of POST /api/auth. It reports whether the token goes into
// the cookie, and refuses a request whose cookie a browser would not keep.
func (a *API) cookieMode(r *http.Request, req session.Request) (bool, error) {
	if r.URL.RawQuery == "" {
		return false, nil
	}
	query, err := url.ParseQuery(r.URL.RawQuery)
	modes, there := query["mode"]
	switch {
	case err != nil:
		return false, badRequest("The query of the URL is not valid.")
	case !there:
		return false, nil
	case len(modes) != 1 || modes[0] != "cookie":
		return false, badRequest("The only value of mode is cookie, given once. Leave it out to get the token in the answer.")
	case r.Header.Get("Sec-Fetch-Site") == "cross-site":
		return false, badRequest("The page is on a different site than usher, so the browser would drop the cookie: leave out mode=cookie.")
	}
	audience, err := a.cfg.Issuer.Audience(req)
	if err == nil && audience.Rooms {
		// A token for stores has at most about 1,400 bytes. A token for rooms may
		// have more than the 4,096 that browsers keep.
		err = badRequest("A cookie can hold only a token for stores: name a store, or an audience for stores.")
	}
	return err == nil, err
}

// tokenCookie returns a cookie that holds the token until it expires. Without a token,
// it returns a cookie that deletes an earlier one.
func (a *API) tokenCookie(token *session.Token) *http.Cookie {
	c := &http.Cookie{
		Name: hostCookie, Domain: a.cfg.TokenCookieDomain, Path: "/",
		MaxAge: -1, Secure: true, HttpOnly: true, SameSite: http.SameSiteLaxMode,
	}
	if c.Domain != "" {
		c.Name = domainCookie
	}
	if token != nil {
		// Relative to now, because the browser's clock may be wrong.
		c.Value, c.MaxAge = token.Text.Reveal(), max(1, int(token.ExpiresAt.Sub(token.IssuedAt)/time.Second))
	}
	return c
}

// cookieResponse is the body of an answer in cookie mode.
type cookieResponse struct {
	ExpiresAt time.Time `json:"expiresAt"`
	Partial   bool      `json:"partial,omitempty"`
}

// forget serves DELETE /api/auth, which deletes the token cookie at sign-out. It needs
// no credential, because the session may already be over. It uses the database only to
// record a refusal.
func (a *API) forget(w http.ResponseWriter, r *http.Request) error {
	fault := a.checkPage(r)
	if fault == nil {
		http.SetCookie(w, a.tokenCookie(nil))
		w.WriteHeader(http.StatusNoContent)
		return nil
	}
	// Credentials in the request are not read.
	ctx, t, err := a.begin(r.Context(), a.slots, a.newDecision(r, session.Request{}), identity.Credential{}, a.limitedPeer(r))
	if err != nil {
		return err
	}
	defer t.release()
	return t.end(ctx, nil, fault)
}
