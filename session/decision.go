package session

import (
	"net/netip"
	"time"
)

// Kinds of caller, as the audit names them.
const (
	CallerNone     = "none" // refused before anybody was known
	CallerSession  = "session"
	CallerUpstream = "upstream"
	CallerAPIKey   = "api_key"
	CallerProxy    = "proxy" // whose address is the CallerID
	CallerAdminKey = "admin_key"
	CallerOperator = "operator" // somebody at a terminal
)

// A Decision is the audit row of one request: a token issued, or a refusal.
type Decision struct {
	// Token is what was issued; nil is a denial, which has a Reason.
	Token  *Token
	Reason string // a slug
	// CallerUnknown says of a denial that it is nobody's whom usher knows, as
	// anybody can have it: floods of these are counted.
	CallerUnknown bool
	At            time.Time

	CallerKind   string
	CallerID     string // of a session its sid, of an identity provider's caller the issuer and a hash; never a token itself
	UserID       string
	Organization string
	Request      Request
	Skipped      []int64 // grants whose template a value did not fit

	IP        netip.Addr
	UserAgent string
	Origin    string
	RequestID string
}
