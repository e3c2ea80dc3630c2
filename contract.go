// Package usher holds the HTTP contract, so that the binary can serve it.
package usher

import _ "embed"

// OpenAPI is openapi.yaml.
//
//go:embed openapi.yaml
var OpenAPI []byte
