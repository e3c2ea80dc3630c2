package client

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
)

// What a caller may branch on, with [errors.Is].
var (
	// ErrInvalid says that the request can never be served as it is: an id, a
	// pattern or an audience that is none. Some of it is found before anything
	// is sent.
	ErrInvalid = errors.New("client: invalid request")
	// ErrUnauthorized says that the API key is unknown, revoked or expired.
	ErrUnauthorized = errors.New("client: API key refused")
	// ErrForbidden says that there is no token for this user and request.
	ErrForbidden = errors.New("client: access refused")
	// ErrUnavailable says that usher was not reached, did not answer in time,
	// or cannot answer now: a fault to try again later, never a refusal.
	ErrUnavailable = errors.New("client: usher is unavailable")
)

// An Error is an answer that is no token.
type Error struct {
	Status int // of the HTTP response
	// Code is the stable slug of the answer, such as "forbidden", or
	// Liveblocks' own, such as "UNPROCESSABLE_ENTITY", for a [Session]. It is
	// empty where the answer is not usher's, but a proxy's.
	Code      string
	Reason    string // a sentence for the developer
	RequestID string // also in usher's log and in its audit; may be empty
}

func (e *Error) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "client: usher answered %d", e.Status)
	if e.Code != "" {
		b.WriteString(" " + e.Code)
	}
	if e.Reason != "" {
		b.WriteString(": " + e.Reason)
	}
	if e.RequestID != "" {
		b.WriteString(" (request " + e.RequestID + ")")
	}
	return b.String()
}

// Is reports whether e is of the kind of [ErrInvalid], [ErrUnauthorized],
// [ErrForbidden] or [ErrUnavailable]. At most one of them fits.
func (e *Error) Is(target error) bool {
	switch {
	// Liveblocks' API has 403 for a wrong key.
	case e.Status == http.StatusUnauthorized, e.Code == "INVALID_SECRET_KEY":
		return target == ErrUnauthorized
	case e.Code == "forbidden":
		return target == ErrForbidden
	case e.Status == http.StatusBadRequest, e.Status == http.StatusRequestEntityTooLarge, e.Status == http.StatusUnprocessableEntity:
		return target == ErrInvalid
	case e.Status == http.StatusTooManyRequests, e.Status >= http.StatusInternalServerError:
		return target == ErrUnavailable
	}
	return false
}

func invalid(err error) error { return fmt.Errorf("%w: %w", ErrInvalid, err) }
