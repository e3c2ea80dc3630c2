package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/usher-auth/usher/db"
)

// sealFlags say where the audit's checkpoints go.
type sealFlags struct {
	AuditCheckpoints string `env:"USHER_AUDIT_CHECKPOINTS" placeholder:"FILE" help:"Append the audit's signed checkpoints to this file too, or to - (standard output): somewhere that nobody of the database can change."`
}

// openCheckpoints returns where checkpoints are appended, or nil.
func (f *sealFlags) openCheckpoints(stdout io.Writer) (io.Writer, error) {
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

// seal seals the audit's rows until ctx ends, beside the requests.
func (s *service) seal(ctx context.Context) {
	tick := time.NewTicker(db.SealEvery)
	defer tick.Stop()
	for {
		if _, err := s.sealer.Seal(ctx); err != nil && ctx.Err() == nil {
			s.cfg.logger.WarnContext(ctx, "the audit was not sealed this time", "error", err.Error())
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// sealLast seals what came until the end, so that nothing stays open to change
// while no usher runs.
func (s *service) sealLast(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
	defer cancel()
	if _, err := s.sealer.SealNow(ctx); err != nil {
		s.cfg.logger.WarnContext(ctx, "the last rows of the audit were not sealed", "error", err.Error())
	}
}
