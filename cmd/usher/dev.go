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
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/usher-auth/usher/db"
	"github.com/usher-auth/usher/db/pglocal"
	"github.com/usher-auth/usher/internal/admin"
	"github.com/usher-auth/usher/internal/identity"
	"github.com/usher-auth/usher/internal/secret"
	"github.com/usher-auth/usher/internal/service"
	"github.com/usher-auth/usher/session"
)

type devCmd struct {
	serviceFlags
	URL       string `env:"USHER_URL" placeholder:"URL" help:"The public address, and the iss claim, where it is not the listener's."`
	Dir       string `env:"USHER_DEV_DIR" default:".usher" type:"path" help:"Folder of the database, the keys and dev.json."`
	Listen    string `env:"USHER_LISTEN" default:"127.0.0.1:8080" help:"Public listener; port 0 takes a free one."`
	OpsListen string `env:"USHER_OPS_LISTEN" default:"127.0.0.1:0" help:"Listener for /livez, /readyz, /metrics, /debug/pprof and /v1/admin."`
}

// devActor is who made the demo, for the record.
const devActor = "usher dev"

var demoUsers = []string{"ada", "grace", "mallory"}

// devFile is dev.json: all that a program needs to use a running usher dev.
type devFile struct {
	URL         string            `json:"url"`
	OpsURL      string            `json:"opsUrl"`
	DatabaseURL string            `json:"databaseUrl"`
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
		return fmt.Errorf("%w; another usher dev? Take a free port with --listen 127.0.0.1:0", err)
	}
	defer listener.Close()
	ops, err := listen(ctx, "ops-listen", c.OpsListen)
	if err != nil {
		return err
	}
	defer ops.Close()

	owner, stopPostgres, err := c.database(ctx, logger)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, stopPostgres()) }()

	if _, err := db.Migrate(ctx, owner, db.Dev); err != nil {
		return err
	}
	dev := devFile{
		URL:         "http://" + listener.Addr().String(),
		OpsURL:      "http://" + ops.Addr().String(),
		AdminURL:    "http://" + ops.Addr().String() + "/v1/admin",
		DatabaseURL: owner.Reveal(),
		CookieName:  c.SessionCookie,
	}
	dev.Issuer, dev.JWKSURL = cmp.Or(c.URL, dev.URL), dev.URL+jwksPath
	audiences, err := session.ParseAudiences(c.Audiences)
	if err != nil {
		return err
	}
	dev.Audience = audiences[0].Name
	if err := c.demo(ctx, owner, &dev); err != nil {
		return err
	}
	encryption, err := c.signingKey(ctx, owner)
	if err != nil {
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
	if cfg.Checkpoints, err = c.openCheckpoints(out.out); err != nil {
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

// makeDevDir makes the folder, which git then ignores by itself.
func makeDevDir(dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil { //nolint:gosec // its files are private each
		return fmt.Errorf("--dir: %w", err)
	}
	return os.WriteFile(filepath.Join(dir, ".gitignore"), []byte("*\n"), 0o600)
}

// database returns the URL of the database's owner: the one that was given, or
// that of a private Postgres, which is started again should it end by itself.
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

// signedIn returns the demo's users, or none of them where an application signs
// the cookies, or is the directory.
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

// demo seeds the demo. Its users' session cookies and its keys are those of the
// last time, so that a browser stays signed in.
func (c *devCmd) demo(ctx context.Context, owner secret.Text, dev *devFile) error {
	var last devFile
	if content, err := os.ReadFile(filepath.Join(c.Dir, "dev.json")); err == nil {
		if err := json.Unmarshal(content, &last); err != nil {
			return fmt.Errorf("%s is not what usher dev wrote, remove it: %w", filepath.Join(c.Dir, "dev.json"), err)
		}
	}
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

// demoKeyName is what both of the demo's keys are called.
const demoKeyName = "demo"

// demoAPIKey returns the last key where the database has it still, or a new
// one in its place.
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
		Routes: []string{session.RouteAuth, session.RouteAuthorizeUser, session.RouteIdentifyUser},
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

// signingKey makes what signs and what seals it, once.
func (c *devCmd) signingKey(ctx context.Context, owner secret.Text) (*session.KeyEncryption, error) {
	file := filepath.Join(c.Dir, "key-encryption-key")
	text, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		key := make([]byte, 32)
		_, _ = rand.Read(key) // never fails
		text = []byte(base64.StdEncoding.EncodeToString(key))
		err = os.WriteFile(file, text, 0o600)
	}
	if err != nil {
		return nil, err
	}
	encryption, err := session.ParseKeyEncryption(secret.New(string(text)))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	database, err := db.Open(owner)
	if err != nil {
		return nil, err
	}
	defer database.Close()
	if err := database.EnsureCheckpointKey(ctx, encryption, devActor); err != nil {
		return nil, err
	}
	_, err = database.EnsureSigningKey(ctx, c.SigningAlg, encryption, devActor)
	return encryption, err
}

// serviceURL makes the lesser role that serves, as in production: what works
// here works there.
func (c *devCmd) serviceURL(ctx context.Context, owner secret.Text) (secret.Text, error) {
	cfg, err := pgconn.ParseConfig(owner.Reveal())
	if err != nil {
		return secret.Text{}, errors.New("--database-url is not one that libpq knows")
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
	// A reader that waits for the file must not see half of it.
	if err := os.WriteFile(file+".new", append(content, '\n'), 0o600); err != nil {
		return err
	}
	return os.Rename(file+".new", file)
}

// greeting says where usher is and what to try. The commands work when pasted.
func (d *devFile) greeting(dir string) string {
	curl := func(user, room string) string {
		return fmt.Sprintf("  curl -sw '\\n' %s/api/auth -H 'Origin: %s' -H 'Content-Type: application/json' \\\n    -H 'Cookie: %s=%s' -d '{\"room\": %q}'\n",
			d.URL, d.Issuer, d.CookieName, d.Sessions[user], room)
	}
	var b strings.Builder
	fmt.Fprintf(&b, "usher dev is at %s (operators: %s)\n\n", d.URL, d.OpsURL)
	if len(d.Sessions) > 0 {
		fmt.Fprintf(&b, "A token for ada, who may write in acme:design:*\n%s", curl("ada", "acme:design:1"))
		fmt.Fprintf(&b, "\nA refusal: globex is not her organization\n%s", curl("ada", "globex:1"))
	} else {
		fmt.Fprintf(&b, "Who is signed in, the application says: with its cookie %s\n", d.CookieName)
	}
	fmt.Fprintf(&b, "\nThe latest audit rows\n  %s\n", d.auditCommand())
	fmt.Fprintf(&b, "\nA token that another backend asks for, with an API key\n"+
		"  curl -sw '\\n' %s/v2/authorize-user -H 'Authorization: Bearer %s' \\\n    -d '{\"userId\": \"ada\", \"permissions\": {\"acme:*\": [\"room:write\"]}}'\n", d.URL, d.APIKey)
	fmt.Fprintf(&b, "\nWhat ada was granted, from the admin API\n"+
		"  curl -sw '\\n' '%s/grants?subjectKind=user&subjectId=ada' -H 'Authorization: Bearer %s'\n", d.AdminURL, d.AdminKey)
	fmt.Fprintf(&b, "\nAll of it is in %s. Ctrl-C stops it.\n", filepath.Join(dir, "dev.json"))
	return b.String()
}

// auditCommand asks by psql; where it is missing, as it is beside the fetched
// Postgres programs, by usher itself.
func (d *devFile) auditCommand() string {
	const sql = "SELECT issued_at, result, reason, user_id, room, patterns, jti FROM usher.decisions ORDER BY issued_at DESC LIMIT 5"
	if _, err := exec.LookPath("psql"); err == nil {
		return fmt.Sprintf("psql '%s' -c %q", d.DatabaseURL, sql)
	}
	if dir, err := pglocal.FindPrograms(); err == nil && isFile(filepath.Join(dir, "psql")) {
		return fmt.Sprintf("%s '%s' -c %q", filepath.Join(dir, "psql"), d.DatabaseURL, sql)
	}
	self, err := os.Executable()
	if err != nil {
		self = "usher"
	}
	return fmt.Sprintf("%s audit log --limit 5 --database-url '%s'", self, d.DatabaseURL)
}

func isFile(name string) bool {
	info, err := os.Stat(name)
	return err == nil && info.Mode().IsRegular()
}
