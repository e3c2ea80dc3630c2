package main

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"
	"unicode"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/usher-auth/usher/db"
	"github.com/usher-auth/usher/db/pglocal"
	"github.com/usher-auth/usher/internal/admin"
	"github.com/usher-auth/usher/internal/identity"
	"github.com/usher-auth/usher/internal/keyencryption"
	"github.com/usher-auth/usher/internal/principal"
	"github.com/usher-auth/usher/internal/secret"
	"github.com/usher-auth/usher/internal/service"
	"github.com/usher-auth/usher/session"
)

type devCmd struct {
	serviceFlags
	URL       string `env:"USHER_URL" placeholder:"URL" help:"Public address and iss claim (default: the listener's address)."`
	Dir       string `env:"USHER_DEV_DIR" default:".usher" type:"path" help:"Folder for the database, the keys and dev.json."`
	Listen    string `env:"USHER_LISTEN" default:"127.0.0.1:8080" help:"Public listener. Port 0 means a free port."`
	OpsListen string `env:"USHER_OPS_LISTEN" default:"127.0.0.1:0" help:"Listener for /livez, /readyz, /metrics, /debug/pprof and /v1/admin."`
}

// devActor is the actor of the demo's changes.
const devActor = "usher dev"

var demoUsers = []string{"ada", "grace", "mallory"}

// devFile is dev.json: everything that a program needs to use a running usher dev.
type devFile struct {
	URL         string            `json:"url"`
	OpsURL      string            `json:"opsUrl"`
	DatabaseURL string            `json:"databaseUrl"`
	Private     bool              `json:"privateDatabase"` // true: only usher dev uses it
	Issuer      string            `json:"issuer"`
	Audience    string            `json:"audience"`
	JWKSURL     string            `json:"jwksUrl"`
	APIKey      string            `json:"apiKey"` // of every route and pattern
	AdminURL    string            `json:"adminUrl"`
	AdminKey    string            `json:"adminKey"` // of role admin
	Sessions    map[string]string `json:"sessions"`
	CookieName  string            `json:"cookieName"`
}

func (c *devCmd) Run(ctx context.Context, out *console) (err error) {
	log := service.NewLogWriter(out.err)
	defer log.Close(time.Second)
	logger := slog.New(slog.NewTextHandler(log, &slog.HandlerOptions{Level: slog.LevelWarn}))
	warnOfUnknownVariables(ctx, logger)
	if c.URL != "" {
		if err := checkPublicURL(c.URL); err != nil {
			return err
		}
	}
	if err := makeDevDir(c.Dir); err != nil {
		return err
	}
	listener, err := listen(ctx, "listen", c.Listen)
	if err != nil {
		return fmt.Errorf("%w. If another usher dev runs there, use a free port: %s", err, freePortAdvice())
	}
	defer listener.Close()
	if address, ok := listener.Addr().(*net.TCPAddr); ok && !address.IP.IsLoopback() {
		out.warn(fmt.Sprintf("usher dev listens on %s: everyone who can reach it can sign in as the demo users, without TLS. Use --listen 127.0.0.1:8080, or usher serve", address))
	}
	ops, err := listen(ctx, "ops-listen", c.OpsListen)
	if err != nil {
		return err
	}
	defer ops.Close()
	if address, ok := ops.Addr().(*net.TCPAddr); ok && !address.IP.IsLoopback() {
		return fmt.Errorf("--ops-listen %s is not a loopback address: it would expose the admin API and profiles to the network. Use 127.0.0.1", address)
	}

	last, err := readDevJSON(c.Dir)
	if err != nil {
		return err
	}
	encryption, err := c.ownKeyEncryption()
	if err != nil {
		return err
	}
	if !c.DatabaseURL.IsEmpty() || c.DatabaseURLFile != "" {
		if err := c.checkGivenDatabase(ctx, out, last, encryption); err != nil {
			return err
		}
	}
	owner, stopPostgres, err := c.database(ctx, logger)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, stopPostgres()) }()

	if _, err := db.Migrate(ctx, owner, db.MigrateConfig{Mode: db.Dev}); err != nil {
		return err
	}
	dev := devFile{
		URL:         "http://" + listener.Addr().String(),
		OpsURL:      "http://" + ops.Addr().String(),
		AdminURL:    "http://" + ops.Addr().String() + "/v1/admin",
		DatabaseURL: owner.Reveal(),
		Private:     c.DatabaseURL.IsEmpty() && c.DatabaseURLFile == "",
		CookieName:  c.SessionCookie,
	}
	dev.Issuer, dev.JWKSURL = cmp.Or(c.URL, dev.URL), dev.URL+jwksPath
	audiences, err := session.ParseAudiences(c.Audiences)
	if err != nil {
		return err
	}
	dev.Audience = audiences[0].Name
	if err := c.demo(ctx, owner, last, &dev); err != nil {
		return err
	}
	if err := c.makeKeys(ctx, owner, encryption); err != nil {
		return err
	}
	cfg, err := c.serviceConfig(dev.Issuer)
	if err != nil {
		return err
	}
	cfg.Mode, cfg.KeyEncryption, cfg.Public, cfg.Ops = db.Dev, encryption, listener, ops
	cfg.Drain, cfg.Logger, cfg.Version = 5*time.Second, logger, readBuild().Version
	if cfg.DatabaseURL, err = c.serviceURL(ctx, owner); err != nil {
		return err
	}
	if cfg.Checkpoints, cfg.LastCheckpoint, err = c.openCheckpoints(out.out); err != nil {
		return err
	}
	s, err := service.New(ctx, cfg)
	if err != nil {
		return err
	}
	if err := writeJSONFile(filepath.Join(c.Dir, "dev.json"), dev); err != nil {
		return err
	}
	fmt.Fprint(out.out, dev.greeting(c.Dir))
	return s.Run(ctx)
}

