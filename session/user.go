package session

import (
	"encoding/json"
	"errors"
	"time"
)

// ErrSessionExpired is returned if the user's own session is over: see
// [User.Until].
var ErrSessionExpired = errors.New("session: session has expired")

// A User is who a token is for.
type User struct {
	// ID becomes sub and uid: opaque, at most 128 UTF-16 units.
	ID string
	// Info becomes ui, without white space: a JSON object of at most
	// [MaxInfoUnits], or nil. Larger info is left out of the token.
	Info json.RawMessage
	// Organization becomes org: the active organization of the session, or
	// empty.
	Organization string
	// Session becomes sid: a salted hash of the caller's session, or empty.
	Session string
	// Until bounds the token's life: it never outlives the caller's own
	// session. The zero time is no bound.
	Until time.Time
}
