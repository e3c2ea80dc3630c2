// Package jws opens signed tokens in compact serialization (RFC 7515). The same code opens
// usher's own tokens and those of identity providers. Keys, times and claims are the
// business of packages session and identity. [Text] and [DecodeBase64URL] also read key
// sets and discovery documents.
package jws

import (
	"slices"
	"strings"

	"github.com/usher-auth/usher/internal/codes"
	"github.com/usher-auth/usher/internal/strictjson"
)

const (
	maxLength = 16 << 10 // characters of a token
	// MaxDepth is how deep the JSON of a token may be nested.
	MaxDepth = 16
)

// A Fault is the reason why a token cannot be opened.
type Fault struct {
	Code   string // from package codes
	Detail string // for a log; it never quotes the token
}

func (f Fault) Error() string { return "jws: " + f.Code + ": " + f.Detail }

var (
	errTooLong  error = Fault{codes.TokenMalformed, "longer than 16 KiB"}
	errForm     error = Fault{codes.TokenMalformed, "not three parts separated by dots"}
	errBase64   error = Fault{codes.TokenMalformed, "a part is not base64url"}
	errJSON     error = Fault{codes.TokenMalformed, "the header is not a strict JSON object"}
	errHeader   error = Fault{codes.HeaderInvalid, "the header has a member that is not allowed"}
	errCritical       = map[string]error{
		"crit": Fault{codes.HeaderInvalid, "the header has crit"},
		"b64":  Fault{codes.HeaderInvalid, "the header has b64"},
		"zip":  Fault{codes.HeaderInvalid, "the header has zip"},
		"enc":  Fault{codes.HeaderInvalid, "the header has enc"},
	}
	errAlgorithm error = Fault{codes.AlgorithmMismatch, "alg is not the key's"}
	errSignature error = Fault{codes.SignatureInvalid, "wrong signature"}
)

// A Message is the content of a token. Do not trust it before its signature was checked.
type Message struct {
	Header    strictjson.Members
	KeyID     string // kid; empty if it is missing or not a string
	Algorithm string // alg; empty if it is missing or not a string
	Payload   []byte
}

// A Key verifies signatures of one algorithm.
type Key struct {
	Algorithm string
	Verify    func(input string, signature []byte) bool
}

// Open returns the content of a token after checking its signature with the key that find
// returns. The error is find's own or a [Fault]. Nothing in the token chooses where keys
// come from, and a key has only one algorithm.
//
// If exact is true, the header may have only alg, kid and typ. Otherwise, other members
// are ignored and never followed, because jku and x5c cannot be trusted. Members that
// change the meaning of the token (crit, b64, zip, enc) are refused; find is called first,
// so that it learns the claimed issuer.
func Open(token string, exact bool, find func(*Message) (Key, error)) (*Message, error) {
	if len(token) > maxLength {
		return nil, errTooLong
	}
	if strings.Count(token, ".") != 2 {
		return nil, errForm
	}
	dot, lastDot := strings.IndexByte(token, '.'), strings.LastIndexByte(token, '.')
	head, headOK := DecodeBase64URL(token[:dot])
	payload, payloadOK := DecodeBase64URL(token[dot+1 : lastDot])
	signature, signatureOK := DecodeBase64URL(token[lastDot+1:])
	if !headOK || !payloadOK || !signatureOK {
		return nil, errBase64
	}
	header, err := strictjson.Object(head, MaxDepth)
	if err != nil {
		return nil, errJSON
	}
	if exact && slices.ContainsFunc(header, func(h strictjson.Member) bool { return h.Name != "alg" && h.Name != "kid" && h.Name != "typ" }) {
		return nil, errHeader
	}
	m := &Message{Header: header, Payload: payload}
	m.KeyID, _ = Text(header, "kid")
	m.Algorithm, _ = Text(header, "alg")
	key, err := find(m)
	if err != nil {
		return nil, err
	}
	for _, h := range header {
		if err := errCritical[h.Name]; err != nil {
			return nil, err
		}
	}
	if m.Algorithm != key.Algorithm {
		return nil, errAlgorithm
	}
	if !key.Verify(token[:lastDot], signature) {
		return nil, errSignature
	}
	return m, nil
}
