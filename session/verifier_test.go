package session_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/usher-auth/usher/permissions"
	"github.com/usher-auth/usher/session"
)

func TestNewVerifierFaults(t *testing.T) {
	t.Parallel()
	keys := keySet(t, edForger("ed"))
	good := session.VerifierConfig{Issuer: testIssuer, Audience: testAudience, Keys: keys}
	for _, tt := range []struct {
		name   string
		change func(*session.VerifierConfig)
		faults []string
	}{
		{"good", func(*session.VerifierConfig) {}, nil},
		{"longest leeway", func(c *session.VerifierConfig) { c.Leeway = time.Minute }, nil},
		{"no issuer", func(c *session.VerifierConfig) { c.Issuer = "" }, []string{"Issuer"}},
		{"no audience", func(c *session.VerifierConfig) { c.Audience = "" }, []string{"Audience"}},
		{"no keys", func(c *session.VerifierConfig) { c.Keys = nil }, []string{"Keys"}},
		{"an empty set", func(c *session.VerifierConfig) { c.Keys = session.KeySet{} }, []string{"Keys"}},
		{"leeway", func(c *session.VerifierConfig) { c.Leeway = time.Minute + 1 }, []string{"Leeway"}},
		{"negative", func(c *session.VerifierConfig) { c.Leeway, c.MaxLifetime, c.Memo = -1, -1, -1 }, []string{"Leeway", "MaxLifetime", "Memo"}},
		{"all", func(c *session.VerifierConfig) { *c = session.VerifierConfig{} }, []string{"Issuer", "Audience", "Keys"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			cfg := good
			tt.change(&cfg)
			v, err := session.NewVerifier(cfg)
			if (err == nil) != (tt.faults == nil) || (v == nil) != (err != nil) {
				t.Fatalf("got %v, %v; want faults %v", v, err, tt.faults)
			}
			for _, fault := range tt.faults {
				if !strings.Contains(err.Error(), fault) {
					t.Errorf("got %v, want it to name %s", err, fault)
				}
			}
		})
	}
}

func TestVerifyClaims(t *testing.T) {
	t.Parallel()
	f := edForger("ed")
	got, err := newVerifier(t, session.VerifierConfig{Keys: keySet(t, f)}).Verify(t.Context(), f.token(claims(
		"aud", `["sync:other","`+testAudience+`"]`, "sub", `"us\u0065r_1"`, "iat", "1799999990.25", "pid", `"p"`, "uid", `"u"`,
		"ui", `{"name": "Ann"}`, "stores", `{"notes":"read"}`, "org", `"acme"`, "sid", `"s"`)))
	if err != nil {
		t.Fatal(err)
	}
	if !got.IssuedAt.Equal(time.Unix(1799999990, 250e6)) || !got.ExpiresAt.Equal(time.Unix(1800000290, 0)) {
		t.Errorf("got times %s and %s", got.IssuedAt, got.ExpiresAt)
	}
	texts := fmt.Sprintf("%q", []string{
		got.Issuer, got.Audience, got.Subject, got.ID, got.Kind, got.Project, got.UserID, got.UserInfo, got.Organization, got.SessionID,
	})
	want := fmt.Sprintf("%q", []string{testIssuer, testAudience, "user_1", "01J", "acc", "p", "u", `{"name": "Ann"}`, "acme", "s"})
	if texts != want {
		t.Errorf("got  %s\nwant %s", texts, want)
	}
	if !got.Can(permissions.Room("acme:1"), permissions.Full) || !got.Can(permissions.Store("notes"), permissions.Read) {
		t.Error("the token does not open what it says")
	}
}

