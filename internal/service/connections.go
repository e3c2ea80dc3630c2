package service

import (
	"container/list"
	"crypto/tls"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/usher-auth/usher/internal/network"
)

const (
	// maxConnections is the maximum number of client connections, even if the limit of
	// file descriptors is higher.
	maxConnections = 16 << 10
	// reservedFiles are file descriptors for the database, the log and files that are
	// read occasionally. opsConnections are for the second listener.
	reservedFiles, opsConnections = 128, 64
	// crowdedIdle is how long a connection may be idle when three quarters of the
	// maximum are open.
	crowdedIdle = 5 * time.Second
)

// connectionLimits divides the limit of file descriptors between the listeners. If the limit
// is low, the public listener still gets a quarter of it.
func connectionLimits(files int) (public, ops int) {
	ops = min(opsConnections, max(files/8, 4))
	public = min(files-reservedFiles-ops, maxConnections)
	return max(public, files/4, 4), ops
}

// connections bounds the open connections of a server, in total and from one network of
// clients. Its method track is the server's ConnState hook, which sees connections before
// the server reads from them. If there are too many, it closes the connection that has been
// silent for longest; connections with a request in flight are not closed. It is safe for
// concurrent use.
type connections struct {
	max     int
	share   int            // maximum from one network
	shared  []netip.Prefix // addresses shared by many clients, limited only by max
	now     func() time.Time
	closed  prometheus.Counter
	refused prometheus.Counter

	mu    sync.Mutex
	open  map[net.Conn]*connection
	peers map[netip.Prefix]int
	// silent lists the connections that wait for their client to send something, the
	// one that waits longest first.
	silent *list.List
}

type connection struct {
	net.Conn
	network netip.Prefix
	since   time.Time     // when it became silent
	place   *list.Element // in silent; nil if it is not silent
}

func newConnections(listener string, limit int, shared []netip.Prefix, registry prometheus.Registerer) *connections {
	labels := prometheus.Labels{"listener": listener}
	c := &connections{
		max: limit, share: max(limit/4, 1), shared: shared, now: time.Now,
		open: map[net.Conn]*connection{}, peers: map[netip.Prefix]int{}, silent: list.New(),
		closed: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "usher_http_connections_closed_total", ConstLabels: labels,
			Help: "Silent connections that were closed because many were open.",
		}),
		refused: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "usher_http_connections_refused_total", ConstLabels: labels,
			Help: "Connections that were refused because too many were open, in total or from one network.",
		}),
	}
	registry.MustRegister(c.closed, c.refused, prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "usher_http_connections", ConstLabels: labels,
		Help: "Open connections.",
	}, func() float64 {
		c.mu.Lock()
		defer c.mu.Unlock()
		return float64(len(c.open))
	}))
	return c
}

// track implements [http.Server.ConnState].
func (c *connections) track(conn net.Conn, state http.ConnState) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch state {
	case http.StateNew:
		c.admit(conn)
	case http.StateActive:
		if of := c.open[conn]; of != nil {
			c.speak(of)
		}
	case http.StateIdle:
		if of := c.open[conn]; of != nil {
			c.speak(of)
			c.hush(of)
		}
	case http.StateClosed, http.StateHijacked:
		c.forget(conn)
	}
}

// admit adds a connection, or closes it.
func (c *connections) admit(conn net.Conn) {
	network := c.networkOf(conn)
	if network.IsValid() && c.peers[network] >= c.share {
		c.refused.Inc()
		hangUp(conn)
		return
	}
	if len(c.open) >= c.max*3/4 {
		c.thinOut()
	}
	if len(c.open) >= c.max {
		c.refused.Inc()
		hangUp(conn)
		return
	}
	of := &connection{Conn: conn, network: network}
	c.open[conn] = of
	if network.IsValid() {
		c.peers[network]++
	}
	c.hush(of)
}

// thinOut closes connections that have been silent for too long. If there is still no room,
// it also closes the one that has been silent for longest.
func (c *connections) thinOut() {
	for first := c.silent.Front(); first != nil; first = c.silent.Front() {
		of := first.Value.(*connection)
		if c.now().Sub(of.since) < crowdedIdle && len(c.open) < c.max {
			return
		}
		c.closed.Inc()
		c.forget(of.Conn)
		hangUp(of.Conn)
	}
}

func (c *connections) hush(of *connection) {
	of.since, of.place = c.now(), c.silent.PushBack(of)
}

func (c *connections) speak(of *connection) {
	if of.place != nil {
		c.silent.Remove(of.place)
		of.place = nil
	}
}

func (c *connections) forget(conn net.Conn) {
	of := c.open[conn]
	if of == nil {
		return
	}
	c.speak(of)
	delete(c.open, conn)
	if !of.network.IsValid() {
		return
	}
	if c.peers[of.network]--; c.peers[of.network] == 0 {
		delete(c.peers, of.network)
	}
}

// networkOf returns the network that a connection is counted under. It is the zero Prefix
// for a proxy and for a connection that is not IP.
func (c *connections) networkOf(conn net.Conn) netip.Prefix {
	peer, err := netip.ParseAddrPort(conn.RemoteAddr().String())
	if err != nil {
		return netip.Prefix{}
	}
	addr := peer.Addr().Unmap().WithZone("")
	for _, prefix := range c.shared {
		if prefix.Contains(addr) {
			return netip.Prefix{}
		}
	}
	return network.Of(addr)
}

// hangUp closes a connection without TLS's close message, which could wait for the client.
func hangUp(conn net.Conn) {
	if secured, ok := conn.(*tls.Conn); ok {
		conn = secured.NetConn()
	}
	_ = conn.Close()
}
