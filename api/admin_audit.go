package api

import (
	"context"
	"time"

	"github.com/usher-auth/usher/audit"
	"github.com/usher-auth/usher/internal/admin"
	"github.com/usher-auth/usher/permissions"
	"github.com/usher-auth/usher/session"
)

// AuditStore answers questions about the audit.
type AuditStore interface {
	Decisions(ctx context.Context, f admin.DecisionFilter, page admin.Page[admin.DecisionPlace]) ([]audit.Record, error)
	Changes(ctx context.Context, f admin.ChangeFilter, page admin.Page[int64]) ([]audit.Change, error)
	WhoCan(ctx context.Context, r permissions.Resource, access permissions.Access, page admin.Page[audit.Opening]) ([]audit.Opening, error)
	WhoCould(ctx context.Context, r permissions.Resource, at time.Time, access permissions.Access, page admin.Page[audit.Opening]) ([]audit.Opening, error)
	WhatCan(ctx context.Context, user string, page admin.Page[audit.Reach]) ([]audit.Reach, error)
	Holders(ctx context.Context, r permissions.Resource, at time.Time, page admin.Page[admin.HolderPlace]) ([]audit.Holder, error)
	Why(ctx context.Context, user string, r permissions.Resource) (audit.Why, error)
}

func (a *Admin) tokens(ctx context.Context, c *adminCall) (any, error) {
	var q tokensQuery
	return answerList(ctx, a, c, func(ctx context.Context, page admin.Page[admin.DecisionPlace]) ([]audit.Record, error) {
		return a.store.Decisions(ctx, q.filter(audit.ResultIssued), page)
	}, placeOfDecision, &q)
}

func (a *Admin) denials(ctx context.Context, c *adminCall) (any, error) {
	var q tokensQuery
	var more denialsQuery
	return answerList(ctx, a, c, func(ctx context.Context, page admin.Page[admin.DecisionPlace]) ([]audit.Record, error) {
		f := q.filter(audit.ResultDenied)
		f.Reason = more.Reason
		return a.store.Decisions(ctx, f, page)
	}, placeOfDecision, &q, &more)
}

func placeOfDecision(d *audit.Record) admin.DecisionPlace {
	return admin.DecisionPlace{IssuedAt: d.IssuedAt, ID: d.ID}
}

func (a *Admin) changes(ctx context.Context, c *adminCall) (any, error) {
	var q changesQuery
	return answerList(ctx, a, c, func(ctx context.Context, page admin.Page[int64]) ([]audit.Change, error) {
		f := admin.ChangeFilter{Actor: q.Actor, Action: q.Action, Target: q.Target, Since: timeOf(q.Since), Until: timeOf(q.Until)}
		return a.store.Changes(ctx, f, page)
	}, func(change *audit.Change) int64 { return change.ID }, &q)
}

func (a *Admin) whoCan(ctx context.Context, c *adminCall) (any, error) {
	var of resourceQuery
	var q accessQuery
	return answerList(ctx, a, c, func(ctx context.Context, page admin.Page[audit.Opening]) ([]audit.Opening, error) {
		r, err := of.resource()
		if err != nil {
			return nil, err
		}
		return a.store.WhoCan(ctx, r, q.access(), page)
	}, itself, &of, &q)
}

func (a *Admin) whoCould(ctx context.Context, c *adminCall) (any, error) {
	var of resourceQuery
	var q accessQuery
	var when timeQuery
	return answerList(ctx, a, c, func(ctx context.Context, page admin.Page[audit.Opening]) ([]audit.Opening, error) {
		r, err := of.resource()
		if err != nil {
			return nil, err
		}
		return a.store.WhoCould(ctx, r, when.at(), q.access(), page)
	}, itself, &of, &q, &when)
}

// itself returns the place of a row in a list: the whole row, if it has no shorter one.
func itself[Row any](row *Row) Row { return *row }

func (a *Admin) whatCan(ctx context.Context, c *adminCall) (any, error) {
	var q userQuery
	return answerList(ctx, a, c, func(ctx context.Context, page admin.Page[audit.Reach]) ([]audit.Reach, error) {
		return a.store.WhatCan(ctx, q.UserID, page)
	}, itself, &q)
}

func (a *Admin) holders(ctx context.Context, c *adminCall) (any, error) {
	var of resourceQuery
	var when timeQuery
	return answerList(ctx, a, c, func(ctx context.Context, page admin.Page[admin.HolderPlace]) ([]audit.Holder, error) {
		r, err := of.resource()
		if err != nil {
			return nil, err
		}
		return a.store.Holders(ctx, r, when.at(), page)
	}, func(h *audit.Holder) admin.HolderPlace {
		return admin.HolderPlace{UserID: h.UserID, IssuedAt: h.IssuedAt, JTI: h.JTI}
	}, &of, &when)
}

// preview serves POST /v1/admin/preview: the token that a user would get.
func (a *Admin) preview(ctx context.Context, c *adminCall) (any, error) {
	var r previewRequest
	if err := c.read(&r); err != nil {
		return nil, err
	}
	request := session.Request{Room: r.Room, Store: r.Store, Audience: r.Audience}
	return Preview(ctx, a.directory, a.api.cfg.Issuer, r.UserID, r.OrganizationID, request)
}

// why serves GET /v1/admin/audit/why: which grants concern a user and a room or store,
// and whether they count.
func (a *Admin) why(ctx context.Context, c *adminCall) (any, error) {
	var of resourceQuery
	var q userQuery
	if err := c.readQuery(&of, &q); err != nil {
		return nil, err
	}
	r, err := of.resource()
	if err != nil {
		return nil, err
	}
	return a.store.Why(ctx, q.UserID, r)
}
