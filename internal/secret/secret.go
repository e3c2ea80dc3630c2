// Package secret holds strings that must not be printed: cookies, tokens, API
// keys, passwords.
package secret

import (
	"fmt"
	"io"
	"log/slog"
)

const redacted = "[redacted]"

// Text is a string that prints as "[redacted]" however it is printed: by fmt
// with any verb, by encoding/json, by slog. The string sits behind a func
// because fmt and reflection read plain fields, even unexported ones, without
// asking their methods. The zero Text is empty.
type Text struct{ reveal func() string }

// New returns s as a secret.
func New(s string) Text { return Text{func() string { return s }} }

// Reveal returns the string. Call it only where the string leaves on purpose.
func (t Text) Reveal() string {
	if t.reveal == nil {
		return ""
	}
	return t.reveal()
}

// IsEmpty reports whether nothing is held.
func (t Text) IsEmpty() bool { return t.Reveal() == "" }

// Format implements [fmt.Formatter], for every verb and for values nested in
// others.
func (Text) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, redacted) }

// MarshalText implements [encoding.TextMarshaler].
func (Text) MarshalText() ([]byte, error) { return []byte(redacted), nil }

// LogValue implements [slog.LogValuer].
func (Text) LogValue() slog.Value { return slog.StringValue(redacted) }

// UnmarshalText takes a secret from a flag, an environment variable or a file.
func (t *Text) UnmarshalText(b []byte) error {
	*t = New(string(b))
	return nil
}
