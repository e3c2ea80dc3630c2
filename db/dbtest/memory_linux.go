package dbtest

import (
	"os"
	"syscall"
)

// inMemory returns a folder in memory, or "" (the default for temporary files)
// if there is no room or the environment names a folder.
func inMemory() string {
	const (
		dir   = "/dev/shm"
		tmpfs = 0x01021994
		room  = 2 << 30 // for the servers of a few packages
	)
	var fs syscall.Statfs_t
	if os.Getenv("TMPDIR") != "" || syscall.Statfs(dir, &fs) != nil || int64(fs.Type) != tmpfs || fs.Bavail*uint64(fs.Bsize) < room { //nolint:gosec // a block's size is positive
		return ""
	}
	return dir
}
