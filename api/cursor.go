package api

import (
	"crypto/aes"
	"crypto/cipher"
	"encoding/base64"
	"encoding/json"
	"fmt"
)

var errCursor = badRequest("Invalid cursor for this list and filter. Start again without a cursor.")

// cursors encrypts the places where lists continue, so that only usher can read or
// write a cursor. A cursor is valid for one path and filter.
type cursors struct{ aead cipher.AEAD }

// newCursors returns cursors that are encrypted with a key of 32 bytes.
func newCursors(key []byte) (cursors, error) {
	block, err := aes.NewCipher(key)
	if err != nil {
		return cursors{}, fmt.Errorf("api: cursor key: %w", err)
	}
	aead, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		return cursors{}, fmt.Errorf("api: cursor key: %w", err)
	}
	return cursors{aead}, nil
}

// encrypt returns a cursor for a place in a list. list is the list's path and filter.
func (c cursors) encrypt(place any, list []byte) (string, error) {
	text, err := json.Marshal(place)
	if err != nil {
		return "", err
	}
	return base64.RawURLEncoding.EncodeToString(c.aead.Seal(nil, nil, text, list)), nil //nolint:gosec // the AEAD makes its own nonce
}

// decrypt reads a cursor of the list and fills in place.
func (c cursors) decrypt(cursor string, list []byte, place any) error {
	encrypted, err := base64.RawURLEncoding.Strict().DecodeString(cursor)
	if err != nil || base64.RawURLEncoding.EncodeToString(encrypted) != cursor { // the decoder ignores line breaks
		return errCursor
	}
	text, err := c.aead.Open(nil, nil, encrypted, list)
	if err != nil {
		return errCursor
	}
	return json.Unmarshal(text, place)
}