// The clock at each boundary, with every leeway.
func TestVerifyTimes(t *testing.T) {
	t.Parallel()
	f := edForger("ed")
	keys := keySet(t, f)
	const iat, nbf, exp = 1_800_000_000, 1_800_000_100, 1_800_000_300
	token := f.token(claims("iat", strconv.Itoa(iat), "nbf", strconv.Itoa(nbf), "exp", strconv.Itoa(exp)))
	plain := f.token(claims("iat", strconv.Itoa(iat), "exp", strconv.Itoa(exp)))
	for _, leeway := range []int64{1, 30, 60} {
		for _, tt := range []struct {
			name  string
			token string
			now   int64
			code  string
		}{
			{"before iat", plain, iat - leeway - 1, "token_not_yet_valid"},
			{"at iat less leeway", plain, iat - leeway, ""},
			{"before nbf", token, nbf - leeway - 1, "token_not_yet_valid"},
			{"at nbf less leeway", token, nbf - leeway, ""},
			{"before exp", token, exp - 1, ""},
			{"at exp", token, exp, ""},
			{"last second", token, exp + leeway - 1, ""},
			{"over", token, exp + leeway, "token_expired"},
			{"long over", token, exp + 1_000_000, "token_expired"},
		} {
			v := newVerifier(t, session.VerifierConfig{
				Keys: keys, Leeway: time.Duration(leeway) * time.Second,
				Now: func() time.Time { return time.Unix(tt.now, 0) },
			})
			_, err := v.Verify(t.Context(), tt.token)
			if got := codeOf(err); got != tt.code {
				t.Errorf("leeway %d, %s: got %q, want %q", leeway, tt.name, got, tt.code)
			}
			if got, want := errors.Is(err, session.ErrExpired), tt.code == "token_expired"; got != want {
				t.Errorf("leeway %d, %s: is ErrExpired %t, want %t", leeway, tt.name, got, want)
			}
		}
	}
}

func TestVerifyMaxLifetime(t *testing.T) {
	t.Parallel()
	f := edForger("ed")
	v := newVerifier(t, session.VerifierConfig{Keys: keySet(t, f), MaxLifetime: time.Minute})
	for life, code := range map[int]string{60: "", 61: "lifetime_too_long"} {
		_, err := v.Verify(t.Context(), f.token(claims("iat", "1800000000", "exp", strconv.Itoa(1800000000+life))))
		if got := codeOf(err); got != code {
			t.Errorf("%d s of at most 60: got %q, want %q", life, got, code)
		}
	}
}

func codeOf(err error) string {
	if e, ok := errors.AsType[*session.TokenError](err); ok {
		return e.Code
	}
	if err != nil {
		return err.Error()
	}
	return ""
}

// CVE-2024-51744: the refusal of a forged token says nothing about its age.
func TestExpiredAndForgedIsForged(t *testing.T) {
	t.Parallel()
	v := newVerifier(t, session.VerifierConfig{Keys: keySet(t, edForger("ed"))})
	thief := edForger("thief")
	thief.kid = "ed"
	_, err := v.Verify(t.Context(), thief.token(claims("iat", "1799990000", "exp", "1799990300")))
	if got := codeOf(err); got != "signature_invalid" || errors.Is(err, session.ErrExpired) {
		t.Errorf("got %q, want signature_invalid and not ErrExpired", got)
	}
}

// The sender of a token does not get the code; the log does.
func TestTokenErrorText(t *testing.T) {
	t.Parallel()
	f := edForger("ed")
	v := newVerifier(t, session.VerifierConfig{Keys: keySet(t, f)})
	for _, token := range []string{"", "x", f.token("{}"), f.token(claims("iat", "1799999800", "exp", "1799999900")), edForger("x").token(claims())} {
		_, err := v.Verify(t.Context(), token)
		if !errors.Is(err, session.ErrInvalidToken) || errors.Is(err, session.ErrKeysUnavailable) || err.Error() != "session: invalid token" {
			t.Errorf("%.60q: got %v", token, err)
		}
		var log bytes.Buffer
		slog.New(slog.NewTextHandler(&log, nil)).Info("refused", "error", err)
		if !strings.Contains(log.String(), `error="session: invalid token: `+codeOf(err)+`: `) {
			t.Errorf("%.60q: logged as %s", token, log.String())
		}
	}
}

// keyFunc is a KeySource.
type keyFunc func(ctx context.Context, kid string) (session.JWK, error)

func (f keyFunc) Key(ctx context.Context, kid string) (session.JWK, error) { return f(ctx, kid) }

