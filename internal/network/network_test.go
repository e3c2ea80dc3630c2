package network_test

import (
	"net/netip"
	"testing"

	"github.com/usher-auth/usher/internal/network"
)

func TestNetworks(t *testing.T) {
	t.Parallel()
	for addr, want := range map[string][]string{
		"192.0.2.7":            {"192.0.2.7/32"},
		"2001:db8:1:2fff::1":   {"2001:db8:1:2f00::/56", "2001:db8:1::/48", "2001:db8::/32"},
		"fe80::1%eth0":         {"fe80::/56", "fe80::/48", "fe80::/32"},
		"2001:db8:ffff:ffff::": {"2001:db8:ffff:ff00::/56", "2001:db8:ffff::/48", "2001:db8::/32"},
	} {
		p := network.Of(netip.MustParseAddr(addr))
		for i := 0; p.IsValid() || i < len(want); i++ {
			if i >= len(want) || p.String() != want[i] {
				t.Errorf("%s: network %d = %s, want %v", addr, i, p, want)
				break
			}
			p = network.Wider(p)
		}
	}
	if p := network.Of(netip.Addr{}); p.IsValid() {
		t.Errorf("of no address: %s", p)
	}
}
