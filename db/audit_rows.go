package db

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net/netip"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"
	"golang.org/x/mod/sumdb/tlog"

	"github.com/usher-auth/usher/audit"
)

// decisionRow is a row of audit.decision_leaves. Somebody may have tampered with it.
type decisionRow struct {
	ID                      int64
	RecordedAt              pgtype.Timestamptz
	IssuedAt                pgtype.Timestamptz
	Result                  string
	Reason                  *string
	CallerKind              string
	CallerID                *string
	UserID                  *string
	OrganizationID          *string
	RequestedOrganizationID *string
	Audience                *string
	Room                    *string
	Store                   *string
	TokenKind               *string
	Patterns                *string
	Claims                  *string
	Partial                 bool
	SkippedGrants           *string
	Warnings                *string
	JTI                     *string
	KID                     *string
	ExpiresAt               pgtype.Timestamptz
	IP                      *netip.Prefix
	UserAgent               *string
	Origin                  *string
	RequestID               string
	Replica                 string
	Count                   int64
	Salt                    []byte
	PersonalDigest          []byte
	Digest                  []byte
}

// record returns the row without its personal data. The error names content that
// usher never writes.
func (r *decisionRow) record() (audit.Record, error) {
	record := audit.Record{
		ID: r.ID, IssuedAt: timeOf(r.IssuedAt), RecordedAt: timeOf(r.RecordedAt), Result: r.Result, Reason: r.Reason,
		CallerKind: r.CallerKind, CallerID: r.CallerID, UserID: r.UserID, OrganizationID: r.OrganizationID,
		RequestedOrganizationID: r.RequestedOrganizationID, TokenKind: r.TokenKind, Claims: r.Claims, Audience: r.Audience,
		Room: r.Room, Store: r.Store, Partial: r.Partial, JTI: r.JTI, KID: r.KID, RequestID: r.RequestID, Replica: r.Replica,
	}
	if r.ExpiresAt.Valid {
		at := timeOf(r.ExpiresAt)
		record.ExpiresAt = &at
	}
	if r.Count != 1 {
		record.Count = &r.Count
	}
	if r.Patterns != nil {
		if err := json.Unmarshal([]byte(*r.Patterns), &record.Patterns); err != nil {
			return record, err
		}
		if record.Patterns == nil { // a JSON null
			return record, errors.New("patterns that usher does not write")
		}
	}
	var err error
	if record.SkippedGrants, err = parseArray(deref(r.SkippedGrants)); err != nil {
		return record, err
	}
	record.Warnings, err = parseCodes(deref(r.Warnings))
	return record, err
}

// maxApart is how far the time of a decision may be from the database's time at
// which its row was written: what the constraint decisions_times allows.
const maxApart = time.Minute

// fault says how the row contradicts its own digests, and is empty if it does not.
// A row whose digests were changed too contradicts its leaf.
func (r *decisionRow) fault() string {
	record, err := r.record()
	if err != nil {
		return "it was changed: it holds " + err.Error()
	}
	if digest := record.Digest(r.PersonalDigest); string(digest[:]) != string(r.Digest) {
		return "it was changed: it does not fit its digest"
	}
	if r.Salt != nil {
		if digest := audit.PersonalDigest(r.Salt, deref(r.IP), r.UserAgent, r.Origin); string(digest[:]) != string(r.PersonalDigest) {
			return "it was changed: its ip, user agent and origin do not fit their digest"
		}
	}
	if apart := record.IssuedAt.Sub(record.RecordedAt).Abs(); apart > maxApart {
		return fmt.Sprintf("its two times differ: it was written at %s as of %s",
			record.RecordedAt.UTC().Format(time.RFC3339Nano), record.IssuedAt.UTC().Format(time.RFC3339Nano))
	}
	return ""
}

func (r *decisionRow) sealedLeaf() sealedLeaf { return sealedLeaf{r.ID, r.leaf()} }

func (r *decisionRow) leaf() tlog.Hash {
	return audit.DecisionLeaf(r.ID, timeOf(r.RecordedAt), r.Digest)
}