// makeDevDir creates the folder, with a .gitignore that ignores all of it. It refuses
// a folder in which others can create files.
func makeDevDir(dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil { //nolint:gosec // each of its files is private
		return fmt.Errorf("--dir: %w", err)
	}
	info, err := os.Stat(dir)
	if err != nil {
		return fmt.Errorf("--dir: %w", err)
	}
	if status, ok := info.Sys().(*syscall.Stat_t); ok && int(status.Uid) != os.Geteuid() {
		return fmt.Errorf("--dir %s belongs to another user: choose a folder of your own", dir)
	}
	if info.Mode().Perm()&0o022 != 0 {
		return fmt.Errorf("--dir %s can be written by others: run chmod go-w %s", dir, shellQuote(dir))
	}
	return os.WriteFile(filepath.Join(dir, ".gitignore"), []byte("*\n"), 0o600)
}

// database returns the URL of the database's owner: the given one, or that of a
// private Postgres, which is restarted if it ends unexpectedly.
func (c *devCmd) database(ctx context.Context, logger *slog.Logger) (owner secret.Text, stop func() error, err error) {
	if !c.DatabaseURL.IsEmpty() || c.DatabaseURLFile != "" {
		owner, err = c.url()
		return owner, func() error { return nil }, err
	}
	cfg := pglocal.Config{Dir: filepath.Join(c.Dir, "postgres"), Logger: logger}
	server, err := pglocal.Start(ctx, cfg)
	if err != nil {
		return secret.Text{}, nil, err
	}
	owner = secret.New(server.URL("usher"))
	if err := db.EnsureDatabase(ctx, secret.New(server.URL("postgres")), "usher"); err != nil {
		return secret.Text{}, nil, errors.Join(err, server.Stop())
	}
	stopping := make(chan struct{})
	var watching sync.WaitGroup
	watching.Go(func() {
		for {
			select {
			case <-stopping:
				return
			case <-server.Done():
			}
			logger.WarnContext(ctx, "postgres ended, starting it again", "cause", server.Err())
			again, err := pglocal.Start(context.WithoutCancel(ctx), cfg)
			if err != nil {
				logger.ErrorContext(ctx, "postgres does not start", "error", err.Error())
				select {
				case <-stopping:
					return
				case <-time.After(time.Second):
				}
				continue
			}
			server = again
		}
	})
	return owner, func() error {
		close(stopping)
		watching.Wait()
		return server.Stop()
	}, nil
}

// signedIn returns the demo's users. It returns none if an application signs the
// cookies or has the directory.
func (c *devCmd) signedIn(ctx context.Context, owner secret.Text) ([]string, error) {
	database, err := db.Open(owner)
	if err != nil {
		return nil, err
	}
	defer database.Close()
	d, err := database.Deployment(ctx)
	if err != nil {
		return nil, err
	}
	secrets, err := c.cookieSecrets()
	if err != nil || len(secrets) > 0 || d.Directory != db.OwnDirectory {
		return nil, err
	}
	return demoUsers, nil
}

