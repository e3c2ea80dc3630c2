package db

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgtype"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/usher-auth/usher/permissions"
	"github.com/usher-auth/usher/session"
)

// What the audit's tree covers. usher makes the digest of a row when it writes
// it, over an encoding of its own, so that nothing rests on how Postgres prints
// a value; the sealer adds what the database gave the row, its id and the time
// at which it was written:
//
//	leaf   = SHA-256(0x00 ‖ version ‖ kind ‖ id ‖ recorded_at ‖ digest)    RFC 6962, section 2.1
//	digest = SHA-256(version ‖ kind ‖ field ‖ field ‖ ...)
//
// Numbers are of 8 bytes, big-endian, and times microseconds since 1970 UTC.
// A field is 0 for null, or its length plus one as a varint and its bytes. The
// encodings never change: a new column makes a new version.
const (
	encodingVersion = 1

	decisionKind = 'd'
	changeKind   = 'c'
	personalKind = 'p'
)

const saltSize = 16

// leafHash is the tree's hash of a row.
func leafHash(kind byte, id int64, recordedAt int64, digest []byte) tlog.Hash {
	b := make([]byte, 0, 2+8+8+sha256.Size)
	b = append(b, encodingVersion, kind)
	b = binary.BigEndian.AppendUint64(b, uint64(id))         //nolint:gosec // its bits
	b = binary.BigEndian.AppendUint64(b, uint64(recordedAt)) //nolint:gosec // its bits
	return tlog.RecordHash(append(b, digest...))
}

// decisionFacts are the fields of a decision that its digest covers, in its
// order. A nil text is null. They are the JSON of an inclusion proof.
type decisionFacts struct {
	IssuedAt       int64   `json:"issuedAt"` // microseconds
	Result         string  `json:"result"`
	Reason         *string `json:"reason,omitempty"`
	CallerKind     string  `json:"callerKind"`
	CallerID       *string `json:"callerId,omitempty"`
	UserID         *string `json:"userId,omitempty"`
	OrganizationID *string `json:"organizationId,omitempty"`
	Audience       *string `json:"audience,omitempty"`
	Room           *string `json:"room,omitempty"`
	Store          *string `json:"store,omitempty"`
	Patterns       rules   `json:"patterns"`
	Partial        bool    `json:"partial,omitempty"`
	SkippedGrants  *string `json:"skippedGrants,omitempty"` // {1,2}
	JTI            *string `json:"jti,omitempty"`
	KID            *string `json:"kid,omitempty"`
	ExpiresAt      *int64  `json:"expiresAt,omitempty"` // microseconds
	RequestID      string  `json:"requestId"`
	Replica        string  `json:"replica"`
	Count          int64   `json:"count"`
	PersonalDigest []byte  `json:"personalDigest"`
}

func (f *decisionFacts) digest(b []byte) [sha256.Size]byte {
	b = append(b[:0], encodingVersion, decisionKind)
	b = appendNumber(b, &f.IssuedAt)
	b = appendText(b, &f.Result)
	b = appendText(b, f.Reason)
	b = appendText(b, &f.CallerKind)
	for _, text := range [...]*string{f.CallerID, f.UserID, f.OrganizationID, f.Audience, f.Room, f.Store} {
		b = appendText(b, text)
	}
	b = f.Patterns.append(b)
	b = appendBool(b, f.Partial)
	for _, text := range [...]*string{f.SkippedGrants, f.JTI, f.KID} {
		b = appendText(b, text)
	}
	b = appendNumber(b, f.ExpiresAt)
	b = appendText(b, &f.RequestID)
	b = appendText(b, &f.Replica)
	b = appendNumber(b, &f.Count)
	b = appendBytes(b, f.PersonalDigest)
	return sha256.Sum256(b)
}

