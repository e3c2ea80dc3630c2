package db_test

import (
	"strings"
	"testing"
	"time"

	"github.com/usher-auth/usher/db"
	"github.com/usher-auth/usher/db/dbtest"
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
