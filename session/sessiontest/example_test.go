package sessiontest_test

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/usher-auth/usher/permissions"
	"github.com/usher-auth/usher/session"
	"github.com/usher-auth/usher/session/sessiontest"
)

func Example() {
	issuer := sessiontest.NewIssuer(sessiontest.Config{Audience: "livestore"})
	verifier, err := session.NewVerifier(issuer.VerifierConfig())
	if err != nil {
		fmt.Println(err)
		return
	}
	token := issuer.Issue(sessiontest.Token{User: "ada", Stores: sessiontest.Access{"acme_*": permissions.Read}})

	claims, err := verifier.Verify(context.Background(), token)
	fmt.Println(claims.Subject, err)
	fmt.Println("read:", claims.Can(permissions.Store("acme_notes"), permissions.Read))
	fmt.Println("write:", claims.Can(permissions.Store("acme_notes"), permissions.Full))

	issuer.Advance(10 * time.Minute)
	_, err = verifier.Verify(context.Background(), token)
	fmt.Println("expired:", errors.Is(err, session.ErrExpired))
	// Output:
	// ada <nil>
	// read: true
	// write: false
	// expired: true
}

// A backend must refuse tokens of other backends, forged ones and old ones.
func ExampleIssuer_Forge() {
	issuer := sessiontest.NewIssuer(sessiontest.Config{Audience: "chat"})
	verifier, err := session.NewVerifier(issuer.VerifierConfig())
	if err != nil {
		fmt.Println(err)
		return
	}
	rooms := sessiontest.Access{"acme:*": permissions.Full}
	for _, token := range []string{
		issuer.Issue(sessiontest.Token{Rooms: rooms}),
		issuer.Issue(sessiontest.Token{Rooms: rooms, Audience: "another"}),
		issuer.Issue(sessiontest.Token{Rooms: rooms, Age: time.Hour}),
		issuer.Forge(sessiontest.Token{Rooms: rooms}),
	} {
		_, err := verifier.Verify(context.Background(), token)
		var refused *session.TokenError
		if errors.As(err, &refused) {
			fmt.Println(refused.Code)
		} else {
			fmt.Println("accepted")
		}
	}
	// Output:
	// accepted
	// audience_mismatch
	// token_expired
	// signature_invalid
}
