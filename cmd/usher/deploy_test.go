package main

import (
	"debug/elf"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/alecthomas/kong"
	composecli "github.com/compose-spec/compose-go/v2/cli"
	"github.com/compose-spec/compose-go/v2/types"
)

// No Docker engine runs in the tests. Without one, they check that the files contain the
// right settings for the programs that they name.

func root(t testing.TB) string {
	t.Helper()
	dir, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

// makeSecrets runs the script in a copy of the files that it needs, and returns the copy.
func makeSecrets(t testing.TB) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "scripts"), 0o755); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"docker-compose.yml", "scripts/compose-secrets.sh"} {
		content, err := os.ReadFile(filepath.Join(root(t), name))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if out, err := exec.CommandContext(t.Context(), filepath.Join(dir, "scripts/compose-secrets.sh")).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return dir
}

func TestCompose(t *testing.T) {
	t.Parallel()
	dir := makeSecrets(t)
	options, err := composecli.NewProjectOptions([]string{filepath.Join(dir, "docker-compose.yml")}, composecli.WithProfiles([]string{"admin", "metrics"}))
	if err != nil {
		t.Fatal(err)
	}
	project, err := options.LoadProject(t.Context())
	if err != nil {
		t.Fatal(err)
	}

	known := knownEnv(t)
	for name, service := range project.Services {
		for variable, value := range service.Environment {
			if strings.HasPrefix(variable, "USHER_") && !known[variable] {
				t.Errorf("%s: usher reads no %s", name, variable)
			}
			if value != nil && regexp.MustCompile(`(?i)password|secret|key`).MatchString(variable) && !strings.HasPrefix(*value, "/run/secrets/") {
				t.Errorf("%s: %s is not given as a file", name, variable)
			}
			if value == nil || !strings.HasPrefix(*value, "/run/secrets/") {
				continue
			}
			mounted := slices.ContainsFunc(service.Secrets, func(s types.ServiceSecretConfig) bool {
				return "/run/secrets/"+s.Source == *value
			})
			if !mounted {
				t.Errorf("%s: %s names %s, which is not mounted", name, variable, *value)
			}
		}
		for _, port := range service.Ports {
			if port.HostIP != "127.0.0.1" {
				t.Errorf("%s: port %s is open to the network, without TLS", name, port.Published)
			}
		}
	}
	for secret, config := range project.Secrets {
		if info, err := os.Stat(config.File); err != nil || info.Size() == 0 || info.Mode().Perm() != 0o444 {
			t.Errorf("secret %s: %v, %v", secret, info, err)
		}
	}

	postgres := project.Services["postgres"]
	version := regexp.MustCompile(`^postgres:(\d+)`).FindStringSubmatch(postgres.Image)
	if version == nil {
		t.Fatalf("postgres runs %q", postgres.Image)
	}
	if major, _ := strconv.Atoi(version[1]); major < 16 {
		t.Errorf("postgres is of version %d, want 16 or newer", major)
	}
	mounted := project.Services["prometheus"].Volumes
	if len(mounted) == 0 || mounted[0].Target != "/etc/prometheus" || !mounted[0].ReadOnly {
		t.Errorf("prometheus has the volumes %v", mounted)
	} else if below, err := filepath.Rel(dir, mounted[0].Source); err != nil || below != "deploy/prometheus" {
		t.Errorf("prometheus reads %s, %v", mounted[0].Source, err)
	}
	serve := project.Services["usher"]
	for _, name := range []string{"postgres", "usher"} {
		if project.Services[name].HealthCheck == nil {
			t.Errorf("%s has no health check", name)
		}
	}
	if got := project.Services["migrate"].DependsOn["postgres"].Condition; got != types.ServiceConditionHealthy {
		t.Errorf("migrate starts when postgres is %q", got)
	}
	if got := serve.DependsOn["migrate"].Condition; got != types.ServiceConditionCompletedSuccessfully {
		t.Errorf("usher starts when migrate is %q", got)
	}
	if !serve.ReadOnly || !slices.Equal(serve.CapDrop, []string{"ALL"}) {
		t.Error("usher may do more than it needs")
	}
	// usher's command line must accept the commands of the containers.
	for _, args := range [][]string{serve.Command, project.Services["migrate"].Command, serve.HealthCheck.Test[2:]} {
		var c cli
		parser, err := kong.New(&c, kong.Vars{"user": "x", "proxies": privateAddresses}, kong.Exit(func(int) {}))
		if err != nil {
			t.Fatal(err)
		}
		if slices.Equal(args, []string{"serve"}) {
			args = []string{"serve", "--url", *serve.Environment["USHER_URL"]}
		}
		if _, err := parser.Parse(args); err != nil {
			t.Errorf("usher %s: %v", strings.Join(args, " "), err)
		}
	}
	published := map[uint32]bool{}
	for _, port := range serve.Ports {
		published[port.Target] = true
	}
	for variable, port := range map[string]uint32{"USHER_LISTEN": 8080, "USHER_OPS_LISTEN": 9090} {
		if got := *serve.Environment[variable]; got != fmt.Sprintf("0.0.0.0:%d", port) || !published[port] {
			t.Errorf("%s=%s cannot be reached from outside of the container", variable, got)
		}
	}
	for _, variable := range []string{"USHER_ORIGINS", "USHER_SESSION_COOKIE", "USHER_ISSUERS", "USHER_AUDIENCES", "USHER_TRUSTED_PROXIES"} {
		if value, ok := serve.Environment[variable]; !ok || *value != "" {
			t.Errorf("%s cannot be set, or has a default here", variable)
		}
	}
	if got := serve.HealthCheck.Test[1]; got != "/usher" {
		t.Errorf("the health check runs %s, which the image does not hold", got)
	}
	if err := checkPublicURL(*serve.Environment["USHER_URL"]); err != nil {
		t.Error(err)
	}
}

