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
	CallerUpstream = "upstream" // an identity provider's token
	CallerAPIKey   = "api_key"
	CallerProxy    = "proxy" // the CallerID is its address
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

// WarnOpenPrefix warns of a wildcard that a backend chose and that does not end
// a segment: acme* matches acme-evil.
const WarnOpenPrefix = "open_prefix"

// A Decision is what the service decided about one request: a token, or a
// denial. A [Record] is made of it.
type Decision struct {
	// Token is what was issued. It is nil for a denial, which has a Reason.
	Token  *Token
	Reason string // a code
	// CallerUnknown marks a denial of a caller that usher does not know. Anyone
	// can cause as many of these as they like: floods of them are counted.
	CallerUnknown bool
	// CallerFormer marks a denial of a credential that was good once, such as an
	// expired session or a revoked key. Whoever still has it can cause as many of
	// these as they like: floods of them are counted by CallerID.
	CallerFormer bool
	At           time.Time

	CallerKind     string
	CallerID       string // of a session its sid, of an identity provider's caller the issuer and a hash; never a token itself
	UserID         string
	OrganizationID string // the session's active organization: the org claim
	Request        Request
	SkippedGrants  []int64  // grants whose template a value did not fit
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
	OrganizationID string // of which the user need not be a member
}

// A Token is what the audit keeps of an issued token.
type Token struct {
	ID        string // jti
	KeyID     string // kid
	Audience  string
	ExpiresAt time.Time
	// OrganizationID is the org claim.
	OrganizationID string
	Kind           string // [AccessToken] or [IdentityToken]
	// Patterns are the strongest reading of what was signed.
	Patterns Patterns
	// Claims are what a backend chose, as it was signed: {"perms": {...}} or
	// {"gids": [...]}. They are empty where usher chose.
	Claims  string
	Partial bool // the user has more than the token holds
}

// Patterns are what a token opens. A nil slice is a kind that the token does
// not carry.
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

// UnmarshalJSON reads what [Patterns.MarshalJSON] writes, in the order of the
// patterns' bytes, and nothing else.
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
