package db

import (
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"time"

	"github.com/jackc/pgx/v5"
)

var (
	//go:embed queries/add_user.sql
	addUserSQL string
	//go:embed queries/list_users.sql
	listUsersSQL string
	//go:embed queries/set_user_disabled.sql
	setUserDisabledSQL string
	//go:embed queries/delete_user.sql
	deleteUserSQL string
)

// A User is one row of usher's own directory.
type User struct {
	ID         string          `json:"id"`
	Info       json.RawMessage `json:"info,omitempty"` // a JSON object: what becomes the ui claim
	DisabledAt *time.Time      `json:"disabledAt,omitempty"`
	CreatedAt  time.Time       `json:"createdAt"`
	CreatedBy  string          `json:"createdBy"`
}

// AddUser adds a user to usher's own directory. The id is 1 to 128 UTF-16
// units without control characters; info is nil or a JSON object. An id that
// is taken is [ErrExists].
func (db *DB) AddUser(ctx context.Context, id string, info json.RawMessage, actor string) (User, error) {
	if err := checkID(UserKind, id); err != nil {
		return User{}, err
	}
	if info != nil {
		var object map[string]json.RawMessage
		if err := json.Unmarshal(info, &object); err != nil || object == nil {
			return User{}, refuse(ErrInvalid, `the info of user %q is not a JSON object: write it as {"name": "Ada"}`, id)
		}
	}
	var user User
	err := db.transactAs(ctx, actor, "add user", func(ctx context.Context, tx pgx.Tx) (err error) {
		user, err = queryRow[User](ctx, tx, addUserSQL, pgx.StrictNamedArgs{"id": id, "info": info, "actor": actor})
		if violates(err, uniqueViolation, "users_pkey") {
			return refuseExisting(Subject{UserKind, id})
		}
		if err != nil {
			return err
		}
		return record(ctx, tx, "user.add", id, user)
	})
	return user, err
}

// Users lists the users of usher's own directory by id.
func (db *DB) Users(ctx context.Context) ([]User, error) {
	return list[User](ctx, db.pool, "list users", listUsersSQL, nil)
}

// SetUserDisabled disables a user, or enables one again. A disabled user gets
// no token, and keeps what grants there are. Of two calls the first one's time
// stands. A user who is not there is [ErrNotFound].
func (db *DB) SetUserDisabled(ctx context.Context, id string, disabled bool, actor string) (User, error) {
	action := "user.enable"
	if disabled {
		action = "user.disable"
	}
	var user User
	err := db.transactAs(ctx, actor, "set user disabled", func(ctx context.Context, tx pgx.Tx) (err error) {
		user, err = queryRow[User](ctx, tx, setUserDisabledSQL, pgx.StrictNamedArgs{"id": id, "disabled": disabled})
		if errors.Is(err, pgx.ErrNoRows) {
			return refuseMissing(Subject{UserKind, id})
		}
		if err != nil {
			return err
		}
		return record(ctx, tx, action, id, nil)
	})
	return user, err
}

// DeleteUser deletes a user, revokes the user's grants, and ends the user's
// memberships and sessions. A user who is not there is [ErrNotFound].
func (db *DB) DeleteUser(ctx context.Context, id, actor string) (Deletion, error) {
	var gone Deletion
	err := db.transactAs(ctx, actor, "delete user", func(ctx context.Context, tx pgx.Tx) error {
		ended, err := endSessions(ctx, tx, id)
		if err != nil {
			return err
		}
		gone, err = deleteSubject(ctx, tx, Subject{UserKind, id}, deleteUserSQL)
		if err != nil {
			return err
		}
		gone.SessionsEnded = ended
		return record(ctx, tx, "user.delete", id, gone)
	})
	return gone, err
}
