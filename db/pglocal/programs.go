package pglocal

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
)

const (
	binEnv     = "USHER_POSTGRES_BIN"
	minVersion = 15
)

// ErrNoPostgres is returned when no suitable programs are installed. Its text
// says what to install.
var ErrNoPostgres = errors.New("no PostgreSQL 15 or newer on this machine: install it (" + advice() +
	"), or set " + binEnv + " to the folder that has initdb and postgres")

func advice() string {
	if runtime.GOOS == "darwin" {
		return "brew install postgresql@17, or Postgres.app"
	}
	return "Debian and Ubuntu: apt install postgresql; Fedora: dnf install postgresql-server; Alpine: apk add postgresql; Arch: pacman -S postgresql"
}

// programs are the PostgreSQL programs of one version.
type programs struct {
	dir   string
	major int
}

// FindPrograms returns the folder that holds initdb and postgres of version 15
// or newer. If USHER_POSTGRES_BIN is set, it looks only there. Otherwise it looks
// in PATH, then, newest first, where Debian, Red Hat, Homebrew and Postgres.app
// install them, then where scripts/postgres.sh does. For root, it skips programs
// that the unprivileged user cannot run.
func FindPrograms() (bindir string, err error) {
	user, err := unprivileged()
	if err != nil {
		return "", fmt.Errorf("pglocal: %w", err)
	}
	bin, err := findPrograms(user)
	if err != nil {
		return "", fmt.Errorf("pglocal: %w", err)
	}
	return bin.dir, nil
}

func findPrograms(user *syscall.Credential) (programs, error) {
	var passedOver []string
	for _, dirs := range candidates() {
		var usable []programs
		for _, dir := range dirs {
			bin, err := probe(dir, user)
			if err != nil {
				passedOver = append(passedOver, err.Error())
				continue
			}
			usable = append(usable, bin)
		}
		if len(usable) > 0 {
			return slices.MaxFunc(usable, func(a, b programs) int { return cmp.Compare(a.major, b.major) }), nil
		}
	}
	if len(passedOver) > 0 {
		return programs{}, fmt.Errorf("%w; not suitable: %s", ErrNoPostgres, strings.Join(passedOver, "; "))
	}
	return programs{}, ErrNoPostgres
}

// candidates returns the folders to look in, in groups. The newest version in
// the first group that has a usable one is taken.
func candidates() [][]string {
	if dir := os.Getenv(binEnv); dir != "" {
		return [][]string{{dir}}
	}
	var groups [][]string
	for _, dir := range filepath.SplitList(os.Getenv("PATH")) {
		if _, err := exec.LookPath(filepath.Join(dir, "postgres")); err == nil {
			groups = append(groups, []string{dir})
		}
	}
	for _, pattern := range []string{
		"/usr/lib/postgresql/*/bin",
		"/usr/pgsql-*/bin",
		"/opt/homebrew/opt/postgresql@*/bin",
		"/usr/local/opt/postgresql@*/bin",
		"/Applications/Postgres.app/Contents/Versions/*/bin",
		filepath.Join(cacheDir(), "postgres-*/native/bin"),
	} {
		if dirs, err := filepath.Glob(pattern); err == nil {
			groups = append(groups, dirs)
		}
	}
	return groups
}

// cacheDir is where scripts/postgres.sh puts what it downloads. Root's is a
// folder that the unprivileged user can enter.
func cacheDir() string {
	if os.Geteuid() == 0 {
		return "/var/cache/usher"
	}
	if dir := os.Getenv("XDG_CACHE_HOME"); dir != "" {
		return filepath.Join(dir, "usher")
	}
	return filepath.Join(os.Getenv("HOME"), ".cache", "usher")
}

var versionText = regexp.MustCompile(`^postgres \(PostgreSQL\) (\d+)`)

// probe asks the programs in dir for their version, as the user that will run
// them. Its errors say why they are not suitable.
func probe(dir string, user *syscall.Credential) (programs, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return programs{}, err
	}
	if _, err := exec.LookPath(filepath.Join(dir, "initdb")); err != nil {
		return programs{}, fmt.Errorf("%s, which has no initdb", dir)
	}
	out, err := command(dir, "postgres", user, "--version").Output()
	if errors.Is(err, fs.ErrPermission) && user != nil {
		return programs{}, fmt.Errorf("%s, which user %d (root may not run PostgreSQL) cannot run", dir, user.Uid)
	}
	if err != nil {
		return programs{}, fmt.Errorf("%s, whose postgres does not run (%w)", dir, err)
	}
	match := versionText.FindSubmatch(out)
	if match == nil {
		return programs{}, fmt.Errorf("%s, whose postgres prints no version", dir)
	}
	major, err := strconv.Atoi(string(match[1]))
	if err != nil || major < minVersion {
		return programs{}, fmt.Errorf("%s, which is version %s", dir, match[1])
	}
	return programs{dir, major}, nil
}
