package service

import (
	"context"
	"time"

	"github.com/usher-auth/usher/db"
)

// watch does the periodic work, once a minute: it compares the clocks, creates the audit's
// partitions, revokes the grants of users that the application has deleted, and deletes old
// answers to idempotency keys.
func (s *Service) watch(ctx context.Context) {
	const every = time.Minute
	for tick := time.NewTicker(every); ; {
		if ahead, err := s.db.Ping(ctx); err == nil && ahead.Abs() > db.MaxClockDifference {
			s.cfg.Logger.ErrorContext(ctx, "this machine's clock and the database's differ: no token is issued", "database_ahead", ahead.String())
		}
		if p, err := s.db.MakePartitions(ctx); err != nil && ctx.Err() == nil {
			s.cfg.Logger.ErrorContext(ctx, "audit partitions could not be created", "error", err.Error())
		} else {
			s.stray.Set(float64(p.InDefault))
			if p.InDefault > 0 {
				s.cfg.Logger.ErrorContext(ctx, "audit rows had no partition for their month", "rows", p.InDefault)
			}
			if p.Made > 0 {
				s.cfg.Logger.InfoContext(ctx, "audit partitions created", "count", p.Made)
			}
		}
		s.sweep(ctx)
		if err := s.adminDB.ForgetAnswers(ctx); err != nil && ctx.Err() == nil {
			s.cfg.Logger.ErrorContext(ctx, "old answers could not be deleted", "error", err.Error())
		}
		select {
		case <-ctx.Done():
			tick.Stop()
			return
		case <-tick.C:
		}
	}
}

// sweeper is the actor in the audit when grants of deleted users are revoked.
const sweeper = "usher"

// sweep revokes the grants of users that the application has deleted.
func (s *Service) sweep(ctx context.Context) {
	revoked, err := s.db.Sweep(ctx, sweeper)
	if err != nil && ctx.Err() == nil {
		s.cfg.Logger.ErrorContext(ctx, "the directory could not be swept", "error", err.Error())
	}
	if len(revoked) > 0 {
		s.cfg.Logger.InfoContext(ctx, "grants of deleted users revoked", "count", len(revoked))
	}
}

// seal seals the audit's rows in the background until ctx ends.
func (s *Service) seal(ctx context.Context) {
	tick := time.NewTicker(db.SealEvery)
	defer tick.Stop()
	for {
		if _, err := s.sealer.Seal(ctx); err != nil && ctx.Err() == nil {
			s.cfg.Logger.WarnContext(ctx, "the audit was not sealed this time", "error", err.Error())
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// sealLast seals the last rows, so that changes to them are detected even while no usher
// runs.
func (s *Service) sealLast(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
	defer cancel()
	if _, err := s.sealer.SealNow(ctx); err != nil {
		s.cfg.Logger.WarnContext(ctx, "the last rows of the audit were not sealed", "error", err.Error())
	}
}