// A KeySource may read a folder or a database, so it never gets a kid that could make it
// read something else.
func TestKeySourceSeesOnlySafeKids(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	seen := 0
	keys := keyFunc(func(_ context.Context, kid string) (session.JWK, error) {
		mu.Lock()
		defer mu.Unlock()
		seen++
		if kid == "" || len(kid) > 128 || strings.Trim(kid, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-") != "" {
			t.Errorf("asked for %.200q", kid)
		}
		return session.JWK{}, session.ErrSigningKeyUnknown
	})
	v := newVerifier(t, session.VerifierConfig{Keys: keys})
	for _, kid := range []string{"good-kid_1.", "", strings.Repeat("k", 129), strings.Repeat("k", 5000), "../../etc/passwd", "a/b", `a\b`, "a'--", "a b", "a\x00", "é", "a\n", "%2e", "ed1:x"} {
		f := edForger(kid)
		if _, err := v.Verify(t.Context(), f.token(claims())); !errors.Is(err, session.ErrInvalidToken) {
			t.Errorf("%.60q: got %v, want ErrInvalidToken", kid, err)
		}
	}
	for _, name := range attackFiles {
		for _, a := range readAttacks(t, name).Vectors {
			_, _ = v.Verify(t.Context(), a.Token)
		}
	}
	if seen < 100 {
		t.Errorf("the source was asked %d times: the corpus does not reach it", seen)
	}
}

// If the keys are unavailable, that is not a fault of the token.
func TestKeySourceFaults(t *testing.T) {
	t.Parallel()
	disk := errors.New("disk on fire")
	f := edForger("ed")
	for _, tt := range []struct {
		name        string
		key         session.JWK
		err         error
		is, and     error
		unavailable bool
	}{
		{"unknown", session.JWK{}, session.ErrSigningKeyUnknown, session.ErrInvalidToken, nil, false},
		{"unknown, wrapped", session.JWK{}, fmt.Errorf("file: %w", session.ErrSigningKeyUnknown), session.ErrInvalidToken, nil, false},
		{"unavailable", session.JWK{}, session.ErrKeysUnavailable, session.ErrKeysUnavailable, nil, true},
		{"unavailable, wrapped", session.JWK{}, fmt.Errorf("%w: %w", session.ErrKeysUnavailable, disk), session.ErrKeysUnavailable, disk, true},
		{"any other", session.JWK{}, disk, session.ErrKeysUnavailable, disk, true},
		{"the context's", session.JWK{}, context.DeadlineExceeded, session.ErrKeysUnavailable, context.DeadlineExceeded, true},
		{"no error and no key", session.JWK{}, nil, session.ErrInvalidToken, nil, false},
		{"a key without its half", session.JWK{KeyID: "ed", Algorithm: "EdDSA"}, nil, session.ErrInvalidToken, nil, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			v := newVerifier(t, session.VerifierConfig{Keys: keyFunc(func(context.Context, string) (session.JWK, error) { return tt.key, tt.err })})
			_, err := v.Verify(t.Context(), f.token(claims()))
			if !errors.Is(err, tt.is) || tt.and != nil && !errors.Is(err, tt.and) || errors.Is(err, session.ErrKeysUnavailable) != tt.unavailable {
				t.Errorf("got %v, want %v and %v", err, tt.is, tt.and)
			}
		})
	}
}

// J-11: two issuers whose keys share a kid.
func TestTwoIssuersOneKid(t *testing.T) {
	t.Parallel()
	a, b := edForger("a"), edForger("b")
	a.kid, b.kid = "k", "k"
	va := newVerifier(t, session.VerifierConfig{Issuer: "https://a.test", Keys: keySet(t, a), Memo: 10})
	vb := newVerifier(t, session.VerifierConfig{Issuer: "https://b.test", Keys: keySet(t, b), Memo: 10})
	ta, tb := a.token(claims("iss", `"https://a.test"`)), b.token(claims("iss", `"https://b.test"`))
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 50 {
				for _, tt := range []struct {
					v     *session.Verifier
					token string
					want  string
				}{
					{va, ta, ""},
					{vb, tb, ""},
					{va, tb, "signature_invalid"},
					{vb, ta, "signature_invalid"},
					{va, a.token(claims("iss", `"https://b.test"`)), "issuer_mismatch"},
				} {
					if _, err := tt.v.Verify(t.Context(), tt.token); codeOf(err) != tt.want {
						t.Errorf("got %q, want %q", codeOf(err), tt.want)
					}
				}
			}
		})
	}
	wg.Wait()
}

