package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/usher-auth/usher/db"
	"github.com/usher-auth/usher/internal/identity"
	"github.com/usher-auth/usher/internal/principal"
	"github.com/usher-auth/usher/session"
)

// doctorCmd takes the flags of serve and checks what they name. None is required:
// it reports what is missing.
type doctorCmd struct {
	databaseFlags
	keyEncryptionFlags
	tokenFlags
	webFlags
	issuerFlags
	tlsFlags
	URL  string `env:"USHER_URL" placeholder:"URL" help:"Public address and iss claim."`
	JSON bool   `help:"Print JSON."`
}

// States of a finding.
const (
	stateOK      = "ok"
	stateWarning = "warning"
	stateFault   = "fault"
)

// A finding is the result of one check.
type finding struct {
	State string `json:"state"`
	Check string `json:"check"`
	Says  string `json:"says"`
	Do    string `json:"do,omitempty"`
}

// Bounds of what the doctor waits for and tolerates.
const (
	examineWithin = 30 * time.Second
	warnSkew      = time.Second
	maxSkew       = 5 * time.Second
	// nextKeyWithin is when a signing key's end is near: verifiers need the time
	// to learn of the next one.
	nextKeyWithin = 24 * time.Hour
	// certificateWithin is when a certificate's end is near.
	certificateWithin = 14 * 24 * time.Hour
	// fetchKeysWithin is how long a provider's keys may take.
	fetchKeysWithin = 3 * time.Second
	// sealWithin is how long an audit row may wait for its seal.
	sealWithin = time.Minute
)

type examination struct {
	*doctorCmd
	findings []finding
}

func (e *examination) ok(check, says string, args ...any) {
	e.findings = append(e.findings, finding{stateOK, check, fmt.Sprintf(says, args...), ""})
}

func (e *examination) warn(check, do, says string, args ...any) {
	e.findings = append(e.findings, finding{stateWarning, check, fmt.Sprintf(says, args...), do})
}

func (e *examination) fault(check, do, says string, args ...any) {
	e.findings = append(e.findings, finding{stateFault, check, fmt.Sprintf(says, args...), do})
}

func (c *doctorCmd) Run(ctx context.Context, out *console) error {
	ctx, cancel := context.WithTimeout(ctx, examineWithin)
	defer cancel()
	e := &examination{doctorCmd: c}
	e.configuration()
	e.environment(os.Environ())
	e.providers(ctx)
	signing := e.database(ctx)
	e.keySet(ctx, signing)
	if c.JSON {
		if err := printJSON(out.out, e.findings); err != nil {
			return err
		}
	} else if err := printFindings(out.out, e.findings); err != nil {
		return err
	}
	for _, f := range e.findings {
		if f.State == stateFault {
			return errSaid
		}
	}
	return nil
}

func printFindings(w io.Writer, findings []finding) error {
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, f := range findings {
		fmt.Fprintf(table, "%s\t%s\t%s\n", f.State, f.Check, oneLine(f.Says))
		if f.Do != "" {
			fmt.Fprintf(table, "\t\t-> %s\n", f.Do)
		}
	}
	return table.Flush()
}

// oneLine puts texts of others, such as Postgres' errors, on one line.
func oneLine(text string) string { return strings.Join(strings.Fields(text), " ") }

// because returns the cause of a fault. The error of a failed connection has a line for
// each attempt, and the last one says why.
func because(err error) string {
	_, cause, found := strings.Cut(err.Error(), principal.ErrUnavailable.Error()+": ")
	if !found {
		cause = plain(err)
	}
	lines := strings.Split(strings.TrimSpace(cause), "\n")
	return strings.TrimSuffix(strings.TrimSpace(lines[len(lines)-1]), ":")
}

// environment reports variables that no command reads.
func (e *examination) environment(variables []string) {
	for _, v := range unknownVariables(variables) {
		do := "unset it"
		if v.nearest != "" {
			do = "set " + v.nearest + " if that was meant"
		}
		e.warn("environment", do, "%s is not a variable of usher and is ignored", cell(v.name))
	}
}

// providers checks the settings of the identity providers, and fetches their keys.
func (e *examination) providers(ctx context.Context) {
	const check = "identity providers"
	if len(e.Issuers) == 0 {
		return
	}
	configured, err := e.issuerFlags.parse(e.URL)
	if err != nil {
		e.fault(check, "correct --issuer or USHER_ISSUERS", "%s", plain(err))
		return
	}
	failed := make(chan string, 16)
	started, err := identity.NewProviders(identity.ProvidersConfig{Providers: configured, OnError: func(issuer string, err error) {
		select {
		case failed <- issuer + ": " + because(err):
		default: // enough are known
		}
	}})
	if err != nil {
		e.fault(check, "correct --issuer or USHER_ISSUERS", "%s", plain(err))
		return
	}
	defer started.Close()
	faults := 0
	for wait := time.After(fetchKeysWithin); ; faults++ {
		select {
		case why := <-failed:
			e.fault(check, "check that the provider's keys can be fetched from here, or correct jwks= in --issuer", "%s", why)
			continue
		case <-wait:
		case <-ctx.Done():
		}
		break
	}
	if faults == 0 {
		e.ok(check, "the keys of %d can be fetched", len(configured))
	}
}

