package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/usher-auth/usher/db"
	"github.com/usher-auth/usher/internal/admin"
	"github.com/usher-auth/usher/internal/identity"
)

type adminKeyCmd struct {
	Create adminKeyCreateCmd `cmd:"" help:"Create an admin key and print it. It is not shown again."`
	List   adminKeyListCmd   `cmd:"" help:"List the admin keys, without their secrets."`
	Revoke adminKeyRevokeCmd `cmd:"" help:"Revoke an admin key, from the next request on."`
}

type adminKeyCreateCmd struct {
	changeFlags
	Name string        `arg:"" help:"Name of the owner. Two active keys may have the same name, for rotation."`
	Role admin.Role    `required:"" enum:"admin,auditor" placeholder:"admin|auditor" help:"admin: reads and changes everything; auditor: reads everything."`
	Env  string        `default:"live" help:"Label inside the key: ak_live_…"`
	TTL  time.Duration `name:"ttl" placeholder:"DURATION" help:"Lifetime, for example 90d (default: never expires)."`
}

// createdAdminKey is the only output with a key's text.
type createdAdminKey struct {
	Text string `json:"key"`
	admin.Key
}

// Run prints only the key on stdout, for scripts, and a sentence on stderr.
func (c *adminKeyCreateCmd) Run(ctx context.Context, out *console, database *db.DB) error {
	text, key, err := identity.NewAdminKey(c.Env)
	if err != nil {
		return err
	}
	k := admin.NewKey{ID: key.ID, SecretHash: key.Hash, Name: c.Name, Role: c.Role}
	if c.TTL > 0 {
		k.ExpiresAt = time.Now().Add(c.TTL)
	}
	added, err := database.AddAdminKey(ctx, k, c.Actor)
	if err != nil {
		return err
	}
	if !c.JSON {
		fmt.Fprintf(out.err, "created admin key %s (%s); it is not shown again:\n", added.ID, added.Name)
	}
	return c.done(out, createdAdminKey{text.Reveal(), added}, "%s", text.Reveal())
}

type adminKeyListCmd struct {
	listFlags
	All bool `help:"Include revoked keys."`
}

func (c *adminKeyListCmd) Run(ctx context.Context, out *console, database *db.DB) error {
	keys, err := database.AdminKeys(ctx, c.All)
	if err != nil {
		return err
	}
	header := []string{"ID", "NAME", "ROLE", "CREATED", "BY", "EXPIRES", "LAST USED", "REVOKED"}
	return printList(out, &c.listFlags, keys, header, func(k admin.Key) []string {
		return []string{
			k.ID, k.Name, string(k.Role), timeCell(&k.CreatedAt), k.CreatedBy,
			timeCell(k.ExpiresAt), timeCell(k.LastUsedAt), timeCell(k.RevokedAt),
		}
	})
}

type adminKeyRevokeCmd struct {
	changeFlags
	ID string `arg:"" help:"Key ID, from usher adminkey list."`
}

func (c *adminKeyRevokeCmd) Run(ctx context.Context, out *console, database *db.DB) error {
	revoked, err := database.RevokeAdminKey(ctx, c.ID, c.Actor)
	if errors.Is(err, admin.ErrNotFound) {
		keys, listErr := database.AdminKeys(ctx, true)
		if i := slices.IndexFunc(keys, func(k admin.Key) bool { return k.ID == c.ID && k.RevokedAt != nil }); listErr == nil && i >= 0 {
			return c.done(out, keys[i], "admin key %s (%s) was already revoked at %s", keys[i].ID, keys[i].Name, timeCell(keys[i].RevokedAt))
		}
	}
	if err != nil {
		return err
	}
	return c.done(out, revoked, "revoked admin key %s (%s)", revoked.ID, revoked.Name)
}
