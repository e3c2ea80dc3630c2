package client

import (
	"bytes"
	"cmp"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/usher-auth/usher/internal/secret"
)

const (
	defaultTimeout = 10 * time.Second
	maxTries       = 3
	firstPause     = 100 * time.Millisecond
	maxAnswer      = 64 << 10 // about five times the largest token
)

// post sends a request, and sends it again as long as that is safe and useful.
func (c *Client) post(ctx context.Context, path string, request any) (Token, error) {
	body, err := encode(request)
	if err != nil {
		return Token{}, invalid(err)
	}
	if _, ok := ctx.Deadline(); !ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, defaultTimeout)
		defer cancel()
	}
	pause := firstPause
	for try := 1; ; try++ {
		token, again, err := c.try(ctx, path, body)
		if again < 0 || try == maxTries {
			return token, err
		}
		// Random, so that clients do not all retry at once.
		wait := max(again, pause+rand.N(pause)) //nolint:gosec // no secret
		pause *= 2
		if deadline, _ := ctx.Deadline(); time.Until(deadline) <= wait {
			return Token{}, err // there is no time for another try
		}
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return Token{}, fmt.Errorf("client: %w after: %w", ctx.Err(), err)
		}
	}
}

// final says not to try again, because a token may have been issued or because it would
// fail again.
const final = -1

// try sends the request once. With an error, it returns the minimum time to wait before the
// next try, or final.
func (c *Client) try(ctx context.Context, path string, body []byte) (token Token, again time.Duration, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.base.JoinPath(path).String(), bytes.NewReader(body))
	if err != nil {
		return Token{}, final, fmt.Errorf("client: %w", err)
	}
	req.Header.Set("Authorization", "Bearer "+c.key.Reveal())
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Accept", "application/json")
	res, err := c.http.Do(req)
	if err != nil {
		if neverSent(err) {
			return Token{}, 0, fault(ctx, err)
		}
		return Token{}, final, fault(ctx, err)
	}
	defer func() { _ = res.Body.Close() }()
	answer, err := io.ReadAll(io.LimitReader(res.Body, maxAnswer+1))
	if err != nil {
		return Token{}, final, fault(ctx, err)
	}
	requestID := res.Header.Get("X-Request-Id")
	switch res.StatusCode {
	case http.StatusOK:
		token, ok := readToken(answer)
		if !ok {
			return Token{}, final, &Error{Status: res.StatusCode, Reason: "The body is not an answer of usher.", RequestID: requestID}
		}
		return token, final, nil
	case http.StatusTooManyRequests, http.StatusServiceUnavailable:
		again = retryAfter(res.Header.Get("Retry-After"))
	default:
		again = final
	}
	var problem struct{ Error, Reason, Message string }
	if json.Unmarshal(answer, &problem) != nil {
		problem.Error, problem.Reason, problem.Message = "", "", http.StatusText(res.StatusCode) // the answer is from a proxy
	}
	return Token{}, again, &Error{res.StatusCode, problem.Error, cmp.Or(problem.Reason, problem.Message), requestID}
}

// neverSent reports whether the request was not sent because there was no connection.
func neverSent(err error) bool {
	e, ok := errors.AsType[*net.OpError](err)
	return ok && (e.Op == "dial" || e.Op == "proxyconnect")
}

// fault returns the error for a request without an answer.
func fault(ctx context.Context, err error) error {
	if errors.Is(ctx.Err(), context.Canceled) {
		return fmt.Errorf("client: %w", err)
	}
	return fmt.Errorf("%w: %w", ErrUnavailable, err)
}

// retryAfter reads the header's seconds or date (RFC 9110, section 10.2.3).
func retryAfter(text string) time.Duration {
	if seconds, err := strconv.ParseUint(text, 10, 31); err == nil {
		return time.Duration(seconds) * time.Second
	}
	if at, err := http.ParseTime(text); err == nil {
		return max(0, time.Until(at))
	}
	return 0
}

// readToken reads {"token": ..., "partial"?}. It takes the expiry from the token, because
// Liveblocks' answer has no field for it.
func readToken(answer []byte) (Token, bool) {
	var body struct {
		Token   string
		Partial bool
	}
	if len(answer) > maxAnswer || json.Unmarshal(answer, &body) != nil {
		return Token{}, false
	}
	parts := strings.Split(body.Token, ".")
	if len(parts) != 3 {
		return Token{}, false
	}
	var claims struct{ Exp int64 }
	payload, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil || json.Unmarshal(payload, &claims) != nil || claims.Exp <= 0 {
		return Token{}, false
	}
	return Token{secret.New(body.Token), time.Unix(claims.Exp, 0), body.Partial}, true
}
