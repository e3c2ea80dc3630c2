// Package admin has the records that administrators work with, of the directory, of
// grants, keys and the audit, with the filters of their lists and the reasons for a
// refusal. Package db stores the records, and package api serves them. Package admin uses
// neither Postgres nor HTTP.
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

// Reasons for refusing an administrator's call. A [*Refusal] wraps one of them and adds a
// sentence for the caller.
var (
	ErrInvalid  = errors.New("admin: not valid")
	ErrNotFound = errors.New("admin: not found")
	ErrExists   = errors.New("admin: exists already")
	ErrInUse    = errors.New("admin: in use")
	// ErrNoHistory is returned for a question about the past if the directory is an
	// application's, which keeps no history.
	ErrNoHistory = errors.New("admin: the directory keeps no history")
	// ErrKeyReused is returned for an idempotency key that was used for a different
	// request.
	ErrKeyReused = errors.New("admin: idempotency key was used for a different request")
)

// ErrOpenPrefix is returned for a pattern whose wildcard does not end a segment, unless the
// request allows that explicitly. The error also wraps a [*permissions.PatternError].
var ErrOpenPrefix = errors.New("such a pattern must be allowed explicitly")

// An Actor is the author of a change, as the audit records it: an operator, an admin key,
// an identity provider, or usher itself.
type Actor string

// A Refusal is a sentence for the caller, with the sentinel of its kind.
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

// An IndexError says which element of a batch was refused. Index starts at 0.
type IndexError struct {
	Index int
	Err   error
}

// Error implements error.
func (e *IndexError) Error() string { return fmt.Sprintf("element %d: %v", e.Index, e.Err) }

// Unwrap returns the element's own error.
func (e *IndexError) Unwrap() error { return e.Err }

// A Page asks for a part of a list: the rows after a place in the list's order. Rows that
// were added or removed before that place do not matter. The zero Page is the whole list.
type Page[Place comparable] struct {
	After Place // place of the last row of the part before; zero: from the start
	Limit int   // maximum number of rows; zero: all
}

// Kinds of [Subject].
const (
	UserKind         = "user"
	GroupKind        = "group"
	OrganizationKind = "organization"
	EveryoneKind     = "everyone"
)

// A Subject is who a grant is for. Organizations and groups are also what users can be
// members of.
type Subject struct {
	Kind string
	ID   string // empty for everyone
}

// String returns s in the form for a sentence.
func (s Subject) String() string {
	if s.Kind == EveryoneKind {
		return EveryoneKind
	}
	return fmt.Sprintf("%s %q", s.Kind, s.ID)
}

// A Deletion says what was ended together with a deleted user, organization or group.
// Someone who gets the same id later inherits nothing.
type Deletion struct {
	GrantsRevoked    int64 `json:"grantsRevoked"`
	MembershipsEnded int64 `json:"membershipsEnded"`
	SessionsEnded    int64 `json:"sessionsEnded" db:"-"`
}

// A User is one row of usher's own directory.
type User struct {
	ID         string          `json:"id"`
	Info       json.RawMessage `json:"info,omitempty"` // a JSON object, which becomes the ui claim
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
	OrganizationID string    `json:"organizationId,omitempty"` // the organization that it belongs to, if any
	Name           string    `json:"name,omitempty"`
	CreatedAt      time.Time `json:"createdAt"`
	CreatedBy      string    `json:"createdBy"`
}

// A Membership is a membership that has not ended.
type Membership struct {
	UserID       string    `json:"userId"`
	MemberOfKind string    `json:"memberOfKind"` // "organization" or "group"
	MemberOfID   string    `json:"memberOfId"`
	CreatedAt    time.Time `json:"createdAt"`
	CreatedBy    string    `json:"createdBy"`
}

// A Session is a user's session in usher's own directory. It has no name: only its token
// identifies it, and the token is not stored.
type Session struct {
	Hash           string    `json:"-"` // of the token, in hexadecimal: its place in a list
	UserID         string    `json:"userId"`
	OrganizationID string    `json:"organizationId,omitempty"` // the active one
	CreatedAt      time.Time `json:"createdAt"`
	ExpiresAt      time.Time `json:"expiresAt"`
}

// A SessionPlace is a session's place in a list, newest first.
type SessionPlace struct {
	CreatedAt time.Time
	Hash      string
}

// A Grant is one row, live or revoked.
type Grant struct {
	ID             int64      `json:"id"`
	SubjectKind    string     `json:"subjectKind"` // "user", "group", "organization" or "everyone"
	SubjectID      string     `json:"subjectId,omitempty"`
	OrganizationID string     `json:"organizationId,omitempty"` // limits it to sessions in this organization
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

// A NewGrant is a grant to add.
type NewGrant struct {
	Subject      Subject
	Organization string             // limits the grant to sessions in this organization; empty: every session
	Kind         permissions.Kind   // of the pattern
	Pattern      string             // or a template: see [permissions.ParseTemplate]
	Access       permissions.Access // Read or Full
	From         time.Time          // zero: now
	Until        time.Time          // zero: never expires
	Reason       string
	OpenPrefix   bool // allows a wildcard that does not end a segment
}

// An AddedGrant is a grant that was added, with warnings about what may be a mistake.
type AddedGrant struct {
	Grant
	Warnings []string `json:"warnings,omitempty"`
}

// A GrantFilter filters a list of grants. The zero value selects all grants that are
// active now or will be.
type GrantFilter struct {
	ID      int64            // zero: any
	Subject Subject          // zero: any
	Kind    permissions.Kind // zero: any
	Pattern string           // grants with exactly this pattern; empty: any
	Ended   bool             // adds revoked and expired grants
}

// An APIKey is the record of another backend's credential, without its secret.
type APIKey struct {
	ID            string           `json:"id"`
	Name          string           `json:"name"`
	Routes        []string         `json:"routes"`
	Organizations []string         `json:"organizations,omitempty"` // empty: all users
	Patterns      session.Patterns `json:"patterns"`
	CreatedAt     time.Time        `json:"createdAt"`
	CreatedBy     string           `json:"createdBy"`
	ExpiresAt     *time.Time       `json:"expiresAt,omitempty"`
	RevokedAt     *time.Time       `json:"revokedAt,omitempty"`
	RevokedBy     *string          `json:"revokedBy,omitempty"`
	LastUsedAt    *time.Time       `json:"lastUsedAt,omitempty"` // to the minute
}

// A CreatedAPIKey is the only record that contains a key's text.
type CreatedAPIKey struct {
	Key string `json:"key"`
	APIKey
}

// A NewAPIKey is an API key to add. The caller makes its ID and the hash of its secret.
type NewAPIKey struct {
	ID            string
	SecretHash    [sha256.Size]byte
	Name          string
	Routes        []string
	Organizations []string         // nil: all users
	Patterns      session.Patterns // the most access that it may grant
	ExpiresAt     time.Time        // zero: never
}

// A KeyPlace is a key's place in a list, ordered by name.
type KeyPlace struct {
	Name      string
	CreatedAt time.Time
	ID        string
}

// A SigningKeyTimes is the schedule of a signing key, without the key itself. A nil end
// means no end.
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

// A SigningKeyPlace is a signing key's place in a list, ordered by when they start signing.
type SigningKeyPlace struct {
	SignsFrom time.Time
	ID        string
}
