package api

import (
	"context"
	"errors"
	"fmt"
	"strconv"

	"github.com/usher-auth/usher/internal/admin"
	"github.com/usher-auth/usher/internal/strictjson"
)

func (a *Admin) grants(ctx context.Context, c *adminCall) (any, error) {
	var f admin.GrantFilter
	return answerList(ctx, a, c, params{
		"subjectKind":  oneOf(&f.Subject.Kind, admin.UserKind, admin.GroupKind, admin.OrganizationKind, admin.EveryoneKind),
		"subjectId":    textParam(&f.Subject.ID),
		"resourceKind": kindParam(&f.Kind),
		"pattern":      textParam(&f.Pattern),
		"ended":        boolParam(&f.Ended),
	}, func(ctx context.Context, page admin.Page[int64]) ([]admin.Grant, error) {
		if everyone := f.Subject.Kind == admin.EveryoneKind; (f.Subject.Kind == "" || everyone) != (f.Subject.ID == "") {
			return nil, badRequest("The parameters subjectKind and subjectId go together; everyone has no id.")
		}
		return a.store.Grants(ctx, f, page)
	}, func(g *admin.Grant) int64 { return g.ID })
}

// grantFields reads what a grant is to be.
func grantFields(g *admin.NewGrant) fields {
	return fields{
		"subjectKind":    text(&g.Subject.Kind),
		"subjectId":      text(&g.Subject.ID),
		"organizationId": text(&g.Organization),
		"resourceKind":   parsed(kindParam(&g.Kind)),
		"pattern":        text(&g.Pattern),
		"access":         parsed(accessParam(&g.Access)),
		"validFrom":      parsed(timeParam(&g.From)),
		"validUntil":     parsed(timeParam(&g.Until)),
		"reason":         text(&g.Reason),
		"openPrefix":     boolean(&g.OpenPrefix),
	}
}

func (a *Admin) addGrant(ctx context.Context, c *adminCall) (any, error) {
	var g admin.NewGrant
	if err := c.read(grantFields(&g)); err != nil {
		return nil, err
	}
	added, err := a.store.AddGrants(ctx, []admin.NewGrant{g}, c.actor)
	if e, ok := errors.AsType[*admin.IndexError](err); ok {
		return nil, e.Err // there is but one
	}
	if err != nil {
		return nil, err
	}
	return added[0], nil
}

// addGrants serves POST /v1/admin/grants/batch: all of the grants or none.
func (a *Admin) addGrants(ctx context.Context, c *adminCall) (any, error) {
	var grants []admin.NewGrant
	var fault error
	err := c.read(fields{"grants": func(v strictjson.Value) string {
		elements, ok := v.Elements()
		if !ok || len(elements) > maxBatch {
			return fmt.Sprintf("must be a list of at most %d grants", maxBatch)
		}
		grants = make([]admin.NewGrant, len(elements))
		for i, e := range elements {
			body, ok := e.Members()
			if !ok {
				return fmt.Sprintf("must hold objects alone, and grants[%d] is none", i)
			}
			if fault = readFields(body, grantFields(&grants[i]), fmt.Sprintf("grants[%d].", i)); fault != nil {
				return "" // which it says better
			}
		}
		return ""
	}})
	switch {
	case err != nil:
		return nil, err
	case fault != nil:
		return nil, fault
	case len(grants) == 0:
		return nil, badRequest("grants is missing or empty.")
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
		err = c.read(nil)
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
	var reason string
	if err := c.read(fields{"reason": text(&reason)}); err != nil {
		return nil, err
	}
	return a.store.RevokeGrant(ctx, id, reason, c.actor)
}
