package audit

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"net/netip"
	"slices"
	"time"

	"golang.org/x/mod/sumdb/tlog"
)

// The audit's tree covers the rows. usher computes the digest of a row when it writes it. The
// digest uses its own encoding, so that it does not depend on how Postgres prints a value. The
// sealer adds what the database gave the row: its id and the time when it was written.
//
//	leaf   = SHA-256(0x00 ‖ version ‖ kind ‖ id ‖ recorded_at ‖ digest)    RFC 6962, section 2.1
//	digest = SHA-256(version ‖ kind ‖ field ‖ field ‖ ...)
//
// A number has 8 bytes, big-endian. A time is the microseconds since 1970 UTC.
// A field is 0 for null, or its length plus one as a varint and its bytes. The
// encodings never change: a new column makes a new version.
const (
	encodingVersion = 1

	decisionKind = 'd'
	changeKind   = 'c'
	personalKind = 'p'
)

// SaltSize is the number of random bytes that go into a [PersonalDigest].
const SaltSize = 16

// A Record is an audit row for an issued token or a denial. A nil field is null.
type Record struct {
	ID             int64     `json:"-"`
	IssuedAt       time.Time `json:"issuedAt"`   // when it was decided
	RecordedAt     time.Time `json:"recordedAt"` // when the row was written, by the database's clock
	Result         string    `json:"result"`
	Reason         *string   `json:"reason,omitempty"`
	CallerKind     string    `json:"callerKind"`
	CallerID       *string   `json:"callerId,omitempty"`
	UserID         *string   `json:"userId,omitempty"`
	OrganizationID *string   `json:"organizationId,omitempty"`
	// RequestedOrganizationID is the organization in the request.
	RequestedOrganizationID *string   `json:"requestedOrganizationId,omitempty"`
	Audience                *string   `json:"audience,omitempty"`
	Room                    *string   `json:"room,omitempty"`
	Store                   *string   `json:"store,omitempty"`
	TokenKind               *string   `json:"tokenKind,omitempty"` // access or identity
	Patterns                *Patterns `json:"patterns,omitempty"`
	// Claims has the claims that a backend chose, exactly as they were signed.
	Claims        *string    `json:"claims,omitempty"`
	Partial       bool       `json:"partial,omitempty"`
	SkippedGrants []int64    `json:"skippedGrants,omitempty"`
	Warnings      []string   `json:"warnings,omitempty"`
	JTI           *string    `json:"jti,omitempty"`
	KID           *string    `json:"kid,omitempty"`
	ExpiresAt     *time.Time `json:"expiresAt,omitempty"`
	// IP, UserAgent and Origin are personal data, which can be erased: the row's digest
	// covers only a salted digest of them. A proof does not contain them.
	IP        *string `json:"ip,omitempty"` // in a row that counts denials, a network: 2001:db8::/56
	UserAgent *string `json:"userAgent,omitempty"`
	Origin    *string `json:"origin,omitempty"`
	RequestID string  `json:"requestId"`
	Replica   string  `json:"replica"`
	Count     *int64  `json:"count,omitempty"` // number of denials in this row; null for one
}

// NewRecord returns the row of a decision, without the values that the database adds and
// without the personal data. It shares the decision's memory.
func NewRecord(d *Decision, replica string) Record {
	r := Record{
		IssuedAt: d.At, Result: ResultDenied, Reason: some(&d.Reason), CallerKind: d.CallerKind, CallerID: some(&d.CallerID),
		UserID: some(&d.UserID), OrganizationID: some(&d.OrganizationID), RequestedOrganizationID: some(&d.Request.OrganizationID), Audience: some(&d.Request.Audience),
		Room: some(&d.Request.Room), Store: some(&d.Request.Store), SkippedGrants: d.SkippedGrants, Warnings: d.Warnings,
		RequestID: d.RequestID, Replica: replica,
	}
	if t := d.Token; t != nil {
		r.Result, r.Audience, r.Patterns, r.Partial = ResultIssued, some(&t.Audience), &t.Patterns, t.Partial
		r.OrganizationID = some(&t.OrganizationID)
		r.TokenKind, r.Claims = some(&t.Kind), some(&t.Claims)
		r.JTI, r.KID, r.ExpiresAt = some(&t.ID), some(&t.KeyID), &t.ExpiresAt
	}
	return r
}

// Digest covers the row without the values that the database adds. Instead of the personal
// data, it covers their digest.
func (r *Record) Digest(personal []byte) [sha256.Size]byte {
	b := make([]byte, 0, 1024)
	b = append(b, encodingVersion, decisionKind)
	b = appendTime(b, &r.IssuedAt)
	b = appendText(b, &r.Result)
	b = appendText(b, r.Reason)
	b = appendText(b, &r.CallerKind)
	for _, text := range [...]*string{r.CallerID, r.UserID, r.OrganizationID, r.RequestedOrganizationID, r.Audience, r.Room, r.Store, r.TokenKind} {
		b = appendText(b, text)
	}
	b = appendPatterns(b, r.Patterns)
	b = appendText(b, r.Claims)
	b = appendBool(b, r.Partial)
	b = appendIDs(b, r.SkippedGrants)
	b = appendTexts(b, r.Warnings)
	b = appendText(b, r.JTI)
	b = appendText(b, r.KID)
	b = appendTime(b, r.ExpiresAt)
	b = appendText(b, &r.RequestID)
	b = appendText(b, &r.Replica)
	count := int64(1)
	if r.Count != nil {
		count = *r.Count
	}
	b = appendNumber(b, count)
	b = appendBytes(b, personal)
	return sha256.Sum256(b)
}

