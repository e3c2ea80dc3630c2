package identity

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/usher-auth/usher/internal/secret"
)

// A preset is what is known of a provider's tokens, as settings that a line may
// override. {issuer} stands for the first issuer without a slash at its end.
type preset struct {
	settings string
	needs    string // a setting without which the provider's tokens say too little
	why      string
}

var presets = map[string]preset{
	// Only session tokens have sid; version 1 had the organization elsewhere.
	"clerk": {
		settings: `jwks={issuer}/.well-known/jwks.json alg=RS256 typ=JWT require=sid require=v=2 organization=/o/id`,
		needs:    "azp", why: "list the origins of your pages: Clerk says in azp which page a token was made for",
	},
	"supabase": {
		settings: `jwks={issuer}/.well-known/jwks.json aud=authenticated require=role=authenticated refuse=is_anonymous=true
			session=session_id name=/user_metadata/full_name avatar=/user_metadata/avatar_url`,
	},
	// The same keys sign cookie caches, which have a typ, and OAuth tokens,
	// which have a client_id and a scope.
	"better-auth": {
		settings: `jwks={issuer}/api/auth/jwks aud={issuer} typ=none refuse=client_id refuse=scope name=name avatar=image`,
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
	"oidc": {
		settings: `discovery=yes typ=JWT typ=at+jwt typ=none name=name avatar=picture`,
	},
}

// Presets lists the names with which a line of [ParseProviders] may begin.
func Presets() []string { return slices.Sorted(maps.Keys(presets)) }

// keySettings say where keys come from: one of them replaces the preset's.
var keySettings = []string{"jwks", "discovery", "keys-file", "secret-file"}

// ParseProviders reads configurations, each a preset and settings, and returns
// every fault of all of them at once:
//
//	clerk issuer=https://clerk.example.com azp=https://app.example.com id=clerk:{sub}
//
// A setting is a name, "=" and a value, which is in quotes (as in Go) where it
// holds a blank. One that takes several is repeated. A setting replaces all of
// the preset's values; with no value, it takes them away. Secrets and keys are
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
	if slices.ContainsFunc(keySettings, func(k string) bool { return len(own[k]) > 0 }) {
		for _, k := range keySettings {
			delete(settings, k)
		}
	}
	maps.Copy(settings, own)
	base := ""
	if len(own["issuer"]) > 0 {
		base = strings.TrimSuffix(own["issuer"][0], "/")
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
				faults = append(faults, fmt.Errorf("%s: its quotes do not end", name))
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

// set sets what one setting says.
func (c *ProviderConfig) set(name string, values []string) (err error) {
	switch name {
	case "issuer":
		c.Issuers = values
	case "alg":
		c.Algorithms = values
	case "aud":
		c.Audiences = values
	case "azp":
		c.Parties = values
	case "typ":
		c.Types = make([]string, len(values))
		for i, v := range values {
			if v != "none" {
				c.Types[i] = v
			}
		}
	case "require":
		c.Require = readRules(values)
	case "refuse":
		c.Refuse = readRules(values)
	default:
		return c.setOne(name, values)
	}
	return nil
}

func (c *ProviderConfig) setOne(name string, values []string) (err error) {
	texts := map[string]*string{
		"jwks": &c.JWKS, "id": &c.ID, "user": &c.UserClaim, "session": &c.SessionClaim,
		"organization": &c.OrganizationClaim, "organizations": &c.OrganizationsClaim, "groups": &c.GroupsClaim,
		"name": &c.NameClaim, "email": &c.EmailClaim, "avatar": &c.AvatarClaim,
	}
	switches := map[string]*bool{"discovery": &c.Discover, "private": &c.AllowPrivate, "any-audience": &c.AnyAudience, "share-ids": &c.ShareIDs}
	durations := map[string]*time.Duration{"max-life": &c.MaxLife, "leeway": &c.Leeway}
	value := ""
	switch {
	case len(values) > 1:
		return errors.New("it is there twice")
	case len(values) == 1:
		value = values[0]
	}
	if to := texts[name]; to != nil {
		*to = value
		return nil
	}
	if to := switches[name]; to != nil {
		*to = value == "yes"
		if value != "yes" && value != "no" && value != "" {
			return fmt.Errorf("%q is neither yes nor no", value)
		}
		return nil
	}
	if to := durations[name]; to != nil {
		if *to, err = time.ParseDuration(value); err != nil || *to <= 0 {
			return fmt.Errorf("%q is not a time, as in 90s, 5m or 24h", value)
		}
		return nil
	}
	switch name {
	case "keys-file":
		c.Keys, err = c.readKeys(value)
		return err
	case "secret-file":
		content, err := os.ReadFile(value)
		c.Secret = secret.New(strings.TrimRight(string(content), "\r\n"))
		if err == nil && c.Secret.IsEmpty() {
			err = fmt.Errorf("%s is empty", value)
		}
		return err
	}
	known := slices.Concat(slices.Collect(maps.Keys(texts)), slices.Collect(maps.Keys(switches)), slices.Collect(maps.Keys(durations)),
		[]string{"keys-file", "secret-file", "issuer", "alg", "aud", "azp", "typ", "require", "refuse"})
	slices.Sort(known)
	return fmt.Errorf("there is no such setting; there are %s", strings.Join(known, ", "))
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
