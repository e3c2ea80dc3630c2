package service_test

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/usher-auth/usher/internal/service"
)

func TestConnectionLimits(t *testing.T) {
	t.Parallel()
	for _, files := range []int{64, 256, 512, 1_024, 4_096, 1 << 20} {
		public, ops := service.ConnectionLimits(files)
		if left := files - public - ops; public < 4 || ops < 4 || left < min(files/4, 128) {
			t.Errorf("of %d file descriptors: %d public, %d ops, %d for the rest", files, public, ops, left)
		}
	}
}

// crowd is a server with a low limit of connections.
type crowd struct {
	*httptest.Server
	release  chan struct{} // what requests for /wait wait for
	waiting  chan struct{}
	registry *prometheus.Registry
}

func newCrowd(t *testing.T, limit int, shared []netip.Prefix) *crowd {
	t.Helper()
	c := &crowd{release: make(chan struct{}), waiting: make(chan struct{}, limit), registry: prometheus.NewRegistry()}
	c.Server = httptest.NewUnstartedServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/wait" {
			c.waiting <- struct{}{}
			<-c.release
		}
	}))
	track := service.Track(limit, shared, c.registry)
	c.Config.ConnState = track
	c.Server.Start()
	// httptest has its own hook, which calls this one.
	t.Cleanup(c.Close)
	return c
}

// dial opens a connection. With a path it sends a request, and with read it waits for the
// answer.
func (c *crowd) dial(t *testing.T, path string, read bool) net.Conn {
	t.Helper()
	conn, err := net.Dial("tcp", c.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
	if path != "" {
		_, _ = io.WriteString(conn, "GET "+path+" HTTP/1.1\r\nHost: x\r\n\r\n")
	}
	if read {
		c.answers(t, conn)
	}
	return conn
}

func (c *crowd) answers(t *testing.T, conn net.Conn) {
	t.Helper()
	res, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatalf("no answer: %v", err)
	}
	res.Body.Close()
}

// metric returns a metric of the connections.
func (c *crowd) metric(t *testing.T, name string) float64 {
	t.Helper()
	families, err := c.registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == name {
			return f.GetMetric()[0].GetCounter().GetValue() + f.GetMetric()[0].GetGauge().GetValue()
		}
	}
	t.Fatalf("no metric %s", name)
	return 0
}

var loopback = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}

// A new connection is served, however many connections are idle or silent.
func TestSilentConnectionsMakeRoom(t *testing.T) {
	t.Parallel()
	const limit = 16
	for name, path := range map[string]string{"idle after a request": "/", "that never spoke": ""} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := newCrowd(t, limit, loopback)
			for range 5 * limit {
				c.dial(t, path, path != "")
				if open := c.metric(t, "usher_http_connections"); open > limit {
					t.Fatalf("%v connections are open, want at most %d", open, limit)
				}
			}
			for range 20 {
				c.dial(t, "/", true)
			}
			if c.metric(t, "usher_http_connections_closed_total") == 0 {
				t.Error("no silent connection was closed")
			}
		})
	}
}

// A connection with a request in flight is never closed. Over the limit, new connections are
// closed.
func TestBusyConnectionsStay(t *testing.T) {
	t.Parallel()
	const limit = 8
	c := newCrowd(t, limit, loopback)
	busy := make([]net.Conn, limit)
	for i := range busy {
		busy[i] = c.dial(t, "/wait", false)
	}
	for range busy {
		<-c.waiting
	}
	refused := c.dial(t, "/", false)
	if _, err := refused.Read(make([]byte, 1)); err == nil {
		t.Error("a connection beyond the limit was served")
	}
	if got := c.metric(t, "usher_http_connections_refused_total"); got != 1 {
		t.Errorf("%v connections refused, want 1", got)
	}
	close(c.release)
	for _, conn := range busy {
		c.answers(t, conn)
	}
}

// One network gets a quarter.
func TestNetworksShareConnections(t *testing.T) {
	t.Parallel()
	const limit = 16
	c := newCrowd(t, limit, nil)
	var busy []net.Conn
	for range limit / 4 {
		busy = append(busy, c.dial(t, "/wait", false))
		<-c.waiting
	}
	refused := c.dial(t, "/", false)
	if _, err := refused.Read(make([]byte, 1)); err == nil {
		t.Error("a connection beyond the network's share was served")
	}
	close(c.release)
	for _, conn := range busy {
		c.answers(t, conn)
	}
}
