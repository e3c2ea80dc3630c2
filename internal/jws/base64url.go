package jws

import "encoding/base64"

// strictBase64URL refuses padding and nonzero trailing bits, so that a value has only one
// spelling.
var strictBase64URL = base64.RawURLEncoding.Strict()

// DecodeBase64URL decodes unpadded base64url, and accepts only the canonical spelling (RFC
// 7515 section 2, RFC 4648 section 3.5).
func DecodeBase64URL(s string) ([]byte, bool) {
	for i := range len(s) {
		if s[i] == '\n' || s[i] == '\r' { // encoding/base64 skips these, even if Strict
			return nil, false
		}
	}
	b, err := strictBase64URL.DecodeString(s)
	return b, err == nil
}
