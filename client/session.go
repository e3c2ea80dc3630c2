package client

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"

	"github.com/usher-auth/usher/permissions"
)

// PrepareSession begins a session for a user. usher need not know the user. The
// session is for one goroutine.
func (c *Client) PrepareSession(userID string) *Session {
	return &Session{client: c, body: sessionBody{UserID: userID}}
}

// A Session collects what a user may open, and ends in a token. Its methods
// return it, so that they chain; the first error is kept for
// [Session.Authorize].
//
// It speaks of rooms alone, as Liveblocks' API does: stores are granted in
// usher, and [Client.TokenFor] asks for their tokens.
type Session struct {
	client *Client
	body   sessionBody
	rules  []permissions.Rule
	err    error
}

type sessionBody struct {
	UserID       string          `json:"userId"`
	Organization string          `json:"organizationId,omitempty"`
	Info         json.RawMessage `json:"userInfo,omitempty"`
	Rooms        rooms           `json:"permissions"`
}

// UserInfo sets what other users are shown of this one: a struct or a map that
// encodes to a JSON object of at most 1,024 characters.
func (s *Session) UserInfo(info any) *Session {
	text, err := encode(info)
	if err == nil && !bytes.HasPrefix(text, []byte("{")) {
		err = errors.New("user info is not a JSON object")
	}
	if err != nil {
		s.keep(err)
		return s
	}
	s.body.Info = text
	return s
}

// Organization sets the organization of the session. A key of some
// organizations needs it, and the user to be a member.
func (s *Session) Organization(id string) *Session {
	s.body.Organization = id
	return s
}

// Allow gives access to the rooms that pattern matches: an id, a prefix and
// "*", or "*". For each room, the strongest access of all counts.
func (s *Session) Allow(pattern string, access permissions.Access) *Session {
	p, err := permissions.ParsePattern(permissions.RoomKind, pattern)
	if err == nil {
		_, err = access.MarshalText() // an error for what is no access
	}
	if err != nil {
		s.keep(err)
		return s
	}
	s.rules = append(s.rules, permissions.Rule{Pattern: p, Access: access})
	return s
}

func (s *Session) keep(err error) {
	if s.err == nil {
		s.err = err
	}
}

// Authorize asks for the token; each call for another one. It returns
// [ErrInvalid] with the first error of the other methods, where nothing was
// allowed, and for more than the 10 patterns that one token may hold; and
// [ErrForbidden] for a disabled user, and for what is outside of the key's
// scope.
func (s *Session) Authorize(ctx context.Context) (Token, error) {
	if s.err != nil {
		return Token{}, invalid(s.err)
	}
	if err := checkTexts(s.body.UserID, s.body.Organization); err != nil {
		return Token{}, invalid(err)
	}
	s.body.Rooms = permissions.Cover(s.rules).Rules()
	if len(s.body.Rooms) == 0 {
		return Token{}, invalid(errors.New("the session allows nothing"))
	}
	return s.client.post(ctx, "v2/authorize-user", s.body)
}

// rooms encodes as pattern to Liveblocks' permission names, in its own order:
// usher takes them into the token as they are. All of their clients read these
// names rightly.
type rooms []permissions.Rule

func (r rooms) MarshalJSON() ([]byte, error) {
	b := []byte{'{'}
	for n, rule := range r {
		if n > 0 {
			b = append(b, ',')
		}
		pattern, err := json.Marshal(rule.Pattern.String())
		if err != nil {
			return nil, err
		}
		b = append(b, pattern...)
		if rule.Access == permissions.Full {
			b = append(b, `:["room:write","comments:write"]`...)
		} else {
			b = append(b, `:["room:read","room:presence:write","comments:read"]`...)
		}
	}
	return append(b, '}'), nil
}
