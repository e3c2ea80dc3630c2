//go:build !linux

package main

import "syscall"

// dieWithParent works only on Linux. On other systems, a kill -9 leaves servers running.
func dieWithParent() *syscall.SysProcAttr { return nil }
