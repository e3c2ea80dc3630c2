//go:build unix

package service

import (
	"math"
	"syscall"
)

// maxFiles returns how many file descriptors the process may have.
func maxFiles() int {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		return maxConnections
	}
	return int(min(uint64(limit.Cur), math.MaxInt32)) // its type differs between systems
}
