package secret_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/usher-auth/usher/internal/secret"
)

func TestTextIsNeverPrinted(t *testing.T) {
	t.Parallel()
	const canary = "canary-4711"
	s := secret.New(canary)
	type holder struct {
		Plain   secret.Text
		Pointer *secret.Text
		private secret.Text
	}
	h := holder{s, &s, s}
	values := map[string]any{
		"text": s, "pointer": &s, "struct": h, "struct pointer": &h,
		"slice": []secret.Text{s}, "map": map[string]secret.Text{"k": s}, "error": errors.Join(fmt.Errorf("bad: %v", s)),
	}
	var printed bytes.Buffer
	logger := slog.New(slog.NewJSONHandler(&printed, nil))
	textLogger := slog.New(slog.NewTextHandler(&printed, nil))
	for name, v := range values {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d"} {
			fmt.Fprintf(&printed, name+verb+"\n", v)
		}
		if b, err := json.Marshal(v); err != nil {
			t.Errorf("json.Marshal(%s): %v", name, err)
		} else {
			printed.Write(b)
		}
		logger.Info("value", name, v)
		textLogger.Info("value", name, v)
	}
	for _, leak := range []string{canary, fmt.Sprintf("%x", canary), fmt.Sprintf("%X", canary)} {
		if strings.Contains(printed.String(), leak) {
			t.Errorf("%q leaked in:\n%s", leak, printed.String())
		}
	}
	if got := s.Reveal(); got != canary {
		t.Errorf("Reveal() = %q, want %q", got, canary)
	}
	if !(secret.Text{}).IsEmpty() {
		t.Error("the zero Text is not empty")
	}
}
