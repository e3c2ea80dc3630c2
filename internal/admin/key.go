package admin

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"time"
)

// Reasons for the refusal of an admin key.
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

// A Key is the record of a credential for the admin API, without its secret.
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

// A NewKey is an admin key to add. The caller makes its ID and the hash of its secret.
type NewKey struct {
	ID         string
	SecretHash [sha256.Size]byte
	Name       string
	Role       Role
	ExpiresAt  time.Time // zero: never
}

// Actor returns the author of the changes that are made with the key, as the audit records
// it.
func (k Key) Actor() Actor { return Actor(fmt.Sprintf("admin-key:%s (%s)", k.Name, k.ID)) }

// A Request identifies a change that must not be made twice, by its idempotency key, its
// admin key, and a hash.
type Request struct {
	AdminKeyID     string
	IdempotencyKey string
	Hash           [sha256.Size]byte // of route and body
}
