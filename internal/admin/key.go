package admin

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"time"
)

// Why an admin key is refused. Who shows it is told the same for the first
// three.
var (
	ErrKeyUnknown = errors.New("admin: no such admin key")
	ErrKeyRevoked = errors.New("admin: admin key is revoked")
	ErrKeyExpired = errors.New("admin: admin key has expired")
	ErrRole       = errors.New("admin: the admin key's role may not do this")
)

// A Role says what an admin key may do.
type Role string

// The roles.
const (
	RoleAdmin   Role = "admin"   // everything
	RoleAuditor Role = "auditor" // reads everything, changes nothing
)

// A Key is the record of a credential for the admin API. Its secret is not in
// it.
type Key struct {
	ID         string     `json:"id"`
	Name       string     `json:"name"`
	Role       Role       `json:"role"`
	CreatedAt  time.Time  `json:"createdAt"`
	CreatedBy  string     `json:"createdBy"`
	ExpiresAt  *time.Time `json:"expiresAt,omitempty"`
	RevokedAt  *time.Time `json:"revokedAt,omitempty"`
	RevokedBy  *string    `json:"revokedBy,omitempty"`
	LastUsedAt *time.Time `json:"lastUsedAt,omitempty"` // to the minute
}

// NewKey says what a key is to be. Its ID and the hash of its secret are the
// caller's to make.
type NewKey struct {
	ID         string
	SecretHash [sha256.Size]byte
	Name       string
	Role       Role
	ExpiresAt  time.Time // zero: never
}

// Actor is under what name the audit has what the key's bearer does.
func (k Key) Actor() Actor { return Actor(fmt.Sprintf("admin-key:%s (%s)", k.Name, k.ID)) }

// A Request names a change that must not be made twice: what came under an
// idempotency key, and under which admin key.
type Request struct {
	AdminKeyID     string
	IdempotencyKey string
	Hash           [sha256.Size]byte // of route and body
}
