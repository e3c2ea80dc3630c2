// Package admin holds what administrators work with: the records of the
// directory, of grants, keys and the audit, what lists of them are narrowed by,
// and why a call is refused. Package db keeps them, package api shows them; it
// knows neither Postgres nor HTTP.
package admin

import (
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/usher-auth/usher/permissions"
	"github.com/usher-auth/usher/session"
)

// What an administrator's call was refused for. The [*Refusal] that wraps one
// of them is a sentence for whoever asked.
var (
	ErrInvalid  = errors.New("admin: not valid")
	ErrNotFound = errors.New("admin: not found")
	ErrExists   = errors.New("admin: exists already")
	ErrInUse    = errors.New("admin: in use")
	// ErrNoHistory says that the directory is an application's, which keeps no
	// history: the question can be answered for now alone.
	ErrNoHistory = errors.New("admin: the directory keeps no history")
	// ErrKeyReused says that an idempotency key came with another request.
	ErrKeyReused = errors.New("admin: idempotency key of another request")
)

// ErrOpenPrefix says that a pattern's wildcard does not end a segment, and that
// nobody asked for that by name. With it comes the [*permissions.PatternError].
var ErrOpenPrefix = errors.New("such a pattern is granted only when it is asked for by name")

// An Actor is who makes a change, as the audit records it: an operator, an admin
// key, an identity provider, or usher itself.
type Actor string

// A Refusal is a sentence for whoever asked, and the sentinel of its kind.
type Refusal struct {
	Kind     error
	Sentence string // begins in lower case and has no full stop
}

// Refuse returns a [*Refusal].
func Refuse(kind error, format string, args ...any) error {
	return &Refusal{kind, fmt.Sprintf(format, args...)}
}

// Error implements error.
func (r *Refusal) Error() string { return r.Sentence }

// Unwrap returns the sentinel.
func (r *Refusal) Unwrap() error { return r.Kind }

// An IndexError says which element of a batch was refused, from 0.
type IndexError struct {
	Index int
	Err   error
}

// Error implements error.
func (e *IndexError) Error() string { return fmt.Sprintf("element %d: %v", e.Index, e.Err) }

// Unwrap returns the element's own error.
func (e *IndexError) Unwrap() error { return e.Err }

// A Page asks for a part of a list: the rows after a place in the list's order,
// however many came or went before it. The zero Page is the whole list.
type Page[Place comparable] struct {
	After Place // of the last row that is known; zero: from the start
	Limit int   // at most so many; zero: all
}

// Kinds of [Subject].
const (
	UserKind         = "user"
	GroupKind        = "group"
	OrganizationKind = "organization"
	EveryoneKind     = "everyone"
)

// A Subject is who a grant is for. Organizations and groups are also what a
// user can be a member of.
type Subject struct {
	Kind string
	ID   string // empty for everyone
}

// String names s in a sentence.
func (s Subject) String() string {
	if s.Kind == EveryoneKind {
		return EveryoneKind
	}
	return fmt.Sprintf("%s %q", s.Kind, s.ID)
}

// A Deletion says what went with a deleted user, organization or group, so
// that whoever gets the same id later inherits nothing.
type Deletion struct {
	GrantsRevoked    int64 `json:"grantsRevoked"`
	MembershipsEnded int64 `json:"membershipsEnded"`
	SessionsEnded    int64 `json:"sessionsEnded" db:"-"`
}

// A User is one row of usher's own directory.
type User struct {
	ID         string          `json:"id"`
	Info       json.RawMessage `json:"info,omitempty"` // a JSON object: what becomes the ui claim
	DisabledAt *time.Time      `json:"disabledAt,omitempty"`
	CreatedAt  time.Time       `json:"createdAt"`
	CreatedBy  string          `json:"createdBy"`
}

// An Organization is one row of usher's own directory.
type Organization struct {
	ID        string    `json:"id"`
	Name      string    `json:"name,omitempty"`
	CreatedAt time.Time `json:"createdAt"`
	CreatedBy string    `json:"createdBy"`
}

// A Group is one row of usher's own directory.
type Group struct {
	ID             string    `json:"id"`
	OrganizationID string    `json:"organizationId,omitempty"` // whose group it is; empty for nobody's
	Name           string    `json:"name,omitempty"`
	CreatedAt      time.Time `json:"createdAt"`
	CreatedBy      string    `json:"createdBy"`
}

// A Membership is one that has not ended.
type Membership struct {
	UserID       string    `json:"userId"`
	MemberOfKind string    `json:"memberOfKind"` // "organization" or "group"
	MemberOfID   string    `json:"memberOfId"`
	CreatedAt    time.Time `json:"createdAt"`
	CreatedBy    string    `json:"createdBy"`
}

