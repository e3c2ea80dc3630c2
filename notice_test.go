package usher_test

import (
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// NOTICE says that every module of the program but those that it lists is under
// a license that asks for no more than its text.
func TestNotice(t *testing.T) {
	t.Parallel()
	notice, err := os.ReadFile("NOTICE")
	if err != nil {
		t.Fatal(err)
	}
	permissive := regexp.MustCompile(`Apache License|Permission is hereby granted, free of charge|Redistribution and use in source and binary forms|Permission to use, copy, modify, and distribute this software for any\s+purpose`)
	modules := modulesOf(t, "./cmd/usher")
	if len(modules) < 10 {
		t.Fatalf("cmd/usher has %d modules: go list has changed", len(modules))
	}
	listed := map[string]bool{}
	for path, m := range modules {
		var files []string
		for _, pattern := range []string{"LICEN[CS]E*", "COPYING*"} {
			found, err := filepath.Glob(filepath.Join(m.Dir, pattern))
			if err != nil {
				t.Fatal(err)
			}
			files = append(files, found...)
		}
		if len(files) == 0 {
			t.Errorf("%s: no license file in %s", path, m.Dir)
			continue
		}
		license, err := os.ReadFile(files[0])
		if err != nil {
			t.Fatal(err)
		}
		listed[path+" "+m.Version] = true
		inNotice := strings.Contains(string(notice), "  "+path+" "+m.Version+"\n")
		if inNotice == permissive.Match(license) {
			t.Errorf("%s %s: in NOTICE: %t, license: %.60q", path, m.Version, inNotice, license)
		}
	}
	for _, match := range regexp.MustCompile(`(?m)^  (\S+/\S+ v\S+)$`).FindAllStringSubmatch(string(notice), -1) {
		if !listed[match[1]] {
			t.Errorf("NOTICE lists %s, which is not in the program", match[1])
		}
	}
}

type goModule struct{ Path, Version, Dir string }

// modulesOf returns the other modules that a package needs, by path.
func modulesOf(t *testing.T, pkg string) map[string]goModule {
	t.Helper()
	output, err := exec.CommandContext(t.Context(), "go", "list", "-deps", "-json=Module", pkg).Output()
	if err != nil {
		t.Fatal(err)
	}
	modules := map[string]goModule{}
	for d := json.NewDecoder(strings.NewReader(string(output))); ; {
		var p struct {
			Module *struct {
				goModule
				Main bool
			}
		}
		if err := d.Decode(&p); errors.Is(err, io.EOF) {
			return modules
		} else if err != nil {
			t.Fatal(err)
		}
		if p.Module != nil && !p.Module.Main {
			modules[p.Module.Path] = p.Module.goModule
		}
	}
}
