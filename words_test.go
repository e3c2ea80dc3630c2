package usher_test

import (
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"
)

// dialect are words and phrases that readers stumble over. CONTRIBUTING.md says
// how to write instead.
var dialect = regexp.MustCompile(`(?i)\b(` + strings.Join([]string{
	"who" + "m", "for" + " ever", "looks? " + "whether", "none" + " that", "he" + " likes", "be" + "ars", "de" + "ar",
	"all" + " the same", "of" + " such", "is" + " had", "be" + " had", "in the way" + " of",
	"is" + " none", "are none" + " of", "is no" + " member", "(stands?|stood)" + " in", "of that" + " very", "of its own" + " accord",
	"hen" + "ce", "there" + "by", "an" + "ew", "in the" + " clear",
}, "|") + `)\b`)

func TestPlainEnglish(t *testing.T) {
	t.Parallel()
	list, err := exec.CommandContext(t.Context(), "git", "ls-files", "*.md", "*.go", "*.ts", "*.mjs", "*.yaml", "*.sql").Output()
	if err != nil {
		t.Fatal(err)
	}
	files := strings.Fields(string(list))
	if len(files) < 100 {
		t.Fatalf("git lists %d files", len(files))
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if os.IsNotExist(err) {
			continue // deleted, and not committed yet
		}
		if err != nil {
			t.Fatal(err)
		}
		for n, line := range strings.Split(string(text), "\n") {
			if word := dialect.FindString(line); word != "" {
				t.Errorf("%s:%d: %q: write it in plain English", file, n+1, word)
			}
		}
	}
}