// configuration checks the settings that need no other service.
func (e *examination) configuration() {
	const check = "configuration"
	faults := len(e.findings)
	if e.URL == "" {
		e.fault(check, "give --url or USHER_URL, for example https://auth.example.com", "the public address is missing")
	} else if err := checkPublicURL(e.URL); err != nil {
		e.fault(check, "correct --url or USHER_URL", "%s", plain(err))
	}
	key, err := session.GenerateKey(e.SigningAlg, session.KeyTimes{})
	if err == nil {
		_, err = e.issuer("https://auth.example.com", session.NewKeyring(key))
	}
	if err != nil {
		e.fault(check, "correct --audiences and --token-ttl", "%s", plain(err))
	}
	for _, k := range e.sharedKinds() {
		e.warn(check, "let each client name its audience, or put the audience that clients expect first in --audiences", "several audiences take %[2]s (%[1]s): a request that names no audience gets a token for %[3]s",
			cell(strings.Join(k.audiences, ", ")), k.kind, cell(k.audiences[0]))
		faults++
	}
	credentials, err := e.credentials()
	if err == nil {
		_, err = identity.NewReader(credentials)
	}
	if err != nil {
		e.fault(check, "correct the flag that the error names: --session-cookie, --session-cookie-secret, --trusted-proxies or --proxy-user-header", "%s", plain(err))
	} else if !strings.HasPrefix(e.SessionCookie, "__Host-") && !strings.HasPrefix(e.SessionCookie, "__Secure-") {
		e.warn(check, "name it __Host-"+e.SessionCookie+" in the application", "the session cookie %s has no __Host- or __Secure- prefix: sibling domains can set it", cell(e.SessionCookie))
		faults++
	}
	switch secured, certificate, err := e.tlsFlags.config(); {
	case err != nil:
		e.fault(check, "correct --tls-cert and --tls-key", "%s", plain(err))
	case secured != nil:
		if pair, err := certificate.get(nil); err == nil && pair.Leaf != nil && time.Until(pair.Leaf.NotAfter) < certificateWithin {
			e.warn(check, "renew it", "the TLS certificate expires at %s", timeCell(&pair.Leaf.NotAfter))
			faults++
		}
	}
	if len(e.findings) == faults {
		e.ok(check, "tokens of %s, by %s, for %s", e.URL, e.SigningAlg, e.Audiences)
	}
}

// database checks Postgres and the signing keys in it. It returns the key that signs
// now, or nil.
func (e *examination) database(ctx context.Context) *session.SigningKey {
	url, err := e.databaseFlags.url()
	if err != nil {
		e.fault("database", "give --database-url or USHER_DATABASE_URL", "%s", plain(err))
		return nil
	}
	database, err := db.Open(url)
	if err != nil {
		e.fault("database", "correct --database-url or USHER_DATABASE_URL", "%s", plain(err))
		return nil
	}
	defer database.Close()
	if _, err := database.Ping(ctx); err != nil { // the first one includes the time to connect
		e.fault("database", howToConnect(err), "it cannot be reached: %s", because(err))
		return nil
	}
	began := time.Now()
	ahead, err := database.Ping(ctx)
	if err != nil {
		e.fault("database", "check the network between here and Postgres", "it stopped answering: %s", because(err))
		return nil
	}
	e.ok("database", "it answers in %s", time.Since(began).Round(10*time.Microsecond))
	d, err := database.Deployment(ctx)
	if _, lacks := errors.AsType[*db.PrivilegeError](err); lacks {
		e.fault("role", "give the URL of a role that may read usher's schema", "%s", because(err))
		return nil
	}
	if err != nil {
		e.fault("schema", "run usher migrate up, as the owner", "%s", because(err))
		return nil
	}
	e.deployment(d)
	e.roles(ctx, database, d)
	e.schema(ctx, database, d)
	e.clock(ahead)
	e.audit(ctx, database)
	e.health(ctx, database)
	return e.signingKeys(ctx, database)
}

// howToConnect is what to do about a failed connection, by the code of Postgres in it.
func howToConnect(err error) string {
	switch text := err.Error(); {
	case strings.Contains(text, "SQLSTATE 28"): // invalid authorization
		return "correct the role and the password in the database URL, or let this role connect from here in pg_hba.conf"
	case strings.Contains(text, "SQLSTATE 3D000"):
		return "correct the database's name in the database URL, or create the database and run usher migrate up"
	}
	return "check that Postgres runs, and correct the host and the port in the database URL"
}

