package db_test

import (
	"crypto/sha256"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/usher-auth/usher/db"
	"github.com/usher-auth/usher/db/dbtest"
	"github.com/usher-auth/usher/internal/principal"
	"github.com/usher-auth/usher/internal/secret"
)

// The time between asking and the answer is not a difference of clocks.
func TestClocks(t *testing.T) {
	t.Parallel()
	d := open(t, dbtest.New(t))
	noon := time.Date(2026, 11, 29, 12, 0, 0, 0, time.UTC)
	for _, test := range []struct {
		at, took time.Duration
		ahead    time.Duration
		says     string
	}{
		{0, 0, 0, ""},
		{500 * time.Millisecond, time.Second, 0, ""},
		{6 * time.Second, 7 * time.Second, 0, ""}, // a slow answer
		{5 * time.Second, 0, 5 * time.Second, ""},
		{-5 * time.Second, 0, -5 * time.Second, ""},
		{5001 * time.Millisecond, 0, 5001 * time.Millisecond, "5.001s ahead"},
		{-5001 * time.Millisecond, time.Second, -5001 * time.Millisecond, "5.001s behind"},
		{2 * time.Minute, time.Second, 119 * time.Second, "1m59s ahead"},
		{-2 * time.Minute, time.Second, -2 * time.Minute, "2m0s behind"},
	} {
		err := d.CheckClock(noon.Add(test.at), noon, noon.Add(test.took))
		if (err == nil) != (test.says == "") || err != nil && !strings.Contains(err.Error(), test.says) {
			t.Errorf("a clock %s off, read within %s: %v, want %q", test.at, test.took, err, test.says)
		}
		if got := d.ClockAhead(); got != test.ahead {
			t.Errorf("a clock %s off, read within %s: ClockAhead() = %s, want %s", test.at, test.took, got, test.ahead)
		}
	}
	if db.MaxClockDifference != 5*time.Second {
		t.Error("docs say 5 s")
	}
}

// Whoever calls, nobody is looked up while the clocks differ: usher could neither
// issue a token whose times are right, nor say that a session or a key has expired.
func TestNobodyIsLookedUpWhileClocksDiffer(t *testing.T) {
	t.Parallel()
	pg := dbtest.New(t)
	d := open(t, pg)
	exec(t, pg, "INSERT INTO usher.users (id, created_by) VALUES ('ada', 'test')")
	addSession(t, pg, "token", "ada", "", time.Hour)
	secretHash := sha256.Sum256([]byte("secret"))
	exec(t, pg, `INSERT INTO usher.api_keys (id, name, secret_hash, routes, organizations, patterns, created_by)
		VALUES ('AAAAAAAAAAAA', 'jobs', $1, '{auth}', NULL, '{}', 'test')`, secretHash[:])
	directory, err := d.Directory(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, ahead := range []time.Duration{0, 6 * time.Second, -6 * time.Second} {
		d.SetClock(func() time.Time { return time.Now().Add(-ahead) })
		_, bySession := directory.PrincipalBySession(t.Context(), secret.New("token"))
		_, byUser := directory.PrincipalByUser(t.Context(), "ada", "")
		_, _, byKey := directory.PrincipalByAPIKey(t.Context(), "AAAAAAAAAAAA", secretHash, "", "")
		for caller, err := range map[string]error{"session": bySession, "user": byUser, "API key": byKey, "readiness": d.Ready(t.Context())} {
			if ahead == 0 && err != nil || ahead != 0 && !errors.Is(err, principal.ErrUnavailable) {
				t.Errorf("%s with a database clock %s ahead: %v", caller, ahead, err)
			}
		}
	}
}
