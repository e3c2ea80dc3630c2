package main

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/usher-auth/usher/api"
	"github.com/usher-auth/usher/internal/identity"
	"github.com/usher-auth/usher/internal/keyencryption"
	"github.com/usher-auth/usher/internal/secret"
	"github.com/usher-auth/usher/internal/service"
	"github.com/usher-auth/usher/session"
)

// Flags that several subcommands share.

// serviceFlags are the flags of a service that serve and dev share.
type serviceFlags struct {
	databaseFlags
	tokenFlags
	webFlags
	limitFlags
	issuerFlags
	checkpointFlags
}

// serviceConfig returns the configuration of a service with a public URL.
func (f *serviceFlags) serviceConfig(url string) (cfg service.Config, err error) {
	if cfg.Issuer, err = f.issuerConfig(url); err != nil {
		return cfg, err
	}
	if cfg.Credentials, err = f.credentials(); err != nil {
		return cfg, err
	}
	cfg.Providers, err = f.issuerFlags.parse(url)
	cfg.Origins, cfg.TokenCookieDomain, cfg.Limits = f.Origins, f.TokenCookieDomain, f.limits()
	return cfg, err
}

// databaseFlags name the database that a subcommand uses.
type databaseFlags struct {
	DatabaseURL     secret.Text `env:"USHER_DATABASE_URL" placeholder:"URL" help:"URL of the Postgres database: postgres://user:password@host/database."`
	DatabaseURLFile string      `env:"USHER_DATABASE_URL_FILE" placeholder:"FILE" help:"File that holds the URL."`
}

func (f *databaseFlags) url() (secret.Text, error) {
	return oneSecret("database-url", f.DatabaseURL, f.DatabaseURLFile)
}

// oneSecret returns a secret that is given as text or as a file.
func oneSecret(flag string, text secret.Text, file string) (secret.Text, error) {
	switch {
	case file != "" && !text.IsEmpty():
		return secret.Text{}, fmt.Errorf("--%s and --%s-file are both given: give one", flag, flag)
	case file != "":
		content, err := os.ReadFile(file)
		if err != nil {
			return secret.Text{}, fmt.Errorf("--%s-file: %w", flag, err)
		}
		text = secret.New(strings.TrimSpace(string(content)))
	}
	if text.IsEmpty() {
		name := "USHER_" + strings.ToUpper(strings.ReplaceAll(flag, "-", "_"))
		return secret.Text{}, fmt.Errorf("--%s is missing: give it, %s, or a file that holds it as --%s-file or %s_FILE", flag, name, flag, name)
	}
	return text, nil
}

// keyEncryptionFlags give the key ring that encrypts private signing keys.
type keyEncryptionFlags struct {
	KeyEncryptionKey     secret.Text `env:"USHER_KEY_ENCRYPTION_KEY" placeholder:"KEYS" help:"Keys that encrypt the signing keys, separated by commas; create one with openssl rand -base64 32. The first one encrypts, and all of them decrypt."`
	KeyEncryptionKeyFile string      `env:"USHER_KEY_ENCRYPTION_KEY_FILE" placeholder:"FILE" help:"File that holds the key encryption keys."`
}

func (f *keyEncryptionFlags) encryption() (*keyencryption.Ring, error) {
	text, err := oneSecret("key-encryption-key", f.KeyEncryptionKey, f.KeyEncryptionKeyFile)
	if err != nil {
		return nil, err
	}
	return keyencryption.Parse(text)
}

// tokenFlags configure the contents of tokens.
type tokenFlags struct {
	Project    string        `env:"USHER_PROJECT" default:"usher" help:"The pid claim."`
	Audiences  string        `env:"USHER_AUDIENCES" default:"liveblocks=rooms,livestore=stores" help:"Sync backends, and the kinds that their tokens contain: rooms, stores or rooms+stores."`
	TokenTTL   time.Duration `name:"token-ttl" env:"USHER_TOKEN_TTL" default:"5m" help:"Token lifetime, 1m to 1h."`
	SigningAlg string        `env:"USHER_SIGNING_ALG" default:"EdDSA" enum:"EdDSA,ES256" help:"Signing algorithm: EdDSA, or ES256 for verifiers without Ed25519."`
}

