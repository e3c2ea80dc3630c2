package main

import (
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/usher-auth/usher/audit"
)

// checkpointFlags name a copy of the audit's checkpoints outside the database.
type checkpointFlags struct {
	AuditCheckpoints string `env:"USHER_AUDIT_CHECKPOINTS" placeholder:"FILE" help:"Also append the audit's signed checkpoints to this file, or to standard output (-). Keep it where database administrators cannot change it."`
}

// openCheckpoints returns where checkpoints are appended, or nil, and the last one
// that is there.
func (f *checkpointFlags) openCheckpoints(stdout io.Writer) (out io.Writer, last string, err error) {
	switch f.AuditCheckpoints {
	case "":
		return nil, "", nil
	case "-":
		return stdout, "", nil
	}
	file, err := os.OpenFile(f.AuditCheckpoints, os.O_RDWR|os.O_CREATE|os.O_APPEND, 0o644) //nolint:gosec // others may read it
	if err != nil {
		return nil, "", fmt.Errorf("--audit-checkpoints: %w", err)
	}
	if last, err = lastCheckpoint(file); err != nil {
		_ = file.Close()
		return nil, "", fmt.Errorf("--audit-checkpoints: %w", err)
	}
	return durableFile{file}, last, nil
}

// lastCheckpoint reads the end of a file of checkpoints. The process may have been
// killed while it wrote the last one.
func lastCheckpoint(file *os.File) (string, error) {
	const tail = 8 << 10 // many checkpoints
	info, err := file.Stat()
	if err != nil || !info.Mode().IsRegular() {
		return "", err
	}
	end, err := io.ReadAll(io.NewSectionReader(file, max(0, info.Size()-tail), tail))
	if err != nil {
		return "", err
	}
	for _, text := range slices.Backward(audit.SplitCheckpoints(string(end))) {
		if strings.HasSuffix(text, "\n") && strings.Contains(text, "\n\n\u2014 ") {
			return text, nil
		}
	}
	return "", nil
}

// A durableFile syncs every write to disk. It stays open as long as the process.
type durableFile struct{ file *os.File }

func (f durableFile) Write(b []byte) (int, error) {
	n, err := f.file.Write(b)
	if err == nil {
		err = f.file.Sync()
	}
	return n, err
}
