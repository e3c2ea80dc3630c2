package service_test

import (
	"bytes"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/usher-auth/usher/internal/service"
)

// reader stalls until the test releases it.
type reader struct {
	let chan struct{}
	mu  sync.Mutex
	got bytes.Buffer
}

func (r *reader) Write(b []byte) (int, error) {
	<-r.let
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.got.Write(b)
}

func (r *reader) String() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.got.String()
}

// If a log's reader stalls, callers do not wait. Lines that are too many are dropped and
// counted, and the log says so when the reader is back.
func TestLogWriterStalled(t *testing.T) {
	t.Parallel()
	r := &reader{let: make(chan struct{})}
	l := service.NewLogWriter(r)
	const lines = 20_000
	var writing sync.WaitGroup
	for range 4 {
		writing.Go(func() {
			for range lines / 4 {
				if n, err := l.Write([]byte("a line\n")); n != 7 || err != nil {
					t.Errorf("Write() = %d, %v", n, err)
				}
			}
		})
	}
	writing.Wait() // ends although the reader has stalled
	dropped := int(testutil.ToFloat64(l))
	if dropped < lines-9_000 || dropped >= lines {
		t.Errorf("dropped %d of %d lines", dropped, lines)
	}
	l.Close(time.Millisecond) // returns although the reader has stalled
	close(r.let)
	l.Close(time.Minute)
	if got := strings.Count(r.String(), "a line\n"); got != lines-dropped {
		t.Errorf("wrote %d lines, want the %d that were not dropped", got, lines-dropped)
	}
	if !strings.Contains(r.String(), `"msg":"log lines dropped, because their reader was too slow","count":`) {
		t.Error("the log does not say what it lacks")
	}
}

func TestLogWriterBoundsBytes(t *testing.T) {
	t.Parallel()
	r := &reader{let: make(chan struct{})}
	l := service.NewLogWriter(r)
	for range 100 {
		_, _ = l.Write(make([]byte, 1<<20))
	}
	if dropped := testutil.ToFloat64(l); dropped < 95 {
		t.Errorf("dropped %v of 100 lines of 1 MiB", dropped)
	}
	close(r.let)
	l.Close(time.Minute)
}

func TestLogWriterKeepsOrder(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	l := service.NewLogWriter(&out)
	line := []byte("0\n")
	for n := range 10 {
		line[0] = byte('0' + n) // the caller uses its buffer again, as slog does
		_, _ = l.Write(line)
	}
	l.Close(time.Minute)
	if got := out.String(); got != "0\n1\n2\n3\n4\n5\n6\n7\n8\n9\n" {
		t.Errorf("wrote %q", got)
	}
}
