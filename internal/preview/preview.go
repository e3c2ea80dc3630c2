// Package preview shows which token a user would get for a request, and how each of their
// grants was used. It issues and records nothing.
package preview

import (
	"cmp"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/usher-auth/usher/internal/principal"
	"github.com/usher-auth/usher/permissions"
	"github.com/usher-auth/usher/session"
)

// A Preview is the token that a user would get for a request, and why.
type Preview struct {
	At           time.Time `json:"at"` // the database's clock at the look-up
	UserID       string    `json:"userId"`
	Organization string    `json:"organization,omitempty"` // the session's active organization, if any
	// Organizations and Groups are those that count.
	Organizations []string `json:"organizations"`
	Groups        []string `json:"groups"`
	Room          string   `json:"room,omitempty"`
	Store         string   `json:"store,omitempty"`
	Audience      string   `json:"audience"` // the sync backend

	// Refusal is the reason why there would be no token. It is nil if there would be one.
	Refusal error `json:"-"`
	// Reason is the code of Refusal, as the audit would record it. The caller of [Of]
	// fills it in.
	Reason string `json:"reason,omitempty"`

	// RoomAccess and StoreAccess are the user's access to the requested room and store.
	// They are nil if the request names none, or if the user may have no token at all.
	RoomAccess  *permissions.Access `json:"roomAccess,omitempty"`
	StoreAccess *permissions.Access `json:"storeAccess,omitempty"`
	// Patterns are the patterns in the token. They are nil for a refusal.
	Patterns    *session.Patterns `json:"patterns,omitempty"`
	Partial     bool              `json:"partial,omitempty"`
	InfoOmitted bool              `json:"infoOmitted,omitempty"` // larger than a token takes
	// ExpiresAt is when a token issued at At would expire; nil for a refusal.
	ExpiresAt *time.Time `json:"expiresAt,omitempty"`
	// EndsWith is what limits ExpiresAt: "ttl", "session", or "grant" for the rules with
	// EndsToken.
	EndsWith string `json:"endsWith,omitempty"`

	// Grants are the user's active grants. They are empty if the user may have no token
	// at all.
	Grants []Grant `json:"grants"`
}

// A Grant is one grant, and how it was used.
type Grant struct {
	ID          int64              `json:"id"`
	SubjectKind string             `json:"subjectKind"`
	SubjectID   string             `json:"subjectId,omitempty"`
	Kind        string             `json:"kind"` // "room" or "store"
	Pattern     string             `json:"pattern"`
	Access      permissions.Access `json:"access"`
	Until       *time.Time         `json:"until,omitempty"` // nil for a grant without an end
	// Carried reports whether the token has patterns of the grant's kind: rooms if the
	// request is for a room, stores if it is for a store, and otherwise the kinds that
	// the sync backend accepts.
	Carried bool `json:"carried"`
	// Skipped is the reason why a value does not fit into the grant's template.
	Skipped string `json:"skipped,omitempty"`
	// Rules are the rules of the grant, with the templates filled in.
	Rules []Rule `json:"rules"`
}

// A Rule is one rule of a grant, and how it was used.
type Rule struct {
	Pattern string `json:"pattern"`
	// Matches reports whether the pattern matches the requested room or store. It is nil
	// if the request names none of this kind.
	Matches *bool `json:"matches,omitempty"`
	// Decides reports whether the user's access to it comes from this rule.
	Decides bool `json:"decides,omitempty"`
	// CoveredBy is the broader rule that makes this one unnecessary.
	CoveredBy *Cover `json:"coveredBy,omitempty"`
	InToken   bool   `json:"inToken"`
	// EndsToken reports whether the token expires with this rule's grant.
	EndsToken bool `json:"endsToken,omitempty"`
	// LeftOut is the reason why a rule that no other rule covers is not in the token.
	LeftOut *Omission `json:"leftOut,omitempty"`
}

// A Cover is a rule with the same or more access and the same or a broader pattern.
type Cover struct {
	Pattern string             `json:"pattern"`
	Access  permissions.Access `json:"access"`
}

// An Omission is the limit of the token that kept a rule out.
type Omission struct {
	Limit string `json:"limit"` // "patterns", "bytes", or "time" if the grant ends within a second
	// Dependents are the stronger patterns that the token would have to include with it.
	Dependents []string `json:"dependents,omitempty"`
	// ReplacedBy is the id that the token has instead of the pattern.
	ReplacedBy string `json:"replacedBy,omitempty"`
}

