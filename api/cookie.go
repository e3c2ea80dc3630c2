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

// Cookie mode: the token goes into a cookie for the sync backend, and never
// through the page's JavaScript, nor into a URL.

// Names of the token's cookie. Browsers take a cookie of the first name only
// from its own host and for it alone, so that no sibling domain can toss one in.
const (
	hostCookie   = "__Host-usher"
	domainCookie = "__Secure-usher"
)

var errKeyInCookieMode = badRequest("An API key gets its token in the answer, since no browser keeps the cookie: leave out mode=cookie.")

// checkCookieDomain refuses a domain that browsers would not take from host.
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
		return fmt.Errorf("token cookie domain %q: the address of this service, %s, is in no domain", domain, host)
	case host != domain && !strings.HasSuffix(host, "."+domain):
		return fmt.Errorf("token cookie domain %q is not a parent of %s, so that browsers would refuse the cookie", domain, host)
	case suffix == domain:
		return fmt.Errorf("token cookie domain %q is a public suffix, under which anybody may have a host", domain)
	}
	return nil
}

// cookieMode reads the query of POST /api/auth: whether the token is to go into
// the cookie. It refuses what no browser would keep.
func (a *API) cookieMode(r *http.Request, req session.Request) (bool, error) {
	if r.URL.RawQuery == "" {
		return false, nil
	}
	query, err := url.ParseQuery(r.URL.RawQuery)
	modes, there := query["mode"]
	switch {
	case err != nil:
		return false, badRequest("The query of the URL cannot be read.")
	case !there:
		return false, nil
	case len(modes) != 1 || modes[0] != "cookie":
		return false, badRequest("mode may be cookie, once; leave it out for the token in the answer.")
	case r.Header.Get("Sec-Fetch-Site") == "cross-site":
		return false, badRequest("The page is of another site than usher, and its browser would drop the cookie: leave out mode=cookie.")
	}
	audience, err := a.cfg.Issuer.Audience(req)
	if err == nil && audience.Rooms {
		// A token for stores is at most some 1,400 bytes; one for rooms may be
		// more than the 4,096 that browsers keep.
		err = badRequest("A cookie holds a token for stores alone: name a store, or an audience of stores.")
	}
	return err == nil, err
}

// tokenCookie returns the cookie for a token, for its whole life; for no token,
// the one that ends it.
func (a *API) tokenCookie(token *session.Token) *http.Cookie {
	c := &http.Cookie{
		Name: hostCookie, Domain: a.cfg.TokenCookieDomain, Path: "/",
		MaxAge: -1, Secure: true, HttpOnly: true, SameSite: http.SameSiteLaxMode,
	}
	if c.Domain != "" {
		c.Name = domainCookie
	}
	if token != nil {
		// Seconds from now, for the browser's clock may be wrong.
		c.Value, c.MaxAge = token.Text.Reveal(), max(1, int(token.ExpiresAt.Sub(token.IssuedAt)/time.Second))
	}
	return c
}

// cookieResponse is the body of an answer in cookie mode.
type cookieResponse struct {
	ExpiresAt time.Time `json:"expiresAt"`
	Partial   bool      `json:"partial,omitempty"`
}

// forget serves DELETE /api/auth, the end of cookie mode at sign-out. It needs
// no credential, for the session may be over, and no database but to record a
// refusal.
func (a *API) forget(w http.ResponseWriter, r *http.Request) error {
	fault := a.checkPage(r)
	if fault == nil {
		http.SetCookie(w, a.tokenCookie(nil))
		w.WriteHeader(http.StatusNoContent)
		return nil
	}
	// No credential of the request is read.
	ctx, t, err := a.begin(r.Context(), a.slots, a.newDecision(r, session.Request{}), identity.Credential{}, a.limitedPeer(r))
	if err != nil {
		return err
	}
	defer t.release()
	return t.end(ctx, nil, fault)
}
