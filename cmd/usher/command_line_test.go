package main

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/alecthomas/kong"
	"github.com/google/go-cmp/cmp"

	"github.com/usher-auth/usher/internal/secret"
	"github.com/usher-auth/usher/permissions"
	"github.com/usher-auth/usher/session"
)

// leaves returns every command that can run.
func leaves() []*kong.Node { return newParser(new(cli)).Model.Leaves(false) }

// An empty variable counts as unset, for every variable that a flag reads.
func TestEmptyVariablesAreUnset(t *testing.T) { //nolint:paralleltest // the environment is everybody's
	defaults := map[string]string{}
	flags := func(visit func(*kong.Node, *kong.Flag)) {
		for _, command := range leaves() {
			for _, flag := range command.Flags {
				if len(flag.Envs) > 0 {
					if err := flag.Reset(); err != nil {
						t.Errorf("%s --%s: %v", command.FullPath(), flag.Name, err)
					}
					visit(command, flag)
				}
			}
		}
	}
	value := func(flag *kong.Flag) string {
		if text, ok := flag.Target.Interface().(secret.Text); ok {
			return text.Reveal()
		}
		return strings.Trim(cmp.Diff(nil, flag.Target.Interface(), cmp.Exporter(func(reflect.Type) bool { return true })), " ")
	}
	for name := range knownVariables() {
		t.Setenv(name, "") // restored after the test
		if err := os.Unsetenv(name); err != nil {
			t.Fatal(err)
		}
	}
	flags(func(c *kong.Node, f *kong.Flag) { defaults[c.FullPath()+f.Name] = value(f) })
	if len(defaults) < 100 {
		t.Fatalf("found %d flags with a variable", len(defaults))
	}
	for name := range knownVariables() {
		t.Setenv(name, "")
	}
	unsetEmpty()
	flags(func(c *kong.Node, f *kong.Flag) {
		if got, want := value(f), defaults[c.FullPath()+f.Name]; got != want {
			t.Errorf("%s --%s with an empty %v = %s, want %s", c.FullPath(), f.Name, f.Envs, got, want)
		}
	})
}

func TestUnknownVariables(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]string{
		"USHER_ORIGIN":             "USHER_ORIGINS",
		"USHER_DATABSE_URL":        "USHER_DATABASE_URL",
		"USHER_SESSION_COOKIES":    "USHER_SESSION_COOKIE",
		"USHER_RATE_LIMITS":        "USHER_RATE_LIMIT",
		"USHER_TRUSTED_PROXY":      "USHER_TRUSTED_PROXIES",
		"USHER_ISSUER":             "USHER_ISSUERS",
		"USHER_TLS_CERTIFICATE":    "",
		"USHER_SOMETHING_OF_OTHER": "",
	} {
		got := unknownVariables([]string{"HOME=/", "USHER_URL=x", "ORIGINS=x", name + "=x"})
		if diff := cmp.Diff([]unknownVariable{{name, want}}, got, cmp.AllowUnexported(unknownVariable{})); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
	for name := range knownVariables() {
		if got := unknownVariables([]string{name + "=x"}); len(got) > 0 {
			t.Errorf("%s is called unknown", name)
		}
	}
}

func TestParseDuration(t *testing.T) {
	t.Parallel()
	const day = 24 * time.Hour
	for text, want := range map[string]time.Duration{
		"90d": 90 * day, "2w": 14 * day, "1w3d": 10 * day, "1d12h": 36 * time.Hour, "720h": 30 * day, "5m": 5 * time.Minute,
		"1.5h": 90 * time.Minute, "0d": 0, "-1s": -time.Second, "-2d": -2 * day, "400d": 400 * day, "0": 0, "1w1h30m": 7*day + 90*time.Minute,
	} {
		if got, err := parseDuration(text); err != nil || got != want {
			t.Errorf("parseDuration(%q) = %s, %v; want %s", text, got, err, want)
		}
	}
	for _, text := range []string{"", "-", "d", "90", "90days", "1.5d", "1d2w", "9999999999d", "106751d24h", "12h1d", "--1d", "1d-1h", "-+1d", " 1d", "1d ", "soon"} {
		if got, err := parseDuration(text); err == nil {
			t.Errorf("parseDuration(%q) = %s, want an error", text, got)
		}
	}
}

