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

	"github.com/usher-auth/usher/internal/secret"
	"github.com/usher-auth/usher/permissions"
)

// Bounds of a token's life: shorter tokens than [MinTTL] are asked for all the
// time (Liveblocks' client drops one 30 s before it expires), longer ones than
// [MaxTTL] are refused by verifiers.
const (
	MinTTL     = time.Minute
	DefaultTTL = 5 * time.Minute
	MaxTTL     = time.Hour
)

// MaxInfoUnits is how many UTF-16 units of info a token carries at most,
// serialized: Liveblocks' limit of userInfo.
const MaxInfoUnits = 1_024

const (
	defaultMaxPatterns = 10    // Liveblocks' limit of one token
	maxTokenBytes      = 4_096 // beside ui
	maxStoreTokenBytes = 1_400 // LiveStore puts the token in a URL and a socket attachment
)

var (
	// ErrNoAccess says that no grant covers what was asked for; where nothing
	// was named, that the user has nothing at all.
	ErrNoAccess = errors.New("session: no grant covers the request")
	// ErrSessionReused says that a Session was authorized twice.
	ErrSessionReused = errors.New("session: a Session gives one token; prepare a new one")
)

// An AudienceError says that a request and the sync backends do not fit, in
// sentences for who made the request.
type AudienceError struct{ Reason string }

func (e *AudienceError) Error() string { return "session: " + e.Reason }

// An Audience is one sync backend and the kinds of resource it may get, so
// that one backend cannot replay a token at another.
type Audience struct {
	Name   string
	Rooms  bool
	Stores bool
}

// DefaultAudiences is one Liveblocks-style backend and one LiveStore backend.
func DefaultAudiences() []Audience {
	return []Audience{{Name: "liveblocks", Rooms: true}, {Name: "livestore", Stores: true}}
}

// ParseAudiences reads "liveblocks=rooms,livestore=stores"; a backend of both
// kinds is "name=rooms+stores".
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
	// Keys sign. Required.
	Keys *Keyring
	// Algorithm is that of the keys that sign, [EdDSA] where empty; or [ES256]
	// for verifiers without Ed25519.
	Algorithm string
	// Project is the pid claim, "usher" where empty.
	Project string
	// Audiences lists the sync backends, [DefaultAudiences] where nil.
	Audiences []Audience
	// TTL is the life of a token, [DefaultTTL] where zero; from [MinTTL] to
	// [MaxTTL].
	TTL time.Duration
	// MaxPatterns bounds the patterns of each kind in one token, 10 where
	// zero: Liveblocks' limit.
	MaxPatterns int
	// Now is the clock of sessions that are not given a time; [time.Now] where
	// nil.
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
			faults = append(faults, fmt.Errorf("audience %q is empty, there twice, or of no kind", a.Name))
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
	// Encoded once: iss, with which all tokens begin, and k and pid, which those
	// for rooms carry.
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

// A Request says what a token is asked for. Empty fields ask for nothing in
// particular: a Request without room and store is for all the user has.
type Request struct {
	Room     string
	Store    string
	Audience string
}

// Check returns the first fault of a request: a *[permissions.IDError] or an
// *[AudienceError]. A request that passes may still find no grant.
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

