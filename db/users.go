package db

import (
	"context"
	"encoding/json"
	"errors"

	"github.com/jackc/pgx/v5"

	"github.com/usher-auth/usher/internal/admin"
)

// AddUser adds a user to usher's own directory. The id is 1 to 128 UTF-16 code units
// without control characters; info is nil or a JSON object. A duplicate id is
// [admin.ErrExists].
func (db *DB) AddUser(ctx context.Context, id string, info json.RawMessage, actor admin.Actor) (admin.User, error) {
	if err := checkID(admin.UserKind, id); err != nil {
		return admin.User{}, err
	}
	if info != nil {
		if _, err := infoObject(id, info); err != nil {
			return admin.User{}, err
		}
	}
	var user admin.User
	err := db.transactAs(ctx, actor, "add user", func(ctx context.Context, tx pgx.Tx) (err error) {
		user, err = queryRow[admin.User](ctx, tx, statement("add_user"), pgx.StrictNamedArgs{"id": id, "info": info, "actor": actor})
		if violates(err, uniqueViolation, "users_pkey") {
			return refuseExisting(admin.Subject{Kind: admin.UserKind, ID: id})
		}
		if err != nil {
			return err
		}
		return recordUser(ctx, tx, "user.add", user)
	})
	return user, err
}

func infoObject(id string, info json.RawMessage) (object map[string]json.RawMessage, err error) {
	if err := json.Unmarshal(info, &object); err != nil || object == nil {
		return nil, refuse(admin.ErrInvalid, `the info of user %q is not a JSON object: write it as {"name": "Ada"}`, id)
	}
	return object, nil
}

// UpdateUser changes a user's info: members of changes replace those of the info,
// null removes one, and others stay (RFC 7396, first level only). A missing user is
// [admin.ErrNotFound].
func (db *DB) UpdateUser(ctx context.Context, id string, changes json.RawMessage, actor admin.Actor) (admin.User, error) {
	object, err := infoObject(id, changes)
	if err != nil {
		return admin.User{}, err
	}
	unset := []string{}
	for name, value := range object {
		if string(value) == "null" {
			unset = append(unset, name)
		}
	}
	var user admin.User
	err = db.transactAs(ctx, actor, "update user", func(ctx context.Context, tx pgx.Tx) (err error) {
		user, err = queryRow[admin.User](ctx, tx, statement("update_user"), pgx.StrictNamedArgs{"id": id, "set": changes, "unset": unset})
		if errors.Is(err, pgx.ErrNoRows) {
			return refuseMissing(admin.Subject{Kind: admin.UserKind, ID: id})
		}
		if err != nil {
			return err
		}
		return recordUser(ctx, tx, "user.update", user)
	})
	return user, err
}

// User returns a user of usher's own directory, or [admin.ErrNotFound].
func (db *DB) User(ctx context.Context, id string) (admin.User, error) {
	if err := db.checkOwnDirectory(ctx, "get user"); err != nil {
		return admin.User{}, err
	}
	return get[admin.User](ctx, db, admin.Subject{Kind: admin.UserKind, ID: id}, statement("user"))
}

// recordUser records a change without the user's info, which is personal data and
// does not affect access.
func recordUser(ctx context.Context, tx pgx.Tx, action string, user admin.User) error {
	user.Info = nil
	return record(ctx, tx, action, user.ID, user)
}

// Users lists the users of usher's own directory by id.
func (db *DB) Users(ctx context.Context, page admin.Page[string]) ([]admin.User, error) {
	if err := db.checkOwnDirectory(ctx, "list users"); err != nil {
		return nil, err
	}
	return ask[admin.User](ctx, db, "list users", statement("list_users"), pgx.StrictNamedArgs{"after": page.After, "limit": page.Limit})
}

// SetUserDisabled disables a user, or enables one again. A disabled user gets no
// tokens and keeps their grants. Disabling a disabled user keeps the first time. A
// missing user is [admin.ErrNotFound].
func (db *DB) SetUserDisabled(ctx context.Context, id string, disabled bool, actor admin.Actor) (admin.User, error) {
	action := "user.enable"
	if disabled {
		action = "user.disable"
	}
	var user admin.User
	err := db.transactAs(ctx, actor, "set user disabled", func(ctx context.Context, tx pgx.Tx) (err error) {
		user, err = queryRow[admin.User](ctx, tx, statement("set_user_disabled"), pgx.StrictNamedArgs{"id": id, "disabled": disabled})
		if errors.Is(err, pgx.ErrNoRows) {
			return refuseMissing(admin.Subject{Kind: admin.UserKind, ID: id})
		}
		if err != nil {
			return err
		}
		return record(ctx, tx, action, id, nil)
	})
	return user, err
}

// DeleteUser deletes a user, revokes the user's grants, and ends the user's
// memberships and sessions. A missing user is [admin.ErrNotFound].
func (db *DB) DeleteUser(ctx context.Context, id string, actor admin.Actor) (admin.Deletion, error) {
	var gone admin.Deletion
	err := db.transactAs(ctx, actor, "delete user", func(ctx context.Context, tx pgx.Tx) error {
		ended, err := endSessions(ctx, tx, id)
		if err != nil {
			return err
		}
		gone, err = deleteSubject(ctx, tx, admin.Subject{Kind: admin.UserKind, ID: id}, statement("delete_user"))
		if err != nil {
			return err
		}
		gone.SessionsEnded = ended
		return record(ctx, tx, "user.delete", id, gone)
	})
	return gone, err
}
