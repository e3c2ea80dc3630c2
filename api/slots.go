package api

import (
	"net/netip"
	"sync"
)

// slots bound the requests that run at the same time, in total and from one network of
// clients. They are safe for concurrent use.
type slots struct {
	mu    sync.Mutex
	free  int
	share int // maximum for one network
	taken map[netip.Prefix]int
}

func newSlots(n, share int) *slots {
	return &slots{free: n, share: share, taken: map[netip.Prefix]int{}}
}

// take takes a slot for the client's network, and reports whether one was free. The zero
// Prefix means many clients and is limited only by the total.
func (s *slots) take(client netip.Prefix) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.free == 0 || client.IsValid() && s.taken[client] >= s.share {
		return false
	}
	s.free--
	if client.IsValid() {
		s.taken[client]++
	}
	return true
}

func (s *slots) release(client netip.Prefix) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.free++
	if !client.IsValid() {
		return
	}
	if s.taken[client]--; s.taken[client] == 0 {
		delete(s.taken, client)
	}
}
