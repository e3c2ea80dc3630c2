package db

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/usher-auth/usher/permissions"
)

var (
	//go:embed queries/add_grant.sql
	addGrantSQL string
	//go:embed queries/list_grants.sql
	listGrantsSQL string
	//go:embed queries/revoke_grant.sql
	revokeGrantSQL string
	//go:embed queries/lock_templates.sql
	lockTemplatesSQL string
	//go:embed queries/live_templates.sql
	liveTemplatesSQL string
)

// ErrOpenPrefix says that a pattern's wildcard does not end a segment, and that
// nobody asked for that by name. With it comes the [*permissions.PatternError].
var ErrOpenPrefix = errors.New("such a pattern is granted only when it is asked for by name")

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

// A NewGrant is what [DB.AddGrant] takes.
type NewGrant struct {
	Subject      Subject
	Organization string             // confines the grant to sessions of it; empty: every session
	Kind         permissions.Kind   // of the pattern
	Pattern      string             // or a template: see [permissions.ParseTemplate]
	Access       permissions.Access // Read or Full
	From         time.Time          // zero: at once
	Until        time.Time          // zero: for ever
	Reason       string
	OpenPrefix   bool // asks for a wildcard that does not end a segment
}

// AddGrant adds a grant. The warnings are sentences about a grant that was
// added all the same.
//
// A pattern that is none is a [*permissions.PatternError]; an open prefix is
// that and [ErrOpenPrefix]. A subject or an organization that is not there is
// [ErrNotFound]. The same grant twice, which would outlive its revocation, is
// [ErrExists], and so is a template beside another that it can meet in one id,
// with different placeholders ([permissions.Template.Conflicts]).
func (db *DB) AddGrant(ctx context.Context, g NewGrant, actor string) (added Grant, warnings []string, err error) {
	template, warnings, err := g.check()
	if err != nil {
		return Grant{}, nil, err
	}
	err = db.transactAs(ctx, actor, "add grant", func(ctx context.Context, tx pgx.Tx) (err error) {
		if err := lockSubject(ctx, tx, g.Subject); err != nil {
			return err
		}
		if g.Organization != "" {
			if err := lockSubject(ctx, tx, Subject{OrganizationKind, g.Organization}); err != nil {
				return err
			}
		}
		if err := checkTemplate(ctx, tx, template); err != nil {
			return err
		}
		added, err = queryRow[Grant](ctx, tx, addGrantSQL, g.args(actor))
		if errors.Is(err, pgx.ErrNoRows) {
			return g.refuseTwin(ctx, tx)
		}
		if violates(err, checkViolation, "grants_template_conflict") {
			return refuseConflict(g.Pattern, err)
		}
		if err != nil {
			return err
		}
		return record(ctx, tx, "grant.add", strconv.FormatInt(added.ID, 10), added)
	})
	if err != nil {
		return Grant{}, nil, err
	}
	return added, warnings, nil
}

// check judges what can be judged without the database.
func (g *NewGrant) check() (template permissions.Template, warnings []string, err error) {
	switch g.Subject.Kind {
	case UserKind, GroupKind, OrganizationKind:
		err = checkID(g.Subject.Kind, g.Subject.ID)
	case EveryoneKind:
		if g.Subject.ID != "" {
			err = refuse(ErrInvalid, "everyone has no id")
		}
	default:
		err = refuse(ErrInvalid, "the subject is none of user, group, organization and everyone")
	}
	if err == nil && g.Organization != "" {
		err = checkID(OrganizationKind, g.Organization)
	}
	if err != nil {
		return template, nil, err
	}
	if g.Access != permissions.Read && g.Access != permissions.Full {
		return template, nil, refuse(ErrInvalid, "the access is neither read nor full")
	}
	if !g.Until.IsZero() && (!g.Until.After(g.From) || !g.Until.After(time.Now())) {
		return template, nil, refuse(ErrInvalid, "the grant would end at %s, before it begins", g.Until.Format(time.RFC3339))
	}
	if template, err = permissions.ParseTemplate(g.Kind, g.Pattern); err != nil {
		return template, nil, err
	}
	if warnings, err = template.Lint(); err != nil && !g.OpenPrefix {
		return template, nil, fmt.Errorf("%w; %w", err, ErrOpenPrefix)
	}
	return template, warnings, nil
}

func (g *NewGrant) args(actor string) pgx.StrictNamedArgs {
	timeOrNull := func(t time.Time) *time.Time {
		if t.IsZero() {
			return nil
		}
		return &t
	}
	return pgx.StrictNamedArgs{
		"subject_kind": g.Subject.Kind, "subject_id": g.Subject.ID, "organization_id": g.Organization,
		"resource_kind": g.Kind.String(), "pattern": g.Pattern, "access": g.Access.String(),
		"valid_from": timeOrNull(g.From), "valid_until": timeOrNull(g.Until), "reason": g.Reason, "actor": actor,
	}
}

