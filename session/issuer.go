package session

import (
	"bytes"
	"cmp"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/usher-auth/usher/internal/liveblocks"
	"github.com/usher-auth/usher/internal/secret"
	"github.com/usher-auth/usher/permissions"
)

// Limits of a token's lifetime. Clients would have to replace a token shorter than
// [MinTTL] too often (Liveblocks' client drops it 30 s before it expires). Verifiers
// refuse tokens longer than [MaxTTL].
const (
	MinTTL     = time.Minute
	DefaultTTL = 5 * time.Minute
	MaxTTL     = time.Hour
)

// MaxInfoUnits is the maximum length of a token's info in UTF-16 code units, serialized:
// Liveblocks' limit for userInfo.
const MaxInfoUnits = 1_024

const (
	defaultMaxPatterns = 10    // Liveblocks' limit for one token
	maxTokenBytes      = 4_096 // without ui
	maxStoreTokenBytes = 1_400 // LiveStore puts the token in a URL and a socket attachment
)

var (
	// ErrNoAccess is returned if no grant covers the request. For a request that names
	// no room and no store, it means that the user has no access at all.
	ErrNoAccess = errors.New("session: no grant covers the request")
	// ErrSessionReused is returned if a Session is authorized a second time.
	ErrSessionReused = errors.New("session: a Session gives one token; prepare a new one")
)

// An AudienceError says that no sync backend can take what a request asks for. Reason has
// whole sentences for the sender of the request.
type AudienceError struct{ Reason string }

func (e *AudienceError) Error() string { return "session: " + e.Reason }

// An Audience is one sync backend and the kinds of resource it may get, so
// that one backend cannot replay a token at another.
type Audience struct {
	Name   string
	Rooms  bool
	Stores bool
}

// DefaultAudiences returns one Liveblocks-style backend and one LiveStore backend.
func DefaultAudiences() []Audience {
	return []Audience{{Name: "liveblocks", Rooms: true}, {Name: "livestore", Stores: true}}
}

// ParseAudiences reads "liveblocks=rooms,livestore=stores". A backend for both kinds is
// "name=rooms+stores".
func ParseAudiences(text string) ([]Audience, error) {
	var audiences []Audience
	for field := range strings.SplitSeq(text, ",") {
		name, kinds, _ := strings.Cut(strings.TrimSpace(field), "=")
		a := Audience{Name: name}
		for kind := range strings.SplitSeq(kinds, "+") {
			switch kind {
			case "rooms":
				a.Rooms = true
			case "stores":
				a.Stores = true
			default:
				return nil, fmt.Errorf("session: audience %q: write it as name=rooms, name=stores or name=rooms+stores", field)
			}
		}
		audiences = append(audiences, a)
	}
	return audiences, nil
}

// IssuerConfig says what an [Issuer] writes into its tokens.
type IssuerConfig struct {
	// Issuer is the iss claim: the service's public URL. Required.
	Issuer string
	// Keys are the signing keys. Required.
	Keys *Keyring
	// Algorithm is the algorithm of the keys to sign with (default: [EdDSA]). Use
	// [ES256] for verifiers without Ed25519.
	Algorithm string
	// Project is the pid claim (default: "usher").
	Project string
	// Audiences lists the sync backends (default: [DefaultAudiences]).
	Audiences []Audience
	// TTL is the lifetime of a token, from [MinTTL] to [MaxTTL] (default:
	// [DefaultTTL]).
	TTL time.Duration
	// MaxPatterns is the maximum number of patterns of each kind in one token (default:
	// 10, Liveblocks' limit).
	MaxPatterns int
	// Now is the clock for sessions that are not given a time (default: [time.Now]).
	Now func() time.Time
}

