// Package usher is the root of usher, a self-hosted service that issues
// short-lived, signed access tokens for realtime and sync backends. It holds
// only the HTTP contract, which the binary serves.
//
// Packages for other programs:
//
//   - [github.com/usher-auth/usher/session]: verify usher's tokens in a sync
//     backend, or issue tokens in a program of your own
//   - [github.com/usher-auth/usher/permissions]: what a token grants, and for
//     which rooms and stores
//   - [github.com/usher-auth/usher/audit]: check the evidence of usher's audit,
//     without a database
//   - [github.com/usher-auth/usher/client]: request tokens for your users from
//     another backend
//
// The program is cmd/usher; README.md shows how to run it. Packages api and db
// are parts of the program: their Go interfaces may change in any release.
package usher

import _ "embed"

// OpenAPI is the contract of all HTTP routes, in YAML: the file openapi.yaml.
//
//go:embed openapi.yaml
var OpenAPI []byte
