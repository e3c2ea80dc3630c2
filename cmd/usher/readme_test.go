package main

import (
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/alecthomas/kong"
)

func readme(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// The table of variables in README.md has every variable of usher serve with its default,
// and only variables that a command reads.
func TestReadmeVariables(t *testing.T) {
	t.Parallel()
	defaults := map[string]string{}
	required := map[string]bool{}
	for _, command := range leaves() {
		for _, flag := range command.Flags {
			for _, name := range flag.Envs {
				defaults[name] = flag.Default
				if command.Name == "serve" && !strings.HasSuffix(name, "_FILE") {
					required[name] = true
				}
			}
		}
	}
	if len(required) < 20 {
		t.Fatalf("usher serve has %d variables", len(required))
	}
	span := regexp.MustCompile("`([^`]*)`")
	for line := range strings.Lines(readme(t)) {
		cells := strings.Split(line, "|")
		if len(cells) != 5 || !strings.HasPrefix(cells[1], " `USHER_") {
			continue
		}
		values := strings.Split(cells[2], ", ")
		for i, variable := range span.FindAllStringSubmatch(cells[1], -1) {
			name := variable[1]
			want, known := defaults[name]
			if !known {
				t.Errorf("usher has no variable %s", name)
			}
			delete(required, name)
			got := ""
			if i < len(values) {
				got = strings.TrimSpace(values[i])
			}
			if value := span.FindStringSubmatch(got); value != nil {
				got = value[1]
			} else if got != "" {
				continue // described in words
			}
			if got != strings.Trim(want, `"`) {
				t.Errorf("the default of %s is %q in README.md, and %q in the program", name, got, want)
			}
		}
	}
	for name := range required {
		t.Errorf("README.md does not list %s", name)
	}
}

// usher accepts the commands in README.md.
func TestReadmeCommands(t *testing.T) {
	t.Parallel()
	_, text, found := strings.Cut(readme(t), "\n## In production\n")
	block, _, end := strings.Cut(text, "\n```\n\n")
	if !found || !end {
		t.Fatal("README.md has no block of commands In production")
	}
	commands := regexp.MustCompile(`(?m)(?:^|&& |=… )usher ([a-z][^#&\n]*)`).FindAllStringSubmatch(block, -1)
	if len(commands) < 8 {
		t.Fatalf("found %d commands", len(commands))
	}
	word := regexp.MustCompile(`'([^']*)'|"([^"]*)"|(\S+)`)
	for _, command := range commands {
		var args []string
		for _, m := range word.FindAllStringSubmatch(command[1], -1) {
			args = append(args, m[1]+m[2]+m[3])
		}
		if _, err := newParser(new(cli), kong.Exit(func(int) {})).Parse(args); err != nil {
			t.Errorf("usher %s: %v", command[1], err)
		}
	}
}