// The flags' defaults issue the same tokens as package session's own, and the help shows
// its limits of a lifetime.
func TestTokenFlagDefaults(t *testing.T) {
	t.Parallel()
	var flags tokenFlags
	parser, err := kong.New(&flags)
	if err != nil {
		t.Fatal(err)
	}
	help := ""
	for _, flag := range parser.Model.Flags {
		flag.Tag.Envs = nil // only the defaults
		if flag.Name == "token-ttl" {
			help = flag.Help
		}
	}
	if _, err := parser.Parse(nil); err != nil {
		t.Fatal(err)
	}
	limits := regexp.MustCompile(`(\S+) to (\S+)\.`).FindStringSubmatch(help)
	if limits == nil {
		t.Fatalf("the help of --token-ttl has no limits: %s", help)
	}
	for n, want := range []time.Duration{session.MinTTL, session.MaxTTL} {
		if got, err := parseDuration(limits[n+1]); err != nil || got != want {
			t.Errorf("limit in the help of --token-ttl = %s, want %s", limits[n+1], want)
		}
	}

	const url = "https://auth.example.com"
	fromFlags, err := flags.issuerConfig(url)
	if err != nil {
		t.Fatal(err)
	}
	key, err := session.GenerateKey(session.EdDSA, session.KeyTimes{})
	if err != nil {
		t.Fatal(err)
	}
	other, err := session.GenerateKey(session.ES256, session.KeyTimes{})
	if err != nil {
		t.Fatal(err)
	}
	own := session.IssuerConfig{Issuer: url}
	fromFlags.Keys = session.NewKeyring(key, other)
	own.Keys = fromFlags.Keys
	at := time.Now()
	issue := func(cfg session.IssuerConfig, allow func(*session.Session)) (keyID string, claims map[string]any) {
		issuer, err := session.NewIssuer(cfg)
		if err != nil {
			t.Fatal(err)
		}
		s := issuer.Prepare(session.User{ID: "ada"}).At(at)
		allow(s)
		token, err := s.Authorize()
		if err != nil {
			t.Fatal(err)
		}
		payload, err := base64.RawURLEncoding.DecodeString(strings.Split(token.Text.Reveal(), ".")[1])
		if err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(payload, &claims); err != nil {
			t.Fatal(err)
		}
		delete(claims, "jti")
		return token.KeyID, claims
	}
	for kind, allow := range map[string]func(*session.Session){
		"rooms": func(s *session.Session) { s.Allow("acme:*", permissions.Read) },
		"stores": func(s *session.Session) {
			s.For(session.Request{Store: "acme_notes"}).AllowStore("acme_*", permissions.Read)
		},
	} {
		gotKey, got := issue(fromFlags, allow)
		wantKey, want := issue(own, allow)
		if gotKey != wantKey {
			t.Errorf("%s: the flags sign with the key of another algorithm", kind)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-session's default +the flags'):\n%s", kind, diff)
		}
	}
}

// Every flag with a duration accepts days and weeks.
func TestDurationFlags(t *testing.T) {
	t.Parallel()
	n := 0
	for _, command := range leaves() {
		for _, flag := range command.Flags {
			if flag.Target.Type() != reflect.TypeFor[time.Duration]() {
				continue
			}
			n++
			if err := flag.Parse(kong.ScanFromTokens(kong.Token{Type: kong.FlagValueToken, Value: "1w2d"}), flag.Target); err != nil || flag.Target.Int() != int64(9*24*time.Hour) {
				t.Errorf("%s --%s 1w2d = %d, %v", command.FullPath(), flag.Name, flag.Target.Int(), err)
			}
		}
	}
	if n < 5 {
		t.Errorf("found %d flags with a duration", n)
	}
}

// --keep takes whole days in any unit, and nothing else.
func TestKeepFlag(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]time.Duration{
		"1d": day, "400d": 400 * day, "52w": 364 * day, "9600h": 400 * day, "1w2d": 9 * day, "1d24h": 2 * day, "1440m": day,
	} {
		var c cli
		if _, err := newParser(&c).Parse([]string{"audit", "prune", "--database-url", "postgres://u@h/d", "--keep", text}); err != nil || c.Audit.Prune.Keep != want {
			t.Errorf("--keep %s = %s, %v; want %s", text, c.Audit.Prune.Keep, err, want)
		}
	}
	const number, form = "--keep: give a whole number of days, for example 400d", "write it as 90d"
	for text, want := range map[string]string{
		"0": number, "0d": number, "12h": number, "25h": number, "1d1s": number, "-400d": number, "86399s": number,
		"400": form, "d": form, "400 d": form, "1.5d": form, "400D": form, "1y": form, "400d!": form, "": form, "999999999w": "is too long",
	} {
		var c cli
		if _, err := newParser(&c).Parse([]string{"audit", "prune", "--database-url", "postgres://u@h/d", "--keep=" + text}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("--keep=%s = %s, %v; want %q", text, c.Audit.Prune.Keep, err, want)
		}
	}
}

