//go:build !linux

package dbtest

// inMemory returns "": temporary files go where the system says.
func inMemory() string { return "" }
