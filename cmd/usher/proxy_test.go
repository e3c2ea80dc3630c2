package main

import (
	"bytes"
	"net/http"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
)

// usher accepts the configuration of docs/identity.md, and it works as described: first
// with a proxy elsewhere, then with one on this machine.
func TestProxyGuide(t *testing.T) {
	t.Parallel()
	guide, err := os.ReadFile("../../docs/identity.md")
	if err != nil {
		t.Fatal(err)
	}
	block := regexp.MustCompile("(?s)```sh proxy.env\n(.*?)```").FindSubmatch(guide)
	if block == nil {
		t.Fatal("docs/identity.md has no proxy.env")
	}
	configured := strings.Fields(string(bytes.TrimSpace(block[1])))
	prod := newProduction(t)
	for name, test := range map[string]struct {
		more []string
		want string // status, and reason, caller and address in the audit
	}{
		"from elsewhere": {nil, "401 untrusted_proxy none  127.0.0.1"},
		"from the proxy": {[]string{"USHER_TRUSTED_PROXIES=127.0.0.1"}, "200  proxy 127.0.0.1 198.51.100.1"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			behind := *prod
			behind.env = append(append(append([]string{}, prod.env...), configured...), test.more...)
			_, url, _ := behind.serve(t)
			r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url+"/api/auth", strings.NewReader(`{"room":"any:1"}`))
			if err != nil {
				t.Fatal(err)
			}
			r.Header = http.Header{
				"Content-Type": {"application/json"}, "Origin": {"https://app.example.com"},
				"X-Auth-Request-User": {"ada"}, "X-Forwarded-For": {"1.1.1.1, 198.51.100.1"},
			}
			res, err := http.DefaultClient.Do(r)
			if err != nil {
				t.Fatal(err)
			}
			_ = res.Body.Close()
			conn, err := pgx.Connect(t.Context(), prod.owner)
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close(t.Context())
			var row string
			err = conn.QueryRow(t.Context(), `SELECT concat_ws(' ', coalesce(reason, ''), caller_kind, coalesce(caller_id, ''), host(ip))
				FROM usher.decisions WHERE request_id = $1`, res.Header.Get("X-Request-Id")).Scan(&row)
			if got := res.Status[:4] + row; err != nil || got != test.want {
				t.Errorf("got %q, %v; want %q", got, err, test.want)
			}
		})
	}
}
