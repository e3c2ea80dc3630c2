package identity

import (
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"slices"
	"strings"

	"github.com/usher-auth/usher/internal/principal"
)

// Reasons for refusing a user that a proxy names, with a 401.
var (
	// ErrUntrustedProxy means that someone impersonates the proxy, or that the proxy's
	// address is missing from the list. It is always reported.
	ErrUntrustedProxy = errors.New("identity: the proxy's user header from an address that is not a trusted proxy")
	ErrBadProxyUser   = errors.New("identity: the proxy's user or organization header is repeated, or is not an id")
)

// ProxyConfig describes the proxies in front of usher. The zero ProxyConfig trusts no proxy.
type ProxyConfig struct {
	// Trusted lists the addresses and networks (10.0.0.7, 10.1.0.0/16,
	// fd00::/8) whose headers are trusted: only the proxies themselves, nothing
	// else that can reach usher.
	Trusted []string
	// UserHeader is the header in which a proxy that signs users in names
	// them, such as X-Auth-Request-User. The proxy must remove it from what
	// its own clients send. Empty: no header names a user.
	UserHeader string
	// OrganizationHeader names the user's active organization. May be empty.
	OrganizationHeader string
	// AddressHeader is the header to which the proxies append the address of their
	// caller: X-Forwarded-For (the default) or Forwarded. The other one is not
	// read: the proxy would pass on what a client wrote there.
	AddressHeader string
}

// A ProxyUser is the user that a trusted proxy names.
type ProxyUser struct {
	User         string
	Organization string // may be empty
	Proxy        netip.Addr
}

// proxies is a checked ProxyConfig.
type proxies struct {
	trusted                                       []netip.Prefix
	userHeader, organizationHeader, addressHeader string
}

func newProxies(cfg ProxyConfig) (p proxies, err error) {
	var faults []error
	fault := func(format string, args ...any) { faults = append(faults, fmt.Errorf("identity: "+format, args...)) }
	for _, text := range cfg.Trusted {
		prefix, err := parseNetwork(text)
		if err != nil {
			fault("trusted proxy %q %w", text, err)
		}
		p.trusted = append(p.trusted, prefix)
	}
	for _, name := range []string{cfg.UserHeader, cfg.OrganizationHeader} {
		if name != "" && !isToken(name) {
			fault("%q is not a header name (RFC 9110, section 5.1)", name)
		}
	}
	p.userHeader, p.organizationHeader = http.CanonicalHeaderKey(cfg.UserHeader), http.CanonicalHeaderKey(cfg.OrganizationHeader)
	switch {
	case p.userHeader != "" && len(cfg.Trusted) == 0:
		fault("header %s names users, but no proxy is trusted to set it: list the proxies", p.userHeader)
	case p.organizationHeader != "" && p.userHeader == "":
		fault("header %s names an organization, but no header names a user", p.organizationHeader)
	case p.organizationHeader != "" && p.organizationHeader == p.userHeader:
		fault("header %s cannot name both the user and the organization", p.userHeader)
	}
	switch p.addressHeader = http.CanonicalHeaderKey(cfg.AddressHeader); p.addressHeader {
	case "":
		p.addressHeader = xForwardedFor
	case xForwardedFor, forwarded:
	default:
		fault("header %q is neither %s nor %s", cfg.AddressHeader, xForwardedFor, forwarded)
	}
	return p, errors.Join(faults...)
}

// parseNetwork reads an address or a network.
func parseNetwork(text string) (netip.Prefix, error) {
	prefix, err := netip.ParsePrefix(text)
	if addr, addrErr := netip.ParseAddr(text); err != nil && addrErr == nil && addr.Zone() == "" {
		prefix, err = netip.PrefixFrom(addr, addr.BitLen()), nil
	}
	switch {
	case err != nil:
		return netip.Prefix{}, errors.New("is not an address or a network like 10.0.0.7 or 10.1.0.0/16")
	case prefix.Bits() == 0:
		return netip.Prefix{}, errors.New("is every address: anyone who can reach usher could then be any user")
	case prefix.Addr().Is4In6():
		return netip.Prefix{}, errors.New("is an IPv4 network: write it as one")
	case prefix != prefix.Masked():
		return netip.Prefix{}, fmt.Errorf("has an address in it: write %s", prefix.Masked())
	}
	return prefix, nil
}

// trusts reports whether addr is the address of a trusted proxy.
func (p *proxies) trusts(addr netip.Addr) bool {
	for _, prefix := range p.trusted {
		if prefix.Contains(addr) {
			return true
		}
	}
	return false
}

