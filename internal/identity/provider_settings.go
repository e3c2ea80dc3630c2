package identity

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/usher-auth/usher/internal/secret"
)

// A preset is what is known of a provider's tokens, as settings that a line can
// override. {issuer} is replaced by the first issuer, without a slash at its end.
type preset struct {
	settings string
	needs    string // a setting without which the provider's tokens say too little
	why      string
	// ownApplication says that an issuer of this provider belongs to one
	// application, so that azp=optional is safe without aud: no other
	// application's tokens are accepted.
	ownApplication bool
}

// presets refuse tokens of machines and of users who are not fully signed in,
// and, where one key signs several kinds of token, all but the one kind. Of a
// claim with few values, only those known to be good are accepted.
var presets = map[string]preset{
	// Only session tokens have sid; version 1 had the organization elsewhere. A
	// session is pending while the user has tasks left, as choosing an
	// organization.
	"clerk": {
		settings: `jwks={issuer}/.well-known/jwks.json alg=RS256 typ=JWT require=sid require=v=2 only=sts=active organization=/o/id`,
		needs:    "azp", why: "list the origins of your pages: Clerk says in azp which page a token was made for",
		ownApplication: true,
	},
	"supabase": {
		settings: `jwks={issuer}/.well-known/jwks.json aud=authenticated require=role=authenticated refuse=is_anonymous=true
			session=session_id name=/user_metadata/full_name avatar=/user_metadata/avatar_url`,
	},
	// The same keys sign cookie caches, which have a typ, and OAuth tokens,
	// which have a client_id and a scope.
	"better-auth": {
		settings: `jwks={issuer}/api/auth/jwks aud={issuer} typ=none refuse=client_id refuse=scope refuse=isAnonymous=true name=name avatar=image`,
	},
	"authjs": {
		settings: `name=name avatar=picture`,
		needs:    "aud", why: "list what your application writes there for usher",
	},
	// Tokens of machines have gty.
	"auth0": {
		settings: `discovery=yes typ=JWT typ=at+jwt refuse=gty=client-credentials max-life=24h name=name avatar=picture`,
	},
	// ID tokens and refresh tokens are of another typ, which is a claim there.
	"keycloak": {
		settings: `discovery=yes typ=JWT require=typ=Bearer name=name`,
	},
	// Tokens of machines have no scp. oid is the same for all applications of the
	// tenant, sub is not.
	"entra": {
		settings: `discovery=yes alg=RS256 typ=JWT require=scp refuse=idtyp=app user=oid max-life=90m name=name`,
		needs:    "aud", why: "list the application ID of the API that you registered for usher, or its URI for version 1 tokens",
	},
	// Access tokens have no aud; tokens of machines have no username.
	"cognito": {
		settings: `jwks={issuer}/.well-known/jwks.json alg=RS256 typ=JWT typ=none azp-claim=client_id require=token_use=access require=username session=origin_jti`,
		needs:    "azp", why: "list the app client IDs of your pages",
	},
	"firebase": {
		settings: `jwks=https://www.googleapis.com/service_accounts/v1/jwk/securetoken@system.gserviceaccount.com alg=RS256 typ=JWT
			require=/firebase/sign_in_provider refuse=/firebase/sign_in_provider=anonymous refuse=provider_id=anonymous name=name avatar=picture`,
		needs: "aud", why: "give the project's ID, which the issuer ends with",
	},
	// Tokens of machines name the client as their subject.
	"logto": {
		settings: `discovery=yes typ=at+jwt azp-claim=client_id refuse=client_id={sub}`,
		needs:    "aud", why: "list the identifier of the API resource that you made for usher",
	},
	// Tokens of machines have no authenticationType; refresh and ID tokens are of
	// another tty.
	"fusionauth": {
		settings: `jwks={issuer}/.well-known/jwks.json typ=JWT require=authenticationType only=tty=at azp-claim=applicationId`,
		needs:    "aud", why: "list the client IDs of your pages",
	},
	"google": {
		settings: `issuer=https://accounts.google.com issuer=accounts.google.com jwks=https://www.googleapis.com/oauth2/v3/certs alg=RS256 typ=JWT
			name=name avatar=picture`,
		needs: "aud", why: "list the OAuth client IDs of your pages",
	},
	"oidc": {
		settings: `discovery=yes typ=JWT typ=at+jwt typ=none name=name avatar=picture`,
	},
}