// checkGivenDatabase refuses a database that a usher dev in another folder uses, before
// anything is written: the two would replace each other's keys.
func (c *devCmd) checkGivenDatabase(ctx context.Context, out *console, last devFile, encryption *keyencryption.Ring) error {
	given, err := c.url()
	if err != nil {
		return err
	}
	if last.Private && given.Reveal() == last.DatabaseURL {
		return errors.New("--database-url (or USHER_DATABASE_URL) is the private Postgres of usher dev itself: unset it")
	}
	fmt.Fprintln(out.err, "usher: --database-url (or USHER_DATABASE_URL) is set: using that database, and starting no private Postgres")
	database, err := db.Open(given)
	if err != nil {
		return err
	}
	defer database.Close()
	d, err := database.Deployment(ctx)
	if errors.Is(err, db.ErrNotMigrated) {
		return nil // a new one
	}
	if err != nil || d.Mode != db.Dev {
		return err // db.Migrate says why a production database is refused
	}
	keys, unusable, err := database.SigningKeys(ctx, encryption)
	if err == nil && len(keys) == 0 && len(unusable) > 0 {
		return fmt.Errorf("the database in --database-url (or USHER_DATABASE_URL) belongs to a usher dev in another folder than %s: unset it, or run there", c.Dir)
	}
	return err
}

// readDevJSON returns the dev.json of a folder, or nothing if it does not exist.
func readDevJSON(dir string) (dev devFile, err error) {
	file := filepath.Join(dir, "dev.json")
	content, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return dev, nil
	}
	if err == nil {
		err = json.Unmarshal(content, &dev)
	}
	if err != nil {
		return dev, fmt.Errorf("%s is not a dev.json of usher dev. Remove it: %w", file, err)
	}
	return dev, nil
}

// runningDev looks for the dev.json of a running usher dev in this folder and
// those above it. It trusts only a private file of this user.
func runningDev() (dev devFile, dir string) {
	at, err := os.Getwd()
	if err != nil {
		return dev, ""
	}
	for {
		dir = filepath.Join(at, ".usher")
		info, err := os.Stat(filepath.Join(dir, "dev.json"))
		if err == nil {
			status, ok := info.Sys().(*syscall.Stat_t)
			if !ok || int(status.Uid) != os.Geteuid() || info.Mode().Perm()&0o077 != 0 {
				return dev, ""
			}
			if dev, err = readDevJSON(dir); err != nil || !answers(dev.OpsURL) {
				return devFile{}, ""
			}
			return dev, dir
		}
		if above := filepath.Dir(at); above != at {
			at = above
			continue
		}
		return dev, ""
	}
}

// answers reports whether somebody listens at a URL.
func answers(address string) bool {
	u, err := url.Parse(address)
	if err != nil {
		return false
	}
	conn, err := net.DialTimeout("tcp", u.Host, time.Second)
	if err != nil {
		return false
	}
	return conn.Close() == nil
}

// demo adds the demo's data. It keeps the session cookies and keys of the last run, so
// that a browser stays signed in.
func (c *devCmd) demo(ctx context.Context, owner secret.Text, last devFile, dev *devFile) error {
	users, err := c.signedIn(ctx, owner)
	if err != nil {
		return err
	}
	sessions := map[string]secret.Text{}
	dev.Sessions = map[string]string{}
	for _, user := range users {
		dev.Sessions[user] = cmp.Or(last.Sessions[user], rand.Text())
		sessions[user] = secret.New(dev.Sessions[user])
	}
	if err := db.SeedDemo(ctx, owner, sessions); err != nil {
		return err
	}
	database, err := db.Open(owner)
	if err != nil {
		return err
	}
	defer database.Close()
	if dev.APIKey, err = demoAPIKey(ctx, database, last.APIKey); err != nil {
		return err
	}
	dev.AdminKey, err = demoAdminKey(ctx, database, last.AdminKey)
	return err
}

// demoKeyName is the name of the demo's API key and of its admin key.
const demoKeyName = "demo"

