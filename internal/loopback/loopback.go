// Package loopback recognizes the host names of this machine. For them, HTTP without TLS is
// not a risk.
package loopback

import (
	"net/netip"
	"strings"
)

// IsHost reports whether a host without a port is this machine: a loopback address,
// localhost, or a name under it (RFC 6761, section 6.3). A URL's Hostname method returns a
// host in this form.
func IsHost(host string) bool {
	host = strings.ToLower(strings.TrimSuffix(host, "."))
	if host == "localhost" || strings.HasSuffix(host, ".localhost") {
		return true
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.Unmap().IsLoopback()
}
