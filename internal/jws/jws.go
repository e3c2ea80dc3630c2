// Package jws opens signed tokens in compact serialization (RFC 7515): usher's
// own and those of identity providers, by the same code. It knows neither keys
// nor a clock nor what a token is about; packages session and identity do. [Text]
// and [DecodeBase64URL] also read key sets and discovery documents.
package jws

import (
	"slices"
	"strings"

	"github.com/usher-auth/usher/internal/codes"
	"github.com/usher-auth/usher/internal/strictjson"
)

const (
	maxLength = 16 << 10 // characters of a token, whoever issued it
	// MaxDepth is how deep the JSON of a token may be nested.
	MaxDepth = 16
)

// A Fault is why a token does not open.
type Fault struct {
	Code   string // of package codes
	Detail string // for a log: it quotes nothing of the token
}

func (f Fault) Error() string { return "jws: " + f.Code + ": " + f.Detail }

var (
	errTooLong  error = Fault{codes.TokenMalformed, "longer than 16 KiB"}
	errForm     error = Fault{codes.TokenMalformed, "not three parts with dots between"}
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

// A Message is what a token says. Until its signature was checked, a stranger
// says it.
type Message struct {
	Header    strictjson.Members
	KeyID     string // kid; empty where there is none, or no string
	Algorithm string // alg, likewise
	Payload   []byte
}

// A Key verifies signatures of one algorithm.
type Key struct {
	Algorithm string
	Verify    func(input string, signature []byte) bool
}

// Open returns what a token says, once its signature is good by the key that
// find returned; its error is find's own or a [Fault]. Nothing in the token
// chooses where keys come from, and no key serves two algorithms.
//
// With exact, a header has alg, kid and typ alone. Without, other members are
// ignored, and never followed: jku and x5c say nothing that could be believed.
// Those that change what the token means (crit, b64, zip, enc) are refused, after
// find has seen whose token it claims to be.
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
