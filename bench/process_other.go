//go:build !linux

package main

import "syscall"

// dieWithParent is Linux's alone: elsewhere, a kill -9 leaves servers behind.
func dieWithParent() *syscall.SysProcAttr { return nil }
