// Package network says which addresses count as one client.
package network

import "net/netip"

// A client who has one IPv6 address commonly has a /56 of them. Providers are
// given a /32 and hand out a /48 to a site.
const ipv4, ipv6, site, provider = 32, 56, 48, 32

// Of returns what counts as one client: an IPv4 address, or an IPv6 /56. It is
// the zero Prefix for the zero Addr.
func Of(addr netip.Addr) netip.Prefix {
	bits := ipv4
	if addr.Is6() {
		bits = ipv6
	}
	prefix, _ := addr.WithZone("").Prefix(bits) // as long as addresses of the kind may be
	return prefix
}

// Wider returns the network around an IPv6 network, of which one attacker may
// have all: the /48 around a /56, and the /32 around that. It is the zero Prefix
// for any other.
func Wider(p netip.Prefix) netip.Prefix {
	if !p.Addr().Is6() {
		return netip.Prefix{}
	}
	bits := 0
	switch p.Bits() {
	case ipv6:
		bits = site
	case site:
		bits = provider
	default:
		return netip.Prefix{}
	}
	wider, _ := p.Addr().Prefix(bits) // shorter than p
	return wider
}
