package identity

import (
	"slices"
	"strings"
	"time"

	"github.com/usher-auth/usher/internal/codes"
	"github.com/usher-auth/usher/internal/jws"
	"github.com/usher-auth/usher/internal/strictjson"
	"github.com/usher-auth/usher/session"
)

// read checks the claims of a token whose signature is good, expiry last, and
// takes what usher needs of them.
func (p *provider) read(m *jws.Message, payload strictjson.Members, now time.Time) (session.UpstreamClaims, error) {
	if !p.takesType(m.Header) {
		return session.UpstreamClaims{}, p.refuse(codes.TypeMismatch, "typ is not one of %q", p.Types)
	}
	if err := p.checkAudience(payload); err != nil {
		return session.UpstreamClaims{}, err
	}
	if err := p.checkRules(payload); err != nil {
		return session.UpstreamClaims{}, err
	}
	claims := session.UpstreamClaims{
		Issuer:    p.name(),
		Selective: p.OrganizationClaim != "" && p.OrganizationsClaim == "",
		Info:      p.info(payload),
	}
	user, _ := claim(payload, p.UserClaim).Text()
	claims.UserID = p.prefix() + user
	if user == "" || !session.IsDirectoryID(claims.UserID) {
		return session.UpstreamClaims{}, p.refuse(codes.ClaimsInvalid, "%s is not a string that is an id of a user", p.UserClaim)
	}
	if err := p.readMemberships(payload, &claims); err != nil {
		return session.UpstreamClaims{}, err
	}
	claims.SessionID, _ = claim(payload, p.SessionClaim).Text()
	claims.TokenID, _ = jws.Text(payload, "jti")
	var err error
	claims.ExpiresAt, err = p.checkTimes(payload, now)
	return claims, err
}

// takesType compares typ as a media type: without regard to case, application/
// implied (RFC 7515, section 4.1.9).
func (p *provider) takesType(header strictjson.Members) bool {
	value, there := header.Get("typ")
	typ, ok := value.Text()
	if !there {
		return slices.Contains(p.Types, "")
	}
	if short, found := strings.CutPrefix(strings.ToLower(typ), "application/"); found {
		typ = short
	}
	return ok && typ != "" && slices.ContainsFunc(p.Types, func(t string) bool { return strings.EqualFold(t, typ) })
}

func (p *provider) checkAudience(payload strictjson.Members) error {
	if aud, _ := payload.Get("aud"); len(p.Audiences) > 0 && !jws.Includes(aud, p.Audiences...) {
		return p.refuse(codes.AudienceMismatch, "aud is or holds none of %q", p.Audiences)
	}
	if azp, _ := jws.Text(payload, "azp"); len(p.Parties) > 0 && !slices.Contains(p.Parties, azp) {
		return p.refuse(codes.AudienceMismatch, "azp is none of %q", p.Parties)
	}
	return nil
}

func (p *provider) checkRules(payload strictjson.Members) error {
	for _, r := range p.Require {
		if !r.holds(payload) {
			return p.refuse(codes.ClaimRefused, "%s is missing or not as required", r.Claim)
		}
	}
	for _, r := range p.Refuse {
		if r.holds(payload) {
			return p.refuse(codes.ClaimRefused, "%s is there and refused", r.Claim)
		}
	}
	return nil
}

// holds reports whether the claim is there, with one of the values where some
// are named.
func (r *ClaimRule) holds(payload strictjson.Members) bool {
	value := claim(payload, r.Claim)
	if len(r.Values) == 0 {
		return isThere(value)
	}
	if elements, ok := value.Elements(); ok {
		return slices.ContainsFunc(elements, r.matches)
	}
	return r.matches(value)
}

func (r *ClaimRule) matches(value strictjson.Value) bool {
	text, ok := value.Text()
	if !ok {
		text = value.Raw()
	}
	return slices.Contains(r.Values, text)
}

