package api

import (
	"context"
	"encoding/json"

	"github.com/usher-auth/usher/internal/admin"
)

func (a *Admin) users(ctx context.Context, c *adminCall) (any, error) {
	return answerList(ctx, a, c, nil, a.store.Users, func(u *admin.User) string { return u.ID })
}

func (a *Admin) addUser(ctx context.Context, c *adminCall) (any, error) {
	var id string
	var info json.RawMessage
	if err := c.read(fields{"id": text(&id), "info": object(&info)}); err != nil {
		return nil, err
	}
	return a.store.AddUser(ctx, id, info, c.actor)
}

func (a *Admin) updateUser(ctx context.Context, c *adminCall) (any, error) {
	id, err := c.id("user")
	if err != nil {
		return nil, err
	}
	var info json.RawMessage
	if err := c.read(fields{"info": object(&info)}); err != nil {
		return nil, err
	}
	if info == nil {
		return nil, badRequest("The body must have the field info: what it holds is changed, and null removes a member.")
	}
	return a.store.UpdateUser(ctx, id, info, c.actor)
}

// rename adapts what changes the name of an organization or a group.
func rename[Answer any](kind string, change func(ctx context.Context, id, name string, actor admin.Actor) (Answer, error)) adminHandler {
	return func(ctx context.Context, c *adminCall) (any, error) {
		id, err := c.id(kind)
		if err != nil {
			return nil, err
		}
		var name *string
		if err := c.read(fields{"name": optionalText(&name)}); err != nil {
			return nil, err
		}
		if name == nil {
			return nil, badRequest("The body must have the field name: the empty string removes the name.")
		}
		return change(ctx, id, *name, c.actor)
	}
}

func (a *Admin) disableUser(ctx context.Context, id string, actor admin.Actor) (admin.User, error) {
	return a.store.SetUserDisabled(ctx, id, true, actor)
}

func (a *Admin) enableUser(ctx context.Context, id string, actor admin.Actor) (admin.User, error) {
	return a.store.SetUserDisabled(ctx, id, false, actor)
}

func (a *Admin) endSessions(ctx context.Context, id string, actor admin.Actor) (map[string]int64, error) {
	ended, err := a.store.EndSessions(ctx, id, actor)
	return map[string]int64{"ended": ended}, err
}

func (a *Admin) sessions(ctx context.Context, c *adminCall) (any, error) {
	user, err := c.id("user")
	if err != nil {
		return nil, err
	}
	return answerList(ctx, a, c, nil, func(ctx context.Context, page admin.Page[admin.SessionPlace]) ([]admin.Session, error) {
		return a.store.Sessions(ctx, user, page)
	}, func(s *admin.Session) admin.SessionPlace {
		return admin.SessionPlace{CreatedAt: s.CreatedAt, Hash: s.Hash}
	})
}

func (a *Admin) organizations(ctx context.Context, c *adminCall) (any, error) {
	return answerList(ctx, a, c, nil, a.store.Organizations, func(o *admin.Organization) string { return o.ID })
}

func (a *Admin) addOrganization(ctx context.Context, c *adminCall) (any, error) {
	var id, name string
	if err := c.read(fields{"id": text(&id), "name": text(&name)}); err != nil {
		return nil, err
	}
	return a.store.AddOrganization(ctx, id, name, c.actor)
}

func (a *Admin) groups(ctx context.Context, c *adminCall) (any, error) {
	return answerList(ctx, a, c, nil, a.store.Groups, func(g *admin.Group) string { return g.ID })
}

func (a *Admin) addGroup(ctx context.Context, c *adminCall) (any, error) {
	var id, organization, name string
	if err := c.read(fields{"id": text(&id), "organizationId": text(&organization), "name": text(&name)}); err != nil {
		return nil, err
	}
	return a.store.AddGroup(ctx, id, organization, name, c.actor)
}

// members lists the members of the organization or the group in the path,
// whose parameter is called like its kind.
func (a *Admin) members(kind string) adminHandler {
	return func(ctx context.Context, c *adminCall) (any, error) {
		id, err := c.id(kind)
		if err != nil {
			return nil, err
		}
		return answerList(ctx, a, c, nil, func(ctx context.Context, page admin.Page[string]) ([]admin.Membership, error) {
			return a.store.Members(ctx, admin.Subject{Kind: kind, ID: id}, page)
		}, func(m *admin.Membership) string { return m.UserID })
	}
}

func (a *Admin) addMember(kind string) adminHandler {
	return func(ctx context.Context, c *adminCall) (any, error) {
		id, err := c.id(kind)
		if err != nil {
			return nil, err
		}
		var user string
		if err := c.read(fields{"userId": text(&user)}); err != nil {
			return nil, err
		}
		return a.store.AddMember(ctx, admin.Subject{Kind: kind, ID: id}, user, c.actor)
	}
}

func (a *Admin) removeMember(kind string) adminHandler {
	return func(ctx context.Context, c *adminCall) (any, error) {
		id, err := c.id(kind)
		if err != nil {
			return nil, err
		}
		user, err := c.only("user")
		if err != nil {
			return nil, err
		}
		groupsLeft, err := a.store.RemoveMember(ctx, admin.Subject{Kind: kind, ID: id}, user, c.actor)
		return map[string]int64{"groupsLeft": groupsLeft}, err
	}
}
