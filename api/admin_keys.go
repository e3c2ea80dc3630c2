package api

import (
	"context"
	"crypto/sha256"

	"github.com/usher-auth/usher/internal/admin"
	"github.com/usher-auth/usher/internal/identity"
	"github.com/usher-auth/usher/internal/principal"
)

// KeyStore looks up admin keys, reads and changes API keys, and lists signing keys.
type KeyStore interface {
	// AdminKey returns [admin.ErrKeyUnknown], [admin.ErrKeyRevoked] or
	// [admin.ErrKeyExpired] if the key is not valid.
	AdminKey(ctx context.Context, id string, secretHash [sha256.Size]byte) (admin.Key, error)
	APIKeys(ctx context.Context, all bool, page admin.Page[admin.KeyPlace]) ([]admin.APIKey, error)
	AddAPIKey(ctx context.Context, k admin.NewAPIKey, actor admin.Actor) (admin.APIKey, error)
	RevokeAPIKey(ctx context.Context, id string, actor admin.Actor) (admin.APIKey, error)
	ListSigningKeys(ctx context.Context, page admin.Page[admin.SigningKeyPlace]) ([]admin.SigningKeyTimes, error)
}

func (a *Admin) apiKeys(ctx context.Context, c *adminCall) (any, error) {
	var q apiKeysQuery
	return answerList(ctx, a, c, func(ctx context.Context, page admin.Page[admin.KeyPlace]) ([]admin.APIKey, error) {
		return a.store.APIKeys(ctx, q.Revoked, page)
	}, func(k *admin.APIKey) admin.KeyPlace {
		return admin.KeyPlace{Name: k.Name, CreatedAt: k.CreatedAt, ID: k.ID}
	}, &q)
}

type createdAPIKey admin.CreatedAPIKey

// later implements shownOnce: usher does not store the key's text.
func (k createdAPIKey) later() any {
	return struct {
		Note string `json:"note"`
		admin.APIKey
	}{"The key was shown in the first answer to this request and is kept nowhere. If it is lost, revoke it and make another.", k.APIKey}
}

func (a *Admin) addAPIKey(ctx context.Context, c *adminCall) (any, error) {
	// The default routes exclude identify-user: an identity token can name any user,
	// and the scope's patterns do not limit it.
	r := apiKeyRequest{Environment: "live", Routes: []string{principal.RouteAuth, principal.RouteAuthorizeUser}}
	if err := c.read(&r); err != nil {
		return nil, err
	}
	text, shown, err := identity.NewAPIKey(r.Environment)
	if err != nil {
		return nil, err
	}
	added, err := a.store.AddAPIKey(ctx, admin.NewAPIKey{
		ID: shown.ID, SecretHash: shown.Hash, Name: r.Name, Routes: r.Routes, Organizations: r.Organizations,
		Patterns: r.Patterns, ExpiresAt: timeOf(r.ExpiresAt),
	}, c.actor)
	return createdAPIKey{text.Reveal(), added}, err
}

func (a *Admin) revokeAPIKey(ctx context.Context, id string, actor admin.Actor) (admin.APIKey, error) {
	return a.store.RevokeAPIKey(ctx, id, actor)
}

func (a *Admin) signingKeys(ctx context.Context, c *adminCall) (any, error) {
	return answerList(ctx, a, c, a.store.ListSigningKeys, func(k *admin.SigningKeyTimes) admin.SigningKeyPlace {
		return admin.SigningKeyPlace{SignsFrom: k.SignsFrom, ID: k.ID}
	})
}
