package api

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/usher-auth/usher/internal/admin"
	"github.com/usher-auth/usher/internal/identity"
	"github.com/usher-auth/usher/session"
)

func (a *Admin) apiKeys(ctx context.Context, c *adminCall) (any, error) {
	var revoked bool
	return answerList(ctx, a, c, params{"revoked": boolParam(&revoked)},
		func(ctx context.Context, page admin.Page[admin.KeyPlace]) ([]admin.APIKey, error) {
			return a.store.APIKeys(ctx, revoked, page)
		}, func(k *admin.APIKey) admin.KeyPlace {
			return admin.KeyPlace{Name: k.Name, CreatedAt: k.CreatedAt, ID: k.ID}
		})
}

// createdAPIKey is the one answer that shows a key's text.
type createdAPIKey struct {
	Key string `json:"key"`
	admin.APIKey
}

// later implements shownOnce: the text is kept nowhere.
func (k createdAPIKey) later() any {
	return struct {
		Note string `json:"note"`
		admin.APIKey
	}{"The key was shown in the first answer to this request and is kept nowhere. If it is lost, revoke it and make another.", k.APIKey}
}

var apiKeyRoutes = []string{session.RouteAuth, session.RouteAuthorizeUser, session.RouteIdentifyUser}

func (a *Admin) addAPIKey(ctx context.Context, c *adminCall) (any, error) {
	environment := "live"
	// An identity token names any user, and the scope's patterns do not bound it:
	// that route must be asked for by name.
	k := admin.NewAPIKey{Routes: []string{session.RouteAuth, session.RouteAuthorizeUser}}
	err := c.read(fields{
		"name":          text(&k.Name),
		"environment":   text(&environment),
		"routes":        texts(&k.Routes),
		"organizations": texts(&k.Organizations),
		"patterns":      patterns(&k.Patterns),
		"expiresAt":     parsed(timeParam(&k.ExpiresAt)),
	})
	if err != nil {
		return nil, err
	}
	if err := checkAPIKey(&k); err != nil {
		return nil, err
	}
	text, shown, err := identity.NewAPIKey(environment)
	if err != nil {
		return nil, admin.Refuse(admin.ErrInvalid, "environment must be 2 to 12 lower-case letters")
	}
	k.ID, k.SecretHash = shown.ID, shown.Hash
	added, err := a.store.AddAPIKey(ctx, k, c.actor)
	return createdAPIKey{text.Reveal(), added}, err
}

// checkAPIKey says what the database's constraints would say less well.
func checkAPIKey(k *admin.NewAPIKey) error {
	switch {
	case k.Name == "" || len([]rune(k.Name)) > 128:
		return admin.Refuse(admin.ErrInvalid, "name must have 1 to 128 characters")
	case len(k.Patterns.Rooms)+len(k.Patterns.Stores) == 0:
		return admin.Refuse(admin.ErrInvalid, `patterns is missing or empty, and a key without a scope could grant nothing: {"rooms": {"*": "full"}}`)
	case !k.ExpiresAt.IsZero() && !k.ExpiresAt.After(time.Now()):
		return admin.Refuse(admin.ErrInvalid, "expiresAt must be in the future")
	}
	for _, route := range k.Routes {
		if !slices.Contains(apiKeyRoutes, route) {
			return admin.Refuse(admin.ErrInvalid, "there is no route %.64q: the routes are %s", route, strings.Join(apiKeyRoutes, ", "))
		}
	}
	for _, id := range k.Organizations {
		if !session.IsDirectoryID(id) {
			return admin.Refuse(admin.ErrInvalid, "organizations must hold ids of 1 to 128 characters, none of them a control character")
		}
	}
	return nil
}

func (a *Admin) revokeAPIKey(ctx context.Context, id string, actor admin.Actor) (admin.APIKey, error) {
	return a.store.RevokeAPIKey(ctx, id, actor)
}

func (a *Admin) signingKeys(ctx context.Context, c *adminCall) (any, error) {
	return answerList(ctx, a, c, nil, a.store.ListSigningKeys, func(k *admin.SigningKeyTimes) admin.SigningKeyPlace {
		return admin.SigningKeyPlace{SignsFrom: k.SignsFrom, ID: k.ID}
	})
}
