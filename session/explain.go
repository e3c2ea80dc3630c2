package session

import (
	"cmp"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/usher-auth/usher/permissions"
)

// An Explanation says what token a user would get for a request, and why.
// Nothing was issued, and nothing recorded.
type Explanation struct {
	At           time.Time `json:"at"` // the database's clock at the look-up
	UserID       string    `json:"userId"`
	Organization string    `json:"organization,omitempty"` // that the session would be confined to
	// Organizations and Groups are those that count.
	Organizations []string `json:"organizations"`
	Groups        []string `json:"groups"`
	Room          string   `json:"room,omitempty"`
	Store         string   `json:"store,omitempty"`
	Audience      string   `json:"audience"` // the sync backend

	// Refusal is why there would be no token; nil where there would be one.
	Refusal error `json:"-"`
	// Reason is the audit's word for it. Who knows the words puts it here.
	Reason string `json:"reason,omitempty"`

	// RoomAccess and StoreAccess are the user's access to what was asked for;
	// nil where it was not, or where the user may have no token at all.
	RoomAccess  *permissions.Access `json:"roomAccess,omitempty"`
	StoreAccess *permissions.Access `json:"storeAccess,omitempty"`
	// Patterns are the token's, nil for a refusal.
	Patterns    *Patterns `json:"patterns,omitempty"`
	Partial     bool      `json:"partial,omitempty"`
	InfoOmitted bool      `json:"infoOmitted,omitempty"` // larger than a token takes

	// Grants are those of the user that are in force, all that was looked at;
	// none where the user may have no token whatever they say.
	Grants []ExplainedGrant `json:"grants"`
}

// An ExplainedGrant is what became of one grant.
type ExplainedGrant struct {
	ID          int64              `json:"id"`
	SubjectKind string             `json:"subjectKind"`
	SubjectID   string             `json:"subjectId,omitempty"`
	Kind        string             `json:"kind"` // "room" or "store"
	Pattern     string             `json:"pattern"`
	Access      permissions.Access `json:"access"`
	// Carried says that the token carries patterns of the kind at all: rooms for
	// a room, stores for a store, else what the sync backend takes.
	Carried bool `json:"carried"`
	// Skipped is why a value does not fit the grant's template.
	Skipped string `json:"skipped,omitempty"`
	// Rules are what the grant gives, templates filled in.
	Rules []ExplainedRule `json:"rules"`
}

// An ExplainedRule is what became of one rule of a grant.
type ExplainedRule struct {
	Pattern string `json:"pattern"`
	// Matches says that the pattern matches the room or the store that was asked
	// for; nil where none of the kind was.
	Matches *bool `json:"matches,omitempty"`
	// Decides says that the user's access to it comes from this rule.
	Decides bool `json:"decides,omitempty"`
	// CoveredBy is the broader rule that makes this one needless.
	CoveredBy *ExplainedCover `json:"coveredBy,omitempty"`
	InToken   bool            `json:"inToken"`
	// LeftOut says why a rule that no other covers is not in the token.
	LeftOut *ExplainedOmission `json:"leftOut,omitempty"`
}

// An ExplainedCover is a rule of the same or more access, whose pattern is as
// broad or broader.
type ExplainedCover struct {
	Pattern string             `json:"pattern"`
	Access  permissions.Access `json:"access"`
}

// An ExplainedOmission is a limit of the token that a rule did not fit.
type ExplainedOmission struct {
	Limit string `json:"limit"` // "patterns" or "bytes"
	// Company are the stronger patterns that had to go in with it.
	Company []string `json:"company,omitempty"`
	// StandIn is the id that went into the token in place of the pattern.
	StandIn string `json:"standIn,omitempty"`
}

