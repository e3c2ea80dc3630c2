package jws_test

import (
	"encoding/base64"
	"errors"
	"testing"

	"github.com/usher-auth/usher/internal/codes"
	"github.com/usher-auth/usher/internal/jws"
)

// A provider's header may have other members that change nothing; usher's own has only three
// members. Members that change the token's meaning are refused in both.
func TestHeaderMembers(t *testing.T) {
	t.Parallel()
	const exact, lenient = true, false
	for header, want := range map[string]map[bool]string{
		`{"alg":"A","kid":"k","typ":"JWT"}`:                               {exact: "", lenient: ""},
		`{"alg":"A"}`:                                                     {exact: "", lenient: ""},
		`{"alg":"A","gty":["password"],"ver":1}`:                          {exact: codes.HeaderInvalid, lenient: ""},
		`{"alg":"A","jku":"https://evil.example.com","x5u":"u"}`:          {exact: codes.HeaderInvalid, lenient: ""},
		`{"alg":"A","jwk":{"kty":"OKP"},"x5c":["x"],"x5t":1,"cty":"JWT"}`: {exact: codes.HeaderInvalid, lenient: ""},
		`{"alg":"A","":null}`:                                             {exact: codes.HeaderInvalid, lenient: ""},
		`{"alg":"A","crit":["exp"]}`:                                      {exact: codes.HeaderInvalid, lenient: codes.HeaderInvalid},
		`{"alg":"A","crit":[]}`:                                           {exact: codes.HeaderInvalid, lenient: codes.HeaderInvalid},
		`{"alg":"A","crit":null}`:                                         {exact: codes.HeaderInvalid, lenient: codes.HeaderInvalid},
		`{"alg":"A","b64":true}`:                                          {exact: codes.HeaderInvalid, lenient: codes.HeaderInvalid},
		`{"alg":"A","zip":"DEF"}`:                                         {exact: codes.HeaderInvalid, lenient: codes.HeaderInvalid},
		`{"alg":"A","enc":"A256GCM"}`:                                     {exact: codes.HeaderInvalid, lenient: codes.HeaderInvalid},
		`{"alg":"A","ALG":"B"}`:                                           {exact: codes.TokenMalformed, lenient: codes.TokenMalformed},
		`{"alg":"B"}`:                                                     {exact: codes.AlgorithmMismatch, lenient: codes.AlgorithmMismatch},
		`[]`:                                                              {exact: codes.TokenMalformed, lenient: codes.TokenMalformed},
	} {
		for mode, code := range want {
			token := base64.RawURLEncoding.EncodeToString([]byte(header)) + ".e30.c2ln"
			_, err := jws.Open(token, mode, func(*jws.Message) (jws.Key, error) {
				return jws.Key{Algorithm: "A", Verify: func(string, []byte) bool { return true }}, nil
			})
			got, _ := errors.AsType[jws.Fault](err)
			if got.Code != code || (err == nil) != (code == "") {
				t.Errorf("%s, exact %t: got %v, want %q", header, mode, err, code)
			}
		}
	}
}
