package session_test

import (
	"context"
	"crypto/ed25519"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"time"

	"github.com/usher-auth/usher/permissions"
	"github.com/usher-auth/usher/session"
)

// A sync backend in the examples has the issuer's key set, and tokens that it received at
// exampleNow.
var (
	exampleKey  = edForger("kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k")
	exampleJWKS = func() []byte {
		k, err := session.NewJWK(session.EdDSA, exampleKey.private.Public())
		if err != nil {
			panic(err)
		}
		k.KeyID = exampleKey.kid
		return session.MarshalJWKS([]session.JWK{k})
	}()
	exampleToken = exampleKey.token(`{"iss":"https://usher.example","sub":"ann","aud":"livestore","iat":1800000000,"exp":1800000300,` +
		`"jti":"3Q2W","stores":{"acme_notes":"full","acme_*":"read"}}`)
	exampleNow = func() time.Time { return time.Unix(1800000060, 0) }
)

func exampleVerifier() *session.Verifier {
	keys, err := session.ParseJWKS(exampleJWKS)
	if err != nil {
		panic(err)
	}
	v, err := session.NewVerifier(session.VerifierConfig{
		Issuer: "https://usher.example", Audience: "livestore", Keys: keys, Now: exampleNow,
	})
	if err != nil {
		panic(err)
	}
	return v
}