// changeRow is a row of audit.change_leaves.
type changeRow struct {
	ID                    int64
	RecordedAt            pgtype.Timestamptz
	Actor, Action, Target string
	Details               *string
	Digest                []byte
}

func (r *changeRow) fault() string {
	change := audit.Change{Actor: r.Actor, Action: r.Action, Target: r.Target}
	if r.Details != nil {
		change.Details = json.RawMessage(*r.Details)
	}
	if digest := change.Digest(); string(digest[:]) != string(r.Digest) {
		return "it was changed: it does not fit its digest"
	}
	return ""
}

func (r *changeRow) sealedLeaf() sealedLeaf { return sealedLeaf{r.ID, r.leaf()} }

func (r *changeRow) leaf() tlog.Hash {
	return audit.ChangeLeaf(r.ID, timeOf(r.RecordedAt), r.Digest)
}

// timeOf distinguishes infinite times, which usher never writes.
func timeOf(t pgtype.Timestamptz) time.Time {
	switch t.InfinityModifier {
	case pgtype.Infinity:
		return time.UnixMicro(math.MaxInt64).UTC()
	case pgtype.NegativeInfinity:
		return time.UnixMicro(math.MinInt64).UTC()
	case pgtype.Finite:
	}
	return t.Time
}

// arrayLiteral writes a Postgres array as text, because unnest cannot take a column
// of arrays. It is empty for an empty array.
func arrayLiteral(ids []int64) string {
	if len(ids) == 0 {
		return ""
	}
	b := []byte{'{'}
	for i, id := range ids {
		if i > 0 {
			b = append(b, ',')
		}
		b = strconv.AppendInt(b, id, 10)
	}
	return string(append(b, '}'))
}

// parseArray reads what [arrayLiteral] writes, and nothing else.
func parseArray(text string) (ids []int64, err error) {
	if text == "" {
		return nil, nil
	}
	for part := range strings.SplitSeq(strings.Trim(text, "{}"), ",") {
		id, err := strconv.ParseInt(part, 10, 64)
		if err != nil {
			return nil, errForeignArray
		}
		ids = append(ids, id)
	}
	if arrayLiteral(ids) != text {
		return nil, errForeignArray
	}
	return ids, nil
}

// codesLiteral writes a Postgres array of codes. It is empty for an empty array.
func codesLiteral(codes []string) string {
	if len(codes) == 0 {
		return ""
	}
	return "{" + strings.Join(codes, ",") + "}"
}

var codesArray = regexp.MustCompile(`^\{[a-z_]+(,[a-z_]+)*\}$`)

// parseCodes reads what [codesLiteral] writes, and nothing else.
func parseCodes(text string) ([]string, error) {
	switch {
	case text == "":
		return nil, nil
	case !codesArray.MatchString(text):
		return nil, errors.New("warnings that usher does not write")
	}
	return strings.Split(strings.Trim(text, "{}"), ","), nil
}

var errForeignArray = errors.New("a list of skipped grants that usher does not write")

// deref returns what p points to, or the zero value.
func deref[T any](p *T) (v T) {
	if p != nil {
		v = *p
	}
	return v
}

// storedHashes reads the hashes of the tree that the seals hold.
func storedHashes(ctx context.Context, q querier) tlog.HashReader {
	return tlog.HashReaderFunc(func(indexes []int64) ([]tlog.Hash, error) {
		if len(indexes) == 0 {
			return nil, nil
		}
		rows, err := q.Query(ctx, statement("tree_hashes"), pgx.StrictNamedArgs{"indexes": indexes})
		if err != nil {
			return nil, err
		}
		found, err := pgx.CollectRows(rows, pgx.RowTo[[]byte])
		if err != nil {
			return nil, err
		}
		hashes := make([]tlog.Hash, len(found))
		for i, hash := range found {
			if len(hash) != tlog.HashSize {
				return nil, errBrokenTree
			}
			hashes[i] = tlog.Hash(hash)
		}
		if len(hashes) != len(indexes) {
			return nil, errBrokenTree
		}
		return hashes, nil
	})
}

var errBrokenTree = errors.New("the stored tree does not fit its last checkpoint: usher audit verify says where")
