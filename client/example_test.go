package client_test

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"

	"github.com/usher-auth/usher/client"
	"github.com/usher-auth/usher/permissions"
)

// fakeToken is the only token that the examples' usher issues.
var fakeToken = "e30." + base64.RawURLEncoding.EncodeToString([]byte(`{"sub":"ada","exp":1800000300}`)) + ".c2ln"

// exampleUsher prints the requests that it gets.
func exampleUsher() *httptest.Server {
	return httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		fmt.Printf("%s %s", r.URL.Path, body)
		issued(w, r)
	}))
}

func exampleClient(usher *httptest.Server) *client.Client {
	c, err := client.New(client.Config{URL: usher.URL, APIKey: "sk_example"})
	if err != nil {
		panic(err)
	}
	return c
}

func ExampleClient() {
	usher := exampleUsher()
	defer usher.Close()
	c, err := client.New(client.Config{
		URL:    usher.URL,    // in a service: https://auth.example.com
		APIKey: "sk_example", // in a service: from its secrets
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	token, err := c.TokenFor(context.Background(), "ada", permissions.Room("acme:design:1"))
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(token.ExpiresAt.UTC())
	// Output:
	// /api/auth {"userId":"ada","room":"acme:design:1"}
	// 2027-01-15 08:05:00 +0000 UTC
}

// The error lists all faults.
func ExampleConfig() {
	_, err := client.New(client.Config{URL: "http://auth.example.com", APIKey: "pk_example"})
	fmt.Println(err)
	// Output:
	// client: bad config: URL is http to another host
	// APIKey is not a secret key, which begins with sk_ and has only letters, digits, _ and -
}

func ExampleSession() {
	usher := exampleUsher()
	defer usher.Close()
	token, err := exampleClient(usher).PrepareSession("ada").
		UserInfo(map[string]any{"name": "Ada"}).
		Allow("acme:*", permissions.Read).
		Allow("acme:design:*", permissions.Full).
		Authorize(context.Background())
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(token.ExpiresAt.UTC())
	// Output:
	// /v2/authorize-user {"userId":"ada","userInfo":{"name":"Ada"},"permissions":{"acme:design:*":["room:write","comments:write"],"acme:*":["room:read","room:presence:write","comments:read"]}}
	// 2027-01-15 08:05:00 +0000 UTC
}

// Everything that a user may open as a member of one organization.
func ExampleRequest() {
	usher := exampleUsher()
	defer usher.Close()
	token, err := exampleClient(usher).Token(context.Background(), client.Request{UserID: "ada", Organization: "acme"})
	fmt.Println("more than one token holds:", token.Partial, err)
	// Output:
	// /api/auth {"userId":"ada","organizationId":"acme"}
	// more than one token holds: false <nil>
}

// An authEndpoint passes the token on to the user's browser.
func ExampleToken() {
	usher := exampleUsher()
	defer usher.Close()
	token, err := exampleClient(usher).TokenFor(context.Background(), "ada", permissions.Store("acme_notes"))
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println("in a log:", token.Text)
	answer, _ := json.Marshal(map[string]string{"token": token.Text.Reveal()})
	fmt.Println(string(answer))
	// Output:
	// /api/auth {"userId":"ada","store":"acme_notes"}
	// in a log: [redacted]
	// {"token":"e30.eyJzdWIiOiJhZGEiLCJleHAiOjE4MDAwMDAzMDB9.c2ln"}
}

// Encoding a Token does not show it: call Reveal for the browser.
func ExampleToken_incorrect() {
	usher := exampleUsher()
	defer usher.Close()
	token, err := exampleClient(usher).TokenFor(context.Background(), "ada", permissions.Store("acme_notes"))
	if err != nil {
		fmt.Println(err)
		return
	}
	answer, _ := json.Marshal(map[string]any{"token": token.Text})
	fmt.Println(string(answer))
	// Output:
	// /api/auth {"userId":"ada","store":"acme_notes"}
	// {"token":"[redacted]"}
}

func ExampleError() {
	usher := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("X-Request-Id", "N5QW2ZLUMVZSA5DPEB2XGZDFOI")
		w.WriteHeader(http.StatusForbidden)
		fmt.Fprint(w, `{"error":"forbidden","reason":"No grant covers this request.","requestId":"N5QW2ZLUMVZSA5DPEB2XGZDFOI"}`)
	}))
	defer usher.Close()
	_, err := exampleClient(usher).TokenFor(context.Background(), "ada", permissions.Room("globex:1"))
	switch {
	case errors.Is(err, client.ErrForbidden):
		fmt.Println("not for ada")
	case errors.Is(err, client.ErrUnavailable):
		fmt.Println("later")
	}
	if e, ok := errors.AsType[*client.Error](err); ok {
		fmt.Println("look for it in the audit:", e.RequestID)
	}
	fmt.Println(err)
	// Output:
	// not for ada
	// look for it in the audit: N5QW2ZLUMVZSA5DPEB2XGZDFOI
	// client: usher answered 403 forbidden: No grant covers this request. (request N5QW2ZLUMVZSA5DPEB2XGZDFOI)
}
