package api

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/usher-auth/usher/internal/admin"
	"github.com/usher-auth/usher/internal/identity"
	"github.com/usher-auth/usher/permissions"
)

const badAdminKey = "The Authorization header bears no valid admin key."

// adminProblem is problemFor for what administrators run into.
func adminProblem(err error) (problem, bool) {
	refuse := func(status int, slug, refusal, reason string) (problem, bool) {
		return problem{status: status, refusal: refusal, Error: slug, Reason: reason}, true
	}
	answer := func(status int, slug, reason string) (problem, bool) { return refuse(status, slug, "", reason) }
	if e, ok := errors.AsType[*admin.IndexError](err); ok {
		p := problemFor(e.Err)
		if p.status < http.StatusInternalServerError {
			p.Reason = fmt.Sprintf("grants[%d]: %s", e.Index, p.Reason)
		}
		return p, true
	}
	if e, ok := errors.AsType[*permissions.PatternError](err); ok {
		reason := fmt.Sprintf("The pattern %.64q %s", e.Text, e.Reason)
		if errors.Is(err, admin.ErrOpenPrefix) {
			reason += "; such a pattern is granted only when it is asked for by name, with openPrefix: true"
		}
		return answer(http.StatusUnprocessableEntity, "unprocessable_entity", reason+".")
	}
	if e, ok := errors.AsType[*admin.Refusal](err); ok {
		switch reason := asSentence(e.Sentence); {
		case errors.Is(err, admin.ErrInvalid), errors.Is(err, admin.ErrNoHistory):
			return answer(http.StatusUnprocessableEntity, "unprocessable_entity", reason)
		case errors.Is(err, admin.ErrNotFound):
			return answer(http.StatusNotFound, "not_found", reason)
		case errors.Is(err, admin.ErrExists):
			return answer(http.StatusConflict, "already_exists", reason)
		case errors.Is(err, admin.ErrInUse):
			return answer(http.StatusConflict, "in_use", reason)
		case errors.Is(err, admin.ErrKeyReused):
			return answer(http.StatusUnprocessableEntity, "idempotency_key_reused", reason)
		}
	}
	switch {
	case errors.Is(err, identity.ErrAdminKeyInBrowser):
		return answer(http.StatusBadRequest, "bad_request", "A browser sent this request: the admin API takes none from pages. Keep admin keys out of them.")
	case errors.Is(err, identity.ErrNoAdminKey):
		return refuse(http.StatusUnauthorized, "unauthorized", "no_admin_key", "The admin API takes Authorization: Bearer with an admin key, which usher adminkey create makes.")
	case errors.Is(err, identity.ErrAPIKey):
		return refuse(http.StatusUnauthorized, "unauthorized", "api_key_for_admin", "This is an API key, which issues tokens: the admin API takes admin keys, which begin with ak_.")
	case errors.Is(err, identity.ErrBadAdminKey):
		return refuse(http.StatusUnauthorized, "unauthorized", "bad_admin_key", badAdminKey)
	case errors.Is(err, admin.ErrKeyUnknown):
		return refuse(http.StatusUnauthorized, "unauthorized", "admin_key_unknown", badAdminKey)
	case errors.Is(err, admin.ErrKeyRevoked):
		return refuse(http.StatusUnauthorized, "unauthorized", "admin_key_revoked", badAdminKey)
	case errors.Is(err, admin.ErrKeyExpired):
		return refuse(http.StatusUnauthorized, "unauthorized", "admin_key_expired", badAdminKey)
	case errors.Is(err, admin.ErrRole):
		return refuse(http.StatusForbidden, "forbidden", "admin_key_role", "This admin key is an auditor's, who reads everything and changes nothing.")
	}
	return problem{}, false
}

// asSentence gives a refusal its capital letter and full stop.
func asSentence(s string) string {
	first, size := utf8.DecodeRuneInString(s)
	return string(unicode.ToUpper(first)) + strings.TrimSuffix(s[size:], ".") + "."
}
