package main

import (
	"strings"
	"testing"

	"github.com/usher-auth/usher/db/dbtest"
)

func TestRateLimits(t *testing.T) {
	t.Parallel()
	_, dev := startDev(t, dbtest.Dir(t), "--rate-limit", "2", "--rate-limit-failures", "1", "--rate-limit-proxies=")
	for _, test := range []struct {
		cookie string
		status int
		policy string
	}{
		{dev.Sessions["ada"], 200, ""},
		{dev.Sessions["ada"], 200, ""},
		{dev.Sessions["ada"], 429, `"session";q=2;`},
		{"nobody-knows-this", 401, ""},
		{"nobody-knows-this", 429, `"failures";q=1;`},
	} {
		status, header, answer, err := ask(t.Context(), dev.URL, test.cookie, `{}`)
		if err != nil || status != test.status || !strings.HasPrefix(header.Get("RateLimit-Policy"), test.policy) {
			t.Fatalf("answer = %d %v %v, %v; want %d by %s", status, answer, header, err, test.status, test.policy)
		}
	}
}
