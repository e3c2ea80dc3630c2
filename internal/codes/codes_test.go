package codes_test

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/usher-auth/usher/internal/codes"
)

var snakeCase = regexp.MustCompile(`^[a-z]+(_[a-z]+)*$`)

func TestAll(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	for _, c := range codes.All() {
		if seen[c.Text] || !snakeCase.MatchString(c.Text) {
			t.Errorf("%q is there twice, or not snake_case", c.Text)
		}
		seen[c.Text] = true
		if c.Where == 0 || !strings.HasSuffix(c.Meaning, ".") {
			t.Errorf("%q: where %q, meaning %q; want a place and a sentence", c.Text, c.Where, c.Meaning)
		}
	}
	for _, constant := range constants(t) {
		if !seen[constant] {
			t.Errorf("%q is a constant and not in All", constant)
		}
		delete(seen, constant)
	}
	for text := range seen {
		t.Errorf("%q is in All and not a constant", text)
	}
}

// constants reads the string constants of codes.go.
func constants(t *testing.T) (texts []string) {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), "codes.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	ast.Inspect(file, func(n ast.Node) bool {
		if _, ok := n.(*ast.FuncDecl); ok {
			return false
		}
		if literal, ok := n.(*ast.BasicLit); ok && literal.Kind == token.STRING {
			text, err := strconv.Unquote(literal.Value)
			if err != nil {
				t.Fatal(err)
			}
			texts = append(texts, text)
		}
		return true
	})
	return texts
}

func TestDocs(t *testing.T) {
	t.Parallel()
	var want strings.Builder
	want.WriteString("| code | where | meaning |\n|---|---|---|\n")
	for _, c := range codes.All() {
		fmt.Fprintf(&want, "| `%s` | %s | %s |\n", c.Text, c.Where, c.Meaning)
	}
	page, err := os.ReadFile("../../docs/errors.md")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(page), want.String()) {
		t.Errorf("docs/errors.md does not have this table:\n%s", &want)
	}
}

// The npm package has the same codes, in its own types.
func TestNpmPackage(t *testing.T) {
	t.Parallel()
	for file, where := range map[string]codes.Where{"errors.ts": codes.Token, "livestore.ts": codes.LiveStore} {
		source, err := os.ReadFile("../../js/src/" + file)
		if err != nil {
			t.Fatal(err)
		}
		var got, want []string
		for _, match := range regexp.MustCompile(`(?m)^  \| '([a-z_]+)'`).FindAllSubmatch(source, -1) {
			got = append(got, string(match[1]))
		}
		for _, c := range codes.All() {
			if c.Where&where != 0 {
				want = append(want, c.Text)
			}
		}
		slices.Sort(got)
		slices.Sort(want)
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("codes of js/src/%s (-want +got):\n%s", file, diff)
		}
	}
}
