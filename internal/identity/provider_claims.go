package identity

import (
	"slices"
	"strings"
	"time"

	"github.com/usher-auth/usher/internal/codes"
	"github.com/usher-auth/usher/internal/jws"
	"github.com/usher-auth/usher/internal/principal"
	"github.com/usher-auth/usher/internal/strictjson"
)

// read checks the claims of a token whose signature is valid, expiry last, and
// returns what usher needs of them.
func (p *provider) read(m *jws.Message, payload strictjson.Members, now time.Time) (principal.ProviderClaims, error) {
	if !p.takesType(m.Header) {
		return principal.ProviderClaims{}, p.refuse(codes.TypeMismatch, "typ is not one of %q", p.Types)
	}
	if err := p.checkAudience(payload); err != nil {
		return principal.ProviderClaims{}, err
	}
	if err := p.checkRules(payload); err != nil {
		return principal.ProviderClaims{}, err
	}
	claims := principal.ProviderClaims{
		Issuer:    p.name(),
		Selective: p.OrganizationClaim != "" && p.OrganizationsClaim == "",
		Info:      p.info(payload),
	}
	user, _ := claim(payload, p.UserClaim).Text()
	claims.UserID = p.prefix() + user
	if user == "" || !principal.IsID(claims.UserID) {
		return principal.ProviderClaims{}, p.refuse(codes.ClaimsInvalid, "%s is not a string that can be a user id", p.UserClaim)
	}
	if err := p.readMemberships(payload, &claims); err != nil {
		return principal.ProviderClaims{}, err
	}
	claims.SessionID, _ = claim(payload, p.SessionClaim).Text()
	claims.TokenID, _ = jws.Text(payload, "jti")
	var err error
	claims.IssuedAt, claims.ExpiresAt, err = p.checkTimes(payload, now)
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
		return p.refuse(codes.AudienceMismatch, "aud is not one of %q", p.Audiences)
	}
	if len(p.Parties) == 0 && !p.PartyOptional {
		return nil
	}
	value := claim(payload, p.PartyClaim)
	party, _ := value.Text()
	switch {
	case value.Raw() == "" && p.PartyOptional:
		return nil
	case value.Raw() == "":
		return p.refuse(codes.AudienceMismatch, "%s is missing: azp=optional accepts tokens without it", p.PartyClaim)
	case !slices.Contains(p.Parties, party):
		return p.refuse(codes.AudienceMismatch, "%s is not one of %q", p.PartyClaim, p.Parties)
	}
	return nil
}

func (p *provider) checkRules(payload strictjson.Members) error {
	for _, r := range p.Require {
		if !p.holds(&r, payload) {
			return p.refuse(codes.ClaimRefused, "%s is missing or not as required", r.Claim)
		}
	}
	for _, r := range p.Refuse {
		if p.holds(&r, payload) {
			return p.refuse(codes.ClaimRefused, "%s is there and refused", r.Claim)
		}
	}
	for _, r := range p.Only {
		if value := claim(payload, r.Claim); value.Raw() != "" && !p.matches(&r, payload, value) {
			return p.refuse(codes.ClaimRefused, "%s is not one of %q", r.Claim, r.Values)
		}
	}
	return nil
}

// holds reports whether the claim is there, with one of the values where some
// are named.
func (p *provider) holds(r *ClaimRule, payload strictjson.Members) bool {
	value := claim(payload, r.Claim)
	if len(r.Values) == 0 {
		return isThere(value)
	}
	if elements, ok := value.Elements(); ok {
		return slices.ContainsFunc(elements, func(e strictjson.Value) bool { return p.matches(r, payload, e) })
	}
	return p.matches(r, payload, value)
}

// matches compares a value with those of a rule, in which {sub} is the user.
func (p *provider) matches(r *ClaimRule, payload strictjson.Members, value strictjson.Value) bool {
	text, ok := value.Text()
	if !ok {
		text = value.Raw()
	}
	if slices.Contains(r.Values, text) {
		return true
	}
	user, isUser := claim(payload, p.UserClaim).Text()
	return ok && isUser && text == user && slices.Contains(r.Values, idPlaceholder)
}

// info reads the info that is displayed for the user. Values that are not strings are left out,
// because no access depends on them.
func (p *provider) info(payload strictjson.Members) map[string]string {
	info := map[string]string{}
	for member, name := range map[string]string{"name": p.NameClaim, "email": p.EmailClaim, "avatar": p.AvatarClaim} {
		if text, _ := claim(payload, name).Text(); text != "" {
			info[member] = text
		}
	}
	return info
}

// MaxMemberships is the maximum number of organizations, and of groups, that are read from one
// token.
const MaxMemberships = 500

