package api

import (
	"context"
	"maps"

	"github.com/usher-auth/usher/admin"
)

func (a *Admin) tokens(ctx context.Context, c *adminCall) (any, error) {
	return a.decisions(ctx, c, &admin.DecisionFilter{Result: admin.ResultIssued}, nil)
}

func (a *Admin) denials(ctx context.Context, c *adminCall) (any, error) {
	f := &admin.DecisionFilter{Result: admin.ResultDenied}
	return a.decisions(ctx, c, f, params{"reason": textParam(&f.Reason)})
}

func (a *Admin) decisions(ctx context.Context, c *adminCall, f *admin.DecisionFilter, more params) (any, error) {
	known := params{
		"userId":   textParam(&f.User),
		"room":     textParam(&f.Room),
		"store":    textParam(&f.Store),
		"callerId": textParam(&f.CallerID),
		"since":    timeParam(&f.Since),
		"until":    timeParam(&f.Until),
	}
	maps.Copy(known, more)
	return answerList(ctx, a, c, known, func(ctx context.Context, page admin.Page[admin.DecisionPlace]) ([]admin.Decision, error) {
		return a.store.Decisions(ctx, *f, page)
	}, func(d *admin.Decision) admin.DecisionPlace {
		return admin.DecisionPlace{IssuedAt: d.IssuedAt, ID: d.ID}
	})
}

func (a *Admin) changes(ctx context.Context, c *adminCall) (any, error) {
	var f admin.ChangeFilter
	return answerList(ctx, a, c, params{
		"actor":  textParam(&f.Actor),
		"action": textParam(&f.Action),
		"target": textParam(&f.Target),
		"since":  timeParam(&f.Since),
		"until":  timeParam(&f.Until),
	}, func(ctx context.Context, page admin.Page[int64]) ([]admin.Change, error) {
		return a.store.Changes(ctx, f, page)
	}, func(change *admin.Change) int64 { return change.ID })
}
