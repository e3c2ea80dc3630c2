// Package secret has a type for strings that must not be printed: cookies, tokens, API
// keys, passwords.
package secret

import (
	"fmt"
	"io"
	"log/slog"
)

const redacted = "[redacted]"

// Text is a string that prints as "[redacted]" with every verb of fmt, with encoding/json
// and with slog. The string is inside a func because fmt and reflection can read plain
// fields, even unexported ones, without calling their methods. The zero Text is empty.
type Text struct{ reveal func() string }

// New returns s as a secret.
func New(s string) Text { return Text{func() string { return s }} }

// Reveal returns the string. Call it only where the string is meant to be used or sent.
func (t Text) Reveal() string {
	if t.reveal == nil {
		return ""
	}
	return t.reveal()
}

// IsEmpty reports whether the string is empty.
func (t Text) IsEmpty() bool { return t.Reveal() == "" }

// Format implements [fmt.Formatter] for every verb, also for values inside others.
func (Text) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, redacted) }

// MarshalText implements [encoding.TextMarshaler].
func (Text) MarshalText() ([]byte, error) { return []byte(redacted), nil }

// LogValue implements [slog.LogValuer].
func (Text) LogValue() slog.Value { return slog.StringValue(redacted) }

// UnmarshalText reads a secret from a flag, an environment variable or a file.
func (t *Text) UnmarshalText(b []byte) error {
	*t = New(string(b))
	return nil
}
