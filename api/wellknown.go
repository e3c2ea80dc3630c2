package api

import (
	"crypto/sha256"
	"encoding/base64"
	"net/http"
	"strconv"
)

// keySet serves GET /.well-known/jwks.json (RFC 7517). It needs no database, so tokens
// can be verified while Postgres is down.
func (a *API) keySet(w http.ResponseWriter, r *http.Request) error {
	header := w.Header()
	header["Cache-Control"] = []string{"public, max-age=300"}
	header["Access-Control-Allow-Origin"] = []string{"*"}
	header["Cross-Origin-Resource-Policy"] = []string{"cross-origin"}
	a.serveCached(w, r, "application/jwk-set+json", a.cfg.Keys.JWKS(a.cfg.Now()))
	return nil
}

// contract serves GET /openapi.yaml.
func (a *API) contract(w http.ResponseWriter, r *http.Request) error {
	w.Header()["Cache-Control"] = []string{"public, max-age=300"}
	a.serveCached(w, r, "application/yaml", a.cfg.Contract)
	return nil
}

// serveCached answers with an ETag, or with 304 if the client already has the body.
func (a *API) serveCached(w http.ResponseWriter, r *http.Request, contentType string, body []byte) {
	sum := sha256.Sum256(body)
	etag := `"` + base64.RawURLEncoding.EncodeToString(sum[:16]) + `"`
	header := w.Header()
	header["Etag"] = []string{etag}
	header.Del("Vary") // the answer is the same for every origin, so shared caches can keep one copy
	if r.Header.Get("If-None-Match") == etag {
		w.WriteHeader(http.StatusNotModified)
		return
	}
	header["Content-Type"] = []string{contentType}
	header["Content-Length"] = []string{strconv.Itoa(len(body))}
	w.WriteHeader(http.StatusOK)
	_, _ = w.Write(body)
}
