package service_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/base64"
	"io"
	"log/slog"
	"net"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil/promlint"

	"github.com/usher-auth/usher/db"
	"github.com/usher-auth/usher/db/dbtest"
	"github.com/usher-auth/usher/internal/identity"
	"github.com/usher-auth/usher/internal/keyencryption"
	"github.com/usher-auth/usher/internal/secret"
	"github.com/usher-auth/usher/internal/service"
	"github.com/usher-auth/usher/session"
)

// The metrics of a running service are complete, and promtool's linter has no complaint.
func TestMetrics(t *testing.T) {
	t.Parallel()
	pg := dbtest.New(t)
	raw := make([]byte, 32)
	_, _ = rand.Read(raw)
	encryption, err := keyencryption.Parse(secret.New(base64.StdEncoding.EncodeToString(raw)))
	if err != nil {
		t.Fatal(err)
	}
	owner, err := db.Open(secret.New(pg.URL))
	if err != nil {
		t.Fatal(err)
	}
	defer owner.Close()
	if err := owner.EnsureCheckpointKey(t.Context(), encryption, "test"); err != nil {
		t.Fatal(err)
	}
	if _, err := owner.EnsureSigningKey(t.Context(), session.EdDSA, encryption, "test"); err != nil {
		t.Fatal(err)
	}
	if _, err := pg.Pool.Exec(t.Context(), "UPDATE usher.signing_keys SET signs_until = '2100-01-01'"); err != nil {
		t.Fatal(err)
	}
	listen := func() net.Listener {
		l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		return l
	}
	log := service.NewLogWriter(io.Discard)
	cfg := service.Config{
		DatabaseURL: secret.New(pg.ServiceURL), Mode: db.Production, KeyEncryption: encryption,
		Issuer: session.IssuerConfig{Issuer: "https://auth.example.com"}, Credentials: identity.Config{Cookie: "usher_session"},
		Public: listen(), Ops: listen(), Drain: time.Second, Logger: slog.New(slog.NewJSONHandler(log, nil)),
		Version: "1.2.3", Metrics: []prometheus.Collector{log},
	}
	s, err := service.New(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() { ended <- s.Run(ctx) }()
	defer func() {
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+cfg.Ops.Addr().String()+"/metrics", http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		`usher_build_info\{go_version="go1\.[^"]+",version="1\.2\.3"\} 1`,
		`usher_db_connections\{pool="admin",state="idle"\} \d`, `usher_db_connections\{pool="issuing",state="in_use"\} \d`,
		`usher_db_connections_limit\{pool="issuing"\} [1-9]`, `usher_db_connection_waits_total\{pool="issuing"\} \d`,
		`usher_db_connection_wait_seconds_total\{pool="admin"\} \d`,
		`usher_signing_key_active\{alg="EdDSA"\} 1`, `usher_signing_key_expiry_timestamp_seconds\{alg="EdDSA"\} 4\.1024448e\+09`,
		`usher_log_lines_dropped_total 0`,
	} {
		if !regexp.MustCompile("(?m)^" + want).Match(text) {
			t.Errorf("/metrics lacks %s", want)
		}
	}
	problems, err := promlint.New(bytes.NewReader(text)).Lint()
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		if !strings.HasPrefix(p.Metric, "go_") && !strings.HasPrefix(p.Metric, "process_") {
			t.Errorf("%s: %s", p.Metric, p.Text)
		}
	}
}
