package api

import (
	"context"

	"github.com/usher-auth/usher/internal/preview"
	"github.com/usher-auth/usher/internal/principal"
	"github.com/usher-auth/usher/session"
)

// A UserDirectory looks up a user that somebody else vouches for.
type UserDirectory interface {
	// PrincipalByUser returns a principal that is not Known for a user that the
	// directory does not list, and [principal.ErrUnavailable] for a fault. An
	// organization that is not empty counts as a session's does.
	PrincipalByUser(ctx context.Context, user, organization string) (*principal.Principal, error)
}

// Reason returns the code of a refusal, as the audit records it, such as
// no_grant; it is empty for any other error.
func Reason(err error) string { return classify(err).reason }

// Preview is [preview.Of] for a user in an organization or in none, with the code
// of a refusal.
func Preview(ctx context.Context, directory UserDirectory, issuer *session.Issuer, user, organization string, r session.Request) (*preview.Preview, error) {
	p, err := directory.PrincipalByUser(ctx, user, organization)
	if err != nil {
		return nil, err
	}
	v, err := preview.Of(issuer, p, r)
	if err == nil && v.Refusal != nil {
		v.Reason = Reason(v.Refusal)
	}
	return v, err
}