// The issuer's keys sign several types of tokens. Each type is accepted only where it
// belongs, and a verifier for another type refuses all of these.
func TestTypes(t *testing.T) {
	t.Parallel()
	f := edForger("ed")
	v := newVerifier(t, session.VerifierConfig{Keys: keySet(t, f)})
	types := []string{"at+jwt", "JWT", "revocations+jwt", "checkpoint+jwt", "logout+jwt", "key+jwt", "secevent+jwt", "dpop+jwt"}
	for _, typ := range types {
		for _, prefix := range []string{"", "application/"} {
			for _, spelling := range []string{prefix + typ, strings.ToUpper(prefix + typ)} {
				_, err := v.Verify(t.Context(), f.tokenWith(fmt.Sprintf(`{"alg":"EdDSA","kid":"ed","typ":%q}`, spelling), claims()))
				want := "type_mismatch"
				if typ == "at+jwt" {
					want = ""
				}
				if got := codeOf(err); got != want {
					t.Errorf("%s: got %q, want %q", spelling, got, want)
				}
			}
		}
	}
}

// TOK-05: an accepted token has one spelling.
func TestNoChangedTokenIsAccepted(t *testing.T) {
	t.Parallel()
	ed, ec := edForger("ed"), ecForger("ec")
	v := newVerifier(t, session.VerifierConfig{Keys: keySet(t, ed, ec), Memo: 100})
	changes := 0
	// Their payloads end in 4 and in 2 unused bits.
	for _, token := range []string{ed.token(claims()), ec.token(claims("pid", `"u"`))} {
		if _, err := v.Verify(t.Context(), token); err != nil {
			t.Fatal(err)
		}
		try := func(changed string) {
			changes++
			if _, err := v.Verify(t.Context(), changed); err == nil && changed != token {
				t.Errorf("accepted %q for %q", changed, token)
			}
		}
		interesting := []byte("AQgw-_.=+/ \n\r\x00\x80")
		for i := range len(token) {
			try(token[:i] + token[i+1:])
			for _, c := range interesting {
				try(token[:i] + string([]byte{c}) + token[i:])
				try(token[:i] + string([]byte{c}) + token[i+1:])
			}
			for bit := range 8 {
				try(token[:i] + string([]byte{token[i] ^ 1<<bit}) + token[i+1:])
			}
		}
		for _, c := range interesting {
			try(token + string([]byte{c}))
		}
		// Replace the last character of a segment with each other character: its
		// unused bits are not covered by the signature.
		const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
		for _, i := range []int{strings.IndexByte(token, '.') - 1, strings.LastIndexByte(token, '.') - 1, len(token) - 1} {
			for _, c := range alphabet {
				try(token[:i] + string(c) + token[i+1:])
			}
		}
	}
	t.Logf("%d changes", changes)
}

// CVE-2025-30204: a string with a wrong form is refused at the same cost, however long it
// is.
//
//nolint:paralleltest // AllocsPerRun counts those of other tests too
func TestDotsCostNothing(t *testing.T) {
	v := newVerifier(t, session.VerifierConfig{Keys: keySet(t, edForger("ed"))})
	for _, n := range []int{3, 16 << 10, 100_000, 1 << 20} {
		dots := strings.Repeat(".", n)
		if allocs := testing.AllocsPerRun(10, func() { _, _ = v.Verify(context.Background(), dots) }); allocs > 1 {
			t.Errorf("%d dots: got %g allocations, want the error's alone", n, allocs)
		}
	}
}

