package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/usher-auth/usher/permissions"
)

// sampleEvery says which answers of a connection are kept, to verify them after the turn:
// the first, and then one of this many.
const sampleEvery = 100

// A turn is the result of one server in one round.
type turn struct {
	took                   time.Duration
	latencies              []time.Duration // of the good answers, sorted
	serverCPU, postgresCPU time.Duration
	cpuKnown               bool
}

func (t turn) rate() float64 { return float64(len(t.latencies)) / t.took.Seconds() }

// answers are the answers that one connection received.
type answers struct {
	latencies []time.Duration
	samples   []sample
	err       error
}

type sample struct {
	person person
	body   []byte
}

// turn sends requests to the server for some time: each connection asks for a random user,
// waits for the answer and asks again.
func (b *bench) turn(ctx context.Context, s *server, duration time.Duration) (turn, error) {
	connections := make([]*connection, b.connections)
	for i := range connections {
		c, err := dial(ctx, s)
		if err != nil {
			return turn{}, fmt.Errorf("%s: %w", s.name, err)
		}
		defer c.conn.Close()
		connections[i] = c
	}
	all := make([]answers, b.connections)
	serverBefore, known := cpuOf(s.cmd.Process.Pid)
	postgresBefore, _ := cpuOf(b.postgres.PID())
	began := time.Now()
	end := began.Add(duration)
	var running sync.WaitGroup
	for i, c := range connections {
		running.Go(func() { all[i] = c.run(ctx, s, end) })
	}
	running.Wait()
	t := turn{took: time.Since(began), cpuKnown: known}
	serverAfter, _ := cpuOf(s.cmd.Process.Pid)
	postgresAfter, _ := cpuOf(b.postgres.PID())
	t.serverCPU, t.postgresCPU = serverAfter-serverBefore, postgresAfter-postgresBefore

	var faults []error
	for _, a := range all {
		t.latencies = append(t.latencies, a.latencies...)
		faults = append(faults, a.err)
		for _, sample := range a.samples {
			faults = append(faults, s.verify(ctx, sample))
		}
	}
	s.received += len(t.latencies)
	slices.Sort(t.latencies)
	faults = slices.DeleteFunc(faults, func(err error) bool { return err == nil })
	if len(faults) > 0 {
		return turn{}, fmt.Errorf("%s gave %d wrong answers and %d good ones, the first wrong one: %w", s.name, len(faults), len(t.latencies), faults[0])
	}
	return t, ctx.Err()
}

// verify checks a token like a sync backend, and that it is for the right user.
func (s *server) verify(ctx context.Context, sample sample) error {
	var answer struct{ Token string }
	if err := json.Unmarshal(sample.body, &answer); err != nil {
		return err
	}
	claims, err := s.verifier.Verify(ctx, answer.Token)
	if err != nil {
		return err
	}
	if claims.Subject != sample.person.UserID || !claims.Can(permissions.Room(sample.person.Room), permissions.Full) {
		return fmt.Errorf("the token of %s for %s is %s's and does not open it", sample.person.UserID, sample.person.Room, claims.Subject)
	}
	s.sampled = append(s.sampled, claims.ID)
	return nil
}

// newRequest returns the bytes that a browser would send.
func newRequest(origin string, p person) []byte {
	body := `{"room":` + strconv.Quote(p.Room) + `}`
	return []byte(strings.Join([]string{
		"POST /api/auth HTTP/1.1",
		"Host: " + strings.TrimPrefix(origin, "http://"),
		"Content-Length: " + strconv.Itoa(len(body)),
		"User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Safari/537.36",
		"Content-Type: application/json",
		"Accept: */*",
		"Origin: " + origin,
		"Sec-Fetch-Site: same-origin",
		"Sec-Fetch-Mode: cors",
		"Sec-Fetch-Dest: empty",
		"Referer: " + origin + "/",
		"Accept-Encoding: gzip, deflate, br, zstd",
		"Accept-Language: en-US,en;q=0.9",
		"Cookie: usher_session=" + p.Cookie,
		"",
		body,
	}, "\r\n"))
}