func ExampleVerifier() {
	keys, err := session.ParseJWKS(exampleJWKS) // in a service: session.KeysFromURL
	if err != nil {
		fmt.Println(err)
		return
	}
	verifier, err := session.NewVerifier(session.VerifierConfig{
		Issuer:   "https://usher.example",
		Audience: "livestore",
		Keys:     keys,
		Now:      exampleNow, // in a service: left out
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	claims, err := verifier.Verify(context.Background(), exampleToken)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(claims.Subject, "may write acme_notes:", claims.Can(permissions.Store("acme_notes"), permissions.Full))
	fmt.Println(claims.Subject, "may write acme_plans:", claims.Can(permissions.Store("acme_plans"), permissions.Full))
	fmt.Println(claims.Subject, "may read acme_plans:", claims.Can(permissions.Store("acme_plans"), permissions.Read))
	// Output:
	// ann may write acme_notes: true
	// ann may write acme_plans: false
	// ann may read acme_plans: true
}

// The error lists all faults.
func ExampleVerifierConfig() {
	_, err := session.NewVerifier(session.VerifierConfig{Issuer: "https://usher.example", Leeway: time.Hour})
	fmt.Println(err)
	// Output:
	// session: bad verifier config: Audience is empty
	// Keys is nil
	// Leeway 1h0m0s is not from 0 to 1m0s
}

// The audience is required: without it, the verifier would accept tokens for any backend.
func ExampleNewVerifier_incorrect() {
	keys, _ := session.ParseJWKS(exampleJWKS)
	_, err := session.NewVerifier(session.VerifierConfig{Issuer: "https://usher.example", Keys: keys})
	fmt.Println(err)
	// Output:
	// session: bad verifier config: Audience is empty
}

// Do not trust the payload before the signature is checked: anyone can write it.
func ExampleVerifier_Verify_incorrect() {
	forged := strings.Split(exampleToken, ".")
	forged[1] = base64.RawURLEncoding.EncodeToString([]byte(strings.ReplaceAll(payloadOf(exampleToken), "ann", "root")))
	token := strings.Join(forged, ".")

	var decoded struct{ Sub string }
	_ = json.Unmarshal([]byte(payloadOf(token)), &decoded)
	fmt.Println("decoded:", decoded.Sub)

	_, err := exampleVerifier().Verify(context.Background(), token)
	fmt.Println("verified:", err)
	// Output:
	// decoded: root
	// verified: session: invalid token
}

func payloadOf(token string) string {
	payload, _ := base64.RawURLEncoding.DecodeString(strings.Split(token, ".")[1])
	return string(payload)
}

// Your own cache would still accept tokens that have expired since, and tokens of keys that
// were removed. VerifierConfig.Memo remembers only what cannot change, the signature, and
// checks the rest each time.
func ExampleVerifierConfig_incorrect() {
	now := exampleNow()
	keys, _ := session.ParseJWKS(exampleJWKS)
	verifier, _ := session.NewVerifier(session.VerifierConfig{
		Issuer: "https://usher.example", Audience: "livestore", Keys: keys, Memo: 1000,
		Now: func() time.Time { return now },
	})
	cache := map[string]session.Claims{}
	claims, err := verifier.Verify(context.Background(), exampleToken)
	if err == nil {
		cache[exampleToken] = claims
	}

	now = now.Add(time.Hour)
	_, cached := cache[exampleToken]
	fmt.Println("in the cache:", cached)
	_, err = verifier.Verify(context.Background(), exampleToken)
	fmt.Println("expired:", errors.Is(err, session.ErrExpired))
	// Output:
	// in the cache: true
	// expired: true
}

func ExampleClaims() {
	claims, err := exampleVerifier().Verify(context.Background(), exampleToken)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(claims.Subject, claims.Audience, claims.ExpiresAt.Sub(claims.IssuedAt))
	fmt.Println(claims.Access(permissions.Store("acme_notes")))
	fmt.Println(claims.Access(permissions.Store("other_notes")))
	// Output:
	// ann livestore 5m0s
	// full
	// none
}

// A valid token says who the user is, but not that they may open this store: check the
// access that the operation needs.
func ExampleClaims_Can_incorrect() {
	claims, err := exampleVerifier().Verify(context.Background(), exampleToken)
	fmt.Println("signed in:", err == nil)
	fmt.Println("may read:", claims.Can(permissions.Store("rival_notes"), permissions.Read))
	// Output:
	// signed in: true
	// may read: false
}

func ExampleTokenError() {
	logger := slog.New(slog.NewTextHandler(os.Stdout, &slog.HandlerOptions{
		ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
			if a.Key == slog.TimeKey {
				return slog.Attr{}
			}
			return a
		},
	}))
	_, err := exampleVerifier().Verify(context.Background(), exampleToken+"x")
	fmt.Println("to the sender:", err)
	logger.Info("token refused", "error", err)
	// Output:
	// to the sender: session: invalid token
	// level=INFO msg="token refused" error="session: invalid token: token_malformed: a part is not base64url"
}

// Unavailable keys are not a fault of the token. On 401, a client stops; on 503, it tries
// again.
func ExampleTokenError_incorrect() {
	verifier, _ := session.NewVerifier(session.VerifierConfig{
		Issuer: "https://usher.example", Audience: "livestore", Now: exampleNow,
		Keys: keyFunc(func(context.Context, string) (session.JWK, error) { return session.JWK{}, session.ErrKeysUnavailable }),
	})
	_, err := verifier.Verify(context.Background(), exampleToken)
	fmt.Println("an error:", err != nil)
	fmt.Println("of the token:", errors.Is(err, session.ErrInvalidToken))
	fmt.Println("try again later:", errors.Is(err, session.ErrKeysUnavailable))
	// Output:
	// an error: true
	// of the token: false
	// try again later: true
}

func ExampleJWK() {
	seed := make([]byte, ed25519.SeedSize)
	key, err := session.NewJWK(session.EdDSA, ed25519.NewKeyFromSeed(seed).Public())
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(string(session.MarshalJWKS([]session.JWK{key})))
	// Output:
	// {"keys":[{"kty":"OKP","crv":"Ed25519","x":"O2onvM62pC1io6jQKm8Nc2UyFXcd4kOmOsBIoYtZ2ik","kid":"9ZP03Nu8GrXPAUkbKNxHOKBzxPX83SShgFkRNK-f2lw","use":"sig","alg":"EdDSA"}]}
}

// A shared secret is not accepted, because anyone who can verify with it can also sign.
func ExampleNewJWK_incorrect() {
	_, err := session.NewJWK("HS256", []byte("a secret of thirty-two characters"))
	fmt.Println(err)
	// Output:
	// session: JWK: a []uint8 is not a public key that verifies
}

func ExampleKeySet() {
	keys, err := session.ParseJWKS(exampleJWKS)
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, k := range keys.Keys() {
		fmt.Println(k.KeyID, k.Algorithm)
	}
	_, err = keys.Key(context.Background(), "another")
	fmt.Println(err)
	// Output:
	// kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k EdDSA
	// session: unknown key
}

func ExampleKeySource() {
	current, _ := session.ParseJWKS(exampleJWKS)
	var source session.KeySource = current
	key, err := source.Key(context.Background(), "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k")
	fmt.Println(key.Algorithm, err)
	// Output:
	// EdDSA <nil>
}

func ExampleURLKeys() {
	usher := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(exampleJWKS) }))
	defer usher.Close()

	keys, err := session.KeysFromURL(usher.URL+"/.well-known/jwks.json", session.URLKeysConfig{
		OnError: func(err error) { fmt.Println("keys not fetched:", err) },
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer keys.Close()
	verifier, err := session.NewVerifier(session.VerifierConfig{
		Issuer: "https://usher.example", Audience: "livestore", Keys: keys, Now: exampleNow,
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	claims, err := verifier.Verify(context.Background(), exampleToken)
	fmt.Println(claims.Subject, err)
	// Output:
	// ann <nil>
}

// Anyone who can change plain http traffic can replace the keys with their own.
func ExampleKeysFromURL_incorrect() {
	_, err := session.KeysFromURL("http://usher.example/.well-known/jwks.json", session.URLKeysConfig{})
	fmt.Println(err)
	// Output:
	// session: bad key URL: URL is http to another host
}

func ExampleURLKeysConfig() {
	bundled, err := session.ParseJWKS(exampleJWKS) // in a service: session.KeysFromFile
	if err != nil {
		fmt.Println(err)
		return
	}
	keys, err := session.KeysFromURL("https://127.0.0.1:1/.well-known/jwks.json", session.URLKeysConfig{Initial: bundled})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer keys.Close()
	key, err := keys.Key(context.Background(), "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k")
	fmt.Println(key.Algorithm, err)
	// Output:
	// EdDSA <nil>
}

func ExampleMiddlewareConfig() {
	// The middleware finds out who the caller is. The handler checks what they may do.
	read := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		claims, ok := session.ClaimsFromContext(r.Context())
		if !ok || !claims.Can(permissions.Store(r.PathValue("store")), permissions.Read) {
			w.WriteHeader(http.StatusForbidden)
			return
		}
		fmt.Fprint(w, "hello ", claims.Subject)
	})
	mux := http.NewServeMux()
	mux.Handle("GET /stores/{store}", exampleVerifier().Middleware(session.MiddlewareConfig{
		Cookie: "__Host-usher", Origins: []string{"https://app.example.com"},
	})(read))

	for _, store := range []string{"acme_notes", "rival_notes"} {
		request := httptest.NewRequest(http.MethodGet, "/stores/"+store, nil)
		request.Header.Set("Authorization", "Bearer "+exampleToken)
		response := httptest.NewRecorder()
		mux.ServeHTTP(response, request)
		fmt.Println(response.Code, response.Body)
	}
	// Output:
	// 200 hello ann
	// 403
}

// A token in a URL is not read, because URLs end up in logs and histories.
func ExampleVerifier_Middleware_incorrect() {
	handler := exampleVerifier().Middleware(session.MiddlewareConfig{})(http.NotFoundHandler())
	request := httptest.NewRequest(http.MethodGet, "/?token="+exampleToken, nil)
	response := httptest.NewRecorder()
	handler.ServeHTTP(response, request)
	fmt.Println(response.Code)
	// Output:
	// 401
}
