package pglocal_test

import (
	"fmt"
	"os"
	"runtime"
	"strings"
	"testing"

	"github.com/usher-auth/usher/db/dbtest"
)

// The server may run as another user, who must not see the caller's secrets.
func TestServerSeesNoSecrets(t *testing.T) { //nolint:paralleltest // the environment is everybody's
	if runtime.GOOS != "linux" {
		t.Skip("only Linux shows the environment of a process")
	}
	for _, name := range []string{"AWS_SECRET_ACCESS_KEY", "USHER_KEY_ENCRYPTION_KEY", "GITHUB_TOKEN", "PGPASSWORD", "BETTER_AUTH_SECRET"} {
		t.Setenv(name, "canary")
	}
	server := start(t, dbtest.Dir(t))
	environment, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", server.PID()))
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(environment), "canary") || !strings.Contains(string(environment), "PATH=") {
		t.Errorf("the server's environment is %q", environment)
	}
}
