package service

import (
	"net"
	"net/http"
	"net/netip"

	"github.com/prometheus/client_golang/prometheus"
)

// Track returns the ConnState hook of a server with this limit of connections.
func Track(limit int, shared []netip.Prefix, registry prometheus.Registerer) func(net.Conn, http.ConnState) {
	return newConnections("test", limit, shared, registry).track
}

// ConnectionLimits is connectionLimits.
var ConnectionLimits = connectionLimits
