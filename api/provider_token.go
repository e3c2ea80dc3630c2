package api

import (
	"cmp"
	"context"
	"errors"

	"github.com/usher-auth/usher/audit"
	"github.com/usher-auth/usher/internal/identity"
	"github.com/usher-auth/usher/internal/principal"
	"github.com/usher-auth/usher/internal/secret"
)

// principalByToken verifies an identity provider's token and looks up its user. It does
// not matter which page sent it, because a browser never sends it automatically.
func (a *API) principalByToken(ctx context.Context, token secret.Text, t *attempt) (*principal.Principal, error) {
	d := t.Decision
	d.CallerKind = audit.CallerProvider
	claims, err := a.cfg.Providers.Verify(ctx, token)
	if refused, ok := errors.AsType[*identity.ProviderTokenError](err); ok {
		d.CallerID = refused.Issuer
	}
	if err != nil {
		return nil, err
	}
	d.CallerID, d.UserID, d.Request.OrganizationID = claims.Issuer, claims.UserID, claims.Organization
	for claim, leftOut := range map[string][]string{"organizations": claims.OrganizationsLeftOut, "groups": claims.GroupsLeftOut} {
		if len(leftOut) > 0 {
			a.logger.WarnContext(ctx, "a token's claim lists too many ids, and some were left out",
				"issuer", claims.Issuer, "claim", claim, "limit", identity.MaxMemberships, "left_out", len(leftOut), "first_left_out", leftOut[0])
		}
	}
	if claims.Skipped > 0 {
		a.logger.WarnContext(ctx, "ids in a token's claims are not valid and were skipped", "issuer", claims.Issuer, "count", claims.Skipped)
	}
	// All tokens of one session share one limit, however many the provider issues. If
	// it names no session, all tokens of the user share one.
	if err := t.admission.identify("provider", claims.Issuer, cmp.Or(claims.SessionID, claims.UserID), a.cfg.Now()); err != nil {
		return nil, err
	}
	p, err := a.cfg.Directory.PrincipalByClaims(ctx, &claims)
	if err != nil {
		return nil, err
	}
	d.At = p.At
	d.OrganizationID = p.User.Organization
	if p.SessionID != "" {
		d.CallerID += " " + p.SessionID
	}
	if !p.Known {
		return nil, principal.ErrUserUnknown
	}
	return p, nil
}
