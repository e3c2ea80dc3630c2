package identity

import (
	"errors"
	"fmt"
	"net/url"
	"reflect"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/go-playground/validator/v10"

	"github.com/usher-auth/usher/internal/jwk"
	"github.com/usher-auth/usher/internal/loopback"
	"github.com/usher-auth/usher/internal/principal"
	"github.com/usher-auth/usher/internal/secret"
)

// HS256 is only for providers that share a secret with usher.
const HS256 = "HS256"

const (
	minSecret      = 32 // bytes: as many as the hash has (RFC 7518, section 3.2)
	defaultMaxLife = time.Hour
	defaultLeeway  = 30 * time.Second
	idPlaceholder  = "{sub}"
)

// A ProviderConfig says which tokens of one identity provider usher accepts, and
// what it reads from them. A claim is named by its name, or, inside another, by a
// JSON Pointer (RFC 6901): /o/id. [ParseProviders] makes one from a line of text,
// whose settings the tags name.
type ProviderConfig struct {
	// Issuers are the values of iss of this provider, compared byte by byte. The first is
	// its name in logs, metrics and the audit.
	Issuers []string `setting:"issuer" validate:"required,dive,required"`

	// One of these four says where the keys come from: a JWK Set at an https URL; OpenID
	// discovery, at the first of Issuers; given keys; or a secret of at least 32 bytes,
	// for HS256.
	JWKS     string      `setting:"jwks"`
	Discover bool        `setting:"discovery"`
	Keys     KeySet      `setting:"keys-file" validate:"-"`
	Secret   secret.Text `setting:"secret-file" validate:"-"`
	// AllowPrivate allows the keys to be at a private address, as inside a
	// company's network, and then also over http. A loopback address is always
	// allowed.
	AllowPrivate bool `setting:"private"`

	// Algorithms are those accepted (default: HS256 with a Secret, all that usher
	// knows without).
	Algorithms []string `setting:"alg" validate:"dive,algorithm"`
	// Audiences and Parties list the values of aud and azp that are for usher. If both
	// are given, both are checked. If neither is given, AnyAudience must be set.
	// PartyClaim is the claim for Parties (default: azp). PartyOptional accepts a token
	// without that claim.
	Audiences     []string `setting:"aud"`
	Parties       []string `setting:"azp"`
	PartyOptional bool
	PartyClaim    string `setting:"azp-claim"`
	AnyAudience   bool   `setting:"any-audience"`
	// Types are the values of typ, "" for a header without (default: JWT or none).
	Types []string `setting:"typ" validate:"min=1"`
	// Require lists claims that must be present, and Refuse those that must not be. Only
	// lists claims that, if present, must have one of the values.
	Require []ClaimRule `setting:"require"`
	Refuse  []ClaimRule `setting:"refuse"`
	Only    []ClaimRule `setting:"only" validate:"dive,valued"`

	// UserClaim is the provider's id of the user (default: sub). ID maps it to the id in
	// usher: {sub}, which is the default, or a prefix and {sub}. If two providers' users
	// could get the same id, ShareIDs must be set for both.
	UserClaim string `setting:"user"`
	ID        string `setting:"id" validate:"id_template"`
	ShareIDs  bool   `setting:"share-ids"`

	// What else is read, if it is named.
	OrganizationClaim  string `setting:"organization"`  // the active organization: a string
	OrganizationsClaim string `setting:"organizations"` // all of the user's: strings
	GroupsClaim        string `setting:"groups"`        // all of the user's: strings
	NameClaim          string `setting:"name"`
	EmailClaim         string `setting:"email"`
	AvatarClaim        string `setting:"avatar"`
	SessionClaim       string `setting:"session"` // (default: sid)

	// MaxLife bounds exp - iat (default: 1h).
	MaxLife time.Duration `setting:"max-life" validate:"gte=0s,lte=168h"`
	// Leeway is the tolerated difference between clocks (default: 30s). It does not apply
	// to exp, which usher's own token must not outlive.
	Leeway time.Duration `setting:"leeway" validate:"gte=0s,lte=1m"`
}

