// Package session issues and verifies access tokens.
//
// An [Issuer] runs in the service. It makes a signed, short-lived token from a [User] and
// the rooms and stores that they may open:
//
//	token, err := issuer.Prepare(user).
//		Allow("acme:design:*", permissions.Full).
//		AllowStore("acme_notes", permissions.Read).
//		Authorize()
//
// A [Verifier] runs in each sync backend. It needs only the service's public keys. It
// accepts one issuer and one audience:
//
//	claims, err := verifier.Verify(ctx, token)
//	if err == nil && claims.Can(permissions.Store("acme_notes"), permissions.Full) { … }
//
// The package has no routes and uses no database. Its caller knows who the user is and
// what was granted, and records the tokens.
package session
