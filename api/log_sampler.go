package api

import (
	"sync"
	"time"
)

// loggedRefusals bounds the log lines about refused requests of unknown callers, because
// anyone can send any number of them: this many per minute, then one per second with the
// number of lines that were left out.
const loggedRefusals = 120

// A logSampler decides which refused requests are logged.
type logSampler struct {
	mu      sync.Mutex
	minute  int64
	logged  int
	last    time.Time
	skipped int
}

// sample reports whether to log a line at this time, and how many lines were left out
// since the last one.
func (s *logSampler) sample(now time.Time) (log bool, skipped int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if minute := now.Unix() / 60; minute != s.minute {
		s.minute, s.logged = minute, 0
	}
	if s.logged >= loggedRefusals && now.Sub(s.last) < time.Second {
		s.skipped++
		return false, 0
	}
	s.logged++
	s.last = now
	skipped, s.skipped = s.skipped, 0
	return true, skipped
}