func (cfg *IssuerConfig) validate() error {
	var faults []error
	if cfg.Issuer == "" {
		faults = append(faults, errors.New("Issuer is empty"))
	}
	if cfg.Keys == nil {
		faults = append(faults, errors.New("Keys is nil"))
	}
	if cfg.Algorithm != EdDSA && cfg.Algorithm != ES256 {
		faults = append(faults, fmt.Errorf("Algorithm %q is neither %s nor %s", cfg.Algorithm, EdDSA, ES256))
	}
	if cfg.TTL < MinTTL || cfg.TTL > MaxTTL {
		faults = append(faults, fmt.Errorf("TTL %s is not from %s to %s", cfg.TTL, MinTTL, MaxTTL))
	}
	if cfg.MaxPatterns < 1 {
		faults = append(faults, fmt.Errorf("MaxPatterns %d is not positive", cfg.MaxPatterns))
	}
	seen := map[string]bool{}
	for _, a := range cfg.Audiences {
		if a.Name == "" || seen[a.Name] || !a.Rooms && !a.Stores {
			faults = append(faults, fmt.Errorf("audience %q is empty, repeated, or without rooms and stores", a.Name))
		}
		seen[a.Name] = true
	}
	if len(cfg.Audiences) == 0 {
		faults = append(faults, errors.New("Audiences is empty"))
	}
	return errors.Join(faults...)
}

// An Issuer signs tokens. It is safe for concurrent use.
type Issuer struct {
	cfg IssuerConfig
	// Encoded once: iss, with which all tokens begin, and k and pid, which tokens for
	// rooms have.
	issuerClaim, projectClaim, identityClaim []byte
}