// A Session is a user's sign-in in usher's own directory. It has no name: all
// that tells it from others is its token, which is not kept.
type Session struct {
	Hash           string    `json:"-"` // of the token, in hexadecimal: its place in a list
	UserID         string    `json:"userId"`
	OrganizationID string    `json:"organizationId,omitempty"` // the active one
	CreatedAt      time.Time `json:"createdAt"`
	ExpiresAt      time.Time `json:"expiresAt"`
}

// A SessionPlace is where a session stands among the newest.
type SessionPlace struct {
	CreatedAt time.Time
	Hash      string
}

// A Grant is one row, live or revoked.
type Grant struct {
	ID             int64      `json:"id"`
	SubjectKind    string     `json:"subjectKind"` // "user", "group", "organization" or "everyone"
	SubjectID      string     `json:"subjectId,omitempty"`
	OrganizationID string     `json:"organizationId,omitempty"` // confines it to sessions of that one
	ResourceKind   string     `json:"resourceKind"`             // "room" or "store"
	Pattern        string     `json:"pattern"`
	Access         string     `json:"access"` // "read" or "full"
	ValidFrom      time.Time  `json:"validFrom"`
	ValidUntil     *time.Time `json:"validUntil,omitempty"`
	Reason         string     `json:"reason,omitempty"`
	CreatedAt      time.Time  `json:"createdAt"`
	CreatedBy      string     `json:"createdBy"`
	RevokedAt      *time.Time `json:"revokedAt,omitempty"`
	RevokedBy      string     `json:"revokedBy,omitempty"`
	RevokeReason   string     `json:"revokeReason,omitempty"`
}

// A NewGrant says what a grant is to be.
type NewGrant struct {
	Subject      Subject
	Organization string             // confines the grant to sessions of it; empty: every session
	Kind         permissions.Kind   // of the pattern
	Pattern      string             // or a template: see [permissions.ParseTemplate]
	Access       permissions.Access // Read or Full
	From         time.Time          // zero: at once
	Until        time.Time          // zero: never expires
	Reason       string
	OpenPrefix   bool // asks for a wildcard that does not end a segment
}

// An AddedGrant is a grant that was added, with sentences about what may not be
// meant so.
type AddedGrant struct {
	Grant
	Warnings []string `json:"warnings,omitempty"`
}

// A GrantFilter narrows a list of grants. The zero value lets through all
// grants that hold now or will.
type GrantFilter struct {
	ID      int64            // zero: any
	Subject Subject          // zero: any
	Kind    permissions.Kind // zero: any
	Pattern string           // grants whose pattern is this very text; empty: any
	Ended   bool             // adds those that were revoked or are over
}

// An APIKey is the record of another backend's credential. Its secret is not
// in it.
type APIKey struct {
	ID            string           `json:"id"`
	Name          string           `json:"name"`
	Routes        []string         `json:"routes"`
	Organizations []string         `json:"organizations,omitempty"` // empty: everybody's
	Patterns      session.Patterns `json:"patterns"`
	CreatedAt     time.Time        `json:"createdAt"`
	CreatedBy     string           `json:"createdBy"`
	ExpiresAt     *time.Time       `json:"expiresAt,omitempty"`
	RevokedAt     *time.Time       `json:"revokedAt,omitempty"`
	RevokedBy     *string          `json:"revokedBy,omitempty"`
	LastUsedAt    *time.Time       `json:"lastUsedAt,omitempty"` // to the minute
}

// NewAPIKey says what a key is to be. Its ID and the hash of its secret are the
// caller's to make.
type NewAPIKey struct {
	ID            string
	SecretHash    [sha256.Size]byte
	Name          string
	Routes        []string
	Organizations []string         // nil: everybody's
	Patterns      session.Patterns // the most that it may grant
	ExpiresAt     time.Time        // zero: never
}

// A KeyPlace is where a key stands among those in the order of names.
type KeyPlace struct {
	Name      string
	CreatedAt time.Time
	ID        string
}

// A SigningKeyTimes is a signing key without its halves. A nil end is open.
type SigningKeyTimes struct {
	ID            string     `json:"id" db:"kid"`
	Alg           string     `json:"alg"`
	CreatedAt     time.Time  `json:"createdAt"`
	PublishedAt   time.Time  `json:"publishedAt"`
	SignsFrom     time.Time  `json:"signsFrom"`
	SignsUntil    *time.Time `json:"signsUntil,omitempty"`
	UnpublishedAt *time.Time `json:"unpublishedAt,omitempty"`
	CompromisedAt *time.Time `json:"compromisedAt,omitempty"`
}

// A SigningKeyPlace is where a signing key stands in the order of their use.
type SigningKeyPlace struct {
	SignsFrom time.Time
	ID        string
}
