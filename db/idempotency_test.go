package db_test

import (
	"context"
	"errors"
	"testing"

	"github.com/usher-auth/usher/db/dbtest"
	"github.com/usher-auth/usher/internal/admin"
)

func TestOnce(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	pg := dbtest.New(t)
	database := open(t, pg)
	request := admin.Request{AdminKeyID: "k", IdempotencyKey: "1", Hash: [32]byte{1}}
	add := func(id, answer string, after error) func(context.Context) ([]byte, error) {
		return func(ctx context.Context) ([]byte, error) {
			if _, err := database.AddUser(ctx, id, nil, "t"); err != nil {
				return nil, err
			}
			return []byte(answer), after
		}
	}
	// An error after the change rolls it back, and is returned unchanged.
	late := errors.New("late")
	if _, _, err := database.Once(ctx, request, add("ada", "x", late)); err != late { //nolint:errorlint // as it is
		t.Errorf("Once() = %v, want %v", err, late)
	}
	_, err := database.User(ctx, "ada")
	wantError(t, err, admin.ErrNotFound, "ada")

	for i, want := range []bool{false, true} {
		answer, again, err := database.Once(ctx, request, add("ada", `{"n":1}`, nil))
		if err != nil || string(answer) != `{"n":1}` || again != want {
			t.Errorf("call %d: %s, %t, %v", i, answer, again, err)
		}
	}
	changed := request
	changed.Hash[0]++
	_, _, err = database.Once(ctx, changed, add("grace", "x", nil))
	wantError(t, err, admin.ErrKeyReused, "use a new key for each change")

	// A refusal inside stores nothing, and keeps its sentinel.
	refused := admin.Request{AdminKeyID: "k", IdempotencyKey: "2"}
	_, _, err = database.Once(ctx, refused, add("ada", "x", nil))
	wantError(t, err, admin.ErrExists, "already exists")

	// After a day, the key can be used again.
	if _, err := pg.Pool.Exec(ctx, "UPDATE usher.idempotency_keys SET created_at = now() - interval '25 hours'"); err != nil {
		t.Fatal(err)
	}
	if err := database.ForgetAnswers(ctx); err != nil {
		t.Fatal(err)
	}
	if _, again, err := database.Once(ctx, changed, add("grace", "x", nil)); err != nil || again {
		t.Errorf("after a day: %t, %v", again, err)
	}
}
