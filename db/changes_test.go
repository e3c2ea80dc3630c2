package db_test

import (
	"context"
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/usher-auth/usher/db/dbtest"
	"github.com/usher-auth/usher/internal/admin"
	"github.com/usher-auth/usher/internal/principal"
	"github.com/usher-auth/usher/permissions"
	"github.com/usher-auth/usher/session"
)

// Every change writes a row with its actor, in its own transaction. A refused change
// writes none.
func TestEveryChangeIsRecorded(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	pg := dbtest.New(t)
	service, owner := open(t, pg), openURL(t, pg.URL)
	acme, reviewers := admin.Subject{Kind: admin.OrganizationKind, ID: "acme"}, admin.Subject{Kind: admin.GroupKind, ID: "reviewers"}
	grant := admin.NewGrant{Subject: acme, Kind: permissions.RoomKind, Pattern: "acme:*", Access: permissions.Read}
	key := admin.NewAPIKey{
		ID: "abcdefghijkl", Name: "billing", Routes: []string{principal.RouteAuth}, Patterns: session.Patterns{Rooms: []permissions.Rule{}},
	}
	adminKey := admin.NewKey{ID: "ABCDEFGHIJKL", Name: "ops", Role: admin.RoleAuditor}
	var grantID int64
	for i, c := range []struct {
		action, target string
		change         func(actor admin.Actor) error
	}{
		{"user.add", "ada", func(actor admin.Actor) error {
			_, err := service.AddUser(ctx, "ada", json.RawMessage(`{"name":"Ada Lovelace"}`), actor)
			return err
		}},
		{"user.disable", "ada", func(actor admin.Actor) error { _, err := service.SetUserDisabled(ctx, "ada", true, actor); return err }},
		{"user.enable", "ada", func(actor admin.Actor) error { _, err := service.SetUserDisabled(ctx, "ada", false, actor); return err }},
		{"organization.add", "acme", func(actor admin.Actor) error { _, err := service.AddOrganization(ctx, "acme", "", actor); return err }},
		{"group.add", "reviewers", func(actor admin.Actor) error {
			_, err := service.AddGroup(ctx, "reviewers", "acme", "", actor)
			return err
		}},
		{"member.add", "acme", func(actor admin.Actor) error { _, err := service.AddMember(ctx, acme, "ada", actor); return err }},
		{"member.add", "reviewers", func(actor admin.Actor) error { _, err := service.AddMember(ctx, reviewers, "ada", actor); return err }},
		{"session.add", "ada", func(actor admin.Actor) error {
			_, _, err := service.AddSession(ctx, "ada", "acme", time.Hour, actor)
			return err
		}},
		{"session.end", "ada", func(actor admin.Actor) error { _, err := service.EndSessions(ctx, "ada", actor); return err }},
		{"grant.add", "1", func(actor admin.Actor) error {
			added, _, err := service.AddGrant(ctx, grant, actor)
			grantID = added.ID
			return err
		}},
		{"grant.revoke", "1", func(actor admin.Actor) error { _, err := service.RevokeGrant(ctx, grantID, "", actor); return err }},
		{"api_key.add", key.ID, func(actor admin.Actor) error { _, err := service.AddAPIKey(ctx, key, actor); return err }},
		{"api_key.revoke", key.ID, func(actor admin.Actor) error { _, err := service.RevokeAPIKey(ctx, key.ID, actor); return err }},
		{"member.remove", "acme", func(actor admin.Actor) error { _, err := service.RemoveMember(ctx, acme, "ada", actor); return err }},
		{"group.delete", "reviewers", func(actor admin.Actor) error { _, err := service.DeleteGroup(ctx, "reviewers", actor); return err }},
		{"organization.delete", "acme", func(actor admin.Actor) error { _, err := service.DeleteOrganization(ctx, "acme", actor); return err }},
		{"user.delete", "ada", func(actor admin.Actor) error { _, err := service.DeleteUser(ctx, "ada", actor); return err }},
		{"admin_key.add", adminKey.ID, func(actor admin.Actor) error { _, err := owner.AddAdminKey(ctx, adminKey, actor); return err }},
		{"admin_key.revoke", adminKey.ID, func(actor admin.Actor) error { _, err := owner.RevokeAdminKey(ctx, adminKey.ID, actor); return err }},
		{"signing_key.add", "", func(actor admin.Actor) error {
			_, err := owner.EnsureSigningKey(ctx, session.EdDSA, newKeyEncryption(t), actor)
			return err
		}},
	} {
		actor := admin.Actor(fmt.Sprintf("actor %d", i))
		if err := c.change(actor); err != nil {
			t.Fatalf("%s: %v", c.action, err)
		}
		type change struct{ Actor, Action, Target string }
		var got change
		err := pg.Pool.QueryRow(ctx, "SELECT actor, action, target FROM audit.changes ORDER BY id DESC LIMIT 1").Scan(&got.Actor, &got.Action, &got.Target)
		if err != nil {
			t.Fatal(err)
		}
		if c.target == "" {
			got.Target = "" // a kid
		}
		if diff := cmp.Diff(change{string(actor), c.action, c.target}, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", c.action, diff)
		}
	}

	var names int
	if err := pg.Pool.QueryRow(ctx, "SELECT count(*) FROM audit.changes c WHERE c::text LIKE '%Lovelace%'").Scan(&names); err != nil || names > 0 {
		t.Errorf("%d changes name the user, %v; want none to hold personal data", names, err)
	}

	before := countChanges(ctx, t, pg)
	if _, err := service.DeleteUser(ctx, "nobody", "t"); err == nil {
		t.Error("DeleteUser of nobody was not refused")
	}
	if _, err := service.AddUser(ctx, "ada", nil, ""); err == nil {
		t.Error("AddUser without an actor was not refused")
	}
	if after := countChanges(ctx, t, pg); after != before {
		t.Errorf("what was refused left %d rows", after-before)
	}
	for _, sql := range []string{"UPDATE usher.changes SET actor = 'eve'", "DELETE FROM usher.changes", "TRUNCATE usher.changes"} {
		if _, err := pg.Pool.Exec(ctx, sql); err == nil {
			t.Errorf("%s by the owner was not refused", sql)
		}
	}
}

func countChanges(ctx context.Context, t *testing.T, pg *dbtest.DB) (n int) {
	t.Helper()
	if err := pg.Pool.QueryRow(ctx, "SELECT count(*) FROM audit.changes").Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}
