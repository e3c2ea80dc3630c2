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

// Limits say how many requests a minute usher takes, all at once or spread.
// Each process counts for itself. 0 is no limit.
type Limits struct {
	// Session bounds one browser session, and APIKey one API key: callers that
	// the directory knows, never an address.
	Session, APIKey int
	// Failures bounds, for one address of a peer (IPv6: one /56), the requests
	// that are refused before it is known who calls. What comes beyond it is
	// turned away before the database is asked, but for credentials that were
	// good when they were last seen.
	Failures int
	// Proxies are peers that stand for many callers, beside those that
	// [identity.ProxyConfig] trusts: Failures would let one of these callers lock
	// the others out, and does not bound them.
	Proxies []netip.Prefix
}

const (
	// meterKeys bounds what a meter remembers, to some 16 MB. A key that is
	// forgotten begins anew.
	meterKeys = 1 << 16
)

// A limitError is a request beyond a limit: a 429.
type limitError struct {
	policy    string
	perMinute int
	wait      time.Duration // until the next request is taken
}

func (e *limitError) Error() string { return "api: over the rate limit: " + e.policy }

// writeHeaders tells when to come back, in the fields of
// draft-ietf-httpapi-ratelimit-headers-10 too. The time is spread out, so that
// clients do not come back all at once.
func (e *limitError) writeHeaders(h http.Header) {
	seconds := strconv.Itoa(int(e.wait/time.Second) + 1 + rand.IntN(2)) //nolint:gosec // no secret
	h.Set("Retry-After", seconds)
	h.Set("RateLimit-Policy", fmt.Sprintf("%q;q=%d;w=60", e.policy, e.perMinute))
	h.Set("RateLimit", fmt.Sprintf("%q;r=0;t=%s", e.policy, seconds))
}

// A meter lets each key through so many times a minute (GCRA, the leaky bucket
// as a meter). golang.org/x/time/rate could not give back what was taken. It is
// safe for concurrent use.
type meter[K comparable] struct {
	policy    string
	perMinute int

	mu sync.Mutex
	// until is when all that a key took will have run out: each taking adds its
	// share of a minute, and a minute from now is where the limit stands.
	until *simplelru.LRU[K, time.Time]
}

func newMeter[K comparable](policy string, perMinute int) *meter[K] {
	until, err := simplelru.NewLRU[K, time.Time](meterKeys, nil)
	if err != nil {
		panic(err) // the size is a constant
	}
	return &meter[K]{policy: policy, perMinute: perMinute, until: until}
}

// share is what one request takes of a minute. Where there is no limit, keys
// are still remembered.
func (m *meter[K]) share() time.Duration {
	if m.perMinute == 0 {
		return 0
	}
	return time.Minute / time.Duration(m.perMinute)
}

// take counts a request, or returns a [*limitError] and counts none.
func (m *meter[K]) take(key K, now time.Time) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	until, _ := m.until.Get(key)
	return m.add(key, until, now)
}

// takeKnown is take for a key that is remembered; of another it counts none.
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

// release undoes a taking.
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

// A credentialHash stands for a credential, so that a meter keeps none.
type credentialHash [sha256.Size]byte

// A limiter holds the limits. Callers are remembered by their credentials, and
// only once the directory has known one: nobody can use up what another may,
// nor make usher forget them.
type limiter struct {
	sessions, apiKeys *meter[credentialHash]
	adminKeys         *meter[credentialHash] // without a limit of their own
	providerTokens    *meter[credentialHash] // likewise: the limit is that of their session
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

// An admission is one request that the limits have let in.
type admission struct {
	limiter  *limiter
	callers  *meter[credentialHash] // nil where the request has no credential
	caller   credentialHash
	known    bool // the credential was good when it was last seen
	peer     netip.Prefix
	reserved bool // one failure of the peer is taken, in case this becomes one
}

// admit returns a [*limitError] for a request that goes no further: that of a
// caller who is known, or of a peer that has failed too often. c is the zero
// Credential where the request has none.
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

// network returns what an address counts as; the zero Prefix where there is no
// limit, as for a proxy or a Unix socket.
func (l *limiter) network(addr netip.Addr) netip.Prefix {
	addr = addr.WithZone("")
	if l.failures.perMinute == 0 || slices.ContainsFunc(l.proxies, func(p netip.Prefix) bool { return p.Contains(addr) }) {
		return netip.Prefix{}
	}
	return network.Of(addr)
}

// identify counts a request of a caller whose name came out of a credential that
// was verified, where one caller has many credentials.
func (a *admission) identify(kind, issuer, name string, now time.Time) error {
	return a.limiter.sessions.take(sha256.Sum256([]byte(kind+"\x00"+issuer+"\x00"+name)), now)
}

// commit counts how the request ended: with a refusal, or with none where that
// is nil. The first request of a caller who is known from now on is counted
// here; where it is one too many, the error is a [*limitError].
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

// release gives back what is still reserved.
func (a *admission) release() {
	if a.reserved {
		a.limiter.failures.release(a.peer)
		a.reserved = false
	}
}
