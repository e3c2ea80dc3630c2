package api

import (
	"crypto/sha256"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/netip"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/hashicorp/golang-lru/v2/simplelru"

	"github.com/usher-auth/usher/internal/identity"
	"github.com/usher-auth/usher/internal/network"
)

// Limits are maximum numbers of requests per minute, sent all at once or spread over the
// minute. Each process counts separately. 0 means no limit, except for InFlight.
type Limits struct {
	// Session bounds one browser session, and APIKey one API key. Both are callers
	// that the directory knows, never addresses.
	Session, APIKey int
	// Failures bounds the requests from one peer address (IPv6: one /56) that are
	// refused before the caller is known. Further requests are refused before the
	// database is asked, unless their credential was good when it was last seen.
	Failures int
	// Proxies are addresses shared by many callers, in addition to those that
	// [identity.ProxyConfig] trusts. They are exempt from Failures, because one of
	// their callers could otherwise lock out the others.
	Proxies []netip.Prefix
	// InFlight bounds the requests that wait for the database at one time (default:
	// 1,024). At most a quarter of them may come from one network. Further requests
	// are refused at once instead of queued.
	InFlight int
}

const (
	// meterKeys bounds what a meter remembers, to about 16 MB. A key that was
	// forgotten starts again at zero.
	meterKeys = 1 << 16
)

// A limitError is a request beyond a limit: a 429.
type limitError struct {
	policy    string
	perMinute int
	wait      time.Duration // until the next request is taken
}

func (e *limitError) Error() string { return "api: over the rate limit: " + e.policy }

// writeHeaders says when to retry, in Retry-After and in the fields of
// draft-ietf-httpapi-ratelimit-headers-10. The time has a random part, so that clients do
// not all retry at once.
func (e *limitError) writeHeaders(h http.Header) {
	seconds := strconv.Itoa(int(e.wait/time.Second) + 1 + rand.IntN(2)) //nolint:gosec // no secret
	h.Set("Retry-After", seconds)
	h.Set("RateLimit-Policy", fmt.Sprintf("%q;q=%d;w=60", e.policy, e.perMinute))
	h.Set("RateLimit", fmt.Sprintf("%q;r=0;t=%s", e.policy, seconds))
}

// A meter allows each key a number of requests per minute (GCRA, the leaky bucket as a
// meter). golang.org/x/time/rate cannot undo a request that was counted. It is safe for
// concurrent use.
type meter[K comparable] struct {
	policy    string
	perMinute int

	mu sync.Mutex
	// until is when a key's counted requests are used up. Each request adds its share
	// of a minute. The limit is reached when until is a minute from now.
	until *simplelru.LRU[K, time.Time]
}

func newMeter[K comparable](policy string, perMinute int) *meter[K] {
	until, err := simplelru.NewLRU[K, time.Time](meterKeys, nil)
	if err != nil {
		panic(err) // the size is a constant
	}
	return &meter[K]{policy: policy, perMinute: perMinute, until: until}
}

// share is the part of a minute that one request uses. It is 0 without a limit; keys are
// still remembered.
func (m *meter[K]) share() time.Duration {
	if m.perMinute == 0 {
		return 0
	}
	return time.Minute / time.Duration(m.perMinute)
}

// take counts a request. Over the limit, it returns a [*limitError] and does not count
// the request.
func (m *meter[K]) take(key K, now time.Time) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	until, _ := m.until.Get(key)
	return m.add(key, until, now)
}

// takeKnown is take for a key that is remembered. For any other key it counts nothing.
func (m *meter[K]) takeKnown(key K, now time.Time) (known bool, err error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	until, known := m.until.Get(key)
	if known {
		err = m.add(key, until, now)
	}
	return known, err
}

func (m *meter[K]) add(key K, until, now time.Time) error {
	if until.Before(now) {
		until = now
	}
	until = until.Add(m.share())
	if over := until.Sub(now) - time.Minute; over > 0 {
		return &limitError{m.policy, m.perMinute, over}
	}
	m.until.Add(key, until)
	return nil
}

// release undoes one take.
func (m *meter[K]) release(key K) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if until, known := m.until.Get(key); known {
		m.until.Add(key, until.Add(-m.share()))
	}
}

func (m *meter[K]) forget(key K) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.until.Remove(key)
}

