package api

import (
	"context"
	"net/netip"

	"github.com/usher-auth/usher/audit"
	"github.com/usher-auth/usher/internal/identity"
	"github.com/usher-auth/usher/session"
)

// An attempt is a request that leaves a row in the audit, on either listener,
// from the moment its credential was read. begin admits it, end commits how it
// ended, and release gives back what it held.
//
// An attempt holds one of the slots for work on the database. It therefore
// never waits for the caller: the body was read before it begins, and the
// answer is written after it is released.
type attempt struct {
	*audit.Decision
	api       *API
	admission *admission
	cancel    context.CancelFunc
	slots     *slots
	client    netip.Prefix // holds one of the slots
}

// begin admits the request that d describes: where one of the slots is free, and
// within the limits of its caller. peer is the address whose failures are
// limited. The context that it returns bounds the work of the attempt, which the
// caller releases.
func (a *API) begin(ctx context.Context, of *slots, d *audit.Decision, credential identity.Credential, peer netip.Addr) (context.Context, *attempt, error) {
	client := a.limiter.network(d.IP)
	if !of.take(client) {
		return nil, nil, errOverloaded
	}
	admission, err := a.limiter.admit(credential, peer, d.At)
	if err != nil {
		of.release(client)
		return nil, nil, err
	}
	// Without the request's own cancellation: a client that hangs up must not be
	// able to tear down a database connection with each call.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), answerWithin)
	return ctx, &attempt{Decision: d, api: a, admission: admission, cancel: cancel, slots: of, client: client}, nil
}

// end commits how the attempt ended: with a token, or with a refusal, which it
// then returns. A token may leave only after end returned nil. Faults and
// requests that cannot be understood leave no row.
func (t *attempt) end(ctx context.Context, token *session.Token, refusal error) error {
	var p *problem
	if refusal != nil {
		if p = classify(refusal); p.reason == "" {
			return p
		}
		t.Reason, t.CallerUnknown, t.CallerFormer = p.reason, p.caller == unasked || p.caller == unknown, p.caller == former
	} else {
		t.Token = AuditToken(token)
	}
	if err := t.admission.commit(p, t.api.cfg.Now()); err != nil {
		return err
	}
	if err := t.api.cfg.Audit.Record(ctx, t.Decision); err != nil {
		return err
	}
	t.api.metrics.decided(t.Decision)
	if p != nil {
		return p
	}
	if token.InfoOmitted {
		t.api.metrics.infoOmitted.Inc()
		t.api.logger.WarnContext(ctx, "info of user is too large for a token and was left out", "user_id", t.UserID)
	}
	return nil
}

// release gives back the slot, and the failure that was reserved where the
// attempt did not fail.
func (t *attempt) release() {
	t.admission.release()
	t.cancel()
	t.slots.release(t.client)
}
