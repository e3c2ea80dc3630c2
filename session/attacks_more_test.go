package session_test

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/usher-auth/usher/session"
)

var update = flag.Bool("update", false, "write testdata/jwt_attacks_more.json again, with new RSA keys")

// TestWriteMoreAttacks writes testdata/jwt_attacks_more.json: attacks that are missing in
// jwt_attacks.json, which others wrote.
func TestWriteMoreAttacks(t *testing.T) {
	if !*update {
		t.Skip("run with -update to write the file")
	}
	f := attackVectors{
		Note: "Made by TestWriteMoreAttacks; test keys only. Policy as in jwt_attacks.json, but nbf is checked where it is there and " +
			"not required. Each key takes tokens of its own alg alone: ed2 says Ed25519 (RFC 9864), ed1 EdDSA.",
		Issuer: testIssuer, Audience: testAudience, Now: testNow.Unix(), Leeway: 30,
	}
	long := strings.Repeat("k", 128)
	ed, ed2, ec := edForger("ed1"), edForger("ed2"), ecForger("ec1")
	ed2.alg = session.Ed25519
	rs, ps := rsaForger(t, session.RS256, "rs1"), rsaForger(t, session.PS256, "ps1")
	path, longKey, stranger := edForger("a/b"), edForger(long), edForger("stranger")
	keys := session.MarshalJWKS([]session.JWK{ed.jwk(t), ed2.jwk(t), ec.jwk(t), rs.jwk(t), ps.jwk(t), path.jwk(t), longKey.jwk(t)})

	// Keys that a set must not use: each of them signs a token.
	var unfit []forger
	unfitKey := func(kid string, changes ...string) {
		k := edForger(kid)
		unfit = append(unfit, k)
		keys = append(bytes.TrimSuffix(keys, []byte("]}")), ","+with(string(marshal(t, k.jwk(t))), changes...)+"]}"...)
	}
	unfitKey("use-enc", "use", `"enc"`)
	unfitKey("use-null", "use", "null")
	unfitKey("ops-encrypt", "use", "", "key_ops", `["encrypt"]`)
	unfitKey("ops-both", "use", "", "key_ops", `["verify","encrypt"]`)
	unfitKey("ops-empty", "use", "", "key_ops", "[]")
	unfitKey("alg-es256", "alg", `"ES256"`)
	unfitKey("alg-null", "alg", "null")
	unfitKey("kty-lower", "kty", `"okp"`)
	unfitKey("crv-lower", "crv", `"ed25519"`)
	unfitKey("twice")
	unfitKey("twice", "x", `"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"`)
	unfitKey("same-twice")
	unfitKey("same-twice")
	unfitKey(strings.Repeat("k", 129))
	unfitKey("x-padded", "x", `"`+base64.URLEncoding.EncodeToString(edForger("x-padded").private.Public().(ed25519.PublicKey))+`"`)
	large, err := rsa.GenerateKey(rand.Reader, 4104)
	if err != nil {
		t.Fatal(err)
	}
	largeKey := forger{large, session.RS256, "rs-4104"}
	unfit = append(unfit, largeKey)
	keys = append(bytes.TrimSuffix(keys, []byte("]}")), fmt.Sprintf(`,{"kty":"RSA","n":%s,"e":"AQAB","kid":"rs-4104","use":"sig","alg":"RS256"}]}`, number(large.N))...)
	f.JWKS = keys

	add := func(result, id, note, token string) {
		f.Vectors = append(f.Vectors, attackVector{ID: id, Note: note, Token: token, Result: result})
	}
	good := func(id, note, token string) { add("valid", id, note, token) }
	bad := func(id, note, token string) { add("invalid", id, note, token) }

	for _, k := range []forger{ed, ed2, ec, rs, ps, longKey} {
		good("ok-"+k.kid[:min(3, len(k.kid))], "baseline of "+k.alg, k.token(claims()))
		bad("forged-"+k.kid[:min(3, len(k.kid))], "payload changed after signing", strings.Replace(k.token(claims()), encode(claims()), encode(claims("sub", `"user_2"`)), 1))
	}

	for i, k := range unfit {
		bad(fmt.Sprintf("key-%d-%s", i, k.kid[:min(12, len(k.kid))]), "good signature by a key that the set must not lend (KEY-02, KEY-05)", k.token(claims()))
	}

	// Only the key's own algorithm is accepted.
	as := func(k forger, alg string) forger { k.alg = alg; return k }
	bad("alg-second-name", "Ed25519 for a key that says EdDSA", as(ed, session.Ed25519).token(claims()))
	bad("alg-first-name", "EdDSA for a key that says Ed25519", as(ed2, session.EdDSA).token(claims()))
	bad("alg-ps-on-rs", "good PS256 signature by a key that says RS256", as(rs, session.PS256).token(claims()))
	bad("alg-rs-on-ps", "good RS256 signature by a key that says PS256", as(ps, session.RS256).token(claims()))
	rawHeader := func(k forger, header string) string { return k.tokenWith(header, claims()) }
	bad("alg-case", "", rawHeader(ed, `{"alg":"eddsa","kid":"ed1","typ":"at+jwt"}`))
	bad("alg-array", "", rawHeader(ed, `{"alg":["EdDSA"],"kid":"ed1","typ":"at+jwt"}`))

	// Signatures.
	input := encode(ps.header()) + "." + encode(claims())
	for _, salt := range []int{0, 20, 64} {
		bad(fmt.Sprintf("ps-salt-%d", salt), "RFC 7518 3.5: the salt has the hash's length", input+"."+encode(ps.pss(input, salt)))
	}
	input = encode(ec.header()) + "." + encode(claims())
	raw := ec.signature(input)
	bad("es-short", "63 bytes", input+"."+encode(raw[:63]))
	bad("es-long", "65 bytes", input+"."+encode(raw+"\x00"))
	bad("es-der", "DER form", input+"."+encode("\x30\x44\x02\x20"+raw[:32]+"\x02\x20"+raw[32:]))
	input = encode(ed.header()) + "." + encode(claims())
	raw = ed.signature(input)
	bad("ed-short", "63 bytes", input+"."+encode(raw[:63]))
	bad("ed-long", "65 bytes", input+"."+encode(raw+"\x00"))
	bad("sig-empty", "", input+".")
	bad("sig-other-key", "signed by a key that is not in the set", forger{stranger.private, stranger.alg, "ed1"}.token(claims()))
	bad("forged-expired", "expired and forged is forged", forger{stranger.private, stranger.alg, "ed1"}.token(claims("iat", "1799990000", "exp", "1799990300")))

	// kid.
	bad("kid-unknown", "", stranger.token(claims()))
	bad("kid-path", "good signature, a key of that kid is in the set", path.token(claims()))
	bad("kid-case", "", rawHeader(ed, `{"alg":"EdDSA","kid":"ED1","typ":"at+jwt"}`))
	bad("kid-nul", "", rawHeader(ed, `{"alg":"EdDSA","kid":"ed1\u0000","typ":"at+jwt"}`))
	bad("kid-5000", "", rawHeader(ed, `{"alg":"EdDSA","kid":"`+strings.Repeat("e", 5000)+`","typ":"at+jwt"}`))

	// The header: strict JSON, three names.
	for _, member := range []string{
		`"crit":["exp"],"exp":1`, `"b64":true`, `"zip":"none"`, `"enc":"A128GCM"`, `"jku":"https://auth.example.test/jwks"`,
		`"jwk":{"kty":"OKP"}`, `"x5u":"https://auth.example.test/c"`, `"x5c":[]`, `"x5t":"AA"`, `"cty":"json"`, `"foo":1`, `"":1`,
	} {
		name, _, _ := strings.Cut(member, ":")
		bad("hdr-"+strings.Trim(name, `"`), "good signature, a name too many", rawHeader(ed, `{"alg":"EdDSA","kid":"ed1","typ":"at+jwt",`+member+`}`))
	}
	bad("hdr-case-alg", "", rawHeader(ed, `{"alg":"EdDSA","Alg":"none","kid":"ed1","typ":"at+jwt"}`))
	bad("hdr-only-case", "names match exactly", rawHeader(ed, `{"Alg":"EdDSA","kid":"ed1","typ":"at+jwt"}`))
	bad("hdr-kelvin-kid", "U+212A folds to k", rawHeader(ed, `{"alg":"EdDSA","kid":"ed1","\u212aid":"ed2","typ":"at+jwt"}`))
	bad("hdr-trailing", "", rawHeader(ed, ed.header()+"{}"))
	bad("hdr-bom", "", rawHeader(ed, "\ufeff"+ed.header()))
	bad("hdr-array", "", rawHeader(ed, "["+ed.header()+"]"))
	good("hdr-blanks", "JSON may hold blanks", rawHeader(ed, " {\n\"kid\" : \"ed1\",\t\"typ\":\"at+jwt\", \"alg\":\"EdDSA\" }\r\n"))

	// typ: other types of tokens that the same keys sign are refused.
	for i, typ := range []string{
		"JWT", "jwt", "revocations+jwt", "checkpoint+jwt", "logout+jwt", "keys+jwt", "secevent+jwt", "id+jwt", "at", "at+jwt ", "at+jwt;v=1", "text/at+jwt", "application/application/at+jwt", "",
	} {
		bad(fmt.Sprintf("typ-other-%d", i), strconv.Quote(typ), rawHeader(ed, fmt.Sprintf(`{"alg":"EdDSA","kid":"ed1","typ":%q}`, typ)))
	}
	bad("typ-array", "", rawHeader(ed, `{"alg":"EdDSA","kid":"ed1","typ":["at+jwt"]}`))
	good("typ-application", "", rawHeader(ed, `{"alg":"EdDSA","kid":"ed1","typ":"application/at+jwt"}`))
	good("typ-application-upper", "media types compare case-insensitively", rawHeader(ed, `{"alg":"EdDSA","kid":"ed1","typ":"Application/AT+JWT"}`))

	// A token has one spelling.
	token := ed.token(claims())
	for i, s := range []string{" " + token, token + " ", "\n" + token, token + "\n", "Bearer " + token, `"` + token + `"`, token + ".", "." + token, token + "=", ""} {
		bad(fmt.Sprintf("form-%d", i), "around a good token", s)
	}
	segments := strings.Split(token, ".")
	for i, name := range []string{"header", "payload"} {
		for _, c := range []struct{ kind, changed string }{
			{"crlf", segments[i][:4] + "\r\n" + segments[i][4:]},
			{"cr", segments[i][:4] + "\r" + segments[i][4:]},
			{"lf", segments[i][:4] + "\n" + segments[i][4:]},
			{"blank", segments[i][:4] + " " + segments[i][4:]},
			{"pad", segments[i] + "="},
			{"nul", segments[i] + "\x00"},
		} {
			s := []string{segments[0], segments[1]}
			s[i] = c.changed
			bad("enc-"+c.kind+"-"+name, "signed so", ed.signed(strings.Join(s, ".")))
		}
	}
	bits := func(s string) string { // sets a bit that no byte needs
		const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
		last := strings.IndexByte(alphabet, s[len(s)-1])
		return s[:len(s)-1] + string(alphabet[last|1])
	}
	pad := func(s string) string { // the bits are then a blank's, which JSON would not miss
		return s + strings.Repeat(" ", 3-(len(s)+2)%3)
	}
	bad("enc-bits-header", "signed so", ed.signed(bits(encode(pad(ed.header())))+"."+encode(claims())))
	bad("enc-bits-payload", "signed so", ed.signed(encode(ed.header())+"."+bits(encode(pad(claims())))))
	std := claims("ui", `{"name":"\u00fb?>~ûÿþ~~~"}`)
	bad("enc-std-alphabet", "+ and / instead of - and _, signed so", ed.signed(encode(ed.header())+"."+base64.RawStdEncoding.EncodeToString([]byte(std))))
	bad("payload-empty", "", ed.signed(encode(ed.header())+"."))
	bad("header-empty", "", ed.signed("."+encode(claims())))
	bad("payload-claims-in-header-segment", "segments swapped", ed.signed(encode(claims())+"."+encode(ed.header())))

	// Size.
	ofLength := func(n int) string {
		size := func(pad int) string { return ed.token(claims("ui", `{"name":"`+strings.Repeat("x", pad)+`"}`)) }
		pad := (n - len(size(0))) * 3 / 4
		for len(size(pad)) < n {
			pad++
		}
		return size(pad)
	}
	good("len-16384", "the longest", ofLength(16384))
	bad("len-16385", "one character too long", ofLength(16385))

	// Payload: strict JSON.
	for _, p := range []struct{ id, payload string }{
		{"case-sub", claims("SUB", `"user_2"`)},
		{"case-aud", claims("Aud", `"other"`)},
		{"long-s-iss", claims("i\u017fs", `"https://evil.test"`)},
		{"dup-sub", strings.Replace(claims(), `"sub":`, `"sub":"user_2","sub":`, 1)},
		{"dup-escaped", strings.Replace(claims(), `"sub":`, `"su\u0062":"user_2","sub":`, 1)},
		{"dup-pattern", claims("perms", `{"a":["room:read"],"a":["room:write"]}`)},
		{"nul-ui", claims("ui", `{"name":"a\u0000"}`)},
		{"surrogate-ui", claims("ui", `{"name":"\ud800"}`)},
		{"surrogate-swap", claims("ui", `{"name":"\udc00\ud800"}`)},
		{"utf8-ui", claims("ui", "{\"name\":\"\xff\"}")},
		{"utf8-overlong", claims("ui", "{\"name\":\"\xc0\xaf\"}")},
		{"control", claims("ui", "{\"name\":\"\x01\"}")},
		{"comment", claims() + "//"},
		{"comma", strings.TrimSuffix(claims(), "}") + ",}"},
		{"string", `"` + testIssuer + `"`},
		{"number", "1800000290"},
		{"leading-zero", claims("iat", "01799999990")},
		{"hex", claims("iat", "0x6B49D1F6")},
		{"plus", claims("iat", "+1799999990")},
		{"nan", claims("nbf", "NaN")},
		{"depth-17", claims("ui", `{"a":`+strings.Repeat("[", 15)+strings.Repeat("]", 15)+"}")},
	} {
		bad("pl-"+p.id, "signed so", ed.token(p.payload))
	}
	good("pl-depth-16", "", ed.token(claims("ui", `{"a":`+strings.Repeat("[", 14)+strings.Repeat("]", 14)+"}")))
	good("pl-case-patterns", "ids that differ in case are two", ed.token(claims("perms", `{"acme:1":["room:read"],"ACME:1":["room:write"]}`)))
	good("pl-unknown", "unknown claims are ignored", ed.token(claims("foo", `[{"exp":1}]`, "", `0`)))
	good("pl-shadow", "what user info holds stays there", ed.token(claims("ui", `{"exp":1,"iss":"x","perms":{}}`)))
	good("pl-blanks", "", ed.token(" \n"+claims()+"\t\r\n"))
	good("pl-escaped-name", "", ed.token(strings.Replace(claims(), `"sub"`, `"\u0073ub"`, 1)))

	// Registered claims: present, with the right types and values.
	notText := []string{"", "null", "1", "true", `["x"]`, `{"a":1}`, `""`}
	for _, name := range []string{"iss", "sub", "jti"} {
		for i, v := range notText {
			bad(fmt.Sprintf("%s-type-%d", name, i), v, ed.token(claims(name, v)))
		}
	}
	for i, v := range []string{testIssuer + "/", "HTTPS://auth.example.test", testIssuer + ".evil.test", "https://auth.example.tes", "auth.example.test", testIssuer + " "} {
		bad(fmt.Sprintf("iss-other-%d", i), v, ed.token(claims("iss", strconv.Quote(v))))
	}
	for i, v := range []string{
		"", "null", "1", "{}", `""`, "[]", `[["sync:example"]]`, `["sync:other"]`, `["sync:example",1]`, `[null,"sync:example"]`,
		`["sync:example",["x"]]`, `"sync:exampl"`, `"sync:example "`, `"sync:example,sync:other"`, `"*"`, `{"sync:example":1}`,
	} {
		bad(fmt.Sprintf("aud-bad-%d", i), v, ed.token(claims("aud", v)))
	}
	good("aud-array", "", ed.token(claims("aud", `["sync:example"]`)))
	good("aud-array-two", "", ed.token(claims("aud", `["sync:other","sync:example"]`)))
	text := func(n int) string { return strconv.Quote(strings.Repeat("x", n)) }
	good("sub-384", "128 UTF-16 units of 3 bytes each", ed.token(claims("sub", strconv.Quote(strings.Repeat("日", 128)))))
	bad("sub-385", "", ed.token(claims("sub", text(385))))
	good("jti-255", "", ed.token(claims("jti", text(255))))
	bad("jti-256", "", ed.token(claims("jti", text(256))))

	// Times. now is 1800000000, the leeway 30 s, the longest lifetime 3600 s.
	for _, name := range []string{"iat", "exp", "nbf"} {
		for i, v := range []string{"null", `"1799999995"`, "true", "[1799999995]", `{"a":1}`, "-1", "1e400", "-1e400", "1e300", "1e18", "253402300800", ""} {
			if name == "nbf" && v == "" {
				good("nbf-missing", "not required", ed.token(claims("nbf", v)))
				continue
			}
			bad(fmt.Sprintf("%s-bad-%d", name, i), v, ed.token(claims(name, v)))
		}
	}
	for _, v := range []struct {
		id           string
		ok           bool
		iat, exp, nb string
	}{
		{"exp-in-leeway", true, "1799999900", "1799999971", ""},
		{"exp-in-leeway-fraction", true, "1799999900", "1799999970.5", ""},
		{"exp-at-leeway", false, "1799999900", "1799999970", ""},
		{"exp-equals-iat", false, "1799999990", "1799999990", ""},
		{"exp-before-iat", false, "1799999990", "1799999989", ""},
		{"iat-at-leeway", true, "1800000030", "1800000090", ""},
		{"iat-over-leeway", false, "1800000031", "1800000091", ""},
		{"nbf-at-leeway", true, "1799999990", "1800000290", "1800000030"},
		{"nbf-over-leeway", false, "1799999990", "1800000290", "1800000031"},
		{"nbf-zero", true, "1799999990", "1800000290", "0"},
		{"life-3600", true, "1799999990", "1800003590", ""},
		{"life-3601", false, "1799999990", "1800003591", ""},
		{"life-fraction", false, "1799999990", "1800003590.5", ""},
		{"exponent", true, "17999999.90e2", "1.80000029E9", "17e8"},
		{"zeros", false, "0", "0", "0"},
	} {
		token := ed.token(claims("iat", v.iat, "exp", v.exp, "nbf", v.nb))
		if v.ok {
			good(v.id, "", token)
		} else {
			bad(v.id, "", token)
		}
	}

	// usher's own claims: optional, with the right types.
	good("own-none", "a token of another issuer's making", ed.token(claims("k", "", "perms", "")))
	good("own-all", "", ed.token(claims("pid", `"usher"`, "uid", `"user_1"`, "ui", `{"name":"Ann"}`, "stores", `{"notes":"full"}`, "org", `"acme"`, "sid", `"s"`)))
	good("own-identity", "an identity token is in order; it grants nothing", ed.token(claims("k", `"id"`, "gids", `["g"]`, "perms", "")))
	good("own-unknown", "what is not understood grants nothing", ed.token(claims("k", `"x"`, "perms", `{"**":["a:b"],"a":["x"],"b":[]}`, "stores", `{"a b":"full","c":"write"}`)))
	for _, name := range []string{"k", "pid", "uid", "org", "sid"} {
		for i, v := range notText[1:6] {
			bad(fmt.Sprintf("own-%s-%d", name, i), v, ed.token(claims(name, v)))
		}
	}
	for i, v := range []struct{ name, value string }{
		{"ui", "null"},
		{"ui", `"Ann"`},
		{"ui", "[]"},
		{"perms", "null"},
		{"perms", "[]"},
		{"perms", `"acme:*"`},
		{"perms", `{"a":"room:write"}`},
		{"perms", `{"a":null}`},
		{"perms", `{"a":{"room:write":true}}`},
		{"perms", `{"a":["room:write",1]}`},
		{"perms", `{"a":[["room:write"]]}`},
		{"stores", "null"},
		{"stores", "[]"},
		{"stores", `{"a":1}`},
		{"stores", `{"a":["full"]}`},
		{"stores", `{"a":null}`},
	} {
		bad(fmt.Sprintf("own-%s-%d", v.name, i), v.value, ed.token(claims(v.name, v.value)))
	}

	seen := map[string]bool{}
	for _, v := range f.Vectors {
		if seen[v.ID] {
			t.Errorf("two vectors are called %s", v.ID)
		}
		seen[v.ID] = true
	}
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	e.SetIndent("", " ")
	if err := e.Encode(f); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join("testdata", "jwt_attacks_more.json"), b.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
}

func rsaForger(t *testing.T, alg, kid string) forger {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	return forger{key, alg, kid}
}