// personalDigest covers what can be erased: once the salt is gone, nobody can
// find out what it covered by trying.
func personalDigest(salt []byte, ip netip.Prefix, userAgent, origin *string) [sha256.Size]byte {
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

func changeDigest(actor, action, target string, details *string) [sha256.Size]byte {
	b := make([]byte, 0, 512)
	b = append(b, encodingVersion, changeKind)
	b = appendText(b, &actor)
	b = appendText(b, &action)
	b = appendText(b, &target)
	b = appendText(b, details)
	return sha256.Sum256(b)
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

func appendNumber(b []byte, n *int64) []byte {
	if n == nil {
		return append(b, 0)
	}
	return binary.BigEndian.AppendUint64(append(b, 8+1), uint64(*n)) //nolint:gosec // its bits
}

func appendBool(b []byte, v bool) []byte {
	if v {
		return append(b, 1+1, 1)
	}
	return append(b, 1+1, 0)
}

// rules are the patterns of a token as its digest covers them: kinds and, in
// each, patterns in the order of their bytes. nil is null.
type rules []kindRules

type kindRules struct {
	Kind  string        `json:"kind"` // rooms or stores
	Rules []patternRule `json:"rules"`
}

type patternRule struct {
	Pattern string `json:"pattern"`
	Access  string `json:"access"`
}

// append encodes each list behind its length.
func (r rules) append(b []byte) []byte {
	if r == nil {
		return append(b, 0)
	}
	b = binary.AppendUvarint(b, uint64(len(r))+1)
	for i := range r {
		b = appendText(b, &r[i].Kind)
		b = binary.AppendUvarint(b, uint64(len(r[i].Rules))+1)
		for _, rule := range r[i].Rules {
			b = appendText(b, &rule.Pattern)
			b = appendText(b, &rule.Access)
		}
	}
	return b
}

func (k kindRules) sort() {
	slices.SortFunc(k.Rules, func(a, b patternRule) int { return strings.Compare(a.Pattern, b.Pattern) })
}

func rulesOf(p *session.Patterns) rules {
	r := make(rules, 0, 2)
	for _, kind := range [...]struct {
		name  string
		rules []permissions.Rule
	}{{"rooms", p.Rooms}, {"stores", p.Stores}} {
		if kind.rules == nil {
			continue
		}
		k := kindRules{kind.name, make([]patternRule, len(kind.rules))}
		for i, rule := range kind.rules {
			k.Rules[i] = patternRule{rule.Pattern.String(), rule.Access.String()}
		}
		k.sort()
		r = append(r, k)
	}
	return r
}

var errForeignPatterns = errors.New("patterns that usher does not write")

// parseRules reads what the database holds, which may be anything.
func parseRules(text string) (rules, error) {
	var kinds map[string]map[string]*string
	if json.Unmarshal([]byte(text), &kinds) != nil || kinds == nil {
		return nil, errForeignPatterns
	}
	r := make(rules, 0, len(kinds))
	for _, name := range slices.Sorted(maps.Keys(kinds)) {
		if kinds[name] == nil {
			return nil, errForeignPatterns
		}
		k := kindRules{name, make([]patternRule, 0, len(kinds[name]))}
		for pattern, access := range kinds[name] {
			if access == nil {
				return nil, errForeignPatterns
			}
			k.Rules = append(k.Rules, patternRule{pattern, *access})
		}
		k.sort()
		r = append(r, k)
	}
	return r, nil
}

// decisionLeaf is a row of audit.decision_leaves.
type decisionLeaf struct {
	ID             int64
	RecordedAt     pgtype.Timestamptz
	IssuedAt       pgtype.Timestamptz
	Result         string
	Reason         *string
	CallerKind     string
	CallerID       *string
	UserID         *string
	OrganizationID *string
	Audience       *string
	Room           *string
	Store          *string
	Patterns       *string
	Partial        bool
	SkippedGrants  *string
	JTI            *string `db:"jti"`
	KID            *string `db:"kid"`
	ExpiresAt      pgtype.Timestamptz
	IP             *netip.Prefix `db:"ip"`
	UserAgent      *string
	Origin         *string
	RequestID      string
	Replica        string
	Count          int64
	Salt           []byte
	PersonalDigest []byte
	Digest         []byte
}

func (l *decisionLeaf) facts() (decisionFacts, error) {
	f := decisionFacts{
		IssuedAt: micros(l.IssuedAt), Result: l.Result, Reason: l.Reason, CallerKind: l.CallerKind, CallerID: l.CallerID,
		UserID: l.UserID, OrganizationID: l.OrganizationID, Audience: l.Audience, Room: l.Room, Store: l.Store,
		Partial: l.Partial, SkippedGrants: l.SkippedGrants, JTI: l.JTI, KID: l.KID,
		RequestID: l.RequestID, Replica: l.Replica, Count: l.Count, PersonalDigest: l.PersonalDigest,
	}
	if l.ExpiresAt.Valid {
		at := micros(l.ExpiresAt)
		f.ExpiresAt = &at
	}
	var err error
	if l.Patterns != nil {
		f.Patterns, err = parseRules(*l.Patterns)
	}
	return f, err
}

// fault says how the row contradicts its own digests; empty where it does not.
// A row whose digests were changed with it is one that its leaf contradicts.
func (l *decisionLeaf) fault() string {
	f, err := l.facts()
	if err != nil {
		return "it was changed: it holds " + err.Error()
	}
	if digest := f.digest(nil); string(digest[:]) != string(l.Digest) {
		return "it was changed: it does not fit its digest"
	}
	if l.Salt != nil {
		if digest := personalDigest(l.Salt, deref(l.IP), l.UserAgent, l.Origin); string(digest[:]) != string(l.PersonalDigest) {
			return "it was changed: its ip, user agent and origin do not fit their digest"
		}
	}
	return ""
}

func (l *decisionLeaf) hash() tlog.Hash {
	return leafHash(decisionKind, l.ID, micros(l.RecordedAt), l.Digest)
}

// changeLeaf is a row of audit.change_leaves.
type changeLeaf struct {
	ID                    int64
	RecordedAt            pgtype.Timestamptz
	Actor, Action, Target string
	Details               *string
	Digest                []byte
}

func (l *changeLeaf) fault() string {
	if digest := changeDigest(l.Actor, l.Action, l.Target, l.Details); string(digest[:]) != string(l.Digest) {
		return "it was changed: it does not fit its digest"
	}
	return ""
}

func (l *changeLeaf) hash() tlog.Hash {
	return leafHash(changeKind, l.ID, micros(l.RecordedAt), l.Digest)
}

// micros is a time as the encodings write it. Infinite ones, which usher never
// writes, are told apart too.
func micros(t pgtype.Timestamptz) int64 {
	switch t.InfinityModifier {
	case pgtype.Infinity:
		return 1<<63 - 1
	case pgtype.NegativeInfinity:
		return -1 << 63
	case pgtype.Finite:
	}
	return t.Time.UnixMicro()
}

// timeOf reads what [micros] wrote.
func timeOf(micros int64) string { return time.UnixMicro(micros).UTC().Format(time.RFC3339Nano) }

// deref returns what p points to, or nothing.
func deref[T any](p *T) (v T) {
	if p != nil {
		v = *p
	}
	return v
}

// some returns text, or nil where it is empty: usher writes no empty texts, but
// nulls.
func some(text *string) *string {
	if *text == "" {
		return nil
	}
	return text
}
