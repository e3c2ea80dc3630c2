// Package principal describes who a token is for and what it rests on: the user,
// as the directory and the grants showed them at one instant, an API key with its
// scope, and the claims of an identity provider. The service's packages pass these
// to each other; package session knows none of them.
package principal

import (
	"errors"
	"time"

	"github.com/usher-auth/usher/permissions"
	"github.com/usher-auth/usher/session"
)

var (
	// ErrUnavailable says that the database cannot answer now: a fault to try
	// again later, never a refusal.
	ErrUnavailable = errors.New("store is unavailable")
	// ErrUserDisabled says that the directory lists the user as disabled.
	ErrUserDisabled = errors.New("user is disabled")
	// ErrUserUnknown says that the directory does not list the user that a
	// caller named, or an identity provider or a proxy vouched for.
	ErrUserUnknown = errors.New("no such user")
	// ErrSessionUnknown says that the directory does not know the session, or
	// no longer its user.
	ErrSessionUnknown = errors.New("no such session")
)

// A Principal is one caller as the directory and the grants showed them at one
// instant: all that a token rests on.
type Principal struct {
	At        time.Time // the database's clock at the look-up
	User      session.User
	Known     bool // the directory lists the user
	Disabled  bool
	Expired   bool     // the caller's session was over at At
	MemberOf  MemberOf // what counts in this session
	Grants    []Grant  // those in force at At whose subject is the user, everyone, or one of MemberOf
	SessionID string   // of an identity provider's caller: salted hash of the session, or else of the token
}

// MemberOf lists the organizations and groups that count in a session: all of
// the user's, or those of the session's active organization alone.
type MemberOf struct {
	Organizations []string
	Groups        []string
}

// A Grant is one row that applies to a principal.
type Grant struct {
	ID          int64
	SubjectKind string // "user", "group", "organization" or "everyone"
	SubjectID   string // empty for everyone
	Template    permissions.Template
	Access      permissions.Access
	Until       time.Time // zero for a grant without an end
}

// Err reports why the principal may have no token at all, or nil.
func (p *Principal) Err() error {
	switch {
	case !p.Known:
		return ErrSessionUnknown
	case p.Expired:
		return session.ErrSessionExpired
	case p.Disabled:
		return ErrUserDisabled
	}
	return nil
}

// Rules resolves the grants to rules, with their templates filled in. A grant
// whose template does not accept a value is skipped, never widened; its ID is in
// skipped.
func (p *Principal) Rules() (rules []permissions.Rule, skipped []int64) {
	rules = make([]permissions.Rule, 0, len(p.Grants))
	for i := range p.Grants {
		var mismatch error
		if rules, mismatch = p.Expand(rules, &p.Grants[i]); mismatch != nil {
			skipped = append(skipped, p.Grants[i].ID)
		}
	}
	return rules, skipped
}

// Expand appends the rules of one grant. mismatch says why a value made none;
// there may still be rules for other values.
func (p *Principal) Expand(rules []permissions.Rule, g *Grant) (_ []permissions.Rule, mismatch error) {
	for _, organization := range g.organizations(&p.MemberOf) {
		for _, group := range g.groups(&p.MemberOf) {
			pattern, err := g.Template.Expand(permissions.Values{User: p.User.ID, Organization: organization, Group: group})
			if err != nil {
				mismatch = err
				continue
			}
			rules = append(rules, permissions.Rule{Pattern: pattern, Access: g.Access})
		}
	}
	return rules, mismatch
}

// Prepare begins the principal's session with all that its grants give, each until
// it ends, for what is asked, at the instant of the look-up. skipped is that of
// [Principal.Rules]. A principal with an [Principal.Err] may have no token.
func (p *Principal) Prepare(issuer *session.Issuer, r session.Request) (s *session.Session, skipped []int64) {
	s = issuer.Prepare(p.User).For(r).At(p.At)
	rules := make([]permissions.Rule, 0, len(p.Grants))
	for i := range p.Grants {
		g := &p.Grants[i]
		var mismatch error
		if rules, mismatch = p.Expand(rules[:0], g); mismatch != nil {
			skipped = append(skipped, g.ID)
		}
		s.AllowUntil(g.Until, rules...)
	}
	return s, skipped
}

var unused = []string{""}

// organizations returns the values of {organization}: the subject's own where
// the grant is an organization's, else every one that counts.
func (g *Grant) organizations(m *MemberOf) []string {
	switch {
	case !g.Template.Uses(permissions.OrganizationPlaceholder):
		return unused
	case g.SubjectKind == "organization":
		return []string{g.SubjectID}
	}
	return m.Organizations
}

func (g *Grant) groups(m *MemberOf) []string {
	switch {
	case !g.Template.Uses(permissions.GroupPlaceholder):
		return unused
	case g.SubjectKind == "group":
		return []string{g.SubjectID}
	}
	return m.Groups
}
