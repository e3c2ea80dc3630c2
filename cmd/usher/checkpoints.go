package main

import (
	"fmt"
	"io"
	"os"
)

// checkpointFlags name a copy of the audit's checkpoints outside the database.
type checkpointFlags struct {
	AuditCheckpoints string `env:"USHER_AUDIT_CHECKPOINTS" placeholder:"FILE" help:"Also append the audit's signed checkpoints to this file, or to standard output (-). Keep it where database administrators cannot change it."`
}

// openCheckpoints returns where checkpoints are appended, or nil.
func (f *checkpointFlags) openCheckpoints(stdout io.Writer) (io.Writer, error) {
	switch f.AuditCheckpoints {
	case "":
		return nil, nil
	case "-":
		return stdout, nil
	}
	file, err := os.OpenFile(f.AuditCheckpoints, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o644) //nolint:gosec // others may read it
	if err != nil {
		return nil, fmt.Errorf("--audit-checkpoints: %w", err)
	}
	return durableFile{file}, nil
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
