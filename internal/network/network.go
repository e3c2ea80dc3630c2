// Package network says which addresses count as one client.
package network

import "net/netip"

// A client with one IPv6 address usually has a whole /56. Providers get a /32 and give each
// site a /48.
const ipv4, ipv6, site, provider = 32, 56, 48, 32

// Of returns the network that counts as one client: an IPv4 address, or an IPv6 /56. It is
// the zero Prefix for the zero Addr.
func Of(addr netip.Addr) netip.Prefix {
	bits := ipv4
	if addr.Is6() {
		bits = ipv6
	}
	prefix, _ := addr.WithZone("").Prefix(bits) // cannot fail: bits fits this kind of address
	return prefix
}

// Wider returns the network around an IPv6 network, because one attacker may own all of it:
// the /48 around a /56, and the /32 around a /48. For any other network it is the zero
// Prefix.
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
