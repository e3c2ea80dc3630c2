// Package session issues and verifies access tokens.
//
// An [Issuer] runs in the service. It turns a [User] and the rooms and stores
// that user may open into a signed, short-lived token:
//
//	token, err := issuer.Prepare(user).
//		Allow("acme:design:*", permissions.Full).
//		AllowStore("acme_notes", permissions.Read).
//		Authorize()
//
// A [Verifier] runs in each sync backend. It needs the service's public keys
// and nothing else, and accepts exactly the issuer and audience it was built
// for:
//
//	claims, err := verifier.Verify(ctx, token)
//	if err == nil && claims.Can(permissions.Store("acme_notes"), permissions.Full) { … }
//
// The package serves no route and asks no database: the caller knows who the user
// is and what was granted, and records the tokens.
package session
