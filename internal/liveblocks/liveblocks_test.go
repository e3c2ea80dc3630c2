package liveblocks_test

import (
	"encoding/json"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/usher-auth/usher/internal/liveblocks"
	"github.com/usher-auth/usher/permissions"
	"github.com/usher-auth/usher/session"
)

// The names mean the access that they are written for, to a verifier and for the scope of
// an API key, and the npm package, the audit and docs/token.md have the same names.
func TestNames(t *testing.T) {
	t.Parallel()
	file := func(name string) string {
		text, err := os.ReadFile("../../" + name)
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	for _, access := range []permissions.Access{permissions.Read, permissions.Full} {
		written := string(liveblocks.AppendNames(nil, access))
		var names []string
		if err := json.Unmarshal([]byte(written), &names); err != nil {
			t.Fatalf("%s: %v", written, err)
		}
		parsed, err := session.ParseRoomPermissions("acme:*", names)
		if err != nil {
			t.Fatal(err)
		}
		if got := parsed.Access(); got != access {
			t.Errorf("a verifier reads %s as %s, want %s", written, got, access)
		}
		if got := parsed.Needs(); got != access {
			t.Errorf("%s needs an API key with %s, want %s", written, got, access)
		}
		if !slices.Equal(parsed.Names, names) {
			t.Errorf("%s is read as %q", written, parsed.Names)
		}
		for name, want := range map[string]string{
			"js/src/scopes.ts":        "  " + access.String() + ": ['" + strings.Join(names, "', '") + "'],\n",
			"db/schema/decisions.sql": written,
			"docs/token.md":           "| `\"" + access.String() + "\"` | `" + strings.ReplaceAll(written, ",", ", ") + "` |\n",
		} {
			if !strings.Contains(file(name), want) {
				t.Errorf("%s does not contain %s", name, want)
			}
		}
	}
}