// issuerConfig says how to issue tokens. The caller adds the keys.
func (f *tokenFlags) issuerConfig(url string) (session.IssuerConfig, error) {
	audiences, err := session.ParseAudiences(f.Audiences)
	return session.IssuerConfig{Issuer: url, Algorithm: f.SigningAlg, Project: f.Project, Audiences: audiences, TTL: f.TokenTTL}, err
}

func (f *tokenFlags) issuer(url string, keys *session.Keyring) (*session.Issuer, error) {
	cfg, err := f.issuerConfig(url)
	if err != nil {
		return nil, err
	}
	cfg.Keys = keys
	return session.NewIssuer(cfg)
}

// A sharedKind is a kind of resource of several audiences. If a request for it names
// no audience, the token is for the first one.
type sharedKind struct {
	kind      string
	audiences []string
}

// sharedKinds returns nothing if the audiences cannot be parsed.
func (f *tokenFlags) sharedKinds() (shared []sharedKind) {
	audiences, err := session.ParseAudiences(f.Audiences)
	if err != nil {
		return nil
	}
	rooms, stores := sharedKind{kind: "rooms"}, sharedKind{kind: "stores"}
	for _, a := range audiences {
		if a.Rooms {
			rooms.audiences = append(rooms.audiences, a.Name)
		}
		if a.Stores {
			stores.audiences = append(stores.audiences, a.Name)
		}
	}
	for _, k := range []sharedKind{rooms, stores} {
		if len(k.audiences) > 1 {
			shared = append(shared, k)
		}
	}
	return shared
}

// webFlags configure who may call, and how callers are recognized.
type webFlags struct {
	SessionCookie string   `env:"USHER_SESSION_COOKIE" default:"usher_session" help:"Name of the session cookie. The prefixes __Secure- and __Host- are optional."`
	Origins       []string `env:"USHER_ORIGINS" help:"Origins of other sites whose pages may send requests with the user's cookie, for example https://app.example.com."`

	cookieSecretFlags

	TokenCookieDomain string `env:"USHER_TOKEN_COOKIE_DOMAIN" placeholder:"DOMAIN" help:"Common parent domain of usher and the sync backend, for mode=cookie, for example example.com."`

	IgnoreAuthorization []string `env:"USHER_IGNORE_AUTHORIZATION" placeholder:"SCHEME" help:"Schemes of Authorization headers that usher ignores, to use the session cookie instead. For example Basic, if a proxy in front uses it. Bearer is not allowed."`

	TrustedProxies          []string `env:"USHER_TRUSTED_PROXIES" placeholder:"CIDR" help:"Addresses and networks of the proxies in front, whose headers usher trusts."`
	ProxyUserHeader         string   `env:"USHER_PROXY_USER_HEADER" placeholder:"NAME" help:"Header in which a trusted proxy names the signed-in user, such as X-Auth-Request-User."`
	ProxyOrganizationHeader string   `env:"USHER_PROXY_ORGANIZATION_HEADER" placeholder:"NAME" help:"Header in which a trusted proxy names the user's active organization."`
	ProxyAddressHeader      string   `env:"USHER_PROXY_ADDRESS_HEADER" default:"X-Forwarded-For" enum:"X-Forwarded-For,Forwarded" help:"Header to which trusted proxies append the client's address: X-Forwarded-For or Forwarded."`
}

// credentials returns the configuration for recognizing callers.
func (f *webFlags) credentials() (identity.Config, error) {
	secrets, err := f.cookieSecrets()
	return identity.Config{
		Cookie:         f.SessionCookie,
		CookieSecrets:  secrets,
		IgnoredSchemes: f.IgnoreAuthorization,
		Proxy: identity.ProxyConfig{
			Trusted:            f.TrustedProxies,
			UserHeader:         f.ProxyUserHeader,
			OrganizationHeader: f.ProxyOrganizationHeader,
			AddressHeader:      f.ProxyAddressHeader,
		},
	}, err
}

