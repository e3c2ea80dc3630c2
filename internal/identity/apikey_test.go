package identity_test

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"testing"

	"github.com/usher-auth/usher/internal/identity"
	"github.com/usher-auth/usher/internal/secret"
)

func TestNewAPIKey(t *testing.T) {
	t.Parallel()
	published := regexp.MustCompile(`^sk_[a-z]{2,12}_[0-9A-Za-z]{12}_[0-9A-Za-z]{43}_[0-9A-Za-z]{6}$`)
	seen := map[string]bool{}
	for range 200 {
		text, key, err := identity.NewAPIKey("live")
		if err != nil {
			t.Fatal(err)
		}
		if !published.MatchString(text.Reveal()) {
			t.Errorf("a new key is not of the published form (%d characters)", len(text.Reveal()))
		}
		again, err := identity.ParseAPIKey(text)
		if err != nil || again != key {
			t.Errorf("ParseAPIKey() of a new key: %v", err)
		}
		if want := sha256.Sum256([]byte(strings.Split(text.Reveal(), "_")[3])); key.Hash != want {
			t.Error("Hash is not that of the secret")
		}
		seen[key.ID] = true
	}
	if len(seen) != 200 {
		t.Errorf("%d distinct ids of 200", len(seen))
	}
	for _, bad := range []string{"", "x", "Live", "live1", "li_ve", "averylongenvironment"} {
		if _, _, err := identity.NewAPIKey(bad); err == nil {
			t.Errorf("environment %q was taken", bad)
		}
	}
}

// A key with any single change is refused without a query.
func TestParseAPIKeyRefusesEveryTypo(t *testing.T) {
	t.Parallel()
	text, _, err := identity.NewAPIKey("dev")
	if err != nil {
		t.Fatal(err)
	}
	good := text.Reveal()
	for i := range len(good) {
		for _, c := range []byte("aZ0_-*") {
			typo := good[:i] + string(c) + good[i+1:]
			if typo == good {
				continue
			}
			if _, err := identity.ParseAPIKey(secret.New(typo)); err == nil {
				t.Errorf("character %d changed to %q: taken", i, c)
			}
		}
		if _, err := identity.ParseAPIKey(secret.New(good[:i] + good[i+1:])); err == nil {
			t.Errorf("without character %d: taken", i)
		}
	}
	for _, bad := range []string{"", "sk_", "sk_live", good + " ", " " + good, good + "\n", strings.ToLower(good), strings.Repeat("_", 10_000), "Bearer " + good} {
		if _, err := identity.ParseAPIKey(secret.New(bad)); !errors.Is(err, identity.ErrBadAPIKey) {
			t.Errorf("%.20q: error = %v, want %v", bad, err, identity.ErrBadAPIKey)
		}
	}
	if _, err := identity.ParseAPIKey(secret.New("pk_live_x")); !errors.Is(err, identity.ErrPublicKey) {
		t.Errorf("a public key: error = %v, want %v", err, identity.ErrPublicKey)
	}
}

func FuzzParseAPIKey(f *testing.F) {
	text, _, err := identity.NewAPIKey("dev")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(text.Reveal())
	f.Add("sk_live_000000000000_0000000000000000000000000000000000000000000_000000")
	f.Add("pk_")
	f.Fuzz(func(t *testing.T, s string) {
		key, err := identity.ParseAPIKey(secret.New(s))
		if (err == nil) != (key != identity.APIKey{}) {
			t.Fatalf("ParseAPIKey(%q) = %v, %v", s, key, err)
		}
	})
}

func ExampleNewAPIKey() {
	text, key, err := identity.NewAPIKey("live")
	if err != nil {
		panic(err)
	}
	again, err := identity.ParseAPIKey(text)
	fmt.Println(text, again == key, err)
	// Output: [redacted] true <nil>
}