// info reads what is shown of the user. What is no string is left out: nothing
// rests on it.
func (p *provider) info(payload strictjson.Members) map[string]string {
	info := map[string]string{}
	for member, name := range map[string]string{"name": p.NameClaim, "email": p.EmailClaim, "avatar": p.AvatarClaim} {
		if text, _ := claim(payload, name).Text(); text != "" {
			info[member] = text
		}
	}
	return info
}

// readMemberships refuses what is not of its type: to read it as nothing would
// widen a session to all organizations.
func (p *provider) readMemberships(payload strictjson.Members, claims *session.UpstreamClaims) error {
	if active := claim(payload, p.OrganizationClaim); isThere(active) {
		var ok bool
		if claims.Organization, ok = active.Text(); !ok {
			return p.refuse(codes.ClaimsInvalid, "%s is not a string", p.OrganizationClaim)
		}
	}
	for _, list := range []struct {
		name string
		to   *[]string
	}{{p.OrganizationsClaim, &claims.Organizations}, {p.GroupsClaim, &claims.Groups}} {
		if list.name == "" {
			continue
		}
		ids, ok := texts(claim(payload, list.name))
		if !ok || len(ids) > maxMemberships {
			return p.refuse(codes.ClaimsInvalid, "%s is not an array of at most %d strings", list.name, maxMemberships)
		}
		fits := slices.DeleteFunc(ids, func(id string) bool { return !session.IsDirectoryID(id) })
		claims.Skipped += len(ids) - len(fits)
		*list.to = fits
	}
	return nil
}

// texts reads a string or an array of strings, sorted and each once. A claim
// that is not there is an empty list: many providers leave those out.
func texts(value strictjson.Value) ([]string, bool) {
	if !isThere(value) {
		return []string{}, true
	}
	if text, ok := value.Text(); ok {
		return []string{text}, true
	}
	elements, ok := value.Elements()
	list := make([]string, len(elements))
	for n, e := range elements {
		text, isText := e.Text()
		ok = ok && isText
		list[n] = text
	}
	slices.Sort(list)
	return slices.Compact(list), ok
}

func (p *provider) checkTimes(payload strictjson.Members, now time.Time) (expires time.Time, err error) {
	issued, issuedOK := jws.Date(payload, "iat")
	expires, expiresOK := jws.Date(payload, "exp")
	if !issuedOK || !expiresOK || !expires.After(issued) {
		return time.Time{}, p.refuse(codes.ClaimsInvalid, "iat and exp are not two dates, the second later")
	}
	if life := expires.Sub(issued); life > p.MaxLife {
		return time.Time{}, p.refuse(codes.LifetimeTooLong, "it is valid for %s, and max-life is %s", life, p.MaxLife)
	}
	notBefore := issued
	if _, there := payload.Get("nbf"); there {
		nbf, ok := jws.Date(payload, "nbf")
		if !ok {
			return time.Time{}, p.refuse(codes.ClaimsInvalid, "nbf is not a date")
		}
		if nbf.After(issued) {
			notBefore = nbf
		}
	}
	if notBefore.After(now.Add(p.Leeway)) {
		return time.Time{}, p.refuse(codes.TokenNotYetValid, "%s too early", notBefore.Sub(now).Round(time.Second))
	}
	if !now.Before(expires) {
		return time.Time{}, p.refuse(codes.TokenExpired, "%s ago", now.Sub(expires).Round(time.Second))
	}
	return expires, nil
}

var unescapePointer = strings.NewReplacer("~1", "/", "~0", "~")

// claim returns a claim by its name, or by a JSON Pointer; nothing for the
// empty name.
func claim(payload strictjson.Members, name string) strictjson.Value {
	if name == "" {
		return strictjson.Value{}
	}
	rest, pointer := strings.CutPrefix(name, "/")
	if !pointer {
		value, _ := payload.Get(name)
		return value
	}
	for {
		member, deeper, more := strings.Cut(rest, "/")
		value, _ := payload.Get(unescapePointer.Replace(member))
		if !more {
			return value
		}
		payload, _ = value.Members()
		rest = deeper
	}
}

// isThere reports whether a claim says anything.
func isThere(value strictjson.Value) bool { return value.Raw() != "" && !value.IsNull() }
