package client

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
)

// The kinds of errors. Check them with [errors.Is].
var (
	// ErrInvalid means that the request is not valid, for example an id, a pattern or an
	// audience in it. Do not repeat it. Some faults are found before anything is sent.
	ErrInvalid = errors.New("client: invalid request")
	// ErrUnauthorized means that the API key is unknown, revoked or expired.
	ErrUnauthorized = errors.New("client: API key refused")
	// ErrForbidden means that there is no token for this user and request.
	ErrForbidden = errors.New("client: access refused")
	// ErrUnavailable means that usher was not reached, did not answer in time, or is
	// temporarily unavailable. It is never a refusal: try again later.
	ErrUnavailable = errors.New("client: usher is unavailable")
)

// An Error is an answer without a token.
type Error struct {
	Status int // of the HTTP response
	// Code is the stable code of the answer, such as "forbidden". For a [Session] it can
	// be Liveblocks' own, such as "UNPROCESSABLE_ENTITY". It is empty if a proxy
	// answered and not usher.
	Code      string
	Reason    string // a sentence for the developer
	RequestID string // also in usher's log and audit; may be empty
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

// Is reports whether e is of the kind target: [ErrInvalid], [ErrUnauthorized],
// [ErrForbidden] or [ErrUnavailable]. It is of at most one kind.
func (e *Error) Is(target error) bool {
	switch {
	// Liveblocks' API answers 403 for a wrong key.
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
