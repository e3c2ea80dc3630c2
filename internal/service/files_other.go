//go:build !unix

package service

// maxFiles returns how many connections are served where the system sets no
// limit.
func maxFiles() int { return maxConnections }