// A connection is an HTTP/1.1 client with only what these servers need. The less the client
// costs, the more of the machine is left for the server.
type connection struct {
	conn   net.Conn
	reader *bufio.Reader
	body   []byte
}

func dial(ctx context.Context, s *server) (*connection, error) {
	var d net.Dialer
	conn, err := d.DialContext(ctx, "tcp", strings.TrimPrefix(s.url, "http://"))
	if err != nil {
		return nil, err
	}
	return newConnection(conn), nil
}

func newConnection(conn net.Conn) *connection {
	return &connection{conn: conn, reader: bufio.NewReaderSize(conn, 16<<10)}
}

func (c *connection) run(ctx context.Context, s *server, end time.Time) (a answers) {
	stop := context.AfterFunc(ctx, func() { _ = c.conn.SetDeadline(time.Now()) })
	defer stop()
	if err := c.conn.SetDeadline(end.Add(10 * time.Second)); err != nil {
		return answers{err: err}
	}
	for asked := time.Now(); asked.Before(end); {
		i := rand.IntN(len(s.people))
		if err := c.ask(s.requests[i]); err != nil {
			a.err = err
			return a
		}
		answered := time.Now()
		if len(a.latencies)%sampleEvery == 0 {
			a.samples = append(a.samples, sample{s.people[i], bytes.Clone(c.body)})
		}
		a.latencies = append(a.latencies, answered.Sub(asked))
		asked = answered
	}
	return a
}

// ask sends a request and reads the answer's body. It returns an error unless the answer is
// a 200 that begins like a token.
func (c *connection) ask(request []byte) error {
	if _, err := c.conn.Write(request); err != nil {
		return err
	}
	status, err := c.reader.ReadSlice('\n')
	if err != nil {
		return err
	}
	good := bytes.HasPrefix(status, []byte("HTTP/1.1 200 "))
	length := -1
	for {
		line, err := c.reader.ReadSlice('\n')
		if err != nil {
			return err
		}
		if len(line) == len("\r\n") {
			break
		}
		const name = "content-length: "
		if len(line) > len(name) && bytes.EqualFold(line[:len(name)], []byte(name)) {
			if length, err = strconv.Atoi(string(bytes.TrimSpace(line[len(name):]))); err != nil {
				return err
			}
		}
	}
	if length < 0 {
		return errors.New("an answer without Content-Length")
	}
	c.body = slices.Grow(c.body[:0], length)[:length]
	if _, err := io.ReadFull(c.reader, c.body); err != nil {
		return err
	}
	if !good || !bytes.HasPrefix(c.body, []byte(`{"token":"`)) {
		return fmt.Errorf("%.200s", c.body)
	}
	return nil
}

// profileUsher runs usher for one more turn, if a profile was asked for, and fetches the
// profiles of its CPU time and its allocations.
func (b *bench) profileUsher(ctx context.Context) error {
	if b.profile == "" {
		return nil
	}
	i := slices.IndexFunc(b.servers, func(s *server) bool { return s.name == usherServer })
	if i < 0 {
		return errors.New("-profile is of usher, which is not among -servers")
	}
	s := b.servers[i]
	if err := os.MkdirAll(b.profile, 0o755); err != nil {
		return err
	}
	var fetching sync.WaitGroup
	faults := make([]error, 2)
	seconds := strconv.Itoa(max(1, int(b.duration.Seconds())))
	for i, path := range []string{"profile", "allocs"} {
		fetching.Go(func() {
			name := filepath.Join(b.profile, map[string]string{"profile": "cpu", "allocs": "allocs"}[path]+".pprof")
			faults[i] = download(ctx, s.opsURL+"/debug/pprof/"+path+"?seconds="+seconds, name)
		})
	}
	t, err := b.turn(ctx, s, b.duration)
	fetching.Wait()
	fmt.Fprintf(b.out, "\nprofile of %d requests in %s\n", len(t.latencies), b.profile)
	return errors.Join(append(faults, err)...)
}

func download(ctx context.Context, address, name string) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s", address, response.Status)
	}
	content, err := io.ReadAll(response.Body)
	if err != nil {
		return err
	}
	return os.WriteFile(name, content, 0o600)
}
