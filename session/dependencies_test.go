package session_test

import (
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// A sync backend that imports the package links only golang-jwt and the standard library.
func TestDependencies(t *testing.T) {
	t.Parallel()
	out, err := exec.CommandContext(t.Context(), "go", "list", "-deps", "-f", "{{if not .Standard}}{{.ImportPath}}{{end}}", ".").CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	const ours = "github.com/usher-auth/usher/"
	lean := []string{
		ours + "permissions", ours + "session", ours + "internal/codes", ours + "internal/jwk", ours + "internal/jws",
		ours + "internal/liveblocks", ours + "internal/loopback", ours + "internal/secret", ours + "internal/strictjson",
	}
	for path := range strings.FieldsSeq(string(out)) {
		if !slices.Contains(lean, path) && !strings.HasPrefix(path, "github.com/golang-jwt/jwt/v5") {
			t.Errorf("the package needs %s", path)
		}
	}
}