// Presets lists the names with which a line of [ParseProviders] may begin.
func Presets() []string { return slices.Sorted(maps.Keys(presets)) }

// optional, among the values of azp, accepts tokens without it.
const optional = "optional"

// keySettings say where keys come from: one of them replaces the preset's.
var keySettings = []string{"jwks", "discovery", "keys-file", "secret-file"}

// ParseProviders reads configurations, each a preset and settings, and returns
// every fault of all of them at once:
//
//	clerk issuer=https://clerk.example.com azp=https://app.example.com id=clerk:{sub}
//
// A setting is a name, "=" and a value, which is in quotes (as in Go) where it
// contains a blank. One that accepts several is repeated. A setting replaces all of
// the preset's values; with no value, it removes them. Secrets and keys are
// read from the files that are named. docs/identity.md lists the settings.
func ParseProviders(lines []string) ([]ProviderConfig, error) {
	issuers := make([]ProviderConfig, 0, len(lines))
	var faults []error
	for _, line := range lines {
		if line = strings.TrimSpace(line); line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		c, wrong := parseIssuer(line)
		if len(wrong) == 0 {
			c.setDefaults()
			wrong = c.faults()
		}
		faults = append(faults, c.label(len(issuers), wrong)...)
		issuers = append(issuers, c)
	}
	if len(faults) == 0 {
		faults = conflicts(issuers)
	}
	return issuers, errors.Join(faults...)
}

func parseIssuer(line string) (c ProviderConfig, faults []error) {
	name := strings.Fields(line)[0]
	p, ok := presets[name]
	if !ok {
		return c, []error{fmt.Errorf("preset: %q is not one of %s", name, strings.Join(Presets(), ", "))}
	}
	own, faults := readSettings(strings.TrimPrefix(line, name))
	settings, wrong := readSettings(p.settings)
	if wrong != nil {
		panic(errors.Join(wrong...)) // the table above is wrong
	}
	if p.needs != "" && len(own[p.needs]) == 0 {
		faults = append(faults, fmt.Errorf("%s: it is missing: %s", p.needs, p.why))
	}
	if azp := own["azp"]; !p.ownApplication && len(own["aud"]) == 0 && slices.Contains(azp, optional) {
		faults = append(faults, errors.New("azp: optional accepts a token without it, which may be for any other application: give aud too"))
	}
	if slices.ContainsFunc(keySettings, func(k string) bool { return len(own[k]) > 0 }) {
		for _, k := range keySettings {
			delete(settings, k)
		}
	}
	maps.Copy(settings, own)
	base := ""
	if len(settings["issuer"]) > 0 {
		base = strings.TrimSuffix(settings["issuer"][0], "/")
	}
	for _, setting := range slices.Sorted(maps.Keys(settings)) {
		values := slices.Clone(settings[setting])
		for i := range values {
			values[i] = strings.ReplaceAll(values[i], "{issuer}", base)
		}
		if err := c.set(setting, values); err != nil {
			faults = append(faults, fmt.Errorf("%s: %w", setting, err))
		}
	}
	return c, faults
}