// demoAPIKey returns the key of the last run if the database still has it, or replaces
// it.
func demoAPIKey(ctx context.Context, database *db.DB, last string) (string, error) {
	keys, err := database.APIKeys(ctx, false, admin.Page[admin.KeyPlace]{})
	if err != nil {
		return "", err
	}
	known, _ := identity.ParseAPIKey(secret.New(last)) // none at the first start
	for _, k := range keys {
		if k.ID == known.ID {
			return last, nil
		}
		if k.Name == demoKeyName && k.CreatedBy == devActor { // its text is lost
			if _, err := database.RevokeAPIKey(ctx, k.ID, devActor); err != nil {
				return "", err
			}
		}
	}
	text, key, err := identity.NewAPIKey("dev")
	if err != nil {
		return "", err
	}
	scope, err := parseScope([]string{"*=full"}, []string{"*=full"})
	if err != nil {
		return "", err
	}
	_, err = database.AddAPIKey(ctx, admin.NewAPIKey{
		ID: key.ID, SecretHash: key.Hash, Name: demoKeyName, Patterns: scope,
		Routes: []string{principal.RouteAuth, principal.RouteAuthorizeUser, principal.RouteIdentifyUser},
	}, devActor)
	return text.Reveal(), err
}

// demoAdminKey is demoAPIKey for the admin API.
func demoAdminKey(ctx context.Context, database *db.DB, last string) (string, error) {
	keys, err := database.AdminKeys(ctx, false)
	if err != nil {
		return "", err
	}
	known, _ := identity.ParseAdminKey(secret.New(last)) // none at the first start
	for _, k := range keys {
		if k.ID == known.ID {
			return last, nil
		}
		if k.Name == demoKeyName && k.CreatedBy == devActor { // its text is lost
			if _, err := database.RevokeAdminKey(ctx, k.ID, devActor); err != nil {
				return "", err
			}
		}
	}
	text, key, err := identity.NewAdminKey("dev")
	if err != nil {
		return "", err
	}
	_, err = database.AddAdminKey(ctx, admin.NewKey{ID: key.ID, SecretHash: key.Hash, Name: demoKeyName, Role: admin.RoleAdmin}, devActor)
	return text.Reveal(), err
}

// ownKeyEncryption returns the folder's key encryption key, and creates it the first
// time.
func (c *devCmd) ownKeyEncryption() (*keyencryption.Ring, error) {
	file := filepath.Join(c.Dir, "key-encryption-key")
	text, err := os.ReadFile(file)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		key := make([]byte, 32)
		_, _ = rand.Read(key) // never fails
		text = []byte(base64.StdEncoding.EncodeToString(key))
		err = writeNewFile(file, text)
	case err == nil:
		var info fs.FileInfo
		if info, err = os.Stat(file); err == nil && info.Mode().Perm()&0o077 != 0 {
			return nil, fmt.Errorf("%s can be read by others: run chmod 600 %s", file, shellQuote(file))
		}
	}
	if err != nil {
		return nil, err
	}
	encryption, err := keyencryption.Parse(secret.New(string(text)))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	return encryption, nil
}

// makeKeys creates the first signing key and the key for the audit's checkpoints, if
// they are missing.
func (c *devCmd) makeKeys(ctx context.Context, owner secret.Text, encryption *keyencryption.Ring) error {
	database, err := db.Open(owner)
	if err != nil {
		return err
	}
	defer database.Close()
	if err := database.EnsureCheckpointKey(ctx, encryption, devActor); err != nil {
		return err
	}
	_, err = database.EnsureSigningKey(ctx, c.SigningAlg, encryption, devActor)
	return err
}

// serviceURL creates the role with fewer rights that serves, like in production, so
// that everything that works here works there.
func (c *devCmd) serviceURL(ctx context.Context, owner secret.Text) (secret.Text, error) {
	cfg, err := pgconn.ParseConfig(owner.Reveal())
	if err != nil {
		return secret.Text{}, errors.New("--database-url is not a valid libpq URL: write it as postgres://user@host/database")
	}
	name, password := "usher_dev_"+cfg.Database, rand.Text()
	if err := db.MakeServiceLogin(ctx, owner, name, secret.New(password)); err != nil {
		return secret.Text{}, err
	}
	u, err := url.Parse(owner.Reveal())
	if err != nil || u.Scheme == "" {
		return secret.Text{}, errors.New("--database-url must be a URL: postgres://user@host/database")
	}
	u.User = url.UserPassword(name, password)
	return secret.New(u.String()), nil
}

