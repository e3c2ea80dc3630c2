package audit_test

import (
	"os/exec"
	"strings"
	"testing"
)

// An auditor's program that imports audit links only the standard library, golang.org/x/mod and
// permissions: no database, no web server.
func TestImports(t *testing.T) {
	t.Parallel()
	out, err := exec.CommandContext(t.Context(), "go", "list", "-deps", "-f", "{{if not .Standard}}{{.ImportPath}}{{end}}", ".").CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	for _, path := range strings.Fields(string(out)) {
		switch path {
		case "golang.org/x/mod/sumdb/note", "golang.org/x/mod/sumdb/tlog",
			"github.com/usher-auth/usher/audit", "github.com/usher-auth/usher/permissions":
		default:
			t.Errorf("audit links %s", path)
		}
	}
}