func TestMemo(t *testing.T) {
	t.Parallel()
	f := edForger("ed")
	now := testNow
	var current session.KeySource = keySet(t, f)
	v := newVerifier(t, session.VerifierConfig{
		Keys: keyFunc(func(ctx context.Context, kid string) (session.JWK, error) { return current.Key(ctx, kid) }),
		Memo: 2, Now: func() time.Time { return now },
	})
	verify := func(step, token, want string) {
		t.Helper()
		c, err := v.Verify(t.Context(), token)
		if got := codeOf(err); got != want {
			t.Errorf("%s: got %q, want %q", step, got, want)
		}
		if err == nil && (c.Subject != "user_1" || !c.Can(permissions.Room("acme:1"), permissions.Full)) {
			t.Errorf("%s: got other claims: %+v", step, c)
		}
	}
	token := f.token(claims("nbf", "1799999990"))
	verify("first", token, "")
	verify("again", token, "")

	now = testNow.Add(-time.Minute)
	verify("clock set back before nbf", token, "token_not_yet_valid")
	now = testNow.Add(time.Hour)
	verify("expired", token, "token_expired")
	now = testNow

	current = keySet(t, edForger("other"))
	verify("key withdrawn", token, "key_unknown")
	impostor := edForger("other")
	impostor.kid = "ed"
	current = keySet(t, impostor)
	verify("another key of the kid", token, "signature_invalid")
	renamed := f
	renamed.alg = session.Ed25519
	current = keySet(t, renamed)
	verify("the key for another algorithm", token, "algorithm_mismatch")
	current = keyFunc(func(context.Context, string) (session.JWK, error) { return session.JWK{}, session.ErrKeysUnavailable })
	verify("keys unavailable", token, session.ErrKeysUnavailable.Error())
	current = keyFunc(func(context.Context, string) (session.JWK, error) {
		return session.JWK{KeyID: "ed", Algorithm: "EdDSA"}, nil
	})
	verify("an empty key", token, "signature_invalid")
	current = keySet(t, f)
	verify("key back", token, "")

	for i := range 100 { // more than fit
		verify("one of many", f.token(claims("jti", strconv.Quote(strconv.Itoa(i)))), "")
	}
	verify("first of all", token, "")
	verify("changed", otherSignature(token), "signature_invalid")
}

// otherSignature returns the token with a different signature.
func otherSignature(token string) string {
	end := "AA"
	if strings.HasSuffix(token, end) {
		end = "BA"
	}
	return token[:len(token)-len(end)] + end
}

func TestMemoIsSafeForConcurrentUse(t *testing.T) {
	t.Parallel()
	f := edForger("ed")
	v := newVerifier(t, session.VerifierConfig{Keys: keySet(t, f), Memo: 4})
	tokens := make([]string, 8)
	for i := range tokens {
		tokens[i] = f.token(claims("sub", fmt.Sprintf(`"user_%d"`, i)))
	}
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for i := range 400 {
				n := i % len(tokens)
				c, err := v.Verify(t.Context(), tokens[n])
				if want := fmt.Sprintf("user_%d", n); err != nil || c.Subject != want {
					t.Errorf("got %q, %v; want %q", c.Subject, err, want)
				}
			}
		})
	}
	wg.Wait()
}

func FuzzVerify(f *testing.F) {
	ed, ec := edForger("ed"), ecForger("ec")
	for _, name := range attackFiles {
		for _, a := range readAttacks(f, name).Vectors {
			if len(a.Token) < 8<<10 {
				f.Add(a.Token, a.Token)
			}
		}
	}
	f.Add(ed.header(), claims("ui", `{}`, "aud", `["a"]`))
	v := newVerifier(f, session.VerifierConfig{Keys: keySet(f, ed, ec), Memo: 8})
	good := ed.token(claims())
	room := permissions.Room("acme:1")
	f.Fuzz(func(t *testing.T, a, b string) {
		check := func(token string) {
			c, err := v.Verify(t.Context(), token)
			again, errAgain := v.Verify(t.Context(), token)
			if codeOf(err) != codeOf(errAgain) {
				t.Errorf("%q: first %v, then %v", token, err, errAgain)
			}
			if err != nil {
				if !errors.Is(err, session.ErrInvalidToken) || c.Can(room, permissions.Read) {
					t.Errorf("%q: %v, and claims %+v", token, err, c)
				}
				return
			}
			if c.Issuer != testIssuer || c.Audience != testAudience || c.Subject == "" || c.ID == "" || c.Access(room) != again.Access(room) {
				t.Errorf("%q: accepted with %+v", token, c)
			}
		}
		// The text itself; the text as header and claims, with a good signature; the
		// text as a change to a good token.
		if _, err := v.Verify(t.Context(), a); err == nil {
			t.Errorf("accepted without a valid signature: %q", a)
		}
		check(ed.tokenWith(a, b))
		check(ed.token(b))
		check(ed.signed(a))
		if changed := strings.Replace(good, b, a, 1); changed != good {
			if _, err := v.Verify(t.Context(), changed); err == nil {
				t.Errorf("accepted changed: %q", changed)
			}
		}
	})
}
