package db_test

import (
	"crypto/sha256"
	"strings"
	"testing"
	"time"

	"github.com/usher-auth/usher/db/dbtest"
	"github.com/usher-auth/usher/internal/admin"
)

func TestAdminKeys(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	pg := dbtest.New(t)
	service, owner := open(t, pg), openURL(t, pg.URL)
	hash := sha256.Sum256([]byte("secret"))
	key := admin.NewKey{ID: "abcdefghijkl", SecretHash: hash, Name: "ops", Role: admin.RoleAuditor, ExpiresAt: time.Now().Add(time.Hour)}

	// An attacker who takes the service over gets no key that stays valid afterwards.
	const mayNot = "the role in the database URL may not do that"
	if _, err := service.AddAdminKey(ctx, key, "t"); err == nil || !strings.Contains(err.Error(), mayNot) {
		t.Errorf("AddAdminKey by the service: %v", err)
	}
	added, err := owner.AddAdminKey(ctx, key, "t")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := service.RevokeAdminKey(ctx, key.ID, "t"); err == nil || !strings.Contains(err.Error(), mayNot) {
		t.Errorf("RevokeAdminKey by the service: %v", err)
	}

	found, err := service.AdminKey(ctx, key.ID, hash)
	if err != nil || found.Name != "ops" || found.Role != admin.RoleAuditor || found.Actor() != "admin-key:ops (abcdefghijkl)" {
		t.Errorf("AdminKey() = %+v, %v", found, err)
	}
	for id, wrong := range map[string][sha256.Size]byte{key.ID: sha256.Sum256([]byte("other")), "unknownunkno": hash, "": {}} {
		_, err := service.AdminKey(ctx, id, wrong)
		wantError(t, err, admin.ErrKeyUnknown, "")
	}
	for i, id := range []string{"second000000", "third0000000"} {
		another := key
		another.ID = id
		_, err := owner.AddAdminKey(ctx, another, "t")
		if i == 0 && err != nil {
			t.Errorf("a second key of the name: %v", err)
		}
		if i == 1 {
			wantError(t, err, admin.ErrExists, "two active admin keys are already named")
		}
	}
	bad := key
	bad.ID, bad.Name, bad.Role = "bad000000000", "root", "root"
	_, err = owner.AddAdminKey(ctx, bad, "t")
	wantError(t, err, admin.ErrInvalid, "role")

	listed, err := service.AdminKeys(ctx, false)
	if err != nil || len(listed) != 2 || listed[0].LastUsedAt == nil || listed[0].ID != added.ID || !listed[0].ExpiresAt.Equal(*added.ExpiresAt) {
		t.Errorf("AdminKeys() = %+v, %v", listed, err)
	}
	if revoked, err := owner.RevokeAdminKey(ctx, key.ID, "t"); err != nil || revoked.RevokedAt == nil {
		t.Errorf("RevokeAdminKey() = %+v, %v", revoked, err)
	}
	_, err = service.AdminKey(ctx, key.ID, hash)
	wantError(t, err, admin.ErrKeyRevoked, "")
	_, err = owner.RevokeAdminKey(ctx, key.ID, "t")
	wantError(t, err, admin.ErrNotFound, "no active admin key")
	if all, err := service.AdminKeys(ctx, true); err != nil || len(all) != 2 {
		t.Errorf("AdminKeys(all) = %+v, %v", all, err)
	}
	for _, sql := range []string{
		"UPDATE usher.admin_keys SET role = 'admin'", "UPDATE usher.admin_keys SET revoked_at = NULL, revoked_by = NULL WHERE revoked_at IS NOT NULL",
		"DELETE FROM usher.admin_keys", "TRUNCATE usher.admin_keys",
	} {
		if _, err := pg.Pool.Exec(ctx, sql); err == nil {
			t.Errorf("%s by the owner was not refused", sql)
		}
	}
}
