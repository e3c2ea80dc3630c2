package api

import (
	"context"
	"errors"
	"strconv"

	"github.com/usher-auth/usher/internal/admin"
)

// GrantStore reads and changes grants.
type GrantStore interface {
	Grant(ctx context.Context, id int64) (admin.Grant, error)
	Grants(ctx context.Context, f admin.GrantFilter, page admin.Page[int64]) ([]admin.Grant, error)
	AddGrants(ctx context.Context, grants []admin.NewGrant, actor admin.Actor) ([]admin.AddedGrant, error)
	RevokeGrant(ctx context.Context, id int64, reason string, actor admin.Actor) (admin.Grant, error)
}

func (a *Admin) grants(ctx context.Context, c *adminCall) (any, error) {
	var q grantsQuery
	return answerList(ctx, a, c, func(ctx context.Context, page admin.Page[int64]) ([]admin.Grant, error) {
		if everyone := q.SubjectKind == admin.EveryoneKind; (q.SubjectKind == "" || everyone) != (q.SubjectID == "") {
			return nil, badRequest("The parameters subjectKind and subjectId go together; everyone has no id.")
		}
		f := admin.GrantFilter{
			Subject: admin.Subject{Kind: q.SubjectKind, ID: q.SubjectID}, Kind: kindOf(q.ResourceKind), Pattern: q.Pattern, Ended: q.Ended,
		}
		return a.store.Grants(ctx, f, page)
	}, func(g *admin.Grant) int64 { return g.ID }, &q)
}

func (a *Admin) addGrant(ctx context.Context, c *adminCall) (any, error) {
	var r grantRequest
	if err := c.read(&r); err != nil {
		return nil, err
	}
	added, err := a.store.AddGrants(ctx, []admin.NewGrant{r.grant()}, c.actor)
	if e, ok := errors.AsType[*admin.IndexError](err); ok {
		return nil, e.Err // without the index: there is only one grant
	}
	if err != nil {
		return nil, err
	}
	return added[0], nil
}

// addGrants serves POST /v1/admin/grants/batch. It adds all of the grants, or no grant
// if one of them is refused.
func (a *Admin) addGrants(ctx context.Context, c *adminCall) (any, error) {
	var r batchRequest
	if err := c.read(&r); err != nil {
		return nil, err
	}
	if len(r.Grants) == 0 {
		return nil, badRequest("grants is empty.")
	}
	grants := make([]admin.NewGrant, len(r.Grants))
	for i := range r.Grants {
		grants[i] = r.Grants[i].grant()
	}
	added, err := a.store.AddGrants(ctx, grants, c.actor)
	return map[string][]admin.AddedGrant{"grants": added}, err
}

// grantID returns the id of the grant in the path.
func (c *adminCall) grantID() (int64, error) {
	text, err := c.id("grant")
	if err != nil {
		return 0, err
	}
	id, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		return 0, admin.Refuse(admin.ErrNotFound, "there is no grant %q: ids of grants are numbers", text)
	}
	return id, nil
}

func (a *Admin) grant(ctx context.Context, c *adminCall) (any, error) {
	id, err := c.grantID()
	if err == nil {
		err = c.read(&noFields{})
	}
	if err != nil {
		return nil, err
	}
	return a.store.Grant(ctx, id)
}

func (a *Admin) revokeGrant(ctx context.Context, c *adminCall) (any, error) {
	id, err := c.grantID()
	if err != nil {
		return nil, err
	}
	var r revokeRequest
	if err := c.read(&r); err != nil {
		return nil, err
	}
	return a.store.RevokeGrant(ctx, id, r.Reason, c.actor)
}
