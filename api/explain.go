package api

import (
	"context"

	"github.com/usher-auth/usher/session"
)

// UserDirectory says what a token for a user rests on whom somebody else
// vouches for.
type UserDirectory interface {
	// PrincipalByUser returns a principal that is not Known for a user whom the
	// directory does not list, and [session.ErrUnavailable] for a fault. An
	// organization that is not empty counts as a session's does.
	PrincipalByUser(ctx context.Context, user, organization string) (*session.Principal, error)
}

// Reason returns the audit's word for a refusal, such as no_grant; for any
// other error it is empty.
func Reason(err error) string { return classify(err).reason }

// Explain is [session.Issuer.Explain] for a user in an organization or in none,
// with the reason of a refusal in the words of the audit. It issues and records
// nothing.
func Explain(ctx context.Context, directory UserDirectory, issuer *session.Issuer, user, organization string, r session.Request) (*session.Explanation, error) {
	p, err := directory.PrincipalByUser(ctx, user, organization)
	if err != nil {
		return nil, err
	}
	e, err := issuer.Explain(p, r)
	if err == nil && e.Refusal != nil {
		e.Reason = Reason(e.Refusal)
	}
	return e, err
}
