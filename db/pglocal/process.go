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
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

const stopTimeout = 10 * time.Second

// process is a program that was started by run.
type process struct {
	cmd   *exec.Cmd
	ended chan struct{} // closed once cmd.ProcessState is set
}

// command prepares a program to run as user (nil: as ourselves), in a process
// group of its own lest Ctrl-C stop it before its clients.
func command(bin, name string, user *syscall.Credential, args ...string) *exec.Cmd {
	cmd := exec.Command(filepath.Join(bin, name), args...)
	cmd.Dir = "/" // our own may be closed to the user
	cmd.Env = append(slices.DeleteFunc(os.Environ(), func(e string) bool {
		return strings.HasPrefix(e, "PG") // they would change the server's defaults
	}), "LC_ALL=C")
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: user, Setpgid: true}
	return cmd
}

// run starts a program. What it prints goes to output, a file and not a pipe:
// the sessions of a postgres that was killed would hold a pipe open.
func run(cmd *exec.Cmd, output *os.File) (*process, error) {
	cmd.Stdout, cmd.Stderr = output, output
	dieWithParent(cmd.SysProcAttr)
	p := &process{cmd, make(chan struct{})}
	started := make(chan error)
	go func() {
		// On Linux a child's parent is the thread that forked it, and its end
		// counts as the parent's (golang/go#27505). So the thread stays.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		started <- err
		if err == nil {
			_ = cmd.Wait() // ProcessState says all of it
			close(p.ended)
		}
	}()
	return p, <-started
}

// stop asks the program to end, waits, and kills it where it does not.
func (p *process) stop() error {
	_ = p.cmd.Process.Signal(syscall.SIGINT) // fails only where it has ended
	select {
	case <-p.ended:
		return nil
	case <-time.After(stopTimeout):
		_ = p.cmd.Process.Kill()
		<-p.ended
		return errors.New("postgres did not stop within " + stopTimeout.String() + " and was killed")
	}
}

// stopOrphan stops the server that an earlier process left running on data, and
// marks the postmaster.pid of one that crashed as stale.
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
		return os.Remove(file) // torn: postgres refuses to start beside it
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
	// By now another process may have the PID, and postgres would take that one
	// for its rival. Its own parent's PID it knows to be stale; the rest of the
	// file still leads it to sessions that outlived the crash.
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
