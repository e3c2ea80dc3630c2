package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"unicode/utf16"

	"github.com/usher-auth/usher/db"
	"github.com/usher-auth/usher/internal/admin"
	"github.com/usher-auth/usher/session"
)

type userCmd struct {
	Add     userAddCmd     `cmd:"" help:"Add a user."`
	Update  userUpdateCmd  `cmd:"" help:"Change a user's name, avatar, color or other info."`
	List    userListCmd    `cmd:"" help:"List the users."`
	Disable userDisableCmd `cmd:"" help:"Stop issuing tokens to a user."`
	Enable  userEnableCmd  `cmd:"" help:"Issue tokens to a disabled user again."`
	Delete  userDeleteCmd  `cmd:"" help:"Delete a user, and end the user's grants, memberships and sessions."`
}

// infoFlags are the parts of a user's info.
type infoFlags struct {
	Name   string `help:"Display name, shown to other users in a room."`
	Avatar string `placeholder:"URL" help:"Picture, shown to other users in a room."`
	Color  string `help:"Color, shown to other users in a room."`
	Info   string `placeholder:"JSON" help:"More properties, as a JSON object. No secrets: every client in the room sees it."`
}

type userAddCmd struct {
	changeFlags
	ID string `arg:"" help:"User ID (becomes sub), at most 128 UTF-16 code units."`
	infoFlags
}

func (c *userAddCmd) Run(ctx context.Context, out *console, database *db.DB) error {
	info, err := c.info()
	if err != nil {
		return err
	}
	user, err := database.AddUser(ctx, c.ID, info, c.Actor)
	if errors.Is(err, admin.ErrExists) {
		return fmt.Errorf("%w. To change it, run: usher user update %s", err, cell(c.ID))
	}
	if err != nil {
		return err
	}
	warnOfLongInfo(out, &user)
	return c.done(out, user, "added user %s", user.ID)
}

type userUpdateCmd struct {
	changeFlags
	ID string `arg:"" help:"ID, from the list command."`
	infoFlags
	Unset []string `placeholder:"NAME" help:"Properties to remove, for example avatar."`
}

func (c *userUpdateCmd) Run(ctx context.Context, out *console, database *db.DB) error {
	info, err := c.info()
	if err != nil {
		return err
	}
	changes := map[string]json.RawMessage{}
	if info != nil {
		if err := json.Unmarshal(info, &changes); err != nil {
			return err
		}
	}
	for _, name := range c.Unset {
		changes[name] = json.RawMessage("null")
	}
	if len(changes) == 0 {
		return errors.New("nothing to change: give --name, --avatar, --color, --info or --unset")
	}
	if info, err = json.Marshal(changes); err != nil {
		return err
	}
	user, err := database.UpdateUser(ctx, c.ID, info, c.Actor)
	if err != nil {
		return err
	}
	warnOfLongInfo(out, &user)
	return c.done(out, user, "updated user %s", user.ID)
}

func warnOfLongInfo(out *console, user *admin.User) {
	if n := infoUnits(user.Info); n > session.MaxInfoUnits {
		out.warn(fmt.Sprintf("the info of user %q has %d characters, over the limit of %d: tokens will not contain it", user.ID, n, session.MaxInfoUnits))
	}
}

// info joins the flags into one object. --name, --avatar and --color take
// precedence over --info.
func (c *infoFlags) info() (json.RawMessage, error) {
	object := map[string]json.RawMessage{}
	if c.Info != "" {
		if err := json.Unmarshal([]byte(c.Info), &object); err != nil || object == nil {
			return nil, fmt.Errorf(`--info %.100q is not a JSON object: write it as '{"team": "blue"}'`, c.Info)
		}
	}
	for name, value := range map[string]string{"name": c.Name, "avatar": c.Avatar, "color": c.Color} {
		if value == "" {
			continue
		}
		text, err := json.Marshal(value)
		if err != nil {
			return nil, err
		}
		object[name] = text
	}
	if len(object) == 0 {
		return nil, nil
	}
	return json.Marshal(object)
}

// infoUnits measures info like tokens do: without spaces, in UTF-16 code units.
func infoUnits(info json.RawMessage) int {
	var compact bytes.Buffer
	if err := json.Compact(&compact, info); err != nil {
		return 0 // no info
	}
	return len(utf16.Encode([]rune(compact.String())))
}

type userListCmd struct{ listFlags }

func (c *userListCmd) Run(ctx context.Context, out *console, database *db.DB) error {
	users, err := database.Users(ctx, admin.Page[string]{})
	if err != nil {
		return err
	}
	return printList(out, &c.listFlags, users, []string{"ID", "NAME", "DISABLED", "CREATED", "BY"}, func(u admin.User) []string {
		var info struct{ Name any }
		name := ""
		if err := json.Unmarshal(u.Info, &info); err == nil && info.Name != nil {
			name = fmt.Sprint(info.Name)
		}
		return []string{u.ID, name, timeCell(u.DisabledAt), timeCell(&u.CreatedAt), u.CreatedBy}
	})
}

type userDisableCmd struct {
	changeFlags
	ID string `arg:"" help:"ID, from the list command."`
}

func (c *userDisableCmd) Run(ctx context.Context, out *console, database *db.DB) error {
	user, err := database.SetUserDisabled(ctx, c.ID, true, c.Actor)
	if err != nil {
		return err
	}
	return c.done(out, user, "user %s is disabled since %s", user.ID, timeCell(user.DisabledAt))
}

type userEnableCmd struct {
	changeFlags
	ID string `arg:"" help:"ID, from the list command."`
}

func (c *userEnableCmd) Run(ctx context.Context, out *console, database *db.DB) error {
	user, err := database.SetUserDisabled(ctx, c.ID, false, c.Actor)
	if err != nil {
		return err
	}
	return c.done(out, user, "user %s is enabled", user.ID)
}

type userDeleteCmd struct {
	changeFlags
	ID string `arg:"" help:"ID, from the list command."`
}

func (c *userDeleteCmd) Run(ctx context.Context, out *console, database *db.DB) error {
	gone, err := database.DeleteUser(ctx, c.ID, c.Actor)
	if err != nil {
		return err
	}
	return c.done(out, deleted{c.ID, gone}, "deleted user %s: %s", c.ID, wentAlong(gone))
}