// readSettings splits a line into its settings, and returns all that is wrong
// with it.
func readSettings(text string) (settings map[string][]string, faults []error) {
	settings = map[string][]string{}
	for text = strings.TrimSpace(text); text != ""; text = strings.TrimSpace(text) {
		end := strings.IndexAny(text, " \t\n=")
		if end < 0 || text[end] != '=' {
			word := strings.Fields(text)[0]
			faults = append(faults, fmt.Errorf("%q is not a setting, as in name=value", word))
			text = text[len(word):]
			continue
		}
		name := text[:end]
		text = text[end+1:]
		value := text
		if strings.HasPrefix(text, `"`) {
			quoted, err := strconv.QuotedPrefix(text)
			if err != nil {
				faults = append(faults, fmt.Errorf("%s: the closing quote is missing", name))
				break
			}
			text = text[len(quoted):]
			value, _ = strconv.Unquote(quoted) // what QuotedPrefix returns can be unquoted
		} else {
			if end := strings.IndexAny(text, " \t\n"); end >= 0 {
				value = text[:end]
			}
			text = text[len(value):]
		}
		if _, there := settings[name]; !there {
			settings[name] = nil // with no value it is there too
		}
		if value != "" {
			settings[name] = append(settings[name], value)
		}
	}
	return settings, faults
}

// settingFields are the fields of [ProviderConfig] by the names of their settings.
var settingFields = sync.OnceValue(func() map[string]int {
	fields := map[string]int{}
	for n, f := range slices.Collect(reflect.TypeFor[ProviderConfig]().Fields()) {
		if name := f.Tag.Get("setting"); name != "" {
			fields[name] = n
		}
	}
	return fields
})

// set sets what one setting says, as the type of its field wants it.
func (c *ProviderConfig) set(name string, values []string) (err error) {
	n, there := settingFields()[name]
	if !there {
		return fmt.Errorf("there is no such setting; there are %s", strings.Join(slices.Sorted(maps.Keys(settingFields())), ", "))
	}
	switch name {
	case "azp":
		c.PartyOptional = slices.Contains(values, optional)
		values = slices.DeleteFunc(values, func(v string) bool { return v == optional })
	case "typ":
		types := make([]string, len(values)) // not nil: typ= is not the default
		for i, v := range values {
			if v != "none" {
				types[i] = v
			}
		}
		values = types
	}
	field := reflect.ValueOf(c).Elem().Field(n).Addr().Interface()
	switch field := field.(type) {
	case *[]string:
		*field = values
		return nil
	case *[]ClaimRule:
		*field = readRules(values)
		return nil
	}
	value := ""
	switch {
	case len(values) > 1:
		return errors.New("it is given twice")
	case len(values) == 1:
		value = values[0]
	}
	switch field := field.(type) {
	case *string:
		*field = value
	case *bool:
		*field = value == "yes"
		if value != "yes" && value != "no" && value != "" {
			return fmt.Errorf("%q is neither yes nor no", value)
		}
	case *time.Duration:
		if *field, err = time.ParseDuration(value); err != nil || *field <= 0 {
			return fmt.Errorf("%q is not a duration, as in 90s, 5m or 24h", value)
		}
	case *KeySet:
		*field, err = c.readKeys(value)
	case *secret.Text:
		*field, err = readSecret(value)
	}
	return err
}

func readSecret(path string) (secret.Text, error) {
	content, err := os.ReadFile(path)
	text := secret.New(strings.TrimRight(string(content), "\r\n"))
	if err == nil && text.IsEmpty() {
		err = fmt.Errorf("%s is empty", path)
	}
	return text, err
}

// readRules reads CLAIM and CLAIM=VALUE; of one claim, any of its values do.
func readRules(texts []string) (rules []ClaimRule) {
	for _, text := range texts {
		claim, value, valued := strings.Cut(text, "=")
		n := slices.IndexFunc(rules, func(r ClaimRule) bool { return r.Claim == claim })
		if n < 0 {
			n = len(rules)
			rules = append(rules, ClaimRule{Claim: claim})
		}
		if valued {
			rules[n].Values = append(rules[n].Values, value)
		}
	}
	return rules
}