// NewIssuer returns an issuer, or every fault of the configuration at once.
func NewIssuer(cfg IssuerConfig) (*Issuer, error) {
	if cfg.TTL == 0 {
		cfg.TTL = DefaultTTL
	}
	if cfg.Algorithm == "" {
		cfg.Algorithm = EdDSA
	}
	if cfg.Project == "" {
		cfg.Project = "usher"
	}
	if cfg.Audiences == nil {
		cfg.Audiences = DefaultAudiences()
	}
	if cfg.MaxPatterns == 0 {
		cfg.MaxPatterns = defaultMaxPatterns
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if err := cfg.validate(); err != nil {
		return nil, fmt.Errorf("session: bad issuer config: %w", err)
	}
	return &Issuer{
		cfg:           cfg,
		issuerClaim:   appendString([]byte(`{"iss":`), cfg.Issuer),
		projectClaim:  appendString([]byte(`,"k":"acc","pid":`), cfg.Project),
		identityClaim: appendString([]byte(`,"k":"id","pid":`), cfg.Project),
	}, nil
}

// A Request says what a token is requested for. A Request without room and store is for
// everything that the user may open.
type Request struct {
	Room     string
	Store    string
	Audience string
}

// Check returns the first fault of a request: a *[permissions.IDError] or an
// *[AudienceError]. It does not check whether a grant covers the request.
func (i *Issuer) Check(r Request) error {
	if r.Room != "" {
		if err := permissions.CheckID(permissions.RoomKind, r.Room); err != nil {
			return err
		}
	}
	if r.Store != "" {
		if err := permissions.CheckID(permissions.StoreKind, r.Store); err != nil {
			return err
		}
	}
	_, err := i.Audience(r)
	return err
}

// Audience returns the backend that a request is for, with the kinds that its token
// carries: rooms for a room, stores for a store, and all kinds of the backend if the
// request names neither. If no backend fits, it returns an *[AudienceError].
func (i *Issuer) Audience(r Request) (Audience, error) {
	rooms, stores := r.Room != "", r.Store != ""
	carries := func(a Audience) bool { return (!rooms || a.Rooms) && (!stores || a.Stores) }
	var found *Audience
	for n := range i.cfg.Audiences {
		a := &i.cfg.Audiences[n]
		if r.Audience == a.Name || r.Audience == "" && carries(*a) {
			found = a
			break
		}
	}
	switch {
	case found == nil && r.Audience != "":
		return Audience{}, &AudienceError{fmt.Sprintf("The audience must be one of: %s.", i.audienceNames())}
	case found == nil && rooms && stores:
		return Audience{}, &AudienceError{"No audience accepts both rooms and stores. Ask for the room and for the store in two requests, or configure an audience that accepts both: USHER_AUDIENCES=name=rooms+stores."}
	case found == nil || !carries(*found):
		return Audience{}, &AudienceError{fmt.Sprintf("This audience does not accept what the request names. The audiences are: %s.", i.audienceNames())}
	}
	a := *found
	if rooms != stores { // the request names only one of them
		a.Rooms, a.Stores = rooms, stores
	}
	return a, nil
}

func (i *Issuer) audienceNames() string {
	names := make([]string, len(i.cfg.Audiences))
	for n, a := range i.cfg.Audiences {
		names[n] = a.Name
	}
	return strings.Join(names, ", ")
}

// Prepare begins a session for a user. A session gives one token, and may be used by one
// goroutine only.
func (i *Issuer) Prepare(user User) *Session { return &Session{issuer: i, user: user} }

// A Session collects what a user may open, for one token. Its methods return the Session,
// so that calls can be chained. [Session.Authorize] returns their first error.
type Session struct {
	issuer        *Issuer
	user          User
	request       Request
	at            time.Time
	rooms, stores allowed
	err           error
	used          bool
}

// allowed are the rules of one kind.
type allowed struct {
	rules []permissions.Rule
	until []time.Time // when each rule ends, zero for a rule without an end; nil if no rule ends
}

func (a *allowed) add(r permissions.Rule, until time.Time) {
	if a.until == nil && !until.IsZero() {
		a.until = make([]time.Time, len(a.rules), len(a.rules)+1)
	}
	if a.until != nil {
		a.until = append(a.until, until)
	}
	a.rules = append(a.rules, r)
}

// outlasting returns the rules that end after at, in whole seconds as a token
// writes them.
func (a *allowed) outlasting(at time.Time) []permissions.Rule {
	if a.until == nil {
		return a.rules
	}
	var rules []permissions.Rule
	for n, r := range a.rules {
		if before(at.Truncate(time.Second), a.until[n].Truncate(time.Second)) {
			rules = append(rules, r)
		}
	}
	return rules
}

// end returns when a rule of a token stops being allowed: when the last rule ends
// that gives all of it. The zero time is never.
func (a *allowed) end(r permissions.Rule) (end time.Time) {
	for n := range a.until {
		if given := a.rules[n]; given.Access >= r.Access && given.Pattern.Covers(r.Pattern) {
			if a.until[n].IsZero() {
				return time.Time{}
			}
			if a.until[n].After(end) {
				end = a.until[n]
			}
		}
	}
	return end
}

// For sets what the token is requested for (default: everything that was allowed).
func (s *Session) For(r Request) *Session {
	s.request = r
	return s
}

// At sets the time of issue, which becomes iat. Use the clock of the database that the
// grants come from. It must be correct, because clients compute from it how long they
// cache the token.
func (s *Session) At(t time.Time) *Session {
	s.at = t
	return s
}

// Allow gives access to the rooms that match pattern: an id, a prefix followed by "*", or
// "*".
func (s *Session) Allow(pattern string, access permissions.Access) *Session {
	return s.allow(permissions.RoomKind, pattern, access)
}

// AllowStore is Allow for stores.
func (s *Session) AllowStore(pattern string, access permissions.Access) *Session {
	return s.allow(permissions.StoreKind, pattern, access)
}

func (s *Session) allow(kind permissions.Kind, text string, access permissions.Access) *Session {
	pattern, err := permissions.ParsePattern(kind, text)
	if err != nil && s.err == nil {
		s.err = err
	}
	if err != nil {
		return s
	}
	return s.AllowRules(permissions.Rule{Pattern: pattern, Access: access})
}

// AllowRules is Allow for parsed rules of either kind.
func (s *Session) AllowRules(rules ...permissions.Rule) *Session {
	return s.AllowUntil(time.Time{}, rules...)
}

// AllowUntil is [Session.AllowRules] for rules that end. A token with such a rule expires
// when the rule ends, unless another rule that ends later allows the same. A rule that
// ends within a second is left out. The zero time means that the rules do not end.
func (s *Session) AllowUntil(end time.Time, rules ...permissions.Rule) *Session {
	for _, r := range rules {
		if r.Pattern.Kind() == permissions.StoreKind {
			s.stores.add(r, end)
		} else {
			s.rooms.add(r, end)
		}
	}
	return s
}

// A Token is one signed token, with the values for its record.
type Token struct {
	Text      secret.Text // JWS compact
	ID        string      // jti
	KeyID     string      // kid
	Audience  string
	IssuedAt  time.Time // the exact time of issue; iat has only whole seconds
	ExpiresAt time.Time // exp
	// Organization is the org claim: the session's active organization.
	Organization string
	// Patterns are what the token opens. If a backend chose the permissions, they are
	// the strongest access that these can mean: FULL for any permission to write,
	// except presence.
	Patterns Patterns
	// Identity marks an identity token, which has no permissions.
	Identity bool
	// Chosen has the claims that a backend chose, as they were signed:
	// {"perms": {...}} or {"gids": [...]}. It is empty if the issuer chose them.
	Chosen string
	// Partial reports that the user may open more than the token holds. A request that
	// names an id gets a token that includes this id.
	Partial bool
	// InfoOmitted reports that the user's info was too large for a token.
	InfoOmitted bool
}

// Patterns are what a token opens, by kind, in the token's order. The slice is nil for a
// kind that the token does not carry.
type Patterns struct {
	Rooms  []permissions.Rule
	Stores []permissions.Rule
}

// MarshalJSON writes {"rooms": {pattern: access}, "stores": {pattern: access}}.
func (p Patterns) MarshalJSON() ([]byte, error) {
	b := []byte{'{'}
	if p.Rooms != nil {
		b = appendRules(append(b, `"rooms":`...), p.Rooms, appendStore)
	}
	if p.Stores != nil {
		if p.Rooms != nil {
			b = append(b, ',')
		}
		b = appendRules(append(b, `"stores":`...), p.Stores, appendStore)
	}
	return append(b, '}'), nil
}

// UnmarshalJSON reads what [Patterns.MarshalJSON] writes, longest pattern
// first.
func (p *Patterns) UnmarshalJSON(text []byte) error {
	var kinds struct{ Rooms, Stores map[string]permissions.Access }
	if err := json.Unmarshal(text, &kinds); err != nil {
		return err
	}
	rooms, roomsErr := readRules(permissions.RoomKind, kinds.Rooms)
	stores, storesErr := readRules(permissions.StoreKind, kinds.Stores)
	*p = Patterns{rooms, stores}
	return errors.Join(roomsErr, storesErr)
}

func readRules(kind permissions.Kind, texts map[string]permissions.Access) (rules []permissions.Rule, err error) {
	for text, access := range texts {
		pattern, err := permissions.ParsePattern(kind, text)
		if err != nil {
			return nil, err
		}
		rules = append(rules, permissions.Rule{Pattern: pattern, Access: access})
	}
	slices.SortFunc(rules, func(a, b permissions.Rule) int {
		x, y := a.Pattern.String(), b.Pattern.String()
		return cmp.Or(cmp.Compare(len(y), len(x)), cmp.Compare(x, y))
	})
	return rules, nil
}

// Authorize signs the token. It returns [ErrNoAccess] if nothing covers the request,
// [ErrSessionExpired] if the user's own session is over, [ErrNoSigningKey] if no key can
// sign, or the first error of Allow.
func (s *Session) Authorize() (Token, error) {
	t, key, claims, err := s.compose(nil)
	if err != nil {
		return Token{}, err
	}
	t.Text, err = sign(key, claims)
	return t, err
}

// A Preview is the token that [Session.Authorize] would sign, and the rules that it was
// chosen from.
type Preview struct {
	Token Token // without Text
	// Rooms and Stores are nil for a kind that the token does not carry, or if the
	// request was refused before rules of that kind were chosen.
	Rooms, Stores *Choice
}

// A Choice is the selection of the rules of one kind for a token.
type Choice struct {
	Cover     permissions.Set // of all rules
	Limit     permissions.Limit
	Selection permissions.Selection // zero for a refusal
	// Ends are when the selection's rules end, each when the last rule does that
	// gives all of it; zero for one without an end.
	Ends []time.Time
}

// Preview does everything that [Session.Authorize] does except signing, and returns the
// same errors. With [ErrNoAccess], the preview still has the rules to choose from.
func (s *Session) Preview() (Preview, error) {
	p := Preview{}
	t, _, _, err := s.compose(&p)
	p.Token = t
	return p, err
}

// compose is Authorize without the signature. It fills in preview if it is not nil.
func (s *Session) compose(preview *Preview) (t Token, key *SigningKey, claims []byte, err error) {
	if s.used {
		return Token{}, nil, nil, ErrSessionReused
	}
	s.used = true
	if s.err != nil {
		return Token{}, nil, nil, s.err
	}
	audience, err := s.issuer.Audience(s.request)
	if err != nil {
		return Token{}, nil, nil, err
	}
	t, key, claims, err = s.issuer.begin(s.user, audience, s.at, s.issuer.projectClaim)
	if err != nil {
		return Token{}, nil, nil, err
	}
	expires := t.ExpiresAt
	if err := s.choose(audience, key, len(claims), &t, preview); err != nil {
		return Token{}, nil, nil, err
	}
	if t.ExpiresAt.Before(expires) {
		// This finds exp and nothing else: before it come only iat and strings, in
		// which quotation marks are escaped.
		claims = bytes.Replace(claims, appendExpiry(nil, expires), appendExpiry(nil, t.ExpiresAt), 1)
	}
	if audience.Rooms {
		claims = appendRules(append(claims, `,"perms":`...), t.Patterns.Rooms, appendRoom)
		if claims, t.InfoOmitted, err = appendInfo(claims, s.user.Info); err != nil {
			return Token{}, nil, nil, err
		}
	}
	if audience.Stores {
		claims = appendRules(append(claims, `,"stores":`...), t.Patterns.Stores, appendStore)
	}
	return t, key, append(claims, '}'), nil
}

// begin makes what all tokens have in common: the key, the times and the first claims.
// The claims are written by hand, in a fixed order and only from typed fields, so that
// nothing in a user's info can become a claim (RFC 8725, section 3.12).
func (i *Issuer) begin(user User, audience Audience, at time.Time, kindAndProject []byte) (t Token, key *SigningKey, claims []byte, err error) {
	if user.ID == "" {
		return Token{}, nil, nil, errors.New("session: user has no ID")
	}
	if at.IsZero() {
		at = i.cfg.Now()
	}
	if key, err = i.cfg.Keys.Signing(i.cfg.Algorithm, at); err != nil {
		return Token{}, nil, nil, err
	}
	issued := at.Truncate(time.Second)
	expires := issued.Add(i.cfg.TTL)
	if until := user.Until; !until.IsZero() && until.Before(expires) {
		expires = until.Truncate(time.Second)
	}
	if !expires.After(issued) {
		return Token{}, nil, nil, ErrSessionExpired
	}
	t = Token{
		ID:        rand.Text(),
		KeyID:     key.ID(),
		Audience:  audience.Name,
		IssuedAt:  at,
		ExpiresAt: expires,

		Organization: user.Organization,
	}
	b := append(make([]byte, 0, 1_024), i.issuerClaim...)
	b = appendString(append(b, `,"sub":`...), user.ID)
	b = appendString(append(b, `,"aud":`...), audience.Name)
	b = appendInt(append(b, `,"iat":`...), issued.Unix())
	b = appendExpiry(b, expires)
	b = appendString(append(b, `,"jti":`...), t.ID)
	if user.Organization != "" {
		b = appendString(append(b, `,"org":`...), user.Organization)
	}
	if user.Session != "" {
		b = appendString(append(b, `,"sid":`...), user.Session)
	}
	if audience.Rooms {
		b = append(b, kindAndProject...)
		b = appendString(append(b, `,"uid":`...), user.ID)
	}
	return t, key, b, nil
}

// choose selects the patterns that go into the token.
func (s *Session) choose(audience Audience, key *SigningKey, headBytes int, t *Token, preview *Preview) error {
	maxBytes := maxTokenBytes
	if !audience.Rooms {
		maxBytes = maxStoreTokenBytes
	}
	// The free space in bytes of JSON: base64 turns 3 of them into 4 characters.
	const otherClaims = len(`,"perms":{},"stores":{}}`)
	free := maxBytes - len(key.header) - 2 - base64.RawURLEncoding.EncodedLen(key.signatureSize())
	free = base64.RawURLEncoding.DecodedLen(free) - headBytes - otherClaims

	take := func(kind permissions.Kind, given *allowed, want string, share int, entry func([]byte, permissions.Rule) []byte) ([]permissions.Rule, error) {
		var scratch []byte
		cover, limit := permissions.Cover(given.outlasting(t.IssuedAt)), permissions.Limit{
			Patterns: s.issuer.cfg.MaxPatterns,
			Bytes:    cmp.Or(share, -1), // 0 would mean no limit
			Cost: func(r permissions.Rule) int {
				scratch = entry(scratch[:0], r)
				return len(scratch) + 1
			},
		}
		selection, ok := cover.Select(want, limit)
		if preview != nil {
			choice := &Choice{Cover: cover, Limit: limit, Selection: selection}
			for _, r := range selection.Set.Rules() {
				choice.Ends = append(choice.Ends, given.end(r))
			}
			if kind == permissions.StoreKind {
				preview.Stores = choice
			} else {
				preview.Rooms = choice
			}
		}
		if !ok {
			return nil, ErrNoAccess
		}
		t.Partial = t.Partial || selection.Partial
		for _, r := range selection.Set.Rules() {
			if end := given.end(r); !end.IsZero() && end.Before(t.ExpiresAt) {
				t.ExpiresAt = end.Truncate(time.Second)
			}
		}
		return selection.Set.Rules(), nil
	}
	var err error
	if audience.Stores {
		share := free
		if audience.Rooms {
			share = free / 2
		}
		if t.Patterns.Stores, err = take(permissions.StoreKind, &s.stores, s.request.Store, share, appendStore); err != nil {
			return err
		}
	}
	if audience.Rooms {
		for _, r := range t.Patterns.Stores {
			free -= len(appendStore(nil, r)) + 1
		}
		if t.Patterns.Rooms, err = take(permissions.RoomKind, &s.rooms, s.request.Room, free, appendRoom); err != nil {
			return err
		}
	}
	if len(t.Patterns.Rooms)+len(t.Patterns.Stores) == 0 {
		return ErrNoAccess
	}
	return nil
}

// appendInfo appends the ui claim. It omits info that is larger than Liveblocks allows.
func appendInfo(b []byte, info json.RawMessage) (claims []byte, omitted bool, err error) {
	if len(info) == 0 {
		return b, false, nil
	}
	compact := bytes.NewBuffer(make([]byte, 0, len(info)))
	if err := json.Compact(compact, info); err != nil {
		return nil, false, fmt.Errorf("session: info of user is not JSON: %w", err)
	}
	if compact.Len() > MaxInfoUnits && utf16Len(compact.Bytes()) > MaxInfoUnits {
		return b, true, nil
	}
	return append(append(b, `,"ui":`...), compact.Bytes()...), false, nil
}

func appendRules(b []byte, rules []permissions.Rule, entry func([]byte, permissions.Rule) []byte) []byte {
	b = append(b, '{')
	for n, r := range rules {
		if n > 0 {
			b = append(b, ',')
		}
		b = entry(b, r)
	}
	return append(b, '}')
}

// appendRoom writes a rule with Liveblocks' permission names.
func appendRoom(b []byte, r permissions.Rule) []byte {
	return liveblocks.AppendNames(append(appendString(b, r.Pattern.String()), ':'), r.Access)
}

// appendStore writes a rule with the access read or full, as the audit does.
func appendStore(b []byte, r permissions.Rule) []byte {
	b = append(appendString(b, r.Pattern.String()), ':', '"')
	return append(append(b, r.Access.String()...), '"')
}

// sign writes the JWS compact serialization (RFC 7515, section 7.1).
func sign(key *SigningKey, claims []byte) (secret.Text, error) {
	header := key.header
	input := make([]byte, 0, len(header)+2+base64.RawURLEncoding.EncodedLen(len(claims)+key.signatureSize())+2)
	input = append(append(input, header...), '.')
	input = base64.RawURLEncoding.AppendEncode(input, claims)
	signature, err := key.sign(string(input))
	if err != nil {
		return secret.Text{}, fmt.Errorf("session: sign: %w", err)
	}
	return secret.New(string(base64.RawURLEncoding.AppendEncode(append(input, '.'), signature))), nil
}

// appendString appends s as a JSON string.
func appendString(b []byte, s string) []byte {
	plain := func(r rune) bool { return r >= ' ' && r != '"' && r != '\\' && r < utf8.RuneSelf }
	if strings.IndexFunc(s, func(r rune) bool { return !plain(r) }) < 0 {
		return append(append(append(b, '"'), s...), '"')
	}
	quoted, err := json.Marshal(s)
	if err != nil {
		panic(err) // strings always marshal
	}
	return append(b, quoted...)
}

func appendExpiry(b []byte, t time.Time) []byte { return appendInt(append(b, `,"exp":`...), t.Unix()) }

func appendInt(b []byte, n int64) []byte { return strconv.AppendInt(b, n, 10) }

// utf16Len returns the length in UTF-16 code units, like JavaScript's length. Liveblocks'
// limits use it.
func utf16Len[T string | []byte](text T) int {
	units := 0
	for _, r := range string(text) {
		units += utf16.RuneLen(r)
	}
	return units
}