// knownEnv returns every environment variable that a flag reads.
func knownEnv(t testing.TB) map[string]bool {
	t.Helper()
	var c cli
	parser, err := kong.New(&c, kong.Vars{"user": "x", "proxies": privateAddresses})
	if err != nil {
		t.Fatal(err)
	}
	known := map[string]bool{}
	_ = kong.Visit(parser.Model, func(node kong.Visitable, next kong.Next) error {
		if flag, ok := node.(*kong.Flag); ok {
			for _, env := range flag.Envs {
				known[env] = true
			}
		}
		return next(nil)
	})
	return known
}

// The secrets match each other and usher: the key is valid, and the URLs contain the
// passwords.
func TestComposeSecrets(t *testing.T) {
	t.Parallel()
	dir := makeSecrets(t)
	read := func(name string) string {
		content, err := os.ReadFile(filepath.Join(dir, "secrets", name))
		if err != nil {
			t.Fatal(err)
		}
		return string(content)
	}
	for url, password := range map[string]string{"owner_url": "owner_password", "service_url": "service_password"} {
		if !strings.Contains(read(url), ":"+read(password)+"@postgres:5432/usher") {
			t.Errorf("%s does not hold %s", url, password)
		}
	}
	f := keyEncryptionFlags{KeyEncryptionKeyFile: filepath.Join(dir, "secrets", "key_encryption_key")}
	if _, err := f.encryption(); err != nil {
		t.Errorf("key_encryption_key: %v", err)
	}
	if info, err := os.Stat(filepath.Join(dir, "secrets")); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("secrets/: %v, %v; want mode 0700", info.Mode(), err)
	}
	if err := exec.CommandContext(t.Context(), filepath.Join(dir, "scripts/compose-secrets.sh")).Run(); err == nil {
		t.Error("the script overwrites secrets that are there")
	}
}

func TestDockerfile(t *testing.T) {
	t.Parallel()
	content, err := os.ReadFile(filepath.Join(root(t), "Dockerfile"))
	if err != nil {
		t.Fatal(err)
	}
	stages := regexp.MustCompile(`(?m)^FROM `).Split(string(content), -1)[1:]
	if len(stages) != 2 {
		t.Fatalf("%d stages, want 2", len(stages))
	}
	build, final := stages[0], stages[1]
	for _, want := range []string{"scratch\n", "USER 65532:65532\n", "ENV USHER_LISTEN=0.0.0.0:8080\n", `ENTRYPOINT ["/usher"]`, `CMD ["serve"]`, "COPY --from=build /usher /usher\n"} {
		if !strings.Contains(final, want) {
			t.Errorf("the final stage lacks %q:\n%s", want, final)
		}
	}
	if strings.Contains(final, "RUN") {
		t.Error("the final stage runs something: it has no shell")
	}
	mod, err := os.ReadFile(filepath.Join(root(t), "go.mod"))
	if err != nil {
		t.Fatal(err)
	}
	needs := regexp.MustCompile(`(?m)^go (\d+\.\d+)`).FindSubmatch(mod)[1]
	if !strings.HasPrefix(build, "golang:"+string(needs)) {
		t.Errorf("the build stage is %.30q, but go.mod needs Go %s", build, needs)
	}

	// Its own build command makes a static binary.
	command := regexp.MustCompile(`(?m)^RUN (CGO_ENABLED=0 go build .*)$`).FindStringSubmatch(build)
	if command == nil {
		t.Fatal("the build stage builds nothing")
	}
	if testing.Short() || runtime.GOOS != "linux" {
		t.Skip("the build of the image's binary is a long test, and for Linux")
	}
	binary := filepath.Join(t.TempDir(), "usher")
	run := exec.CommandContext(t.Context(), "sh", "-c", strings.Replace(command[1], "/usher ", binary+" ", 1))
	run.Dir = root(t)
	run.Env = append(os.Environ(), "VERSION=1.2.3")
	if out, err := run.CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", command[1], err, out)
	}
	file, err := elf.Open(binary)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	if libraries, err := file.ImportedLibraries(); err != nil || len(libraries) > 0 {
		t.Errorf("the binary needs %v, %v; want none", libraries, err)
	}
	if out, err := exec.CommandContext(t.Context(), binary, "version").CombinedOutput(); err != nil || !strings.HasPrefix(string(out), "usher 1.2.3") {
		t.Errorf("usher version: %v %s", err, out)
	}
}

// Images of others are named by what they contain, so that a tag that moves changes
// nothing.
func TestImagesArePinned(t *testing.T) {
	t.Parallel()
	found := 0
	for file, pattern := range map[string]string{
		"../../Dockerfile":         `(?m)^FROM (\S+)`,
		"../../docker-compose.yml": `(?m)^\s+image: (\S+)`,
	} {
		content, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, image := range regexp.MustCompile(pattern).FindAllStringSubmatch(string(content), -1) {
			if image[1] == "scratch" || image[1] == "usher" { // nobody's, and our own
				continue
			}
			found++
			if !regexp.MustCompile(`^[a-z/]+:[\w.-]+@sha256:[0-9a-f]{64}$`).MatchString(image[1]) {
				t.Errorf("%s: image %s has no digest", file, image[1])
			}
		}
	}
	if found < 3 {
		t.Errorf("%d images found, want at least 3", found)
	}
}