// limitFlags set the rate limits. Each usher process counts for itself.
type limitFlags struct {
	RateLimit         int            `env:"USHER_RATE_LIMIT" default:"600" placeholder:"N" help:"Maximum requests per minute per session, per usher process; 0 for no limit."`
	RateLimitAPIKey   int            `name:"rate-limit-api-key" env:"USHER_RATE_LIMIT_API_KEY" default:"60000" placeholder:"N" help:"Maximum requests per minute per API key, per usher process; 0 for no limit."`
	RateLimitFailures int            `env:"USHER_RATE_LIMIT_FAILURES" default:"120" placeholder:"N" help:"Maximum failed requests per minute per address (per /56 in IPv6) before the caller is known. Above it, only recently valid credentials pass."`
	RateLimitProxies  []netip.Prefix `env:"USHER_RATE_LIMIT_PROXIES" default:"${proxies}" placeholder:"CIDR" help:"Addresses shared by many callers, exempt from the failure limit like the trusted proxies."`
}

// privateAddresses are loopback and private networks: a proxy in front of usher
// usually has one of them.
const privateAddresses = "127.0.0.0/8,::1/128,10.0.0.0/8,172.16.0.0/12,192.168.0.0/16,fc00::/7"

func (f *limitFlags) limits() api.Limits {
	return api.Limits{Session: f.RateLimit, APIKey: f.RateLimitAPIKey, Failures: f.RateLimitFailures, Proxies: f.RateLimitProxies}
}

// cookieSecretFlags give the secret of the application's session cookie.
type cookieSecretFlags struct {
	SessionCookieSecret     secret.Text `env:"USHER_SESSION_COOKIE_SECRET" placeholder:"TEXT" help:"Secret that signs the session cookie (Better Auth: BETTER_AUTH_SECRET). Separate several by commas during a rotation: each one is accepted."`
	SessionCookieSecretFile string      `env:"USHER_SESSION_COOKIE_SECRET_FILE" placeholder:"FILE" help:"File that holds the cookie secret."`
}

// cookieSecrets returns no secret if the cookie is not signed.
func (f *cookieSecretFlags) cookieSecrets() (secrets []secret.Text, err error) {
	if f.SessionCookieSecret.IsEmpty() && f.SessionCookieSecretFile == "" {
		return nil, nil
	}
	text, err := oneSecret("session-cookie-secret", f.SessionCookieSecret, f.SessionCookieSecretFile)
	if err != nil {
		return nil, err
	}
	for s := range strings.SplitSeq(text.Reveal(), ",") {
		secrets = append(secrets, secret.New(strings.TrimSpace(s)))
	}
	return secrets, nil
}

// issuerFlags name the identity providers whose tokens usher accepts.
type issuerFlags struct {
	Issuers []string `name:"issuer" env:"USHER_ISSUERS" sep:"\n" placeholder:"\"PRESET NAME=VALUE ...\"" help:"Identity provider whose tokens usher accepts, such as \"clerk issuer=https://clerk.example.com azp=https://app.example.com\"; see docs/identity.md. Repeatable; in the environment, one per line."`
}

// parse also refuses usher itself as an issuer, because clients could then renew
// their tokens endlessly.
func (f *issuerFlags) parse(ownURL string) ([]identity.ProviderConfig, error) {
	issuers, err := identity.ParseProviders(f.Issuers)
	for i := range issuers {
		if slices.Contains(issuers[i].Issuers, ownURL) {
			err = errors.Join(err, fmt.Errorf("issuer %s: issuer: this is usher's own --url: its tokens are for sync backends, not for usher", ownURL))
		}
	}
	return issuers, err
}
