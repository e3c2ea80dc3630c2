package identity

import (
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"syscall"
	"time"
)

const connectTimeout = 2 * time.Second

// keyTransport fetches the keys of one issuer. Where they are, its operator
// says; that this is not inside of the network that usher is in, the address
// that is connected to shows, whatever a name resolves to.
func keyTransport(c *ProviderConfig) http.RoundTripper {
	dialer := &net.Dialer{Timeout: connectTimeout}
	address := c.JWKS
	if c.Discover {
		address = c.name()
	}
	if u, err := url.Parse(address); !c.AllowPrivate && !(err == nil && isLoopback(u.Hostname())) {
		dialer.Control = refusePrivate
	}
	return &http.Transport{
		Proxy:                  http.ProxyFromEnvironment,
		DialContext:            dialer.DialContext,
		TLSHandshakeTimeout:    connectTimeout,
		DisableKeepAlives:      true, // by the next fetch it would be closed anyway
		DisableCompression:     true, // a bounded answer needs none
		ForceAttemptHTTP2:      true,
		MaxResponseHeaderBytes: 64 << 10,
	}
}

func isLoopback(host string) bool {
	ip, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && ip.Unmap().IsLoopback()
}

// refusePrivate is a [net.Dialer.Control].
func refusePrivate(_, address string, _ syscall.RawConn) error {
	peer, err := netip.ParseAddrPort(address)
	if err != nil || !isPublic(peer.Addr()) {
		return fmt.Errorf("%s is not a public address: where the keys are to come from there, say private=yes", address)
	}
	return nil
}

// notPublic are the networks that are nobody's on the Internet or stand for
// IPv4 addresses, beside those that net/netip knows (RFC 6890).
var notPublic = []netip.Prefix{
	netip.MustParsePrefix("0.0.0.0/8"),
	netip.MustParsePrefix("100.64.0.0/10"), // shared by providers; some keep metadata there
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
