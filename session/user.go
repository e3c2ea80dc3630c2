package session

import (
	"encoding/json"
	"errors"
	"time"
)

// ErrSessionExpired is returned if the user's own session is over. See [User.Until].
var ErrSessionExpired = errors.New("session: session has expired")

// A User is the user that a token is for.
type User struct {
	// ID becomes sub and uid. It has at most 128 UTF-16 code units.
	ID string
	// Info becomes ui, without white space. It is nil, or a JSON object of at most
	// [MaxInfoUnits]; larger info is left out of the token.
	Info json.RawMessage
	// Organization becomes org: the session's active organization. It may be empty.
	Organization string
	// Session becomes sid: a salted hash of the caller's session. It may be empty.
	Session string
	// Until is the latest time at which the token expires: the end of the caller's own
	// session. The zero time means no limit.
	Until time.Time
}