// Explain goes the way of [Issuer.PrepareFor] and [Session.Authorize] for a
// user whom somebody else vouches for, up to the signature. The errors are those
// of [Issuer.Check] and faults; a refusal is part of the explanation.
func (i *Issuer) Explain(p *Principal, r Request) (*Explanation, error) {
	if err := i.Check(r); err != nil {
		return nil, err
	}
	audience, err := i.Audience(r)
	if err != nil {
		return nil, err
	}
	e := &Explanation{
		At: p.At, UserID: p.User.ID, Organization: p.User.Organization,
		Organizations: append([]string{}, p.MemberOf.Organizations...), Groups: append([]string{}, p.MemberOf.Groups...),
		Room: r.Room, Store: r.Store, Audience: audience.Name, Grants: []ExplainedGrant{},
	}
	if e.Refusal = p.Err(); e.Refusal != nil {
		if !p.Known {
			e.Refusal = ErrUserUnknown
		}
		return e, nil
	}

	s, _ := i.PrepareFor(p, r)
	// Where a store is refused, the room is not come to.
	kinds := map[permissions.Kind]*explainedKind{}
	if audience.Rooms {
		kinds[permissions.RoomKind] = &explainedKind{asked: r.Room, choice: choice{cover: permissions.Cover(s.rooms)}}
	}
	if audience.Stores {
		kinds[permissions.StoreKind] = &explainedKind{asked: r.Store, choice: choice{cover: permissions.Cover(s.stores)}}
	}
	s.chose = func(kind permissions.Kind, c choice) { kinds[kind].choice = c }
	t, _, _, err := s.settle()
	switch {
	case errors.Is(err, ErrNoAccess), errors.Is(err, ErrSessionExpired):
		e.Refusal = err
	case err != nil:
		return nil, err
	default:
		e.Patterns, e.Partial, e.InfoOmitted = &t.Patterns, t.Partial, t.InfoOmitted
	}
	for kind, k := range kinds {
		k.read(e.Refusal == nil)
		if k.asked == "" {
			continue
		}
		if kind == permissions.RoomKind {
			e.RoomAccess = &k.access
		} else {
			e.StoreAccess = &k.access
		}
	}
	for n := range p.Grants {
		e.Grants = append(e.Grants, p.explain(&p.Grants[n], kinds[p.Grants[n].Kind]))
	}
	slices.SortFunc(e.Grants, func(a, b ExplainedGrant) int { return cmp.Compare(a.ID, b.ID) })
	return e, nil
}

// explainedKind is what happened to the rules of one kind.
type explainedKind struct {
	choice
	asked    string             // the id, or empty
	access   permissions.Access // to it
	inToken  map[permissions.Rule]bool
	omission map[permissions.Rule]*ExplainedOmission
}

// read takes the choice apart. Nothing of a refusal is in a token.
func (k *explainedKind) read(issued bool) {
	k.access = k.cover.Access(k.asked)
	if !issued {
		return
	}
	k.inToken = map[permissions.Rule]bool{}
	for _, r := range k.selection.Set.Rules() {
		k.inToken[r] = true
	}
	k.omission = map[permissions.Rule]*ExplainedOmission{}
	for _, o := range k.cover.Omissions(k.selection, k.limit) {
		left := &ExplainedOmission{Limit: "bytes"}
		if o.TooMany {
			left.Limit = "patterns"
		}
		for _, c := range o.Company {
			left.Company = append(left.Company, c.Pattern.String())
		}
		if k.asked != "" && o.Rule.Access == k.access && o.Rule.Pattern.Matches(k.asked) {
			left.StandIn = k.asked // else the rule itself would have gone in first
		}
		k.omission[o.Rule] = left
	}
}

// explain says what became of a grant; k is nil for a kind that the token does
// not carry.
func (p *Principal) explain(g *Grant, k *explainedKind) ExplainedGrant {
	rules, misfit := p.expand(nil, g)
	e := ExplainedGrant{
		ID: g.ID, SubjectKind: g.SubjectKind, SubjectID: g.SubjectID, Kind: g.Kind.String(), Pattern: g.Pattern, Access: g.Access,
		Carried: k != nil, Rules: make([]ExplainedRule, len(rules)),
	}
	if misfit != nil {
		e.Skipped = strings.TrimPrefix(misfit.Error(), "permissions: ")
	}
	for n, r := range rules {
		e.Rules[n] = ExplainedRule{Pattern: r.Pattern.String()}
		if k != nil {
			k.explain(r, &e.Rules[n])
		}
	}
	return e
}

func (k *explainedKind) explain(r permissions.Rule, e *ExplainedRule) {
	if k.asked != "" {
		matches := r.Pattern.Matches(k.asked)
		e.Matches = &matches
	}
	if c, ok := k.cover.Covering(r); ok && c != r {
		e.CoveredBy = &ExplainedCover{c.Pattern.String(), c.Access}
		return
	}
	e.Decides = e.Matches != nil && *e.Matches && r.Access == k.access
	e.InToken, e.LeftOut = k.inToken[r], k.omission[r]
}