// A ClaimRule names a claim and, optionally, its values: a string, or the text of another JSON
// value. In an array, one matching element is enough, except for [ProviderConfig.Only].
type ClaimRule struct {
	Claim  string
	Values []string
}

func (c *ProviderConfig) name() string { return c.Issuers[0] }

// prefix is what ID puts before the provider's own id.
func (c *ProviderConfig) prefix() string { return strings.TrimSuffix(c.ID, idPlaceholder) }

// keyAddress returns the URL where fetching the keys begins. It is empty if no keys are fetched.
func (c *ProviderConfig) keyAddress() string {
	if c.Discover {
		return c.name()
	}
	return c.JWKS
}

// overHTTP reports whether the keys are fetched over http from another host,
// which only AllowPrivate allows.
func (c *ProviderConfig) overHTTP() bool {
	u, err := url.Parse(c.keyAddress())
	return err == nil && u.Scheme == "http" && !loopback.IsHost(u.Hostname())
}

// Warnings returns what an operator should know about an allowed configuration at every start.
func (c *ProviderConfig) Warnings() (warnings []string) {
	if c.AllowPrivate && c.overHTTP() {
		warnings = append(warnings, "keys are fetched over http from "+c.keyAddress()+": anyone who can change traffic on that network can forge this provider's tokens")
	}
	if c.AnyAudience {
		warnings = append(warnings, "any-audience=yes: a token that the provider issued for any other application is accepted")
	}
	return warnings
}

func (c *ProviderConfig) setDefaults() {
	if c.Algorithms == nil {
		c.Algorithms = jwk.Algorithms()
		if !c.Secret.IsEmpty() {
			c.Algorithms = []string{HS256}
		}
	}
	if c.Types == nil {
		c.Types = []string{"JWT", ""}
	}
	for _, d := range []struct {
		to    *string
		value string
	}{{&c.UserClaim, "sub"}, {&c.ID, idPlaceholder}, {&c.SessionClaim, "sid"}, {&c.PartyClaim, "azp"}} {
		if *d.to == "" {
			*d.to = d.value
		}
	}
	if c.MaxLife == 0 {
		c.MaxLife = defaultMaxLife
	}
	if c.Leeway == 0 {
		c.Leeway = defaultLeeway
	}
}

// validate checks configurations that have their defaults.
var validate = sync.OnceValue(func() *validator.Validate {
	v := validator.New(validator.WithRequiredStructEnabled())
	v.RegisterTagNameFunc(func(f reflect.StructField) string { return f.Tag.Get("setting") })
	for tag, ok := range map[string]validator.Func{
		"algorithm": func(f validator.FieldLevel) bool {
			c, _ := f.Top().Interface().(*ProviderConfig)
			return c != nil && slices.Contains(c.knownAlgorithms(), f.Field().String())
		},
		"id_template": func(f validator.FieldLevel) bool {
			prefix, there := strings.CutSuffix(f.Field().String(), idPlaceholder)
			return there && !strings.ContainsAny(prefix, "{}") && (prefix == "" || principal.IsID(prefix))
		},
		"valued": func(f validator.FieldLevel) bool {
			rule, _ := f.Field().Interface().(ClaimRule)
			return len(rule.Values) > 0
		},
	} {
		if err := v.RegisterValidation(tag, ok); err != nil {
			panic(err) // the tags above are wrong
		}
	}
	v.RegisterStructValidation(checkTogether, ProviderConfig{})
	return v
})

// checkTogether checks settings that depend on one another.
func checkTogether(level validator.StructLevel) {
	c, _ := level.Current().Interface().(ProviderConfig)
	report := func(setting, tag string) { level.ReportError("", setting, setting, tag, "") }
	if c.sources() != 1 {
		report("jwks", "one_source")
	}
	if !c.Secret.IsEmpty() && len(c.Secret.Reveal()) < minSecret {
		report("secret-file", "long")
	}
	named := len(c.Audiences) > 0 || len(c.Parties) > 0 || c.PartyOptional
	if !named && !c.AnyAudience {
		report("aud", "required")
	}
	if named && c.AnyAudience {
		report("any-audience", "alone")
	}
}

