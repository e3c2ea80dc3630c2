package api

import (
	"context"
	"maps"
	"time"

	"github.com/usher-auth/usher/audit"
	"github.com/usher-auth/usher/internal/admin"
	"github.com/usher-auth/usher/permissions"
	"github.com/usher-auth/usher/session"
)

func (a *Admin) tokens(ctx context.Context, c *adminCall) (any, error) {
	return a.decisions(ctx, c, &admin.DecisionFilter{Result: audit.ResultIssued}, nil)
}

func (a *Admin) denials(ctx context.Context, c *adminCall) (any, error) {
	f := &admin.DecisionFilter{Result: audit.ResultDenied}
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
	return answerList(ctx, a, c, known, func(ctx context.Context, page admin.Page[admin.DecisionPlace]) ([]audit.Record, error) {
		return a.store.Decisions(ctx, *f, page)
	}, func(d *audit.Record) admin.DecisionPlace {
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
	}, func(ctx context.Context, page admin.Page[int64]) ([]audit.Change, error) {
		return a.store.Changes(ctx, f, page)
	}, func(change *audit.Change) int64 { return change.ID })
}

// A question is what an auditor asks about.
type question struct {
	user, room, store string
	access            permissions.Access
	at                time.Time
}

// resource returns the one that is asked about.
func (q *question) resource() (permissions.Resource, error) {
	switch {
	case (q.room == "") == (q.store == ""):
		return permissions.Resource{}, badRequest("Ask about one room or one store: by the parameter room or the parameter store.")
	case q.room != "":
		return permissions.Room(q.room), nil
	}
	return permissions.Store(q.store), nil
}

func (a *Admin) whoCan(ctx context.Context, c *adminCall) (any, error) {
	q := question{access: permissions.Read}
	return answerList(ctx, a, c, params{"room": textParam(&q.room), "store": textParam(&q.store), "access": accessParam(&q.access)},
		func(ctx context.Context, page admin.Page[audit.Opening]) ([]audit.Opening, error) {
			r, err := q.resource()
			if err != nil {
				return nil, err
			}
			return a.store.WhoCan(ctx, r, q.access, page)
		}, itself)
}

func (a *Admin) whoCould(ctx context.Context, c *adminCall) (any, error) {
	q := question{access: permissions.Read}
	return answerList(ctx, a, c, params{"room": textParam(&q.room), "store": textParam(&q.store), "access": accessParam(&q.access), "at": timeParam(&q.at)},
		func(ctx context.Context, page admin.Page[audit.Opening]) ([]audit.Opening, error) {
			r, err := q.resource()
			if err == nil && q.at.IsZero() {
				err = errNoTime
			}
			if err != nil {
				return nil, err
			}
			return a.store.WhoCould(ctx, r, q.at, q.access, page)
		}, itself)
}

var errNoTime = badRequest("The parameter at is missing: give the time to look at, like 2030-01-31T18:00:00Z.")

// itself is the place of what has no shorter one.
func itself[Row any](row *Row) Row { return *row }

func (a *Admin) whatCan(ctx context.Context, c *adminCall) (any, error) {
	var q question
	return answerList(ctx, a, c, params{"userId": textParam(&q.user)},
		func(ctx context.Context, page admin.Page[audit.Reach]) ([]audit.Reach, error) {
			if q.user == "" {
				return nil, errNoUser
			}
			return a.store.WhatCan(ctx, q.user, page)
		}, itself)
}

var errNoUser = badRequest("The parameter userId is missing.")

func (a *Admin) holders(ctx context.Context, c *adminCall) (any, error) {
	var q question
	return answerList(ctx, a, c, params{"room": textParam(&q.room), "store": textParam(&q.store), "at": timeParam(&q.at)},
		func(ctx context.Context, page admin.Page[admin.HolderPlace]) ([]audit.Holder, error) {
			r, err := q.resource()
			if err == nil && q.at.IsZero() {
				err = errNoTime
			}
			if err != nil {
				return nil, err
			}
			return a.store.Holders(ctx, r, q.at, page)
		}, func(h *audit.Holder) admin.HolderPlace {
			return admin.HolderPlace{UserID: h.UserID, IssuedAt: h.IssuedAt, JTI: h.JTI}
		})
}

// explain serves POST /v1/admin/explain: what token a user would get.
func (a *Admin) explain(ctx context.Context, c *adminCall) (any, error) {
	var user, organization string
	var r session.Request
	err := c.read(fields{
		"userId": text(&user), "organizationId": text(&organization),
		"room": text(&r.Room), "store": text(&r.Store), "audience": text(&r.Audience),
	})
	if err != nil {
		return nil, err
	}
	if !session.IsDirectoryID(user) || organization != "" && !session.IsDirectoryID(organization) {
		return nil, badRequest("userId, and organizationId where it is given, must be 1 to 128 characters without control characters.")
	}
	return Explain(ctx, a.directory, a.api.cfg.Issuer, user, organization, r)
}

// why serves GET /v1/admin/audit/why: which grants let a user in, or do not.
func (a *Admin) why(ctx context.Context, c *adminCall) (any, error) {
	var q question
	if err := c.readParams(params{"userId": textParam(&q.user), "room": textParam(&q.room), "store": textParam(&q.store)}); err != nil {
		return nil, err
	}
	r, err := q.resource()
	if err == nil && q.user == "" {
		err = errNoUser
	}
	if err != nil {
		return nil, err
	}
	return a.store.ExplainAccess(ctx, q.user, r)
}