// PersonalDigest covers the data that can be erased. Without the salt, it is impossible to find
// out by trying what it covered. A zero ip is null.
func PersonalDigest(salt []byte, ip netip.Prefix, userAgent, origin *string) [sha256.Size]byte {
	b := make([]byte, 0, 256)
	b = append(b, encodingVersion, personalKind)
	b = appendBytes(b, salt)
	if ip.IsValid() {
		b = appendBytes(b, append(ip.Addr().AsSlice(), byte(ip.Bits()))) //nolint:gosec // at most 128
	} else {
		b = append(b, 0)
	}
	b = appendText(b, userAgent)
	b = appendText(b, origin)
	return sha256.Sum256(b)
}

// A Change is an audit row for a change by an operator, an administrator or usher itself.
type Change struct {
	ID        int64           `json:"id"`
	ChangedAt time.Time       `json:"changedAt"`
	Actor     string          `json:"actor"`
	Action    string          `json:"action"` // for example "grant.add"
	Target    string          `json:"target"` // the id of the changed object
	Details   json.RawMessage `json:"details,omitempty"`
}

// Digest covers the change without its id and time. It covers the exact bytes of the details;
// nil details are null.
func (c *Change) Digest() [sha256.Size]byte {
	b := make([]byte, 0, 512)
	b = append(b, encodingVersion, changeKind)
	b = appendText(b, &c.Actor)
	b = appendText(b, &c.Action)
	b = appendText(b, &c.Target)
	if c.Details == nil {
		b = append(b, 0)
	} else {
		b = appendBytes(b, c.Details)
	}
	return sha256.Sum256(b)
}

// DecisionLeaf returns the tree's hash of a decision with this digest.
func DecisionLeaf(id int64, recordedAt time.Time, digest []byte) tlog.Hash {
	return leafHash(decisionKind, id, recordedAt, digest)
}

// ChangeLeaf returns the tree's hash of a change with this digest.
func ChangeLeaf(id int64, changedAt time.Time, digest []byte) tlog.Hash {
	return leafHash(changeKind, id, changedAt, digest)
}

func leafHash(kind byte, id int64, recordedAt time.Time, digest []byte) tlog.Hash {
	b := make([]byte, 0, 2+8+8+sha256.Size)
	b = append(b, encodingVersion, kind)
	b = binary.BigEndian.AppendUint64(b, uint64(id)) //nolint:gosec // its bits
	b = binary.BigEndian.AppendUint64(b, uint64(recordedAt.UnixMicro()))
	return tlog.RecordHash(append(b, digest...))
}

func appendText(b []byte, text *string) []byte {
	if text == nil {
		return append(b, 0)
	}
	return append(binary.AppendUvarint(b, uint64(len(*text))+1), *text...)
}

func appendBytes(b, field []byte) []byte {
	return append(binary.AppendUvarint(b, uint64(len(field))+1), field...)
}

func appendNumber(b []byte, n int64) []byte {
	return binary.BigEndian.AppendUint64(append(b, 8+1), uint64(n)) //nolint:gosec // its bits
}

func appendTime(b []byte, t *time.Time) []byte {
	if t == nil {
		return append(b, 0)
	}
	return appendNumber(b, t.UnixMicro())
}

func appendBool(b []byte, v bool) []byte {
	if v {
		return append(b, 1+1, 1)
	}
	return append(b, 1+1, 0)
}

// appendIDs encodes a list after its length. An empty list is null.
func appendIDs(b []byte, ids []int64) []byte {
	if len(ids) == 0 {
		return append(b, 0)
	}
	b = binary.AppendUvarint(b, uint64(len(ids))+1)
	for _, id := range ids {
		b = appendNumber(b, id)
	}
	return b
}

// appendTexts encodes a list after its length. An empty list is null.
func appendTexts(b []byte, texts []string) []byte {
	if len(texts) == 0 {
		return append(b, 0)
	}
	b = binary.AppendUvarint(b, uint64(len(texts))+1)
	for i := range texts {
		b = appendText(b, &texts[i])
	}
	return b
}

// appendPatterns encodes each list after its length, and the patterns of a kind in the order of
// their bytes.
func appendPatterns(b []byte, p *Patterns) []byte {
	if p == nil {
		return append(b, 0)
	}
	kinds := p.kinds()
	carried := 0
	for _, kind := range kinds {
		if kind.rules != nil {
			carried++
		}
	}
	b = binary.AppendUvarint(b, uint64(carried)+1)
	for _, kind := range kinds {
		if kind.rules == nil {
			continue
		}
		b = appendText(b, &kind.name)
		b = binary.AppendUvarint(b, uint64(len(kind.rules))+1)
		rules := slices.Clone(kind.rules)
		sortRules(rules)
		for _, rule := range rules {
			pattern, access := rule.Pattern.String(), rule.Access.String()
			b = appendText(b, &pattern)
			b = appendText(b, &access)
		}
	}
	return b
}

// some returns text, or nil if it is empty: usher writes null for an empty text.
func some(text *string) *string {
	if *text == "" {
		return nil
	}
	return text
}
