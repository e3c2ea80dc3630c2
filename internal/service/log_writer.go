package service

import (
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Limits on the lines that wait for the log's reader: about one second of a busy service.
const (
	maxLogLines = 8192
	maxLogBytes = 4 << 20
)

// A LogWriter writes lines to a writer that may stall, such as a pipe whose reader hangs.
// Its callers never wait. If too many lines are waiting, it drops lines and counts them. It
// is safe for concurrent use.
type LogWriter struct {
	w       io.Writer
	lines   chan []byte
	waiting atomic.Int64 // bytes
	dropped atomic.Int64
	all     prometheus.Counter
	closing chan struct{}
	once    sync.Once
	done    chan struct{}
}

// NewLogWriter starts writing to w. The caller calls Close at the end.
func NewLogWriter(w io.Writer) *LogWriter {
	l := &LogWriter{
		w: w, lines: make(chan []byte, maxLogLines), closing: make(chan struct{}), done: make(chan struct{}),
		all: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "usher_log_lines_dropped_total",
			Help: "Log lines that were dropped because their reader was too slow. The audit is not affected.",
		}),
	}
	go l.write()
	return l
}

// Write queues a copy of a line. It never blocks and never fails.
func (l *LogWriter) Write(line []byte) (int, error) {
	n := int64(len(line))
	if l.waiting.Add(n) <= maxLogBytes {
		select {
		case l.lines <- append([]byte(nil), line...):
			return len(line), nil
		default:
		}
	}
	l.waiting.Add(-n)
	l.dropped.Add(1)
	l.all.Inc()
	return len(line), nil
}

func (l *LogWriter) write() {
	defer close(l.done)
	for {
		select {
		case line := <-l.lines:
			l.put(line)
			continue
		default:
		}
		select {
		case line := <-l.lines:
			l.put(line)
		case <-l.closing:
			for len(l.lines) > 0 {
				l.put(<-l.lines)
			}
			l.sayDropped()
			return
		}
	}
}

func (l *LogWriter) put(line []byte) {
	_, _ = l.w.Write(line) // if the reader is gone, there is no place to report it
	l.waiting.Add(-int64(len(line)))
	if len(l.lines) == 0 {
		l.sayDropped()
	}
}

// sayDropped writes how many lines are missing here.
func (l *LogWriter) sayDropped() {
	if n := l.dropped.Swap(0); n > 0 {
		_, _ = fmt.Fprintf(l.w, `{"time":%q,"level":"WARN","msg":"log lines dropped, because their reader was too slow","count":%d}`+"\n",
			time.Now().Format(time.RFC3339Nano), n)
	}
}

// Close writes the waiting lines, within the given time. It does not wait longer for a
// reader that has stalled.
func (l *LogWriter) Close(within time.Duration) {
	l.once.Do(func() { close(l.closing) })
	timer := time.NewTimer(within)
	defer timer.Stop()
	select {
	case <-l.done:
	case <-timer.C:
	}
}

// Describe implements [prometheus.Collector].
func (l *LogWriter) Describe(descriptions chan<- *prometheus.Desc) { l.all.Describe(descriptions) }

// Collect implements [prometheus.Collector].
func (l *LogWriter) Collect(metrics chan<- prometheus.Metric) { l.all.Collect(metrics) }
