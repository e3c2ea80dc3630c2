package pglocal

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"
)

const stopTimeout = 10 * time.Second

// process is a program started by run.
type process struct {
	cmd   *exec.Cmd
	ended chan struct{} // closed once cmd.ProcessState is set
}

// command prepares a program to run as user (nil: the current one). It gets a
// process group of its own, so that Ctrl-C does not stop it before its clients.
func command(bin, name string, user *syscall.Credential, args ...string) *exec.Cmd {
	cmd := exec.Command(filepath.Join(bin, name), args...)
	cmd.Dir = "/" // the user may not be able to enter the current one
	cmd.Env = environment(os.Environ())
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: user, Setpgid: true}
	return cmd
}

// environment returns what PostgreSQL needs of the environment and no more: it
// may run as another user, who must not see this one's secrets. PG variables
// would change the server's defaults.
func environment(all []string) (some []string) {
	for _, variable := range all {
		switch name, _, _ := strings.Cut(variable, "="); name {
		case "PATH", "HOME", "TMPDIR", "TZDIR", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "SYSTEMROOT":
			some = append(some, variable)
		}
	}
	return append(some, "LC_ALL=C")
}

// run starts a program. Its output goes to a file, not a pipe: the sessions of a
// killed postgres would keep a pipe open.
func run(cmd *exec.Cmd, output *os.File) (*process, error) {
	cmd.Stdout, cmd.Stderr = output, output
	dieWithParent(cmd.SysProcAttr)
	p := &process{cmd, make(chan struct{})}
	started := make(chan error)
	go func() {
		// On Linux a child's parent is the thread that forked it: the child gets
		// its signal when that thread ends (golang/go#27505). So keep the thread.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		started <- err
		if err == nil {
			_ = cmd.Wait() // ProcessState has the result
			close(p.ended)
		}
	}()
	return p, <-started
}

// stop asks the program to end, waits, and kills it after stopTimeout.
func (p *process) stop() error {
	_ = p.cmd.Process.Signal(syscall.SIGINT) // fails only if it has ended
	select {
	case <-p.ended:
		return nil
	case <-time.After(stopTimeout):
		_ = p.cmd.Process.Kill()
		<-p.ended
		return errors.New("postgres did not stop within " + stopTimeout.String() + " and was killed")
	}
}

// stopOrphan stops a server that an earlier process left running on data, and
// marks the postmaster.pid of a crashed server as stale.
func stopOrphan(ctx context.Context, log *slog.Logger, data string) error {
	file := filepath.Join(data, "postmaster.pid")
	content, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	first, rest, _ := strings.Cut(string(content), "\n")
	pid, err := strconv.Atoi(strings.TrimSpace(first))
	if err != nil {
		return os.Remove(file) // incomplete: postgres would refuse to start
	}
	signal := syscall.SIGINT
	for deadline := time.Now().Add(stopTimeout); isPostmaster(pid, data); time.Sleep(poll) {
		if signal != 0 {
			log.InfoContext(ctx, "stopping the postgres that an earlier process left running", "pid", pid, "data", data)
			if err := syscall.Kill(pid, signal); err != nil && !errors.Is(err, syscall.ESRCH) {
				return fmt.Errorf("stop the postgres that an earlier process left running (process %d): %w", pid, err)
			}
			signal = 0
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if time.Now().After(deadline) {
			signal, deadline = syscall.SIGKILL, time.Now().Add(stopTimeout)
		}
	}
	// Another process may have this PID now, and postgres would take it for a
	// running server. postgres knows that its own parent's PID is stale; the rest
	// of the file still leads it to sessions that survived the crash.
	f, err := os.OpenFile(file, os.O_WRONLY|os.O_TRUNC, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	_, err = f.WriteString(strconv.Itoa(os.Getpid()) + "\n" + rest)
	return errors.Join(err, f.Close())
}