func writeJSONFile(file string, v any) error {
	content, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return err
	}
	// A reader that waits for the file must never see a part of it.
	if err := os.Remove(file + ".new"); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := writeNewFile(file+".new", append(content, '\n')); err != nil {
		return err
	}
	return os.Rename(file+".new", file)
}

// writeNewFile writes a private file that must not exist, so that it follows no link of
// somebody else.
func writeNewFile(file string, content []byte) error {
	f, err := os.OpenFile(file, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(content)
	return errors.Join(err, f.Close())
}

// freePortAdvice returns the command that uses a free port, with make or without.
func freePortAdvice() string {
	if os.Getenv("MAKELEVEL") != "" {
		return "make dev ARGS='--listen 127.0.0.1:0'"
	}
	return "usher dev --listen 127.0.0.1:0"
}

// shellQuote quotes a word for a shell.
func shellQuote(word string) string {
	if word != "" && !strings.ContainsFunc(word, func(r rune) bool {
		return !unicode.IsLetter(r) && !unicode.IsDigit(r) && !strings.ContainsRune("/._-+:@%,", r)
	}) {
		return word
	}
	return "'" + strings.ReplaceAll(word, "'", `'\''`) + "'"
}

// greeting prints the addresses and commands to try. The commands can be pasted in any
// folder.
func (d *devFile) greeting(dir string) string {
	curl := func(user, room string) string {
		return fmt.Sprintf("  curl -sw '\\n' %s/api/auth -H 'Origin: %s' -H 'Content-Type: application/json' \\\n    -H 'Cookie: %s=%s' -d '{\"room\": %q}'\n",
			d.URL, d.Issuer, d.CookieName, d.Sessions[user], room)
	}
	var b strings.Builder
	fmt.Fprintf(&b, "usher dev is at %s (operators: %s)\n\n", d.URL, d.OpsURL)
	if len(d.Sessions) > 0 {
		fmt.Fprintf(&b, "A token for ada, who has FULL access to acme:design:*\n%s", curl("ada", "acme:design:1"))
		fmt.Fprintf(&b, "\nA refusal: ada is not in organization globex\n%s", curl("ada", "globex:1"))
	} else {
		fmt.Fprintf(&b, "Users are signed in by the application, with its cookie %s\n", d.CookieName)
	}
	fmt.Fprintf(&b, "\nThe latest tokens in the audit\n  %s\n", d.auditCommand())
	fmt.Fprintf(&b, "\nA token for another backend, with an API key\n"+
		"  curl -sw '\\n' %s/v2/authorize-user -H 'Authorization: Bearer %s' \\\n    -d '{\"userId\": \"ada\", \"permissions\": {\"acme:*\": [\"room:write\"]}}'\n", d.URL, d.APIKey)
	fmt.Fprintf(&b, "\nAda's grants, from the admin API\n"+
		"  curl -sw '\\n' '%s/grants?subjectKind=user&subjectId=ada' -H 'Authorization: Bearer %s'\n", d.AdminURL, d.AdminKey)
	fmt.Fprintf(&b, "\nAll of this is in %s. Ctrl-C stops it.\n", filepath.Join(dir, "dev.json"))
	return b.String()
}

// auditCommand uses psql, or usher itself if psql is missing, as it is among the
// fetched Postgres programs.
func (d *devFile) auditCommand() string {
	const sql = "SELECT issued_at, user_id, room, store, patterns, jti FROM audit.tokens ORDER BY issued_at DESC LIMIT 5"
	if _, err := exec.LookPath("psql"); err == nil {
		return fmt.Sprintf("psql %s -c %q", shellQuote(d.DatabaseURL), sql)
	}
	if dir, err := pglocal.FindPrograms(); err == nil && isFile(filepath.Join(dir, "psql")) {
		return fmt.Sprintf("%s %s -c %q", shellQuote(filepath.Join(dir, "psql")), shellQuote(d.DatabaseURL), sql)
	}
	self, err := os.Executable()
	if err != nil {
		self = "usher"
	}
	return fmt.Sprintf("%s audit log --limit 5 --database-url %s", shellQuote(self), shellQuote(d.DatabaseURL))
}

func isFile(name string) bool {
	info, err := os.Stat(name)
	return err == nil && info.Mode().IsRegular()
}
