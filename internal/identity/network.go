package identity

import "net/netip"

// Who has one IPv6 address commonly has a /56 of them.
const ipv4Network, ipv6Network = 32, 56

// Network returns what counts as one client: an IPv4 address, or an IPv6 /56.
// It is the zero Prefix for the zero Addr.
func Network(addr netip.Addr) netip.Prefix {
	bits := ipv4Network
	if addr.Is6() {
		bits = ipv6Network
	}
	prefix, _ := addr.WithZone("").Prefix(bits) // as long as addresses of the kind may be
	return prefix
}
