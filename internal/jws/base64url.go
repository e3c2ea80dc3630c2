package jws

import "encoding/base64"

// strictBase64URL refuses padding and trailing bits, so that a text has one
// spelling.
var strictBase64URL = base64.RawURLEncoding.Strict()

// DecodeBase64URL reads unpadded base64url in its only spelling (RFC 7515
// section 2, RFC 4648 section 3.5).
func DecodeBase64URL(s string) ([]byte, bool) {
	for i := range len(s) {
		if s[i] == '\n' || s[i] == '\r' { // which encoding/base64 skips, Strict or not
			return nil, false
		}
	}
	b, err := strictBase64URL.DecodeString(s)
	return b, err == nil
}
