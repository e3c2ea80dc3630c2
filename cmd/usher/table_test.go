package main

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"unicode/utf8"
)

// strange are texts that control a terminal or hide characters.
var strange = []string{"\x1b[2J", "\u009b2J", "\u202eevil", "\u2066x\u2069", "\u200b", "\u007f", "\u2028", "\ufeff", "\U000e0041", "\u061c", "\r", "\u0085"}

func TestOutputHoldsNoControlCharacters(t *testing.T) {
	t.Parallel()
	row := func(text string) []string { return []string{text, "x"} }
	for name, print := range map[string]func(*bytes.Buffer) error{
		"JSON": func(b *bytes.Buffer) error { return printJSON(b, strange) },
		"table": func(b *bytes.Buffer) error {
			return printList(&console{out: b, err: b}, &listFlags{}, strange, []string{"ID", "X"}, row)
		},
		"CSV": func(b *bytes.Buffer) error { return printCSV(b, strange[:10], []string{"ID", "X"}, row) }, // CSV quotes line ends
	} {
		var out bytes.Buffer
		if err := print(&out); err != nil {
			t.Fatal(err)
		}
		for _, r := range out.String() {
			if r != '\n' && (r < ' ' || r >= 0x7f) {
				t.Errorf("%s holds %U:\n%q", name, r, out.String())
			}
		}
		if name == "JSON" {
			var back []string
			if err := json.Unmarshal(out.Bytes(), &back); err != nil || strings.Join(back, "|") != strings.Join(strange, "|") {
				t.Errorf("JSON reads back as %q, %v", back, err)
			}
		}
	}
}

func TestTablesFit(t *testing.T) {
	t.Parallel()
	header := []string{"ID", "SUBJECT", "ACCESS", "PATTERN", "FROM", "UNTIL", "BY", "REASON"}
	row := []string{"1", "organization " + strings.Repeat("ü", 40), "read", "acme:design:*", "2026-11-01T12:00:00Z", "2026-11-01T12:00:00Z", "cli:somebody@a.long.host.name", "a reason of some length"}
	for width, columns := range map[int]int{300: 8, 120: 8, 100: 8, 80: 7, 40: 4, 10: 1, 1: 1} {
		var out bytes.Buffer
		fitted, err := printTable(&out, width, header, [][]string{append([]string(nil), row...)})
		if err != nil {
			t.Fatal(err)
		}
		if want := width < 200; fitted != want {
			t.Errorf("at %d columns: fitted = %t, want %t", width, fitted, want)
		}
		lines := strings.Split(strings.TrimSpace(out.String()), "\n")
		if len(lines) != 2 || len(strings.Fields(lines[0])) != columns {
			t.Errorf("at %d columns it has %d columns, want %d:\n%s", width, len(strings.Fields(lines[0])), columns, &out)
		}
		for _, line := range lines {
			if n := utf8.RuneCountInString(strings.TrimRight(line, " ")); n > width && width > 1 {
				t.Errorf("at %d columns a line has %d:\n%s", width, n, &out)
			}
		}
		if !strings.HasPrefix(lines[1], "1") {
			t.Errorf("at %d columns the id is not whole:\n%s", width, &out)
		}
	}
}
