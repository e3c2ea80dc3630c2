package audit

import (
	"encoding/json"
	"errors"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/usher-auth/usher/permissions"
)

// Kinds of caller, as the audit names them.
const (
	CallerNone     = "none" // refused before the caller was known
	CallerSession  = "session"
	CallerProvider = "provider" // an identity provider's token
	CallerAPIKey   = "api_key"
	CallerProxy    = "proxy" // the CallerID is the proxy's address
	CallerAdminKey = "admin_key"
	CallerOperator = "operator" // a person on the command line
)

// Results of a [Record].
const (
	ResultIssued = "issued"
	ResultDenied = "denied"
)

// Kinds of [Token].
const (
	AccessToken   = "access"
	IdentityToken = "identity" // names a user, and has no permissions
)

// WarnOpenPrefix warns that a backend chose a wildcard that does not end a segment: acme*
// also matches acme-evil.
const WarnOpenPrefix = "open_prefix"

// A Decision is what the service decided about one request: a token or a denial. A [Record] is
// made from it.
type Decision struct {
	// Token is the issued token. It is nil for a denial, which has a Reason.
	Token  *Token
	Reason string // a code
	// CallerUnknown marks a denial of a caller that usher does not know. Anyone can cause
	// any number of these, so many of them within a minute are stored as counts.
	CallerUnknown bool
	// CallerFormer marks a denial of a credential that was good in the past, such as an
	// expired session or a revoked key. Anyone who still has it can cause any number of
	// these, so many of them within a minute are stored as counts, by CallerID.
	CallerFormer bool
	At           time.Time

	CallerKind     string
	CallerID       string // for a session its sid, for an identity provider's token the issuer and a hash; never a token itself
	UserID         string
	OrganizationID string // the session's active organization: the org claim
	Request        Request
	SkippedGrants  []int64  // grants with a template that a value does not fit
	Warnings       []string // codes, such as [WarnOpenPrefix]

	IP        netip.Addr
	UserAgent string
	Origin    string
	RequestID string
}

// A Request is what the caller asked for.
type Request struct {
	Room           string
	Store          string
	Audience       string
	OrganizationID string // the user need not be its member
}

// A Token has the parts of an issued token that the audit stores.
type Token struct {
	ID        string // jti
	KeyID     string // kid
	Audience  string
	ExpiresAt time.Time
	// OrganizationID is the org claim.
	OrganizationID string
	Kind           string // [AccessToken] or [IdentityToken]
	// Patterns have the strongest access that the signed permissions can mean.
	Patterns Patterns
	// Claims has the claims that a backend chose, as they were signed: {"perms": {...}} or
	// {"gids": [...]}. It is empty if usher chose them.
	Claims  string
	Partial bool // the user may open more than the token holds
}

// Patterns are what a token opens. The slice is nil for a kind that the token does not carry.
type Patterns struct {
	Rooms  []permissions.Rule
	Stores []permissions.Rule
}

// MarshalJSON writes {"rooms": {pattern: access}, "stores": {pattern: access}}.
func (p Patterns) MarshalJSON() ([]byte, error) {
	b := []byte{'{'}
	for _, kind := range p.kinds() {
		if kind.rules == nil {
			continue
		}
		if len(b) > 1 {
			b = append(b, ',')
		}
		b = append(append(append(b, '"'), kind.name...), `":{`...)
		for n, rule := range kind.rules {
			if n > 0 {
				b = append(b, ',')
			}
			text, err := json.Marshal(rule.Pattern.String())
			if err != nil {
				return nil, err
			}
			b = append(append(append(append(b, text...), `:"`...), rule.Access.String()...), '"')
		}
		b = append(b, '}')
	}
	return append(b, '}'), nil
}

var errForeignPatterns = errors.New("patterns that usher does not write")

// UnmarshalJSON reads the output of [Patterns.MarshalJSON] and refuses anything else. The
// patterns are then in the order of their bytes.
func (p *Patterns) UnmarshalJSON(text []byte) error {
	var kinds map[string]map[string]*permissions.Access
	if json.Unmarshal(text, &kinds) != nil || kinds == nil {
		return errForeignPatterns
	}
	*p = Patterns{}
	for name, accesses := range kinds {
		kind, rules := permissions.RoomKind, &p.Rooms
		switch {
		case accesses == nil || name != "rooms" && name != "stores":
			return errForeignPatterns
		case name == "stores":
			kind, rules = permissions.StoreKind, &p.Stores
		}
		*rules = make([]permissions.Rule, 0, len(accesses))
		for pattern, access := range accesses {
			parsed, err := permissions.ParsePattern(kind, pattern)
			if err != nil || access == nil {
				return errForeignPatterns
			}
			*rules = append(*rules, permissions.Rule{Pattern: parsed, Access: *access})
		}
		sortRules(*rules)
	}
	return nil
}

type kindRules struct {
	name  string
	rules []permissions.Rule
}

func (p *Patterns) kinds() [2]kindRules {
	return [2]kindRules{{"rooms", p.Rooms}, {"stores", p.Stores}}
}

func sortRules(rules []permissions.Rule) {
	slices.SortFunc(rules, func(a, b permissions.Rule) int { return strings.Compare(a.Pattern.String(), b.Pattern.String()) })
}
