package client

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"

	"github.com/usher-auth/usher/internal/liveblocks"
	"github.com/usher-auth/usher/permissions"
)

// PrepareSession begins a session for a user, who may be unknown to usher. A session may be
// used by one goroutine only.
func (c *Client) PrepareSession(userID string) *Session {
	return &Session{client: c, body: sessionBody{UserID: userID}}
}

// A Session collects what a user may open, for one token. Its methods return the Session,
// so that calls can be chained. [Session.Authorize] returns their first error.
//
// It is only for rooms, like Liveblocks' API. To give access to stores, add grants in usher
// and request tokens with [Client.TokenFor].
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

// UserInfo sets the user's info, which is shown to other users: a struct or a map that
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

// Organization sets the organization of the session. It is required with a key that is
// limited to some organizations, and the user must then be a member.
func (s *Session) Organization(id string) *Session {
	s.body.Organization = id
	return s
}

// Allow gives access to the rooms that match pattern: an id, a prefix followed by "*", or
// "*". For each room, the strongest access counts.
func (s *Session) Allow(pattern string, access permissions.Access) *Session {
	p, err := permissions.ParsePattern(permissions.RoomKind, pattern)
	if err == nil {
		_, err = access.MarshalText() // fails if access is not valid
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

// Authorize requests the token. Each call requests a new one. It returns [ErrInvalid] with
// the first error of the other methods, if nothing was allowed, or if there are more than
// 10 patterns, the maximum for one token. It returns [ErrForbidden] for a disabled user, or
// if the session is outside of the key's scope.
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

// rooms encodes as a JSON object from pattern to Liveblocks' permission names, in its own
// order, because usher copies it into the token.
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
		b = liveblocks.AppendNames(append(append(b, pattern...), ':'), rule.Access)
	}
	return append(b, '}'), nil
}