// Audience picks the backend of a request, narrowed to the kinds that its
// token carries: rooms for a room, stores for a store, what the backend takes
// for neither. Where there is none it returns an *[AudienceError].
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
		return Audience{}, &AudienceError{"No audience takes both rooms and stores. Ask for the room and for the store in two requests, or configure an audience that takes both: USHER_AUDIENCES=name=rooms+stores."}
	case found == nil || !carries(*found):
		return Audience{}, &AudienceError{fmt.Sprintf("This audience does not take what the request names; the audiences are: %s.", i.audienceNames())}
	}
	a := *found
	if rooms != stores { // one of them was named
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

// Prepare begins a session for user. The session is for one goroutine and
// gives one token.
func (i *Issuer) Prepare(user User) *Session { return &Session{issuer: i, user: user} }

// A Session collects what a user may open, and ends in one token. Its methods
// return it, so that they chain; the first error is kept for
// [Session.Authorize].
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
	until []time.Time // of each rule, zero for one without an end; nil if none has one
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

// For sets what the token is asked for. Without it, the token is for all that
// was allowed.
func (s *Session) For(r Request) *Session {
	s.request = r
	return s
}

// At sets the instant of issue, which becomes iat: the clock of the record
// that the token rests on. Clients compute their cache's life from it, so it
// must be the true time.
func (s *Session) At(t time.Time) *Session {
	s.at = t
	return s
}

// Allow gives access to the rooms that pattern matches: an id, a prefix and
// "*", or "*".
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

// AllowUntil is [Session.AllowRules] for rules that end: a token that holds one of
// them expires with it, unless another rule without that end allows the same. A
// rule that ends within a second is left out. The zero time is no end.
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

// A Token is one signed token and what its record needs.
type Token struct {
	Text      secret.Text // JWS compact
	ID        string      // jti
	KeyID     string      // kid
	Audience  string
	IssuedAt  time.Time // the instant of issue; iat is its whole second
	ExpiresAt time.Time // exp
	// Organization is the org claim: the session's active organization.
	Organization string
	// Patterns are what the token opens. Of permissions that a backend chose they
	// are the strongest reading: FULL for any that writes, but for presence.
	Patterns Patterns
	// Identity marks an identity token, which has no permissions.
	Identity bool
	// Chosen are the claims that a backend chose, as they were signed:
	// {"perms": {...}} or {"gids": [...]}. They are empty where the issuer chose.
	Chosen string
	// Partial says that the user has more than the token holds. Asked again
	// with an id named, the issuer puts that first.
	Partial bool
	// InfoOmitted says that the user's info was too large for a token.
	InfoOmitted bool
}

// Patterns are what a token opens, per kind in the token's own order. A nil
// slice is a kind that the token does not carry.
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

// Authorize signs the token. It returns [ErrNoAccess] where nothing covers the
// request, [ErrSessionExpired] where the user's own session is over,
// [ErrNoSigningKey] for a fault of the service, and the first error of Allow.
func (s *Session) Authorize() (Token, error) {
	t, key, claims, err := s.compose(nil)
	if err != nil {
		return Token{}, err
	}
	t.Text, err = sign(key, claims)
	return t, err
}

// A Preview is the token that [Session.Authorize] would sign, and what it was
// chosen from.
type Preview struct {
	Token Token // without Text
	// Rooms and Stores are nil for a kind that the token does not carry, or
	// that a refusal came before.
	Rooms, Stores *Choice
}

// A Choice is what a token takes of the rules of one kind.
type Choice struct {
	Cover     permissions.Set // of all rules
	Limit     permissions.Limit
	Selection permissions.Selection // zero for a refusal
	// Ends are when the selection's rules end, each when the last rule does that
	// gives all of it; zero for one without an end.
	Ends []time.Time
}

// Preview does all that [Session.Authorize] does but sign, with its errors. With
// [ErrNoAccess] the preview still says what there was to choose from.
func (s *Session) Preview() (Preview, error) {
	p := Preview{}
	t, _, _, err := s.compose(&p)
	p.Token = t
	return p, err
}

// compose is Authorize without the signature. It fills in preview, unless nil.
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
		// Before exp come strings, in which quotation marks are escaped, and iat.
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

// begin makes what all tokens have in common: the key, the times, and the
// claims that they begin with. The claims are written by hand, in a fixed order
// and from typed fields only: nothing a user's info holds can become a claim of
// its own (RFC 8725, section 3.12).
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

// choose covers and selects what goes into the token.
func (s *Session) choose(audience Audience, key *SigningKey, headBytes int, t *Token, preview *Preview) error {
	maxBytes := maxTokenBytes
	if !audience.Rooms {
		maxBytes = maxStoreTokenBytes
	}
	// In bytes of JSON, of which base64 makes 4 characters from 3.
	const otherClaims = len(`,"perms":{},"stores":{}}`)
	free := maxBytes - len(key.header) - 2 - base64.RawURLEncoding.EncodedLen(key.signatureSize())
	free = base64.RawURLEncoding.DecodedLen(free) - headBytes - otherClaims

	take := func(kind permissions.Kind, given *allowed, want string, share int, entry func([]byte, permissions.Rule) []byte) ([]permissions.Rule, error) {
		var scratch []byte
		cover, limit := permissions.Cover(given.outlasting(t.IssuedAt)), permissions.Limit{
			Patterns: s.issuer.cfg.MaxPatterns,
			Bytes:    cmp.Or(share, -1), // 0 would be no bound
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

// appendInfo appends the ui claim, unless info is larger than Liveblocks
// allows.
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

// appendRoom writes a rule in Liveblocks' vocabulary, in names that every
// client from 1.12 reads rightly.
func appendRoom(b []byte, r permissions.Rule) []byte {
	b = appendString(b, r.Pattern.String())
	if r.Access == permissions.Full {
		return append(b, `:["room:write","comments:write"]`...)
	}
	return append(b, `:["room:read","room:presence:write","comments:read"]`...)
}

// appendStore writes a rule with its access in plain words, as the audit does.
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

// utf16Len counts as JavaScript's length does, which Liveblocks' limits are in.
func utf16Len[T string | []byte](text T) int {
	units := 0
	for _, r := range string(text) {
		units += utf16.RuneLen(r)
	}
	return units
}