// schema compares views, functions and triggers with those that usher creates.
func (e *examination) schema(ctx context.Context, database *db.DB, d db.Deployment) {
	if d.SchemaVersion != db.SchemaVersion() {
		return
	}
	if !d.SchemaCurrent {
		e.warn("objects", "run usher migrate up, as the owner", "views and functions are from another version of usher")
		return
	}
	differences, err := database.SchemaDifferences(ctx)
	switch n := len(differences); {
	case err != nil:
		e.warn("objects", "grant TEMPORARY on the database to this role, or run usher doctor as the owner", "views and functions cannot be compared: %s", because(err))
	case n > 0:
		e.fault("objects", "find out who changed them. To restore them, run DELETE FROM usher.applied_schema and usher migrate up, as the owner",
			"%d differ from usher's own: %s", n, strings.Join(differences[:min(n, 10)], "; "))
	default:
		e.ok("objects", "views, functions and triggers are usher's own")
	}
}

func (e *examination) deployment(d db.Deployment) {
	switch needs := db.SchemaVersion(); {
	case d.SchemaVersion < needs:
		e.fault("schema", "run usher migrate up, as the owner", "it has version %d, and this usher needs %d", d.SchemaVersion, needs)
	case d.SchemaVersion > needs:
		e.ok("schema", "it has version %d, which works for this usher (version %d)", d.SchemaVersion, needs)
	default:
		e.ok("schema", "it has version %d", d.SchemaVersion)
	}
	if d.Mode != db.Production {
		e.warn("mode", "give usher serve its own database", "this is a database of usher dev, which usher serve refuses")
	}
	if d.MayRewriteAudit {
		e.fault("role", "run usher serve with a role that is only a member of "+d.Roles.Service+", not with the owner", "the role in the database URL may change audit rows")
	} else {
		e.ok("role", "it may not change audit rows")
	}
	if d.MayCreateInPublic && !d.MayRewriteAudit {
		e.fault("role", "run REVOKE CREATE ON SCHEMA public FROM PUBLIC, as the owner of that schema",
			"the role in the database URL may create objects in schema public, where they could replace Postgres' own")
	}
	if secrets, err := e.cookieSecrets(); err == nil && d.Directory == db.BetterAuthDirectory && len(secrets) == 0 {
		e.fault("cookie secret", "give BETTER_AUTH_SECRET as --session-cookie-secret or --session-cookie-secret-file",
			"the directory is Better Auth's, which signs its session cookie, and no secret is given")
	}
	if d.Directory == db.BetterAuthDirectory {
		e.warn("secondary storage", "check Better Auth's version and its session settings", "%s", betterAuthStorage)
	}
	if d.LosesCommits {
		e.fault("commits", "turn synchronous_commit and fsync on", "Postgres may lose acknowledged commits, and a token would then have no audit row")
	} else {
		e.ok("commits", "an acknowledged commit is on disk")
	}
}

// roles looks for other databases that this one's roles can read.
func (e *examination) roles(ctx context.Context, database *db.DB, d db.Deployment) {
	switch shared, err := database.SharedRoles(ctx, d.Roles); {
	case err != nil:
		e.fault("roles", "see what Postgres says", "%s", because(err))
	case len(shared) > 0:
		e.warn("roles", "run usher migrate up --role-suffix NAME on all but one of them, as the owner", "%s and %s have privileges in other databases of this server too: %s. A login of one can read the others",
			d.Roles.Service, d.Roles.Auditor, strings.Join(shared, ", "))
	default:
		e.ok("roles", "%s and %s have privileges only in this database", d.Roles.Service, d.Roles.Auditor)
	}
}

func (e *examination) clock(ahead time.Duration) {
	const do = "synchronize both with NTP: tokens contain the database's time, and this machine's time decides which key signs"
	apart := ahead.Abs().Round(time.Millisecond)
	switch {
	case apart > maxSkew:
		e.fault("clock", do, "this machine's and the database's are %s apart", apart)
	case apart > warnSkew:
		e.warn("clock", do, "this machine's and the database's are %s apart", apart)
	default:
		e.ok("clock", "this machine's and the database's are %s apart", apart)
	}
}

func (e *examination) audit(ctx context.Context, database *db.DB) {
	if err := database.ProbeAudit(ctx); err != nil {
		e.fault("audit", "correct the cause that Postgres reports: without audit rows, usher issues nothing", "no row can be written: %s", because(err))
	} else {
		e.ok("audit", "a row can be written")
	}
	months, err := database.MissingPartitions(ctx)
	switch {
	case err != nil:
		e.fault("partitions", "correct the cause that Postgres reports", "%s", because(err))
	case len(months) > 0:
		e.warn("partitions", "start usher serve, which creates them within a minute, or see its log for the cause", "the audit has none for %s", strings.Join(months, ", "))
	default:
		e.ok("partitions", "the audit has this month's and the next three")
	}
}

