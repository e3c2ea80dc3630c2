package db_test

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/usher-auth/usher/internal/admin"
	"github.com/usher-auth/usher/internal/principal"
)

func TestSessions(t *testing.T) {
	t.Parallel()
	database, pg := newTenant(t)
	token, added, err := database.AddSession(t.Context(), "ada", "acme", time.Hour, "t")
	if err != nil {
		t.Fatal(err)
	}
	if added.UserID != "ada" || added.OrganizationID != "acme" || added.ExpiresAt.Sub(added.CreatedAt) != time.Hour {
		t.Errorf("added = %+v", added)
	}
	if n := len(token.Reveal()); n != 43 { // 256 bits in base64url
		t.Errorf("token has %d characters, want 43", n)
	}
	if printed := fmt.Sprint(token); printed != "[redacted]" {
		t.Errorf("token prints as %s", printed)
	}
	var hash []byte
	if err := pg.Pool.QueryRow(t.Context(), "SELECT token_hash FROM usher.sessions").Scan(&hash); err != nil {
		t.Fatal(err)
	}
	if want := sha256.Sum256([]byte(token.Reveal())); [32]byte(hash) != want {
		t.Errorf("kept %x, want the token's SHA-256 %x", hash, want)
	}
	directory, err := database.Directory(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	p, err := directory.PrincipalBySession(t.Context(), token)
	if err != nil || p.User.ID != "ada" || p.User.Organization != "acme" {
		t.Errorf("principal = %+v, %v", p, err)
	}

	other, second, err := database.AddSession(t.Context(), "bob", "", time.Minute, "t")
	if err != nil {
		t.Fatal(err)
	}
	if other.Reveal() == token.Reveal() {
		t.Error("two sessions have the same token")
	}
	exec(t, pg, `INSERT INTO usher.sessions (token_hash, user_id, created_at, expires_at)
		VALUES (sha256('old'), 'ada', now() - interval '2 hours', now() - interval '1 hour')`)
	all, err := database.Sessions(t.Context(), "", admin.Page[admin.SessionPlace]{})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]admin.Session{second, added}, all); diff != "" {
		t.Errorf("Sessions (-want +got):\n%s", diff)
	}
	if adas, err := database.Sessions(t.Context(), "ada", admin.Page[admin.SessionPlace]{}); err != nil || len(adas) != 1 || adas[0] != added {
		t.Errorf("Sessions of ada = %+v, %v", adas, err)
	}

	if ended, err := database.EndSessions(t.Context(), "ada", "t"); err != nil || ended != 1 {
		t.Errorf("EndSessions = %d, %v; want the one that had not expired", ended, err)
	}
	if _, err := directory.PrincipalBySession(t.Context(), token); !errors.Is(err, principal.ErrSessionUnknown) {
		t.Errorf("an ended session gives %v", err)
	}
	if ended, err := database.EndSessions(t.Context(), "ada", "t"); err != nil || ended != 0 {
		t.Errorf("EndSessions again = %d, %v; want 0", ended, err)
	}
	if _, err := directory.PrincipalBySession(t.Context(), other); err != nil {
		t.Errorf("another user's session: %v", err)
	}
}

func TestSessionErrors(t *testing.T) {
	t.Parallel()
	database, _ := newTenant(t)
	if _, err := database.AddOrganization(t.Context(), "globex", "", actor); err != nil {
		t.Fatal(err)
	}
	add := func(ctx context.Context, user, organization string, ttl time.Duration) error {
		_, _, err := database.AddSession(ctx, user, organization, ttl, "t")
		return err
	}
	wantError(t, add(t.Context(), "nobody", "", time.Hour), admin.ErrNotFound, `there is no user "nobody"`)
	wantError(t, add(t.Context(), "ada", "globex", time.Hour), admin.ErrNotFound, `user "ada" is not a member of organization "globex"`)
	wantError(t, add(t.Context(), "ada", "reviewers", time.Hour), admin.ErrNotFound, `not a member of organization "reviewers"`)
	wantError(t, add(t.Context(), "ada", "", 0), admin.ErrInvalid, "positive life")
	_, err := database.EndSessions(t.Context(), "nobody", "t")
	wantError(t, err, admin.ErrNotFound, `there is no user "nobody"`)
	if none, err := database.Sessions(t.Context(), "", admin.Page[admin.SessionPlace]{}); err != nil || len(none) != 0 {
		t.Errorf("refused sessions left %+v, %v", none, err)
	}
}