func TestHelp(t *testing.T) {
	t.Parallel()
	shows := func(args []string, code int, parts ...string) {
		t.Helper()
		var out, errs bytes.Buffer
		if got := run(t.Context(), args, &out, &errs); got != code {
			t.Errorf("usher %s: exit %d, want %d", strings.Join(args, " "), got, code)
		}
		for _, part := range parts {
			if !strings.Contains(out.String()+errs.String(), part) {
				t.Errorf("usher %s lacks %q:\n%s%s", strings.Join(args, " "), part, &out, &errs)
			}
		}
		if code == 0 && errs.Len() > 0 {
			t.Errorf("usher %s: %s", strings.Join(args, " "), &errs)
		}
	}
	for _, args := range [][]string{{}, {"help"}, {"--help"}, {"-h"}} {
		shows(args, 0, "Usage: usher <command> [flags]", "\nUsers and organizations:\n", "Exit codes: ", "  token preview ")
	}
	for _, args := range [][]string{{"help", "grant", "add"}, {"grant", "add", "--help"}} {
		shows(args, 0, "Usage: usher grant add", "Reason, stored in the audit.", "default:")
	}
	shows([]string{"help", "user"}, 0, "user disable")
	shows([]string{"--version"}, 0, "usher ", "go1.")
	shows([]string{"user", "add"}, 2, "Usage: usher user add <id> [flags]\n", "usher user add --help", `expected "<id>"`)
	shows([]string{"user", "ad"}, 2, "Usage: usher user", "unexpected argument ad")
	shows([]string{"frobnicate"}, 2, "Usage: usher <command> [flags]\n")
	for _, command := range leaves() {
		path, _, _ := strings.Cut(command.Path(), " (") // without its alias
		shows(append(strings.Fields(path), "--help"), 0, "Usage: usher "+path)
	}
}

// Every flag states its default in the same way.
func TestHelpSaysDefaults(t *testing.T) {
	t.Parallel()
	for _, command := range leaves() {
		for _, flag := range command.Flags {
			text := helpText(flag.Value)
			if flag.HasDefault && flag.Default != "" && !flag.IsBool() && !strings.Contains(text, "(default: "+flag.Default) {
				t.Errorf("%s --%s: %q does not say its default %s", command.FullPath(), flag.Name, text, flag.Default)
			}
			if strings.Count(text, "(default: ") > 1 {
				t.Errorf("%s --%s: %q says its default twice", command.FullPath(), flag.Name, text)
			}
			if !strings.HasSuffix(text, ".") {
				t.Errorf("%s --%s: %q is not a sentence", command.FullPath(), flag.Name, text)
			}
		}
		for _, argument := range command.Positional {
			if argument.Help == "" {
				t.Errorf("%s <%s> has no help", command.FullPath(), argument.Name)
			}
		}
	}
}

// The help of usher grant add explains every placeholder.
func TestGrantHelpExplainsPlaceholders(t *testing.T) {
	t.Parallel()
	for _, command := range leaves() {
		if command.FullPath() != "usher grant add" {
			continue
		}
		for _, flag := range command.Flags {
			for _, placeholder := range []permissions.Placeholder{permissions.UserPlaceholder, permissions.OrganizationPlaceholder, permissions.GroupPlaceholder} {
				if flag.Name == "room" && !regexp.MustCompile(`\{`+string(placeholder)+`\}[^.,]* (the|each of the) user's `).MatchString(flag.Help) {
					t.Errorf("--room: %q does not say what {%s} becomes", flag.Help, placeholder)
				}
			}
			if flag.Name == "room" && !strings.Contains(flag.Help, "every pair") {
				t.Errorf("--room: %q does not say what two placeholders become", flag.Help)
			}
		}
		return
	}
	t.Error("there is no usher grant add")
}

func TestCompletion(t *testing.T) {
	t.Parallel()
	script := func(shell string) string {
		var out, errs bytes.Buffer
		if code := run(t.Context(), []string{"completion", shell}, &out, &errs); code != 0 {
			t.Fatalf("exit %d: %s", code, &errs)
		}
		return out.String()
	}
	file := filepath.Join(t.TempDir(), "usher.bash")
	if err := os.WriteFile(file, []byte(script("bash")), 0o600); err != nil {
		t.Fatal(err)
	}
	for line, want := range map[string]string{
		"usher au":                           "audit",
		"usher audit who-":                   "who-can",
		"usher grant add --acc":              "--access",
		"usher grant add --access ":          "read full",
		"usher --database-url x user dis":    "disable",
		"usher audit members --org acme --g": "--group",
		"usher completion --ver":             "--version",
	} {
		words := strings.Split(line, " ")
		quoted := "'" + strings.Join(words, "' '") + "'"
		out, err := exec.CommandContext(t.Context(), "bash", "-c",
			`source "$0"; COMP_WORDS=(`+quoted+`); COMP_CWORD=$((${#COMP_WORDS[@]}-1)); _usher; echo "${COMPREPLY[*]}"`, file).CombinedOutput()
		if err != nil || strings.TrimSpace(string(out)) != want {
			t.Errorf("%q completes to %q, %v; want %q", line, out, err, want)
		}
	}
	for shell, parts := range map[string][]string{
		"zsh":  {"#compdef usher\n", "bashcompinit", `"usher grant add") words="`},
		"fish": {"complete -c usher -n '__usher_path usher grant' -a add -d 'Give", "-l access -d 'Access", "-r -a 'read full'", `user\'s`},
	} {
		text := script(shell)
		for _, part := range parts {
			if !strings.Contains(text, part) {
				t.Errorf("the script for %s lacks %q", shell, part)
			}
		}
	}
	if code := run(t.Context(), []string{"completion", "tcsh"}, new(bytes.Buffer), new(bytes.Buffer)); code != 2 {
		t.Errorf("completion tcsh: exit %d, want 2", code)
	}
}