// checkTemplate refuses a template that can meet a live one, with different
// placeholders, in one id. The table's trigger refuses the plainest such case
// from whoever inserts; this sees all of them. Of two calls at the same time,
// the second waits for the first.
func checkTemplate(ctx context.Context, tx pgx.Tx, template permissions.Template) error {
	if !strings.Contains(template.String(), "{") {
		return nil
	}
	args := pgx.StrictNamedArgs{"kind": template.Kind().String()}
	if _, err := tx.Exec(ctx, lockTemplatesSQL, args); err != nil {
		return err
	}
	type liveTemplate struct {
		ID      int64
		Pattern string
	}
	others, err := list[liveTemplate](ctx, tx, "list templates", liveTemplatesSQL, args)
	if err != nil {
		return err
	}
	for _, other := range others {
		parsed, err := permissions.ParseTemplate(template.Kind(), other.Pattern)
		if err == nil && template.Conflicts(parsed) { // what cannot be parsed expands to nothing
			return refuseConflict(template.String(), fmt.Errorf("grant %d has %q", other.ID, other.Pattern))
		}
	}
	return nil
}

func refuseConflict(pattern string, cause error) error {
	why := cause.Error()
	if pgErr, ok := errors.AsType[*pgconn.PgError](cause); ok {
		why = pgErr.Message
	}
	return refuse(ErrExists, "pattern %q is refused, for %s: with both, one who is called like another's organization, "+
		"group or user would enter what is theirs; begin one of the two with a word of its own, or revoke that grant first", pattern, why)
}

// refuseTwin names the live grant that is the same as g.
func (g *NewGrant) refuseTwin(ctx context.Context, tx pgx.Tx) error {
	live, err := grants(ctx, tx, GrantFilter{Subject: g.Subject, Kind: g.Kind, Pattern: g.Pattern})
	if err != nil {
		return err
	}
	i := slices.IndexFunc(live, func(other Grant) bool {
		return other.Access == g.Access.String() && other.OrganizationID == g.Organization && other.ValidUntil == nil
	})
	if i < 0 {
		return refuse(ErrExists, "the same grant was there and is being revoked: try again")
	}
	return refuse(ErrExists, "grant %d is the same: revoke that one first, or leave it", live[i].ID)
}

// A GrantFilter narrows [DB.Grants]. The zero value lets through all grants
// that hold now or will.
type GrantFilter struct {
	ID      int64            // zero: any
	Subject Subject          // zero: any
	Kind    permissions.Kind // zero: any
	Pattern string           // with Kind: grants whose pattern is this very text; empty: any
	Ended   bool             // adds those that were revoked or are over
}

// Grants lists grants in the order in which they were made.
func (db *DB) Grants(ctx context.Context, filter GrantFilter) ([]Grant, error) {
	return grants(ctx, db.pool, filter)
}

func grants(ctx context.Context, q querier, filter GrantFilter) ([]Grant, error) {
	kind := ""
	if filter.Kind != 0 {
		kind = filter.Kind.String()
	}
	return list[Grant](ctx, q, "list grants", listGrantsSQL, pgx.StrictNamedArgs{
		"id": filter.ID, "subject_kind": filter.Subject.Kind, "subject_id": filter.Subject.ID,
		"resource_kind": kind, "pattern": filter.Pattern, "ended": filter.Ended,
	})
}

// RevokeGrant revokes a grant and returns it: it is gone at the next request.
// One that is not there, or was revoked already, is [ErrNotFound].
func (db *DB) RevokeGrant(ctx context.Context, id int64, reason, actor string) (Grant, error) {
	var revoked Grant
	err := db.transactAs(ctx, actor, "revoke grant", func(ctx context.Context, tx pgx.Tx) (err error) {
		revoked, err = queryRow[Grant](ctx, tx, revokeGrantSQL, pgx.StrictNamedArgs{"id": id, "reason": reason, "actor": actor})
		if err == nil {
			return record(ctx, tx, "grant.revoke", strconv.FormatInt(id, 10), revoked)
		}
		if !errors.Is(err, pgx.ErrNoRows) {
			return err
		}
		before, err := grants(ctx, tx, GrantFilter{ID: id, Ended: true})
		switch {
		case err != nil:
			return err
		case len(before) == 0 || before[0].RevokedAt == nil:
			return refuse(ErrNotFound, "there is no grant %d: list the grants to find its id", id)
		}
		return refuse(ErrNotFound, "grant %d was revoked already, at %s by %s",
			id, before[0].RevokedAt.UTC().Format(time.RFC3339), before[0].RevokedBy)
	})
	return revoked, err
}
