// Package principal describes who a token is for and what it is based on: the user with
// their grants, as read from the directory at one time, an API key with its scope, and the
// claims of an identity provider. The service's packages pass these to each other; package
// session does not use them.
package principal

import (
	"errors"
	"time"

	"github.com/usher-auth/usher/permissions"
	"github.com/usher-auth/usher/session"
)

var (
	// ErrUnavailable is returned if the database cannot answer. It is never a refusal:
	// try again later.
	ErrUnavailable = errors.New("store is unavailable")
	// ErrUserDisabled is returned if the user is disabled in the directory.
	ErrUserDisabled = errors.New("user is disabled")
	// ErrUserUnknown is returned if the directory does not list the user that an API
	// key's request, an identity provider's token or a proxy named.
	ErrUserUnknown = errors.New("no such user")
	// ErrSessionUnknown is returned if the directory does not have the session, or no
	// longer has its user.
	ErrSessionUnknown = errors.New("no such session")
)

// A Principal is one caller with everything that a token is based on, as read from the
// directory and the grants at one time.
type Principal struct {
	At        time.Time // the database's clock at the look-up
	User      session.User
	Known     bool // the directory lists the user
	Disabled  bool
	Expired   bool     // the caller's session was over at At
	MemberOf  MemberOf // the memberships that count in this session
	Grants    []Grant  // the active grants at At to the user, to everyone and to MemberOf
	SessionID string   // with an identity provider's token: salted hash of its session, or of the token if it names none
}

// MemberOf lists the organizations and groups that count in a session: all of the user's,
// or only those of the session's active organization.
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

// Err returns the reason why the principal may have no token at all, or nil.
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

// Rules returns the rules of the grants, with their templates filled in. A grant is skipped
// if a value does not fit into its template; its ID is then in skipped. A grant never gives
// more than its template says.
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

// Expand appends the rules of one grant. mismatch is the reason why a value does not fit;
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

// Prepare begins a session for the request, issued at the time of the look-up, with the
// rules of all grants, each until its grant ends. skipped is as in [Principal.Rules]. Check
// [Principal.Err] first: if it is not nil, the principal may have no token.
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

// organizations returns the values of {organization}. For a grant to an organization, this
// is that organization; for other grants, all organizations that count.
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
