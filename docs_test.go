package usher_test

import (
	"cmp"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const module = "github.com/usher-auth/usher/"

// imports returns, for each package of the module, its imports within the
// module, without those of its tests.
func imports(t *testing.T) map[string][]string {
	t.Helper()
	found := map[string][]string{}
	for _, file := range files(t) {
		if path.Ext(file) != ".go" || strings.HasSuffix(file, "_test.go") {
			continue
		}
		parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.ImportsOnly)
		if err != nil {
			t.Fatal(err)
		}
		pkg := path.Dir(file)
		if found[pkg] == nil {
			found[pkg] = []string{}
		}
		for _, spec := range parsed.Imports {
			name, _ := strconv.Unquote(spec.Path.Value)
			if within, ours := strings.CutPrefix(name+"/", module); ours {
				found[pkg] = append(found[pkg], cmp.Or(strings.TrimSuffix(within, "/"), "."))
			}
		}
	}
	return found
}

// files returns the files of the repository, by their paths with slashes.
func files(t *testing.T) (found []string) {
	t.Helper()
	generated := []string{".git", ".usher", ".data", ".cache", "bin", "node_modules", "dist", "secrets"}
	err := filepath.WalkDir(".", func(name string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case entry.IsDir() && slices.Contains(generated, entry.Name()):
			return fs.SkipDir
		case entry.Type().IsRegular():
			found = append(found, filepath.ToSlash(name))
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

func read(t *testing.T, file string) string {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

var codeSpan = regexp.MustCompile("`([^`]+)`")

func codeSpans(text string) (spans []string) {
	for _, m := range codeSpan.FindAllStringSubmatch(text, -1) {
		spans = append(spans, m[1])
	}
	return spans
}

// The table of packages in docs/architecture.md lists every package, in an
// order in which each imports only packages above it, and only those that the
// table allows.
func TestTableOfPackages(t *testing.T) {
	t.Parallel()
	_, section, found := strings.Cut(read(t, "docs/architecture.md"), "\n## Packages\n")
	if !found {
		t.Fatal("docs/architecture.md has no section Packages")
	}
	section, _, _ = strings.Cut(section, "\n## ")
	tree := imports(t)
	var above []string
	for row := range strings.Lines(section) {
		cells := strings.Split(row, "|")
		if len(cells) != 5 || len(codeSpans(cells[1])) != 1 {
			continue
		}
		pkg := strings.TrimSuffix(codeSpans(cells[1])[0], "/")
		actual, exists := tree[pkg]
		if !exists {
			t.Errorf("package %s is in the table and not in the tree", pkg)
		}
		allowed := codeSpans(cells[3])
		for _, name := range slices.Compact(slices.Sorted(slices.Values(actual))) {
			switch {
			case !slices.Contains(allowed, name):
				t.Errorf("%s imports %s, which its row does not allow", pkg, name)
			case !slices.Contains(above, name):
				t.Errorf("%s imports %s, which is not above it", pkg, name)
			}
		}
		for _, name := range allowed {
			if _, exists := tree[name]; !exists {
				t.Errorf("the row of %s allows %s, which is not a package", pkg, name)
			}
		}
		above = append(above, pkg)
	}
	for _, pkg := range slices.Sorted(maps.Keys(tree)) {
		if n := len(above) - len(slices.DeleteFunc(slices.Clone(above), func(s string) bool { return s == pkg })); n != 1 {
			t.Errorf("package %s has %d rows in the table, want 1", pkg, n)
		}
	}
}

var (
	link    = regexp.MustCompile(`\]\(([^)\s]+)\)`)
	heading = regexp.MustCompile(`(?m)^#+ (.+)$`)
	fenced  = regexp.MustCompile("(?ms)^```.*?^```$")
	// aPath is what looks like a file's or a folder's path from the root.
	aPath = regexp.MustCompile(`^[\w.@-]+(/[\w.@*-]*)*$`)
)

// anchor is the fragment that GitHub gives a heading.
func anchor(heading string) string {
	text := strings.ToLower(strings.ReplaceAll(heading, " ", "-"))
	return regexp.MustCompile(`[^\pL\pN_-]`).ReplaceAllString(text, "")
}

// Relative links of all documents lead to files and headings that exist, and
// so does each path that the maps of the code name.
func TestPathsInDocuments(t *testing.T) {
	t.Parallel()
	maps := []string{"CONTRIBUTING.md", "README.md", "docs/architecture.md"}
	var top []string
	all := files(t)
	for _, file := range all {
		first, _, nested := strings.Cut(file, "/")
		if nested {
			top = append(top, first)
		}
	}
	for _, document := range all {
		if path.Ext(document) != ".md" {
			continue
		}
		text := fenced.ReplaceAllString(read(t, document), "")
		for _, m := range link.FindAllStringSubmatch(text, -1) {
			target, fragment, _ := strings.Cut(m[1], "#")
			if strings.Contains(target, ":") {
				continue
			}
			file := path.Join(path.Dir(document), target)
			if target == "" {
				file = document
			}
			if _, err := os.Stat(file); err != nil {
				t.Errorf("%s links to %s, which does not exist", document, m[1])
				continue
			}
			if fragment == "" {
				continue
			}
			exists := slices.ContainsFunc(heading.FindAllStringSubmatch(read(t, file), -1), func(h []string) bool {
				return anchor(h[1]) == fragment
			})
			if !exists {
				t.Errorf("%s links to %s, which has no such heading", document, m[1])
			}
		}
		if !slices.Contains(maps, document) {
			continue
		}
		for _, span := range codeSpans(text) {
			first, _, nested := strings.Cut(span, "/")
			if !aPath.MatchString(span) || !(nested && slices.Contains(top, first)) && !strings.HasSuffix(span, ".go") && !strings.HasSuffix(span, ".md") {
				continue
			}
			if found, _ := filepath.Glob(span); len(found) == 0 {
				t.Errorf("%s names %s, which does not exist", document, span)
			}
		}
	}
}
