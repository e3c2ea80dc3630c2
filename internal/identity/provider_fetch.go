package identity

import (
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"syscall"
	"time"

	"github.com/usher-auth/usher/internal/loopback"
)

const connectTimeout = 2 * time.Second

// keyTransport fetches the keys of one provider.
func keyTransport(c *ProviderConfig) http.RoundTripper {
	proxy := http.ProxyFromEnvironment
	if c.overHTTP() {
		proxy = nil // with a proxy, the provider's address could not be checked
	}
	return &http.Transport{
		Proxy:                  proxy,
		DialContext:            keyDialer(c).DialContext,
		TLSHandshakeTimeout:    connectTimeout,
		DisableKeepAlives:      true, // the connection would be closed before the next fetch anyway
		DisableCompression:     true, // not needed, because the answer is small
		ForceAttemptHTTP2:      true,
		MaxResponseHeaderBytes: 64 << 10,
	}
}

// keyDialer refuses addresses inside the operator's own network, unless the operator names such
// a host. Over http, it refuses all other addresses. It checks the address that a name resolves
// to.
func keyDialer(c *ProviderConfig) *net.Dialer {
	dialer := &net.Dialer{Timeout: connectTimeout}
	u, err := url.Parse(c.keyAddress())
	switch {
	case c.overHTTP():
		dialer.Control = refuseOutside
	case !c.AllowPrivate && !(err == nil && loopback.IsHost(u.Hostname())):
		dialer.Control = refusePrivate
	}
	return dialer
}

// mayUseHTTP reports whether the keys may be fetched over http from another host: only with
// private=yes, and never from a public address.
func (c *ProviderConfig) mayUseHTTP() bool {
	if !c.AllowPrivate || !c.overHTTP() {
		return false
	}
	u, err := url.Parse(c.keyAddress())
	if err != nil {
		return false
	}
	ip, err := netip.ParseAddr(u.Hostname())
	return err != nil || isInside(ip) // a name is checked when it is resolved
}

// refusePrivate is a [net.Dialer.Control].
func refusePrivate(_, address string, _ syscall.RawConn) error {
	peer, err := netip.ParseAddrPort(address)
	if err != nil || !isPublic(peer.Addr()) {
		return fmt.Errorf("%s is not a public address: to fetch keys from there, say private=yes", address)
	}
	return nil
}

// refuseOutside is a [net.Dialer.Control] for http. It allows only addresses inside the
// operator's network.
func refuseOutside(_, address string, _ syscall.RawConn) error {
	peer, err := netip.ParseAddrPort(address)
	if err != nil || !isInside(peer.Addr()) {
		return fmt.Errorf("%s is not an address inside a private network. Keys are fetched over http only from there: use https", address)
	}
	return nil
}

// isInside reports whether an address is in a private network, in a provider's shared network, or
// this machine. Link-local addresses, where clouds keep credentials, are not inside.
func isInside(ip netip.Addr) bool {
	ip = ip.Unmap().WithZone("")
	return ip.IsPrivate() || ip.IsLoopback() || sharedNetwork.Contains(ip)
}

var sharedNetwork = netip.MustParsePrefix("100.64.0.0/10")

// notPublic are networks that are not on the Internet or represent IPv4 addresses, in addition to
// those that net/netip knows (RFC 6890).
var notPublic = []netip.Prefix{
	netip.MustParsePrefix("0.0.0.0/8"),
	sharedNetwork, // some providers keep metadata there
	netip.MustParsePrefix("192.0.0.0/24"),
	netip.MustParsePrefix("192.0.2.0/24"),
	netip.MustParsePrefix("192.88.99.0/24"),
	netip.MustParsePrefix("198.18.0.0/15"),
	netip.MustParsePrefix("198.51.100.0/24"),
	netip.MustParsePrefix("203.0.113.0/24"),
	netip.MustParsePrefix("240.0.0.0/4"),
	netip.MustParsePrefix("::/96"),
	netip.MustParsePrefix("64:ff9b::/96"),
	netip.MustParsePrefix("64:ff9b:1::/48"),
	netip.MustParsePrefix("100::/64"),
	netip.MustParsePrefix("2001::/23"),
	netip.MustParsePrefix("2001:db8::/32"),
	netip.MustParsePrefix("2002::/16"),
	netip.MustParsePrefix("fec0::/10"),
}

func isPublic(ip netip.Addr) bool {
	ip = ip.Unmap().WithZone("")
	if !ip.IsGlobalUnicast() || ip.IsPrivate() {
		return false
	}
	for _, network := range notPublic {
		if network.Contains(ip) {
			return false
		}
	}
	return true
}
