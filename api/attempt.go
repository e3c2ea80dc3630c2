package api

import (
	"context"
	"net/netip"

	"github.com/usher-auth/usher/audit"
	"github.com/usher-auth/usher/internal/identity"
	"github.com/usher-auth/usher/session"
)

// An attempt is a request that is recorded in the audit, on either listener. It starts
// after the credential was read: begin admits it, end commits its result, and release
// returns what it holds.
//
// An attempt holds one of the slots for work on the database, so it must never wait for
// the caller: the body is read before begin, and the answer is written after release.
type attempt struct {
	*audit.Decision
	api       *API
	admission *admission
	cancel    context.CancelFunc
	slots     *slots
	client    netip.Prefix // holds one of the slots
}

// begin admits the request that d describes, if a slot is free and the caller is within
// the rate limits. peer is the address whose failures are limited. The returned context
// bounds the work of the attempt. The caller must release the attempt.
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
	// Without the request's own cancellation: otherwise a client that disconnects
	// could close a database connection with each call.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), answerWithin)
	return ctx, &attempt{Decision: d, api: a, admission: admission, cancel: cancel, slots: of, client: client}, nil
}

// end commits the result of the attempt: a token or a refusal. For a refusal, it
// returns that refusal. A token may be sent only after end returned nil. Faults and
// malformed requests get no audit row.
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

// release returns the slot. If the attempt did not fail, it also returns the failure
// that was reserved for it.
func (t *attempt) release() {
	t.admission.release()
	t.cancel()
	t.slots.release(t.client)
}
