package session

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/usher-auth/usher/permissions"
)

// ErrUnavailable says that the store of users, grants or audit rows cannot
// answer now: a fault to try again later, never a refusal.
var ErrUnavailable = errors.New("session: store is unavailable")

// ErrUserDisabled says that the directory lists the user as disabled.
var ErrUserDisabled = errors.New("session: user is disabled")

// ErrUserUnknown says that the directory does not list the user whom a caller
// named, or an identity provider or a proxy vouched for.
var ErrUserUnknown = errors.New("session: no such user")

// ErrSessionUnknown says that the directory knows no such session, or no
// longer its user.
var ErrSessionUnknown = errors.New("session: no such session")

// ErrSessionExpired says that the caller's own session is over.
var ErrSessionExpired = errors.New("session: session has expired")

// A Principal is all that a token rests on: one caller as the directory and
// the grants showed them at one instant.
type Principal struct {
	At        time.Time // the database's clock at the look-up
	User      User
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
	Kind        permissions.Kind
	Pattern     string // may hold {user}, {organization}, {group}
	Access      permissions.Access
}

// Err reports why the principal may have no token at all, or nil.
func (p *Principal) Err() error {
	switch {
	case !p.Known:
		return ErrSessionUnknown
	case p.Expired:
		return ErrSessionExpired
	case p.Disabled:
		return ErrUserDisabled
	}
	return nil
}

// Rules resolves the grants to rules, templates filled in. A grant whose
// template meets a value that does not fit is skipped, never widened; its ID
// is in skipped.
func (p *Principal) Rules() (rules []permissions.Rule, skipped []int64) {
	rules = make([]permissions.Rule, 0, len(p.Grants))
	for i := range p.Grants {
		var misfit error
		if rules, misfit = p.expand(rules, &p.Grants[i]); misfit != nil {
			skipped = append(skipped, p.Grants[i].ID)
		}
	}
	return rules, skipped
}

// expand appends a grant's rules, of which some may be there beside the misfit:
// why a value makes none.
func (p *Principal) expand(rules []permissions.Rule, g *Grant) (_ []permissions.Rule, misfit error) {
	template, err := permissions.ParseTemplate(g.Kind, g.Pattern)
	if err != nil {
		return rules, err
	}
	for _, organization := range g.organizations(template, &p.MemberOf) {
		for _, group := range g.groups(template, &p.MemberOf) {
			pattern, err := template.Expand(permissions.Values{User: p.User.ID, Organization: organization, Group: group})
			if err != nil {
				misfit = err
				continue
			}
			rules = append(rules, permissions.Rule{Pattern: pattern, Access: g.Access})
		}
	}
	return rules, misfit
}

var unused = []string{""}

// organizations returns the values of {organization}: the subject's own where
// the grant is an organization's, else every one that counts.
func (g *Grant) organizations(t permissions.Template, m *MemberOf) []string {
	switch {
	case !t.Uses(permissions.OrganizationPlaceholder):
		return unused
	case g.SubjectKind == "organization":
		return []string{g.SubjectID}
	}
	return m.Organizations
}

func (g *Grant) groups(t permissions.Template, m *MemberOf) []string {
	switch {
	case !t.Uses(permissions.GroupPlaceholder):
		return unused
	case g.SubjectKind == "group":
		return []string{g.SubjectID}
	}
	return m.Groups
}

// A User is who a token is for.
type User struct {
	// ID becomes sub and uid: opaque, at most 128 UTF-16 units.
	ID string
	// Info becomes ui, without its blanks: a JSON object of at most 1,024 characters as
	// Liveblocks allows, or nil. Larger info is left out of the token.
	Info json.RawMessage
	// Organization becomes org: the active organization of the session, or
	// empty.
	Organization string
	// Session becomes sid: a salted hash of the caller's session, or empty.
	Session string
	// Until bounds the token's life: it never outlives the caller's own
	// session. The zero time is no bound.
	Until time.Time
}

const maxDirectoryID = 128 // UTF-16 units

// DirectoryIDFault says why s cannot be the id of a user, an organization or a
// group, to follow "the id": an id is valid UTF-8 of 1 to 128 UTF-16 units
// without control characters. It is empty for one that can. Unlike a room's, an
// id may hold '*': it is never a pattern.
func DirectoryIDFault(s string) string {
	switch {
	case s == "":
		return "is empty"
	case !utf8.ValidString(s):
		return "is not valid UTF-8"
	case strings.ContainsFunc(s, unicode.IsControl):
		return "holds a control character"
	case utf16Len(s) > maxDirectoryID:
		return fmt.Sprintf("is longer than %d UTF-16 units", maxDirectoryID)
	}
	return ""
}

// IsDirectoryID reports whether s can be such an id.
func IsDirectoryID(s string) bool { return DirectoryIDFault(s) == "" }
