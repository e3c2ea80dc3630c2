package api_test

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers"
	"github.com/getkin/kin-openapi/routers/gorillamux"
	"github.com/go-chi/chi/v5"

	"github.com/usher-auth/usher"
)

// contract is openapi.yaml, loaded and checked once.
var contract = func() routers.Router {
	openapi3filter.RegisterBodyDecoder("application/jwk-set+json", openapi3filter.JSONBodyDecoder)
	openapi3filter.RegisterBodyDecoder("application/yaml", openapi3filter.PlainBodyDecoder)
	doc, err := openapi3.NewLoader().LoadFromData(usher.OpenAPI)
	if err == nil {
		err = doc.Validate(context.Background())
	}
	if err != nil {
		panic("openapi.yaml: " + err.Error())
	}
	router, err := gorillamux.NewRouter(doc)
	if err != nil {
		panic("openapi.yaml: " + err.Error())
	}
	return router
}()

// answer is a response that was checked against the contract.
type answer struct {
	status int
	header http.Header
	body   []byte
}

// problem is the body of an error.
type problem struct{ Error, Reason, RequestID string }

func (a answer) problem(t testing.TB) problem {
	t.Helper()
	var p problem
	decoder := json.NewDecoder(bytes.NewReader(a.body))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&p); err != nil || p.Error == "" || p.Reason == "" || p.RequestID == "" {
		t.Fatalf("status %d without the one error shape: %s", a.status, a.body)
	}
	if got := a.header.Get("X-Request-Id"); got != p.RequestID {
		t.Errorf("X-Request-Id = %q, but requestId = %q", got, p.RequestID)
	}
	return p
}

// send sends a request over a real connection and checks the response against the
// contract. An unknown status, header or field fails the test. A request that is
// answered with 200 or 201 must itself match the contract.
func send(t testing.TB, server *httptest.Server, r *http.Request) answer {
	t.Helper()
	var sent []byte
	if r.Body != nil {
		sent, _ = io.ReadAll(r.Body)
		r.Body = io.NopCloser(bytes.NewReader(sent))
	}
	client := *server.Client()
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	res, err := client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	a := answer{status: res.StatusCode, header: res.Header}
	if a.body, err = io.ReadAll(res.Body); err != nil {
		t.Fatal(err)
	}
	checkAnswer(t, r, sent, a)
	return a
}

func checkAnswer(t testing.TB, r *http.Request, sent []byte, a answer) {
	t.Helper()
	// The contract tolerates these.
	if strings.HasPrefix(r.URL.Path, "/v2/") {
		r.URL.Path = strings.TrimSuffix(r.URL.Path, "/")
		r.Header.Set("Content-Type", "application/json")
	}
	if r.URL.Path == "/api/auth/" && r.URL.RawPath == "" {
		r.URL.Path = "/api/auth"
	}
	route, parameters, err := contract.FindRoute(r)
	if err != nil { // not in the contract: then usher must not know it either
		if a.status != http.StatusNotFound && a.status != http.StatusMethodNotAllowed {
			t.Errorf("%s %s is not in openapi.yaml and was answered with %d", r.Method, r.URL.Path, a.status)
		}
		return
	}
	input := &openapi3filter.RequestValidationInput{
		Request: r, PathParams: parameters, Route: route,
		Options: &openapi3filter.Options{IncludeResponseStatus: true, AuthenticationFunc: openapi3filter.NoopAuthenticationFunc},
	}
	if a.status == http.StatusOK || a.status == http.StatusCreated {
		r.Body = io.NopCloser(bytes.NewReader(sent))
		if err := openapi3filter.ValidateRequest(context.Background(), input); err != nil {
			t.Errorf("usher took a request outside openapi.yaml: %v", err)
		}
	}
	response := &openapi3filter.ResponseValidationInput{
		RequestValidationInput: input, Status: a.status, Header: a.header, Options: input.Options,
	}
	response.SetBodyBytes(a.body)
	if err := openapi3filter.ValidateResponse(context.Background(), response); err != nil {
		t.Errorf("%s %s: response %d is outside openapi.yaml: %v", r.Method, r.URL.Path, a.status, err)
	}
}

// A route that only the router or only the contract has fails the test.
func TestContractAndRouterKnowTheSameRoutes(t *testing.T) {
	t.Parallel()
	doc, err := openapi3.NewLoader().LoadFromData(usher.OpenAPI)
	if err != nil {
		t.Fatal(err)
	}
	var documented, served []string
	for path, item := range doc.Paths.Map() {
		for method := range item.Operations() {
			documented = append(documented, method+" "+path)
		}
	}
	public := newFake(t)
	for _, router := range []chi.Routes{public.Routes(), newOps(t, public, fakeStore{}, nil).Routes()} {
		err = chi.Walk(router, func(method, route string, _ http.Handler, _ ...func(http.Handler) http.Handler) error {
			if !strings.HasPrefix(route, "/debug/pprof/") { // Go's own to document
				served = append(served, method+" "+route)
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	slices.Sort(documented)
	slices.Sort(served)
	if !slices.Equal(documented, served) {
		t.Errorf("documented:\n%s\nserved:\n%s", strings.Join(documented, "\n"), strings.Join(served, "\n"))
	}
}

// The checker itself must be able to fail.
func TestContractCheckerFails(t *testing.T) {
	t.Parallel()
	for name, a := range map[string]answer{
		"an unknown status":      {status: 418, body: []byte(`{}`)},
		"an unknown member":      {status: 403, body: []byte(`{"error":"forbidden","reason":"r","requestId":"AAAAAAAAAAAAAAAAAAAAAAAAAA","more":1}`)},
		"an unknown slug":        {status: 403, body: []byte(`{"error":"Forbidden","reason":"r","requestId":"AAAAAAAAAAAAAAAAAAAAAAAAAA"}`)},
		"a missing Retry-After":  {status: 503, body: []byte(`{"error":"unavailable","reason":"r","requestId":"AAAAAAAAAAAAAAAAAAAAAAAAAA"}`)},
		"a token without expiry": {status: 200, body: []byte(`{"token":"a.b.c"}`)},
	} {
		a.header = http.Header{"Content-Type": {"application/json"}, "Cache-Control": {"no-store"}, "X-Request-Id": {"AAAAAAAAAAAAAAAAAAAAAAAAAA"}}
		r := httptest.NewRequest(http.MethodPost, "/api/auth", strings.NewReader(`{}`))
		r.Header.Set("Content-Type", "application/json")
		probe := &recorder{TB: t}
		checkAnswer(probe, r, []byte(`{}`), a)
		if !probe.failed {
			t.Errorf("%s passed", name)
		}
	}
}

// recorder records a failure instead of failing.
type recorder struct {
	testing.TB
	failed bool
}

func (r *recorder) Helper()               {}
func (r *recorder) Errorf(string, ...any) { r.failed = true }
