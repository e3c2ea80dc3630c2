package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/usher-auth/usher/db"
	"github.com/usher-auth/usher/internal/admin"
	"github.com/usher-auth/usher/internal/identity"
	"github.com/usher-auth/usher/permissions"
	"github.com/usher-auth/usher/session"
)

type apiKeyCmd struct {
	Create apiKeyCreateCmd `cmd:"" help:"Create an API key for another backend and print it. It is not shown again."`
	List   apiKeyListCmd   `cmd:"" help:"List the API keys, without their secrets."`
	Revoke apiKeyRevokeCmd `cmd:"" help:"Revoke an API key, from the next request on."`
}

type apiKeyCreateCmd struct {
	changeFlags
	Name   string        `arg:"" help:"Name, such as the purpose. Two active keys may have the same name, for rotation."`
	Env    string        `default:"live" help:"Label inside the key: sk_live_…"`
	Routes []string      `default:"auth,authorize-user" enum:"auth,authorize-user,identify-user" help:"Routes that it may call: auth, authorize-user or identify-user."`
	Room   []string      `sep:"none" placeholder:"PATTERN=read|full" help:"Rooms that it may give access to, and the maximum access. Repeatable."`
	Store  []string      `sep:"none" placeholder:"PATTERN=read|full" help:"Stores that it may give access to, and the maximum access. Repeatable."`
	Org    []string      `placeholder:"ID" help:"Restrict the key to members of these organizations. Each request must then name one."`
	TTL    time.Duration `name:"ttl" placeholder:"DURATION" help:"Lifetime, for example 90d (default: never expires)."`
}

// Run prints only the key on stdout, for scripts, and a sentence on stderr.
func (c *apiKeyCreateCmd) Run(ctx context.Context, out *console, database *db.DB) error {
	scope, err := parseScope(c.Room, c.Store)
	if err != nil {
		return err
	}
	text, key, err := identity.NewAPIKey(c.Env)
	if err != nil {
		return err
	}
	k := admin.NewAPIKey{
		ID: key.ID, SecretHash: key.Hash, Name: c.Name, Routes: c.Routes, Organizations: c.Org, Patterns: scope,
	}
	if c.TTL > 0 {
		k.ExpiresAt = time.Now().Add(c.TTL)
	}
	added, err := database.AddAPIKey(ctx, k, c.Actor)
	if err != nil {
		return err
	}
	if !c.JSON {
		fmt.Fprintf(out.err, "created API key %s (%s); it is not shown again:\n", added.ID, added.Name)
	}
	return c.done(out, admin.CreatedAPIKey{Key: text.Reveal(), APIKey: added}, "%s", text.Reveal())
}

// parseScope reads rules of the form pattern=access.
func parseScope(rooms, stores []string) (session.Patterns, error) {
	var scope session.Patterns
	parse := func(kind permissions.Kind, texts []string) (rules []permissions.Rule, err error) {
		for _, text := range texts {
			at := strings.LastIndexByte(text, '=')
			if at < 0 {
				return nil, fmt.Errorf("--%s %q: write it as pattern=read or pattern=full", kind, text)
			}
			pattern, err := permissions.ParsePattern(kind, text[:at])
			if err != nil {
				return nil, err
			}
			access, err := permissions.ParseAccess(text[at+1:])
			if err != nil || access == permissions.None {
				return nil, fmt.Errorf("--%s %q: the access must be read or full", kind, text)
			}
			rules = append(rules, permissions.Rule{Pattern: pattern, Access: access})
		}
		return rules, nil
	}
	var err error
	if scope.Rooms, err = parse(permissions.RoomKind, rooms); err != nil {
		return scope, err
	}
	if scope.Stores, err = parse(permissions.StoreKind, stores); err != nil {
		return scope, err
	}
	if len(scope.Rooms)+len(scope.Stores) == 0 {
		return scope, fmt.Errorf("a key without a scope cannot grant anything: give --room or --store, for example --room '*=full'")
	}
	return scope, nil
}

type apiKeyListCmd struct {
	listFlags
	All bool `help:"Include revoked keys."`
}

func (c *apiKeyListCmd) Run(ctx context.Context, out *console, database *db.DB) error {
	keys, err := database.APIKeys(ctx, c.All, admin.Page[admin.KeyPlace]{})
	if err != nil {
		return err
	}
	header := []string{"ID", "NAME", "ROUTES", "MAY GRANT", "ORGS", "CREATED", "EXPIRES", "LAST USED", "REVOKED"}
	return printList(out, &c.listFlags, keys, header, func(k admin.APIKey) []string {
		patterns, _ := json.Marshal(k.Patterns) // rules always marshal
		return []string{
			k.ID, k.Name, strings.Join(k.Routes, ","), string(patterns), strings.Join(k.Organizations, ","),
			timeCell(&k.CreatedAt), timeCell(k.ExpiresAt), timeCell(k.LastUsedAt), timeCell(k.RevokedAt),
		}
	})
}

type apiKeyRevokeCmd struct {
	changeFlags
	ID string `arg:"" help:"Key ID, from usher apikey list."`
}

func (c *apiKeyRevokeCmd) Run(ctx context.Context, out *console, database *db.DB) error {
	revoked, err := database.RevokeAPIKey(ctx, c.ID, c.Actor)
	if errors.Is(err, admin.ErrNotFound) {
		keys, listErr := database.APIKeys(ctx, true, admin.Page[admin.KeyPlace]{})
		if i := slices.IndexFunc(keys, func(k admin.APIKey) bool { return k.ID == c.ID && k.RevokedAt != nil }); listErr == nil && i >= 0 {
			return c.done(out, keys[i], "API key %s (%s) was already revoked at %s", keys[i].ID, keys[i].Name, timeCell(keys[i].RevokedAt))
		}
	}
	if err != nil {
		return err
	}
	return c.done(out, revoked, "revoked API key %s (%s)", revoked.ID, revoked.Name)
}
