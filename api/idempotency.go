package api

import (
	"crypto/sha256"
	"fmt"
	"net/http"

	"github.com/usher-auth/usher/internal/admin"
)

// idempotent returns what identifies a request that has an Idempotency-Key: the keys,
// and a hash of method, path and body. keyed reports whether it has one.
func idempotent(r *http.Request, adminKeyID string, body []byte) (request admin.Request, keyed bool, err error) {
	values := r.Header.Values("Idempotency-Key")
	if len(values) == 0 {
		return admin.Request{}, false, nil
	}
	if len(values) > 1 || !isIdempotencyKey(values[0]) {
		return admin.Request{}, false, badRequest("Send one Idempotency-Key of 1 to 255 printable ASCII characters, for example a UUID.")
	}
	h := sha256.New()
	fmt.Fprintf(h, "%s %s\n", r.Method, r.URL.EscapedPath())
	h.Write(body)
	request = admin.Request{AdminKeyID: adminKeyID, IdempotencyKey: values[0]}
	h.Sum(request.Hash[:0])
	return request, true, nil
}

func isIdempotencyKey(s string) bool {
	for _, c := range []byte(s) {
		if c < ' ' || c > '~' {
			return false
		}
	}
	return s != "" && len(s) <= 255
}
