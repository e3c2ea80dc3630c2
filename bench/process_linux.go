package main

import "syscall"

// dieWithParent makes the kernel end a server when this process ends for any reason. For
// example, piping the output into head must not leave servers running.
func dieWithParent() *syscall.SysProcAttr { return &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM} }
