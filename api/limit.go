package api

import (
	"crypto/sha256"
	"errors"
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
	// limiterKeys bounds what a limiter remembers, to some 16 MB. A key that is
	// forgotten begins anew.
	limiterKeys = 1 << 16
	// Who has one IPv6 address commonly has a /56 of them.
	ipv4Prefix, ipv6Prefix = 32, 56
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

// A limiter lets each key through so many times a minute (GCRA, the leaky
// bucket as a meter). golang.org/x/time/rate could not give back what was
// taken. It is safe for concurrent use.
type limiter[K comparable] struct {
	policy    string
	perMinute int

	mu sync.Mutex
	// until is when all that a key took will have run out: each taking adds its
	// share of a minute, and a minute from now is where the limit stands.
	until *simplelru.LRU[K, time.Time]
}

func newLimiter[K comparable](policy string, perMinute int) *limiter[K] {
	until, err := simplelru.NewLRU[K, time.Time](limiterKeys, nil)
	if err != nil {
		panic(err) // the size is a constant
	}
	return &limiter[K]{policy: policy, perMinute: perMinute, until: until}
}

// share is what one request takes of a minute. Where there is no limit, keys
// are remembered all the same.
func (l *limiter[K]) share() time.Duration {
	if l.perMinute == 0 {
		return 0
	}
	return time.Minute / time.Duration(l.perMinute)
}

// take counts a request, or returns a [*limitError] and counts none.
func (l *limiter[K]) take(key K, now time.Time) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	until, _ := l.until.Get(key)
	return l.add(key, until, now)
}

// takeKnown is take for a key that is remembered; of another it counts none.
func (l *limiter[K]) takeKnown(key K, now time.Time) (known bool, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	until, known := l.until.Get(key)
	if known {
		err = l.add(key, until, now)
	}
	return known, err
}

func (l *limiter[K]) add(key K, until, now time.Time) error {
	if until.Before(now) {
		until = now
	}
	until = until.Add(l.share())
	if over := until.Sub(now) - time.Minute; over > 0 {
		return &limitError{l.policy, l.perMinute, over}
	}
	l.until.Add(key, until)
	return nil
}

// giveBack undoes a taking.
func (l *limiter[K]) giveBack(key K) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if until, known := l.until.Get(key); known {
		l.until.Add(key, until.Add(-l.share()))
	}
}

func (l *limiter[K]) forget(key K) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.until.Remove(key)
}

// A credentialHash stands for a credential, so that a limiter keeps none.
type credentialHash [sha256.Size]byte

// gate holds the limits. Callers are remembered by their credentials, and only
// once the directory has known one: nobody can use up what another may, nor
// make usher forget him.
type gate struct {
	sessions, apiKeys *limiter[credentialHash]
	adminKeys         *limiter[credentialHash] // without a limit of their own
	failures          *limiter[netip.Prefix]
	proxies           []netip.Prefix
}

func newGate(l Limits) *gate {
	return &gate{
		sessions:  newLimiter[credentialHash]("session", l.Session),
		apiKeys:   newLimiter[credentialHash]("api-key", l.APIKey),
		adminKeys: newLimiter[credentialHash]("admin-key", 0),
		failures:  newLimiter[netip.Prefix]("failures", l.Failures),
		proxies:   l.Proxies,
	}
}

// A passage is one request on its way through the gate.
type passage struct {
	gate    *gate
	callers *limiter[credentialHash] // nil where the request bears no credential
	caller  credentialHash
	known   bool // the credential was good when it was last seen
	peer    netip.Prefix
	staked  bool // one failure of the peer is taken, in case this becomes one
}

// enter returns a [*limitError] for a request that goes no further: that of a
// caller who is known, or of a peer that has failed too often. c is the zero
// Credential where the request bears none.
func (g *gate) enter(c identity.Credential, peer netip.Addr, now time.Time) (*passage, error) {
	p := &passage{gate: g}
	switch {
	case c.APIKey != nil:
		p.callers, p.caller = g.apiKeys, hashKey(*c.APIKey)
	case c.AdminKey != nil:
		p.callers, p.caller = g.adminKeys, hashKey(identity.APIKey(*c.AdminKey))
	case !c.ProviderToken.IsEmpty():
		p.callers, p.caller = g.sessions, sha256.Sum256([]byte(c.ProviderToken.Reveal()))
	case c.Proxy != nil:
		p.callers, p.caller = g.sessions, sha256.Sum256([]byte("proxy\x00"+c.Proxy.User))
	case !c.Session.IsEmpty():
		p.callers, p.caller = g.sessions, sha256.Sum256([]byte(c.Session.Reveal()))
	}
	if p.callers != nil {
		var err error
		if p.known, err = p.callers.takeKnown(p.caller, now); p.known {
			return p, err
		}
	}
	p.peer = g.limited(peer)
	if !p.peer.IsValid() {
		return p, nil
	}
	err := g.failures.take(p.peer, now)
	p.staked = err == nil
	return p, err
}

func hashKey(k identity.APIKey) credentialHash {
	return sha256.Sum256(append([]byte(k.ID), k.Hash[:]...))
}

// limited returns what an address counts as; the zero Prefix where there is no
// limit, as for a proxy or a Unix socket.
func (g *gate) limited(peer netip.Addr) netip.Prefix {
	peer = peer.WithZone("")
	if g.failures.perMinute == 0 || slices.ContainsFunc(g.proxies, func(p netip.Prefix) bool { return p.Contains(peer) }) {
		return netip.Prefix{}
	}
	bits := ipv4Prefix
	if peer.Is6() {
		bits = ipv6Prefix
	}
	prefix, _ := peer.Prefix(bits) // as long as addresses of the kind may be
	return prefix
}

// settle says how the request ended: with a refusal, or with a token where that
// is nil. The first request of a caller is counted here, and where it is one too
// many, the error is a [*limitError].
func (p *passage) settle(refusal error, now time.Time) error {
	switch {
	case errors.Is(refusal, errOrigin), errors.Is(refusal, identity.ErrNoCredential), errors.Is(refusal, identity.ErrNoAdminKey):
		p.staked = false // lost; and of a credential, nobody was asked
		return nil
	case refusal != nil && problemFor(refusal).status == http.StatusUnauthorized:
		p.staked = false
		if p.known { // and is good no more
			p.callers.forget(p.caller)
		}
		return nil
	}
	p.leave()
	if p.known || p.callers == nil {
		return nil
	}
	return p.callers.take(p.caller, now)
}

// leave gives back a stake that was not lost.
func (p *passage) leave() {
	if p.staked {
		p.gate.failures.giveBack(p.peer)
		p.staked = false
	}
}