// readUser returns the user that a proxy names, or nil if the request has no such
// header.
func (p *proxies) readUser(req *http.Request) (*ProxyUser, error) {
	if p.userHeader == "" {
		return nil, nil //nolint:nilnil // nobody is named
	}
	users, organizations := req.Header[p.userHeader], req.Header[p.organizationHeader]
	if len(users)+len(organizations) == 0 {
		return nil, nil //nolint:nilnil // nobody is named
	}
	peer := PeerAddr(req)
	switch {
	case !p.trusts(peer):
		return nil, ErrUntrustedProxy
	case len(users) != 1 || !principal.IsID(users[0]):
		return nil, ErrBadProxyUser
	case len(organizations) > 1 || len(organizations) == 1 && !principal.IsID(organizations[0]):
		return nil, ErrBadProxyUser
	}
	named := &ProxyUser{User: users[0], Proxy: peer}
	if len(organizations) == 1 {
		named.Organization = organizations[0]
	}
	return named, nil
}

const (
	xForwardedFor = "X-Forwarded-For"
	forwarded     = "Forwarded"
)

// ClientAddr returns the address of a request's client, for the audit: the peer,
// or, if that is a trusted proxy, the last address before the trusted proxies. With
// a hop that cannot be read it is the peer, since anything before it is unproven.
// It is the zero Addr if the server does not listen on IP.
func (r *Reader) ClientAddr(req *http.Request) netip.Addr {
	peer := PeerAddr(req)
	if !r.proxies.trusts(peer) {
		return peer
	}
	client := peer
	for hops := strings.Join(req.Header[r.proxies.addressHeader], ","); hops != ""; {
		var hop string
		hops, hop = cutLast(hops)
		if r.proxies.addressHeader == forwarded {
			hop = forParameter(hop)
		}
		addr, ok := parseHop(hop)
		if !ok {
			return peer
		}
		if client = addr; !r.proxies.trusts(addr) {
			break
		}
	}
	return client
}

// proxyHeaders are the first parts of names of headers in which proxies name their users and
// clients.
var proxyHeaders = []string{"x-auth-request-", "x-forwarded-", "x-real-", "x-remote-", "x-webauth-", "forwarded", "remote-", "proxy-", "cf-connecting-", "true-client-"}

// IsProxyHeader reports whether a header is set by proxies and never by pages: a configured one
// or a common one. name is in lower case.
func (r *Reader) IsProxyHeader(name string) bool {
	for _, own := range []string{r.proxies.userHeader, r.proxies.organizationHeader, r.proxies.addressHeader} {
		if strings.EqualFold(own, name) {
			return true
		}
	}
	return slices.ContainsFunc(proxyHeaders, func(prefix string) bool { return strings.HasPrefix(name, prefix) })
}

// TrustedProxies returns the networks of the trusted proxies.
func (r *Reader) TrustedProxies() []netip.Prefix { return r.proxies.trusted }

// FromProxy reports whether the peer is a trusted proxy, which sends the requests of many
// clients.
func (r *Reader) FromProxy(req *http.Request) bool { return r.proxies.trusts(PeerAddr(req)) }

// PeerAddr returns the address at the other end of the connection, which no
// header can change: a proxy's, if there is one. It is the zero Addr if the server
// does not listen on IP.
func PeerAddr(req *http.Request) netip.Addr {
	peer, err := netip.ParseAddrPort(req.RemoteAddr)
	if err != nil {
		return netip.Addr{}
	}
	return peer.Addr().Unmap().WithZone("")
}

// cutLast cuts the last element off a list. It reads from the end, which the
// trusted proxies wrote, so that a quote left open by a client has no effect there.
func cutLast(list string) (before, last string) {
	quoted := false
	for i := len(list) - 1; i >= 0; i-- {
		switch list[i] {
		case '"':
			quoted = !quoted
		case ',':
			if !quoted {
				return list[:i], strings.Trim(list[i+1:], " \t")
			}
		}
	}
	return "", strings.Trim(list, " \t")
}

// forParameter returns the for parameter of an element of Forwarded (RFC 7239,
// section 4), or nothing if there is not exactly one.
func forParameter(element string) (node string) {
	for pair := range strings.SplitSeq(element, ";") {
		name, value, _ := strings.Cut(strings.Trim(pair, " \t"), "=")
		if !strings.EqualFold(name, "for") {
			continue
		}
		if node != "" {
			return ""
		}
		node = value
		if len(value) > 1 && value[0] == '"' && value[len(value)-1] == '"' {
			node = value[1 : len(value)-1]
		}
	}
	return node
}

// parseHop reads an address with or without a port; IPv6 in brackets or, without
// a port, as it is.
func parseHop(hop string) (netip.Addr, bool) {
	addr, err := netip.ParseAddr(hop)
	if err != nil {
		if strings.HasSuffix(hop, "]") {
			hop += ":0"
		}
		var withPort netip.AddrPort
		withPort, err = netip.ParseAddrPort(hop)
		addr = withPort.Addr()
	}
	return addr.Unmap(), err == nil && addr.Zone() == ""
}