func (c *ProviderConfig) sources() (n int) {
	for _, there := range []bool{c.JWKS != "", c.Discover, len(c.Keys.Keys) > 0, !c.Secret.IsEmpty()} {
		if there {
			n++
		}
	}
	return n
}

func (c *ProviderConfig) knownAlgorithms() []string {
	if !c.Secret.IsEmpty() {
		return []string{HS256}
	}
	return jwk.Algorithms()
}

// faults returns what is wrong with a configuration that has its defaults, each
// with the name of the setting.
func (c *ProviderConfig) faults() (faults []error) {
	err := validate().Struct(c)
	failed, ok := errors.AsType[validator.ValidationErrors](err)
	if err != nil && !ok {
		return []error{err}
	}
	for _, f := range failed {
		setting, _, _ := strings.Cut(f.Field(), "[")
		faults = append(faults, fmt.Errorf("%s: %s", setting, c.sentence(setting, f)))
	}
	return faults
}

// sentence returns what is wrong with a setting and what to do. It never quotes a secret.
func (c *ProviderConfig) sentence(setting string, f validator.FieldError) string {
	switch setting + " " + f.Tag() {
	case "issuer required":
		return "it is missing: write the iss of the tokens, exactly"
	case "jwks one_source":
		return fmt.Sprintf("the keys have %d sources: give one of jwks, discovery, keys-file and secret-file", c.sources())
	case "secret-file long":
		return fmt.Sprintf("the secret is shorter than %d bytes: openssl rand -base64 32 makes one", minSecret)
	case "alg algorithm":
		return fmt.Sprintf("%q is not one of %s, which these keys can verify", f.Value(), strings.Join(c.knownAlgorithms(), ", "))
	case "aud required":
		return "neither aud nor azp is given, so a token for any other application would be accepted: list the audience for usher, or set any-audience=yes"
	case "any-audience alone":
		return "aud or azp is also given: leave out one of the two"
	case "typ min":
		return "no typ is accepted: list one, or none for tokens without"
	case "id id_template":
		return fmt.Sprintf("%q is neither {sub} nor a prefix and {sub}, as clerk:{sub}", c.ID)
	case "only valued":
		return "a claim has no value: write only=claim=value"
	case "max-life gte", "max-life lte", "leeway gte", "leeway lte":
		longest := map[string]string{"max-life": "168h", "leeway": "1m"}[setting]
		return fmt.Sprintf("%s is not from 0 to %s", f.Value(), longest)
	}
	return f.Error()
}

// label puts the issuer's name, or its place, before each fault.
func (c *ProviderConfig) label(n int, faults []error) []error {
	label := fmt.Sprintf("issuer %d", n+1)
	if len(c.Issuers) > 0 {
		label = "issuer " + c.name()
	}
	for i, fault := range faults {
		faults[i] = fmt.Errorf("%s: %w", label, fault)
	}
	return faults
}

// conflicts returns what is wrong between providers: the same iss, or ids that two different
// users could get.
func conflicts(providers []ProviderConfig) (faults []error) {
	for i := range providers {
		a := &providers[i]
		for j := range providers[:i] {
			b := &providers[j]
			for _, iss := range a.Issuers {
				if slices.Contains(b.Issuers, iss) {
					faults = append(faults, fmt.Errorf("issuer %s: issuer: it is given twice", iss))
				}
			}
			overlap := strings.HasPrefix(a.prefix(), b.prefix()) || strings.HasPrefix(b.prefix(), a.prefix())
			if overlap && !(a.ShareIDs && b.ShareIDs) {
				faults = append(faults, fmt.Errorf(
					"issuer %s: id: %q gives the same ids as %q of %s: take different prefixes, or say share-ids=yes in both if their users are the same",
					a.name(), a.ID, b.ID, b.name()))
			}
		}
	}
	return faults
}

// complete sets the defaults of configurations that are valid.
func complete(providers []ProviderConfig) ([]ProviderConfig, error) {
	providers = slices.Clone(providers)
	var faults []error
	for n := range providers {
		c := &providers[n]
		c.setDefaults()
		faults = append(faults, c.label(n, c.faults())...)
	}
	if len(faults) == 0 {
		faults = conflicts(providers)
	}
	return providers, errors.Join(faults...)
}
