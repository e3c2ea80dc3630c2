package api

import (
	"context"

	"github.com/usher-auth/usher/internal/preview"
	"github.com/usher-auth/usher/internal/principal"
	"github.com/usher-auth/usher/session"
)

// A UserDirectory looks up users by id.
type UserDirectory interface {
	// PrincipalByUser returns a principal that is not Known if the directory does not
	// list the user, and [principal.ErrUnavailable] for a fault. If organization is
	// not empty, it counts like a session's active organization.
	PrincipalByUser(ctx context.Context, user, organization string) (*principal.Principal, error)
}

// Reason returns the code of a refusal as the audit records it, such as no_grant. For any
// other error it is empty.
func Reason(err error) string { return classify(err).reason }

// Preview is [preview.Of] for a user, with the code of a refusal. organization may be
// empty.
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