// health checks the maintenance of the database.
func (e *examination) health(ctx context.Context, database *db.DB) {
	switch waits, err := database.Unsealed(ctx); {
	case err != nil:
		e.fault("seals", "correct the cause that Postgres reports", "%s", because(err))
	case waits > sealWithin:
		e.warn("seals", "see the log of usher serve, which seals the audit while it runs", "the oldest audit row has waited %s for its seal", waits.Round(time.Second))
	default:
		e.ok("seals", "the audit is sealed")
	}
	h, err := database.Health(ctx)
	if err != nil {
		e.fault("statistics", "correct the cause that Postgres reports", "%s", because(err))
		return
	}
	e.kept(h)
}

func (e *examination) kept(h db.Health) {
	if len(h.NeverAnalyzed) > 0 {
		e.warn("statistics", "run ANALYZE, as the owner", "tables without statistics make look-ups slow: %s", strings.Join(h.NeverAnalyzed, ", "))
	} else if h.NoAutovacuum {
		e.warn("statistics", "turn autovacuum on", "autovacuum is off: look-ups get slow over time")
	} else {
		e.ok("statistics", "Postgres keeps them up to date")
	}
	// A role of usher cannot ask Postgres for the free space.
	e.ok("disk", "the database has %s, the audit's largest month %s; usher cannot see the free space: watch it on the database's machine", h.DatabaseSize, h.LargestMonth)
	if h.LogsParameters {
		e.warn("statement log", "set log_parameter_max_length and log_parameter_max_length_on_error to 0; or log_statement to none or ddl, and log_min_duration_statement to 1s or more",
			"Postgres may log the parameters of statements: the session cookies of an application's directory, and what the audit records of clients")
	}
}

func (e *examination) signingKeys(ctx context.Context, database *db.DB) *session.SigningKey {
	const check = "signing key"
	encryption, err := e.encryption()
	if err != nil {
		e.fault(check, "give the key encryption key with which the signing keys were created", "%s", plain(err))
		return nil
	}
	keys, unusable, err := database.SigningKeys(ctx, encryption)
	if err != nil {
		e.fault(check, "correct the cause that Postgres reports", "%s", because(err))
		return nil
	}
	for _, err := range unusable {
		e.fault(check, "give the key that encrypted it as --key-encryption-key", "%s", plain(err))
	}
	now := time.Now()
	signing, err := session.NewKeyring(keys...).Signing(e.SigningAlg, now)
	if err != nil {
		e.fault(check, "create one with usher key create --alg "+e.SigningAlg, "no key signs now with %s", e.SigningAlg)
		return nil
	}
	var next *session.SigningKey // keys are sorted by SignsFrom, latest first
	for _, k := range keys {
		if k.Algorithm() == e.SigningAlg && k.SignsFrom.After(now) {
			next = k
		}
	}
	until := "with no end"
	if !signing.SignsUntil.IsZero() {
		until = "until " + timeCell(&signing.SignsUntil)
	}
	switch {
	case next != nil:
		e.ok(check, "%s signs %s, then %s from %s", signing.ID(), until, next.ID(), timeCell(&next.SignsFrom))
	case !signing.SignsUntil.IsZero() && signing.SignsUntil.Sub(now) < nextKeyWithin:
		e.warn(check, "create the next key before then: see usher key list", "%s signs %s, and there is no next one", signing.ID(), until)
	default:
		e.ok(check, "%s signs %s; there is no next one", signing.ID(), until)
	}
	return signing
}

// keySet checks the key set that verifiers fetch.
func (e *examination) keySet(ctx context.Context, signing *session.SigningKey) {
	const check = "key set"
	if checkPublicURL(e.URL) != nil {
		return // already reported
	}
	address := e.URL + jwksPath
	published, err := session.KeysFromURL(address, session.URLKeysConfig{})
	if err != nil {
		e.fault(check, "correct --url or USHER_URL", "%s", plain(err))
		return
	}
	defer published.Close()
	kid := "any"
	if signing != nil {
		kid = signing.ID()
	}
	_, err = published.Key(ctx, kid)
	switch {
	case errors.Is(err, session.ErrKeysUnavailable):
		e.fault(check, "start usher serve, and check that its proxy passes "+jwksPath+" on", "verifiers cannot fetch it: %s", plain(err))
	case signing == nil:
		e.ok(check, "%s can be fetched", address)
	case err != nil:
		e.fault(check, "check that the usher at this address uses this database, and that no cache keeps the key set for more than 5 minutes", "%s lacks the key that signs: verifiers refuse its tokens", address)
	default:
		e.ok(check, "%s has the key that signs", address)
	}
}
