package main

import "syscall"

// dieWithParent has the kernel end a server when this process ends, however it
// does: who pipes the output into head must not leave servers behind.
func dieWithParent() *syscall.SysProcAttr { return &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM} }