// readMemberships refuses claims of a wrong type, and lists that the provider keeps elsewhere:
// reading those as empty would end memberships, or extend a session to all organizations.
func (p *provider) readMemberships(payload strictjson.Members, claims *principal.ProviderClaims) error {
	for _, name := range []string{p.OrganizationClaim, p.OrganizationsClaim, p.GroupsClaim} {
		if isElsewhere(payload, name) {
			return p.refuse(codes.ClaimsIncomplete, "%s is not in the token, which says that the provider keeps it elsewhere: have the provider list fewer, "+
				"such as the groups that are assigned to the application", name)
		}
	}
	if active := claim(payload, p.OrganizationClaim); isThere(active) {
		var ok bool
		if claims.Organization, ok = active.Text(); !ok {
			return p.refuse(codes.ClaimsInvalid, "%s is not a string", p.OrganizationClaim)
		}
	}
	for _, list := range []struct {
		name        string
		to, leftOut *[]string
	}{
		{p.OrganizationsClaim, &claims.Organizations, &claims.OrganizationsLeftOut},
		{p.GroupsClaim, &claims.Groups, &claims.GroupsLeftOut},
	} {
		if list.name == "" {
			continue
		}
		ids, ok := texts(claim(payload, list.name))
		if !ok {
			return p.refuse(codes.ClaimsInvalid, "%s is not an array of strings, or an object of objects", list.name)
		}
		fits := slices.DeleteFunc(ids, func(id string) bool { return !principal.IsID(id) })
		claims.Skipped += len(ids) - len(fits)
		if len(fits) > MaxMemberships {
			fits, *list.leftOut = fits[:MaxMemberships:MaxMemberships], fits[MaxMemberships:]
		}
		*list.to = fits
	}
	return nil
}

// isElsewhere reports whether the token says that a claim must be fetched from the provider: as a
// distributed claim (OpenID Connect Core 1.0, section 5.6.2), or for groups in Entra's way, if
// there are too many for a token.
func isElsewhere(payload strictjson.Members, name string) bool {
	if name == "" {
		return false
	}
	if pointer, ok := strings.CutPrefix(name, "/"); ok {
		name, _, _ = strings.Cut(pointer, "/")
		name = unescapePointer.Replace(name)
	}
	if names, _ := payload.Get("_claim_names"); isThere(names) {
		members, ok := names.Members()
		if _, named := members.Get(name); named || !ok {
			return true
		}
	}
	hasGroups, _ := payload.Get("hasgroups")
	if name == "groups" && isThere(hasGroups) && strings.Trim(hasGroups.Raw(), `"`) != "false" {
		return true
	}
	return slices.ContainsFunc(payload, func(m strictjson.Member) bool { return strings.HasPrefix(m.Name, name+":src") })
}

// texts reads a string, an array of strings, or the names of an object of objects, as Keycloak
// writes organizations. The result is sorted, without duplicates. A missing claim is an empty
// list, because many providers leave out empty lists.
func texts(value strictjson.Value) (list []string, ok bool) {
	list = []string{}
	if !isThere(value) {
		return list, true
	}
	if text, ok := value.Text(); ok {
		return []string{text}, true
	}
	if members, isObject := value.Members(); isObject {
		for _, m := range members {
			if _, ok := m.Value.Members(); !ok {
				return nil, false // {"staff": false} is not a membership of staff
			}
			list = append(list, m.Name)
		}
	} else {
		elements, isArray := value.Elements()
		if !isArray {
			return nil, false
		}
		for _, e := range elements {
			text, ok := e.Text()
			if !ok {
				return nil, false
			}
			list = append(list, text)
		}
	}
	slices.Sort(list)
	return slices.Compact(list), true
}

// checkTimes checks the token's lifetime and whether it is valid now. It checks the expiry last.
func (p *provider) checkTimes(payload strictjson.Members, now time.Time) (issued, expires time.Time, err error) {
	refuse := func(reason, format string, args ...any) (time.Time, time.Time, error) {
		return time.Time{}, time.Time{}, p.refuse(reason, format, args...)
	}
	issued, issuedOK := jws.Date(payload, "iat")
	expires, expiresOK := jws.Date(payload, "exp")
	if !issuedOK || !expiresOK || !expires.After(issued) {
		return refuse(codes.ClaimsInvalid, "iat and exp are not two dates in this order")
	}
	if life := expires.Sub(issued); life > p.MaxLife {
		return refuse(codes.LifetimeTooLong, "the token is valid for %s, which is longer than max-life=%s: if that is what this provider issues, set max-life=%s",
			short(life), short(p.MaxLife), short((life + time.Minute - 1).Truncate(time.Minute)))
	}
	notBefore := issued
	if _, there := payload.Get("nbf"); there {
		nbf, ok := jws.Date(payload, "nbf")
		if !ok {
			return refuse(codes.ClaimsInvalid, "nbf is not a date")
		}
		if nbf.After(issued) {
			notBefore = nbf
		}
	}
	if notBefore.After(now.Add(p.Leeway)) {
		return refuse(codes.TokenNotYetValid, "%s too early, with leeway=%s", notBefore.Sub(now).Round(time.Second), short(p.Leeway))
	}
	if !now.Before(expires) {
		return refuse(codes.TokenExpired, "%s ago", now.Sub(expires).Round(time.Second))
	}
	return issued, expires, nil
}

// short writes a duration as a setting does: 1h, not 1h0m0s.
func short(d time.Duration) string {
	text := d.Round(time.Second).String()
	if strings.HasSuffix(text, "m0s") {
		text = strings.TrimSuffix(text, "0s")
	}
	if strings.HasSuffix(text, "h0m") {
		text = strings.TrimSuffix(text, "0m")
	}
	return text
}

var unescapePointer = strings.NewReplacer("~1", "/", "~0", "~")

// claim returns a claim by its name or by a JSON Pointer. For an empty name it returns nothing.
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

// isThere reports whether a claim has a value.
func isThere(value strictjson.Value) bool { return value.Raw() != "" && !value.IsNull() }