// Of does everything that [principal.Principal.Prepare] and [session.Session.Authorize] do
// except signing. Its errors are those of [session.Issuer.Check], and faults. A refusal is
// part of the preview.
func Of(issuer *session.Issuer, p *principal.Principal, r session.Request) (*Preview, error) {
	if err := issuer.Check(r); err != nil {
		return nil, err
	}
	audience, err := issuer.Audience(r)
	if err != nil {
		return nil, err
	}
	v := &Preview{
		At: p.At, UserID: p.User.ID, Organization: p.User.Organization,
		Organizations: append([]string{}, p.MemberOf.Organizations...), Groups: append([]string{}, p.MemberOf.Groups...),
		Room: r.Room, Store: r.Store, Audience: audience.Name, Grants: []Grant{},
	}
	if v.Refusal = p.Err(); v.Refusal != nil {
		if !p.Known {
			v.Refusal = principal.ErrUserUnknown
		}
		return v, nil
	}

	s, _ := p.Prepare(issuer, r)
	token, err := s.Preview()
	switch {
	case errors.Is(err, session.ErrNoAccess), errors.Is(err, session.ErrSessionExpired):
		v.Refusal = err
	case err != nil:
		return nil, err
	default:
		t := &token.Token
		v.Patterns, v.Partial, v.InfoOmitted = &t.Patterns, t.Partial, t.InfoOmitted
		v.ExpiresAt, v.EndsWith = &t.ExpiresAt, "ttl"
		if p.User.Until.Truncate(time.Second).Equal(t.ExpiresAt) {
			v.EndsWith = "session"
		}
	}
	kinds := map[permissions.Kind]*kind{}
	if audience.Rooms {
		k := newKind(p, permissions.RoomKind, r.Room, token.Rooms, v.ExpiresAt)
		kinds[permissions.RoomKind] = k
		if r.Room != "" {
			v.RoomAccess = &k.access
		}
	}
	if audience.Stores {
		k := newKind(p, permissions.StoreKind, r.Store, token.Stores, v.ExpiresAt)
		kinds[permissions.StoreKind] = k
		if r.Store != "" {
			v.StoreAccess = &k.access
		}
	}
	for _, k := range kinds {
		if len(k.ending) > 0 {
			v.EndsWith = "grant"
		}
	}
	for n := range p.Grants {
		v.Grants = append(v.Grants, grantOf(p, &p.Grants[n], kinds[p.Grants[n].Template.Kind()]))
	}
	slices.SortFunc(v.Grants, func(a, b Grant) int { return cmp.Compare(a.ID, b.ID) })
	return v, nil
}

// A kind says how the rules of one kind were used.
type kind struct {
	cover    permissions.Set
	asked    string             // the requested id, or empty
	access   permissions.Access // to the requested id
	inToken  map[permissions.Rule]bool
	omission map[permissions.Rule]*Omission
	ending   []ending // the rules of the token that it expires with
}

// An ending is a rule of the token, and when the last grant of it ends.
type ending struct {
	permissions.Rule
	at time.Time
}

// newKind returns how the rules of a choice were used. choice is nil if the request was
// refused before there was one. expires is when the token expires, nil for a refusal.
func newKind(p *principal.Principal, of permissions.Kind, asked string, choice *session.Choice, expires *time.Time) *kind {
	if choice == nil {
		left := *p
		left.Grants = slices.DeleteFunc(slices.Clone(p.Grants), func(g principal.Grant) bool {
			return g.Template.Kind() != of || !g.Until.IsZero() && !g.Until.Truncate(time.Second).After(p.At)
		})
		rules, _ := left.Rules()
		choice = &session.Choice{Cover: permissions.Cover(rules)}
	}
	k := &kind{cover: choice.Cover, asked: asked, access: choice.Cover.Access(asked)}
	if expires == nil { // there is no token
		return k
	}
	k.inToken = map[permissions.Rule]bool{}
	for n, r := range choice.Selection.Set.Rules() {
		k.inToken[r] = true
		if end := choice.Ends[n]; end.Truncate(time.Second).Equal(*expires) {
			k.ending = append(k.ending, ending{r, end})
		}
	}
	k.omission = map[permissions.Rule]*Omission{}
	for _, o := range k.cover.Omissions(choice.Selection, choice.Limit) {
		left := &Omission{Limit: "bytes"}
		if o.TooMany {
			left.Limit = "patterns"
		}
		for _, c := range o.Dependents {
			left.Dependents = append(left.Dependents, c.Pattern.String())
		}
		if asked != "" && o.Rule.Access == k.access && o.Rule.Pattern.Matches(asked) {
			left.ReplacedBy = asked // otherwise the rule itself would have been chosen first
		}
		k.omission[o.Rule] = left
	}
	return k
}

// grantOf returns how a grant was used. k is nil for a kind that the token does not carry.
func grantOf(p *principal.Principal, g *principal.Grant, k *kind) Grant {
	rules, mismatch := p.Expand(nil, g)
	v := Grant{
		ID: g.ID, SubjectKind: g.SubjectKind, SubjectID: g.SubjectID, Kind: g.Template.Kind().String(), Pattern: g.Template.String(), Access: g.Access,
		Carried: k != nil, Rules: make([]Rule, len(rules)),
	}
	if !g.Until.IsZero() {
		v.Until = &g.Until
	}
	if g.Template.Kind() == 0 {
		v.Kind, v.Skipped = "", "the stored pattern is not valid"
	} else if mismatch != nil {
		v.Skipped = strings.TrimPrefix(mismatch.Error(), "permissions: ")
	}
	for n, r := range rules {
		v.Rules[n] = Rule{Pattern: r.Pattern.String()}
		if k != nil {
			k.explain(r, g.Until, &v.Rules[n])
		}
	}
	return v
}

func (k *kind) explain(r permissions.Rule, until time.Time, v *Rule) {
	if k.asked != "" {
		matches := r.Pattern.Matches(k.asked)
		v.Matches = &matches
	}
	v.EndsToken = slices.ContainsFunc(k.ending, func(e ending) bool {
		return e.at.Equal(until) && r.Access >= e.Access && r.Pattern.Covers(e.Pattern)
	})
	c, ok := k.cover.Covering(r)
	switch {
	case ok && c != r:
		v.CoveredBy = &Cover{c.Pattern.String(), c.Access}
		return
	case !ok && k.inToken != nil:
		v.LeftOut = &Omission{Limit: "time"}
		return
	}
	v.Decides = v.Matches != nil && *v.Matches && r.Access == k.access
	v.InToken, v.LeftOut = k.inToken[r], k.omission[r]
}
