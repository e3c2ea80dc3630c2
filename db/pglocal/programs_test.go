package pglocal_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/usher-auth/usher/db/dbtest"
	"github.com/usher-auth/usher/db/pglocal"
)

// fakePrograms makes a folder with programs that print a version.
func fakePrograms(t *testing.T, version string) string {
	t.Helper()
	dir := dbtest.Dir(t)
	for _, name := range []string{"initdb", "postgres"} {
		script := fmt.Sprintf("#!/bin/sh\necho '%s (PostgreSQL) %s'\n", name, version)
		if err := os.WriteFile(filepath.Join(dir, name), []byte(script), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestFindPrograms(t *testing.T) {
	old, first, second := fakePrograms(t, "14.9"), fakePrograms(t, "15.1 (Debian 15.1-1)"), fakePrograms(t, "18beta1")
	noInitdb := fakePrograms(t, "16.2")
	if err := os.Remove(filepath.Join(noInitdb, "initdb")); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name, env, path string
		want            string
	}{
		{"the first in PATH", "", first + ":" + second, first},
		{"the named ones before PATH", second, first, second},
		{"not an old one", "", old + ":" + second, second},
		{"not half of one", "", noInitdb + ":" + second, second},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Setenv("USHER_POSTGRES_BIN", c.env)
			t.Setenv("PATH", c.path+":/usr/bin:/bin")
			if got, err := pglocal.FindPrograms(); err != nil || got != c.want {
				t.Errorf("FindPrograms() = %q, %v; want %q", got, err, c.want)
			}
		})
	}
}

func TestNoPrograms(t *testing.T) {
	empty := dbtest.Dir(t)
	closed := filepath.Join(t.TempDir(), "bin")
	if err := os.Mkdir(closed, 0o000); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ name, bin, want string }{
		{"none", empty, "which has no initdb"},
		{"closed", closed, "which has no initdb"},
		{"old", fakePrograms(t, "14.9"), "which is version 14"},
		{"another program", fakePrograms(t, "x"), "prints no version"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Setenv("USHER_POSTGRES_BIN", c.bin)
			_, err := pglocal.Start(t.Context(), pglocal.Config{Dir: t.TempDir()})
			if !errors.Is(err, pglocal.ErrNoPostgres) {
				t.Fatalf("Start without programs = %v, want ErrNoPostgres", err)
			}
			for _, want := range []string{"install", c.bin, c.want} {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("error %q, want it to say %q", err, want)
				}
			}
		})
	}
}

// Root's own programs, for example of a conda environment in /root, do not hide programs
// that another user can run.
func TestProgramsOnlyRootMayRun(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("for root only")
	}
	closed, open := fakePrograms(t, "17.1"), fakePrograms(t, "16.1")
	if err := os.Chmod(closed, 0o700); err != nil {
		t.Fatal(err)
	}
	t.Setenv("USHER_POSTGRES_BIN", "")
	t.Setenv("PATH", closed+":"+open+":/usr/bin:/bin")
	if got, err := pglocal.FindPrograms(); err != nil || got != open {
		t.Errorf("FindPrograms() = %q, %v; want %q", got, err, open)
	}
	t.Setenv("USHER_POSTGRES_BIN", closed)
	if _, err := pglocal.FindPrograms(); !errors.Is(err, pglocal.ErrNoPostgres) || !strings.Contains(err.Error(), "cannot run") {
		t.Errorf("FindPrograms() = %v, want a sentence that root may not run PostgreSQL", err)
	}
}
