package pglocal

import (
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
)

// dieWithParent makes the kernel send SIGINT, PostgreSQL's fast shutdown, when
// the parent ends. (SIGTERM would wait for the clients to disconnect.)
func dieWithParent(attr *syscall.SysProcAttr) { attr.Pdeathsig = syscall.SIGINT }

// isPostmaster reports whether the process is a running postgres on data. It
// reads the command line, which everyone can read: in a container even root may
// be unable to follow /proc/PID/cwd.
func isPostmaster(pid int, data string) bool {
	line, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "cmdline"))
	if err != nil {
		return false
	}
	args := strings.Split(string(line), "\x00")
	i := slices.Index(args, "-D") + 1
	return filepath.Base(args[0]) == "postgres" && i > 0 && i < len(args) && args[i] == data
}