// A credentialHash identifies a credential, so that a meter does not store it.
type credentialHash [sha256.Size]byte

// A limiter applies the limits. It remembers callers by their credentials, and only
// after the directory accepted them. One caller can therefore neither use up another's
// limit nor make usher forget another.
type limiter struct {
	sessions, apiKeys *meter[credentialHash]
	adminKeys         *meter[credentialHash] // has no limit of its own
	providerTokens    *meter[credentialHash] // has no limit of its own: the session's limit applies
	failures          *meter[netip.Prefix]
	proxies           []netip.Prefix
}

func newLimiter(l Limits) *limiter {
	return &limiter{
		sessions:  newMeter[credentialHash]("session", l.Session),
		apiKeys:   newMeter[credentialHash]("api_key", l.APIKey),
		adminKeys: newMeter[credentialHash]("admin-key", 0),

		providerTokens: newMeter[credentialHash]("provider-token", 0),

		failures: newMeter[netip.Prefix]("failures", l.Failures),
		proxies:  l.Proxies,
	}
}

// An admission is one request that is within the limits.
type admission struct {
	limiter  *limiter
	callers  *meter[credentialHash] // nil if the request has no credential
	caller   credentialHash
	known    bool // the credential was good when it was last seen
	peer     netip.Prefix
	reserved bool // one failure is already counted for the peer, in case this request fails
}

// admit returns a [*limitError] for a request that is over a limit: of a known caller,
// or of a peer that has failed too often. c is the zero Credential if the request has no
// credential.
func (l *limiter) admit(c identity.Credential, peer netip.Addr, now time.Time) (*admission, error) {
	a := &admission{limiter: l}
	switch {
	case c.APIKey != nil:
		a.callers, a.caller = l.apiKeys, hashKey(*c.APIKey)
	case c.AdminKey != nil:
		a.callers, a.caller = l.adminKeys, hashKey(identity.APIKey(*c.AdminKey))
	case !c.ProviderToken.IsEmpty():
		a.callers, a.caller = l.providerTokens, sha256.Sum256([]byte(c.ProviderToken.Reveal()))
	case c.Proxy != nil:
		a.callers, a.caller = l.sessions, sha256.Sum256([]byte("proxy\x00"+c.Proxy.User))
	case !c.Session.IsEmpty():
		a.callers, a.caller = l.sessions, sha256.Sum256([]byte(c.Session.Reveal()))
	}
	if a.callers != nil {
		var err error
		if a.known, err = a.callers.takeKnown(a.caller, now); a.known {
			return a, err
		}
	}
	a.peer = l.network(peer)
	if !a.peer.IsValid() {
		return a, nil
	}
	err := l.failures.take(a.peer, now)
	a.reserved = err == nil
	return a, err
}

func hashKey(k identity.APIKey) credentialHash {
	return sha256.Sum256(append([]byte(k.ID), k.Hash[:]...))
}

// network returns the prefix that an address is counted under. It is the zero Prefix if
// there is no limit, as for a proxy or a Unix socket.
func (l *limiter) network(addr netip.Addr) netip.Prefix {
	addr = addr.WithZone("")
	if l.failures.perMinute == 0 || slices.ContainsFunc(l.proxies, func(p netip.Prefix) bool { return p.Contains(addr) }) {
		return netip.Prefix{}
	}
	return network.Of(addr)
}

// identify counts a request under the caller's name, for callers who use many
// credentials. The name comes from a verified credential.
func (a *admission) identify(kind, issuer, name string, now time.Time) error {
	return a.limiter.sessions.take(sha256.Sum256([]byte(kind+"\x00"+issuer+"\x00"+name)), now)
}

// commit counts the result of the request. refusal is nil if it was not refused. The
// first request with a credential is counted here, and the credential is known from then
// on; if this request is over the limit, the error is a [*limitError].
func (a *admission) commit(refusal *problem, now time.Time) error {
	if refusal != nil && refusal.caller != identified {
		a.reserved = false // the peer has failed
		if a.known && refusal.caller != unasked {
			a.callers.forget(a.caller)
		}
		return nil
	}
	a.release()
	if a.known || a.callers == nil {
		return nil
	}
	return a.callers.take(a.caller, now)
}

// release returns the failure that is still reserved.
func (a *admission) release() {
	if a.reserved {
		a.limiter.failures.release(a.peer)
		a.reserved = false
	}
}
