package api

import (
	"context"
	"encoding/json"

	"github.com/usher-auth/usher/internal/admin"
)

// DirectoryStore reads and changes the users, organizations and groups of usher's own
// directory.
type DirectoryStore interface {
	User(ctx context.Context, id string) (admin.User, error)
	Users(ctx context.Context, page admin.Page[string]) ([]admin.User, error)
	AddUser(ctx context.Context, id string, info json.RawMessage, actor admin.Actor) (admin.User, error)
	UpdateUser(ctx context.Context, id string, changes json.RawMessage, actor admin.Actor) (admin.User, error)
	SetUserDisabled(ctx context.Context, id string, disabled bool, actor admin.Actor) (admin.User, error)
	DeleteUser(ctx context.Context, id string, actor admin.Actor) (admin.Deletion, error)
	Sessions(ctx context.Context, user string, page admin.Page[admin.SessionPlace]) ([]admin.Session, error)
	EndSessions(ctx context.Context, user string, actor admin.Actor) (ended int64, err error)

	Organization(ctx context.Context, id string) (admin.Organization, error)
	Organizations(ctx context.Context, page admin.Page[string]) ([]admin.Organization, error)
	AddOrganization(ctx context.Context, id, name string, actor admin.Actor) (admin.Organization, error)
	RenameOrganization(ctx context.Context, id, name string, actor admin.Actor) (admin.Organization, error)
	DeleteOrganization(ctx context.Context, id string, actor admin.Actor) (admin.Deletion, error)
	Group(ctx context.Context, id string) (admin.Group, error)
	Groups(ctx context.Context, page admin.Page[string]) ([]admin.Group, error)
	AddGroup(ctx context.Context, id, organization, name string, actor admin.Actor) (admin.Group, error)
	RenameGroup(ctx context.Context, id, name string, actor admin.Actor) (admin.Group, error)
	DeleteGroup(ctx context.Context, id string, actor admin.Actor) (admin.Deletion, error)
	Members(ctx context.Context, of admin.Subject, page admin.Page[string]) ([]admin.Membership, error)
	AddMember(ctx context.Context, of admin.Subject, user string, actor admin.Actor) (admin.Membership, error)
	RemoveMember(ctx context.Context, of admin.Subject, user string, actor admin.Actor) (groupsLeft int64, err error)
}

func (a *Admin) users(ctx context.Context, c *adminCall) (any, error) {
	return answerList(ctx, a, c, a.store.Users, func(u *admin.User) string { return u.ID })
}

func (a *Admin) addUser(ctx context.Context, c *adminCall) (any, error) {
	var r userRequest
	if err := c.read(&r); err != nil {
		return nil, err
	}
	return a.store.AddUser(ctx, r.ID, r.Info, c.actor)
}

func (a *Admin) updateUser(ctx context.Context, c *adminCall) (any, error) {
	id, err := c.id("user")
	if err != nil {
		return nil, err
	}
	var r userUpdate
	if err := c.read(&r); err != nil {
		return nil, err
	}
	return a.store.UpdateUser(ctx, id, r.Info, c.actor)
}

// rename adapts a method that changes the name of an organization or a group.
func rename[Answer any](kind string, change func(ctx context.Context, id, name string, actor admin.Actor) (Answer, error)) adminHandler {
	return func(ctx context.Context, c *adminCall) (any, error) {
		id, err := c.id(kind)
		if err != nil {
			return nil, err
		}
		var r nameUpdate
		if err := c.read(&r); err != nil {
			return nil, err
		}
		return change(ctx, id, *r.Name, c.actor)
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
	return answerList(ctx, a, c, func(ctx context.Context, page admin.Page[admin.SessionPlace]) ([]admin.Session, error) {
		return a.store.Sessions(ctx, user, page)
	}, func(s *admin.Session) admin.SessionPlace {
		return admin.SessionPlace{CreatedAt: s.CreatedAt, Hash: s.Hash}
	})
}

func (a *Admin) organizations(ctx context.Context, c *adminCall) (any, error) {
	return answerList(ctx, a, c, a.store.Organizations, func(o *admin.Organization) string { return o.ID })
}

func (a *Admin) addOrganization(ctx context.Context, c *adminCall) (any, error) {
	var r organizationRequest
	if err := c.read(&r); err != nil {
		return nil, err
	}
	return a.store.AddOrganization(ctx, r.ID, r.Name, c.actor)
}

func (a *Admin) groups(ctx context.Context, c *adminCall) (any, error) {
	return answerList(ctx, a, c, a.store.Groups, func(g *admin.Group) string { return g.ID })
}

func (a *Admin) addGroup(ctx context.Context, c *adminCall) (any, error) {
	var r groupRequest
	if err := c.read(&r); err != nil {
		return nil, err
	}
	return a.store.AddGroup(ctx, r.ID, r.OrganizationID, r.Name, c.actor)
}

// members lists the members of the organization or the group in the path. The path's
// parameter has the same name as the kind.
func (a *Admin) members(kind string) adminHandler {
	return func(ctx context.Context, c *adminCall) (any, error) {
		id, err := c.id(kind)
		if err != nil {
			return nil, err
		}
		return answerList(ctx, a, c, func(ctx context.Context, page admin.Page[string]) ([]admin.Membership, error) {
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
		var r memberRequest
		if err := c.read(&r); err != nil {
			return nil, err
		}
		return a.store.AddMember(ctx, admin.Subject{Kind: kind, ID: id}, r.UserID, c.actor)
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
