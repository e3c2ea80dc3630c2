package main

import (
	"fmt"
	"io"
	"os"
)

// checkpointFlags say where the audit's checkpoints go.
type checkpointFlags struct {
	AuditCheckpoints string `env:"USHER_AUDIT_CHECKPOINTS" placeholder:"FILE" help:"Append the audit's signed checkpoints to this file too, or to - (standard output): somewhere that nobody of the database can change."`
}

// openCheckpoints returns where checkpoints are appended, or nil.
func (f *checkpointFlags) openCheckpoints(stdout io.Writer) (io.Writer, error) {
	switch f.AuditCheckpoints {
	case "":
		return nil, nil
	case "-":
		return stdout, nil
	}
	file, err := os.OpenFile(f.AuditCheckpoints, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o644) //nolint:gosec // for others to read
	if err != nil {
		return nil, fmt.Errorf("--audit-checkpoints: %w", err)
	}
	return durableFile{file}, nil
}

// A durableFile has on disk what was written to it. It is open as long as the
// process.
type durableFile struct{ file *os.File }

func (f durableFile) Write(b []byte) (int, error) {
	n, err := f.file.Write(b)
	if err == nil {
		err = f.file.Sync()
	}
	return n, err
}
